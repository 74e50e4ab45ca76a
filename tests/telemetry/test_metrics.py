"""What Prometheus is told."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from activator.core.model import (
    Applied,
    Departed,
    Notice,
    Outcome,
    Phase,
    Policy,
    PushSource,
    Reason,
    Severity,
    TargetRef,
    Trigger,
)
from activator.telemetry.metrics import MetricsRecorder, OutsideCollector
from activator.telemetry.metrics_table import METRICS, labels_of, metrics_markdown
from tests.fakes.facts import KAFKA, ORDERS, START, at, batch_read, evaluation, lag, new_ids, push, stretch, wake

if TYPE_CHECKING:
    from datetime import datetime

OF_ORDERS = {"namespace": "shop", "kind": "Deployment", "name": "orders"}
OF_PIZZA = OF_ORDERS | {"trigger": "0", "topic": "pizza", "group": "orders"}


class World:
    """A recorder, its registry and its clock."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.now: datetime = START
        self.recorder = MetricsRecorder(self.registry, lambda: self.now, version="1.2.3")

    def value(self, metric: str, /, **labels: str) -> float | None:
        """Return one sample; None: it is not there."""
        return self.registry.get_sample_value(metric, labels)

    def of_orders(self, metric: str, /, **labels: str) -> float | None:
        """Return one sample of the target."""
        return self.value(metric, **OF_ORDERS, **labels)


@pytest.fixture
def world() -> World:
    """Return a recorder that has seen nothing."""
    return World()


def test_looks_are_counted_by_outcome_and_reason(world: World) -> None:
    """Held, applied and failed are told apart, each with its reason."""
    for fact in (evaluation(0), evaluation(30), wake(40)):
        world.recorder.record(fact)
    assert world.value("wakegate_evaluations_total", outcome="held", reason="quiet") == 2
    assert world.value("wakegate_evaluations_total", outcome="applied", reason="record-arrived") == 1


def test_wake_latency_counts_from_the_record_to_the_answer(world: World) -> None:
    """3 ms until the decision and 4 ms for the PATCH are 7 ms: the user's own number."""
    world.recorder.record(wake(1, applied=Applied(at(1), at(1.004), "ok", attempts=3)))
    assert world.value("wakegate_wake_latency_seconds_sum", source="tail") == pytest.approx(0.007)
    assert world.value("wakegate_wake_latency_seconds_bucket", source="tail", le="0.005") == 0
    assert world.value("wakegate_wake_latency_seconds_bucket", source="tail", le="0.01") == 1
    assert world.value("wakegate_wakes_total", source="tail") == 1
    assert world.value("wakegate_apply_retries_total") == 2


def test_a_wake_by_poll_has_no_latency(world: World) -> None:
    """Nobody knows when its record arrived; it is counted all the same."""
    world.recorder.record(wake(1, pushed=None))
    assert world.value("wakegate_wakes_total", source="poll") == 1
    assert world.value("wakegate_wake_latency_seconds_count", source="poll") is None


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.HELD])
def test_a_wake_that_did_not_happen_is_no_wake(world: World, outcome: Outcome) -> None:
    """A latency of failures would look like a fast wake."""
    world.recorder.record(wake(1, outcome=outcome))
    assert world.value("wakegate_wakes_total", source="tail") is None


def test_a_target_s_gauges_are_its_last_look(world: World) -> None:
    """Replicas, lag, phase and reason as they are now; the states before leave no series."""
    world.recorder.record(evaluation(0))
    world.recorder.record(wake(40, lags=(lag(7, seconds=39),)))
    assert world.of_orders("wakegate_target_replicas") == 1
    assert world.value("wakegate_target_lag", **OF_PIZZA) == 7
    assert world.value("wakegate_target_lag_read_timestamp_seconds", **OF_PIZZA) == at(39).timestamp()
    assert world.of_orders("wakegate_target_phase", phase="Waking") == 1
    assert world.of_orders("wakegate_target_phase", phase="Asleep") is None
    assert world.of_orders("wakegate_target_reason", outcome="applied", reason="record-arrived") == 1
    assert world.value("wakegate_targets", phase="Waking") == 1
    assert world.value("wakegate_targets", phase="Asleep") == 0


def test_a_failed_change_shows_the_count_that_is(world: World) -> None:
    """What was decided and not done is not what runs."""
    world.recorder.record(wake(1, outcome=Outcome.FAILED))
    assert world.of_orders("wakegate_target_replicas") == 0


