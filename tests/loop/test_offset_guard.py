"""The offsets guard in virtual time: what a sleeping group must find when it wakes."""

from __future__ import annotations

import pytest

from activator.core.model import GroupState, KeptOffsets, Outcome, Phase, Reason
from activator.loop import acting
from tests.fakes.bed import Bed
from tests.loop.offsets import commits, kept, told
from tests.virtual_time import virtual

# ------------------------------------------------------------------------------------------------------ expiry


@virtual
@pytest.mark.parametrize("policy", ["latest", "earliest"])
async def test_offsets_that_expire_in_a_long_sleep_are_there_when_it_wakes(policy: str) -> None:
    """A consumer at latest would skip what woke it, one at earliest would read the topic again: neither happens."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20", polling_interval="30", offset_reset_policy=policy)
    async with bed:
        bed.kafka.produce("orders", 0, 10)
        await bed.until(60)
        assert bed.consumed == {"orders": 10}
        assert bed.server.replicas(orders) == 0
        bed.kafka.expire("orders")
        await bed.until(100)
        assert bed.server.replicas(orders) == 0
        assert commits(bed) == {0: 10, 1: 0, 2: 0, 3: 0, 4: 0}
        bed.kafka.produce("orders", 0, 3)
        await bed.until(110)
        assert bed.consumed == {"orders": 13}
    assert told(bed) == ["OffsetsRestored"]
    restored = next(notice for notice in bed.recorder.notices if notice.reason == "OffsetsRestored")
    assert "expired, or deleted: Kafka does not tell which" in restored.message
    assert "10 on 0, 0 on 1" in restored.message


@virtual
async def test_offsets_that_expire_just_before_the_record_are_there_too() -> None:
    """No look has seen it yet: they are committed while the first replica starts."""
    bed = Bed(hpa=False)
    orders = bed.deploy(cooldown_period="20", polling_interval="300")
    async with bed:
        await bed.until(600.5)
        bed.kafka.expire("orders")
        bed.kafka.produce("orders", 0, 3)
        await bed.until(600.6)
        assert bed.server.replicas(orders) == 1
        assert commits(bed) == {0: 0, 1: 0, 2: 0, 3: 0, 4: 0}
        await bed.until(605)
        assert bed.consumed == {"orders": 3}


@virtual
@pytest.mark.parametrize(("guard", "renewals"), [("on", [("orders", {0: 0, 1: 0})]), ("observe", []), ("off", [])])
async def test_offsets_outlast_the_start_of_the_first_process(guard: str, renewals: list[object]) -> None:
    """Committed again right after the wake: none may expire in the seconds until the first process asks for them."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=2, cooldown_period="20", polling_interval="300", offset_guard=guard)
    bed.kafka.commit("orders", "orders", 0, 0)
    bed.kafka.commit("orders", "orders", 1, 0)
    async with bed:
        await bed.until(600.5)
        assert bed.server.replicas(orders) == 0
        before = len(bed.replica.group_offsets.renewals)
        bed.kafka.produce("orders", 0, 3)
        await bed.until(600.6)
        assert bed.server.replicas(orders) == 1
        assert bed.replica.group_offsets.renewals[before:] == renewals


