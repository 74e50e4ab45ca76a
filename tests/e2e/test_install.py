"""What the shipped overlays install works, under the rights they grant and with no need of others.

One story, told by fixtures that build upon each other: installed with the gateway, a round, a restart of all replicas,
an event over the gateway, annotations removed while none runs, uninstalled; then once more beside another metrics API.
The tests look at what it left behind.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from testbed.bed import REPOSITORY, Testbed, TestbedOptions
from testbed.control_plane_flags import HpaFlags
from testbed.install import API_SERVICE, NAMESPACE, Installation
from testbed.stage import Stage, until
from tests.e2e.installed_gateway import Sent, create_secrets, send
from tests.e2e.test_round import PARTITIONS, check_records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.audit import AuditEvent
    from testbed.stage import Consumer

pytestmark = pytest.mark.real

Use = tuple[str, str, str]
"""API group, resource with its subresource, verb."""

NOT_SEEN: dict[Use, str] = {
    ("apps", "statefulsets/scale", "get"): "the round's workloads are Deployments",
    ("apps", "statefulsets/scale", "patch"): "the same",
    (
        "autoscaling",
        "horizontalpodautoscalers",
        "create",
    ): "a server-side apply is logged as patch, and asks for create",
    ("wakegate.dev", "scaletargets", "create"): "the same",
    ("coordination.k8s.io", "leases", "create"): "it is part of the installation; made anew where somebody deleted it",
    ("keda.sh", "scaledobjects", "watch"): "this story's cluster has no ScaledObjects; that of test_helm.py shows it",
    ("keda.sh", "scaledobjects", "patch"): "the same",
    ("keda.sh", "scaledobjects/status", "patch"): "the same",
    ("", "events", "patch"): "only where the same thing is told twice",
    ("", "configmaps", "list"): "Kubernetes' own role extension-apiserver-authentication-reader has it",
    ("", "configmaps", "watch"): "the same",
}
"""What is granted and may not be seen in the log of this story, and why."""


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    """Kafka and a control plane of its own, because the whole cluster is managed."""
    with Testbed(TestbedOptions(jaeger=False, hpa=HpaFlags(sync_period="2s", downscale_stabilization="5s"))) as made:
        yield made


@dataclass
class Installed:
    """An installation, and what it was granted while it was there."""

    installation: Installation
    granted: set[Use]


@pytest.fixture(scope="module")
def installed(bed: Testbed) -> Installed:
    """The overlay for Kubernetes and the component `gateway`, with both Pods ready and the metrics API available."""
    bed.control_plane.api.create_namespaces([NAMESPACE])
    create_secrets(bed, NAMESPACE)
    made = Installation(bed, components=("gateway", "default-namespace"))
    made.apply()
    address = f"--from-literal=WAKEGATE_GATEWAY_BOOTSTRAP_SERVERS={bed.kafka.bootstrap_servers}"
    made.kubectl("-n", NAMESPACE, "create", "configmap", "wakegate-gateway", address)
    until("both Pods are ready", lambda: len(made.ready_pods()) == 2, 90)
    made.route_metrics_api()
    until("the metrics API is available", made.metrics_api_is_available, 60)
    return Installed(made, granted(bed))


@pytest.fixture(scope="module")
def given_back(bed: Testbed, installed: Installed) -> Consumer:
    """A consumer that has gone 0 -> 1 -> 5 -> 0 and was then given back as docs/install.md says."""
    assert installed.granted
    stage = Stage.on(bed)
    consumer = stage.consumer(work_milliseconds=60, cooldown_period="6", polling_interval="5")
    until("the first Pod is ready", consumer.ready, 60)
    until("it sleeps", consumer.asleep, 90)
    stage.produce(consumer)
    until("one record wakes it", lambda: consumer.replicas() == 1, 5)
    stage.produce(consumer, 500)
    until("the HPA takes it to five", lambda: consumer.replicas() == PARTITIONS, 60)
    until("everything is consumed", lambda: consumer.consumed() == 501, 90)
    until("it sleeps again", lambda: consumer.replicas() == 0, 60)
    check_records(consumer, rounds=1)
    installed.installation.shell(documented("install.md"))
    until("it is given back", lambda: consumer.replicas() == 1, 30)
    until("its HPA is gone", lambda: not stage.hpas(), 30)
    until("nothing is kept of it", lambda: not consumer.scale_target(), 30)
    return consumer


@pytest.fixture(scope="module")
def sleeper(installed: Installed, given_back: Consumer) -> Consumer:
    """A second consumer, woken by a record that came during a rollout; there was always a ready Pod."""
    installation = installed.installation
    stage = given_back.stage
    consumer = stage.consumer("late", cooldown_period="6", polling_interval="5")
    until("it sleeps", consumer.asleep, 90)
    before = {pod["metadata"]["uid"] for pod in installation.pods()}

    def ready() -> set[str]:
        found = {pod["metadata"]["uid"] for pod in installation.ready_pods()}
        assert found, "no Pod is ready"
        return found

    installation.kubectl("-n", NAMESPACE, "rollout", "restart", "deployment/wakegate")
    until("a new Pod is ready", lambda: ready() - before, 60)
    stage.produce(consumer)
    until("one record wakes it", lambda: consumer.replicas() == 1, 5)
    until("both are replaced", lambda: len(ready()) == 2 and not ready() & before, 90)
    return consumer


@pytest.fixture(scope="module")
def sent(installed: Installed, sleeper: Consumer) -> Sent:
    """One event by a Pod of the gateway's, for a third consumer, which sleeps again after it."""
    consumer = sleeper.stage.consumer("events", cooldown_period="6", polling_interval="300")
    return send(installed.installation, consumer)


