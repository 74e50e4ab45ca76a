"""What ScaledObjects' parameters take from Secrets and ConfigMaps: read by name, read again, and never guessed."""

from __future__ import annotations

import asyncio
import base64
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from activator.core.model import TargetRef
from activator.errors import DeniedError, UnavailableError
from activator.kubernetes.catalog import KubernetesCatalog
from activator.kubernetes.environment_objects import EnvironmentObjects
from activator.kubernetes.resources import Resources
from activator.kubernetes.scaled_objects import ScaledObjects
from activator.specs.defaults import AnnotationDefaults
from activator.specs.keda.scaled_object import objects_needed_by, pack, parse_packed
from tests.kubernetes.memory_api import MemoryApi
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.core.model import Workload
    from activator.kubernetes.client import KubernetesClient
    from activator.ports import ManagedWorkload

ORDERS = TargetRef("shop", "Deployment", "orders")
SCALED_OBJECT = "/apis/keda.sh/v1alpha1/namespaces/shop/scaledobjects/orders"
DEPLOYMENT = "/apis/apps/v1/namespaces/shop/deployments/orders"
CONFIG_MAP = "/api/v1/namespaces/shop/configmaps/kafka"
SECRET = "/api/v1/namespaces/shop/secrets/kafka"
IN_FORCE_SECONDS = 10
"""What is promised of a change."""


def config_map(topic: str) -> dict[str, Any]:
    """What the topic's name comes from."""
    return {"kind": "ConfigMap", "metadata": {"name": "kafka"}, "data": {"TOPIC": topic}}


def secret(servers: str) -> dict[str, Any]:
    """What the address comes from."""
    encoded = base64.b64encode(servers.encode()).decode()
    return {"kind": "Secret", "metadata": {"name": "kafka"}, "data": {"SERVERS": encoded}}


def api() -> MemoryApi:
    """A Deployment, the ScaledObject that drives it, and what its environment comes from."""
    made = MemoryApi()
    container = {
        "name": "app",
        "env": [{"name": "SERVERS", "valueFrom": {"secretKeyRef": {"name": "kafka", "key": "SERVERS"}}}],
        "envFrom": [{"configMapRef": {"name": "kafka"}}],
    }
    metadata = {"name": "orders", "namespace": "shop", "uid": "u"}
    spec = {"replicas": 1, "template": {"spec": {"containers": [container]}}}
    made.put(DEPLOYMENT, {"metadata": metadata, "spec": spec})
    parameters = {"bootstrapServersFromEnv": "SERVERS", "topicFromEnv": "TOPIC", "consumerGroup": "orders"}
    triggers = [{"type": "kafka", "metadata": parameters}]
    made.put(
        SCALED_OBJECT, {"metadata": metadata, "spec": {"scaleTargetRef": {"name": "orders"}, "triggers": triggers}}
    )
    made.put(CONFIG_MAP, config_map("orders"))
    made.put(SECRET, secret("kafka:9092"))
    return made


class Listener:
    """What the loop would be told."""

    def __init__(self) -> None:
        self.told: list[ManagedWorkload] = []
        self.synced_after: int | None = None

    @property
    def latest(self) -> ManagedWorkload:
        """The last of it."""
        return self.told[-1]

    def upsert(self, managed: ManagedWorkload) -> None:
        """Take a workload."""
        self.told.append(managed)

    def remove(self, ref: TargetRef, workload: Workload | None) -> None:
        """Lose a workload."""

    def synced(self) -> None:
        """All has been delivered."""
        self.synced_after = len(self.told)


@asynccontextmanager
async def followed(memory: MemoryApi) -> AsyncIterator[Listener]:
    """Follow until the end of the block."""
    client, listener = cast("KubernetesClient", memory), Listener()
    scaled_objects, objects = ScaledObjects(client, ["shop"]), EnvironmentObjects(client, objects_needed_by)
    catalog = KubernetesCatalog(
        client,
        Resources(client),
        lambda annotations, _: parse_packed(annotations, AnnotationDefaults()),
        ["shop"],
        scaled_objects,
        pack=lambda document, workload: pack(document, workload, objects.data),
        environment=objects,
    )
    tasks = [asyncio.create_task(scaled_objects.run()), asyncio.create_task(catalog.run(listener))]
    try:
        await asyncio.sleep(2)
        yield listener
    finally:
        for task in tasks:
            task.cancel()


def trigger_of(managed: ManagedWorkload) -> tuple[str, str]:
    """Where the policy reads lag."""
    assert managed.policy is not None, managed.problems
    (trigger,) = managed.policy.triggers
    return trigger.cluster.bootstrap_servers, trigger.topic


@virtual
async def test_parameters_from_a_secret_and_a_config_map() -> None:
    """The target is delivered once, with both read, and before anybody believes that everything has been seen."""
    async with followed(api()) as listener:
        assert {trigger_of(managed) for managed in listener.told} == {("kafka:9092", "orders")}
        assert listener.synced_after


@virtual
async def test_a_change_is_in_force_within_ten_seconds() -> None:
    """Nobody may watch a single Secret by name alone, so both are read again."""
    memory = api()
    async with followed(memory) as listener:
        memory.put(CONFIG_MAP, config_map("orders-2"))
        memory.put(SECRET, secret("other:9092"))
        await asyncio.sleep(IN_FORCE_SECONDS)
        assert trigger_of(listener.latest) == ("other:9092", "orders-2")


@virtual
async def test_what_is_missing_is_named_and_heals() -> None:
    """A ConfigMap that comes later is found."""
    memory = api()
    memory.remove(CONFIG_MAP)
    async with followed(memory) as listener:
        assert [str(problem) for problem in listener.latest.problems] == [
            (
                "spec.triggers[0].metadata.topicFromEnv: TOPIC: its value may come from ConfigMap shop/kafka: it does "
                "not exist"
            )
        ]
        memory.put(CONFIG_MAP, config_map("orders"))
        await asyncio.sleep(IN_FORCE_SECONDS)
        assert trigger_of(listener.latest) == ("kafka:9092", "orders")


@virtual
async def test_an_outage_leaves_what_was_read() -> None:
    """An API server that is away for a while says nothing of what is in an object."""
    memory = api()
    async with followed(memory) as listener:
        told = len(listener.told)
        memory.down = UnavailableError("memory", "away")
        await asyncio.sleep(30)
        memory.down = None
        await asyncio.sleep(IN_FORCE_SECONDS)
        assert {trigger_of(managed) for managed in listener.told[told:]} <= {("kafka:9092", "orders")}


@virtual
async def test_a_missing_grant_is_named() -> None:
    """With the role that is to be bound; the target cannot be followed, but it is not gone."""
    memory = api()
    memory.faults.extend([("GET", DeniedError("403"), False)] * 2)
    async with followed(memory) as listener:
        assert len(listener.latest.problems) == 2
        assert "bind ClusterRole wakegate-secrets-reader" in str(listener.latest.problems[0])


@virtual
async def test_a_wrong_value_is_not_shown() -> None:
    """Whoever mixes up two variables may have named the one that holds a password."""
    memory = api()
    memory.put(SECRET, secret("hunter2 is no address"))
    async with followed(memory) as listener:
        (problem,) = map(str, listener.latest.problems)
        assert "hunter2" not in problem
        assert "bootstrapServersFromEnv is 'SERVERS'; allowed: a variable that holds" in problem