@virtual
async def test_a_restart_while_asleep_forgets_nothing() -> None:
    """Where the groups stand was written before the sleep: the next process commits what expired meanwhile."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=2, cooldown_period="20", offset_reset_policy="earliest")
    async with bed:
        bed.kafka.produce("orders", 0, 10)
        await bed.until(60)
        found = kept(bed, orders)
        assert found is not None
        assert found.offsets == (10, 0)
        await bed.replica.kill()
        bed.kafka.expire("orders")
        bed.start_next()
        await bed.until(90)
        assert commits(bed) == {0: 10, 1: 0}
        assert bed.server.replicas(orders) == 0


@virtual
async def test_an_operator_who_resets_offsets_while_it_sleeps_wins() -> None:
    """A commit that is there is never touched, and is what is kept from then on."""
    bed = Bed(hpa=False, records_per_second=0)
    orders = bed.deploy(partitions=1, cooldown_period="20", polling_interval="30", activation_lag_threshold="50")
    async with bed:
        bed.kafka.produce("orders", 0, 10)
        bed.kafka.commit_all("orders", "orders")
        await bed.until(60)
        assert bed.server.replicas(orders) == 0
        bed.kafka.commit("orders", "orders", 0, 4)
        await bed.until(100)
        found = kept(bed, orders)
        assert found is not None
        assert found.offsets == (4,)
        bed.kafka.expire("orders")
        await bed.until(140)
        assert commits(bed) == {0: 4}
        assert bed.server.replicas(orders) == 0


@virtual
async def test_records_that_retention_took_are_told() -> None:
    """Where the log start has passed what is kept, the group goes on at the log start, and an Event counts the loss."""
    bed = Bed(hpa=False, records_per_second=0)
    orders = bed.deploy(partitions=1, cooldown_period="20", polling_interval="30", activation_lag_threshold="50")
    async with bed:
        await bed.until(60)
        bed.kafka.produce("orders", 0, 10)
        bed.kafka.trim("orders", 0, 7)
        bed.kafka.expire("orders")
        await bed.until(100)
        assert bed.server.replicas(orders) == 0
        assert commits(bed) == {0: 7}
    assert told(bed) == ["OffsetsRestored", "RecordsExpired"]
    assert "passed 7 offsets that it had not read, at most as many records" in bed.recorder.notices[-1].message


@virtual
@pytest.mark.parametrize(
    ("policy", "moved", "events"),
    [("latest", {0: 7}, ["OffsetsMovedToLogStart", "RecordsExpired"]), ("earliest", {0: 0}, [])],
)
async def test_a_commit_that_retention_has_passed(policy: str, moved: dict[int, int], events: list[str]) -> None:
    """At latest a consumer would go on at the end, past what wakes it; at earliest it begins at the log start."""
    bed = Bed(hpa=False)
    orders = bed.deploy(
        partitions=1,
        cooldown_period="20",
        polling_interval="30",
        activation_lag_threshold="10",
        offset_reset_policy=policy,
    )
    async with bed:
        await bed.until(60)
        assert bed.server.replicas(orders) == 0
        bed.kafka.produce("orders", 0, 9)
        bed.kafka.trim("orders", 0, 7)
        await bed.until(100)
        assert bed.server.replicas(orders) == 0
        assert commits(bed) == moved
        bed.kafka.produce("orders", 0, 20)
        await bed.until(140)
        assert bed.consumed == {"orders": 22}
    assert told(bed) == events


@virtual
@pytest.mark.parametrize(
    ("guard", "events"),
    [
        ("off", []),
        ("observe", ["OffsetsWouldBeCommitted"]),
        ("on", ["OffsetGuardDenied"]),  # and the permission is missing
    ],
)
async def test_a_commit_that_retention_has_passed_and_nobody_may_move(guard: str, events: list[str]) -> None:
    """It is woken before the record that its consumer would skip, held until that has committed, and sleeps again."""
    bed = Bed(hpa=False)
    orders = bed.deploy(
        partitions=1,
        cooldown_period="20",
        polling_interval="30",
        activation_lag_threshold="10",
        offset_guard=guard,
    )
    async with bed:
        await bed.until(60)
        assert bed.server.replicas(orders) == 0
        bed.kafka.deny_commits("orders")
        bed.kafka.produce("orders", 0, 9)
        bed.kafka.trim("orders", 0, 7)
        await bed.until(300)
        assert bed.server.replicas(orders) == 1
        last = bed.recorder.evaluations[-1].decision
        assert last.reason is Reason.NO_COMMITTED_OFFSET
        assert "retention has passed the offset" in last.text
        bed.kafka.produce("orders", 0, 20)
        await bed.until(400)
        assert bed.consumed == {"orders": 20}
        assert commits(bed) == {0: 29}
        assert bed.server.replicas(orders) == 0
    assert told(bed) == events


# ------------------------------------------------------------------------------------------------- never committed


@virtual
async def test_a_group_that_never_committed_is_pinned_and_sleeps() -> None:
    """Where the log ended at the deciding read is committed for it, and the first record is consumed."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=2, committed=False, cooldown_period="20", polling_interval="30")
    bed.kafka.produce("orders", 1, 40)
    async with bed:
        await bed.until(20.5)
        assert bed.server.replicas(orders) == 0
        assert kept(bed, orders) == KeptOffsets((0, 40), frozenset({0, 1}), "id-1")
        await bed.until(30)
        assert commits(bed) == {0: 0, 1: 40}
        bed.kafka.produce("orders", 1)
        await bed.until(30.1)
        assert bed.server.replicas(orders) == 1
        await bed.until(35)
        assert bed.consumed == {"orders": 1}
    assert told(bed) == ["OffsetsPinned"]
    assert Reason.NO_COMMITTED_OFFSET not in {e.decision.reason for e in bed.recorder.evaluations}


