"""`wakegate explain` as it is printed: golden outputs with a replica's memory and without."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from activator.core.model import TargetRef
from activator.views import explain
from activator.views.explain import Explanation

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
REF = TargetRef("shop", "Deployment", "orders")
WOKEN = "4bf92f3577b34da6a3ce929d0e0e4736"
LOOKED = "00f067aa0ba902b700f067aa0ba902b7"

WORKLOAD = {
    "metadata": {"annotations": {"wakegate.dev/topic": "orders", "wakegate.dev/consumer-group": "shop", "other": "x"}},
    "spec": {"replicas": 3},
    "status": {"readyReplicas": 2},
}
SCALE_TARGET = {
    "status": {
        "phase": "Awake",
        "reason": "lag",
        "message": "lag of 120 asks for 12 replicas",
        "since": "2026-03-01T12:00:00Z",
        "lastActive": "2026-03-01T12:00:15Z",
        "lag": 120,
        "handoff": "hpa",
        "traceId": LOOKED,
    }
}
HPA = {
    "metadata": {"name": "wakegate-deployment-orders"},
    "spec": {
        "minReplicas": 1,
        "maxReplicas": 5,
        "metrics": [
            {
                "external": {
                    "metric": {"name": "s0-kafka-orders"},
                    "target": {"type": "AverageValue", "averageValue": "10"},
                },
                "type": "External",
            }
        ],
    },
    "status": {
        "desiredReplicas": 3,
        "currentReplicas": 3,
        "lastScaleTime": "2026-03-01T12:00:20Z",
        "currentMetrics": [{"type": "External", "external": {"current": {"averageValue": "40"}}}],
        "conditions": [{"type": "ScalingActive", "status": "True", "message": "it could calculate", "reason": "V"}],
    },
}


def event(reason: str, message: str, at: str, component: str = "wakegate", count: int = 1) -> dict[str, Any]:
    """An Event of core/v1."""
    return {
        "reason": reason,
        "message": message,
        "lastTimestamp": at,
        "count": count,
        "source": {"component": component},
    }


EVENTS = (
    event(
        "Woken",
        "from 0 to 1: the record at offset 36 of partition 0 arrived on orders (told by the tail); at least 1 "
        f"(trace {WOKEN})",
        "2026-03-01T12:00:00Z",
    ),
    event("SuccessfulRescale", "New size: 3;\nreason: above target", "2026-03-01T12:00:20Z", "hpa-controller", 2),
)
DECIDED = {"trace": WOKEN, "kind": "decision", "problems": []}
MEMORY: dict[str, Any] = {
    "row": {"phase": "Awake", "replicas": 3, "ready": 2, "lag": 90, "reason": "lag", "text": "lag of 90"},
    "policy": {"triggers": [{"topic": "orders", "group": "shop", "cluster": "kafka:9092", "lagThreshold": 10}]},
    "entries": [
        {
            **DECIDED,
            "id": "b",
            "last": 1772366425500,
            "outcome": "held",
            "trace": LOOKED,
            "from": 3,
            "to": 3,
            "problems": ["partition 4: NOT_LEADER_OR_FOLLOWER"],
            "steps": [{"name": "follow triggers", "replicas": 5, "reason": "lag", "text": "lag of 90"}],
            "push": None,
            "apply": None,
        },
        {"kind": "notice", "id": "n"},
        {
            **DECIDED,
            "id": "a",
            "last": 1772366400000,
            "outcome": "applied",
            "from": 0,
            "to": 1,
            "steps": [
                {"name": "follow triggers", "replicas": 1, "reason": "record-arrived", "text": "a record arrived"},
                {"name": "bounds", "replicas": 1, "reason": "min-replicas", "text": "at least 1"},
            ],
            "push": {"source": "the tail", "topic": "orders", "partition": 0, "offset": 36, "at": 1772366399980},
            "apply": {"status": "ok", "attempts": 1, "milliseconds": 7.6},
        },
    ],
}

OF_THE_CLUSTER = """\
Deployment shop/orders: Awake, 3 replicas (2 ready)
  because  lag of 120 asks for 12 replicas [lag]
  since    2026-03-01 12:00:00 UTC, 30 s ago

Record
  the record at offset 36 of partition 0 arrived on orders (told by the tail), 2026-03-01 12:00:00 UTC, 30 s ago

Reading
  lag 120
  last active 2026-03-01 12:00:15 UTC, 15 s ago
  topic orders, consumer-group shop

Steps
  the record at offset 36 of partition 0 arrived on orders (told by the tail)
  at least 1

PATCH
  Woken, from 0 to 1, 2026-03-01 12:00:00 UTC, 30 s ago

HPA
  wakegate-deployment-orders 1..5: wants 3, sees 3
  scaled last 2026-03-01 12:00:20 UTC, 10 s ago
  s0-kafka-orders 40, 10 a replica
  ScalingActive True: it could calculate

Events
  2026-03-01 12:00:20 UTC, 10 s ago  SuccessfulRescale  New size: 3; reason: above target (2 times)
  2026-03-01 12:00:00 UTC, 30 s ago  Woken              from 0 to 1: the record at offset 36 of partition 0 arrived on \
orders (told by the tail); at least 1 (trace 4bf92f3577b34da6a3ce929d0e0e4736)

