"""What is known of a trigger between two looks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from activator.core.lag import LagMemory, measure
from activator.core.model import Cluster, GroupState, OffsetReset, PartitionOffsets, Trigger, TriggerOffsets
from activator.loop.tracker import Tracker
from tests.fakes.bed import Bed
from tests.virtual_time import virtual

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)

answers = st.builds(
    lambda ends, committed, state, topic_id: TriggerOffsets(
        tuple(PartitionOffsets("orders", number, end, committed, 0) for number, end in enumerate(ends)),
        START,
        state,
        topic_id=topic_id,
    ),
    st.lists(st.sampled_from((0, 7, 8, None)), min_size=1, max_size=2),
    st.sampled_from((None, 7, 8)),
    st.sampled_from((GroupState.EMPTY, GroupState.STABLE)),
    st.sampled_from(("one", "another", None)),
)
repeated = st.lists(st.tuples(answers, st.integers(1, 4), st.booleans(), st.booleans()), min_size=1, max_size=6)
"""Answers, how often each is given, whether the offsets guard is on, and whether each time a decision follows."""


def stands(reading: TriggerOffsets, limitation: frozenset[int]) -> list[int | None] | None:
    """Return what a group without members has committed, where it counts; None: it has members."""
    if reading.group_state is not GroupState.EMPTY:
        return None
    counted = [each for each in reading.partitions if not limitation or each.partition in limitation]
    return [each.committed for each in counted]


@given(repeated, st.sampled_from(OffsetReset), st.sampled_from((frozenset(), frozenset({0}))), st.integers(0, 6))
def test_a_repeated_reading_is_measured_like_any_other(
    readings: list[tuple[TriggerOffsets, int, bool, bool]],
    reset: OffsetReset,
    limitation: frozenset[int],
    probed_at: int,
) -> None:
    """A sleeper's readings say the same again and again: that they are not walked through changes nothing.

    What has arrived is counted from the last decision on.
    """
    trigger = Trigger(Cluster("kafka:9092"), "orders", "shop", offset_reset=reset, partition_limitation=limitation)
    tracker, memory, now, before, arrived = Tracker(), LagMemory(), START, None, 0
    for number, (answer, times, guarded, decided) in enumerate(readings):
        for _ in range(times):
            now += timedelta(seconds=15)
            reading = replace(answer, read_at=now)
            tracker.take(trigger, reading, guarded=guarded)
            lag, partitions, memory = measure(trigger, reading, memory, guarded=guarded)
            arrived += lag.arrived
            assert (tracker.lag, tracker.partitions, tracker.memory) == (
                replace(lag, arrived=arrived),
                partitions,
                memory,
            )
            if decided:
                tracker.arrived = arrived = 0
            assert tracker.steady == (stands(reading, limitation) == before is not None)
            before = stands(reading, limitation)
        if number == probed_at:  # what is learnt of a reading counts at the next one that says the same
            memory = memory.with_phantom(("orders", 0), 7, 8)
            tracker.memory = tracker.memory.with_phantom(("orders", 0), 7, 8)
            tracker.measure_again(trigger, guarded=guarded)
            *_, memory = measure(trigger, tracker.offsets or reading, memory, guarded=guarded)


@virtual
async def test_nothing_is_kept_of_a_trigger_that_is_not_in_force() -> None:
    """Whoever still holds one of a policy that was replaced meanwhile must not find it known when that comes back."""
    bed = Bed(hpa=False)
    orders = bed.deploy()
    async with bed:
        await bed.until(1)
        target = bed.replica.activator.targets[orders]
        (trigger,) = target.policy.triggers
        assert target.tracker(trigger) is target.tracker(trigger)
        other = replace(trigger, lag_threshold=99)
        assert target.tracker(other).offsets is None
        assert set(target.trackers) == {trigger}
