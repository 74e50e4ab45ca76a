"""Offsets -> lag: which rule gives which partition's lag, what is not believed, and what the HPA may be told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.lag import MAX_PROBED_OFFSETS, LagMemory, Remainder, Rule, measure, remainders, served_value
from activator.core.model import (
    Cluster,
    GroupState,
    Lag,
    OffsetReset,
    PartitionOffsets,
    Trigger,
    TriggerOffsets,
    Unreadable,
)

NINE = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
EARLIEST = Trigger(Cluster("kafka:9092"), "orders", "workers", offset_reset=OffsetReset.EARLIEST)
LATEST = replace(EARLIEST, offset_reset=OffsetReset.LATEST)
FRESH = LagMemory()


def at(seconds: float) -> datetime:
    """Name a moment by its distance from nine o'clock."""
    return NINE + timedelta(seconds=seconds)


def offsets(
    end: int | None,
    committed: int | None = None,
    log_start: int | None = None,
    *,
    partition: int = 0,
    error: str | None = None,
) -> PartitionOffsets:
    """Build the raw offsets of one partition of the topic."""
    return PartitionOffsets("orders", partition, end, committed, log_start, error)


def read(seconds: float, *partitions: PartitionOffsets) -> TriggerOffsets:
    """Build one reading."""
    return TriggerOffsets(partitions, at(seconds), GroupState.STABLE)


def follow(trigger: Trigger, *readings: TriggerOffsets) -> tuple[Lag, list[tuple[int | None, str]], LagMemory]:
    """Measure readings one after the other; return the last lag, its partitions' lags and rules, and the memory."""
    memory = FRESH
    for reading in readings:
        lag, partitions, memory = measure(trigger, reading, memory)
    return lag, [(partition.lag, partition.rule) for partition in partitions], memory


# ------------------------------------------------------------------------------------------------ one look, one rule

FIRST_LOOK: dict[str, tuple[Trigger, PartitionOffsets, int | None, Rule]] = {
    "nothing there": (EARLIEST, offsets(0, 0), 0, Rule.COMMITTED),
    "all consumed": (EARLIEST, offsets(100, 100), 0, Rule.COMMITTED),
    "one record left": (EARLIEST, offsets(100, 99), 1, Rule.COMMITTED),
    "latest counts from its commit just as well": (LATEST, offsets(100, 40), 60, Rule.COMMITTED),
    "committed at zero": (LATEST, offsets(7, 0), 7, Rule.COMMITTED),
    "retention took what was not consumed": (EARLIEST, offsets(100, 40, 90), 10, Rule.COMMIT_BEFORE_LOG_START),
    "retention took all of it": (EARLIEST, offsets(100, 40, 100), 0, Rule.COMMIT_BEFORE_LOG_START),
    "retention took what was consumed anyway": (EARLIEST, offsets(100, 95, 90), 5, Rule.COMMITTED),
    "no commit, earliest: all of it": (EARLIEST, offsets(100, None, 0), 100, Rule.NO_COMMIT_EARLIEST),
    "no commit, earliest: what retention left": (EARLIEST, offsets(100, None, 70), 30, Rule.NO_COMMIT_EARLIEST),
    "no commit, earliest, emptied by retention": (EARLIEST, offsets(100, None, 100), 0, Rule.NO_COMMIT_EARLIEST),
    "no commit, latest: nothing, and not safe": (LATEST, offsets(100, None, 0), 0, Rule.NO_COMMIT_LATEST),
    "no commit, latest, empty topic": (LATEST, offsets(0, None, 0), 0, Rule.NO_COMMIT_LATEST),
    "no commit, and the user has said that it may sleep all the same": (
        replace(LATEST, scale_to_zero_on_invalid_offset=True),
        offsets(100, None, 0),
        0,
        Rule.NO_COMMIT_IGNORED,
    ),
    "an error": (EARLIEST, offsets(None, error="LEADER_NOT_AVAILABLE"), None, Rule.UNREADABLE),
    "an error beside an end is not believed": (EARLIEST, offsets(9, 9, error="NOT_LEADER"), None, Rule.UNREADABLE),
    "no end in the answer": (EARLIEST, offsets(None, 5), None, Rule.UNREADABLE),
    "an end before the commit": (EARLIEST, offsets(0, 100), None, Rule.END_FELL),
}


