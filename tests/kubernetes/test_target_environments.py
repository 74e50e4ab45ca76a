"""Credentials out of targets' environments: each target its own, looked at as all others are."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from typing import TYPE_CHECKING, Any, cast

from activator.core.model import Cluster, Policy, Scale, TargetRef, Trigger, Workload
from activator.errors import DeniedError, UnavailableError
from activator.kubernetes.credential_gate import CredentialGate
from activator.kubernetes.secrets import LOOK_SECONDS, SecretStore
from activator.ports import ManagedWorkload
from activator.specs.authentication import (
    CLUSTER_TRIGGER_AUTHENTICATION,
    TRIGGER_AUTHENTICATION,
    AuthenticationSource,
)
from activator.specs.keda.scaled_object import pack
from tests.kubernetes.memory_api import MemoryApi
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import pytest

    from activator.kubernetes.client import KubernetesClient
    from activator.specs.credentials import KafkaCredentials

CANARY = "c4n4ry"
ORDERS, BILLS = TargetRef("shop", "Deployment", "orders"), TargetRef("shop", "Deployment", "bills")
DEPLOYMENTS = "/apis/apps/v1/namespaces/shop/deployments"
LOGIN = AuthenticationSource(TRIGGER_AUTHENTICATION, "shop", "login").key()
LOGIN_PATH = "/apis/keda.sh/v1alpha1/namespaces/shop/triggerauthentications/login"
SASL = {"parameter": "sasl", "name": "SASL"}
SPEC = {
    "env": [
        SASL,
        *({"parameter": name.lower(), "name": name, "containerName": ""} for name in ("USERNAME", "PASSWORD")),
    ]
}


def secret_path(name: str) -> str:
    """Where a Secret is."""
    return f"/api/v1/namespaces/shop/secrets/{name}"


def secret(password: str) -> dict[str, Any]:
    """A Secret with a password."""
    return {"kind": "Secret", "metadata": {}, "data": {"pw": base64.b64encode(password.encode()).decode()}}


def deployment(ref: TargetRef, secret_name: str, **more: str) -> dict[str, Any]:
    """A workload whose second container says how it logs in."""
    source = {"valueFrom": {"secretKeyRef": {"name": secret_name, "key": "pw"}}}
    env = [{"name": "SASL", "value": "plaintext"}, {"name": "USERNAME", "value": ref.name}]
    containers = [
        {"name": "proxy", "image": "x", "env": [{"name": "USERNAME", "value": "proxy"}]},
        {"name": "app", "image": "x", "env": [*env, {"name": "PASSWORD", **source}, more]},
    ]
    return {
        "metadata": {"namespace": "shop", "name": ref.name},
        "spec": {"template": {"spec": {"containers": containers}}},
    }


class Seen:
    """A listener that keeps what was delivered last of each target."""

    def __init__(self) -> None:
        self.last: dict[TargetRef, ManagedWorkload] = {}

    def upsert(self, managed: ManagedWorkload) -> None:
        """Take a workload."""
        self.last[managed.workload.ref] = managed

    def remove(self, ref: TargetRef, workload: Workload | None) -> None:
        """Lose one."""
        del self.last[ref], workload

    def synced(self) -> None:
        """All has been delivered."""

    def credential(self, ref: TargetRef) -> str:
        """The key of a valid policy."""
        policy = self.last[ref].policy
        assert policy is not None, self.last[ref].problems
        return policy.triggers[0].cluster.credential

    def problems(self, ref: TargetRef) -> list[str]:
        """What is said to be wrong."""
        return [str(problem) for problem in self.last[ref].problems]


class Running:
    """A store and its gate."""

    def __init__(self, api: MemoryApi) -> None:
        def build(credentials: KafkaCredentials, _place: Callable[[str], str]) -> tuple[str, str]:
            return credentials.username, credentials.password

        self.api = api
        self.seen = Seen()
        self.store = SecretStore(cast("KubernetesClient", api), build, operator_namespace="wakegate-system")
        self.gate = CredentialGate(self.store, self.seen, frozenset({"kafka:9092"}), lambda _: None)

    def deliver(self, ref: TargetRef, key: str = LOGIN, version: str = "1", servers: str = "kafka:9092") -> None:
        """Let the catalog deliver a target, whose ScaledObject names its second container."""
        document = {
            "metadata": {"name": ref.name, "namespace": "shop"},
            "spec": {"scaleTargetRef": {"name": ref.name, "envSourceContainerName": "app"}},
        }
        policy = Policy(triggers=(Trigger(Cluster(servers, key), "orders", "orders"),))
        self.gate.upsert(ManagedWorkload(Workload(ref, Scale(0, "u", version), 0), pack(document, {}), policy))

    def options(self, ref: TargetRef) -> tuple[str, str]:
        """As whom a target logs in."""
        return self.store.options(self.seen.credential(ref))


@contextlib.asynccontextmanager
async def running(spec: dict[str, Any]) -> AsyncIterator[Running]:
    """Run a store of a TriggerAuthentication and two targets, each with a Secret of its own."""
    api = MemoryApi()
    api.put(LOGIN_PATH, {"metadata": {"name": "login", "namespace": "shop"}, "spec": spec})
    for ref in (ORDERS, BILLS):
        api.put(f"{DEPLOYMENTS}/{ref.name}", deployment(ref, ref.name))
        api.put(secret_path(ref.name), secret(f"{CANARY}-{ref.name}"))
    made = Running(api)
    task = asyncio.create_task(made.store.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@virtual
async def test_two_targets_that_name_the_same_one_log_in_as_themselves(caplog: pytest.LogCaptureFixture) -> None:
    """What they are to show is in their own environments, and so their connections are two."""
    caplog.set_level(logging.DEBUG)
    async with running(SPEC) as made:
        made.deliver(ORDERS)
        made.deliver(BILLS)
        await asyncio.sleep(0.5)
        assert made.options(ORDERS) == ("orders", f"{CANARY}-orders")
        assert made.options(BILLS) == ("bills", f"{CANARY}-bills")
        assert CANARY not in made.seen.credential(ORDERS)
        assert CANARY not in caplog.text
        assert f"credentials of {LOGIN} of Deployment orders are in use" in caplog.text


@virtual
async def test_a_rotated_secret_behind_a_variable_is_taken_up() -> None:
    """At the next look, by the one target alone, and the workload is not read again for it."""
    async with running(SPEC) as made:
        made.deliver(ORDERS)
        made.deliver(BILLS)
        await asyncio.sleep(0.5)
        kept, lists = made.options(BILLS), made.api.asked("LIST").count(DEPLOYMENTS)
        made.api.put(secret_path("orders"), secret("new"))
        await asyncio.sleep(LOOK_SECONDS)
        assert made.options(ORDERS) == ("orders", "new")
        assert made.options(BILLS) is kept
        assert made.api.asked("LIST").count(DEPLOYMENTS) == lists


@virtual
async def test_a_changed_environment_is_taken_up() -> None:
    """As its workload is delivered anew; and with it what is wrong."""
    async with running(SPEC) as made:
        made.deliver(ORDERS)
        await asyncio.sleep(0.5)
        made.api.put(f"{DEPLOYMENTS}/orders", deployment(ORDERS, "bills"))
        made.deliver(ORDERS, version="2")
        await asyncio.sleep(LOOK_SECONDS)
        assert made.options(ORDERS) == ("orders", f"{CANARY}-bills")

        made.api.put(f"{DEPLOYMENTS}/orders", deployment(ORDERS, "nowhere"))
        made.deliver(ORDERS, version="3")
        await asyncio.sleep(LOOK_SECONDS)
        assert made.seen.problems(ORDERS) == [
            (
                "Deployment shop/orders, container app, variable PASSWORD: its value comes from Secret shop/nowhere, "
                "key pw: it does not exist"
            )
        ]


@virtual
async def test_what_cannot_be_read_holds_and_what_may_not_is_told() -> None:
    """An outage leaves in force what was read last; a missing grant is told with what to grant."""
    async with running(SPEC) as made:
        made.deliver(ORDERS)
        await asyncio.sleep(0.5)
        made.api.down = UnavailableError("API server", "no answer within 5 s")
        made.deliver(ORDERS, version="2")
        await asyncio.sleep(LOOK_SECONDS)
        assert made.options(ORDERS) == ("orders", f"{CANARY}-orders")
        made.api.down = DeniedError("forbidden")
        await asyncio.sleep(LOOK_SECONDS)
        (problem,) = made.seen.problems(ORDERS)
        assert "bind ClusterRole wakegate-secrets-reader" in problem


@virtual
async def test_one_that_begins_and_ends_to_take_variables() -> None:
    """The targets' connections are their own as long as it does, and shared otherwise."""
    keys = [{"parameter": name, "name": "both", "key": name} for name in ("sasl", "username", "password")]
    shared = {"secretTargetRef": keys}
    async with running(shared) as made:
        data = {"sasl": "plaintext", "username": "both", "password": CANARY}
        encoded = {name: base64.b64encode(value.encode()).decode() for name, value in data.items()}
        made.api.put(secret_path("both"), {"kind": "Secret", "metadata": {}, "data": encoded})
        made.deliver(ORDERS)
        made.deliver(BILLS)
        await asyncio.sleep(0.5)
        assert made.seen.credential(ORDERS) == made.seen.credential(BILLS) == LOGIN
        assert made.api.asked("LIST") == []
        for spec, user in ((SPEC, "orders"), (shared, "both")):
            made.api.put(LOGIN_PATH, {"metadata": {"name": "login", "namespace": "shop"}, "spec": spec})
            await asyncio.sleep(LOOK_SECONDS + 1)
            assert made.options(ORDERS)[0] == user


