"""Nothing that a sleeping group has committed expires: committed once more in each sleep, in nobody's way."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from activator.core.model import GroupState
from activator.core.naming import ANNOTATION_PREFIX
from activator.loop import tracker
from activator.loop.activator import FOLLOW_UPS_AT_ONCE
from tests.fakes.bed import Bed, ref
from tests.fakes.kafka import FakeKafka
from tests.virtual_time import virtual

POLLING_SECONDS = 30
ASLEEP_SECONDS = 20 + 2 * POLLING_SECONDS
"""By then it has been put to sleep, and looked at since."""


def sleeper(**annotations: str) -> Bed:
    """A world with one target that sleeps after a few seconds."""
    bed = Bed(hpa=False)
    settings: dict[str, Any] = {"cooldown_period": "20", "polling_interval": str(POLLING_SECONDS)}
    bed.deploy(partitions=2, **settings | annotations)
    return bed


def under_way(bed: Bed) -> int:
    """How many targets are seen to just now."""
    return len(bed.replica.activator._prolonging._under_way)


async def begin(bed: Bed, *, slow_seconds: float) -> None:
    """Let the target go to sleep, and a commit for it that takes so long be under way; no look is due for a second."""
    await bed.until_true(lambda: bed.server.replicas(ref()) == 0)
    bed.replica.group_offsets.slow = slow_seconds
    await bed.until(bed.now_seconds() + 2.5)
    assert under_way(bed) == 1


def prolonged(bed: Bed) -> int:
    """How often something was committed once more."""
    return len(bed.replica.group_offsets.renewals)


@virtual
@pytest.mark.parametrize("policy", ["latest", "earliest"])
async def test_a_consumer_that_joins_at_once_finds_offsets_whose_retention_is_over(policy: str) -> None:
    """Retention passes after the last look, and the replica that a record wakes is in its group before anybody acts."""
    bed = sleeper(offset_reset_policy=policy)
    async with bed:
        bed.kafka.produce("orders", 0, 10)
        await bed.until(ASLEEP_SECONDS)
        assert bed.server.replicas(ref()) == 0
        bed.kafka.pass_retention()
        bed.shows_groups = False
        bed.kafka.set_group("orders", GroupState.STABLE, 1)  # from now on nobody else may commit
        bed.kafka.produce("orders", 0, 3)
        await bed.until(ASLEEP_SECONDS + 10)
        assert bed.consumed == {"orders": 13}
    assert "OffsetsRestored" not in {notice.reason for notice in bed.recorder.notices}


@virtual
async def test_once_in_each_sleep() -> None:
    """An hour of looks costs one commit more; the next sleep, after a wake, another one."""
    bed = sleeper()
    async with bed:
        await bed.until(ASLEEP_SECONDS)
        assert prolonged(bed) == 1
        await bed.until(3600)
        assert prolonged(bed) == 1
        bed.kafka.produce("orders")
        await bed.until(bed.now_seconds() + 1)
        assert prolonged(bed) == 2, "after the wake, as ever"
        await bed.until(bed.now_seconds() + ASLEEP_SECONDS)
        assert prolonged(bed) == 3


@virtual
async def test_a_sleep_that_outlasts_it_is_seen_to_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was committed lasts for a year: after half of that, here minutes, it is committed once more."""
    monkeypatch.setattr(tracker, "PROLONGED_AGAIN_AFTER", timedelta(minutes=15))
    bed = sleeper()
    async with bed:
        for minutes, times in {14: 1, 17: 2, 29: 2, 33: 3}.items():
            await bed.until(minutes * 60)
            assert prolonged(bed) == times, minutes


@virtual
async def test_members_that_commit_the_very_same_offset_end_it() -> None:
    """A process that was up by another hand, and had nothing to do, has taken the retention away with its commit."""
    bed = sleeper()
    async with bed:
        await bed.until(ASLEEP_SECONDS)
        assert prolonged(bed) == 1
        bed.shows_groups = False
        bed.kafka.set_group("orders", GroupState.STABLE, 1)
        bed.kafka.commit_all("orders", "orders")
        await bed.until(bed.now_seconds() + 2 * POLLING_SECONDS)
        assert prolonged(bed) == 1
        bed.kafka.set_group("orders", GroupState.EMPTY, 0)
        await bed.until(bed.now_seconds() + 2 * POLLING_SECONDS)
        assert prolonged(bed) == 2


