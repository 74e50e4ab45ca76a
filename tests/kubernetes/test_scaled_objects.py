"""ScaledObjects as they are followed: whose they are, what drives a target, and the finalizer."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from activator.core.model import TargetRef
from activator.errors import ConflictError, DeniedError
from activator.kubernetes import keda_presence
from activator.kubernetes.api_service import PATH as API_SERVICE
from activator.kubernetes.catalog import KubernetesCatalog
from activator.kubernetes.keda_presence import KedaPresence
from activator.kubernetes.resources import Resources
from activator.kubernetes.scaled_objects import FINALIZER, ScaledObjects
from activator.specs.defaults import AnnotationDefaults
from activator.specs.keda.scaled_object import pack, parse_packed
from tests.fakes.bed import Bed
from tests.kubernetes.memory_api import MemoryApi
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.kubernetes.client import KubernetesClient
    from activator.kubernetes.environment_objects import EnvironmentObjects
    from activator.ports import CatalogListener

ORDERS = TargetRef("shop", "Deployment", "orders")
COLLECTION = "/apis/keda.sh/v1alpha1/namespaces/shop/scaledobjects"
LABEL = {"scaledobject.keda.sh/name": "orders"}
"""The one that KEDA puts on its own objects, and we on ours."""


def path_of(name: str) -> str:
    """Of one of them."""
    return f"{COLLECTION}/{name}"


def document(name: str = "orders", created: str = "2026-01-05T09:00:00Z", **metadata: Any) -> dict[str, Any]:
    """One that drives the Deployment of orders."""
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": f"u-{name}", "creationTimestamp": created, **metadata},
        "spec": {"scaleTargetRef": {"name": "orders"}, "triggers": []},
    }


def deploy(api: MemoryApi, name: str, *, most: int = 5, **metadata: Any) -> None:
    """Put a Deployment and the ScaledObject that drives it, with a trigger on the topic of its name."""
    api.put(f"/apis/apps/v1/namespaces/shop/deployments/{name}", {"metadata": {"name": name}, "spec": {}})
    trigger = {"bootstrapServers": "kafka:9092", "consumerGroup": name, "topic": name}
    spec = {"scaleTargetRef": {"name": name}, "maxReplicaCount": most}
    triggers = [{"type": "kafka", "metadata": trigger}]
    api.put(path_of(name), {**document(name, **metadata), "spec": {**spec, "triggers": triggers}})


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


@asynccontextmanager
async def delivered(
    api: MemoryApi, followed: Followed, listener: CatalogListener, environment: EnvironmentObjects | None = None
) -> AsyncIterator[None]:
    """Deliver what they drive until the end of the block."""
    client = cast("KubernetesClient", api)
    defaults = AnnotationDefaults()
    catalog = KubernetesCatalog(
        client,
        Resources(client),
        lambda packed, _: parse_packed(packed, defaults),
        ["shop"],
        followed.objects,
        pack=pack,
        environment=environment,
    )
    task = asyncio.create_task(catalog.run(listener))
    try:
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
        assert metadata["labels"] == LABEL
        gone = document(**{**metadata, "deletionTimestamp": "2026-01-05T11:00:00Z"})
        api.put(path_of("orders"), {**gone, "spec": document()["spec"]})
        await asyncio.sleep(3)
        assert followed.objects.of(ORDERS) is None, "it drives nothing any more"
        assert FINALIZER in api.documents[path_of("orders")]["metadata"]["finalizers"], "it is not given back yet"
        followed.held.clear()
        await asyncio.sleep(3)
        assert api.documents[path_of("orders")]["metadata"]["finalizers"] == ["example.com/audit"]


@virtual
async def test_a_takeover_is_told_once() -> None:
    """The label that we put on a ScaledObject is no other configuration, and nothing to announce again."""
    api, bed = MemoryApi(), Bed(hpa=False)
    deploy(api, "orders", labels={"team": "shop"})
    bed.kafka.create_topic("orders", 5)
    followed = Followed(api)
    async with bed, running(followed), delivered(api, followed, bed.replica.activator):
        await bed.until(20)
    assert api.documents[path_of("orders")]["metadata"]["labels"] == {"team": "shop", **LABEL}
    assert [notice.reason for notice in bed.recorder.notices] == ["TakenOver"]
    [target] = bed.replica.activator.targets.values()
    assert target.policy.scaled_object is not None
    assert dict(target.policy.scaled_object.labels) == {"team": "shop", **LABEL}, "the HPA has it from the first on"


@virtual
async def test_what_changes_during_a_look_at_others_is_looked_at_right_after_it() -> None:
    """One target is read after the other: who is behind another change need not wait for the next regular look."""
    api, bed = MemoryApi(), Bed(hpa=False)
    for name in ("mails", "orders"):
        deploy(api, name)
    followed = Followed(api)
    async with bed, running(followed), delivered(api, followed, bed.replica.activator):
        await bed.until(3)
        api.latency = lambda: 0.5
        deploy(api, "mails", most=7)
        deploy(api, "orders", most=7)
        await bed.until(3.7)  # mails has been read, and orders is being read
        deploy(api, "mails", most=9)
        await bed.until(5)
        targets = bed.replica.activator.targets.items()
        assert {ref.name: target.policy.max_replicas for ref, target in targets} == {"mails": 9, "orders": 7}


class SlowEnvironments:
    """What targets' variables come from, as slow as a Secret can be."""

    def __init__(self) -> None:
        self.asked, self.answered = asyncio.Event(), asyncio.Event()

    def is_known(self, *_: object) -> bool:
        """All is."""
        return True

    def forget(self, _: TargetRef) -> None:
        """Nothing is kept."""

    async def look(self) -> set[TargetRef]:
        """Nothing changes."""
        return set()

    async def fetch(self, *_: object) -> None:
        """Wait until the test lets it go on."""
        self.asked.set()
        await self.answered.wait()


