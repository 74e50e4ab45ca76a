"""What cannot be seen at first is not absent: what is kept of a target would be given back, or handed to KEDA.

An API server that starts refuses for a moment what it allows otherwise, because it has not read its roles yet; a
conversion webhook that starts answers nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import pytest

from activator.errors import DeniedError, UnavailableError
from activator.kubernetes.api_service import PATH as API_SERVICE
from activator.kubernetes.catalog import FIRST_LOOKS_SECONDS
from activator.kubernetes.keda_presence import GONE_AFTER_LOOKS, LOOK_SECONDS, KedaPresence
from tests.contracts.kubernetes_worlds import Listener
from tests.kubernetes.memory_api import MemoryApi
from tests.kubernetes.test_scaled_objects import (
    COLLECTION,
    NOW,
    ORDERS,
    Followed,
    delivered,
    deploy,
    document,
    path_of,
    running,
)
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.errors import WakegateError
    from activator.kubernetes.client import KubernetesClient

ROLLOUTS = "/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts"
REFUSED = DeniedError('403 Forbidden: RBAC: clusterrole.rbac.authorization.k8s.io "wakegate" not found')


@asynccontextmanager
async def looking_for_keda(api: MemoryApi, followed: Followed) -> AsyncIterator[KedaPresence]:
    """Whose ScaledObjects they are is looked at until the end of the block."""
    keda = KedaPresence(cast("KubernetesClient", api), lambda: NOW)
    followed.objects._keda_is_live = keda.is_live
    task = asyncio.create_task(keda.run())
    try:
        yield keda
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize(("refused_looks", "live"), [(1, False), (GONE_AFTER_LOOKS, True)])
@virtual
async def test_keda_was_seen_not_to_be_there(refused_looks: int, live: bool) -> None:  # noqa: FBT001 - a column
    """One refusal gives nothing away; a right that is gone for good does, as two must never drive one target."""
    api = MemoryApi()
    deploy(api, "orders")
    followed, listener = Followed(api), Listener()
    async with looking_for_keda(api, followed) as keda, running(followed), delivered(api, followed, listener):
        await asyncio.sleep(3 * LOOK_SECONDS + 1)
        assert keda.is_live() is False
        api.broken[API_SERVICE] = REFUSED
        asyncio.get_running_loop().call_later(refused_looks * LOOK_SECONDS, api.broken.clear)
        await asyncio.sleep(GONE_AFTER_LOOKS * LOOK_SECONDS + 2)  # until it has been told, too
        assert keda.is_live() is live
    assert ("remove orders" in listener.log) is live


@pytest.mark.parametrize("path", [API_SERVICE, COLLECTION])
@virtual
async def test_a_refusal_at_the_start(path: str) -> None:
    """It is asked again before anybody is told that there is nothing."""
    api = MemoryApi()
    deploy(api, "orders")
    api.broken[path] = REFUSED
    asyncio.get_running_loop().call_later(1.5, api.broken.clear)  # two are refused
    followed, listener = Followed(api), Listener()
    async with looking_for_keda(api, followed), running(followed), delivered(api, followed, listener):
        await asyncio.sleep(5)
    assert list(dict.fromkeys(listener.log)) == ["upsert orders", "synced"]


def a_rollout() -> MemoryApi:
    """A ScaledObject that drives what cannot be watched."""
    api = MemoryApi()
    api.put(f"{ROLLOUTS}/orders/scale", {"metadata": {"name": "orders"}, "spec": {"replicas": 0}})
    resources = [{"kind": "Rollout", "name": "rollouts"}]
    api.put("/apis/argoproj.io/v1alpha1", {"metadata": {"name": "argoproj.io"}, "resources": resources})
    trigger = {"bootstrapServers": "kafka:9092", "consumerGroup": "orders", "topic": "orders"}
    target = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "orders"}
    spec = {"scaleTargetRef": target, "triggers": [{"type": "kafka", "metadata": trigger}]}
    api.put(path_of("orders"), {**document(), "spec": spec})
    return api


NO_ANSWER = UnavailableError("API server", "500 conversion webhook failed")


@pytest.mark.parametrize(("error", "seconds"), [(NO_ANSWER, FIRST_LOOKS_SECONDS / 2), (REFUSED, 4)])
@virtual
async def test_all_is_delivered_once_each_target_has_been_read(error: WakegateError, seconds: float) -> None:
    """Until then what is kept of one that cannot be read is not given back."""
    api = a_rollout()
    api.broken[ROLLOUTS] = error
    followed, listener = Followed(api), Listener()
    async with running(followed), delivered(api, followed, listener):
        await asyncio.sleep(seconds)
        assert listener.log == []
        api.broken.clear()
        await asyncio.sleep(6)
        assert listener.log[:2] == ["upsert orders", "synced"]


@pytest.mark.parametrize(("error", "seconds"), [(NO_ANSWER, FIRST_LOOKS_SECONDS + 6), (REFUSED, 20)])
@virtual
async def test_a_target_that_cannot_be_read_does_not_hold_up_the_others_for_ever(
    error: WakegateError, seconds: float
) -> None:
    """No replica is ready before all is delivered: one broken resource must not keep a whole installation down."""
    api = a_rollout()
    api.broken[ROLLOUTS] = error
    followed, listener = Followed(api), Listener()
    async with running(followed), delivered(api, followed, listener):
        await asyncio.sleep(seconds)
        assert listener.log == ["synced"]


@virtual
async def test_what_is_deleted_between_two_runs() -> None:
    """The task that follows them is begun anew after a mistake: what went meanwhile drives nothing any more."""
    api = MemoryApi()
    api.put(path_of("orders"), document())
    followed = Followed(api)
    async with running(followed):
        await asyncio.sleep(3)
        assert followed.objects.of(ORDERS) is not None
    api.remove(path_of("orders"))
    async with running(followed):
        await asyncio.sleep(3)
        assert followed.objects.of(ORDERS) is None
