"""The certificate that wakegate makes for itself: verified by the API server from the first moment, through rotations.

As installed: two replicas under their own account, the APIService as shipped. Certificates hold for two minutes here
instead of ninety days; everything else about them follows from that.
"""

from __future__ import annotations

import base64
import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from testbed.bed import Testbed, TestbedOptions
from testbed.control_plane_flags import HpaFlags
from testbed.install import API_SERVICE, NAMESPACE, Installation
from testbed.stage import Stage, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.stage import Consumer

pytestmark = pytest.mark.real

API_SERVICE_PATH = f"/apis/apiregistration.k8s.io/v1/apiservices/{API_SERVICE}"
NAME = f"wakegate-metrics.{NAMESPACE}.svc"
ROTATIONS = 2
WITHIN_SECONDS = 400
"""Two rotations take three minutes."""


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    """Kafka and a control plane of its own, because the whole cluster is managed."""
    with Testbed(TestbedOptions(jaeger=False, hpa=HpaFlags(sync_period="2s", downscale_stabilization="5s"))) as made:
        yield made


@dataclass
class Watched:
    """What was seen while certificates followed each other."""

    installation: Installation
    consumer: Consumer
    shown: list[str] = field(default_factory=list)
    """Each certificate that the Secret held, in order."""
    unavailable: list[dict[str, Any]] = field(default_factory=list)
    """Conditions in which the API server did not reach us."""
    unverified: list[str] = field(default_factory=list)
    """Why a client that trusts the APIService's bundle turned a replica away."""
    most_authorities: int = 0
    reads: dict[int, int] = field(default_factory=dict)
    """Of external metrics, by the HPA controller: how many by status."""

    def look(self) -> None:
        """Look at everything once."""
        api_service = self.installation.bed.control_plane.api.get(API_SERVICE_PATH)
        assert not api_service["spec"].get("insecureSkipTLSVerify")
        (condition,) = [item for item in api_service["status"]["conditions"] if item["type"] == "Available"]
        if condition["status"] != "True":
            self.unavailable.append(condition)
        bundle = base64.b64decode(api_service["spec"]["caBundle"]).decode()
        self.most_authorities = max(self.most_authorities, bundle.count("BEGIN CERTIFICATE"))
        for pod in self.installation.ready_pods():
            try:
                shown = shown_by(pod["status"]["podIP"], self.installation.metrics_api_port, bundle)
            except ssl.SSLCertVerificationError as error:
                self.unverified.append(f"{pod['metadata']['name']}: {error}")
            else:
                if shown not in self.shown:
                    self.shown.append(shown)


def shown_by(host: str, port: int, bundle: str) -> str:
    """Shake hands as the API server does, trusting its bundle alone, and return what was shown (PEM)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=bundle)
    with (
        socket.create_connection((host, port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as connection,
    ):
        der = connection.getpeercert(binary_form=True)
        assert der is not None
        return ssl.DER_cert_to_PEM_cert(der)


@pytest.fixture(scope="module")
def watched(bed: Testbed) -> Watched:
    """An installation through two rotations, with a consumer that an HPA holds at two all the while."""
    installation = Installation(bed, settings={"metrics_api_certificate_lifetime": "2m"})
    installation.apply()
    until("both Pods are ready", lambda: len(installation.ready_pods()) == 2, 90)
    installation.route_metrics_api()
    until("the metrics API is available", installation.metrics_api_is_available, 60)
    stage = Stage.on(bed)
    consumer = stage.consumer(cooldown_period="600", polling_interval="5", min_replica_count="2")
    until("its HPA is there", stage.hpas, 60)
    until("the HPA takes it to two", lambda: consumer.replicas() == 2, 60)
    seen = Watched(installation, consumer)
    begin = time.monotonic()
    earlier = len(list(bed.control_plane.audit_events()))
    while len(seen.shown) < 1 + ROTATIONS:
        assert time.monotonic() - begin < WITHIN_SECONDS, f"{len(seen.shown)} certificates so far"
        seen.look()
        time.sleep(0.5)
    for _ in range(20):  # what the last change may still bring about
        seen.look()
        time.sleep(0.5)
    for event in list(bed.control_plane.audit_events())[earlier:]:
        if event.group == "external.metrics.k8s.io" and event.verb == "list":
            seen.reads[event.status] = seen.reads.get(event.status, 0) + 1
    return seen


def test_the_api_server_reaches_it_all_the_while(watched: Watched) -> None:
    """Available without a break, verification on, through two rotations."""
    assert len(watched.shown) == 1 + ROTATIONS
    assert watched.unavailable == []


def test_each_replica_is_verified_at_every_look(watched: Watched) -> None:
    """Twice a second, both replicas, by the bundle that the APIService had just then: of two CAs at most."""
    assert watched.unverified == []
    assert watched.most_authorities == 2


def test_no_read_of_the_hpa_failed(watched: Watched) -> None:
    """Every look of the HPA controller at the metric was answered, and it said so of no HPA."""
    assert set(watched.reads) == {200}
    assert watched.reads[200] > 50, "every two seconds, for three minutes"
    assert watched.consumer.stage.events("FailedGetExternalMetric") == []
    log = (watched.installation.bed.run_directory / "control-plane" / "kube-controller-manager.log").read_text()
    assert "unable to get external metric" not in log
    assert watched.consumer.replicas() == 2