@pytest.mark.parametrize(("known", "shown"), [(0, None), (9, 9)])
def test_an_unknown_lag_is_no_zero(world: World, known: int, shown: int | None) -> None:
    """Unreadable with nothing known has no lag at all; a part that is known is a lower bound, marked as one."""
    world.recorder.record(evaluation(0, lags=(lag(known, problems=("pizza/3: LEADER_NOT_AVAILABLE",)),)))
    assert world.value("wakegate_target_lag", **OF_PIZZA) == shown
    assert world.value("wakegate_target_readable", **OF_PIZZA) == 0


def test_a_target_with_two_triggers_on_one_topic_has_two_series(world: World) -> None:
    """Equal labels twice would make Prometheus refuse the whole page."""
    policy = Policy(triggers=(Trigger(KAFKA, "pizza", "orders"), Trigger(KAFKA, "pizza", "orders", index=1)))
    world.recorder.record(evaluation(0, policy=policy, lags=(lag(1), lag(2))))
    assert [world.value("wakegate_target_lag", **OF_PIZZA | {"trigger": index}) for index in "01"] == [1, 2]


def test_targets_woken_in_vain_can_be_alerted_on(world: World) -> None:
    """The count is there, with 0, before the first one."""
    assert world.value("wakegate_targets_by_reason", reason="no-replica-ready") == 0
    world.recorder.record(evaluation(0, reason=Reason.NO_REPLICA_READY, phase=Phase.WAKING, replicas=(1, 1)))
    assert world.value("wakegate_targets_by_reason", reason="no-replica-ready") == 1


def test_a_target_that_is_managed_no_more_leaves_no_series(world: World) -> None:
    """The record of its release is the last that is said of it."""
    world.recorder.record(evaluation(0))
    world.recorder.record(evaluation(30, reason=Reason.UNMANAGED, outcome=Outcome.APPLIED))
    assert world.of_orders("wakegate_target_replicas") is None


def test_a_target_that_nobody_looks_at_any_more_leaves_no_series(world: World) -> None:
    """Deleted, or led by another replica now: five minutes after the look that did not come, it is gone."""
    world.recorder.record(evaluation(0))  # the next look is due at 30
    world.now = at(30 + 300)
    assert world.of_orders("wakegate_target_replicas") == 0
    world.now = at(30 + 301)
    assert world.of_orders("wakegate_target_replicas") is None
    assert world.value("wakegate_targets", phase="Asleep") == 0


def test_reads_are_timed_and_counted_by_cluster(world: World) -> None:
    """How long, how many, and how many in vain."""
    world.recorder.record(batch_read(0))
    world.recorder.record(batch_read(30, unreadable=5, problem="kafka:9092: connection refused"))
    assert world.value("wakegate_lag_read_duration_seconds_sum", cluster="kafka:9092") == pytest.approx(0.04)
    assert world.value("wakegate_triggers_read_total", cluster="kafka:9092") == 24
    assert world.value("wakegate_triggers_unreadable_total", cluster="kafka:9092") == 5


def test_a_cluster_that_is_read_no_more_has_no_series_after_a_day(world: World) -> None:
    """Its name is what somebody wrote at a workload: a process that lives for months keeps none of them for good."""
    other, day = replace(KAFKA, bootstrap_servers="other:9092"), 86_400
    metrics = ("lag_read_duration_seconds_count", "triggers_read_total", "triggers_unreadable_total")
    for fact in (batch_read(0), replace(batch_read(30), cluster=other), batch_read(day)):
        world.recorder.record(fact)
    assert all(world.value(f"wakegate_{name}", cluster="other:9092") is not None for name in metrics)
    world.recorder.record(batch_read(day + 60))
    assert all(world.value(f"wakegate_{name}", cluster="other:9092") is None for name in metrics)
    assert world.value("wakegate_triggers_read_total", cluster="kafka:9092") == 36
    world.recorder.record(replace(batch_read(day + 90), cluster=other))
    assert world.value("wakegate_triggers_read_total", cluster="other:9092") == 12


def test_episodes_are_timed_by_stretch(world: World) -> None:
    """Wake to ready and wake to first commit are the numbers that a user feels; what never came is counted."""
    whole = new_ids()
    world.recorder.record(stretch("ready", 4, whole=whole))
    world.recorder.record(stretch("", 600, whole=whole, missing=("handoff", "first_commit")))
    assert world.value("wakegate_episode_duration_seconds_sum", episode="wake", stretch="ready") == 4
    assert world.value("wakegate_episode_duration_seconds_sum", episode="wake", stretch="all") == 600
    assert world.value("wakegate_episodes_incomplete_total", episode="wake", missing="first_commit") == 1


