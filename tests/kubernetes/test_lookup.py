"""A workload is found by what a person has at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from activator.core.model import TargetRef
from activator.errors import DeniedError, NotFoundError, SettingsError
from activator.kubernetes.lookup import Lookup
from tests.kubernetes.memory_api import Document, MemoryApi

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.kubernetes.client import KubernetesClient

APPS = "/apis/apps/v1/namespaces/shop"
HPAS = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"
TOPIC = {"wakegate.dev/topic": "orders"}


def named(name: str, owner: tuple[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    """An object with a controller."""
    owners = [{"kind": owner[0], "name": owner[1], "controller": True}] if owner else []
    return {"metadata": {"name": name, "namespace": "shop", "ownerReferences": owners, **metadata}, "spec": {}}


class ListsAlone(MemoryApi):
    """Whoever asks may list, and get nothing: the rights of wakegate's own account."""

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Document:
        """Refuse."""
        del query
        raise DeniedError(f"{path}: 403 Forbidden")


@pytest.fixture(params=[MemoryApi, ListsAlone], ids=["as a person", "in a Pod of wakegate"])
def api(request: pytest.FixtureRequest) -> MemoryApi:
    """A Deployment with a ReplicaSet and a Pod, a StatefulSet with a Pod, and an HPA."""
    made: MemoryApi = request.param()
    made.put(f"{APPS}/deployments/orders", named("orders", annotations=TOPIC))
    made.put(f"{APPS}/statefulsets/store", named("store", annotations=TOPIC))
    made.put(f"{APPS}/replicasets/orders-7c5", named("orders-7c5", ("Deployment", "orders")))
    made.put("/api/v1/namespaces/shop/pods/orders-7c5-x2x", named("orders-7c5-x2x", ("ReplicaSet", "orders-7c5")))
    made.put("/api/v1/namespaces/shop/pods/store-0", named("store-0", ("StatefulSet", "store")))
    made.put("/api/v1/namespaces/shop/pods/job-1", named("job-1", ("Job", "job")))
    hpa = named("wakegate-deployment-orders")
    hpa["spec"] = {"scaleTargetRef": {"kind": "Deployment", "name": "orders"}}
    made.put(f"{HPAS}/wakegate-deployment-orders", hpa)
    scaled_object = named("orders-scaler")
    names = {"advanced": {"horizontalPodAutoscalerConfig": {"name": "kafka-hpa"}}}
    scaled_object["spec"] = {"scaleTargetRef": {"name": "orders"}, **names}
    made.put("/apis/keda.sh/v1alpha1/namespaces/shop/scaledobjects/orders-scaler", scaled_object)
    made.put(f"{HPAS}/kafka-hpa", {**named("kafka-hpa"), "spec": hpa["spec"]})
    return made


def lookup(api: MemoryApi) -> Lookup:
    """In namespace shop."""
    return Lookup(cast("KubernetesClient", api), "shop")


@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("orders", "", ("Deployment", "orders")),
        ("orders", "deployment", ("Deployment", "orders")),
        ("store", "", ("StatefulSet", "store")),
        ("wakegate-deployment-orders", "", ("Deployment", "orders")),
        ("orders-7c5-x2x", "", ("Deployment", "orders")),
        ("store-0", "", ("StatefulSet", "store")),
        ("orders-scaler", "", ("Deployment", "orders")),
        ("kafka-hpa", "", ("Deployment", "orders")),
    ],
)
async def test_by_its_name_its_hpa_or_a_pod(api: MemoryApi, name: str, kind: str, found: tuple[str, str]) -> None:
    """Whatever the name is of, the workload behind it is found."""
    ref, document = await lookup(api).find(name, kind)
    assert ref == TargetRef("shop", *found)
    assert document["metadata"]["name"] == found[1]


async def test_what_belongs_to_a_workload_that_a_scaled_object_drives(api: MemoryApi) -> None:
    """Its HPA has the ScaledObject's name for it, and Events on the ScaledObject are told beside the workload's."""
    about = [("Deployment", "orders"), ("ScaledObject", "orders-scaler"), ("HorizontalPodAutoscaler", "kafka-hpa")]
    for number, (kind, name) in enumerate([*about, ("ScaledObject", "other")]):
        event = {**named(f"e{number}"), "involvedObject": {"kind": kind, "name": name}}
        api.put(f"/api/v1/namespaces/shop/events/e{number}", event)
    found, ref = lookup(api), TargetRef("shop", "Deployment", "orders")
    driver = await found.scaled_object(ref)
    assert driver is not None
    hpa = await found.hpa(ref, driver)
    assert hpa is not None
    assert hpa["metadata"]["name"] == "kafka-hpa"
    events = await found.events(ref, driver)
    assert [(each["involvedObject"]["kind"], each["involvedObject"]["name"]) for each in events] == about
    assert await found.scaled_object(TargetRef("shop", "StatefulSet", "store")) is None


@pytest.mark.parametrize("name", ["order", "job-1", "gone"])
async def test_what_is_not_there(api: MemoryApi, name: str) -> None:
    """An absent name, and a Pod of something that is not managed, are told; a near name is named."""
    with pytest.raises(NotFoundError) as raised:
        await lookup(api).find(name)
    assert f"HPA or Pod {name} in namespace shop" in str(raised.value)
    assert ("did you mean orders?" in str(raised.value)) == (name == "order")


async def test_two_kinds_of_one_name(api: MemoryApi) -> None:
    """The annotated one is meant; where both are, the person has to say."""
    api.put(f"{APPS}/statefulsets/orders", named("orders"))
    assert (await lookup(api).find("orders"))[0].kind == "Deployment"
    api.put(f"{APPS}/statefulsets/orders", named("orders", annotations=TOPIC))
    with pytest.raises(SettingsError, match="shop/deployment/orders"):
        await lookup(api).find("orders")
    assert (await lookup(api).find("orders", "StatefulSet"))[0].kind == "StatefulSet"


async def test_a_kind_that_is_not_managed(api: MemoryApi) -> None:
    """It is bad input, and what is allowed is said."""
    with pytest.raises(SettingsError, match="deployment or statefulset"):
        await lookup(api).find("orders", "job")


async def test_events_of_the_workload_and_of_its_hpa(api: MemoryApi) -> None:
    """Those of other objects are left out."""
    about = {"a": ("Deployment", "orders"), "b": ("HorizontalPodAutoscaler", "wakegate-deployment-orders")}
    for number, (kind, name) in {**about, "c": ("Pod", "orders-7c5-x2x"), "d": ("StatefulSet", "orders")}.items():
        event = {**named(number), "involvedObject": {"kind": kind, "name": name}}
        api.put(f"/api/v1/namespaces/shop/events/{number}", event)
    found = await lookup(api).events(TargetRef("shop", "Deployment", "orders"))
    assert [event["metadata"]["name"] for event in found] == ["a", "b"]
