"""What many targets cost, counted and not timed: reads, requests of a wake, what is held of a target."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from activator.loop.activator import COMPANY
from tests.fakes.bed import Bed
from tests.fakes.kubernetes import conflict, too_many_requests
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from activator.core.model import TargetRef

POLLING_SECONDS = 30
SETTLED_SECONDS = 150.0
PUSHED_SECONDS = 0.004
"""After the tail's push, and before the first PATCH has been answered."""
SOURCE = str(Path(__file__).resolve().parents[2] / "activator" / "*")


async def crowd(bed: Bed, targets: int) -> list[TargetRef]:
    """Make targets, each at a moment of its own, and let them fall asleep and settle."""
    refs = []
    for number in range(targets):
        refs.append(bed.deploy(f"t{number}", cooldown_period="5", polling_interval=str(POLLING_SECONDS)))
        bed.server.changed()
        await bed.until((number + 1) * POLLING_SECONDS / targets)
    await bed.until(SETTLED_SECONDS)
    assert all(bed.server.replicas(ref) == 0 for ref in refs)
    return refs


@virtual
async def test_sleepers_that_were_taken_over_one_by_one_are_soon_read_together() -> None:
    """Twenty sleepers on one cluster take five reads an interval, not twenty; each is looked at as often as before."""
    bed = Bed(hpa=False)
    async with bed:
        refs = await crowd(bed, 20)
        bed.replica.reader.reads.clear()
        bed.recorder.facts.clear()
        intervals = 10
        await bed.until(SETTLED_SECONDS + intervals * POLLING_SECONDS)
        assert len(bed.replica.reader.reads) <= (intervals + 1) / COMPANY
        for ref in refs:
            looks = [evaluation.now for evaluation in bed.recorder.evaluations if evaluation.ref == ref]
            assert len(looks) >= intervals
            apart = [later - earlier for earlier, later in itertools.pairwise(looks)]
            assert max(apart) <= timedelta(seconds=POLLING_SECONDS + 0.1)


@virtual
async def test_a_storm_costs_one_patch_a_target_and_no_other_request_before_it() -> None:
    """Fifteen sleepers hit at once: no read stands before a PATCH, each is sent once, and nobody else is woken."""
    bed = Bed(hpa=False)
    async with bed:
        refs = await crowd(bed, 20)
        hit, spared = refs[:15], refs[15:]
        bed.server.requests.clear()
        bed.replica.reader.reads.clear()
        for ref in hit:
            bed.kafka.produce(ref.name)
        await bed.until(bed.now_seconds() + PUSHED_SECONDS)
        assert not bed.replica.reader.reads
        await bed.until(bed.now_seconds() + 0.05)
        first = {request.ref: request.call for request in reversed(bed.server.requests)}
        assert first == dict.fromkeys(hit, "scale.set")
        await bed.until(bed.now_seconds() + 3)
        assert {ref: len(bed.server.sent("scale.set", ref)) for ref in refs} == {
            **dict.fromkeys(hit, 1),
            **dict.fromkeys(spared, 0),
        }


@virtual
async def test_a_conflict_costs_a_wake_one_reading_of_the_scale() -> None:
    """Somebody else wrote in between: it is read again and sent again, at once."""
    bed = Bed(hpa=False)
    async with bed:
        [ref] = await crowd(bed, 1)
        bed.server.requests.clear()
        bed.server.inject("scale.set", conflict(), times=2)
        bed.kafka.produce(ref.name)
        await bed.until(bed.now_seconds() + 0.1)
        calls = [request.call for request in bed.server.requests if request.call.startswith("scale.")]
        assert calls == ["scale.set", "scale.get", "scale.set", "scale.get", "scale.set"]
        assert bed.server.replicas(ref) == 1


@virtual
async def test_a_server_that_asks_for_patience_gets_it() -> None:
    """A wake that was answered 429 is sent again when Retry-After has passed, not before, and once."""
    bed = Bed(hpa=False)
    async with bed:
        [ref] = await crowd(bed, 1)
        bed.server.requests.clear()
        bed.server.inject("scale.set", too_many_requests(timedelta(seconds=2)))
        bed.kafka.produce(ref.name)
        await bed.until(bed.now_seconds() + 1.9)
        assert len(bed.server.sent("scale.set")) == 1
        await bed.until(bed.now_seconds() + 0.5)
        assert len(bed.server.sent("scale.set")) == 2
        assert bed.server.replicas(ref) == 1


@virtual
async def test_what_is_held_of_a_target_is_little_and_does_not_grow() -> None:
    """A sleeper takes some kilobytes, and as much after ten further looks as before them."""
    bed = Bed(hpa=False)
    async with bed:
        tracemalloc.start()
        refs = await crowd(bed, 8)
        settled = held(bed)
        await bed.until(SETTLED_SECONDS + 10 * POLLING_SECONDS)
        later = held(bed)
        tracemalloc.stop()
    assert settled / len(refs) < 12 * 1024
    assert later < settled * 1.1


def held(bed: Bed) -> int:
    """Count the bytes that were allocated by the source and are still there; what the fakes wrote down is dropped."""
    bed.recorder.facts.clear()
    bed.replica.reader.reads.clear()
    gc.collect()
    ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(inclusive=True, filename_pattern=SOURCE)])
    return sum(statistic.size for statistic in ours.statistics("filename"))