@virtual
async def test_offsets_that_an_operator_reset_outlast_the_sleep_too() -> None:
    """Where they were put is where they are committed once more."""
    bed = sleeper(activation_lag_threshold="100")
    async with bed:
        bed.kafka.produce("orders", 0, 10)
        await bed.until(ASLEEP_SECONDS)
        bed.kafka.commit("orders", "orders", 0, 4)
        await bed.until(bed.now_seconds() + 2 * POLLING_SECONDS)
        assert bed.replica.group_offsets.renewals[-1] == ("orders", {0: 4, 1: 0})
        bed.kafka.pass_retention()
        assert bed.kafka.groups["orders"].commits["orders", 0] == 4


@virtual
async def test_nobody_waits_for_it() -> None:
    """A coordinator takes a minute for a commit; a record on that very target is a PATCH at once."""
    bed = sleeper(polling_interval="300")
    async with bed:
        await begin(bed, slow_seconds=60.0)
        bed.kafka.produce("orders")
        await bed.until(bed.now_seconds() + 0.1)
        assert bed.server.replicas(ref()) == 1


@virtual
async def test_the_next_look_ends_it() -> None:
    """What a look commits, because retention has passed it meanwhile, must not be followed by what was there before."""
    bed = sleeper(polling_interval="300")
    async with bed:
        await begin(bed, slow_seconds=60.0)
        await bed.until(bed.now_seconds() + 5)
        assert under_way(bed) == 0


@virtual
async def test_where_a_group_stood_before_a_wake_is_not_committed_after_it() -> None:
    """What was read before a slow commit is old by the time that the group has read on, and is empty again."""
    bed = sleeper(cooldown_period="5", polling_interval="300")
    async with bed:
        await begin(bed, slow_seconds=20.0)
        bed.replica.group_offsets.slow = 0.0
        bed.kafka.produce("orders", 0, 3)
        await bed.until(bed.now_seconds() + 10)
        assert bed.server.replicas(ref()) == 0
        assert bed.consumed == {"orders": 3}
        await bed.until(bed.now_seconds() + 60)
        assert bed.consumed == {"orders": 3}, "read again"


@virtual
async def test_a_cluster_that_stalls_holds_up_no_other() -> None:
    """Forty sleepers on a cluster whose commits hang; the one on another is seen to as if they were not there."""
    slow = FakeKafka("slow:9092")
    bed = Bed(hpa=False, other_clusters=[slow])
    for number in range(40):
        bed.deploy(f"slow-{number}", bootstrap_servers="slow:9092", replicas=0)
        slow.create_topic(f"slow-{number}", 5)
        slow.commit_all(f"slow-{number}", f"slow-{number}")
    bed.replica.group_offsets.stalled.add("slow:9092")
    async with bed:
        await bed.until_true(lambda: under_way(bed) > 1)
        bed.deploy("fast", replicas=0)
        await bed.until(bed.now_seconds() + 5)
        assert [group for group, _ in bed.replica.group_offsets.renewals] == ["fast"]


@virtual
@pytest.mark.parametrize("why", ["the coordinator moves", "a partition cannot be read"])
async def test_what_is_missing_is_told_of_as_ever(why: str) -> None:
    """It cannot be restored at the looks that miss it: a later one does, and tells of it."""
    bed = sleeper(activation_lag_threshold="100")
    async with bed:
        bed.kafka.produce("orders", 0, 2)
        await bed.until(ASLEEP_SECONDS)
        del bed.kafka.groups["orders"].commits["orders", 1]
        bed.kafka.commit("orders", "orders", 0, 1)  # by an operator
        if why == "the coordinator moves":
            bed.replica.group_offsets.failures = 2
        else:
            bed.kafka.partition_errors["orders", 1] = "LEADER_NOT_AVAILABLE"
        await bed.until(bed.now_seconds() + 4 * POLLING_SECONDS)
        bed.kafka.partition_errors.clear()
        await bed.until(bed.now_seconds() + 4 * POLLING_SECONDS)
        assert bed.kafka.groups["orders"].commits == {("orders", 0): 1, ("orders", 1): 0}
    assert [notice.reason for notice in bed.recorder.notices].count("OffsetsRestored") == 1


@virtual
async def test_what_another_hand_commits_again_and_again_is_not_followed() -> None:
    """Groups that a tool keeps in step with those of another cluster move while nobody is in them."""
    bed = sleeper(activation_lag_threshold="1000")
    async with bed:
        bed.kafka.produce("orders", 0, 500)
        await bed.until(ASLEEP_SECONDS)
        before = prolonged(bed)
        for offset in range(20):
            bed.kafka.commit("orders", "orders", 0, offset)
            await bed.until(bed.now_seconds() + POLLING_SECONDS)
        assert prolonged(bed) == before