Trace
  last change    4bf92f3577b34da6a3ce929d0e0e4736
  last decision  00f067aa0ba902b700f067aa0ba902b7"""

OF_MEMORY = """\
Deployment shop/orders: Awake, 3 replicas (2 ready)
  because  lag of 90 [lag]

Record
  orders[0] offset 36, seen by the tail at 11:59:59.980 UTC

Reading
  lag 90
  topic orders, group shop, cluster kafka:9092, lagThreshold 10
  partition 4: NOT_LEADER_OR_FOLLOWER

Steps
  at 12:00:25.500 UTC, held:
    follow triggers  5  lag  lag of 90
  at 12:00:00.000 UTC, applied:
    follow triggers  1  record-arrived  a record arrived
    bounds           1  min-replicas    at least 1

PATCH
  0 -> 1 at 12:00:00.000 UTC: ok in 8 ms, sent once

HPA
  none: wakegate itself moves it between 1 and N

Events
  -

Trace
  last change  4bf92f3577b34da6a3ce929d0e0e4736"""

CLUSTER = Explanation(ref=REF, now=NOW, workload=WORKLOAD, scale_target=SCALE_TARGET, hpa=HPA, events=EVENTS)


def told(explanation: Explanation) -> str:
    """The lines as they are printed, without colours."""
    return "\n".join(line for _, line in explain.lines(explanation))


def test_from_the_objects_of_the_cluster() -> None:
    """Without any replica's memory the record and the steps are those that the Event of the wake tells."""
    assert told(CLUSTER) == OF_THE_CLUSTER


def test_from_a_dashboard_alone() -> None:
    """In local mode everything is a replica's memory, the record and every step included."""
    assert told(Explanation(ref=REF, now=NOW, memory=MEMORY)) == OF_MEMORY


def test_a_dashboard_that_is_not_reached_is_said() -> None:
    """And the objects of the cluster still tell what they can."""
    spoken = told(
        Explanation(
            ref=REF,
            now=NOW,
            workload=WORKLOAD,
            events=EVENTS,
            memory_problem="dashboard http://x: no answer within 5 s",
        )
    )
    assert "dashboard http://x: no answer within 5 s" in spoken
    assert "the record at offset 36" in spoken


def test_a_memory_without_a_change_leaves_the_record_to_the_event() -> None:
    """A replica that has restarted knows of no change: the Event of the wake still names the record."""
    looked = {**MEMORY, "entries": MEMORY["entries"][:1]}
    spoken = told(Explanation(ref=REF, now=NOW, workload=WORKLOAD, events=EVENTS, memory=looked))
    assert "Record\n  the record at offset 36 of partition 0 arrived on orders" in spoken
    assert "Record\n  none is remembered\n" in told(Explanation(ref=REF, now=NOW, memory=looked))


def test_a_change_that_no_record_was_behind_is_said() -> None:
    """As at the end of a cooldown: the replica that made it remembers that there was none."""
    slept = {**MEMORY, "entries": [{**MEMORY["entries"][2], "push": None}]}
    assert "Record\n  none: the last change was due by itself" in told(Explanation(ref=REF, now=NOW, memory=slept))


def test_a_workload_that_is_not_managed() -> None:
    """Nothing is invented: no phase, no lag, no trace."""
    spoken = told(Explanation(ref=REF, now=NOW, workload={"metadata": {}, "spec": {"replicas": 2}}))
    assert spoken.startswith("Deployment shop/orders: not managed, 2 replicas (0 ready)")
    assert "lag unknown" in spoken
    assert spoken.endswith("Trace\n  none yet")


def test_invalid_annotations_come_with_the_reason() -> None:
    """Every mistake stands under the headline."""
    status = {"status": {"phase": "Invalid", "problems": ["wakegate.dev/topik: no such annotation"]}}
    spoken = told(Explanation(ref=REF, now=NOW, workload=WORKLOAD, scale_target=status))
    assert "  invalid  wakegate.dev/topik: no such annotation" in spoken


def test_another_hand_is_a_warning() -> None:
    """It stands under the headline, though nothing is invalid."""
    status = {"status": {"phase": "Awake", "warnings": ["argocd-controller writes spec.replicas back"]}}
    spoken = told(Explanation(ref=REF, now=NOW, workload=WORKLOAD, scale_target=status))
    assert "  warning  argocd-controller writes spec.replicas back" in spoken


def test_json() -> None:
    """The same parts as one document."""
    document = explain.document(CLUSTER)
    assert document["target"] == {"namespace": "shop", "kind": "Deployment", "name": "orders"}
    assert (document["phase"], document["replicas"], document["reading"]["lag"]) == ("Awake", 3, 120)
    assert (document["changeTraceId"], document["traceId"]) == (WOKEN, LOOKED)
    assert document["hpa"]["metrics"] == [
        {"name": "s0-kafka-orders", "type": "AverageValue", "target": "10", "current": "40"}
    ]
    remembered = explain.document(Explanation(ref=REF, now=NOW, memory=MEMORY))
    assert remembered["record"]["offset"] == 36
    assert remembered["patch"] == {
        "from": 0,
        "to": 1,
        "outcome": "applied",
        "status": "ok",
        "attempts": 1,
        "milliseconds": 7.6,
    }
