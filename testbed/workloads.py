"""Manifests for the test kubelet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from testbed.kubelet.images import NEVER_READY, PAUSE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["NEVER_READY", "PAUSE", "consumer_deployment", "deployment"]

CONSUMER_IMAGE = "wakegate.test/consumer"
COMMAND_IMAGE = "wakegate.test/command"


def deployment(
    name: str,
    container: Mapping[str, Any],
    *,
    namespace: str = "default",
    replicas: int = 1,
    annotations: Mapping[str, str] | None = None,
    grace_seconds: int = 10,
) -> dict[str, Any]:
    """A Deployment with one container; the container's `name` is given here, and an `image` where it has none.

    Rolling updates are off (Recreate), so that a change of the template never runs two generations of consumers.
    """
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "annotations": dict(annotations or {})},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "Recreate"},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": grace_seconds,
                    "containers": [{"name": "main", "image": COMMAND_IMAGE, **container}],
                },
            },
        },
    }


def consumer_deployment(
    name: str,
    *,
    namespace: str = "default",
    bootstrap_servers: str,
    topic: str,
    group: str,
    ledger: Path,
    replicas: int = 1,
    annotations: Mapping[str, str] | None = None,
    auto_offset_reset: str = "earliest",
    work_milliseconds: int = 0,
    commit_milliseconds: int = 200,
    group_protocol: str = "classic",
    grace_seconds: int = 10,
) -> dict[str, Any]:
    """A Deployment of `testbed.consumer`, whose Pods all append to one ledger."""
    values = {
        "BOOTSTRAP_SERVERS": bootstrap_servers,
        "TOPIC": topic,
        "GROUP": group,
        "LEDGER": str(ledger),
        "AUTO_OFFSET_RESET": auto_offset_reset,
        "WORK_MS": str(work_milliseconds),
        "COMMIT_MS": str(commit_milliseconds),
        "GROUP_PROTOCOL": group_protocol,
    }
    env: list[dict[str, Any]] = [{"name": key, "value": value} for key, value in values.items()]
    env.append({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
    container = {"image": CONSUMER_IMAGE, "command": ["python", "-m", "testbed.consumer"], "env": env}
    return deployment(
        name,
        container,
        namespace=namespace,
        replicas=replicas,
        annotations=annotations,
        grace_seconds=grace_seconds,
    )
