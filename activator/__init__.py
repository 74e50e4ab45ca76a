"""wakegate's activator: wakes Kafka consumers from zero, hands them to an HPA, and puts them back to sleep.

Reading order, from the inside out; an arrow means "may import" (kept by import-linter):

    __main__ -> wiring -> { loop  simulate  kafka/  kubernetes/  local/  web/  telemetry  settings }
             -> views/ -> { specs/  doctor/ } -> ports -> core/

1. `core/model/`     the vocabulary: Policy, Observation, Decision, Evaluation
2. `core/lag.py`     offsets -> the lag that a new replica could really work off
3. `core/decide.py`  the ordered steps from an observation to a count, each with its reason
4. `ports.py`        what the loop needs from the world
5. `loop.py`         wait for due or woken, read, decide, act, record
6. `wiring.py`       the one place that joins the adapters

7. `doctor/`, `views/` what `wakegate doctor`, `status` and `explain` make of what was gathered

Siblings in the braces never import each other. `docs/architecture.md` tells the same as one walk of one lag sample.
"""
