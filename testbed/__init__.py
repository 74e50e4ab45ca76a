"""Real parts for tests: Kafka, a Kubernetes control plane, Jaeger and a small kubelet, on free loopback ports.

Reading order: `bed` composes everything; `kafka`, `control_plane`, `jaeger` and `node` are one part each;
`processes` starts, pauses and ends one child; `ports`, `certificates` and `builds` are what they stand on.
`kubelet` and `consumer` run as processes of their own; `ledger` reads what consumers wrote.

Nothing of the product belongs here, and nothing here is imported by the product.
"""
