"""`wakegate status` as it is printed: golden outputs of an installation that is well and of one that is not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from activator.views import status
from tests.doctor.healthy import NOW, api_service, deployment, facts


def scale_target(name: str, phase: str, **fields: Any) -> dict[str, Any]:
    """A ScaleTarget of namespace shop."""
    return {
        "metadata": {"namespace": "shop", "name": f"deployment-{name}"},
        "spec": {"targetRef": {"kind": "Deployment", "name": name}},
        "status": {"phase": phase, "reason": "no-lag", **fields},
    }


def timestamp(ago: timedelta) -> str:
    """A moment before now, as the API writes it."""
    return (NOW - ago).isoformat().replace("+00:00", "Z")


WELL = status.of(
    facts(), [scale_target("orders", "Asleep"), scale_target("bills", "Asleep"), scale_target("x", "Awake")]
)
UNREADABLE = scale_target(
    "orders",
    "Awake",
    reason="unreadable",
    message="Kafka kafka:9092: closed the connection",
    since=timestamp(timedelta(minutes=12)),
    traceId="4bf92f3577b34da6a3ce929d0e0e4736",
)
INVALID = scale_target(
    "bills", "Invalid", problems=["wakegate.dev/topik: there is no such annotation; did you mean topic?"]
)
ILL = status.of(
    facts(
        deployment=deployment(ready=0),
        api_service=api_service(reason="FailedDiscoveryCheck", message="x509: certificate signed by unknown authority"),
    ),
    [UNREADABLE, INVALID, scale_target("quiet", "Asleep")],
)


def told(shown: status.Status) -> str:
    """The lines as they are printed, without colours."""
    return "\n".join(line for _, line in status.lines(shown))


def test_well() -> None:
    """One line a component, and the workloads by phase."""
    assert WELL.well
    assert (
        told(WELL)
        == """\
API server    ok       the API server answers at https://kubernetes:6443
wakegate      ok       2 of 2 Pods are ready
leader        ok       wakegate-1 leads
ScaleTargets  ok       CustomResourceDefinition scaletargets.wakegate.dev is served
metrics API   ok       external.metrics.k8s.io leads to Service wakegate-system/wakegate-metrics: HPAs move 1..N
workloads     3        2 Asleep, 1 Awake"""
    )


def test_errors_come_last() -> None:
    """A component that fails and a workload to see to stand below everything else, with cause and age."""
    assert not ILL.well
    assert (
        told(ILL)
        == """\
API server    ok       the API server answers at https://kubernetes:6443
wakegate      fail     0 of 2 Pods are ready
leader        skipped  see pods
ScaleTargets  ok       CustomResourceDefinition scaletargets.wakegate.dev is served
metrics API   ok       external.metrics.k8s.io leads to Service wakegate-system/wakegate-metrics: HPAs move 1..N
workloads     3        1 Asleep, 1 Awake, 1 Invalid

errors:
  wakegate: 0 of 2 Pods are ready
    see docs/doctor.md#pods
  Deployment shop/bills   Invalid                 wakegate.dev/topik: there is no such annotation; did you mean topic?
  Deployment shop/orders  unreadable  for 12 min  Kafka kafka:9092: closed the connection"""
    )


def test_another_hand_is_told_last() -> None:
    """A workload whose count somebody writes back is one that a person should see to."""
    fight = scale_target("orders", "Awake", reason="cooling-down", warnings=["flux writes spec.replicas back"])
    shown = status.of(facts(), [fight])
    assert not shown.well
    assert told(shown).split()[-6:] == ["shop/orders", "warning", "flux", "writes", "spec.replicas", "back"]


def test_an_untrusted_certificate_is_the_metrics_api_s() -> None:
    """Of several checks of one component the problem is shown."""
    service = api_service(reason="FailedDiscoveryCheck", message="x509: certificate signed by unknown authority")
    lines = told(status.of(facts(api_service=service), []))
    assert "metrics API   fail     the API server does not trust our certificate" in lines
    assert "see docs/doctor.md#metrics-api-trust" in lines


def test_json() -> None:
    """The same as a document."""
    document = status.document(ILL)
    assert document["success"] is False
    assert document["workloads"] == {
        "total": 3,
        "phases": {"Asleep": 1, "Waking": 0, "Awake": 1, "Paused": 0, "Invalid": 1},
    }
    assert [error["workload"] for error in document["errors"]] == ["Deployment shop/bills", "Deployment shop/orders"]
    assert document["errors"][1]["traceId"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert document["errors"][1]["since"] == "2026-03-01T11:48:00+00:00"


def test_what_cannot_be_read_is_not_nothing() -> None:
    """ScaleTargets that may not be listed are an error, and no count of zero is shown."""
    shown = status.of(facts(), None, "you may not list scaletargets")
    assert not shown.well
    assert told(shown).endswith("error:\n  workloads: you may not list scaletargets")
    assert "workloads     0" not in told(shown)


def test_local_mode() -> None:
    """A dashboard alone: phases from its overview, and what it says is wrong."""
    since = (NOW - timedelta(minutes=3)).timestamp() * 1000
    entry = {"label": "Unreadable", "id": "default/Deployment/pizza", "text": "no answer", "since": since}
    overview = {"wrong": {"list": [entry], "clusters": []}, "phases": {"Awake": 1}, "total": 1, "rows": []}
    assert (
        told(status.of_dashboard(overview, NOW))
        == """\
wakegate   ok       runs here, without a cluster
workloads  1        1 Awake

error:
  default/Deployment/pizza  Unreadable  for 3 min  no answer"""
    )