@virtual
async def test_found_at_zero_it_is_pinned_and_stays_there() -> None:
    """A workload that was deployed with no replicas, and has never run, is not woken for its pin."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, replicas=0, committed=False, cooldown_period="20")
    async with bed:
        await bed.until(5)
        assert commits(bed) == {0: 0}
        bed.kafka.produce("orders", 0, 2)
        await bed.until(10)
        assert bed.consumed == {"orders": 2}
    assert [e.decision.replicas for e in bed.recorder.applied if e.ref == orders] == [1]


@virtual
async def test_a_pin_waits_until_the_members_have_left() -> None:
    """Members commit for themselves: as long as there are some, nothing is committed for them."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, committed=False, cooldown_period="20", polling_interval="5")
    bed.lingers[orders] = 12.0
    async with bed:
        await bed.until(24)
        assert bed.server.replicas(orders) == 0
        await bed.until(31)
        assert commits(bed) == {}
        await bed.until(45)
        assert commits(bed) == {0: 0}


@virtual
async def test_a_wake_that_comes_before_its_pin_waits_for_it() -> None:
    """A record two seconds after the sleep: the members leave a second later, then it is pinned, and then woken."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, committed=False, cooldown_period="20", polling_interval="300")
    bed.lingers[orders] = 4.0
    async with bed:
        await bed.until(23)
        assert bed.server.replicas(orders) == 0
        bed.kafka.produce("orders")
        await bed.until(23.9)
        assert (bed.server.replicas(orders), commits(bed)) == (0, {})
        await bed.until(28)
        assert bed.server.replicas(orders) == 1
        await bed.until(32)
        assert bed.consumed == {"orders": 1}
    assert "WokenWithoutOffsets" not in told(bed)


@virtual
async def test_a_wake_waits_for_its_pin_no_longer_than_five_seconds() -> None:
    """Members that stay must not keep a record waiting: it is woken, and an Event says what may follow."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, committed=False, cooldown_period="20", polling_interval="300")
    bed.lingers[orders] = 60.0
    async with bed:
        await bed.until(23)
        bed.kafka.produce("orders")
        await bed.until(27.9)
        assert bed.server.replicas(orders) == 0
        await bed.until(28.2)
        assert bed.server.replicas(orders) == 1
    assert told(bed) == ["WokenWithoutOffsets"]
    assert "has members" in bed.recorder.notices[-1].message


