"""What a fetch's answer means to those who sleep on a partition."""

from __future__ import annotations

import pytest

from activator.core.model import TargetRef
from activator.kafka.fetch import FetchedPartition
from activator.kafka.watch import Sighting, Watch
from tests.kafka.batches import batch

ANN, BOB = (TargetRef("shop", "Deployment", name) for name in ("ann", "bob"))


def watch(*, committed: bool = False, **positions: int) -> Watch:
    """Watch a partition for ann and bob from these offsets on."""
    refs = {"ann": ANN, "bob": BOB}
    return Watch("orders", 0, committed, {refs[name]: offset for name, offset in positions.items()})


def answer(
    records: bytes = b"", *, end: int, stable: int | None = None, aborted: tuple[tuple[int, int], ...] = ()
) -> FetchedPartition:
    """Make the answer of a broker whose log ends at `end`."""
    return FetchedPartition("orders", 0, 0, end, end if stable is None else stable, aborted, records)


def test_a_record_is_seen_once() -> None:
    """The first record is a sighting; afterwards everybody waits for what comes behind the log's end."""
    watched = watch(ann=5)

    assert watched.fetched(answer(batch(5, 2), end=9), 5) == [Sighting(5)]
    assert watched.positions == {ANN: 9}
    assert watched.fetched(answer(end=9), 9) == []


def test_each_sleeper_is_told_at_its_own_offset() -> None:
    """One answer may mean different records to different sleepers, and nothing to one who waits further on."""
    watched = watch(ann=5, bob=6)

    assert watched.fetched(answer(batch(5, 2), end=7), 5) == [Sighting(5), Sighting(6)]

    watched = watch(ann=5, bob=20)
    assert watched.fetched(answer(batch(5, 2), end=7), 5) == [Sighting(5)]
    assert watched.positions == {ANN: 7, BOB: 20}


def test_the_records_of_a_batch_before_the_offset_do_not_count() -> None:
    """A broker answers whole batches: one that begins before our offset counts from it."""
    assert watch(ann=7).fetched(answer(batch(5, 4), end=9), 7) == [Sighting(7)]


def test_markers_move_on_and_wake_nobody() -> None:
    """A control batch is stepped over, so that it is not answered again and again."""
    watched = watch(ann=5)

    assert watched.fetched(answer(batch(5, 1, control=True), end=6), 5) == []
    assert watched.positions == {ANN: 6}


def test_aborted_records_move_on_and_wake_nobody() -> None:
    """Within read_committed the broker names aborted transactions; what is behind them counts."""
    aborted = batch(5, 2, transactional=True, producer=7)
    marker = batch(7, 1, control=True, transactional=True, producer=7)
    watched = watch(committed=True, ann=5)

    assert watched.fetched(answer(aborted + marker, end=8, aborted=((7, 5),)), 5) == []
    assert watched.positions == {ANN: 8}
    assert watched.fetched(answer(batch(8, 1, transactional=True, producer=7), end=9), 8) == [Sighting(8)]


def test_who_joins_before_a_fetch_that_is_on_its_way_waits_for_the_next() -> None:
    """The answer from a later offset on tells nothing about the records between: they are not stepped over."""
    watched = watch(ann=9)
    watched.positions[BOB] = 2  # joins while the broker fetches from 9

    assert watched.fetched(answer(batch(9, 1, control=True), end=10), 9) == []
    assert watched.positions == {ANN: 10, BOB: 2}
    assert watched.fetched(answer(end=10), 9) == []
    assert watched.position == 2


def test_a_log_that_goes_on_is_proof_where_no_batch_fitted() -> None:
    """In a storm the answer is full before our turn comes: the high watermark tells enough."""
    watched = watch(ann=5, bob=12)

    assert watched.fetched(answer(end=10), 5) == [Sighting(5)]
    assert watched.positions == {ANN: 10, BOB: 12}


def test_read_committed_waits_for_the_last_stable_offset() -> None:
    """The high watermark may be past an open transaction, which is nothing yet to a read_committed sleeper."""
    assert watch(committed=True, ann=5).fetched(answer(end=10, stable=5), 5) == []


LOOKS = [
    pytest.param(5, [(0, 5)], [], 5, id="nothing-new"),
    pytest.param(5, [(0, 8)], [Sighting(5)], 8, id="records"),
    pytest.param(5, [(7, 8)], [Sighting(7)], 8, id="trimmed-and-records"),
    pytest.param(5, [(8, 8)], [], 8, id="trimmed-to-its-end"),
    pytest.param(5, [(0, 2)], None, 5, id="shorter-at-first-sight"),
    pytest.param(5, [(0, 2), (0, 2)], [Sighting(None)], 2, id="shorter-twice"),
    pytest.param(5, [(0, 0), (0, 0)], [], 0, id="recreated-and-empty"),
    pytest.param(5, [(0, 0), (0, 0), (0, 1)], [Sighting(None)], 1, id="the-first-record-after-it-was-seen-empty"),
    pytest.param(5, [(0, 2), (0, 2), (0, 3)], [Sighting(None)], 3, id="records-of-another-log"),
    pytest.param(5, [(0, 0), (0, 3)], None, 5, id="shorter-but-not-alike"),
    pytest.param(5, [(0, 0), (0, 5), (0, 0)], None, 5, id="a-broker-that-was-only-starting"),
]


@pytest.mark.parametrize(("position", "looks", "expected", "then"), LOOKS)
def test_looks_at_a_log(
    position: int, looks: list[tuple[int, int]], expected: list[Sighting] | None, then: int
) -> None:
    """A log is believed to be shorter than it was only when two looks in a row agree."""
    watched = watch(ann=position)

    answers = [watched.looked(start, end) for start, end in looks]

    assert answers[-1] == expected
    assert watched.position == then


def test_offsets_of_another_log_are_told_to_who_has_joined_that_one() -> None:
    """Ann joined the log that was there before: record 0 of this one is none that she had counted at offset 5."""
    watched = watch(ann=5)
    for _ in range(2):
        watched.looked(0, 0)
    watched.join(BOB, 0)

    assert watched.fetched(answer(batch(0, 1), end=1), 0) == [Sighting(None), Sighting(0)]

    watched.join(ANN, 1)
    assert watched.ends_at(2) == [Sighting(1)]
