"""Who is read together, and when: as a table of moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from activator.core.model import Cluster, Push, PushSource, TargetRef
from activator.loop.batches import BATCH_SHARE, GIVES_WAY, READ_TOGETHER, Batches

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
ONE, OTHER = (Cluster("kafka:9092"),), (Cluster("elsewhere:9092"),)
PUSH = Push("kafka:9092", "orders", PushSource.GATEWAY, NOON)
MOMENT = timedelta(milliseconds=1)


def ref(number: int) -> TargetRef:
    """Return the name of a target."""
    return TargetRef("shop", "Deployment", f"t{number}")


def begun(batches: Batches, now: datetime = NOON, *, storm: bool = False) -> list[tuple[str, int]]:
    """Begin what may be, and tell of each batch its cluster and how many it holds."""
    return [(clusters[0].bootstrap_servers, len(batch)) for clusters, batch in batches.begin(now, storm=storm)]


def test_one_batch_of_a_cluster_is_under_way_at_a_time() -> None:
    """What becomes due meanwhile is read together afterwards; another cluster waits for nobody."""
    batches = Batches()
    batches.add(ONE, ref(0), None, NOON)
    assert begun(batches) == [("kafka:9092", 1)]
    for number in range(1, 4):
        batches.add(ONE, ref(number), None, NOON)
    batches.add(OTHER, ref(9), None, NOON)
    assert begun(batches) == [("elsewhere:9092", 1)]
    batches.end(ONE)
    assert begun(batches) == [("kafka:9092", 3)]


def test_of_more_than_are_read_together_the_pushed_go_first() -> None:
    """All of a takeover are read in quarters; a target waits once, however often it becomes due."""
    batches = Batches()
    many = BATCH_SHARE * (READ_TOGETHER + 10)
    for number in range(many):
        batches.add(ONE, ref(number), PUSH if number >= many - 5 else None, NOON)
        batches.add(ONE, ref(number), None, NOON)
    assert batches.many_wait
    ((_, first),) = batches.begin(NOON, storm=False)
    assert len(first) == many // BATCH_SHARE
    assert [at for at, push in first.items() if push is PUSH] == [ref(number) for number in range(many - 5, many)]
    batches.end(ONE)
    assert begun(batches) == [("kafka:9092", READ_TOGETHER)], "a quarter of the rest would be fewer than may be"


def test_a_read_gives_way_to_a_storm_for_a_second() -> None:
    """Counted from who waits the longest; the next one gives way as long, and with the storm's end none does."""
    batches = Batches()
    batches.add(ONE, ref(0), None, NOON)
    assert begun(batches, NOON, storm=True) == []
    batches.add(ONE, ref(1), None, NOON + GIVES_WAY / 2)
    assert begun(batches, NOON + GIVES_WAY - MOMENT, storm=True) == []
    assert begun(batches, NOON + GIVES_WAY, storm=True) == [("kafka:9092", 2)]
    batches.end(ONE)
    batches.add(ONE, ref(0), None, NOON + GIVES_WAY)
    assert begun(batches, NOON + 2 * GIVES_WAY - MOMENT, storm=True) == []
    assert begun(batches, NOON + 2 * GIVES_WAY - MOMENT) == [("kafka:9092", 1)]


def test_a_read_that_a_push_asks_for_gives_way_to_nothing() -> None:
    """Its record alone is no proof: whether to wake it is known once it is read."""
    batches = Batches()
    batches.add(ONE, ref(0), None, NOON)
    batches.add(ONE, ref(1), PUSH, NOON)
    assert begun(batches, NOON, storm=True) == [("kafka:9092", 2)]
