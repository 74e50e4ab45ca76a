"""Never two leaders at once, whatever clocks, networks and processes do; and soon a new one."""

from __future__ import annotations

import asyncio
import copy
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, cast

import pytest

from activator.errors import ConflictError, DeniedError, NotFoundError
from activator.kubernetes import lease
from activator.kubernetes.lease import LeaseElection
from tests.kubernetes.memory_api import MemoryApi, unreachable
from tests.virtual_time import now, virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from activator.errors import WakegateError
    from activator.kubernetes.client import KubernetesClient

PATH = "/apis/coordination.k8s.io/v1/namespaces/system/leases/wakegate"
NOTHING = timedelta(0)


def candidate(
    api: MemoryApi, identity: str, clock: Callable[[], datetime] = now, monotonic: Callable[[], float] | None = None
) -> LeaseElection:
    """One who takes part, on the clock of the virtual loop."""
    return LeaseElection(
        cast("KubernetesClient", api),
        ("system", "wakegate"),
        identity,
        clock,
        monotonic=monotonic or asyncio.get_running_loop().time,
    )


@asynccontextmanager
async def taking_part(*candidates: LeaseElection) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Let them take part for the block."""
    tasks = [asyncio.create_task(one.run()) for one in candidates]
    await asyncio.sleep(0.1)
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def foreign_record(holder: str, renewed: datetime, transitions: int = 4) -> dict[str, Any]:
    """A Lease as another process has left it."""
    return {
        "metadata": {"name": "wakegate"},
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": 15,
            "acquireTime": renewed.isoformat(),
            "renewTime": renewed.isoformat(),
            "leaseTransitions": transitions,
        },
    }


@virtual
async def test_the_record_is_what_kubectl_shows_of_every_lease() -> None:
    """Created by the first holder, with times for people."""
    api = MemoryApi()
    async with taking_part(candidate(api, "a")):
        assert api.documents[PATH]["spec"] == {
            "holderIdentity": "a",
            "leaseDurationSeconds": 15,
            "acquireTime": "2026-01-05T09:00:00.000000Z",
            "renewTime": "2026-01-05T09:00:00.000000Z",
            "leaseTransitions": 0,
        }
        await asyncio.sleep(60)
        spec = api.documents[PATH]["spec"]
        assert spec["acquireTime"] == "2026-01-05T09:00:00.000000Z"
        assert spec["renewTime"] > "2026-01-05T09:00:57"


@virtual
async def test_it_is_renewed_with_one_request_each_time() -> None:
    """Every two seconds, a little less for jitter; whoever holds it need not read it first."""
    api = MemoryApi()
    async with taking_part(candidate(api, "a")):
        await asyncio.sleep(60)
    assert len(api.asked("GET")) == 1
    assert 28 <= len(api.asked("PUT")) <= 40


@pytest.mark.parametrize("renewed", [datetime(1990, 1, 1, tzinfo=UTC), datetime(2090, 1, 1, tzinfo=UTC)])
def test_a_dead_holder_is_waited_for_by_our_own_clock(renewed: datetime) -> None:
    """The times in his record may be of any clock: fifteen seconds without a change are what counts."""

    @virtual
    async def wait() -> None:
        api = MemoryApi()
        api.put(PATH, foreign_record("dead", renewed))
        one = candidate(api, "a")
        async with taking_part(one):
            await asyncio.sleep(14.5)
            assert one.remaining() <= NOTHING
            assert one.holder == "dead"
            await asyncio.sleep(3)
            assert one.remaining() > NOTHING
            assert api.documents[PATH]["spec"]["leaseTransitions"] == 5

    wait()


@virtual
async def test_a_living_holder_is_left_in_peace_whatever_his_clock() -> None:
    """He renews, by a clock that is an hour late."""
    api = MemoryApi()
    late, other = candidate(api, "late", lambda: now() - timedelta(hours=1)), candidate(api, "b")
    async with taking_part(late, other):
        for _ in range(100):
            await asyncio.sleep(1)
            assert late.remaining() > timedelta(seconds=12)
            assert other.remaining() <= NOTHING


@virtual
async def test_what_remains_is_counted_from_before_the_renewal_was_sent() -> None:
    """The answer took three seconds: another one may have begun to count when the request arrived."""
    api = MemoryApi()
    api.latency = lambda: 1.5
    one = candidate(api, "a")
    async with taking_part(one):
        await asyncio.sleep(20)
        most = NOTHING
        for _ in range(100):
            await asyncio.sleep(0.1)
            most = max(most, one.remaining())
        assert timedelta(seconds=11.5) < most <= timedelta(seconds=12)


@virtual
async def test_an_outage_ends_the_lead_in_time_and_not_the_process(caplog: pytest.LogCaptureFixture) -> None:
    """A minute without API server: nobody leads after fifteen seconds, somebody does right after its return."""
    api = MemoryApi()
    one = candidate(api, "a")
    async with taking_part(one):
        await asyncio.sleep(10)
        api.down = unreachable()
        await asyncio.sleep(16)
        assert one.remaining() <= NOTHING
        await asyncio.sleep(44)
        api.down = None
        await asyncio.sleep(3)
        assert one.remaining() > NOTHING
        told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert told == ["lease system/wakegate: memory: connection refused; trying again"]


@virtual
async def test_a_process_that_was_stopped_knows_that_its_time_is_over() -> None:
    """SIGSTOP for a minute: the first thing it may ask after SIGCONT is what remains."""
    loop = asyncio.get_running_loop()
    stopped_for = 0.0
    api = MemoryApi()
    one = candidate(api, "a", monotonic=lambda: loop.time() + stopped_for)
    async with taking_part(one):
        assert one.remaining() > NOTHING
        stopped_for = 60.0
        assert one.remaining() <= NOTHING


@virtual
async def test_who_was_overtaken_while_he_slept_finds_out_at_once() -> None:
    """His renewal is a conflict; he reads who leads now and waits his turn."""
    api = MemoryApi()
    one = candidate(api, "a")
    async with taking_part(one):
        api.put(PATH, foreign_record("b", now()))
        await asyncio.sleep(2)
        assert one.remaining() <= NOTHING
        assert one.holder == "b"


@virtual
async def test_a_lease_that_somebody_deleted_is_made_again() -> None:
    """Kubectl delete lease is no way to stop it."""
    api = MemoryApi()
    one = candidate(api, "a")
    async with taking_part(one):
        api.remove(PATH)
        await asyncio.sleep(5)
        assert one.remaining() > NOTHING
        assert PATH in api.documents


@virtual
async def test_whoever_ends_lets_the_next_one_take_over_at_once() -> None:
    """A rolling update does not leave the cluster without a leader for fifteen seconds."""
    api = MemoryApi()
    first, second = candidate(api, "a"), candidate(api, "b")
    async with taking_part(first) as [task], taking_part(second):
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert first.remaining() <= NOTHING
        assert api.documents[PATH]["spec"]["holderIdentity"] == ""
        await asyncio.sleep(2.1)
        assert second.remaining() > NOTHING
        assert api.documents[PATH]["spec"]["leaseTransitions"] == 1


@virtual
async def test_an_end_during_an_outage_is_not_held_up() -> None:
    """The lease cannot be given back: the next one waits for it, the process does not."""
    api = MemoryApi()
    async with taking_part(candidate(api, "a")) as [task]:
        api.down = unreachable()
        task.cancel()
        started = asyncio.get_running_loop().time()
        await asyncio.gather(task, return_exceptions=True)
        assert asyncio.get_running_loop().time() - started < 3


@pytest.mark.parametrize("error", [DeniedError("403"), NotFoundError('404 namespaces "system" not found')])
def test_what_an_administrator_must_do_is_said(error: WakegateError, caplog: pytest.LogCaptureFixture) -> None:
    """Once, with the verbs, and what it means meanwhile."""

    @virtual
    async def take_part() -> None:
        api = MemoryApi()
        api.down = error
        async with taking_part(candidate(api, "a")):
            await asyncio.sleep(60)

    take_part()
    [told] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "nothing goes to sleep until get, create and update of leases are granted" in told


@pytest.mark.parametrize("seed", range(8))
def test_there_are_never_two_leaders(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three replicas for ten minutes: the network is slow, loses answers and cuts them off; they end and come back."""
    # Renewals are spread by chance: of the same seed that is to be the same course, with more than one leader in it.
    monkeypatch.setattr(lease, "random", Random(seed))  # noqa: S311 - a seeded scenario

    @virtual
    async def run() -> None:
        chance = Random(seed)  # noqa: S311 - a seeded scenario
        whole = MemoryApi()
        whole.latency = lambda: chance.choice([0.0, 0.0, 0.0, 0.01, 3.0])
        views = [copy.copy(whole) for _ in "abc"]  # one server, three networks
        candidates = [candidate(view, name) for view, name in zip(views, "abc", strict=True)]
        led = set()
        async with taking_part(*candidates) as tasks:
            for _ in range(6000):
                await asyncio.sleep(0.1)
                leaders = [one for one in candidates if one.remaining() > NOTHING]
                assert len(leaders) <= 1
                led |= {candidates.index(one) for one in leaders}
                which = chance.randrange(3)
                if chance.random() < 0.02:
                    error = chance.choice([unreachable(), ConflictError("409")])
                    whole.faults.append((chance.choice(["PUT", "GET"]), error, chance.random() < 0.5))
                if chance.random() < 0.01:
                    views[which].down = None if views[which].down else unreachable()
                if chance.random() < 0.005:
                    tasks[which].cancel()
                    await asyncio.gather(tasks[which], return_exceptions=True)
                    tasks[which] = asyncio.create_task(candidates[which].run())
        assert len(led) > 1

    run()
