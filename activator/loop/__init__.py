"""The loop: wait for due or woken, read a batch per cluster, decide, act, record.

1. `target.py`     what is held of one target between two looks; `tracker.py`: of one of its triggers
2. `activator.py`  who is due, who is woken, and who is looked at; `batches.py`: who is read together; `backlog.py`:
                   what follows a look gives way while others wait for theirs, or many are woken; `looking.py`: the
                   walk of one look; `next_look.py`: when the next one is
3. `roster.py`     which workloads are managed, by which policy; `takeover.py`, `releasing.py`: how that begins and
                   ends; `last_offsets.py`: with which offsets; `giving_back.py`: how all of it ends at once
4. `reading.py`    one batch read a cluster, and the probe of what may be markers only
5. `acting.py`     the order of a wake and of a sleep; `putting_back.py`: of a count that is put back;
                   `unanswered.py`: what became of a PATCH whose answer was lost
6. `following_up.py` what follows a decision; `guarding.py`: the offsets that a sleeping group must find when it wakes;
                   `prolonging.py`: and that none of them expires meanwhile
7. `telling.py`    what is recorded of a look; `recording.py`: and when; `notices.py`: what a person is told besides
8. `keeping.py`    what outlives a restart, written on change only; `leading.py`: a leader has read it first

Nothing here knows Kafka, Kubernetes, OpenTelemetry or HTTP: the world is behind `activator.ports`, and the clock is
handed in, so that a simulated day is a fast test.
"""

from activator.loop.activator import Activator
from activator.loop.giving_back import give_back_all
from activator.loop.world import World

__all__ = ["Activator", "World", "give_back_all"]
