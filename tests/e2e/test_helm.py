"""The chart, installed by Helm on the real API server: a round, an event over the gateway, an upgrade amid a wake.

One story, as in `test_install.py`, in a namespace that enforces Pod Security `restricted`, to the end: deleted without
a trace; then once more beside another metrics API.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from activator.kubernetes.scaled_objects import FINALIZER
from testbed import ledger
from testbed.bed import Testbed, TestbedOptions
from testbed.control_plane_flags import HpaFlags
from testbed.install import API_SERVICE, NAMESPACE, Release
from testbed.stage import Stage, install_keda_crds, is_served, remove_keda_crds, until
from tests.e2e.installed_gateway import SECRETS, Sent, create_secrets, send
from tests.e2e.test_install import NOT_SEEN, api_service, forbidden, leftovers, requests, use_of
from tests.e2e.test_round import PARTITIONS, check_records
from tests.e2e.test_scaled_object_rules import finalizers, path_of, scaled_object

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from testbed.stage import Consumer

pytestmark = pytest.mark.real

COLLECTIONS = (
    "/api/v1/namespaces/{0}/secrets",
    "/api/v1/namespaces/{0}/services",
    "/api/v1/namespaces/{0}/pods",
    "/apis/apps/v1/namespaces/{0}/deployments",
    "/apis/batch/v1/namespaces/{0}/jobs",
    "/apis/coordination.k8s.io/v1/namespaces/{0}/leases",
    "/apis/policy/v1/namespaces/{0}/poddisruptionbudgets",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/{0}/roles",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/{0}/rolebindings",
)
"""Where an object of the release could be left."""


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    """Kafka and a control plane of its own, because the whole cluster is managed."""
    with Testbed(TestbedOptions(jaeger=False, hpa=HpaFlags(sync_period="2s", downscale_stabilization="5s"))) as made:
        labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
        made.control_plane.api.apply(namespace)
        yield made


@pytest.fixture(scope="module")
def release(bed: Testbed) -> Release:
    """The chart with the gateway, and the two tokens that its notes ask for."""
    create_secrets(bed, NAMESPACE)
    settings = {"bootstrap_servers": bed.kafka.bootstrap_servers}
    made = Release(bed, values={"gateway.enabled": True, "gateway.settings": settings})
    made.apply()
    until("both Pods are ready", lambda: len(made.ready_pods()) == 2, 120)
    made.route_metrics_api()
    until("the metrics API is available", made.metrics_api_is_available, 60)
    until("the gateway is ready", lambda: len(made.ready_pods("gateway")) == 2, 120)
    return made


@pytest.fixture(scope="module")
def consumer(bed: Testbed, release: Release) -> Consumer:
    """A consumer that has gone 0 -> 1 -> 5 -> 0 by an HPA."""
    assert release.ready_pods()
    stage = Stage.on(bed)
    made = stage.consumer(work_milliseconds=60, cooldown_period="6", polling_interval="5", replicas=2)
    play_round(made)
    return made


@pytest.fixture(scope="module")
def sent(release: Release, consumer: Consumer) -> Sent:
    """One event by a Pod of the gateway's, for a second consumer, which sleeps again after it."""
    return send(release, consumer.stage.consumer("events", cooldown_period="6", polling_interval="300"))


@pytest.fixture(scope="module")
def pipeline(bed: Testbed, sent: Sent) -> Consumer:
    """A third consumer, which a ScaledObject drives that says nothing of restoring; it sleeps."""
    install_keda_crds(bed)
    made = sent.consumer.stage.bare_consumer("pipeline", replicas=2)
    made.stage.api.apply(scaled_object(made))
    until("it sleeps", lambda: made.replicas() == 0, 120)
    assert FINALIZER in finalizers(made)
    assert [hpa["metadata"]["name"] for hpa in made.stage.hpas() if "pipeline" in hpa["metadata"]["name"]]
    return made


