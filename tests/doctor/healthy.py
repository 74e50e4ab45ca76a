"""An installation with which nothing is wrong, to be spoilt one fact at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from activator.doctor.facts import (
    Access,
    BrokerReach,
    Facts,
    FieldOwner,
    InstalledSettings,
    KafkaCluster,
    Target,
    TopicOfTarget,
)
from activator.doctor.needs import of_account
from tests.manifests.support import MANIFESTS

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SERVERS = "kafka:9092"
CRD: dict[str, Any] = {
    **yaml.safe_load((MANIFESTS / "crds" / "scaletarget.yaml").read_text()),
    "status": {"conditions": [{"type": "Established", "status": "True"}]},
}


def deployment(*, replicas: int = 2, ready: int = 2, updated: int = 2) -> dict[str, Any]:
    """The Deployment as the API server has it."""
    container = {"name": "activator", "image": "wakegate:0.1.0"}
    return {
        "metadata": {"name": "wakegate", "namespace": "wakegate-system"},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [container]}}},
        "status": {"readyReplicas": ready, "updatedReplicas": updated},
    }


def lease(*, holder: str = "wakegate-1", renewed: float = -1.0, taken: float = -1.0) -> dict[str, Any]:
    """The Lease, renewed by the holder's clock and taken by the API server's, in seconds from `NOW`."""
    written = {"manager": "wakegate", "time": _timestamp(taken), "fieldsV1": {"f:spec": {"f:renewTime": {}}}}
    applied = {"manager": "kubectl", "time": _timestamp(0), "fieldsV1": {"f:metadata": {"f:labels": {}}}}
    return {
        "metadata": {"managedFields": [written, applied]},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": _timestamp(renewed)},
    }


def api_service(
    *, name: str = "wakegate-metrics", namespace: str = "wakegate-system", reason: str = "Passed", message: str = ""
) -> dict[str, Any]:
    """The APIService; whatever its reason is but Passed, it is not Available."""
    status = "True" if reason == "Passed" else "False"
    condition = {"type": "Available", "status": status, "reason": reason, "message": message}
    return {"spec": {"service": {"namespace": namespace, "name": name}}, "status": {"conditions": [condition]}}


def target(**changes: Any) -> Target:
    """A workload that reads topic orders as group shop."""
    made = Target(
        name="Deployment shop/orders",
        triggers=(TopicOfTarget(SERVERS, "orders", "shop"),),
        replicas_owners=(FieldOwner("wakegate", "Apply"), FieldOwner("kubectl", "Update")),
    )
    return replace(made, **changes)


def cluster(**changes: Any) -> KafkaCluster:
    """The cluster that it reads from."""
    made = KafkaCluster(
        bootstrap_servers=SERVERS,
        brokers=(BrokerReach("kafka-0:9092"), BrokerReach("kafka-1:9092")),
        topics={"orders": Access(exists=True, read=True)},
        groups={"shop": Access(exists=True, read=True, consumed=frozenset({"orders"}))},
        topic_names=("orders", "payments"),
        group_names=("billing", "shop"),
    )
    return replace(made, **changes)


def facts(**changes: Any) -> Facts:
    """Everything as it should be, but for the changes."""
    settings = InstalledSettings()
    made = Facts(
        server="https://kubernetes:6443",
        version=(1, 37),
        now=NOW,
        ahead=timedelta(seconds=0.4),
        namespace="wakegate-system",
        account="system:serviceaccount:wakegate-system:wakegate",
        settings=settings,
        permissions=dict.fromkeys(of_account(settings.lease, settings.watch_namespace), True),
        crd=CRD,
        deployment=deployment(),
        pods=(),
        lease=lease(),
        api_service=api_service(),
        service={"metadata": {"name": "wakegate-metrics"}},
        certificate=None,
        clusters=(cluster(),),
        targets=(target(),),
    )
    return replace(made, **changes)


def _timestamp(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
