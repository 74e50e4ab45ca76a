"""States are kept with as few requests as can be, and without the CRD nothing is kept and nothing breaks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import pytest

from activator.core.model import Phase, TargetRef, TargetState
from activator.errors import UnavailableError
from activator.kubernetes.responses import ExpiredError
from activator.kubernetes.scale_targets import ScaleTargetStore
from tests.kubernetes.memory_api import MemoryApi, unreachable
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.kubernetes.client import KubernetesClient

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
ORDERS = TargetRef("shop", "Deployment", "orders")
MAIL = TargetRef("shop", "Deployment", "mail")
ASLEEP = TargetState(Phase.ASLEEP, 0, "quiet", "", NOON, NOON, lag=0, original_replicas=3, asleep_by_us=True)
GROUP = "/apis/wakegate.dev/v1alpha1"
PATH = f"{GROUP}/namespaces/shop/scaletargets/deployment-orders"


def store_of(api: MemoryApi, leads: Callable[[], bool] = lambda: True) -> ScaleTargetStore:
    """A store on the clock of the virtual loop."""
    return ScaleTargetStore(cast("KubernetesClient", api), (), leads, asyncio.get_running_loop().time)


def install_crd(api: MemoryApi) -> None:
    """Serve ScaleTargets from now on."""
    api.absent.clear()
    api.put(GROUP, {"metadata": {}, "resources": [{"name": "scaletargets", "kind": "ScaleTarget"}]})


def without_crd() -> MemoryApi:
    """An API server that does not serve ScaleTargets."""
    api = MemoryApi()
    api.absent.add(GROUP)
    return api


@virtual
async def test_a_change_is_one_request() -> None:
    """Two for the first state of a target, one for each later; one also for the next process, once it has loaded."""
    api = MemoryApi()
    store = store_of(api)
    await store.save(ORDERS, "uid-1", ASLEEP)
    await store.save(ORDERS, "uid-1", replace(ASLEEP, lag=1))
    assert api.asked("APPLY") == [PATH, f"{PATH}/status", f"{PATH}/status"]
    again = store_of(api)
    await again.load()
    await again.save(ORDERS, "uid-1", replace(ASLEEP, lag=2))
    assert api.asked("APPLY")[3:] == [f"{PATH}/status"]


@virtual
async def test_one_that_somebody_deleted_is_made_again() -> None:
    """Kubectl delete scaletarget loses one state, not all later ones."""
    api = MemoryApi()
    store = store_of(api)
    await store.save(ORDERS, "uid-1", ASLEEP)
    api.remove(PATH)
    await store.save(ORDERS, "uid-1", ASLEEP)
    assert await store_of(api).load() == {ORDERS: ASLEEP}


@virtual
async def test_without_the_crd_it_is_said_once_and_looked_for_again(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand saves cost a request a minute."""
    caplog.set_level("INFO")
    api = without_crd()
    store = store_of(api)
    assert await store.load() is None
    for _ in range(600):
        await store.save(ORDERS, "uid-1", ASLEEP)
        await store.forget(MAIL)
        await asyncio.sleep(1)
    assert len(api.log) < 50
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "a fresh cooldown and cannot be put back to its original count" in warnings[0]


@virtual
async def test_what_could_not_be_kept_is_kept_once_the_crd_is_there(caplog: pytest.LogCaptureFixture) -> None:
    """Also of a target that sleeps on and changes no more; its latest state, and none that was forgotten."""
    caplog.set_level("INFO")
    api = without_crd()
    store = store_of(api)
    task = asyncio.create_task(store.run())
    await store.save(ORDERS, "uid-1", replace(ASLEEP, lag=7))
    await store.save(ORDERS, "uid-1", ASLEEP)
    await store.save(MAIL, "uid-2", ASLEEP)
    await store.forget(MAIL)
    install_crd(api)
    await asyncio.sleep(150)
    assert await store_of(api).load() == {ORDERS: ASLEEP}
    assert "is installed now" in caplog.text
    task.cancel()


@virtual
async def test_who_leads_no_more_keeps_nothing_late() -> None:
    """The new leader knows better by now."""
    api = without_crd()
    leads = True
    store = store_of(api, lambda: leads)
    task = asyncio.create_task(store.run())
    await store.save(ORDERS, "uid-1", ASLEEP)
    leads = False
    await asyncio.sleep(61)
    leads = True
    install_crd(api)
    await asyncio.sleep(150)
    assert await store_of(api).load() == {}
    task.cancel()


@virtual
async def test_a_namespace_that_is_gone_does_not_end_the_keeping() -> None:
    """A 404 of one target is not a missing CRD."""
    api = MemoryApi()
    install_crd(api)
    api.absent.add(f"{GROUP}/namespaces/gone/")
    store = store_of(api)
    await store.save(replace(ORDERS, namespace="gone"), "uid-1", ASLEEP)
    await store.save(ORDERS, "uid-1", ASLEEP)
    assert await store.load() == {ORDERS: ASLEEP}


@virtual
async def test_an_outage_is_the_callers_to_know() -> None:
    """Nothing is taken for kept that is not, and nothing for empty that could not be read."""
    api = MemoryApi()
    store = store_of(api)
    api.down = unreachable()
    for call in (store.load(), store.save(ORDERS, "uid-1", ASLEEP), store.forget(ORDERS)):
        with pytest.raises(UnavailableError):
            await call
    api.down = None
    api.faults.append(("LIST", ExpiredError("410"), False))
    with pytest.raises(UnavailableError, match="listing took too long"):
        await store.load()