def test_notices_pushes_answers_and_spans_are_counted(world: World) -> None:
    """Each by what tells one from another."""
    world.recorder.record(Notice(ORDERS, "uid", Severity.WARNING, "ForeignWrites", "...", START))
    world.recorder.pushed(push(PushSource.GATEWAY))
    world.recorder.external_metric_served("stale")
    world.recorder.spans_exported(512)
    world.recorder.spans_dropped(3, "queue-full")
    assert world.value("wakegate_notices_total", severity="Warning", reason="ForeignWrites") == 1
    assert world.value("wakegate_pushes_total", source="gateway") == 1
    assert world.value("wakegate_external_metric_requests_total", result="stale") == 1
    assert world.value("wakegate_spans_exported_total") == 512
    assert world.value("wakegate_spans_dropped_total", cause="queue-full") == 3


def test_every_metric_is_in_the_table_and_on_the_page(world: World) -> None:
    """The reference is made from the table: what the page shows, the table has, with the same labels and type."""
    world.recorder.record(wake(1))
    world.registry.register(OutsideCollector(lambda: [("kafka:9092", "fetched", 5)], lambda: 3, lambda: True))
    families = {
        family.name: family for family in text_string_to_metric_families(generate_latest(world.registry).decode())
    }
    ours = {name for name in families if name.startswith("wakegate_") and not name.endswith("_created")}
    assert ours == {metric.name.removesuffix("_total") for metric in METRICS}
    for metric in METRICS:
        family = families[metric.name.removesuffix("_total")]
        assert family.type == metric.type
        assert family.documentation == metric.doc
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(labels_of(metric))
        assert f"| `{metric.name}` | {metric.type} |" in metrics_markdown()
    assert "process_cpu_seconds" in families
    assert world.value("wakegate_leader") == 1
    assert world.value("wakegate_build_info", version="1.2.3", python_version=platform.python_version()) == 1


def test_nothing_is_kept_of_targets_that_come_and_go(world: World) -> None:
    """A process lives for months."""
    for number in range(50):
        world.recorder.record(evaluation(number, ref=TargetRef("shop", "Deployment", f"d{number}")))
    world.now = at(10_000)
    generate_latest(world.registry)
    assert world.recorder.present() == []
    assert world.recorder._last == {}


def test_evaluations_are_read_while_others_are_recorded(world: World) -> None:
    """The page is made in a thread of its own: a target that is recorded meanwhile is not lost."""
    first = evaluation(0)
    world.recorder.record(first)
    world.recorder.record(replace(first, now=at(10)))
    assert [found.now for found in world.recorder.present()] == [at(10)]


def notice(reason: str, ref: TargetRef = ORDERS) -> Notice:
    """What a person is told of a target."""
    return Notice(ref, "uid", Severity.WARNING, reason, "", at(0))


def test_a_mistake_in_a_configuration_is_counted_until_it_is_corrected(world: World) -> None:
    """Evaluations go on by the last valid one and know nothing of it; where there never was one there are none."""
    never_valid = TargetRef("shop", "Deployment", "never-valid")
    world.recorder.record(evaluation(0))
    phase = evaluation(0).phase
    assert world.value("wakegate_targets", phase=phase) == 1

    for ref in (ORDERS, never_valid):
        world.recorder.record(notice("InvalidConfiguration", ref))
    world.recorder.managed = lambda: {ORDERS: True}
    world.recorder.record(evaluation(1))
    assert world.value("wakegate_targets", phase=phase) == 0
    assert world.value("wakegate_targets", phase="Invalid") == 2

    world.recorder.managed = lambda: {ORDERS: False}  # nothing else tells: not who leads by then, nor who cannot read
    world.recorder.record(Departed(never_valid, at(2)))
    assert world.value("wakegate_targets", phase=phase) == 1
    assert world.value("wakegate_targets", phase="Invalid") == 0


def test_only_the_leader_tells_of_targets(world: World) -> None:
    """One that has lost the Lease knows of the past: an alert on the worst of all replicas would go by it."""
    stuck = evaluation(0, reason=Reason.NO_REPLICA_READY)
    world.recorder.record(stuck)
    assert world.of_orders("wakegate_target_replicas") is not None
    assert world.value("wakegate_targets_by_reason", reason="no-replica-ready") == 1

    world.recorder.leads = lambda: False
    assert world.of_orders("wakegate_target_replicas") is None
    assert not world.value("wakegate_targets_by_reason", reason="no-replica-ready")
    assert world.value("wakegate_targets", phase=stuck.phase) == 0


def test_only_the_leader_tells_of_mistakes(world: World) -> None:
    """As of all else about targets: a replica that waits may not know the newest."""
    world.recorder.record(notice("InvalidConfiguration"))
    world.recorder.leads = lambda: False
    assert world.value("wakegate_targets", phase="Invalid") == 0