def play_round(consumer: Consumer) -> None:
    """One record, then five hundred, then quiet."""
    until("it sleeps", consumer.asleep, 90)
    consumer.stage.produce(consumer)
    until("one record wakes it", lambda: consumer.replicas() == 1, 10)
    consumer.stage.produce(consumer, 500)
    until("it goes to five", lambda: consumer.replicas() == PARTITIONS, 90)
    until("everything is consumed", lambda: consumer.consumed() == 501, 120)
    until("it sleeps again", lambda: consumer.replicas() == 0, 120)
    check_records(consumer, rounds=1)


def wakes(consumer: Consumer) -> list[datetime]:
    """When wakegate woke it, by the audit log."""
    return [at for at, count, client in consumer.changes() if (count, client) == (1, "wakegate")]


@pytest.fixture(scope="module")
def upgraded(release: Release, consumer: Consumer, sent: Sent) -> Consumer:
    """The same consumer, woken by a record at whose arrival `helm upgrade` replaced every Pod of wakegate."""
    assert sent.pushes
    until("it sleeps", consumer.asleep, 30)
    before = {pod["metadata"]["uid"] for pod in release.pods()}
    consumer.stage.produce(consumer)
    release.values = {**release.values, "podAnnotations.operator": {"round": "two"}}
    release.apply()
    # Helm may take longer than the consumer needs to wake, consume and sleep: its count alone would not tell.
    until("one record wakes it", lambda: len(wakes(consumer)) == 2, 30)

    def replaced() -> bool:
        ready = {pod["metadata"]["uid"] for pod in release.ready_pods()}
        assert ready, "no Pod is ready"
        return len(ready) == 2 and not ready & before

    until("both are replaced", replaced, 120)
    release.route_metrics_api()
    until("it is consumed", lambda: consumer.consumed() == 502, 60)
    until("it sleeps again", lambda: consumer.replicas() == 0, 120)
    return consumer


@pytest.fixture(scope="module")
def uninstalled(release: Release, upgraded: Consumer, pipeline: Consumer) -> Testbed:
    """The release deleted while the consumers sleep, their words where they were; the tokens are the user's."""
    assert (upgraded.replicas(), pipeline.replicas()) == (0, 0)
    release.uninstall()
    release.delete("-n", NAMESPACE, "secret", *SECRETS)
    return release.bed


@dataclass
class Left:
    """What a ScaledObject had as the uninstalled release left it, and how many replicas its target had then."""

    finalizers: list[str]
    replicas: int


@pytest.fixture(scope="module")
def left(uninstalled: Testbed, pipeline: Consumer) -> Left:
    """What was left of the third consumer's ScaledObject; then it is deleted, and its CRD, by nobody's help."""
    seen = Left(finalizers(pipeline), pipeline.replicas())
    pipeline.stage.api.delete(path_of(pipeline))
    until("it is gone", lambda: not is_served(uninstalled, path_of(pipeline)), 20)
    remove_keda_crds(uninstalled)
    return seen


def test_a_round_works_as_installed(consumer: Consumer, release: Release) -> None:
    """By an HPA, with nothing forbidden to the account and under Pod Security restricted."""
    assert {count for _, count, client in consumer.changes() if client == "wakegate"} == {0, 1}
    assert forbidden(release) == set()


def test_the_charts_own_tests_pass(release: Release, consumer: Consumer) -> None:
    """`helm test` on the live release, after a round."""
    assert consumer.consumed() >= 501
    assert "Succeeded" in release.test()


def test_the_notes_tell_the_next_command(release: Release) -> None:
    """What Helm prints names who moves 1..N, the doctor, and the tokens that the gateway waits for."""
    assert "It serves external.metrics.k8s.io" in release.notes
    assert f"kubectl -n {NAMESPACE} exec deployment/wakegate -- wakegate doctor" in release.notes
    assert all(f"create secret generic {name}" in release.notes for name in SECRETS)


def test_an_event_over_the_installed_gateway_wakes(sent: Sent) -> None:
    """By token alone: 202, the activator is told over its own Service, the event is consumed, and it sleeps again."""
    assert sent.answers == {"nobody": 401, "a stranger": 401, "shop": 202}
    assert sent.pushes >= 1
    assert sent.consumer.consumed() == 1


