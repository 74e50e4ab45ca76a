"""The HPA's metrics API over real TLS on loopback, asked as the aggregator asks."""

from __future__ import annotations

import asyncio
import json
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from activator.core.model import TargetRef
from activator.ports import MetricSample
from activator.web.certificates import SelfSigned
from activator.web.external_metrics import ExternalMetricsServer, Served
from activator.web.metric_store import InMemoryMetricStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path
    from typing import Protocol

    class Authority(Protocol):
        """What conftest's CA can do."""

        pem: str

        def client(self, folder: Path, common_name: str = ...) -> ssl.SSLContext:
            """Return a client's context."""


READ_AT = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
ORDERS = TargetRef("shop", "Deployment", "orders")
METRIC = "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/s0-kafka-pizza"
SELECTOR = "?labelSelector=wakegate.dev%2Ftarget%3Ddeployment-orders"
AS_HPA = {
    "X-Remote-User": "system:serviceaccount:kube-system:horizontal-pod-autoscaler",
    "Accept": "application/vnd.kubernetes.protobuf, */*",
}


def configmap(ca_pem: str, *names: str) -> dict[str, str]:
    """Return the data of kube-system/extension-apiserver-authentication."""
    return {
        "client-ca-file": "not for us",
        "requestheader-client-ca-file": f"# Société\n{ca_pem}",
        "requestheader-allowed-names": json.dumps(names),
        "requestheader-username-headers": '["X-Remote-User"]',
        "requestheader-group-headers": '["X-Remote-Group"]',
    }


class World:
    """A running server, what it reads, and a clock that stands still until it is moved."""

    def __init__(self, data: Mapping[str, str] | None) -> None:
        self.data = data
        self.now = READ_AT
        self.served: list[Served] = []
        self.store = InMemoryMetricStore()
        self.server = ExternalMetricsServer(
            ("127.0.0.1", 0),
            store=self.store,
            certificate=SelfSigned(["localhost"], READ_AT),
            authority=self,
            now=lambda: self.now,
            served=self.served.append,
        )

    def current(self) -> Mapping[str, str] | None:
        """Return what the API server says of its front proxy."""
        return self.data

    def publish(self, value: int | None, problem: str = "", *, target: str = "deployment-orders") -> None:
        """Publish the one metric of a target."""
        labels = {"wakegate.dev/target": target}
        ref = TargetRef("shop", "Deployment", target)
        self.store.publish(ref, [MetricSample("shop", "s0-kafka-pizza", labels, value, problem, READ_AT)])

    async def get(
        self, context: ssl.SSLContext, path: str = METRIC + SELECTOR, headers: Mapping[str, str] = AS_HPA
    ) -> tuple[int, Any]:
        """Ask once over a connection of its own."""
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            return await self.ask(session, path, headers)

    async def ask(
        self, session: aiohttp.ClientSession, path: str = METRIC + SELECTOR, headers: Mapping[str, str] = AS_HPA
    ) -> tuple[int, Any]:
        """Ask over a session's connections."""
        async with session.get(f"https://127.0.0.1:{self.server.port}{path}", headers=headers) as response:
            return response.status, json.loads(await response.text())


@asynccontextmanager
async def running(data: Mapping[str, str] | None) -> AsyncIterator[World]:
    """Run a server whose API server says this of its front proxy."""
    world = World(data)
    await world.server.start()
    try:
        yield world
    finally:
        await world.server.close()


@pytest.fixture
async def world(front_proxy_ca: Authority) -> AsyncIterator[World]:
    """Return a running server that knows the front proxy."""
    async with running(configmap(front_proxy_ca.pem, "front-proxy-client")) as made:
        yield made


async def test_the_hpa_gets_the_last_reading(world: World, front_proxy_ca: Authority, tmp_path: Path) -> None:
    """A value is a quantity in a list, stamped with the moment it was read."""
    world.publish(42)
    status, body = await world.get(front_proxy_ca.client(tmp_path))
    assert status == 200
    assert body == {
        "kind": "ExternalMetricValueList",
        "apiVersion": "external.metrics.k8s.io/v1beta1",
        "metadata": {},
        "items": [
            {
                "metricName": "s0-kafka-pizza",
                "metricLabels": {"wakegate.dev/target": "deployment-orders"},
                "timestamp": "2026-01-05T12:00:00Z",
                "value": "42",
            }
        ],
    }
    assert world.served == [Served.OK]