@pytest.mark.parametrize(("trigger", "seen", "lag", "rule"), FIRST_LOOK.values(), ids=FIRST_LOOK)
def test_first_look(trigger: Trigger, seen: PartitionOffsets, lag: int | None, rule: Rule) -> None:
    """The first look at a partition: its lag, and the line of the table that gave it."""
    total, partitions, _ = follow(trigger, read(0, seen))
    assert partitions == [(lag, rule)]
    assert total.complete is (lag is not None)
    assert total.uncommitted is (rule is Rule.NO_COMMIT_LATEST)


PASSED: dict[str, tuple[Trigger, PartitionOffsets, bool, bool]] = {
    "nothing left, at latest": (LATEST, offsets(9, 5, 9), False, True),
    "records left, at latest": (LATEST, offsets(12, 5, 9), False, True),
    "the guard moves it before a consumer starts": (LATEST, offsets(9, 5, 9), True, False),
    "at earliest a consumer begins at the log start": (EARLIEST, offsets(9, 5, 9), False, False),
    "a commit at the log start is in range": (LATEST, offsets(9, 9, 9), False, False),
    "no commit is another question": (LATEST, offsets(9, None, 9), False, False),
    "the user has said that it may sleep all the same": (
        replace(LATEST, scale_to_zero_on_invalid_offset=True),
        offsets(9, 5, 9),
        False,
        False,
    ),
}


@pytest.mark.parametrize(("trigger", "seen", "guarded", "passed"), PASSED.values(), ids=PASSED)
def test_a_commit_that_retention_has_passed(
    trigger: Trigger, seen: PartitionOffsets, *, guarded: bool, passed: bool
) -> None:
    """At latest, a consumer that starts finds it out of range: it is as good as none, unless somebody moves it."""
    total, _, _ = measure(trigger, read(0, seen), LagMemory(), guarded=guarded)
    assert total.passed is passed


def test_every_rule_has_a_row() -> None:
    """No line of the table is untested: markers have a story below, what is kept has test_kept_offsets.py."""
    assert {rule for *_, rule in FIRST_LOOK.values()} == set(Rule) - {Rule.MARKERS_ONLY, Rule.KEPT}


def test_partitions_add_up() -> None:
    """The lag of a trigger is that of its partitions; what asks for replicas is counted, too."""
    total, _, _ = follow(
        EARLIEST, read(0, offsets(10, 4), offsets(5, 5, partition=1), offsets(9, None, 8, partition=2))
    )
    assert total == Lag(
        known=7,
        complete=True,
        partitions=3,
        readable=3,
        partitions_with_lag=2,
        scalable=7,
        arrived=0,
        uncommitted=False,
        problems=(),
        read_at=at(0),
        group_state=GroupState.STABLE,
    )


def test_the_part_that_is_known_is_a_lower_bound() -> None:
    """With one partition unreadable the rest counts, and it is said that this is not all."""
    total, _, _ = follow(EARLIEST, read(0, offsets(10, 4), offsets(None, partition=1, error="LEADER_NOT_AVAILABLE")))
    assert (total.known, total.complete, total.partitions, total.readable) == (6, False, 2, 1)
    assert total.problems == ("orders-1: LEADER_NOT_AVAILABLE",)


def test_a_thousand_broken_partitions_make_a_short_sentence() -> None:
    """Of many problems a handful is shown."""
    total, _, _ = follow(EARLIEST, read(0, *(offsets(None, partition=n, error="X") for n in range(1000))))
    assert len(total.problems) == 3
    assert (total.known, total.readable, total.partitions) == (0, 0, 1000)


def test_an_answer_without_partitions_is_no_answer() -> None:
    """A topic that seems to have no partition is unreadable, and says why; its lag is not zero."""
    total, _, _ = follow(EARLIEST, read(0))
    assert (total.complete, total.partitions) == (False, None)
    assert total.problems == ("orders: no partition in the answer",)


def test_an_outage_keeps_the_memory() -> None:
    """While nothing can be read, what was believed before stays to be compared with."""
    _, _, memory = follow(EARLIEST, read(0, offsets(100, 100)))
    lag, partitions, kept = measure(EARLIEST, Unreadable("Kafka kafka:9092: no answer", at(30)), memory)
    assert lag == Lag(known=0, complete=False, partitions=None, problems=("Kafka kafka:9092: no answer",))
    assert (partitions, kept) == ((), memory)


