"""Cases 4 to 7: held awake, bad input, outages, and being given back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from testbed.stage import holds, until

if TYPE_CHECKING:
    from testbed.stage import Consumer, Stage, Wakegate

pytestmark = pytest.mark.real

OUTAGE_SECONDS = 60.0


def test_a_group_that_never_committed_with_latest_is_held_awake(stage: Stage) -> None:
    """Without the guard: held awake with its reason; a consumer with auto.offset.reset=latest then skips nothing."""
    stage.wakegate().start()
    consumer = stage.consumer(
        auto_offset_reset="latest", replicas=0, offset_guard="off", cooldown_period="2", polling_interval="2"
    )
    until("it is woken, because its first record would be skipped", lambda: consumer.replicas() == 1, 30)
    until("its consumer has its partitions", lambda: _assigned(consumer, 5), 30)
    reasons: set[str] = set()
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline:
        reasons.add(consumer.scale_target().get("reason", ""))
        assert consumer.replicas() == 1
        time.sleep(0.2)
    assert "no-committed-offset" in reasons
    stage.produce(consumer, 50)
    until("nothing is skipped", lambda: consumer.consumed() == 50, 30)
    until("once it has committed everywhere it sleeps", lambda: consumer.replicas() == 0, 60)


def test_a_typo_and_an_impossible_bound_as_first_configuration(stage: Stage) -> None:
    """Not taken over; an Event and the ScaleTarget name the key, the value, what is allowed and the nearest name."""
    stage.wakegate().start()
    typo = stage.consumer("typo", lag_treshold="5")
    bound = stage.consumer("bound", min_replica_count="9", max_replica_count="3")
    expected = [
        (typo, ("wakegate.dev/lag-treshold", "did you mean wakegate.dev/lag-threshold?")),
        (bound, ("wakegate.dev/min-replica-count", "'9'", "max-replica-count, which is 3")),
    ]
    for consumer, words in expected:
        state = until("a ScaleTarget", consumer.scale_target, 15)
        told = until("an Event", consumer.told_invalid, 15)
        for word in words:
            assert word in told[0]["message"]
            assert word in " ".join(state["problems"])
        assert state["phase"] == "Invalid"
    holds("both are left alone", lambda: typo.replicas() == bound.replicas() == 1, 3)
    assert stage.hpas() == []


def test_a_typo_as_an_edit_while_asleep_keeps_the_last_valid_policy(stage: Stage) -> None:
    """The edited target is marked Invalid and told, and a record still wakes it."""
    stage.wakegate().start()
    consumer = stage.consumer(cooldown_period="3", polling_interval="5")
    until("it sleeps", consumer.asleep, 60)
    consumer.annotate(lag_treshold="5", min_replica_count="9", max_replica_count="3")
    until("it is told", consumer.told_invalid, 15)
    until("it is marked", lambda: consumer.scale_target().get("phase") == "Invalid", 15)
    stage.produce(consumer)
    until("a record still wakes it", lambda: consumer.replicas() == 1, 5)
    consumer.annotate(lag_treshold=None, min_replica_count=None, max_replica_count=None)
    until("it is valid again", lambda: consumer.scale_target().get("phase") in {"Waking", "Awake"}, 15)


@pytest.mark.parametrize("how", ["paused", "killed"])
def test_kafka_away_for_a_minute(stage: Stage, how: str) -> None:
    """None goes to zero, none wakes by mistake; 10 s after its return readings are fresh and a record wakes."""
    wakegate, awake, asleep = _one_awake_one_asleep(stage)
    kafka = stage.bed.kafka
    outage, end = (kafka.pause, kafka.resume) if how == "paused" else (kafka.kill, kafka.restart)
    outage()
    try:
        holds("nothing changes", lambda: (awake.replicas(), asleep.replicas()) == (1, 0), OUTAGE_SECONDS)
    finally:
        end()
    until("a broker answers", kafka.node(1).answers, 60)
    _everything_is_normal(stage, wakegate, awake, asleep)


def test_the_api_server_away_for_a_minute(stage: Stage) -> None:
    """The same without the API server: a record that came meanwhile wakes as soon as it is back."""
    wakegate, awake, asleep = _one_awake_one_asleep(stage)
    server = stage.bed.control_plane.api_server
    server.kill()
    time.sleep(OUTAGE_SECONDS)
    server.start()
    stage.bed.control_plane.wait_ready()
    assert (awake.replicas(), asleep.replicas()) == (1, 0)
    _everything_is_normal(stage, wakegate, awake, asleep)


def test_one_poisoned_target_in_a_hundred(stage: Stage) -> None:
    """A topic that errors holds its own target; no other is late by more than a polling interval, none changes."""
    polling = 5.0
    wakegate = stage.wakegate()
    wakegate.start()
    poisoned = stage.consumer("poisoned", topic=False, cooldown_period="300")
    for number in range(99):
        stage.quiet_target(f"quiet-{number}", polling_interval=f"{polling:g}", cooldown_period="300")
    until("all are managed", lambda: wakegate.samples("wakegate_target_replicas") == 100, 60)
    until("the poisoned one is told", lambda: poisoned.scale_target().get("reason") == "unreadable", 30)
    before = stage.api.get(f"/apis/apps/v1/namespaces/{stage.namespace}/deployments")["items"]
    time.sleep(4 * polling)
    late = wakegate.late(polling)
    assert late == 0, f"{late} evaluations were more than a polling interval late"
    after = stage.api.get(f"/apis/apps/v1/namespaces/{stage.namespace}/deployments")["items"]
    assert [(item["metadata"]["name"], item["spec"]["replicas"]) for item in before] == [
        (item["metadata"]["name"], item["spec"]["replicas"]) for item in after
    ]


def test_annotations_removed_while_asleep(stage: Stage) -> None:
    """Back to max(original, min), no HPA left."""
    stage.wakegate().start()
    consumer = stage.consumer(replicas=2, cooldown_period="3")
    until("it sleeps", lambda: consumer.replicas() == 0, 60)
    consumer.forget_annotations()
    until("it has its original count", lambda: consumer.replicas() == 2, 15)
    until("no HPA is left", lambda: stage.hpas() == [], 15)
    until("no ScaleTarget is left", lambda: consumer.scale_target() == {}, 15)


def test_annotations_removed_while_wakegate_is_down(stage: Stage) -> None:
    """The next process finds what was kept and gives it back."""
    wakegate = stage.wakegate()
    wakegate.start()
    consumer = stage.consumer(replicas=1, cooldown_period="3", min_replica_count="2")
    until("it sleeps", lambda: consumer.replicas() == 0, 60)
    wakegate.process.kill()
    consumer.forget_annotations()
    wakegate.start()
    until("it has max(original, min)", lambda: consumer.replicas() == 2, 30)
    until("no HPA is left", lambda: stage.hpas() == [], 15)


def _one_awake_one_asleep(stage: Stage) -> tuple[Wakegate, Consumer, Consumer]:
    wakegate = stage.wakegate()
    wakegate.start()
    # Its consumer needs a quarter of an hour for each record: the lag stands through the outage.
    awake = stage.consumer("awake", cooldown_period="5", polling_interval="5", work_milliseconds=900_000)
    asleep = stage.consumer("asleep", cooldown_period="5", polling_interval="5")
    until("its consumer runs", lambda: _assigned(awake, 5), 30)
    stage.produce(awake, 5)
    until("the other sleeps", asleep.asleep, 60)
    until("the HPA was served", lambda: _served_value(stage, awake) == 5, 30)
    return wakegate, awake, asleep


def _everything_is_normal(stage: Stage, wakegate: Wakegate, awake: Consumer, asleep: Consumer) -> None:
    deadline = time.monotonic() + 10
    stage.produce(asleep)
    until("a record wakes the sleeper", lambda: asleep.replicas() == 1, 10)
    until("a fresh reading is served", lambda: _served_value(stage, awake) == 5, max(0.5, deadline - time.monotonic()))
    assert awake.replicas() == 1
    assert wakegate.process.running
    assert {count for _, count, _ in asleep.changes()} == {0, 1}


def _served_value(stage: Stage, consumer: Consumer) -> int | None:
    """What the HPA controller would be given now, asked for through the API server."""
    name = f"s0-kafka-{stage.topic_of(consumer)}"
    selector = f"wakegate.dev%2Ftarget%3Ddeployment-{consumer.name}"
    path = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{stage.namespace}/{name}?labelSelector={selector}"
    try:
        items = stage.api.get(path)["items"]
    except Exception as error:  # noqa: BLE001 - any refusal means that nothing is served
        del error
        return None
    return int(items[0]["value"]) if items else None


def _assigned(consumer: Consumer, partitions: int) -> bool:
    return len({entry.partition for entry in consumer.entries() if entry.event == "assigned"}) == partitions
