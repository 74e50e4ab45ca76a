"""What is kept of a group from look to look, what Kafka has lost of it, and the lag that counts meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.kept_offsets import MissingCommit, merge, missing_commits, only_missing
from activator.core.lag import LagMemory, Rule, measure
from activator.core.model import (
    Cluster,
    GroupState,
    KeptOffsets,
    Lag,
    OffsetReset,
    PartitionOffsets,
    Trigger,
    TriggerOffsets,
    Unreadable,
)

NINE = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
LATEST = Trigger(Cluster("kafka:9092"), "orders", "workers")
EARLIEST = replace(LATEST, offset_reset=OffsetReset.EARLIEST)
ID, OTHER_ID = "4ZGHnBRhQ3WDs4rcOSLrnQ", "uCOH0zNMQZ2sbeV2EN1ilw"

Row = tuple[int | None, int | None] | tuple[int | None, int | None, int]


def reading(
    seconds: float, *rows: Row, state: GroupState = GroupState.EMPTY, topic_id: str | None = None
) -> TriggerOffsets:
    """Build a reading from (end, committed[, log start]) a partition; an end of None is an error."""
    partitions = tuple(
        PartitionOffsets(
            "orders", number, row[0], row[1], row[2] if len(row) > 2 else 0, None if row[0] is not None else "NO_LEADER"
        )
        for number, row in enumerate(rows)
    )
    return TriggerOffsets(partitions, NINE + timedelta(seconds=seconds), state, topic_id=topic_id)


def follow(trigger: Trigger, *readings: TriggerOffsets, kept: KeptOffsets | None = None) -> tuple[Lag, LagMemory]:
    """Measure readings one after the other, guarded; return the last lag and memory."""
    memory = LagMemory(kept=kept or KeptOffsets())
    for one in readings:
        lag, _, memory = measure(trigger, one, memory, guarded=True)
    return lag, memory


@dataclass(frozen=True)
class Story:
    """What was kept, what is then seen, and what is kept after it."""

    trigger: Trigger
    before: KeptOffsets
    seen: tuple[TriggerOffsets, ...]
    after: KeptOffsets
    lag: int
    missing: tuple[tuple[int, int, int, bool] | tuple[int, int, int, bool, bool], ...] = ()
    """Partition, offset to commit, offsets that expired, never committed, and whether retention has passed a commit."""


def kept(*offsets: int | None, pinned: set[int] | None = None, topic_id: str | None = None) -> KeptOffsets:
    """Build what is kept."""
    return KeptOffsets(offsets, frozenset(pinned or ()), topic_id)


STORIES = {
    "the first look takes what is committed": Story(LATEST, kept(), (reading(0, (9, 9), (7, 5)),), kept(9, 5), lag=2),
    "a group at latest that never committed is pinned at the end": Story(
        LATEST, kept(), (reading(0, (9, None), (7, 7)),), kept(9, 7, pinned={0}), lag=0, missing=((0, 9, 0, True),)
    ),
    "a pin stays where it is": Story(
        LATEST,
        kept(),
        (reading(0, (9, None)), reading(1, (12, None))),
        kept(9, pinned={0}),
        lag=3,
        missing=((0, 9, 0, True),),
    ),
    "a group at earliest that never committed needs no pin": Story(
        EARLIEST, kept(), (reading(0, (9, None)),), kept(None), lag=9
    ),
    "what expired is kept, and is no lag": Story(
        LATEST, kept(9), (reading(0, (9, None)),), kept(9), lag=0, missing=((0, 9, 0, False),)
    ),
    "what expired at earliest is not read again": Story(
        EARLIEST, kept(9), (reading(0, (9, None)),), kept(9), lag=0, missing=((0, 9, 0, False),)
    ),
    "records that came since are lag": Story(
        EARLIEST, kept(9), (reading(0, (11, None)),), kept(9), lag=2, missing=((0, 9, 0, False),)
    ),
    "an operator's reset wins": Story(LATEST, kept(9), (reading(0, (9, 2)),), kept(2), lag=7),
    "a commit takes the place of a pin": Story(LATEST, kept(9, pinned={0}), (reading(0, (12, 12)),), kept(12), lag=0),
    "retention has passed what is kept": Story(
        LATEST, kept(9), (reading(0, (40, None, 30)),), kept(9), lag=10, missing=((0, 30, 21, False),)
    ),
    "a commit that the log start has passed is as good as none": Story(
        LATEST, kept(5), (reading(0, (8, 5, 7), (9, 9, 9)),), kept(5, 9), lag=1, missing=((0, 7, 2, False, True),)
    ),
    "only a transaction's marker was left of it, and has expired": Story(
        LATEST, kept(5), (reading(0, (6, 5, 6)),), kept(5), lag=0, missing=((0, 6, 1, False, True),)
    ),
    "at earliest a consumer begins at the log start by itself": Story(
        EARLIEST, kept(5), (reading(0, (8, 5, 7)),), kept(5), lag=1
    ),
    "a partition that was added is kept from its beginning": Story(
        LATEST, kept(9), (reading(0, (9, 9), (3, None)),), kept(9, 0, pinned={1}), lag=3, missing=((1, 0, 0, True),)
    ),
    "a partition that was added at earliest begins there by itself": Story(
        EARLIEST, kept(9), (reading(0, (9, 9), (3, None)),), kept(9, None), lag=3
    ),
    "a partition that cannot be read keeps what it had": Story(
        LATEST, kept(9, 5), (reading(0, (None, None), (5, 5)),), kept(9, 5), lag=0
    ),
    "one that could not be read at first is not a new one": Story(
        LATEST,
        kept(),
        (reading(0, (9, 9), (None, None)), reading(1, (9, 9), (5, None))),
        kept(9, 5, pinned={1}),
        lag=0,
        missing=((1, 5, 0, True),),
    ),
    "one look at a shorter log is not believed": Story(LATEST, kept(9), (reading(0, (2, None)),), kept(9), lag=0),
    "two looks at a shorter log: another topic, of which nothing was read": Story(
        LATEST,
        kept(9),
        (reading(0, (2, None)), reading(1, (2, None))),
        kept(0, pinned={0}),
        lag=2,
        missing=((0, 0, 0, True),),
    ),
    "another id: another topic, however long it is": Story(
        LATEST,
        kept(9, topic_id=ID),
        (reading(0, (20, None), topic_id=OTHER_ID),),
        kept(0, pinned={0}, topic_id=OTHER_ID),
        lag=20,
        missing=((0, 0, 0, True),),
    ),
    "another id at earliest: it begins at the beginning by itself": Story(
        EARLIEST,
        kept(9, topic_id=ID),
        (reading(0, (20, None), topic_id=OTHER_ID),),
        kept(None, topic_id=OTHER_ID),
        lag=20,
    ),
    "the same id and a shorter log: it lost its end, or the id is half a minute old": Story(
        LATEST,
        kept(9, topic_id=ID),
        (reading(0, (7, None), topic_id=ID), reading(1, (7, None), topic_id=ID)),
        kept(0, pinned={0}, topic_id=ID),
        lag=7,
        missing=((0, 0, 0, True),),
    ),
    "fewer partitions: another topic": Story(
        LATEST, kept(9, 9), (reading(0, (20, None)),), kept(0, pinned={0}), lag=20, missing=((0, 0, 0, True),)
    ),
    "a commit on another topic's log counts, and stays": Story(
        LATEST, kept(9, topic_id=ID), (reading(0, (20, 4), topic_id=OTHER_ID),), kept(4, topic_id=OTHER_ID), lag=16
    ),
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_a_look_at_what_is_kept(story: Story) -> None:
    """What is kept after it, what is missing, and what counts as lag."""
    lag, memory = follow(story.trigger, *story.seen, kept=story.before)
    assert memory.kept == story.after
    assert lag.known == story.lag
    if lag.complete:
        missing = missing_commits(story.trigger, story.seen[-1], memory.kept)
        assert missing == tuple(MissingCommit("orders", *entry) for entry in story.missing)


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_measuring_again_changes_nothing(story: Story) -> None:
    """A reading that is measured again after a probe is not a second look."""
    _, memory = follow(story.trigger, *story.seen, kept=story.before)
    _, _, again = measure(story.trigger, story.seen[-1], memory, guarded=True)
    assert again == memory


def test_an_outage_changes_nothing() -> None:
    """What cannot be read is kept as it was."""
    memory = LagMemory(kept=kept(9))
    assert measure(LATEST, Unreadable("no answer", NINE), memory, guarded=True)[2].kept == kept(9)


def test_records_beyond_a_pin_hold_members_awake() -> None:
    """What a member at latest has read without a commit is not known: it is not counted, and not put to sleep."""
    lag, _ = follow(LATEST, reading(0, (9, None), state=GroupState.STABLE))
    assert (lag.known, lag.uncommitted) == (0, False)
    lag, _ = follow(
        LATEST, reading(0, (9, None), state=GroupState.STABLE), reading(1, (11, None), state=GroupState.STABLE)
    )
    assert (lag.known, lag.uncommitted) == (0, True)
    lag, _ = follow(LATEST, reading(0, (9, None), state=GroupState.STABLE), reading(1, (11, None)))
    assert (lag.known, lag.uncommitted) == (2, False)


def test_without_the_guard_nothing_stands_in_for_a_commit() -> None:
    """What is kept is followed, and counts for nothing."""
    expired = reading(0, (9, None))
    lag, (partition,), memory = measure(EARLIEST, expired, LagMemory(kept=kept(9)))
    assert (lag.known, partition.rule, memory.kept) == (9, Rule.NO_COMMIT_EARLIEST, kept(9))
    lag, (partition,), _ = measure(LATEST, expired, LagMemory(kept=kept(9)))
    assert (lag.known, lag.uncommitted, partition.rule) == (0, True, Rule.NO_COMMIT_LATEST)


def test_markers_beyond_what_is_kept_count_as_little_as_beyond_a_commit() -> None:
    """A stretch that was probed holds nothing for a consumer, wherever it begins to read."""
    _, memory = follow(EARLIEST, reading(0, (9, None)), kept=kept(7))
    lag, (partition,), _ = measure(
        EARLIEST, reading(0, (9, None)), memory.with_phantom(("orders", 0), 7, 9), guarded=True
    )
    assert (lag.known, partition.rule) == (0, Rule.MARKERS_ONLY)


MERGES = {
    "nothing of our own": (kept(9), kept(), None, kept(9)),
    "nothing stored": (kept(), kept(9), None, kept(9)),
    "an older pin is the better one": (kept(3, pinned={0}), kept(9, pinned={0}), ((9, None),), kept(3, pinned={0})),
    "what is committed holds": (kept(3), kept(9), ((9, 9),), kept(9)),
    "an expired commit is worth more than a pin": (kept(3), kept(9, pinned={0}), ((9, None),), kept(3)),
    "another topic": (kept(3, topic_id=ID), kept(9, topic_id=OTHER_ID), ((9, None),), kept(9, topic_id=OTHER_ID)),
    "a partition more": (kept(3), kept(9, 5), ((9, None), (5, None)), kept(3, 5)),
}


@pytest.mark.parametrize("row", MERGES.values(), ids=MERGES)
def test_what_was_stored_and_what_was_seen(
    row: tuple[KeptOffsets, KeptOffsets, tuple[Row, ...] | None, KeptOffsets],
) -> None:
    """A process that becomes the leader joins what the last one kept with what it has seen itself."""
    stored, own, rows, joined = row
    assert merge(stored, own, None if rows is None else reading(0, *rows)) == joined


def test_of_an_awake_target_only_what_kafka_does_not_have_is_kept() -> None:
    """Commits of an awake group move all the time, and outlive us by themselves."""
    assert only_missing(kept(9, 5, pinned={1}), reading(0, (9, 9), (5, None))) == kept(None, 5, pinned={1})
    assert only_missing(kept(9, 5), reading(0, (9, 9), (5, 5))) == kept()
    assert only_missing(kept(9), None) == kept()


rows = st.lists(st.tuples(st.integers(0, 20), st.none() | st.integers(0, 20)), min_size=1, max_size=3)


@given(st.lists(rows, min_size=1, max_size=6), st.sampled_from([LATEST, EARLIEST]))
def test_what_is_to_be_committed_lies_in_the_log(looks: list[list[Row]], trigger: Trigger) -> None:
    """Whatever is seen: none beyond the end, none where there is one, and a commit that is there is what is kept."""
    readings = [reading(seconds, *seen) for seconds, seen in enumerate(looks)]
    lag, memory = follow(trigger, *readings)
    if not lag.complete:
        return
    last = readings[-1].partitions
    for missing in missing_commits(trigger, readings[-1], memory.kept):
        assert last[missing.partition].committed is None
        assert 0 <= missing.offset <= (last[missing.partition].end or 0)
    for partition in last:
        if partition.committed is not None and partition.committed <= (partition.end or 0):
            assert memory.kept.offsets[partition.partition] == partition.committed
