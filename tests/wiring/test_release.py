"""Giving everything back, from the outside: what becomes of wakegate's own Deployment meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from activator.core.model import TargetRef
from activator.errors import UnavailableError
from activator.wiring.release import let_sigterm_cancel, stopped
from tests.fakes.api_server import FakeApiServer, conflict, unreachable
from tests.fakes.kubernetes import FakeScaler

OURS = TargetRef("wakegate-system", "Deployment", "wakegate")


@pytest.fixture
def server() -> FakeApiServer:
    """Wakegate runs, with two replicas."""
    made = FakeApiServer()
    made.add(OURS, replicas=2)
    return made


async def test_it_stays_at_zero_where_all_is_given_back(server: FakeApiServer) -> None:
    """It is about to be deleted; also where somebody else writes as it is put to zero."""
    server.inject("scale.set", conflict())
    async with stopped(FakeScaler(server), OURS):
        assert server.replicas(OURS) == 0
    assert server.replicas(OURS) == 0


@pytest.mark.parametrize("error", [UnavailableError("giving back", "not done within 240 s"), asyncio.CancelledError()])
async def test_it_runs_again_where_giving_back_fails(server: FakeApiServer, error: BaseException) -> None:
    """What still sleeps is woken by somebody until it is tried again."""
    with pytest.raises(type(error)):
        async with stopped(FakeScaler(server), OURS):
            raise error
    assert server.replicas(OURS) == 2


async def test_what_was_at_zero_before_stays_there(server: FakeApiServer) -> None:
    """Somebody else has put it there, or an earlier try that was killed."""
    server.scale(OURS, 0)
    with pytest.raises(UnavailableError):
        async with stopped(FakeScaler(server), OURS):
            raise UnavailableError("giving back", "not done within 240 s")
    assert server.replicas(OURS) == 0


async def test_a_pod_that_is_evicted_puts_it_back(server: FakeApiServer) -> None:
    """SIGTERM ends it as Ctrl-C does."""
    begun = asyncio.Event()

    async def give_back() -> None:
        let_sigterm_cancel()
        async with stopped(FakeScaler(server), OURS):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(give_back())
    await begun.wait()
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(asyncio.CancelledError):
            await task
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
    assert server.replicas(OURS) == 2


async def test_why_giving_back_failed_is_told_in_any_case(
    server: FakeApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Where it cannot be put back either, the log says so, and the first reason goes out."""

    async def give_back() -> None:
        async with stopped(FakeScaler(server), OURS):
            server.inject("scale.get", unreachable())
            raise UnavailableError("giving back", "not done within 240 s")

    with pytest.raises(UnavailableError, match="not done within 240 s"):
        await give_back()
    assert "stays at zero, and nothing wakes what still sleeps" in caplog.text


async def test_without_a_deployment_nothing_runs(server: FakeApiServer) -> None:
    """It may be gone already."""
    server.delete(OURS)
    async with stopped(FakeScaler(server), OURS):
        pass
    assert OURS not in server.workloads
