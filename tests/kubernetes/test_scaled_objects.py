"""ScaledObjects as they are followed: whose they are, what drives a target, and the finalizer."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from activator.core.model import TargetRef
from activator.errors import DeniedError
from activator.kubernetes import keda_presence
from activator.kubernetes.api_service import PATH as API_SERVICE
from activator.kubernetes.keda_presence import KedaPresence
from activator.kubernetes.scaled_objects import FINALIZER, ScaledObjects
from tests.kubernetes.memory_api import MemoryApi
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.kubernetes.client import KubernetesClient

ORDERS = TargetRef("shop", "Deployment", "orders")
COLLECTION = "/apis/keda.sh/v1alpha1/namespaces/shop/scaledobjects"


def path_of(name: str) -> str:
    """Of one of them."""
    return f"{COLLECTION}/{name}"


def document(name: str = "orders", created: str = "2026-01-05T09:00:00Z", **metadata: Any) -> dict[str, Any]:
    """One that drives the Deployment of orders."""
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": f"u-{name}", "creationTimestamp": created, **metadata},
        "spec": {"scaleTargetRef": {"name": "orders"}, "triggers": []},
    }


class Followed:
    """What a process of wakegate knows of them."""

    def __init__(self, api: MemoryApi, *, live: bool | None = False) -> None:
        self.live = live
        self.held: set[TargetRef] = set()
        self.told: list[TargetRef] = []
        client = cast("KubernetesClient", api)
        self.objects = ScaledObjects(client, ["shop"], lambda: self.live)
        self.objects.changed = self.told.append
        self.objects.holds = lambda ref: ref in self.held
        self.objects.leads = lambda: True


@asynccontextmanager
async def running(followed: Followed) -> AsyncIterator[None]:
    """Follow until the end of the block."""
    task = asyncio.create_task(followed.objects.run())
    try:
        await followed.objects.settled()
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@virtual
async def test_that_a_live_keda_has_them_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Not while it is unknown, not again at each look; one that went and comes back is news."""
    caplog.set_level("INFO")
    api = MemoryApi()
    api.put(path_of("orders"), document())
    followed = Followed(api, live=None)
    task = asyncio.create_task(followed.objects.run())
    said = []
    for live in (None, True, False, True):
        followed.live = live
        for _ in range(3):
            await asyncio.sleep(2)
            assert (followed.objects.of(ORDERS) is None) is (live is not False)
        said.append(sum("KEDA is live here" in message for message in caplog.messages))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert said == [0, 1, 1, 2]


@virtual
async def test_of_two_that_name_one_target_the_older_drives_it() -> None:
    """The younger is known, to be told so."""
    api = MemoryApi()
    api.put(path_of("younger"), document("younger", "2026-01-05T10:00:00Z"))
    api.put(path_of("older"), document("older"))
    followed = Followed(api)
    async with running(followed):
        driver = followed.objects.of(ORDERS)
        assert driver is not None
        assert driver["metadata"]["name"] == "older"
        assert [loser["metadata"]["name"] for loser in followed.objects.beaten(ORDERS)] == ["younger"]


@virtual
async def test_the_finalizer_comes_with_the_management_and_goes_after_the_release() -> None:
    """Other finalizers are left alone."""
    api = MemoryApi()
    api.put(path_of("orders"), document(finalizers=["example.com/audit"]))
    followed = Followed(api)
    followed.held.add(ORDERS)
    async with running(followed):
        await asyncio.sleep(3)
        metadata = api.documents[path_of("orders")]["metadata"]
        assert metadata["finalizers"] == ["example.com/audit", FINALIZER]
        assert metadata["labels"] == {"scaledobject.keda.sh/name": "orders"}
        gone = document(**{**metadata, "deletionTimestamp": "2026-01-05T11:00:00Z"})
        api.put(path_of("orders"), {**gone, "spec": document()["spec"]})
        await asyncio.sleep(3)
        assert followed.objects.of(ORDERS) is None, "it drives nothing any more"
        assert FINALIZER in api.documents[path_of("orders")]["metadata"]["finalizers"], "it is not given back yet"
        followed.held.clear()
        await asyncio.sleep(3)
        assert api.documents[path_of("orders")]["metadata"]["finalizers"] == ["example.com/audit"]