@pytest.fixture(scope="module")
def uninstalled(installed: Installed, sleeper: Consumer, sent: Sent) -> Testbed:
    """All of it taken away in the order of docs/install.md; the annotations went while no wakegate ran."""
    installation = installed.installation
    until("it sleeps again", lambda: sleeper.replicas() == 0, 90)
    installation.kubectl("-n", NAMESPACE, "scale", "deployment/wakegate", "--replicas=0")
    until("no wakegate runs", lambda: not installation.pods(), 60)
    for consumer in (sleeper, sent.consumer):
        consumer.forget_annotations()
    installation.kubectl("-n", NAMESPACE, "scale", "deployment/wakegate", "--replicas=2")
    until("they are given back", lambda: (sleeper.replicas(), sent.consumer.replicas()) == (1, 1), 90)
    until("nothing is kept of them", lambda: not (sleeper.scale_target() or sent.consumer.scale_target()), 30)
    until("their HPAs are gone", lambda: not sleeper.stage.hpas(), 30)
    installation.delete("apiservice", API_SERVICE)
    installation.end()
    installation.delete()
    assert leftovers(installation.bed) == []
    return installation.bed


@dataclass
class Alone:
    """An installation that moves 1..N itself, and a consumer that has gone 0 -> 1 -> 5 -> 0 under it."""

    installation: Installation
    consumer: Consumer


@pytest.fixture(scope="module")
def beside(uninstalled: Testbed) -> Alone:
    """Installed where external.metrics.k8s.io belongs to another."""
    another: dict[str, Any] = {"namespace": "keda", "name": "keda-metrics-apiserver", "port": 443}
    uninstalled.control_plane.api.create_namespaces(["keda"])
    uninstalled.control_plane.api.apply(api_service(another))
    return round_alone(Installation(uninstalled, "beside"), Stage.on(uninstalled))


@pytest.fixture(scope="module")
def one_namespace(uninstalled: Testbed) -> Alone:
    """Installed by Roles into the namespace of the workloads."""
    uninstalled.control_plane.api.create_namespaces(["wakegate"])
    return round_alone(Installation(uninstalled, "namespaced", "wakegate"), Stage(uninstalled, "wakegate"))


def round_alone(installation: Installation, stage: Stage) -> Alone:
    """Install, play a round, and end what was installed, because two would manage the same workloads."""
    installation.apply()
    until("both Pods are ready", lambda: len(installation.ready_pods()) == 2, 90)
    consumer = stage.consumer(work_milliseconds=60, cooldown_period="6", polling_interval="5")
    until("it sleeps", consumer.asleep, 90)
    stage.produce(consumer)
    until("one record wakes it", lambda: consumer.replicas() == 1, 5)
    stage.produce(consumer, 500)
    until("wakegate takes it to five", lambda: consumer.replicas() == PARTITIONS, 60)
    until("everything is consumed", lambda: consumer.consumed() == 501, 90)
    until("it sleeps again", lambda: consumer.replicas() == 0, 120)
    check_records(consumer, rounds=1)
    assert stage.hpas() == []
    installation.end()
    return Alone(installation, consumer)


def api_service(service: dict[str, Any]) -> dict[str, Any]:
    """An APIService of external metrics that leads to a Service."""
    version, group = API_SERVICE.split(".", 1)
    spec = {"group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 100}
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": API_SERVICE},
        "spec": {**spec, "insecureSkipTLSVerify": True, "service": service},
    }


def documented(page: str) -> str:
    """The one shell script of a page."""
    (script,) = re.findall(r"^```sh\n(.*?)^```$", (REPOSITORY / "docs" / page).read_text(), re.DOTALL | re.MULTILINE)
    return str(script)


