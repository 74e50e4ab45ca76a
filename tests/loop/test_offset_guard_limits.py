"""The offsets guard where it may not commit, must not, or need not: modes, the permission, and what it costs."""

from __future__ import annotations

import pytest

from activator.core.model import Reason
from activator.core.naming import ANNOTATION_PREFIX
from tests.fakes.bed import Bed
from tests.loop.offsets import commits, kept, told
from tests.virtual_time import virtual


@virtual
@pytest.mark.parametrize("how", [{"offset_guard": "observe"}, {"dry_run": "true"}])
async def test_observing_says_what_it_would_do_and_does_nothing(how: dict[str, str]) -> None:
    """The Event names the offsets; the group is left as it is; the hold is that of a target without a guard."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, replicas=0, committed=False, cooldown_period="20", **how)
    async with bed:
        await bed.until(0.5)
        assert commits(bed) == {}
        await bed.until(60)
        assert bed.replica.group_offsets.commits == []
        assert bed.server.replicas(orders) == (0 if "dry_run" in how else 1)
    assert told(bed) == ["OffsetsWouldBeCommitted"]


@virtual
async def test_off_means_off() -> None:
    """Nothing is committed, nothing is kept, nothing is said; what expired is the user's own affair."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, cooldown_period="20", polling_interval="30", offset_guard="off")
    async with bed:
        await bed.until(60)
        assert kept(bed, orders) is None
        bed.kafka.expire("orders")
        await bed.until(90)
        assert bed.server.replicas(orders) == 1
    assert (bed.replica.group_offsets.commits, bed.replica.group_offsets.checks) == ([], [])
    assert told(bed) == []


@virtual
async def test_without_the_permission_a_group_that_never_committed_is_held_awake() -> None:
    """It is found out before the sleep, said once, and looked at again later: a grant is taken up."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, committed=False, cooldown_period="20", polling_interval="5")
    bed.kafka.deny_commits("orders")
    async with bed:
        await bed.until(600)
        assert [e for e in bed.recorder.applied if e.ref == orders] == []
        assert bed.recorder.evaluations[-1].decision.reason is Reason.NO_COMMITTED_OFFSET
        assert told(bed) == ["OffsetGuardDenied"]
        assert "grant the ACL Read on Group orders" in bed.recorder.notices[-1].message
        assert len(bed.replica.group_offsets.checks) <= 3
        bed.kafka.heal()
        await bed.until(1000)
        assert bed.server.replicas(orders) == 0
        assert commits(bed) == {0: 0}


@virtual
async def test_without_the_permission_a_group_with_commits_sleeps_all_the_same() -> None:
    """As with the guard off; that its offsets are not kept is said."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, cooldown_period="20")
    bed.kafka.deny_commits("orders")
    async with bed:
        await bed.until(60)
        assert bed.server.replicas(orders) == 0
    assert told(bed) == ["OffsetGuardDenied"]


@virtual
async def test_a_commit_that_fails_is_made_at_a_later_look() -> None:
    """A coordinator that moves costs a look, not the offsets."""
    bed = Bed(hpa=False)
    bed.deploy(partitions=1, cooldown_period="20", polling_interval="30")
    async with bed:
        await bed.until(60)
        bed.kafka.expire("orders")
        bed.replica.group_offsets.failures = 2
        await bed.until(200)
        assert commits(bed) == {0: 0}
        assert len(bed.replica.group_offsets.commits) == 3


@virtual
async def test_only_the_leader_commits() -> None:
    """Two replicas see the same; one acts."""
    bed = Bed(hpa=False, replicas=2)
    bed.deploy(partitions=1, committed=False, cooldown_period="20", polling_interval="5")
    async with bed:
        await bed.until(60)
        assert commits(bed) == {0: 0}
        made = {replica.identity: len(replica.group_offsets.commits) for replica in bed.replicas_of_wakegate}
        assert sorted(made.values()) == [0, 1]


@virtual
async def test_a_wake_costs_no_request_once_its_group_has_commits() -> None:
    """From the record to the PATCH nothing is read and nothing committed, pinned or not."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20", polling_interval="300")
    pinned = bed.deploy("pinned", committed=False, cooldown_period="20", polling_interval="300")
    async with bed:
        await bed.until(450)
        assert commits(bed, "pinned") == dict.fromkeys(range(5), 0)
        for target in (orders, pinned):
            reads, offsets = len(bed.replica.reader.reads), bed.replica.group_offsets
            before = len(offsets.commits), len(offsets.checks)
            bed.kafka.produce(target.name)
            while bed.server.replicas(target) == 0:
                assert len(bed.replica.reader.reads) == reads
                await bed.until(bed.now_seconds() + 0.0005)
            assert (len(offsets.commits), len(offsets.checks)) == before
            await bed.until(bed.now_seconds() + 30)
    assert bed.consumed == {"orders": 1, "pinned": 1}


@virtual
async def test_of_an_awake_target_nothing_is_written_as_its_commits_move() -> None:
    """Its offsets outlive us by themselves; they are written once, when it goes to sleep."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, cooldown_period="60", polling_interval="5")
    async with bed:
        for second in range(10, 300, 10):
            await bed.until(second)
            bed.kafka.produce("orders", 0, 5)
        assert kept(bed, orders) is None
        await bed.until(400)
        found = kept(bed, orders)
        assert found is not None
        assert found.offsets == (145,)


@virtual
async def test_a_changed_annotation_keeps_what_is_known_of_the_group() -> None:
    """Another threshold is no reason to forget where the group stood."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, cooldown_period="20", polling_interval="30")
    async with bed:
        bed.kafka.produce("orders", 0, 10)
        await bed.until(60)
        assert bed.server.replicas(orders) == 0
        bed.kafka.expire("orders")
        bed.server.annotate(orders, {f"{ANNOTATION_PREFIX}lag-threshold": "5"})
        await bed.until(100)
        assert commits(bed) == {0: 10}
        assert bed.server.replicas(orders) == 0


@virtual
async def test_whose_offsets_may_not_be_given_back_is_awake_before_its_next_record() -> None:
    """The permission goes while it sleeps, and its offsets after it: at `latest` it would skip what comes next."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, cooldown_period="20", polling_interval="300")
    async with bed:
        bed.kafka.produce("orders", 0, 10)
        await bed.until(950)
        assert bed.server.replicas(orders) == 0
        bed.kafka.deny_commits("orders")
        bed.kafka.expire("orders")
        await bed.until_true(lambda: "OffsetGuardDenied" in told(bed))
        await bed.until(bed.now_seconds() + 1)
        assert bed.server.replicas(orders) == 1
        await bed.until(bed.now_seconds() + 60)
        bed.kafka.produce("orders", 0, 3)
        await bed.until(bed.now_seconds() + 10)
        assert bed.consumed == {"orders": 13}
