"""Case 1: an annotated Deployment goes 0 -> min -> HPA 1..N -> 0, and no record is skipped."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from testbed import ledger
from testbed.stage import Consumer, Stage, until

if TYPE_CHECKING:
    from testbed.bed import Testbed

pytestmark = pytest.mark.real

COOLDOWN_SECONDS = 6.0
POLLING_SECONDS = 5.0
PARTITIONS = 5


def play_rounds(stage: Stage, rounds: int, hpa_seconds: float) -> Consumer:
    """Play the case: asleep, woken by one record, taken to five by five hundred, asleep again."""
    stage.wakegate().start()
    consumer = stage.consumer(
        work_milliseconds=60,
        cooldown_period=f"{COOLDOWN_SECONDS:g}",
        polling_interval=f"{POLLING_SECONDS:g}",
    )
    until("the first Pod is ready", consumer.ready, 30)
    produced = 0
    for _ in range(rounds):
        until("it sleeps", consumer.asleep, 60)
        stage.produce(consumer)
        until("one record wakes it", lambda: consumer.replicas() == 1, 5)
        stage.produce(consumer, 500)
        produced += 501
        until("the HPA takes it to five", lambda: consumer.replicas() == PARTITIONS, hpa_seconds)
        until("everything is consumed", partial(_has_consumed, consumer, produced), 90)
        until("it sleeps again", lambda: consumer.replicas() == 0, COOLDOWN_SECONDS + POLLING_SECONDS + 30)
        last_commit = max(entry.at for entry in consumer.entries() if entry.event == "committed")
        took = (consumer.put_to(0) - last_commit).total_seconds()
        assert took <= COOLDOWN_SECONDS + POLLING_SECONDS + 2, f"slept {took:.1f} s after the last commit"
    return consumer


def _has_consumed(consumer: Consumer, records: int) -> bool:
    return consumer.consumed() == records


def check_records(consumer: Consumer, rounds: int) -> None:
    """No record was skipped, and one was read twice only inside a logged rebalance."""
    until("its last Pod is gone", lambda: consumer.ready() == 0, 30)
    entries = consumer.entries()
    per_partition = {0: 101 * rounds} | dict.fromkeys(range(1, PARTITIONS), 100 * rounds)
    assert ledger.missing(entries, per_partition) == []
    assert [repeat for repeat in ledger.repeats(entries) if not repeat.explained] == []


def check_counts(consumer: Consumer) -> None:
    """It never passed five, and wakegate itself only went from idle to min and to idle."""
    assert max(count for _, count, _ in consumer.changes()) == PARTITIONS
    ours = {count for _, count, client in consumer.changes() if client == "wakegate"}
    assert ours == {0, 1}


def test_two_rounds_with_a_quick_hpa(stage: Stage) -> None:
    """0 -> 1 -> 5 -> 0, twice, with an HPA controller that looks every two seconds."""
    consumer = play_rounds(stage, rounds=2, hpa_seconds=30)
    check_records(consumer, rounds=2)
    check_counts(consumer)
    assert len(stage.hpas()) == 1
    assert stage.hpas()[0]["spec"]["maxReplicas"] == PARTITIONS


def test_a_round_with_stock_controller_times(stock_bed: Testbed) -> None:
    """The same with the times that every cluster has: a sync of 15 s, a downscale window of five minutes."""
    stage = Stage.on(stock_bed)
    try:
        consumer = play_rounds(stage, rounds=1, hpa_seconds=60)
        check_records(consumer, rounds=1)
        check_counts(consumer)
    finally:
        stage.close()
