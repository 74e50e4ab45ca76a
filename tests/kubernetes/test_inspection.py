"""What the doctor reads of a cluster: objects, rights and workloads, and why something could not be read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from activator.doctor.facts import FieldOwner, Permission, TopicOfTarget, Unknown
from activator.errors import DeniedError, UnavailableError
from activator.kubernetes import inspection
from activator.specs.annotations import parse
from activator.specs.defaults import AnnotationDefaults
from activator.specs.keda.scaled_object import parse_packed
from tests.kubernetes.memory_api import MemoryApi
from tests.kubernetes.scripted_server import refused, scripted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from activator.core.model import Policy, TargetRef
    from activator.errors import SpecError
    from activator.kubernetes.client import KubernetesClient

PATCH_SCALE = Permission("apps", "deployments/scale", "patch", "shop")
GET_LEASE = Permission("coordination.k8s.io", "leases", "get", "ops", "wakegate")
ACCOUNT = "system:serviceaccount:ops:wakegate"
DEPLOYMENTS = "/apis/apps/v1/namespaces/shop/deployments"
ANNOTATIONS = {
    "wakegate.dev/topic": "orders",
    "wakegate.dev/consumer-group": "shop",
    "wakegate.dev/bootstrap-servers": "kafka:9092",
}


class Reviews(MemoryApi):
    """An API server that allows what a test says, and notes who was asked about."""

    def __init__(self, *allowed: Permission) -> None:
        super().__init__()
        self._allowed = allowed
        self.reviews: list[tuple[str, dict[str, Any]]] = []

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Answer a review."""
        await self._begin("POST", path)
        self.reviews.append((path.rpartition("/")[2], body["spec"]))
        said = body["spec"]["resourceAttributes"]
        resource = f"{said['resource']}/{said['subresource']}" if "subresource" in said else said["resource"]
        place = said.get("namespace", ""), said.get("name", "")
        return {
            "status": {"allowed": Permission(said.get("group", ""), resource, said["verb"], *place) in self._allowed}
        }


def client(api: MemoryApi) -> KubernetesClient:
    """The memory as a client."""
    return cast("KubernetesClient", api)


async def test_our_own_rights() -> None:
    """Without an account we are asked about ourselves."""
    api = Reviews(GET_LEASE)
    assert await inspection.allowed(client(api), [PATCH_SCALE, GET_LEASE]) == {PATCH_SCALE: False, GET_LEASE: True}
    assert {kind for kind, _ in api.reviews} == {"selfsubjectaccessreviews"}


async def test_the_rights_of_an_account() -> None:
    """It is asked about with the groups that every ServiceAccount is in, to which roles may be bound."""
    api = Reviews(PATCH_SCALE)
    assert await inspection.allowed(client(api), [PATCH_SCALE], ACCOUNT) == {PATCH_SCALE: True}
    [(kind, spec)] = api.reviews
    assert (kind, spec["user"]) == ("subjectaccessreviews", ACCOUNT)
    assert set(spec["groups"]) == {"system:serviceaccounts", "system:serviceaccounts:ops", "system:authenticated"}


@pytest.mark.parametrize("error", [DeniedError("403"), UnavailableError("API server", "no answer")])
async def test_rights_that_may_not_be_asked_for_are_unknown(error: DeniedError | UnavailableError) -> None:
    """Neither granted nor missing."""
    api = Reviews()
    api.down = error
    assert isinstance(await inspection.allowed(client(api), [PATCH_SCALE], ACCOUNT), Unknown)


async def test_what_is_not_there_and_what_may_not_be_read() -> None:
    """None is absence; everything else that keeps an object from us is unknown, with the reason."""
    api = MemoryApi()
    assert await inspection.read(client(api), f"{DEPLOYMENTS}/orders") is None
    assert await inspection.items(client(api), "apps/v1", "deployments") == ()
    api.absent.add("/apis/keda.sh")
    assert await inspection.items(client(api), "keda.sh/v1alpha1", "scaledobjects") == ()
    api.down = DeniedError("403")
    assert await inspection.read(client(api), f"{DEPLOYMENTS}/orders") == Unknown("you may not read it")
    assert await inspection.items(client(api), "apps/v1", "deployments") == Unknown("you may not list deployments")


