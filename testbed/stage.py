"""One stage for a case, a benchmark or the demo: wakegate as real processes, consumers that really consume."""

from __future__ import annotations

import contextlib
import itertools
import math
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import yaml
from confluent_kafka import Producer

from activator.core.naming import ANNOTATION_PREFIX
from testbed import ledger, workloads
from testbed.errors import ApiError, TestbedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from testbed.audit import AuditEvent
    from testbed.bed import Testbed
    from testbed.processes import ManagedProcess

T = TypeVar("T")

REPOSITORY = Path(__file__).resolve().parents[1]
CRD = REPOSITORY / "manifests" / "crds" / "scaletarget.yaml"
KEDA_CRDS = REPOSITORY / "manifests" / "keda-crds"
POLL_SECONDS = 0.05

_numbers = itertools.count(1)


def until(what: str, probe: Callable[[], T | None], within_seconds: float) -> T:
    """Ask again and again until the answer is true, and return it.

    The last look begins after the deadline: one that was begun before it cannot say what was true by then.
    """
    deadline = time.monotonic() + within_seconds
    while True:
        is_last = time.monotonic() > deadline
        answer = probe()
        if answer:
            return answer
        if is_last:
            raise AssertionError(f"{what}: not within {within_seconds:g} s")
        time.sleep(POLL_SECONDS)


def holds(what: str, probe: Callable[[], bool], for_seconds: float) -> None:
    """Assert that something stays true for a while."""
    deadline = time.monotonic() + for_seconds
    while time.monotonic() < deadline:
        if not probe():
            raise AssertionError(f"{what}: no longer true")
        time.sleep(POLL_SECONDS)


@dataclass
class Wakegate:
    """One process of wakegate on the stage."""

    process: ManagedProcess
    port: int
    metrics_api_port: int

    def get(self, path: str) -> tuple[int, str]:
        """Ask its plain listener."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        try:
            return self.get("/readyz")[0] == HTTPStatus.OK
        except OSError:
            return False

    def samples(self, metric: str) -> int:
        """How many series a metric of its own has."""
        return sum(line.startswith(metric + "{") for line in self.get("/metrics")[1].splitlines())

    def watched(self) -> int:
        """How many partitions its tail watches just now."""
        lines = self.get("/metrics")[1].splitlines()
        found = [line for line in lines if line.startswith("wakegate_tail_partitions{") and 'way="waiting"' not in line]
        return int(sum(float(line.rsplit(" ", 1)[1]) for line in found))

    def lateness(self) -> dict[float, float]:
        """How many of its looks were no later than each bound in seconds, which are those of the histogram."""
        counts: dict[float, float] = {}
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith("wakegate_look_lateness_seconds_bucket{le="):
                edge, count = line.removeprefix("wakegate_look_lateness_seconds_bucket{le=").split("} ")
                counts[float(edge.strip('"'))] = float(count)
        return counts

    def late(self, bound_seconds: float) -> int:
        """How many of its looks were later than this bound, which must be one of the histogram's."""
        counts = self.lateness()
        return int(counts[math.inf] - counts[bound_seconds])

    def start(self) -> None:
        """Start it and wait until it is ready."""
        self.process.start()
        self.process.wait_ready(self.is_ready, within_seconds=30)


