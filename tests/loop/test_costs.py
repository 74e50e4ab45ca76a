"""What many targets cost, counted and not timed: reads, requests of a wake, what is held of a target."""

from __future__ import annotations

import asyncio
import gc
import itertools
import math
import tracemalloc
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from activator.core.model import Evaluation, GroupState, Outcome
from activator.loop.activator import ACTS_AT_ONCE, FOLLOW_UPS_AT_ONCE, LOOKS_A_TURN
from activator.loop.next_look import COMPANY
from tests.fakes.api_server import conflict, too_many_requests, unanswered
from tests.fakes.bed import Bed, ref
from tests.fakes.bed import orders as orders_of
from tests.fakes.kafka import FakeKafka
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import pytest

    from activator.core.model import Cluster, Fact, Reading, TargetRef, Trigger

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
async def test_the_next_wake_of_a_storm_waits_for_nothing_that_follows_the_last() -> None:
    """Offsets that are committed again after a wake, slowly here, hold none of the PATCHes that may be under way."""
    bed = Bed(hpa=False)
    for number in range(2 * ACTS_AT_ONCE):
        bed.deploy(f"t{number}", replicas=0, cooldown_period="3600", polling_interval=str(POLLING_SECONDS))
    async with bed:
        await bed.until(20)
        bed.kafka.slow = 2.0
        for ref in bed.replica.activator.targets:
            bed.kafka.produce(ref.name)
        await bed.until(bed.now_seconds() + 0.1)
        assert len(bed.server.sent("scale.set")) == 2 * ACTS_AT_ONCE


@virtual
async def test_while_a_storm_is_on_nothing_but_wakes_is_done() -> None:
    """No read, no state, no HPA, and no word of it, until the last PATCH is on its way; then all is made up for.

    One sleeper wants more than one record: that there is one proves nothing, so it is read, and waits for nobody.
    """
    bed = Bed(hpa=True)
    storm = 3 * ACTS_AT_ONCE - 1
    bed.deploy("many", replicas=0, cooldown_period="3600", activation_lag_threshold="1")
    for number in range(storm):
        bed.deploy(f"t{number}", replicas=0, cooldown_period="3600")
    async with bed:
        await bed.until(POLLING_SECONDS / 2)
        bed.server.requests.clear()
        bed.recorder.facts.clear()
        bed.replica.reader.reads.clear()
        bed.server.latency = timedelta(seconds=0.1)
        for ref in bed.replica.activator.targets:
            bed.kafka.produce(ref.name, count=2)
        await bed.until(bed.now_seconds() + 0.25)
        assert calls(bed) == {"scale.set": 2 * ACTS_AT_ONCE}
        assert {trigger.topic for _, triggers in bed.replica.reader.reads for trigger in triggers} == {"many"}
        assert bed.recorder.evaluations == []
        await bed.until(bed.now_seconds() + 3)
        applied = [told.ref for told in bed.recorder.evaluations if told.outcome is Outcome.APPLIED]
        assert Counter(applied) == dict.fromkeys(bed.replica.activator.targets, 1)
        assert len(bed.server.hpas) == storm + 1


