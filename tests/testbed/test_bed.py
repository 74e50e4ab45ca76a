"""The real parts start, answer, are paused, killed and started again on the same ports, and leave nothing behind."""

from __future__ import annotations

import datetime as dt
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from confluent_kafka import Producer
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from testbed import builds, kubeconfig, ledger, state, workloads
from testbed.api import ApiClient
from testbed.bed import REPOSITORY, Testbed, TestbedOptions
from testbed.cache import default_root
from testbed.certificates import CertificateAuthority
from testbed.errors import ApiError, TestbedError
from testbed.kubelet.address import pod_ip
from testbed.state import ProcessIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from testbed.traces import Span

pytestmark = pytest.mark.real

Found = TypeVar("Found")

TEAM_PODS = "/api/v1/namespaces/team/pods"


def until(look: Callable[[], Found], seconds: float = 30.0) -> Found:
    """Look until there is something, and fail if there is not in time."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    """One testbed for this file; the tests use names of their own in it."""
    with Testbed() as running:
        running.control_plane.api.create_namespaces(["team"])
        yield running


def pods(bed: Testbed, app: str) -> list[dict[str, Any]]:
    """Pods of one Deployment."""
    items: list[dict[str, Any]] = bed.control_plane.api.get(f"{TEAM_PODS}?labelSelector=app%3D{app}")["items"]
    return items


def apply_shell(bed: Testbed, name: str, script: str, **options: Any) -> None:
    """Run a shell script as a Deployment."""
    container = {"command": ["sh", "-c", script]}
    bed.control_plane.api.apply(workloads.deployment(name, container, namespace="team", **options))


def scale(bed: Testbed, name: str, replicas: int) -> None:
    """PATCH /scale, as an autoscaler does."""
    path = f"/apis/apps/v1/namespaces/team/deployments/{name}/scale"
    bed.control_plane.api.patch(path, {"spec": {"replicas": replicas}})


def produce(bed: Testbed, topic: str, records: int, partitions: int) -> dict[int, int]:
    """Write records evenly, and return the end offset of each partition."""
    producer = Producer({"bootstrap.servers": bed.kafka.bootstrap_servers})
    for number in range(records):
        producer.produce(topic, key=str(number), value=b"x", partition=number % partitions)
    assert producer.flush(30) == 0
    return {partition: len(range(partition, records, partitions)) for partition in range(partitions)}


def starts(path: Path) -> int:
    """How often a consumer has written down that it started."""
    return [entry.event for entry in ledger.read(path)].count("started")


def test_a_consumer_reads_all_and_goes_on_after_a_kill(bed: Testbed) -> None:
    """Pods really consume and commit; after SIGKILL of all of them nothing is skipped, repeats are explained."""
    bed.kafka.create_topic("orders", partitions=5)
    path = bed.run_directory / "orders.ledger"
    manifest = workloads.consumer_deployment(
        "orders",
        namespace="team",
        bootstrap_servers=bed.kafka.bootstrap_servers,
        topic="orders",
        group="orders",
        ledger=path,
        replicas=2,
        work_milliseconds=2,
        commit_milliseconds=1000,
    )
    bed.control_plane.api.apply(manifest)
    end = produce(bed, "orders", 500, 5)
    until(lambda: len(ledger.records(ledger.read(path))) > 50)
    bed.kubelet.kill()
    before = starts(path)
    bed.kubelet.start()
    until(lambda: not ledger.missing(ledger.read(path), end), 60)
    until(lambda: starts(path) == before + 2, 60)  # one that is stopped before that has nothing to say
    scale(bed, "orders", 0)
    until(lambda: not pods(bed, "orders"))
    entries = ledger.read(path)
    assert all(repeat.explained for repeat in ledger.repeats(entries))
    committed = {entry.partition: entry.offset for entry in entries if entry.event == "committed"}
    assert committed == end
    assert [entry.event for entry in entries if entry.event == "stopped"] == ["stopped", "stopped"]


def test_a_pod_s_life(bed: Testbed) -> None:
    """Pending to Ready; deleted: SIGTERM, time to end, gone."""
    trap = 'trap "echo bye; exit 0" TERM; echo hello $HOSTNAME; while :; do sleep 0.05; done'
    apply_shell(bed, "polite", trap)
    (pod,) = until(lambda: [pod for pod in pods(bed, "polite") if pod["status"]["phase"] == "Running"])
    name = pod["metadata"]["name"]
    conditions = {condition["type"]: condition["status"] for condition in pod["status"]["conditions"]}
    assert conditions["Ready"] == "True"
    assert pod["status"]["podIP"] == pod_ip(pod)
    until(lambda: "hello" in bed.pod_log("team", name))
    scale(bed, "polite", 0)
    until(lambda: not pods(bed, "polite"))
    assert bed.pod_log("team", name) == f"hello {name}\nbye\n"


def test_a_pod_that_ignores_sigterm_is_killed_after_its_grace(bed: Testbed) -> None:
    """The grace period is kept to, and then it is over."""
    apply_shell(bed, "stubborn", 'trap "" TERM; echo armed; while :; do sleep 0.05; done', grace_seconds=1)
    (pod,) = until(lambda: pods(bed, "stubborn"))
    # Running is reported as soon as the shell exists, which is before it has set its trap.
    until(lambda: bed.pod_log("team", pod["metadata"]["name"]) == "armed\n")
    begin = time.monotonic()
    scale(bed, "stubborn", 0)
    until(lambda: not pods(bed, "stubborn"), 20)
    assert 1.0 <= time.monotonic() - begin < 10.0


def test_a_crashing_pod_is_restarted(bed: Testbed) -> None:
    """RestartPolicy Always: it is started again and the restarts are counted."""
    apply_shell(bed, "crashing", "echo run; exit 3")
    (pod,) = until(
        lambda: [
            pod
            for pod in pods(bed, "crashing")
            if pod["status"].get("containerStatuses", [{}])[0].get("restartCount", 0) >= 2
        ]
    )
    assert bed.pod_log("team", pod["metadata"]["name"]).count("run") >= 2
    scale(bed, "crashing", 0)
    until(lambda: not pods(bed, "crashing"))


def test_images_with_a_meaning(bed: Testbed) -> None:
    """One image never becomes ready, another is ready without a process; both go away at once."""
    api = bed.control_plane.api
    for name, image in (("never", workloads.NEVER_READY), ("pause", workloads.PAUSE)):
        api.apply(workloads.deployment(name, {"image": image}, namespace="team"))
    path = "/apis/apps/v1/namespaces/team/deployments"
    until(lambda: api.get(f"{path}/pause")["status"].get("readyReplicas") == 1)
    (pod,) = until(lambda: [pod for pod in pods(bed, "never") if "containerStatuses" in pod["status"]])
    assert pod["status"]["phase"] == "Pending"
    assert "readyReplicas" not in api.get(f"{path}/never")["status"]
    for name in ("never", "pause"):
        scale(bed, name, 0)
        until(lambda name=name: not pods(bed, name))  # type: ignore[misc]


def test_pods_go_on_while_the_api_server_is_away(bed: Testbed) -> None:
    """Processes live through an outage of the API server, and what happened meanwhile is caught up with."""
    apply_shell(bed, "patient", "echo started; while :; do sleep 0.05; done")
    (pod,) = until(lambda: [pod for pod in pods(bed, "patient") if pod["status"]["phase"] == "Running"])
    plane = bed.control_plane
    url = plane.url
    plane.api_server.kill()
    assert not plane.is_ready()
    plane.api_server.start()
    plane.wait_ready()
    assert plane.url == url
    assert bed.pod_log("team", pod["metadata"]["name"]).count("started") == 1
    scale(bed, "patient", 0)
    until(lambda: not pods(bed, "patient"), 60)


def test_kafka_is_paused_and_killed(bed: Testbed) -> None:
    """Paused it does not answer; killed it comes back on the same port with its data."""
    node = bed.kafka.node(1)
    address = node.bootstrap_server
    bed.kafka.create_topic("kept", partitions=3)
    bed.kafka.pause()
    assert not node.answers()
    bed.kafka.resume()
    until(node.answers)
    bed.kafka.kill()
    assert not node.answers()
    bed.kafka.restart()
    assert node.bootstrap_server == address == bed.kafka.bootstrap_servers
    assert "kept" in bed.kafka.admin().list_topics(timeout=10).topics
    bed.kafka.delete_topic("kept")


def test_topics_are_not_made_by_being_named(bed: Testbed) -> None:
    """Asking for a topic does not create it: a typo must stay visible."""
    bed.kafka.admin().list_topics("never-created", timeout=10)
    assert "never-created" not in bed.kafka.admin().list_topics(timeout=10).topics


def test_jaeger_tells_what_arrived(bed: Testbed) -> None:
    """Spans come back with attributes, parent and link."""
    provider = TracerProvider(resource=Resource.create({"service.name": "bed-test"}))
    exporter = OTLPSpanExporter(endpoint=f"{bed.jaeger.otlp_endpoint}/v1/traces")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("producer") as producer:
        pass
    links = [trace.Link(producer.get_span_context())]
    with tracer.start_as_current_span("wake", links=links, attributes={"source": "tail"}), tracer.start_span("apply"):
        pass
    provider.shutdown()

    def found() -> list[Span]:
        traces = bed.jaeger.traces("bed-test", "wake", tags={"source": "tail"})
        # Jaeger stores span by span: the trace may be found before it is whole.
        return list(traces[0].spans) if traces and len(traces[0].spans) > 1 else []

    wake, apply = until(found)
    assert wake.links[0].span_id == f"{producer.get_span_context().span_id:016x}"
    assert apply.parent_id == wake.span_id
    assert wake.tags["source"] == "tail"
    whole = bed.jaeger.trace(wake.trace_id)
    assert whole is not None
    assert whole.named("wake") == [wake]
    assert bed.jaeger.trace("0" * 31 + "1") is None
    assert bed.jaeger.traces("bed-test", tags={"source": "poll"}) == []
    assert dt.datetime.now(dt.UTC) - wake.start < dt.timedelta(minutes=1)  # noqa: TID251 - against Jaeger's real clock


def test_a_service_account_has_its_own_rights(bed: Testbed) -> None:
    """RBAC is on: what was not granted is refused, and the audit log knows who asked."""
    plane = bed.control_plane
    client = ApiClient(kubeconfig.read(plane.kubeconfig_for("wakegate-system", "powerless")))
    apply_shell(bed, "idle", "sleep 60", replicas=0)
    with pytest.raises(ApiError, match="403 Forbidden") as refusal:
        client.patch("/apis/apps/v1/namespaces/team/deployments/idle/scale", {"spec": {"replicas": 5}})
    assert refusal.value.status == 403
    writes = [event for event in plane.audit_events() if event.is_scale_write and event.name == "idle"]
    assert [(event.user, event.status) for event in writes] == [
        ("system:serviceaccount:wakegate-system:powerless", 403)
    ]
    scale(bed, "idle", 0)
    mine = [event for event in plane.audit_events() if event.is_scale_write and event.name == "idle"][-1]
    assert (mine.user, mine.status, mine.requested_replicas) == ("admin", 200, 0)


class _Metrics(BaseHTTPRequestHandler):
    """The least that the aggregator and the HPA accept as an external metrics API: every metric is 30."""

    def do_GET(self) -> None:
        """Answer discovery and values alike."""
        group = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "external.metrics.k8s.io/v1beta1"}
        value = {"metricName": "lag", "metricLabels": {}, "timestamp": "2026-01-01T00:00:00Z", "value": "30"}
        values = {
            "kind": "ExternalMetricValueList",
            "apiVersion": "external.metrics.k8s.io/v1beta1",
            "metadata": {},
            "items": [value],
        }
        body = json.dumps(values if "/namespaces/" in self.path else {**group, "resources": []}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_the_real_hpa_asks_an_aggregated_api(bed: Testbed, tmp_path: Path) -> None:
    """A TLS server on loopback becomes external.metrics.k8s.io, and the HPA controller scales by it under RBAC."""
    authority = CertificateAuthority(tmp_path, "metrics CA")
    # The API server calls the Service by its name in the cluster; `localhost` is only where it is sent.
    pair = authority.issue("metrics", names=["metrics.wakegate-system.svc"])
    (port,) = bed.reserve_ports(1)
    server = HTTPServer(("127.0.0.1", port), _Metrics)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        api = bed.control_plane.api
        bed.control_plane.aggregate("wakegate-system", "metrics", port, ca_bundle=authority.certificate.read_bytes())
        api.apply(workloads.deployment("scaled", {"image": workloads.PAUSE}, namespace="team"))
        metric = {"metric": {"name": "lag"}, "target": {"type": "AverageValue", "averageValue": "10"}}
        api.apply(
            {
                "apiVersion": "autoscaling/v2",
                "kind": "HorizontalPodAutoscaler",
                "metadata": {"name": "scaled", "namespace": "team"},
                "spec": {
                    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "scaled"},
                    "minReplicas": 1,
                    "maxReplicas": 5,
                    "metrics": [{"type": "External", "external": metric}],
                },
            }
        )
        deployment = "/apis/apps/v1/namespaces/team/deployments/scaled"
        until(lambda: api.get(deployment)["status"].get("readyReplicas") == 3, 60)
        reads = [event for event in bed.control_plane.audit_events() if event.group == "external.metrics.k8s.io"]
        assert "system:serviceaccount:kube-system:horizontal-pod-autoscaler" in {event.user for event in reads}
    finally:
        bed.control_plane.api.delete("/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io")
        server.shutdown()
        thread.join()
        server.server_close()


def test_options_that_contradict_each_other_are_refused() -> None:
    """A kubelet without an API server cannot be."""
    with pytest.raises(TestbedError, match="a kubelet needs a control plane"):
        Testbed(TestbedOptions(control_plane=False))


def run_cli(cache: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m testbed` against a cache folder of its own."""
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "testbed", *words],
        env={**os.environ, "WAKEGATE_TESTBED_CACHE": str(cache)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Path]:
    """A cache folder whose parts are those of the real one, but with no testbed up; put down at the end."""
    for part in builds.PARTS:
        builds.ensure(part)
        (tmp_path / part.key).symlink_to(default_root() / part.key)
    yield tmp_path
    run_cli(tmp_path, "down")


