"""The metrics API behind a real API server, asked by kubectl's path and by the real HPA controller."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from activator.core.model import TargetRef
from activator.ports import MetricSample
from activator.web.certificates import SelfSigned
from activator.web.external_metrics import ExternalMetricsServer, Served
from activator.web.metric_store import InMemoryMetricStore
from testbed.bed import Testbed, TestbedOptions
from testbed.control_plane_flags import HpaFlags
from testbed.errors import ApiError
from testbed.stage import is_served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

pytestmark = pytest.mark.real

NAMESPACE, SERVICE = "wakegate-system", "wakegate-metrics"
API_SERVICE = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io"
CONFIGMAP = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
GROUP = "/apis/external.metrics.k8s.io/v1beta1"
METRIC = f"{GROUP}/namespaces/shop/s0-kafka-pizza"
SELECTOR = "?labelSelector=wakegate.dev%2Ftarget%3Ddeployment-orders"
ORDERS = TargetRef("shop", "Deployment", "orders")
DEPLOYMENT = "/apis/apps/v1/namespaces/shop/deployments/orders"
HPA = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/orders"
LABELS = {"app": "orders"}
OBJECTS: tuple[dict[str, Any], ...] = (
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": LABELS},
            "template": {
                "metadata": {"labels": LABELS},
                "spec": {"containers": [{"name": "consumer", "image": "never-run"}]},
            },
        },
    },
    {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "orders"},
            "minReplicas": 1,
            "maxReplicas": 5,
            "metrics": [
                {
                    "type": "External",
                    "external": {
                        "metric": {
                            "name": "s0-kafka-pizza",
                            "selector": {"matchLabels": {"wakegate.dev/target": "deployment-orders"}},
                        },
                        "target": {"type": "AverageValue", "averageValue": "10"},
                    },
                }
            ],
        },
    },
)


class FrontProxyOf:
    """The ConfigMap of a real API server, read once."""

    def __init__(self, bed: Testbed) -> None:
        self._data: Mapping[str, str] = bed.control_plane.api.get(CONFIGMAP)["data"]

    def current(self) -> Mapping[str, str]:
        """Return what it said."""
        return self._data


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    """An API server with the real HPA controller, and no node."""
    options = TestbedOptions(kafka_nodes=0, jaeger=False, kubelet=False, hpa=HpaFlags(sync_period="1s"))
    with Testbed(options) as made:
        made.control_plane.api.create_namespaces(["shop"])
        yield made


@asynccontextmanager
async def serving(bed: Testbed, store: InMemoryMetricStore, served: list[Served]) -> AsyncIterator[None]:
    """Serve a store behind the API server, with our made certificate as the APIService's caBundle."""
    certificate = SelfSigned([f"{SERVICE}.{NAMESPACE}.svc"], datetime.now(UTC))  # noqa: TID251 - the API server's clock
    server = ExternalMetricsServer(
        ("127.0.0.1", 0),
        store=store,
        certificate=certificate,
        authority=FrontProxyOf(bed),
        now=lambda: datetime.now(UTC),  # noqa: TID251 - the API server's clock
        served=served.append,
    )
    await server.start()
    try:
        await asyncio.to_thread(
            bed.control_plane.aggregate, NAMESPACE, SERVICE, server.port, ca_bundle=certificate.current().chain
        )
        # The API server hands on what it is asked a little after the condition says that it may; and a condition that a
        # server before ours has left, whose port and certificate were others, says nothing at all.
        await until(lambda: condition(bed, API_SERVICE, "Available") == "True" and is_served(bed, GROUP))
        yield
    finally:
        await server.close()


def condition(bed: Testbed, path: str, name: str, key: str = "status") -> str | None:
    """Return one field of one condition of an object."""
    conditions = bed.control_plane.api.get(path).get("status", {}).get("conditions", [])
    return next((found[key] for found in conditions if found["type"] == name), None)


async def until(probe: Callable[[], bool], within: float = 30.0) -> None:
    """Ask in a thread, until it is so."""
    deadline = time.monotonic() + within
    while not await asyncio.to_thread(probe):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


def sample(value: int | None, problem: str = "", *, age: timedelta = timedelta(0)) -> MetricSample:
    """Return the metric of the target."""
    read_at = datetime.now(UTC) - age  # noqa: TID251 - the API server's clock
    return MetricSample("shop", "s0-kafka-pizza", {"wakegate.dev/target": "deployment-orders"}, value, problem, read_at)


async def test_the_api_service_becomes_available_and_answers_through_the_api_server(bed: Testbed) -> None:
    """What `kubectl get --raw` shows is the value; what is unknown or unreadable is our Status, not the proxy's."""
    store, served = InMemoryMetricStore(), list[Served]()
    async with serving(bed, store, served):
        store.publish(ORDERS, [sample(42)])
        answer = await asyncio.to_thread(bed.control_plane.api.get, METRIC + SELECTOR)
        assert [item["value"] for item in answer["items"]] == ["42"]
        resources = await asyncio.to_thread(bed.control_plane.api.get, GROUP)
        assert resources["resources"][0]["kind"] == "ExternalMetricValueList"
        with pytest.raises(ApiError, match="no external metric"):
            await asyncio.to_thread(bed.control_plane.api.get, METRIC + "x" + SELECTOR)
        store.publish(ORDERS, [sample(None, "pizza/3: LEADER_NOT_AVAILABLE")])
        with pytest.raises(ApiError, match="LEADER_NOT_AVAILABLE"):
            await asyncio.to_thread(bed.control_plane.api.get, METRIC + SELECTOR)
        store.publish(ORDERS, [sample(42, age=timedelta(seconds=70))])
        with pytest.raises(ApiError, match="more than 60 s"):
            await asyncio.to_thread(bed.control_plane.api.get, METRIC + SELECTOR)


async def test_the_real_hpa_scales_by_the_value_and_holds_at_an_error(bed: Testbed) -> None:
    """50 records at 10 each are 5 replicas; an unreadable source leaves them there, and the HPA says why."""
    store, served = InMemoryMetricStore(), list[Served]()
    async with serving(bed, store, served):
        store.publish(ORDERS, [sample(50)])
        await asyncio.to_thread(bed.control_plane.api.apply, *OBJECTS)

        def replicas() -> int:
            return int(bed.control_plane.api.get(DEPLOYMENT)["spec"]["replicas"])

        await until(lambda: replicas() == 5)
        store.publish(ORDERS, [sample(None, "pizza/3: LEADER_NOT_AVAILABLE")])
        # The condition may still be that of a look before: the HPA writes the count first and its own status then.
        await until(lambda: "LEADER_NOT_AVAILABLE" in (condition(bed, HPA, "ScalingActive", "message") or ""))
        assert await asyncio.to_thread(condition, bed, HPA, "ScalingActive") == "False"
        looks = len(served)
        await until(lambda: len(served) >= looks + 3)
        assert await asyncio.to_thread(replicas) == 5
        assert {Served.OK, Served.UNREADABLE} <= set(served)
