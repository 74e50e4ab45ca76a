"""Faults on real parts: what strikes three Kafka nodes, a control plane, two replicas of ours and real consumers.

Reading order: `plan` (what strikes, by seed), `proxy` (the network between ours and the rest), `scene` (everything that
runs), `effects` (how each fault is done and undone), `targets` and `oracle` (what is known of every record, and what
must not have happened), `strike` (one fault), `run` (one after the other), `report`.
"""
