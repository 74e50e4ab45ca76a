"""Many targets at once, without Pods, and how the parts are asked about them.

No controller makes Pods of their Deployments, and whether a replica is ready is written into the status by hand: what
is measured is wakegate, and not how fast the deployment controller makes thousands of Pods at 20 requests a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp

from activator.core.naming import ANNOTATION_PREFIX
from testbed import kubeconfig, workloads
from testbed.bed import Testbed, TestbedOptions
from testbed.control_plane_flags import HpaFlags
from testbed.stage import Stage, install_crd, until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from testbed.audit import AuditEvent
    from testbed.stage import Wakegate

TOPICS_AT_ONCE = 200
REQUESTS_AT_ONCE = 64
"""As many as wakegate has under way at most."""
KAFKA_PROPERTIES = {"log.index.size.max.bytes": "65536"}
"""Ten thousand partitions of which each maps two indexes of 10 MB are more than a small machine takes."""
CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "horizontal-pod-autoscaler-controller",
    "namespace-controller",
    "serviceaccount-controller",
)
SERVER_SIDE_APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True)
class Request:
    """One request to the API server."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    content_type: str = "application/json"


@dataclass
class Crowd:
    """A stage and the targets on it."""

    stage: Stage
    partitions: int = 1
    polling_interval: str = "30"
    names: list[str] = field(default_factory=list)

    @property
    def deployments(self) -> str:
        """Path of the Deployments."""
        return f"/apis/apps/v1/namespaces/{self.stage.namespace}/deployments"

    def topic(self, name: str) -> str:
        """The topic, and the group, of a target."""
        return f"{self.stage.namespace}-{name}"

    def add(self, count: int, *, replicas: int = 0, prefix: str = "t", **annotations: str) -> list[str]:
        """Make so many targets: at zero they sleep from the beginning, because their topics are empty."""
        names = [f"{prefix}{len(self.names) + number}" for number in range(count)]
        self._create_topics([self.topic(name) for name in names])
        self.send(Request("POST", self.deployments, self._manifest(name, replicas, annotations)) for name in names)
        if replicas:
            ready = {"status": dict.fromkeys(("replicas", "readyReplicas", "availableReplicas"), replicas)}
            self.send(
                Request("PATCH", f"{self.deployments}/{name}/status", ready, "application/merge-patch+json")
                for name in names
            )
        self.names += names
        return names

    def bystanders(self, count: int) -> list[str]:
        """Make Deployments at zero that nobody manages, for a floor."""
        names = [f"floor{number}" for number in range(count)]
        self.send(Request("POST", self.deployments, self._deployment(name, 0, {})) for name in names)
        return names

    def patch_scale(self, names: Iterable[str], replicas: int, *, at_once: int = REQUESTS_AT_ONCE) -> None:
        """Set counts by a server-side apply, as wakegate does, and by default as concurrently."""
        scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": replicas}}
        query = "?fieldManager=floor&force=true"
        requests = [
            Request(
                "PATCH",
                f"{self.deployments}/{name}/scale{query}",
                {**scale, "metadata": {"name": name}},
                SERVER_SIDE_APPLY,
            )
            for name in names
        ]
        self.send(requests, at_once=at_once)

    def send(self, requests: Iterable[Request], *, at_once: int = REQUESTS_AT_ONCE) -> None:
        """Send requests over warm connections, so many at a time."""
        asyncio.run(self._send(list(requests), at_once))

    def answered(self, names: Iterable[str], replicas: int = 1) -> dict[str, list[AuditEvent]]:
        """Return the PATCHes by wakegate that asked for this count and were answered 200, by target."""
        found: dict[str, list[AuditEvent]] = {name: [] for name in names}
        for event in self.stage.bed.control_plane.audit_events():
            if (
                event.is_scale_write
                and event.status == HTTPStatus.OK
                and event.requested_replicas == replicas
                and event.user_agent.startswith("wakegate")
                and event.name in found
            ):
                found[event.name].append(event)
        return found

    def _manifest(self, name: str, replicas: int, annotations: dict[str, str]) -> dict[str, Any]:
        written = {
            "topic": self.topic(name),
            "consumer-group": self.topic(name),
            "bootstrap-servers": self.stage.bed.kafka.bootstrap_servers,
            "offset-reset-policy": "earliest",
            "polling-interval": self.polling_interval,
            **{key.replace("_", "-"): value for key, value in annotations.items()},
        }
        return self._deployment(name, replicas, {ANNOTATION_PREFIX + key: value for key, value in written.items()})

    def _deployment(self, name: str, replicas: int, annotations: dict[str, str]) -> dict[str, Any]:
        container = {"image": workloads.PAUSE}
        namespace = self.stage.namespace
        return workloads.deployment(name, container, namespace=namespace, replicas=replicas, annotations=annotations)

    def _create_topics(self, topics: Sequence[str]) -> None:
        from confluent_kafka.cimpl import NewTopic  # noqa: PLC0415 - a development dependency

        admin = self.stage.bed.kafka.admin()
        for start in range(0, len(topics), TOPICS_AT_ONCE):
            batch = [NewTopic(topic, self.partitions, 1) for topic in topics[start : start + TOPICS_AT_ONCE]]
            for created in admin.create_topics(batch, operation_timeout=60, request_timeout=90).values():
                created.result(90)

    async def _send(self, requests: Sequence[Request], at_once: int) -> None:
        credentials = kubeconfig.read(self.stage.bed.control_plane.kubeconfig)
        connector = aiohttp.TCPConnector(limit=at_once, ssl=ssl.create_default_context(cadata=credentials.ca_pem))
        headers = {"Authorization": f"Bearer {credentials.token}", "User-Agent": "floor"}
        async with aiohttp.ClientSession(credentials.server, connector=connector, headers=headers) as session:

            async def send(request: Request) -> None:
                kind = {"Content-Type": request.content_type}
                async with session.request(request.method, request.path, json=request.body, headers=kind) as answer:
                    answer.raise_for_status()
                    await answer.read()

            warming = Request("GET", "/version")
            await asyncio.gather(*(send(warming) for _ in range(at_once)))
            await asyncio.gather(*map(send, requests))


@contextlib.contextmanager
def crowd(
    *, partitions: int = 1, polling_interval: str = "30", jaeger: bool = False, hpa: HpaFlags | None = None
) -> Iterator[Crowd]:
    """Start the real parts, with Kubernetes' own times by default and no kubelet, and an empty stage on them."""
    sys.stdout.write("starting the parts\n")
    options = TestbedOptions(
        hpa=hpa or HpaFlags.stock(),
        controllers=CONTROLLERS,
        jaeger=jaeger,
        kubelet=False,
        kafka_properties=KAFKA_PROPERTIES,
    )
    with Testbed(options) as bed:
        install_crd(bed)
        yield Crowd(Stage.on(bed), partitions, polling_interval)


def start_watching(crowd: Crowd, sleepers: int) -> Wakegate:
    """Start wakegate, and wait until its tail watches every partition of so many sleepers."""
    wakegate = crowd.stage.wakegate()
    wakegate.start()
    watch(crowd, wakegate, sleepers)
    return wakegate


def watch(crowd: Crowd, wakegate: Wakegate, sleepers: int) -> None:
    """Wait until the tail watches every partition of so many sleepers."""
    wanted = sleepers * crowd.partitions

    def are_watched() -> bool:
        try:
            return wakegate.watched() >= wanted
        except OSError:  # on a busy machine a scrape may take longer than it is waited for
            return False

    until(f"{wanted} partitions are watched", are_watched, 120 + sleepers / 10)