def leftovers(bed: Testbed) -> list[str]:
    """Objects that say they are part of wakegate, and its namespace."""
    collections = (
        "/api/v1/namespaces",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        "/apis/rbac.authorization.k8s.io/v1/rolebindings",
        "/apis/apiregistration.k8s.io/v1/apiservices",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    )
    selector = "labelSelector=app.kubernetes.io/part-of%3Dwakegate"
    get = bed.control_plane.api.get
    return [f"{path}/{item['metadata']['name']}" for path in collections for item in get(f"{path}?{selector}")["items"]]


def requests(installation: Installation) -> list[AuditEvent]:
    """What the installed account has asked of the API server."""
    events = installation.bed.control_plane.audit_events()
    return [event for event in events if event.user == installation.account]


def forbidden(installation: Installation) -> set[Use]:
    """For what of it the account had no right."""
    return {use_of(event) for event in requests(installation) if event.status == HTTPStatus.FORBIDDEN}


def use_of(event: AuditEvent) -> Use:
    """Which permission a request needed."""
    resource = f"{event.resource}/{event.subresource}" if event.subresource else event.resource
    return event.group, resource, event.verb


def granted(bed: Testbed) -> set[Use]:
    """What the roles that are bound to the account say, as the API server has them."""
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    api = bed.control_plane.api
    found: set[Use] = set()
    for binding in [
        *api.get(f"{rbac}/clusterrolebindings")["items"],
        *api.get(f"{rbac}/rolebindings")["items"],
    ]:
        account = {"kind": "ServiceAccount", "name": "wakegate", "namespace": NAMESPACE}
        if account not in binding.get("subjects", []):
            continue
        plural = "clusterroles" if binding["roleRef"]["kind"] == "ClusterRole" else "roles"
        scope = f"/namespaces/{binding['metadata']['namespace']}" if plural == "roles" else ""
        for rule in api.get(f"{rbac}{scope}/{plural}/{binding['roleRef']['name']}")["rules"]:
            found.update(product(rule["apiGroups"], rule["resources"], rule["verbs"]))
    return found


def test_the_round_works_as_installed(given_back: Consumer) -> None:
    """0 -> 1 -> 5 -> 0 with an HPA, no record skipped, and given back with what it had."""
    assert max(count for _, count, _ in given_back.changes()) == PARTITIONS
    by_wakegate = {count for _, count, client in given_back.changes() if client == "wakegate"}
    assert by_wakegate == {0, 1}


def test_nothing_was_forbidden(installed: Installed, uninstalled: Testbed) -> None:
    """No request of the installed account was refused for want of a right."""
    assert uninstalled is installed.installation.bed
    assert forbidden(installed.installation) == set()


def test_what_is_granted_is_what_was_used(installed: Installed, uninstalled: Testbed) -> None:
    """The log of the API server shows each permission in use, but for those that this story cannot show."""
    assert uninstalled is installed.installation.bed
    used = {use_of(event) for event in requests(installed.installation)}
    assert used <= installed.granted
    assert installed.granted - used - NOT_SEEN.keys() == set()
    assert NOT_SEEN.keys() <= installed.granted, "a reason for what is not granted"


def test_a_restart_of_all_replicas_has_no_gap(sleeper: Consumer) -> None:
    """There was always a ready Pod, and the record that came meanwhile was consumed."""
    assert sleeper.consumed() == 1


def test_an_event_over_the_component_gateway_wakes(sent: Sent) -> None:
    """By token alone: 202, the activator is told over its own Service, and the event is consumed."""
    assert sent.answers == {"nobody": 401, "a stranger": 401, "shop": 202}
    assert sent.pushes >= 1
    assert sent.consumer.consumed() == 1


def test_uninstalled_it_leaves_nothing(uninstalled: Testbed, given_back: Consumer, sleeper: Consumer) -> None:
    """No object of ours was left, and no workload at zero, also where its annotations went while no wakegate ran."""
    assert uninstalled.control_plane.is_ready()
    assert (given_back.replicas(), sleeper.replicas()) == (1, 1)
    assert given_back.stage.hpas() == []


def test_beside_another_metrics_api(beside: Alone) -> None:
    """1..N is moved by wakegate, with nothing forbidden, and the other's APIService is as it was."""
    assert {count for _, count, _ in beside.consumer.changes()} >= {0, 1, PARTITIONS}
    path = f"/apis/apiregistration.k8s.io/v1/apiservices/{API_SERVICE}"
    owner = beside.installation.bed.control_plane.api.get(path)["spec"]["service"]
    assert owner["name"] == "keda-metrics-apiserver"
    assert forbidden(beside.installation) == set()


def test_in_one_namespace(one_namespace: Alone) -> None:
    """Roles are enough, also without the CRD; only the look at the APIService, which is the cluster's, is refused."""
    assert {count for _, count, _ in one_namespace.consumer.changes()} >= {0, 1, PARTITIONS}
    assert forbidden(one_namespace.installation) <= {("apiregistration.k8s.io", "apiservices", "get")}