@dataclass
class Workload:
    """A Deployment of a stage."""

    stage: Stage
    name: str

    @property
    def path(self) -> str:
        """Of the Deployment, at the API server."""
        return f"/apis/apps/v1/namespaces/{self.stage.namespace}/deployments/{self.name}"

    def replicas(self) -> int:
        """spec.replicas as it is."""
        return int(self.stage.api.get(self.path)["spec"].get("replicas", 0))

    def ready(self) -> int:
        """Ready replicas as they are."""
        return int(self.stage.api.get(self.path)["status"].get("readyReplicas", 0))

    def asleep(self) -> bool:
        """Whether it is at zero and its last Pod has ended: until then a record is worked off without a wake."""
        labels = self.stage.api.get(self.path)["spec"]["selector"]["matchLabels"]
        selector = quote(",".join(f"{key}={value}" for key, value in labels.items()))
        pods = self.stage.api.get(f"/api/v1/namespaces/{self.stage.namespace}/pods?labelSelector={selector}")
        return self.replicas() == 0 and not pods["items"]

    def annotate(self, **changes: str | None) -> None:
        """Change annotations; None removes one."""
        written = {ANNOTATION_PREFIX + key.replace("_", "-"): value for key, value in changes.items()}
        self.stage.api.patch(self.path, {"metadata": {"annotations": written}})

    def forget_annotations(self) -> None:
        """Remove every annotation of ours."""
        present = self.stage.api.get(self.path)["metadata"].get("annotations", {})
        ours = {key: None for key in present if key.startswith(ANNOTATION_PREFIX)}
        self.stage.api.patch(self.path, {"metadata": {"annotations": ours}})

    def scale_target(self) -> dict[str, Any]:
        """Status of its ScaleTarget; empty: there is none."""
        path = f"/apis/wakegate.dev/v1alpha1/namespaces/{self.stage.namespace}/scaletargets/deployment-{self.name}"
        try:
            status: dict[str, Any] = self.stage.api.get(path).get("status", {})
        except ApiError:
            return {}
        return status

    def told_invalid(self) -> list[dict[str, Any]]:
        """The Events that tell of its invalid configuration."""
        return self.stage.events("InvalidConfiguration", self.name)

    def scale_writes(self) -> list[AuditEvent]:
        """Every write to its /scale that the API server has answered."""
        return [
            event
            for event in self.stage.bed.control_plane.audit_events()
            if event.is_scale_write and (event.namespace, event.name) == (self.stage.namespace, self.name)
        ]

    def changes(self) -> list[tuple[datetime, int, str]]:
        """When its count was changed through /scale, to what, and by which client."""
        return [
            (event.completed_at, event.requested_replicas, event.user_agent.split("/")[0])
            for event in self.scale_writes()
            if event.status == HTTPStatus.OK
        ]

    def put_to(self, count: int) -> datetime:
        """When it was last put to a count that it has been seen to have: that can be seen before it is logged."""

        def logged() -> datetime | None:
            changes = self.changes()
            at, last, _ = changes[-1] if changes else (None, None, "")
            return at if last == count else None

        return until(f"the log tells when {self.name} was put to {count}", logged, 10)


@dataclass
class Consumer(Workload):
    """An annotated Deployment whose Pods really consume, and what they wrote down."""

    ledger_path: Path

    def entries(self) -> list[ledger.Entry]:
        """What its Pods wrote down."""
        return ledger.read(self.ledger_path)

    def consumed(self) -> int:
        """Different records that were read."""
        return len({(entry.partition, entry.offset) for entry in ledger.records(self.entries())})


