"""Everything that lets one laptop stand in for a cluster: an embedded Kafka, a folder of YAML, replicas as processes.

`broker` is the embedded Kafka, a package of its own: a state machine and, in `broker/server.py`, its TCP side.
No decision about scaling belongs here, and nothing here is needed in a real cluster.
"""