async def test_zero_lag_is_a_value(world: World, front_proxy_ca: Authority, tmp_path: Path) -> None:
    """A known zero is served as zero, unlike an unknown."""
    world.publish(0)
    _, body = await world.get(front_proxy_ca.client(tmp_path))
    assert body["items"][0]["value"] == "0"


async def test_the_name_matches_in_any_case(world: World, front_proxy_ca: Authority, tmp_path: Path) -> None:
    """The path's case does not matter, as with KEDA."""
    world.publish(42)
    status, _ = await world.get(front_proxy_ca.client(tmp_path), METRIC.replace("s0-kafka-pizza", "S0-Kafka-PIZZA"))
    assert status == 200


@pytest.mark.parametrize(
    "path", [METRIC + "x" + SELECTOR, METRIC + "?labelSelector=a%3Db", METRIC.replace("shop", "b")]
)
async def test_an_unknown_metric_is_a_404_status(
    world: World, front_proxy_ca: Authority, tmp_path: Path, path: str
) -> None:
    """What is not there is said as the API server says it."""
    world.publish(42)
    status, body = await world.get(front_proxy_ca.client(tmp_path), path)
    assert (status, body["kind"], body["reason"], body["code"]) == (404, "Status", "NotFound", 404)
    assert world.served == [Served.UNKNOWN]


async def test_an_unreadable_source_is_an_error_and_never_zero(
    world: World, front_proxy_ca: Authority, tmp_path: Path
) -> None:
    """An error holds the HPA where it is; the message says what went wrong."""
    world.publish(None, "Kafka kafka:9092: no leader for pizza/3")
    status, body = await world.get(front_proxy_ca.client(tmp_path))
    assert (status, body["reason"]) == (503, "ServiceUnavailable")
    assert "no leader for pizza/3" in body["message"]
    assert world.served == [Served.UNREADABLE]


async def test_one_unreadable_among_several_is_an_error(
    world: World, front_proxy_ca: Authority, tmp_path: Path
) -> None:
    """The HPA adds the values of a list up: a sum with an unknown in it is unknown."""
    world.publish(42)
    world.publish(None, "no leader", target="deployment-mail")
    status, _ = await world.get(front_proxy_ca.client(tmp_path), METRIC)
    assert status == 503


@pytest.mark.parametrize(
    ("age", "status"), [(timedelta(seconds=60), 200), (timedelta(seconds=60, microseconds=1), 503)]
)
async def test_a_reading_older_than_a_minute_is_an_error(
    world: World, front_proxy_ca: Authority, tmp_path: Path, age: timedelta, status: int
) -> None:
    """A value that nobody has confirmed for a minute is not known any more."""
    world.publish(42)
    world.now = READ_AT + age
    assert (await world.get(front_proxy_ca.client(tmp_path)))[0] == status


async def test_a_selector_that_cannot_be_read_is_a_400(world: World, front_proxy_ca: Authority, tmp_path: Path) -> None:
    """A selector that is not understood never matches by accident."""
    status, body = await world.get(front_proxy_ca.client(tmp_path), METRIC + "?labelSelector=a%3E1")
    assert (status, body["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/apis", "APIGroupList"),
        ("/apis/external.metrics.k8s.io", "APIGroup"),
        ("/apis/external.metrics.k8s.io/v1beta1", "APIResourceList"),
    ],
)
async def test_discovery(world: World, front_proxy_ca: Authority, tmp_path: Path, path: str, kind: str) -> None:
    """The aggregator's health check and kubectl's discovery find the group, version and resource."""
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    status, body = await world.get(front_proxy_ca.client(tmp_path), path, AS_HPA | {"Accept": aggregated})
    assert (status, body["kind"]) == (200, kind)


async def test_other_paths_and_methods_are_statuses(world: World, front_proxy_ca: Authority, tmp_path: Path) -> None:
    """Every refusal is a Status: clients of Kubernetes read nothing else."""
    status, body = await world.get(front_proxy_ca.client(tmp_path), "/openapi/v2")
    assert (status, body["kind"]) == (404, "Status")
    connector = aiohttp.TCPConnector(ssl=front_proxy_ca.client(tmp_path))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.delete(f"https://127.0.0.1:{world.server.port}{METRIC}", headers=AS_HPA) as response,
    ):
        assert response.status == 405
        assert (await response.json())["reason"] == "MethodNotAllowed"


async def test_without_a_certificate_nobody_gets_in(world: World, anonymous: ssl.SSLContext) -> None:
    """Pods can reach the port: only the front proxy's certificate opens it."""
    with pytest.raises(aiohttp.ClientError):
        await world.get(anonymous)