async def test_workloads_with_their_triggers_mistakes_rivals_and_owners() -> None:
    """Only annotated ones; our own HPA is no rival; whoever owns spec.replicas is named."""

    def read(annotations: Mapping[str, str], ref: TargetRef) -> tuple[Policy | None, tuple[SpecError, ...]]:
        return parse(annotations, namespace=ref.namespace)

    def hpa(name: str, drives: str) -> dict[str, Any]:
        return {"metadata": {"name": name}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": drives}}}

    api = MemoryApi()
    owner = {"manager": "argocd-controller", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    other = {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {"f:template": {}}}}
    good = {"name": "orders", "annotations": ANNOTATIONS, "managedFields": [owner, other]}
    bad = {"name": "bills", "annotations": {**ANNOTATIONS, "wakegate.dev/topik": "x"}}
    for metadata in (good, bad, {"name": "unmanaged", "annotations": {"a": "b"}}):
        api.put(f"{DEPLOYMENTS}/{metadata['name']}", {"metadata": metadata, "spec": {}})
    autoscalers = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"
    for document in (hpa("wakegate-deployment-orders", "orders"), hpa("theirs", "orders"), hpa("x", "unmanaged")):
        api.put(f"{autoscalers}/{document['metadata']['name']}", document)
    scaled = {"metadata": {"name": "so"}, "spec": {"scaleTargetRef": {"name": "bills"}, "triggers": []}}
    api.put("/apis/keda.sh/v1alpha1/namespaces/shop/scaledobjects/so", scaled)

    found = await inspection.targets(client(api), (), read)
    assert not isinstance(found, Unknown)
    targets = {target.name: target for target in found[0]}
    assert set(targets) == {"Deployment shop/bills", "Deployment shop/orders"}
    orders, bills = targets["Deployment shop/orders"], targets["Deployment shop/bills"]
    assert orders.triggers == (TopicOfTarget("kafka:9092", "orders", "shop"),)
    assert orders.rivals == ("HorizontalPodAutoscaler theirs",)
    assert orders.replicas_owners == (FieldOwner("argocd-controller", "Apply"),)
    assert (orders.problems, orders.guards_offsets) == ((), True)
    assert "topik" in bills.problems[0]
    assert (bills.triggers, bills.rivals) == ((), ("ScaledObject so",))
    assert len(found[1]) == 1


SECRET = {"secretKeyRef": {"name": "kafka", "key": "password"}}
"""Of a variable that no trigger names."""


async def test_workloads_that_scaled_objects_of_ours_drive() -> None:
    """Those with a ScaleTarget and those that ask for us; the ScaledObject and its HPA are no rivals of themselves."""

    def read(annotations: Mapping[str, str], _: TargetRef) -> tuple[Policy | None, tuple[SpecError, ...]]:
        return parse_packed(annotations, AnnotationDefaults())

    api = MemoryApi()
    trigger = {"bootstrapServers": "kafka:9092", "consumerGroup": "g", "topicFromEnv": "TOPIC"}
    for name, says in (("kept", {}), ("asks", {"wakegate.dev/adopt": "true"}), ("theirs", {})):
        container = {"name": "c", "env": [{"name": "TOPIC", "value": f"{name}-topic"}]}
        workload = {"metadata": {"name": name}, "spec": {"template": {"spec": {"containers": [container]}}}}
        api.put(f"{DEPLOYMENTS}/{name}", workload)
        spec = {"scaleTargetRef": {"name": name}, "triggers": [{"type": "kafka", "metadata": trigger}]}
        scaled = {"metadata": {"name": name, "annotations": says}, "spec": spec}
        api.put(f"/apis/keda.sh/v1alpha1/namespaces/shop/scaledobjects/{name}", scaled)
        hpa = {
            "metadata": {"name": f"keda-hpa-{name}"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": name}},
        }
        api.put(f"/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/keda-hpa-{name}", hpa)
    source = {"configMapKeyRef": {"name": "kafka", "key": "topic"}}
    container = {
        "name": "c",
        "env": [{"name": "TOPIC", "valueFrom": source}, {"name": "PASSWORD", "valueFrom": SECRET}],
    }
    workload = {"metadata": {"name": "asks"}, "spec": {"template": {"spec": {"containers": [container]}}}}
    api.put(f"{DEPLOYMENTS}/asks", workload)
    api.put("/api/v1/namespaces/shop/configmaps/kafka", {"kind": "ConfigMap", "data": {"topic": "asks-topic"}})
    kept = {"metadata": {"name": "deployment-kept"}, "spec": {}}
    api.put("/apis/wakegate.dev/v1alpha1/namespaces/shop/scaletargets/deployment-kept", kept)

    found = await inspection.targets(client(api), (), read)
    assert not isinstance(found, Unknown)
    assert {target.name: (target.triggers[0].topic, target.rivals) for target in found[0]} == {
        "Deployment shop/kept": ("kept-topic", ()),
        "Deployment shop/asks": ("asks-topic", ()),
    }
    assert len(found[1]) == 2
    assert not [path for path in api.asked("GET") if "/secrets/" in path]


async def test_the_api_server_s_time(tmp_path: Path) -> None:
    """It is the Date of an answer, whatever the answer is, in UTC."""
    async with scripted(tmp_path, refused(403, Date="Sun, 01 Mar 2026 12:00:00 GMT")) as (api, _):
        assert await api.date() == datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


async def test_an_api_server_without_a_time(tmp_path: Path) -> None:
    """What is no date is trouble with the server, not a moment."""
    async with scripted(tmp_path, refused(403, Date="soon")) as (api, _):
        with pytest.raises(UnavailableError):
            await api.date()