def test_an_upgrade_amid_a_wake_loses_nothing(upgraded: Consumer) -> None:
    """The record was consumed, and the consumer was woken once for it."""
    assert ledger.missing(upgraded.entries(), {0: 102} | dict.fromkeys(range(1, PARTITIONS), 100)) == []
    assert len(wakes(upgraded)) == 2


def test_uninstalled_no_workload_is_left_at_zero(uninstalled: Testbed, upgraded: Consumer, sent: Sent) -> None:
    """It has the two replicas that it had before, its annotations still, and neither HPA nor ScaleTarget."""
    assert uninstalled.control_plane.is_ready()
    assert (upgraded.replicas(), sent.consumer.replicas()) == (2, 1)
    assert upgraded.stage.hpas() == []
    assert upgraded.scale_target() == {}
    annotations = upgraded.stage.api.get(upgraded.path)["metadata"]["annotations"]
    assert "wakegate.dev/topic" in annotations


def test_uninstalled_a_scaled_object_s_target_is_not_left_at_zero(left: Left) -> None:
    """Nobody would wake it: it has its two replicas again, and nothing holds its ScaledObject when that is deleted."""
    assert left.replicas == 2
    assert left.finalizers == []


def test_what_is_granted_for_scaled_objects_is_used(left: Left, release: Release) -> None:
    """The story of the overlay has none; this one shows those permissions in the log of the API server, and no lack."""
    assert left.replicas
    for_keda = {use for use in NOT_SEEN if use[0] == "keda.sh"}
    assert for_keda <= {use_of(event) for event in requests(release)}
    assert forbidden(release) == set()


def test_uninstalled_nothing_is_left_but_the_crd(uninstalled: Testbed, left: Left) -> None:
    """No object of the release, of the hook or of wakegate's own; CRDs stay, as is Helm's custom."""
    assert left.replicas, "the story is told to its end: KEDA's CRDs, the user's, are gone too"
    (stays,) = [path for path in leftovers(uninstalled) if not path.endswith(f"/{NAMESPACE}")]
    assert stays.endswith("/scaletargets.wakegate.dev")
    get = uninstalled.control_plane.api.get

    def names() -> list[str]:
        paths = [collection.format(NAMESPACE) for collection in COLLECTIONS]
        return [f"{path}/{item['metadata']['name']}" for path in paths for item in get(path)["items"]]

    until("the last Pods have gone", lambda: not names(), 60)


@pytest.fixture(scope="module")
def beside(uninstalled: Testbed, left: Left) -> tuple[Release, Consumer]:
    """Installed once more, by default values, where external.metrics.k8s.io belongs to another; a round played."""
    assert left.replicas
    another: dict[str, Any] = {"namespace": "keda", "name": "keda-metrics-apiserver", "port": 443}
    uninstalled.control_plane.api.create_namespaces(["keda"])
    uninstalled.control_plane.api.apply(api_service(another))
    made = Release(uninstalled, "chart-beside")
    made.apply()
    until("both Pods are ready", lambda: len(made.ready_pods()) == 2, 120)
    consumer = Stage.on(uninstalled).consumer(work_milliseconds=60, cooldown_period="6", polling_interval="5")
    play_round(consumer)
    return made, consumer


def test_another_s_metrics_api_is_left_to_it(beside: tuple[Release, Consumer]) -> None:
    """`auto` sees whose it is: the chart claims nothing, and wakegate moves 1..N itself; deleted, it is still there."""
    release, consumer = beside
    assert consumer.stage.hpas() == []
    path = f"/apis/apiregistration.k8s.io/v1/apiservices/{API_SERVICE}"
    get = release.bed.control_plane.api.get
    assert get(path)["spec"]["service"]["name"] == "keda-metrics-apiserver"
    assert forbidden(release) == set()
    release.uninstall()
    assert get(path)["spec"]["service"]["name"] == "keda-metrics-apiserver"
    assert consumer.replicas() == 1