def test_up_and_down(cache: Path) -> None:
    """`up` leaves a testbed running and prints exports, again prints the same; `down` ends it, again does nothing."""
    first = run_cli(cache, "up", "--no-jaeger")
    assert first.returncode == 0, first.stderr
    running = state.read(cache / "up.json")
    assert running is not None
    assert first.stdout == "".join(f"export {name}={value}\n" for name, value in running.env.items())
    assert running.env.keys() == {"KUBECONFIG", "WAKEGATE_BOOTSTRAP_SERVERS"}
    again = run_cli(cache, "up")
    assert again.stdout == run_cli(cache, "env").stdout == first.stdout
    assert "kube-apiserver" in run_cli(cache, "status").stdout
    assert run_cli(cache, "down").stderr == "stopped\n"
    assert not any(part.is_alive() for part in running.parts.values())
    assert run_cli(cache, "down").stderr == "nothing was up\n"
    assert run_cli(cache, "env").returncode == 1


def test_everything_ends_when_the_owner_is_killed(cache: Path) -> None:
    """SIGKILL of the owner ends Kafka, the control plane, the kubelet and the Pods' processes."""
    up = run_cli(cache, "up", "--no-jaeger")
    assert up.returncode == 0, up.stderr
    running = state.read(cache / "up.json")
    assert running is not None
    api = ApiClient(kubeconfig.read(cache / "up/control-plane/admin.kubeconfig"))
    pid_file = cache / "pod.pid"
    container = {"command": ["sh", "-c", f"echo $$$$ > {pid_file}; exec sleep 600"]}
    api.apply(workloads.deployment("sleeper", container))
    until(lambda: pid_file.exists() and pid_file.read_text().strip())
    pod = ProcessIdentity.of(int(pid_file.read_text()))
    assert pod is not None
    os.kill(running.owner.pid, 9)
    everything = (running.owner, pod, *running.parts.values())
    until(lambda: not any(process.is_alive() for process in everything), 10)
    assert state.read(cache / "up.json") is None