@virtual
async def test_the_operators_own_object_is_shown_to_the_operators_servers_alone() -> None:
    """Whether it takes variables or not: a ClusterTriggerAuthentication may hold the operator's secrets beside them."""
    key = AuthenticationSource(CLUSTER_TRIGGER_AUTHENTICATION, "shop", "login").key()
    async with running(SPEC) as made:
        path = "/apis/keda.sh/v1alpha1/clustertriggerauthentications/login"
        made.api.put(path, {"metadata": {"name": "login"}, "spec": SPEC})
        made.deliver(ORDERS, key)
        made.deliver(BILLS, key, servers="evil:9092")
        await asyncio.sleep(0.5)
        assert made.options(ORDERS) == ("orders", f"{CANARY}-orders")  # out of the target's namespace
        assert "is 'evil:9092'; allowed: those that the operator names" in made.seen.problems(BILLS)[0]


@virtual
async def test_a_kind_whose_template_nobody_can_read() -> None:
    """It is told that its environment cannot be had."""
    worker = TargetRef("shop", "Worker", "orders", "example.com/v1")
    async with running(SPEC) as made:
        made.deliver(worker)
        await asyncio.sleep(0.5)
        assert made.seen.problems(worker) == [
            "Worker shop/orders: the environment of a Deployment or StatefulSet can be read, and of no other kind"
        ]
