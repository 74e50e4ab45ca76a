"""What is wrong with an installation: a table of checks, each pure over facts that were gathered before.

`facts` is what can be known, `checks` is the table in the order of the output, `report` is how it is told. Asking a
cluster or a broker does not belong here: the collectors are `kubernetes/inspection.py`, `kafka/access.py` and
`wiring/inspection.py`.
"""