@dataclass
class Stage:
    """A namespace, a Lease and an APIService of its own over shared parts."""

    bed: Testbed
    namespace: str
    wakegates: list[Wakegate] = field(default_factory=list)

    @classmethod
    def on(cls, bed: Testbed) -> Stage:
        """Make a stage that shares nothing but the parts."""
        stage = cls(bed, f"case-{next(_numbers)}")
        stage.api.create_namespaces([stage.namespace])
        return stage

    @property
    def api(self) -> Any:
        """The API server, as administrator."""
        return self.bed.control_plane.api

    def wakegate(self, identity: str = "wakegate-0", *, serve_metrics: bool = True, **settings: str) -> Wakegate:
        """Describe a process of wakegate that manages this stage's namespace; not started yet."""
        port, metrics_port = self.bed.reserve_ports(2)
        environment = {
            **self.bed.env,
            "WAKEGATE_WATCH_NAMESPACE": self.namespace,
            "WAKEGATE_LEASE": f"{self.namespace}/wakegate",
            "WAKEGATE_LISTEN": f"127.0.0.1:{port}",
            "WAKEGATE_METRICS_API_LISTEN": f"127.0.0.1:{metrics_port}",
            "WAKEGATE_DASHBOARD_LISTEN": "127.0.0.1:0",
            "WAKEGATE_IDENTITY": identity,
            "OTEL_SERVICE_NAME": self.namespace,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "PYTHONPATH": str(REPOSITORY),
            **{f"WAKEGATE_{key.upper()}": value for key, value in settings.items()},
        }
        command = [sys.executable, "-m", "activator", "run"]
        process = self.bed.process(f"{self.namespace}-{identity}", command, env=environment)
        wakegate = Wakegate(process, port, metrics_port)
        self.wakegates.append(wakegate)
        if serve_metrics:
            self.bed.control_plane.aggregate("wakegate-system", "wakegate-metrics", metrics_port)
        return wakegate

    def consumer(  # one keyword a property of the workload
        self,
        name: str = "orders",
        *,
        partitions: int = 5,
        replicas: int = 1,
        work_milliseconds: int = 0,
        auto_offset_reset: str = "earliest",
        group_protocol: str = "classic",
        topic: bool = True,
        **annotations: str,
    ) -> Consumer:
        """Create a topic and an annotated Deployment that consumes it."""
        topic_name = f"{self.namespace}-{name}"
        if topic:
            self.bed.kafka.create_topic(topic_name, partitions=partitions)
        written = {
            "topic": topic_name,
            "consumer-group": topic_name,
            "bootstrap-servers": self.bed.kafka.bootstrap_servers,
            "offset-reset-policy": auto_offset_reset,
            **{key.replace("_", "-"): value for key, value in annotations.items()},
        }
        return self._deploy(
            name,
            replicas=replicas,
            annotations={ANNOTATION_PREFIX + key: value for key, value in written.items()},
            auto_offset_reset=auto_offset_reset,
            work_milliseconds=work_milliseconds,
            group_protocol=group_protocol,
        )

    def bare_consumer(
        self,
        name: str = "orders",
        *,
        replicas: int = 1,
        work_milliseconds: int = 0,
        auto_offset_reset: str = "earliest",
    ) -> Consumer:
        """Create a topic of five partitions and a Deployment that consumes it and that nothing manages yet."""
        self.bed.kafka.create_topic(f"{self.namespace}-{name}", partitions=5)
        return self._deploy(
            name, replicas=replicas, work_milliseconds=work_milliseconds, auto_offset_reset=auto_offset_reset
        )

    def _deploy(self, name: str, **properties: Any) -> Consumer:
        topic = f"{self.namespace}-{name}"
        path = self.bed.run_directory / f"{topic}.ledger"
        self.api.apply(
            workloads.consumer_deployment(
                name,
                namespace=self.namespace,
                bootstrap_servers=self.bed.kafka.bootstrap_servers,
                topic=topic,
                group=topic,
                ledger=path,
                commit_milliseconds=200,
                **properties,
            )
        )
        return Consumer(self, name, path)

    def quiet_target(self, name: str, **annotations: str) -> None:
        """Create a topic and an annotated Deployment whose Pod is Ready at once and does nothing."""
        topic = f"{self.namespace}-{name}"
        self.bed.kafka.create_topic(topic, partitions=1)
        written = {
            "topic": topic,
            "consumer-group": topic,
            "bootstrap-servers": self.bed.kafka.bootstrap_servers,
            "offset-reset-policy": "earliest",
            **{key.replace("_", "-"): value for key, value in annotations.items()},
        }
        self.api.apply(
            workloads.deployment(
                name,
                {"image": workloads.PAUSE},
                namespace=self.namespace,
                annotations={ANNOTATION_PREFIX + key: value for key, value in written.items()},
            )
        )

    def topic_of(self, consumer: Consumer) -> str:
        """The topic that a consumer of this stage reads."""
        return f"{self.namespace}-{consumer.name}"

    def produce(
        self, consumer: Consumer, count: int = 1, *, partitions: int = 5, headers: Mapping[str, bytes] | None = None
    ) -> None:
        """Produce records with acks=all, spread over the partitions, and wait for their acknowledgement."""
        producer = Producer({"bootstrap.servers": self.bed.kafka.bootstrap_servers, "linger.ms": 0})
        failures: list[object] = []
        for number in range(count):
            producer.produce(
                self.topic_of(consumer),
                value=f"{number}".encode(),
                partition=number % partitions,
                headers=list((headers or {}).items()),
                on_delivery=lambda error, _: failures.append(error) if error else None,
            )
        left = producer.flush(30)
        if left or failures:
            raise TestbedError(f"{left + len(failures)} of {count} records were not acknowledged: {failures[:3]}")

    def events(self, reason: str, name: str | None = None) -> list[dict[str, Any]]:
        """Kubernetes Events of a reason, about one workload where it is named."""
        items: list[dict[str, Any]] = self.api.get(f"/api/v1/namespaces/{self.namespace}/events")["items"]
        return [
            event
            for event in items
            if event["reason"] == reason and name in {None, event["involvedObject"].get("name")}
        ]

    def scaled_object_path(self, name: str) -> str:
        """Of a ScaledObject of this stage, at the API server."""
        return f"/apis/keda.sh/v1alpha1/namespaces/{self.namespace}/scaledobjects/{name}"

    def leader(self) -> str:
        """Which wakegate holds the Lease, by its identity; empty: nobody, as it seems, or it cannot be read."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/wakegate"
        try:
            return str(self.api.get(path)["spec"].get("holderIdentity", ""))
        except (ApiError, OSError):
            return ""

    def hpas(self) -> list[dict[str, Any]]:
        """Every HPA of this stage."""
        path = f"/apis/autoscaling/v2/namespaces/{self.namespace}/horizontalpodautoscalers"
        found: list[dict[str, Any]] = self.api.get(path)["items"]
        return found

    def close(self) -> None:
        """End wakegate and the workloads, so that the next stage has the machine to itself."""
        for wakegate in self.wakegates:
            wakegate.process.stop()
        self.api.delete(f"/api/v1/namespaces/{self.namespace}")


def install_crd(bed: Testbed) -> None:
    """Install the ScaleTarget CRD and wait until it is served."""
    bed.control_plane.api.apply(*yaml.safe_load_all(CRD.read_text()))
    until("the CRD is served", lambda: _served(bed), 15)


def remove_crd(bed: Testbed) -> None:
    """Remove the ScaleTarget CRD and everything of its kind."""
    name = yaml.safe_load(CRD.read_text())["metadata"]["name"]
    bed.control_plane.api.delete(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")
    until("the CRD is gone", lambda: not _served(bed), 15)


def _served(bed: Testbed) -> bool:
    return is_served(bed, "/apis/wakegate.dev/v1alpha1/scaletargets")


def is_served(bed: Testbed, path: str) -> bool:
    """Whether the API server knows a path."""
    try:
        bed.control_plane.api.get(path)
    except ApiError:
        return False
    return True


def install_keda_crds(bed: Testbed) -> None:
    """Install KEDA's CRDs as they are written here, and wait until all are served."""
    crds = _keda_crds()
    bed.control_plane.api.apply(*crds)
    until("KEDA's CRDs are served", lambda: all(is_served(bed, path) for path in _collections(crds)), 15)


