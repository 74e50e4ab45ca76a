"""Where somebody else owns external.metrics.k8s.io, wakegate moves 1..N itself and leaves theirs alone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from activator.kubernetes.api_service import PATH as API_SERVICE
from testbed import ledger
from testbed.stage import holds, until

if TYPE_CHECKING:
    from testbed.stage import Consumer, Stage

pytestmark = pytest.mark.real

BEHAVIOR = "{scaleDown: {stabilizationWindowSeconds: 2}}"


def flap(stage: Stage, *, available: bool) -> None:
    """Say as the aggregator does whether an APIService is Available just now."""
    condition = {
        "type": "Available",
        "status": "True" if available else "False",
        "reason": "Passed" if available else "FailedDiscoveryCheck",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    stage.api.patch(f"{API_SERVICE}/status", {"status": {"conditions": [condition]}})


def spec_of(stage: Stage) -> dict[str, Any]:
    """What the APIService refers to."""
    spec: dict[str, Any] = stage.api.get(API_SERVICE)["spec"]
    return spec


def consumed(consumer: Consumer, records: int) -> bool:
    """Whether so many different records were read."""
    return consumer.consumed() == records


def test_a_foreign_api_service_is_left_alone_and_the_round_is_played_by_direct_hand_off(stage: Stage) -> None:
    """0 -> 5 -> 0 without an HPA; their APIService is untouched, and its flapping does not move the choice."""
    (nobody,) = stage.bed.reserve_ports(1)
    stage.bed.control_plane.aggregate("keda", "keda-operator-metrics-apiserver", nobody)
    theirs = spec_of(stage)
    stage.wakegate(serve_metrics=False).start()
    consumer = stage.consumer(work_milliseconds=60, cooldown_period="6", polling_interval="2", behavior=BEHAVIOR)
    until("it sleeps", consumer.asleep, 60)
    assert consumer.scale_target()["handoff"] == "direct"
    stage.produce(consumer)
    until("one record wakes it", lambda: consumer.replicas() == 1, 5)
    stage.produce(consumer, 500)
    until("wakegate takes it to five", lambda: consumer.replicas() == 5, 60)
    for available in (True, False, True):
        flap(stage, available=available)
        holds("no HPA is made", lambda: stage.hpas() == [], 1)
    until("everything is consumed", partial(consumed, consumer, 501), 90)
    until("it sleeps again", lambda: consumer.replicas() == 0, 60)
    assert consumer.scale_target()["handoff"] == "direct"
    assert max(count for _, count, _ in consumer.changes()) == 5
    assert {client for _, _, client in consumer.changes()} == {"wakegate"}
    assert stage.hpas() == []
    assert spec_of(stage) == theirs
    assert ledger.missing(consumer.entries(), {0: 101} | dict.fromkeys(range(1, 5), 100)) == []


def test_our_own_api_service_that_flaps_does_not_move_the_choice(stage: Stage) -> None:
    """By reference, not by mood: an APIService that leads to us and is not Available stays the HPA's."""
    stage.wakegate().start()
    consumer = stage.consumer(cooldown_period="300", polling_interval="2")
    until("its HPA is there", stage.hpas, 30)
    for available in (False, True, False):
        flap(stage, available=available)
        holds("its HPA stays", lambda: len(stage.hpas()) == 1, 4)
    until("its state says so", lambda: consumer.scale_target().get("handoff") == "hpa", 10)