@virtual
async def test_one_that_is_deleted_while_it_is_read_does_not_come_back() -> None:
    """What the watch tells during a look is newer than what the look has read."""
    api, bed, slow = MemoryApi(), Bed(hpa=False), SlowEnvironments()
    deploy(api, "orders")
    followed = Followed(api)
    environment = cast("EnvironmentObjects", slow)
    slow.answered.set()
    async with bed, running(followed), delivered(api, followed, bed.replica.activator, environment):
        await bed.until(10)
        assert bed.replica.activator.targets
        slow.asked.clear()
        slow.answered.clear()
        deploy(api, "orders", most=7, labels=LABEL, finalizers=[FINALIZER])
        await slow.asked.wait()
        api.remove("/apis/apps/v1/namespaces/shop/deployments/orders")
        await bed.until(12)
        slow.answered.set()
        await bed.until(13)
        assert not bed.replica.activator.targets


@virtual
async def test_the_finalizer_goes_before_an_uninstall() -> None:
    """From ours whose target has been given back; other finalizers stay, and what failed is tried again."""
    api = MemoryApi()
    api.put(path_of("orders"), document(finalizers=["example.com/audit", FINALIZER]))
    other = document("mails", finalizers=[FINALIZER])
    api.put(path_of("mails"), {**other, "spec": {"scaleTargetRef": {"name": "mails"}, "triggers": []}})
    followed = Followed(api)
    followed.objects.leads = lambda: False  # nothing else is written meanwhile
    async with running(followed):
        await followed.objects.let_go({ORDERS})
        await asyncio.sleep(1)
        assert followed.objects.tied() == [("shop", "orders")], "its target is still to be given back"
        api.faults.append(("PATCH", ConflictError("modified"), False))
        await followed.objects.let_go(())
        assert followed.objects.tied() == [("shop", "orders")]
        await followed.objects.let_go(())
        await asyncio.sleep(1)
        assert followed.objects.tied() == []
    assert api.documents[path_of("orders")]["metadata"]["finalizers"] == ["example.com/audit"]
    assert api.documents[path_of("mails")]["metadata"]["finalizers"] == []


@virtual
async def test_a_live_keda_s_finalizers_are_left_to_it() -> None:
    """It stays when wakegate goes, and gives the targets of its ScaledObjects back by itself."""
    api = MemoryApi()
    api.put(path_of("orders"), document(finalizers=[FINALIZER]))
    followed = Followed(api, live=True)
    async with running(followed):
        await followed.objects.let_go(())
        assert followed.objects.tied() == []
    assert api.documents[path_of("orders")]["metadata"]["finalizers"] == [FINALIZER]
    assert api.asked("PATCH") == []


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
LEASE_ELSEWHERE = "/apis/coordination.k8s.io/v1/namespaces/autoscaling/leases/operator.keda.sh"


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
    "its Lease is renewed, where its Helm chart was told to": ({LEASE_ELSEWHERE: lease(5)}, True),
    "its Lease is old": ({LEASE: lease(2 * 3600)}, False),
    "another operator's Lease": ({LEASE.replace("operator.keda.sh", "wakegate"): lease(5)}, False),
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
    """What is known after the first look, or after the third that is refused."""
    presence = KedaPresence(cast("KubernetesClient", api), lambda: NOW)
    task = asyncio.create_task(presence.run())
    await asyncio.sleep(3)
    task.cancel()
    return presence.is_live()