@virtual
async def test_an_empty_group_of_a_target_that_is_awake_is_left_alone() -> None:
    """Its process does not start: what it has is restored once it sleeps, and its next commit is its own."""
    bed = sleeper(keep_awake="true")
    bed.shows_groups = False
    async with bed:
        await bed.until(10 * ASLEEP_SECONDS)
        assert prolonged(bed) == 0


@virtual
@pytest.mark.parametrize("what", ["the lease runs out", "it is managed no more"])
async def test_what_ends_in_between_ends_there(what: str) -> None:
    """Of two groups the first one's commit is on its way: the other's is not ours to make any more.

    Nor is the first one's where it is managed no more: whoever has it now may have woken it.
    """
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, replicas=0)
    trigger = (
        "- type: kafka\n  metadata: {{topic: orders, consumerGroup: {}, bootstrapServers: 'kafka:9092',"
        " offsetResetPolicy: latest}}\n"
    )
    annotations = {f"{ANNOTATION_PREFIX}triggers": trigger.format("one") + trigger.format("two")}
    bed.server.workloads[orders] = replace(bed.server.workloads[orders], annotations=annotations)
    for group in ("one", "two"):
        bed.kafka.commit_all(group, "orders")
    async with bed:
        bed.replica.group_offsets.slow = 0.1
        await bed.until_true(lambda: under_way(bed) == 1)
        await bed.until(bed.now_seconds() + 0.01)
        if what == "the lease runs out":
            bed.replica.leadership.left = timedelta(0)
        else:
            bed.server.unannotate(orders)
        await bed.until(bed.now_seconds() + 0.5)
        made = [group for group, _ in bed.replica.group_offsets.renewals]
        assert made == (["one"] if what == "the lease runs out" else [])