async def test_a_certificate_of_another_ca_is_refused(world: World, other_ca: Authority, tmp_path: Path) -> None:
    """The issuer's key counts, not the name it gives itself."""
    with pytest.raises(aiohttp.ClientError):
        await world.get(other_ca.client(tmp_path))


async def test_a_name_that_is_not_allowed_is_refused(world: World, front_proxy_ca: Authority, tmp_path: Path) -> None:
    """The CA may sign others too: requestheader-allowed-names says which of them is the front proxy."""
    status, body = await world.get(front_proxy_ca.client(tmp_path, "somebody"))
    assert (status, body["reason"]) == (401, "Unauthorized")


async def test_empty_allowed_names_mean_any(front_proxy_ca: Authority, tmp_path: Path) -> None:
    """An empty list lets in every certificate of the CA, as the API server documents."""
    async with running(configmap(front_proxy_ca.pem)) as world:
        world.publish(42)
        assert (await world.get(front_proxy_ca.client(tmp_path, "somebody")))[0] == 200


async def test_a_front_proxy_that_names_no_user_is_refused(
    world: World, front_proxy_ca: Authority, tmp_path: Path
) -> None:
    """The aggregator always says for whom it asks."""
    assert (await world.get(front_proxy_ca.client(tmp_path), headers={}))[0] == 401


async def test_before_the_configmap_is_read_nobody_gets_in(front_proxy_ca: Authority, tmp_path: Path) -> None:
    """Not knowing whom to trust is no reason to trust anybody; the reason is on /readyz, and it heals by itself."""
    async with running(None) as world:
        world.publish(42)
        assert world.server.problems()
        with pytest.raises(aiohttp.ClientError):
            await world.get(front_proxy_ca.client(tmp_path))
        world.data = configmap(front_proxy_ca.pem)
        assert (await world.get(front_proxy_ca.client(tmp_path)))[0] == 200
        assert world.server.problems() == ()


async def test_a_rotated_ca_takes_over_and_the_old_one_is_dropped(
    world: World, front_proxy_ca: Authority, other_ca: Authority, tmp_path: Path
) -> None:
    """After a rotation the new front proxy gets in, and the old one neither by a new connection nor by an open one."""
    world.publish(42)
    old, new = front_proxy_ca.client(tmp_path), other_ca.client(tmp_path)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=old)) as session:
        assert (await world.ask(session))[0] == 200
        world.data = configmap(other_ca.pem, "front-proxy-client")
        assert (await world.get(new))[0] == 200
        with pytest.raises(aiohttp.ClientError):
            await world.ask(session)
    with pytest.raises(aiohttp.ClientError):
        await world.get(old)


async def test_a_bundle_of_two_cas_lets_both_in(
    world: World, front_proxy_ca: Authority, other_ca: Authority, tmp_path: Path
) -> None:
    """During a rotation the API server lists the old and the new CA together."""
    world.publish(42)
    world.data = configmap(front_proxy_ca.pem + other_ca.pem)
    for authority in (front_proxy_ca, other_ca):
        assert (await world.get(authority.client(tmp_path)))[0] == 200


@pytest.mark.parametrize("broken", [{}, configmap("no PEM"), configmap("") | {"requestheader-allowed-names": "x"}])
async def test_a_configmap_that_cannot_be_used_leaves_the_last_one_in_force(
    world: World, front_proxy_ca: Authority, tmp_path: Path, broken: dict[str, str]
) -> None:
    """Nonsense in the ConfigMap must not lock the HPA out."""
    world.publish(42)
    client = front_proxy_ca.client(tmp_path)
    assert (await world.get(client))[0] == 200
    world.data = broken
    assert (await world.get(client))[0] == 200


async def test_old_tls_is_refused(world: World, front_proxy_ca: Authority, tmp_path: Path) -> None:
    """The only client is an API server, and every supported one speaks TLS 1.3."""
    context = front_proxy_ca.client(tmp_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(aiohttp.ClientError):
        await world.get(context)


async def test_no_session_is_resumed(world: World, front_proxy_ca: Authority, tmp_path: Path) -> None:
    """A resumed session would skip the look at the certificate, also after its CA has been dropped."""
    context = front_proxy_ca.client(tmp_path)
    reader, writer = await asyncio.open_connection("127.0.0.1", world.server.port, ssl=context)
    writer.write(b"GET /apis HTTP/1.1\r\nHost: x\r\nX-Remote-User: x\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    session = writer.get_extra_info("ssl_object").session
    writer.close()
    assert session is None or not session.has_ticket