def remove_keda_crds(bed: Testbed) -> None:
    """Remove KEDA's CRDs and everything of their kinds, whoever's finalizers it has."""
    api, crds = bed.control_plane.api, _keda_crds()
    for item in api.get("/apis/keda.sh/v1alpha1/scaledobjects")["items"]:
        metadata = item["metadata"]
        path = f"/apis/keda.sh/v1alpha1/namespaces/{metadata['namespace']}/scaledobjects/{metadata['name']}"
        with contextlib.suppress(ApiError):  # one that was being deleted is gone as soon as nobody holds it
            api.patch(path, {"metadata": {"finalizers": None}})
            api.delete(path)
    for crd in crds:
        api.delete(api.path_of(crd))
    # Each of them: one that is still going would take with it what is installed over it.
    until("they are gone", lambda: not any(is_served(bed, path) for path in _collections(crds)), 15)


def _keda_crds() -> list[dict[str, Any]]:
    names = yaml.safe_load((KEDA_CRDS / "kustomization.yaml").read_text())["resources"]
    return [document for name in names for document in yaml.safe_load_all((KEDA_CRDS / name).read_text())]


def _collections(crds: list[dict[str, Any]]) -> list[str]:
    return [f"/apis/keda.sh/v1alpha1/{crd['spec']['names']['plural']}" for crd in crds]