# -------------------------------------------------------------------------------------------------- ends that fall

STORIES: dict[str, tuple[Trigger, list[tuple[PartitionOffsets, int | None, Rule]]]] = {
    "a broker that restarts answers zero for a moment": (
        EARLIEST,
        [
            (offsets(100, 90), 10, Rule.COMMITTED),
            (offsets(0, 90), None, Rule.END_FELL),
            (offsets(101, 90), 11, Rule.COMMITTED),
        ],
    ),
    "a zero that comes back is a new one": (
        EARLIEST,
        [
            (offsets(100, 90), 10, Rule.COMMITTED),
            (offsets(0, 90), None, Rule.END_FELL),
            (offsets(100, 90), 10, Rule.COMMITTED),
            (offsets(0, 90), None, Rule.END_FELL),
        ],
    ),
    "a topic that was recreated is read from its beginning": (
        EARLIEST,
        [
            (offsets(100, 100), 0, Rule.COMMITTED),
            (offsets(3, 100, 0), None, Rule.END_FELL),
            (offsets(4, 100, 0), 4, Rule.NO_COMMIT_EARLIEST),
            (offsets(5, 100, 0), 5, Rule.NO_COMMIT_EARLIEST),
            (offsets(5, 2), 3, Rule.COMMITTED),
        ],
    ),
    "with latest, what was recreated is not safe to sleep": (
        LATEST,
        [
            (offsets(100, 100), 0, Rule.COMMITTED),
            (offsets(3, 100, 0), None, Rule.END_FELL),
            (offsets(3, 100, 0), 0, Rule.NO_COMMIT_LATEST),
            (offsets(3, 3), 0, Rule.COMMITTED),
        ],
    ),
    "a log that goes on falling is never believed": (
        EARLIEST,
        [
            (offsets(100, 50), 50, Rule.COMMITTED),
            (offsets(90, 50), None, Rule.END_FELL),
            (offsets(80, 50), None, Rule.END_FELL),
            (offsets(70, 50), None, Rule.END_FELL),
            (offsets(70, 50), 20, Rule.COMMITTED),
        ],
    ),
    "an error between two falls forgets nothing": (
        EARLIEST,
        [
            (offsets(100, 50), 50, Rule.COMMITTED),
            (offsets(60, 50), None, Rule.END_FELL),
            (offsets(None, error="NOT_LEADER"), None, Rule.UNREADABLE),
            (offsets(60, 50), 10, Rule.COMMITTED),
        ],
    ),
    "after a restart of ours a zero is not believed either": (
        EARLIEST,
        [
            (offsets(0, 100), None, Rule.END_FELL),
            (offsets(103, 100), 3, Rule.COMMITTED),
        ],
    ),
    "after a restart of ours a topic that was recreated is, at the second look": (
        EARLIEST,
        [
            (offsets(7, 100, 0), None, Rule.END_FELL),
            (offsets(7, 100, 0), 7, Rule.NO_COMMIT_EARLIEST),
            (offsets(8, 100, 0), 8, Rule.NO_COMMIT_EARLIEST),
        ],
    ),
    "a commit that is set back by hand is lag again": (
        EARLIEST,
        [
            (offsets(100, 100), 0, Rule.COMMITTED),
            (offsets(100, 20), 80, Rule.COMMITTED),
        ],
    ),
}


@pytest.mark.parametrize(("trigger", "story"), STORIES.values(), ids=STORIES)
def test_story(trigger: Trigger, story: list[tuple[PartitionOffsets, int | None, Rule]]) -> None:
    """Look after look: an end that falls is unreadable until two reads agree, and then the reset policy holds."""
    memory = FRESH
    for number, (seen, lag, rule) in enumerate(story):
        _, partitions, memory = measure(trigger, read(number * 15, seen), memory)
        assert [(partition.lag, partition.rule) for partition in partitions] == [(lag, rule)], f"look {number}"


