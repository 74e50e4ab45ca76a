"""Whether KEDA's Lease is renewed is seen, and not read off two clocks that need not agree."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import pytest

from activator.kubernetes.keda_presence import GONE_AFTER_LOOKS, LOOK_SECONDS, RENEWED_WITHIN, KedaPresence
from tests.kubernetes.memory_api import MemoryApi
from tests.virtual_time import START, virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.kubernetes.client import KubernetesClient

PATH = "/apis/coordination.k8s.io/v1/namespaces/keda/leases/operator.keda.sh"
RENEWAL_SECONDS = 2.0
WATCHED_SECONDS = RENEWED_WITHIN.total_seconds()
GONE_SECONDS = WATCHED_SECONDS + LOOK_SECONDS * (GONE_AFTER_LOOKS + 1)
DISTANCES = pytest.mark.parametrize("ahead", [-7200, -300, -30, 0, 30, 300, 7200], ids=lambda ahead: f"{ahead} s")
"""How far our own clock is ahead of KEDA's."""


def renew(api: MemoryApi) -> None:
    """Write the Lease by KEDA's clock."""
    renewed = (START + timedelta(seconds=asyncio.get_running_loop().time())).isoformat().replace("+00:00", "Z")
    metadata = {"name": "operator.keda.sh", "namespace": "keda"}
    api.put(PATH, {"metadata": metadata, "spec": {"holderIdentity": "keda", "renewTime": renewed}})


async def keep_renewing(api: MemoryApi) -> None:
    """Be a KEDA that lives."""
    while True:
        renew(api)
        await asyncio.sleep(RENEWAL_SECONDS)


@asynccontextmanager
async def looking(api: MemoryApi, ahead: float = 0) -> AsyncIterator[KedaPresence]:
    """It is looked for until the end of the block, by a clock that is so many seconds ahead of KEDA's."""
    loop = asyncio.get_running_loop()
    presence = KedaPresence(
        cast("KubernetesClient", api), lambda: START + timedelta(seconds=loop.time()) + timedelta(seconds=ahead)
    )
    task = asyncio.create_task(presence.run())
    try:
        yield presence
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@DISTANCES
@virtual
async def test_a_live_one_is_seen_whatever_the_clocks_say(ahead: float) -> None:
    """Nothing is taken from it first where they are less than an hour apart; else it is known one look later."""
    api = MemoryApi()
    renewing = asyncio.create_task(keep_renewing(api))
    await asyncio.sleep(0)
    async with looking(api, ahead) as keda:
        for _ in range(100):
            await asyncio.sleep(0.1)
            assert keda.is_live() in ((True, None) if ahead < 3600 else (True, None, False))
        await asyncio.sleep(LOOK_SECONDS)
        for _ in range(100):
            assert keda.is_live() is True
            await asyncio.sleep(LOOK_SECONDS)
    renewing.cancel()


@DISTANCES
@virtual
async def test_one_that_ended_is_gone_whatever_the_clocks_say(ahead: float) -> None:
    """A Lease that does not change any more is not renewed, be it from the future."""
    api = MemoryApi()
    renewing = asyncio.create_task(keep_renewing(api))
    async with looking(api, ahead) as keda:
        await asyncio.sleep(3 * LOOK_SECONDS)
        assert keda.is_live() is True
        renewing.cancel()
        await asyncio.sleep(LOOK_SECONDS * (GONE_AFTER_LOOKS - 1))
        assert keda.is_live() is True
        await asyncio.sleep(GONE_SECONDS)
        assert keda.is_live() is False


@pytest.mark.parametrize(
    ("seconds_ago", "known_after"), [(30, 1), (300, WATCHED_SECONDS + 2), (7200, 1)], ids=["fresh", "in doubt", "old"]
)
@virtual
async def test_the_first_answer(seconds_ago: float, known_after: float) -> None:
    """It comes at once, but for a Lease that is old by no more than two clocks may be apart: that one is watched."""
    api = MemoryApi()
    renew(api)
    async with looking(api, ahead=seconds_ago) as keda:
        if known_after > WATCHED_SECONDS:
            await asyncio.sleep(WATCHED_SECONDS - 1)
            assert keda.is_live() is None
        await asyncio.sleep(known_after)
        assert keda.is_live() is (seconds_ago == 30)


@virtual
async def test_a_live_one_whose_lease_looks_old_holds_nobody_up() -> None:
    """While others wait for the answer it is looked again soon: a start takes as long as KEDA's next renewal."""
    api = MemoryApi()
    renewing = asyncio.create_task(keep_renewing(api))
    await asyncio.sleep(0)
    async with looking(api, ahead=300) as keda:
        await asyncio.sleep(RENEWAL_SECONDS + 2)
        assert keda.is_live() is True
    renewing.cancel()