@virtual
async def test_records_without_a_commit_keep_it_awake() -> None:
    """A group whose records come and whose commits do not is not quiet: it may be at work on the first of them."""
    bed = Bed(hpa=False, records_per_second=0)
    orders = bed.deploy(partitions=1, committed=False, cooldown_period="20", polling_interval="5")
    async with bed:
        await bed.until(5)
        bed.kafka.produce("orders")
        await bed.until(120)
        assert bed.server.replicas(orders) == 1
        assert {e.decision.reason for e in bed.recorder.evaluations[3:]} == {Reason.NO_COMMITTED_OFFSET}
        bed.kafka.commit("orders", "orders", 0)
        await bed.until(150)
        assert bed.server.replicas(orders) == 0


@virtual
async def test_partitions_added_while_asleep_are_pinned_at_their_start() -> None:
    """Their first records came while nobody could read them."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, cooldown_period="20", polling_interval="30", activation_lag_threshold="5")
    async with bed:
        await bed.until(60)
        bed.kafka.create_topic("orders", 2)
        bed.kafka.produce("orders", 1, 3)
        await bed.until(100)
        assert bed.server.replicas(orders) == 0
        assert commits(bed) == {0: 0, 1: 0}
        bed.kafka.produce("orders", 1, 5)
        await bed.until(110)
        assert bed.consumed == {"orders": 8}


@virtual
async def test_a_topic_recreated_while_asleep_is_read_from_its_beginning() -> None:
    """Kafka deletes the offsets with the topic; those that were kept belong to another log."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, cooldown_period="20", polling_interval="30", activation_lag_threshold="5")
    async with bed:
        bed.kafka.produce("orders", 0, 50)
        await bed.until(100)
        assert bed.consumed == {"orders": 50}
        assert bed.server.replicas(orders) == 0
        bed.kafka.delete_topic("orders")
        bed.kafka.expire("orders")
        bed.kafka.create_topic("orders", 1)
        bed.kafka.produce("orders", 0, 3)
        await bed.until(200)
        assert bed.server.replicas(orders) == 0
        assert commits(bed) == {0: 0}
        bed.kafka.produce("orders", 0, 7)
        await bed.until(210)
        assert bed.consumed == {"orders": 60}


# -------------------------------------------------------------------------------------------------- invariants


@virtual
async def test_a_decision_that_breaks_an_invariant_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever has gone wrong in deciding: no PATCH, an outcome and a reason of its own, and the record is safe."""
    bed = Bed(hpa=False, records_per_second=0)
    orders = bed.deploy(partitions=1, cooldown_period="20", polling_interval="5")
    monkeypatch.setattr(acting, "violation", lambda *_, **__: "would go from 1 to 0, but group orders on orders lags 1")
    async with bed:
        await bed.until(60)
        assert bed.server.replicas(orders) == 1
        assert bed.server.sent("scale.set", orders) == []
    refused = [e for e in bed.recorder.evaluations if e.outcome is Outcome.REFUSED]
    assert {e.decision.reason for e in refused} == {Reason.INVARIANT_VIOLATED}
    assert refused[0].decision.text.endswith("lags 1: not sent; please report this")
    assert len(refused) < 15
    assert bed.replica.activator.targets[orders].phase is Phase.AWAKE
    assert bed.kafka.groups["orders"].state is GroupState.STABLE


@virtual
async def test_members_from_before_a_sleep_are_no_replica_that_has_joined() -> None:
    """A Pod that takes 12 s to leave its group, one that takes 30 s to start: in between the pin can be committed."""
    bed = Bed(hpa=False)
    orders = bed.deploy(partitions=1, committed=False, cooldown_period="20", polling_interval="300")
    bed.lingers[orders] = 12.0
    async with bed:
        await bed.until(22)
        assert bed.server.replicas(orders) == 0
        bed.server.pods_become_ready = False
        bed.kafka.produce("orders")
        await bed.until(28)
        assert bed.server.replicas(orders) == 1
        await bed.until(55)
        assert commits(bed) == {0: 0}
        bed.server.become_ready(orders)
        await bed.until(60)
        assert bed.consumed == {"orders": 1}
