"""The YAML that KEDA's users come with, as it is printed: one copy for the parsers and for the real parts."""

from __future__ import annotations

FIRST = """
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: streams-pipeline-app-scaler
  namespace: pipeline
spec:
  scaleTargetRef:
    apiVersion: apps/v1                # Optional. Default: apps/v1
    kind:       Deployment             # Optional. Default: Deployment
    name:       streams-pipeline-app   # Mandatory. Must be in the same namespace as the ScaledObject
  pollingInterval:  5                  # Optional. Default: 30 seconds
  cooldownPeriod:   10                 # Optional. Default: 300 seconds
  idleReplicaCount: 0                  # Optional. Must be less than minReplicaCount
  minReplicaCount:  1                  # Optional. Default: 1
  maxReplicaCount:  5                  # Optional. Default: 100 (up to the number of partitions in Kafka Brokers)
  triggers:
  - type: kafka
    metadata:
      bootstrapServers: host.docker.internal:29092
      consumerGroup: streams-pipeline-app
      topic: pizzaOrders
      lagThreshold: '10'
      offsetResetPolicy: latest
      allowIdleConsumers: "false"
      version: 1.0.0
"""
"""As the first of the two documents prints it."""

SECOND = """
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: consumer-demo
  namespace: demo
spec:
  advanced:
    horizontalPodAutoscalerConfig:
      name: kafka-hpa
      behavior:
        scaleDown:
          stabilizationWindowSeconds: 300
        scaleUp:
          stabilizationWindowSeconds: 30
    restoreToOriginalReplicaCount: true
  cooldownPeriod: 60
  maxReplicaCount: 10
  minReplicaCount: 1
  pollingInterval: 10
  idleReplicaCount: 0
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: consumer-demo
  triggers:
    - authenticationRef:
        kind: TriggerAuthentication
        name: kafka-auth
      metadata:
        bootstrapServers: kafka:9093
        consumerGroup: demo
        lagThreshold: "25"
        topic: orders
      type: kafka
"""
"""As the second one stands for, its indentation repaired."""