@virtual
async def test_it_gives_way_to_what_is_more_pressing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A storm that begins while many wait for it is not joined by their commits."""
    bed = sleeper()
    storm_is_over = asyncio.Event()
    monkeypatch.setattr(bed.replica.activator._prolonging, "_give_way", storm_is_over.wait)
    async with bed:
        await bed.until(ASLEEP_SECONDS)
        assert (under_way(bed), prolonged(bed)) == (1, 0)
        storm_is_over.set()
        await bed.until(bed.now_seconds() + 0.1)
        assert prolonged(bed) == 1


@virtual
async def test_a_permission_that_is_missing_is_found_out_at_once() -> None:
    """At zero by another hand it was never checked: told once, and what holds without the guard is decided at once."""
    bed = Bed(hpa=False)
    bed.deploy(replicas=0, polling_interval="300")
    bed.kafka.deny_commits("orders")
    async with bed:
        await bed.until(0.2)
        assert [notice.reason for notice in bed.recorder.notices].count("OffsetGuardDenied") == 1
        looks = len(bed.replica.reader.reads)
        await bed.until(3600)
        assert [notice.reason for notice in bed.recorder.notices].count("OffsetGuardDenied") == 1
    assert looks > 2, "two that agree, and another after the denial"
    assert bed.replica.group_offsets.tries == []


@virtual
async def test_a_permission_that_comes_back_in_a_long_sleep_is_used() -> None:
    """It was missing as the target was woken last, and as it went to sleep again; somebody grants it hours later."""
    bed = sleeper()
    async with bed:
        await bed.until(ASLEEP_SECONDS)
        bed.kafka.deny_commits("orders")
        bed.kafka.produce("orders")
        await bed.until(2 * ASLEEP_SECONDS)
        assert bed.server.replicas(ref()) == 0
        assert "OffsetGuardDenied" in {notice.reason for notice in bed.recorder.notices}
        bed.kafka.heal()
        before = prolonged(bed)
        await bed.until(bed.now_seconds() + 400)
        assert prolonged(bed) == before + 1


@virtual
@pytest.mark.parametrize("why", ["credentials changed", "the permission is gone"])
async def test_who_is_denied_is_checked_before_the_next_try(why: str) -> None:
    """Credentials that changed a moment ago, and a permission that was taken away: a minute later it is known."""
    bed = sleeper()
    async with bed:
        await bed.until_true(lambda: bed.server.replicas(ref()) == 0)
        bed.kafka.deny_commits("orders")
        await bed.until(bed.now_seconds() + 5)
        is_back = why == "credentials changed"
        if is_back:
            bed.kafka.heal()
        await bed.until(bed.now_seconds() + 4 * POLLING_SECONDS)
        assert prolonged(bed) == is_back
        assert ("OffsetGuardDenied" in {notice.reason for notice in bed.recorder.notices}) is not is_back


@virtual
@pytest.mark.parametrize("heard", ["its owner scales it up", "it is managed no more"])
async def test_whatever_is_heard_of_it_ends_it(heard: str) -> None:
    """It may be awake by then, and no look has begun yet."""
    bed = sleeper(polling_interval="300")
    async with bed:
        await begin(bed, slow_seconds=60.0)
        bed.kafka.slow = 10.0  # so that a look takes its time to begin
        if heard == "it is managed no more":
            bed.server.unannotate(ref())
        else:
            bed.server.scale(ref(), 1, manager="kubectl")
        await bed.until(bed.now_seconds() + 0.1)
        assert under_way(bed) == 0


@virtual
async def test_a_process_without_a_group_may_have_committed_the_very_same() -> None:
    """One that assigns itself partitions is no member: it was up for a while by another hand, with nothing to do."""
    bed = sleeper()
    bed.shows_groups = False
    async with bed:
        await bed.until(ASLEEP_SECONDS)
        assert prolonged(bed) == 1
        bed.server.scale(ref(), 1, manager="kubectl")
        await bed.until(bed.now_seconds() + 5)
        bed.kafka.commit_all("orders", "orders")
        await bed.until(bed.now_seconds() + ASLEEP_SECONDS)
        assert bed.server.replicas(ref()) == 0
        bed.kafka.pass_retention()
        assert bed.kafka.groups["orders"].commits == {("orders", 0): 0, ("orders", 1): 0}


@virtual
async def test_also_where_the_decision_is_followed_up_later() -> None:
    """All places of a start are taken by those whose HPAs are made."""
    bed = sleeper(polling_interval="300")
    async with bed:
        await bed.until_true(lambda: bed.server.replicas(ref()) == 0)
        follow_ups = bed.replica.activator._follow_ups
        for _ in range(FOLLOW_UPS_AT_ONCE):
            await follow_ups.acquire()
        await bed.until(bed.now_seconds() + 30)
        assert prolonged(bed) == 0
        follow_ups.release()
        await bed.until(bed.now_seconds() + 0.1)
        assert prolonged(bed) == 1


@virtual
async def test_a_coordinator_in_trouble_is_asked_once_a_minute() -> None:
    """However often its sleepers are looked at."""
    bed = sleeper(polling_interval="5")
    bed.replica.group_offsets.failures = 1000
    async with bed:
        await bed.until_true(lambda: bed.server.replicas(ref()) == 0)
        before = len(bed.replica.group_offsets.tries)
        await bed.until(bed.now_seconds() + 610)
        assert len(bed.replica.group_offsets.tries) - before in {10, 11}


@virtual
async def test_what_fails_is_done_at_the_next_look() -> None:
    """A coordinator that moves costs a polling interval."""
    bed = sleeper()
    bed.replica.group_offsets.failures = 1
    async with bed:
        await bed.until(ASLEEP_SECONDS)
        await bed.until(ASLEEP_SECONDS + 2 * POLLING_SECONDS)
        assert prolonged(bed) == 1


@virtual
@pytest.mark.parametrize("guard", ["observe", "off"])
async def test_without_the_guard_nothing_is_committed(guard: str) -> None:
    """Who only observes, or is off, leaves Kafka as it is."""
    bed = sleeper(offset_guard=guard)
    async with bed:
        await bed.until(10 * ASLEEP_SECONDS)
        assert prolonged(bed) == 0


@virtual
async def test_only_the_leader_does_it() -> None:
    """Two replicas see the same sleeper."""
    bed = Bed(hpa=False, replicas=2)
    bed.deploy(cooldown_period="20", polling_interval=str(POLLING_SECONDS))
    async with bed:
        await bed.until(10 * ASLEEP_SECONDS)
        made = [len(replica.group_offsets.renewals) for replica in bed.replicas_of_wakegate]
        assert sorted(made) == [0, 1]


@virtual
async def test_a_next_process_does_it_once_more() -> None:
    """It cannot know what the last one did: one commit a sleeper, and nothing is written down for it."""
    bed = sleeper()
    async with bed:
        await bed.until(ASLEEP_SECONDS)
        await bed.replica.kill()
        bed.start_next()
        await bed.until(ASLEEP_SECONDS + 20 + POLLING_SECONDS)
        assert prolonged(bed) == 1