@virtual
async def test_beside_a_live_keda_only_what_asks_for_it_is_ours() -> None:
    """Nothing is written to the others; when KEDA is gone they are taken over."""
    api = MemoryApi()
    api.put(path_of("orders"), document())
    adopted = document("mails", annotations={"wakegate.dev/adopt": "true"})
    adopted["spec"]["scaleTargetRef"]["name"] = "mails"
    api.put(path_of("mails"), adopted)
    followed = Followed(api, live=True)
    async with running(followed):
        await asyncio.sleep(3)
        assert followed.objects.of(ORDERS) is None
        assert followed.objects.of(TargetRef("shop", "Deployment", "mails")) is not None
        assert "finalizers" not in api.documents[path_of("orders")]["metadata"]
        followed.told.clear()
        followed.live = False
        await asyncio.sleep(3)
        assert followed.objects.of(ORDERS) is not None
        assert ORDERS in followed.told


@virtual
async def test_a_crd_that_comes_later_is_noticed() -> None:
    """Without it nobody waits; with it what is there is delivered."""
    api = MemoryApi()
    api.absent.add("/apis/keda.sh/")
    followed = Followed(api)
    async with running(followed):
        assert followed.objects.of(ORDERS) is None
        api.absent.clear()
        api.put(path_of("orders"), document())
        await asyncio.sleep(30)
        assert followed.objects.of(ORDERS) is not None
        assert ORDERS in followed.told


NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
LEASE = "/apis/coordination.k8s.io/v1/namespaces/keda/leases/operator.keda.sh"


def api_service(name: str, available: str) -> dict[str, Any]:
    """The APIService of external metrics."""
    return {
        "metadata": {"name": "v1beta1.external.metrics.k8s.io"},
        "spec": {"service": {"name": name, "namespace": "keda"}},
        "status": {"conditions": [{"type": "Available", "status": available}]},
    }


def lease(seconds_ago: float) -> dict[str, Any]:
    """The operator's Lease, renewed so long ago."""
    renewed = (NOW - timedelta(seconds=seconds_ago)).isoformat().replace("+00:00", "Z")
    return {"metadata": {"name": "operator.keda.sh", "namespace": "keda"}, "spec": {"renewTime": renewed}}


SIGNS: dict[str, tuple[dict[str, dict[str, Any]], bool]] = {
    "nothing": ({}, False),
    "its metrics API answers": ({API_SERVICE: api_service("keda-operator-metrics-apiserver", "True")}, True),
    "its metrics API leads nowhere": ({API_SERVICE: api_service("keda-operator-metrics-apiserver", "False")}, False),
    "somebody else's metrics API": ({API_SERVICE: api_service("datadog", "True")}, False),
    "its Lease is renewed": ({LEASE: lease(5)}, True),
    "its Lease is old": ({LEASE: lease(600)}, False),
}


@pytest.mark.parametrize(("documents", "live"), SIGNS.values(), ids=SIGNS)
@virtual
async def test_a_sign_of_keda(documents: dict[str, dict[str, Any]], live: bool) -> None:  # noqa: FBT001 - a row
    """What an uninstalled KEDA left behind is no sign."""
    api = MemoryApi()
    for path, found in documents.items():
        api.put(path, found)
    assert await looked(api) is live


@virtual
async def test_who_may_not_look_takes_it_for_live() -> None:
    """Two must never drive one target because a right is missing."""
    api = MemoryApi()
    api.down = DeniedError("403 Forbidden")
    assert await looked(api) is True


@virtual
async def test_a_restart_of_keda_is_not_its_end() -> None:
    """It is gone after a minute without a sign."""
    api = MemoryApi()
    api.put(LEASE, lease(5))
    presence = KedaPresence(cast("KubernetesClient", api), lambda: NOW)
    task = asyncio.create_task(presence.run())
    await asyncio.sleep(1)
    api.remove(LEASE)
    await asyncio.sleep(keda_presence.LOOK_SECONDS * 3)
    assert presence.is_live() is True
    await asyncio.sleep(keda_presence.LOOK_SECONDS * keda_presence.GONE_AFTER_LOOKS)
    assert presence.is_live() is False
    task.cancel()


async def looked(api: MemoryApi) -> bool | None:
    """What is known after the first look."""
    presence = KedaPresence(cast("KubernetesClient", api), lambda: NOW)
    task = asyncio.create_task(presence.run())
    await asyncio.sleep(1)
    task.cancel()
    return presence.is_live()
