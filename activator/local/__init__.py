"""Everything that lets one laptop stand in for a cluster: an embedded Kafka, a folder of YAML, replicas as processes.

`broker` is the state machine of the embedded Kafka (its docstring names its rooms), `broker_server` its TCP side.
No decision about scaling belongs here, and nothing here is needed in a real cluster.
"""