@virtual
async def test_while_looks_wait_for_their_batch_what_follows_the_others_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many targets that a process finds, each is looked at before anything is written about one of them."""
    monkeypatch.setattr("activator.loop.batches.READ_TOGETHER", 8)
    bed = Bed(hpa=False)
    for number in range(40):
        bed.deploy(f"t{number}", replicas=0, cooldown_period="3600", polling_interval=str(POLLING_SECONDS))
    reader = bed.replica.reader
    read, written = reader.read, dict[str, int]()

    async def counted(cluster: Cluster, triggers: Sequence[Trigger], now: datetime) -> Mapping[Trigger, Reading]:
        for trigger in triggers:
            written.setdefault(trigger.topic, calls(bed)["state.save"] + calls(bed)["hpa.ensure"])
        await asyncio.sleep(0.1)
        return await read(cluster, triggers, now)

    reader.read = counted  # type: ignore[method-assign]
    async with bed:
        await bed.until(1.0)
        assert written == {f"t{number}": 0 for number in range(40)}
        await bed.until(3.0)
        assert calls(bed)["state.save"] >= 40
        assert len(bed.server.hpas) == 40


@virtual
async def test_who_waits_to_be_followed_up_is_woken_meanwhile() -> None:
    """While all HPAs of a start are made, slowly, a record on a sleeper that waits for that is a PATCH at once."""
    bed = Bed(hpa=False)
    orders = bed.deploy(replicas=0, cooldown_period="3600", polling_interval=str(POLLING_SECONDS))
    async with bed:
        await bed.until(SETTLED_SECONDS)
        follow_ups = bed.replica.activator._follow_ups
        for _ in range(FOLLOW_UPS_AT_ONCE):
            await follow_ups.acquire()
        await bed.until(SETTLED_SECONDS + 2 * POLLING_SECONDS)
        bed.kafka.produce("orders")
        await bed.until(bed.now_seconds() + 0.1)
        assert bed.server.replicas(orders) == 1
        renewed = len(bed.replica.group_offsets.renewals)
        follow_ups.release()
        await bed.until(bed.now_seconds() + 0.1)
        assert len(bed.replica.group_offsets.renewals) == renewed + 1


def calls(bed: Bed) -> Counter[str]:
    """What was asked of the API server, by kind."""
    return Counter(request.call for request in bed.server.requests)


@virtual
async def test_a_record_that_nobody_consumes_is_fetched_once_a_minute() -> None:
    """A wake whose consumer has not come yet is looked at each second; that its lag is no marker is known by then."""
    bed = Bed(hpa=False, records_per_second=0)
    orders = bed.deploy("orders", cooldown_period="5", polling_interval="5")
    async with bed:
        await bed.until(SETTLED_SECONDS)
        bed.kafka.produce("orders")
        bed.replica.reader.reads.clear()
        await bed.until(SETTLED_SECONDS + 59)
        assert bed.server.replicas(orders) == 1
        assert len(bed.replica.reader.probes) == 1
        assert len(bed.replica.reader.reads) > 30
        await bed.until(SETTLED_SECONDS + 90)
        assert len(bed.replica.reader.probes) == 2
        bed.kafka.produce("orders")
        await bed.until(SETTLED_SECONDS + 110)
        assert len(bed.replica.reader.probes) == 3


@virtual
async def test_a_new_leader_reads_all_targets_in_one_batch_and_writes_nothing() -> None:
    """Of forty targets, half of them asleep, none waits for its turn: one batch, one list of what was kept."""
    bed = Bed(hpa=False, replicas=2)
    for number in range(40):
        bed.deploy(f"t{number}", replicas=number % 2, cooldown_period="3600", polling_interval=str(POLLING_SECONDS))
    async with bed:
        await bed.until(SETTLED_SECONDS - 7)  # between two regular looks
        old, new = bed.replicas_of_wakegate
        await old.kill()
        bed.server.requests.clear()
        new.reader.reads.clear()
        taken_over = bed.now_seconds()
        await bed.until(taken_over + 1.1)
        assert [len(triggers) for _, triggers in new.reader.reads] == [40]
        assert calls(bed) == {"state.load": 1}
        await bed.until(taken_over + POLLING_SECONDS + 1.1)
        assert [len(triggers) for _, triggers in new.reader.reads[1:]] == [20, 40]
        assert calls(bed) == {"state.load": 1}


@virtual
async def test_a_process_that_starts_reads_all_targets_together() -> None:
    """As it finds them and as it leads; then sleepers at distances that double, until they are at the interval."""
    bed = Bed(hpa=False)
    for number in range(40):
        bed.deploy(f"t{number}", replicas=0, cooldown_period="3600", polling_interval=str(POLLING_SECONDS))
    async with bed:
        await bed.until(1.1)
        assert len(bed.replica.reader.reads) <= 4
        await bed.until(POLLING_SECONDS)
        assert len(bed.replica.reader.reads) <= 4 + math.log2(POLLING_SECONDS) + 1
        assert {len(triggers) for _, triggers in bed.replica.reader.reads} == {40}


@virtual
async def test_many_looks_at_once_let_a_wake_through() -> None:
    """However many targets are due at once, the event loop turns to what has come in after a few dozen decisions."""
    bed = Bed(hpa=False)
    for number in range(2 * LOOKS_A_TURN):
        bed.deploy(f"t{number}", replicas=0, cooldown_period="3600", polling_interval=str(POLLING_SECONDS))
    turns: list[int] = []
    looks: list[int] = []
    record = bed.recorder.record

    def counted(fact: Fact) -> None:
        record(fact)
        if not isinstance(fact, Evaluation):
            return
        if not turns:
            turns.append(0)
            asyncio.get_running_loop().call_soon(close)
        turns[-1] += 1

    def close() -> None:
        looks.append(turns.pop())

    bed.recorder.record = counted  # type: ignore[method-assign]
    async with bed:
        await bed.until(POLLING_SECONDS)
    assert sum(looks) >= 2 * LOOKS_A_TURN
    assert max(looks) <= LOOKS_A_TURN


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


def many_that_end_their_cooldown(bed: Bed, other: FakeKafka, count: int) -> None:
    """Deploy targets on another cluster that will all be put to sleep at 20 s."""
    for number in range(count):
        name = f"o{number}"
        other.create_topic(name, 1)
        other.commit_all(name, name)
        annotations = orders_of(name, cooldown_period="20", bootstrap_servers=other.bootstrap_servers)
        bed.server.add(ref(name), annotations=annotations)


@virtual
async def test_a_stalled_cluster_holds_up_no_wake_on_another() -> None:
    """Seventy targets end their first cooldown at one moment, and their cluster stalls within their fresh reads."""
    other = FakeKafka("other:9092")
    bed = Bed(hpa=False, other_clusters=[other])
    orders = bed.deploy(partitions=1, replicas=0, cooldown_period="20", polling_interval="300")
    many_that_end_their_cooldown(bed, other, 70)
    async with bed:
        await bed.until(19.95)
        assert bed.server.replicas(orders) == 0
        await bed.until_true(lambda: bool(bed.server.sent("scale.get")))
        other.slow = 4.0
        await bed.until(20.5)
        bed.kafka.produce("orders")
        await bed.until(21)
        assert bed.server.replicas(orders) == 1


@virtual
async def test_a_stalled_cluster_holds_up_no_look_that_was_under_way_on_another() -> None:
    """The record comes while a regular look of its sleeper is due, which would queue behind two hundred sleeps."""
    other = FakeKafka("other:9092")
    bed = Bed(hpa=False, other_clusters=[other])
    orders = bed.deploy(partitions=1, replicas=0, cooldown_period="20", polling_interval="30")
    many_that_end_their_cooldown(bed, other, 200)
    async with bed:
        await bed.until(19.95)
        await bed.until_true(lambda: bool(bed.server.sent("scale.get")))
        other.slow = 4.0
        target = bed.replica.activator.targets[orders]
        regular_looks = len(bed.recorder.evaluations_of(orders))
        await bed.until_true(lambda: target.busy or len(bed.recorder.evaluations_of(orders)) > regular_looks)
        bed.kafka.produce("orders")
        await bed.until(bed.now_seconds() + 0.2)
        assert bed.server.replicas(orders) == 1


@virtual
async def test_a_sleep_that_is_not_found_out_costs_no_look_more_than_others() -> None:
    """Without the lease nothing can be said of it: whoever leads now tells it."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, cooldown_period="20", polling_interval="300")
    async with bed:
        await bed.until(19)
        bed.server.inject("scale.set", unanswered(), applied=True)
        await bed.until_true(lambda: bed.server.replicas(orders) == 0)
        bed.server.lease_holder = "another"
        reads = len(bed.replica.reader.reads)
        await bed.until(bed.now_seconds() + 60)
        assert len(bed.replica.reader.reads) - reads < 20


@virtual
async def test_a_consumer_that_is_never_ready_is_not_written_down_at_each_look() -> None:
    """It has joined and commits, a record a second; its readiness probe fails."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, cooldown_period="20", polling_interval="10")
    async with bed:
        await bed.until(30)
        assert bed.server.replicas(orders) == 0
        bed.server.pods_become_ready = False
        bed.shows_groups = False
        bed.kafka.produce("orders", 0, 1)
        await bed.until(32)
        assert bed.server.replicas(orders) == 1
        bed.kafka.set_group("orders", GroupState.STABLE, 1, {"orders"})
        await bed.until(40)
        writes = len(bed.server.sent("state.save"))
        for offset in range(1, 200):
            bed.kafka.produce("orders", 0, 1)
            bed.kafka.commit("orders", "orders", 0, offset)
            await bed.until(bed.now_seconds() + 1)
        assert len(bed.server.sent("state.save")) - writes < 15