def test_what_fell_is_said_with_both_numbers() -> None:
    """Whoever is paged reads what it was, what it is, and what is waited for."""
    total, _, _ = follow(EARLIEST, read(0, offsets(100, 90)), read(15, offsets(0, 90)))
    assert total.problems == ("orders-0: its end offset fell from 100 to 0; a second look must agree",)
    total, _, _ = follow(EARLIEST, read(0, offsets(0, 90)))
    assert total.problems == ("orders-0: its end offset 0 lies before the group's commit 90; a second look must agree",)


def test_a_topic_that_grows_is_read_as_it_is_now() -> None:
    """A new partition has no commit: with earliest it has no lag, with latest it keeps the target awake."""
    before, after = read(0, offsets(9, 9)), read(15, offsets(9, 9), offsets(0, None, 0, partition=1))
    total, _, _ = follow(EARLIEST, before, after)
    assert (total.known, total.complete, total.partitions, total.uncommitted) == (0, True, 2, False)
    total, _, _ = follow(LATEST, before, after)
    assert (total.known, total.complete, total.partitions, total.uncommitted) == (0, True, 2, True)


def test_records_that_came_and_went_are_counted() -> None:
    """A consumer that keeps up shows no lag at any look: that the end has moved tells that it had work."""
    total, _, memory = follow(EARLIEST, read(0, offsets(9, 9)), read(15, offsets(50, 50), offsets(7, 7, partition=1)))
    assert (total.known, total.arrived) == (0, 41)
    total, _, _ = measure(EARLIEST, read(30, offsets(50, 50), offsets(7, 7, partition=1)), memory)
    assert total.arrived == 0


# ------------------------------------------------------------------------------------------------- persistent lag

PERSISTENT: dict[str, tuple[list[PartitionOffsets], int, int]] = {
    "the first look knows of no movement": ([offsets(50, 10)], 40, 40),
    "a commit that stands still is left out": ([offsets(50, 10), offsets(60, 10)], 50, 0),
    "one that moves counts": ([offsets(50, 10), offsets(60, 11)], 49, 49),
    "one that moves again counts again": ([offsets(50, 10), offsets(60, 10), offsets(60, 20)], 40, 40),
    "without a commit nothing can stand still": ([offsets(50, None, 0), offsets(50, None, 0)], 50, 50),
}


@pytest.mark.parametrize(("looks", "known", "scalable"), PERSISTENT.values(), ids=PERSISTENT)
def test_exclude_persistent_lag(looks: list[PartitionOffsets], known: int, scalable: int) -> None:
    """A partition whose commit has not moved asks for no replicas, but is lag all the same."""
    readings = [read(number * 15, look) for number, look in enumerate(looks)]
    total, _, _ = follow(replace(EARLIEST, exclude_persistent_lag=True), *readings)
    assert (total.known, total.scalable) == (known, scalable)
    total, _, _ = follow(EARLIEST, *readings)
    assert (total.known, total.scalable) == (known, known)


# --------------------------------------------------------------------------------------------------------- markers

PHANTOM: dict[str, tuple[PartitionOffsets, int, Rule]] = {
    "as probed": (offsets(12, 10), 0, Rule.MARKERS_ONLY),
    "committed inside what was probed": (offsets(12, 11), 0, Rule.MARKERS_ONLY),
    "committed at its end": (offsets(12, 12), 0, Rule.COMMITTED),
    "a record behind it": (offsets(13, 10), 1, Rule.COMMITTED),
    "a record behind it, committed inside": (offsets(15, 11), 3, Rule.COMMITTED),
    "committed past it": (offsets(15, 13), 2, Rule.COMMITTED),
    "set back by hand to before it": (offsets(12, 4), 8, Rule.COMMITTED),
    "the log start moved into it": (offsets(12, 5, 11), 0, Rule.MARKERS_ONLY),
}


@pytest.mark.parametrize(("seen", "lag", "rule"), PHANTOM.values(), ids=PHANTOM)
def test_what_was_probed_and_holds_no_record_does_not_count(seen: PartitionOffsets, lag: int, rule: Rule) -> None:
    """[10, 12) was probed and holds markers only: what is known of it says nothing about offsets outside."""
    _, _, memory = follow(EARLIEST, read(0, offsets(12, 10)))
    memory = memory.with_phantom(("orders", 0), 10, 12)
    _, partitions, _ = measure(EARLIEST, read(15, seen), memory)
    assert [(partition.lag, partition.rule) for partition in partitions] == [(lag, rule)]


def test_a_marker_a_look_is_probed_only_for_what_is_new() -> None:
    """Each transaction leaves one marker more: the next probe begins where the last one ended."""
    memory = FRESH
    for end in range(11, 20):
        reading = read(end, offsets(end, 10))
        lag, partitions, memory = measure(EARLIEST, reading, memory)
        assert lag.known == 1
        (left,) = remainders(reading, partitions, memory)
        assert (left.start, left.end) == (end - 1, end)
        memory = memory.with_phantom(left.partition, left.start, left.end)
        lag, _, memory = measure(EARLIEST, reading, memory)
        assert lag.known == 0
    assert memory.partitions["orders", 0].phantom == (10, 19)


def test_measuring_a_reading_again_is_not_a_second_look() -> None:
    """After a probe the same reading is measured again: nothing has stood still, and no fall is confirmed by it."""
    trigger = replace(EARLIEST, exclude_persistent_lag=True)
    first = read(0, offsets(12, 10), offsets(9, 5, partition=1))
    once, _, memory = measure(trigger, first, FRESH)
    again, _, kept = measure(trigger, first, memory)
    assert (again, kept) == (once, memory)
    fallen = read(15, offsets(12, 10), offsets(0, 5, partition=1))
    once, _, memory = measure(trigger, fallen, memory)
    again, _, kept = measure(trigger, fallen, memory)
    assert (again, kept) == (once, memory)
    assert again.complete is False


def test_a_phantom_of_a_partition_that_is_not_known_is_passed_over() -> None:
    """A probe may end after the topic was recreated with fewer partitions."""
    assert FRESH.with_phantom(("orders", 7), 0, 1) == FRESH


def test_a_phantom_ends_with_the_log_that_it_was_in() -> None:
    """A log that became shorter than what was probed has records at those offsets again."""
    _, _, memory = follow(EARLIEST, read(0, offsets(12, 10)))
    memory = memory.with_phantom(("orders", 0), 10, 12)
    for seconds, end in ((15, 5), (30, 6), (45, 30)):
        lag, partitions, memory = measure(EARLIEST, read(seconds, offsets(end, 10, 0)), memory)
    assert [(partition.lag, partition.rule) for partition in partitions] == [(20, Rule.COMMITTED)]
    assert lag.known == 20


def test_remainders_are_small_and_say_whether_they_stand_still() -> None:
    """A probe is worth its bytes for a small lag; whether it moved since the last look is said with it."""
    first = read(
        0,
        offsets(100, 99),
        offsets(5000, 5000 - MAX_PROBED_OFFSETS, partition=1),
        offsets(5000, 4999 - MAX_PROBED_OFFSETS, partition=2),
        offsets(3, 3, partition=3),
        offsets(None, partition=4, error="X"),
    )
    _, partitions, memory = measure(EARLIEST, first, FRESH)
    assert list(remainders(first, partitions, memory)) == [
        Remainder(("orders", 0), 99, 100, steady=False),
        Remainder(("orders", 1), 4000, 5000, steady=False),
    ]
    second = read(15, offsets(100, 99), offsets(5000, 4500, partition=1))
    _, partitions, memory = measure(EARLIEST, second, memory)
    assert list(remainders(second, partitions, memory)) == [
        Remainder(("orders", 0), 99, 100, steady=True),
        Remainder(("orders", 1), 4500, 5000, steady=False),
    ]


# -------------------------------------------------------------------------------------------- what the HPA is served


def lag_of(
    known: int, *, complete: bool = True, readable: int = 3, with_lag: int = 3, scalable: int | None = None
) -> Lag:
    """Build a lag over three partitions."""
    return Lag(
        known=known,
        complete=complete,
        partitions=3,
        readable=readable,
        partitions_with_lag=with_lag,
        scalable=known if scalable is None else scalable,
    )


SERVED: dict[str, tuple[Trigger, Lag, int, int | None]] = {
    "the lag, uncapped": (EARLIEST, lag_of(5000), 3, 5000),
    "no lag": (EARLIEST, lag_of(0), 3, 0),
    "what asks for replicas": (EARLIEST, lag_of(50, scalable=20), 3, 20),
    "what partitions with lag can feed": (
        replace(EARLIEST, limit_to_partitions_with_lag=True),
        lag_of(5000, with_lag=2),
        9,
        20,
    ),
    "partly known and little: what holds the present count": (EARLIEST, lag_of(1, complete=False, readable=2), 4, 40),
    "partly known and much: what is known": (EARLIEST, lag_of(70, complete=False, readable=2), 4, 70),
    "partly known, capped: what holds the present count": (
        replace(EARLIEST, limit_to_partitions_with_lag=True),
        lag_of(5000, complete=False, readable=2, with_lag=1),
        4,
        40,
    ),
    "partly known, none of it lag": (EARLIEST, lag_of(0, complete=False, readable=2), 4, 40),
    "nothing known": (EARLIEST, lag_of(0, complete=False, readable=0), 4, None),
    "never read": (EARLIEST, Lag(known=0, complete=False, partitions=None), 4, None),
}


@pytest.mark.parametrize(("trigger", "lag", "replicas", "value"), SERVED.values(), ids=SERVED)
def test_served(trigger: Trigger, lag: Lag, replicas: int, value: int | None) -> None:
    """The HPA is told the lag, a floor where part of it is not known, and an error where nothing is."""
    assert served_value(trigger, lag, replicas) == value


# ----------------------------------------------------------------------------------------------------- invariants

SMALL = st.integers(0, 30)
PARTITION = st.builds(
    PartitionOffsets,
    topic=st.just("orders"),
    partition=st.integers(0, 2),
    end=st.none() | SMALL,
    committed=st.none() | SMALL,
    log_start=st.none() | SMALL,
    error=st.none() | st.none() | st.just("NOT_LEADER"),
).map(lambda seen: replace(seen, log_start=None if seen.end is None else min(seen.log_start or 0, seen.end)))
PARTITIONS = st.lists(PARTITION, max_size=3, unique_by=lambda seen: seen.partition)
TRIGGERS = st.builds(
    Trigger,
    cluster=st.just(Cluster("kafka:9092")),
    topic=st.just("orders"),
    group=st.just("workers"),
    lag_threshold=st.integers(1, 12),
    offset_reset=st.sampled_from(OffsetReset),
    limit_to_partitions_with_lag=st.booleans(),
    exclude_persistent_lag=st.booleans(),
)


@given(TRIGGERS, st.lists(PARTITIONS, min_size=1, max_size=6), st.integers(0, 20))
def test_whatever_is_read(trigger: Trigger, looks: list[list[PartitionOffsets]], replicas: int) -> None:
    """No lag is negative, the unknown is never a number, totals fit, and the HPA is never lowered by a partial read."""
    memory = FRESH
    for number, look in enumerate(looks):
        before = memory
        lag, partitions, memory = measure(trigger, TriggerOffsets(tuple(look), at(number)), memory)
        assert measure(trigger, TriggerOffsets(tuple(look), at(number)), before) == (lag, partitions, memory)
        known = [partition.lag for partition in partitions if partition.lag is not None]
        assert all(count >= 0 for count in known)
        assert lag.known == sum(known)
        assert 0 <= lag.scalable <= lag.known
        assert lag.partitions_with_lag <= lag.readable == len(known) <= len(look)
        assert lag.complete is (len(known) == len(look) > 0)
        assert lag.complete or lag.problems
        unreadable = {Rule.UNREADABLE, Rule.END_FELL}
        assert all((partition.lag is None) is (partition.rule in unreadable) for partition in partitions)
        value = served_value(trigger, lag, replicas)
        assert (value is None) is (lag.readable == 0)
        if value is not None and not lag.complete:
            assert -(-value // trigger.lag_threshold) >= replicas


@given(TRIGGERS, SMALL, SMALL, st.integers(1, 30))
def test_an_end_that_falls_once_is_unreadable(trigger: Trigger, end: int, committed: int, fall: int) -> None:
    """Whatever the commit: the first read below what was believed is not taken for a lag."""
    _, _, memory = follow(trigger, read(0, offsets(end + fall, min(committed, end + fall))))
    lag, _, _ = measure(trigger, read(15, offsets(end, committed)), memory)
    assert (lag.complete, lag.readable) == (False, 0)
