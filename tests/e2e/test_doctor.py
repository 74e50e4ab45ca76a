"""Seeded faults of a real installation: `wakegate doctor` names each, with the fix, and nothing else.

One installation from the shipped manifests, with one consumer that sleeps. A case spoils one thing, waits until the
doctor names it, mends it, and the next case begins when the doctor finds nothing wrong any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it exports them without saying so
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from activator.core.naming import ANNOTATION_PREFIX
from activator.doctor.checks import CHECKS, CHECKS_BEFORE, examine, problems
from activator.web.certificates import SelfSigned
from activator.wiring.inspection import Clock, Inspection, open_client
from testbed import workloads
from testbed.bed import REPOSITORY, Testbed, TestbedOptions
from testbed.control_plane_flags import HpaTimes
from testbed.errors import ApiError
from testbed.install import API_SERVICE, NAMESPACE, Installation
from testbed.stage import Stage, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from activator.doctor.checks import Result
    from testbed.stage import Consumer

pytestmark = pytest.mark.real

ACLS = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}
"""What has no ACL is everybody's; what has one is theirs alone whom it names."""
WAKEGATE = "User:ANONYMOUS"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
APISERVICE = f"/apis/apiregistration.k8s.io/v1/apiservices/{API_SERVICE}"
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/scaletargets.wakegate.dev"
SERVICE = f"/api/v1/namespaces/{NAMESPACE}/services/wakegate-metrics"
LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/wakegate"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/wakegate"
SPOILT = "spoilt"


@dataclass
class Ground:
    """A healthy installation, and the ways to spoil it."""

    installation: Installation
    stage: Stage
    consumer: Consumer
    clock_off: timedelta = timedelta(0)
    closed_port: int = 0
    _mends: list[Callable[[], object]] = field(default_factory=list)

    @property
    def api(self) -> Any:
        """The API server, as administrator."""
        return self.stage.api

    @property
    def topic(self) -> str:
        """The consumer's topic, and its group."""
        return self.stage.topic_of(self.consumer)

    def results(self) -> tuple[Result, ...]:
        """What the doctor says, as the administrator asks it."""
        return examine(asyncio.run(self._facts()))

    async def _facts(self) -> Any:
        clock = Clock()
        client = await open_client()
        try:
            return await Inspection(client, lambda: clock.now() + self.clock_off, environment={}).facts()
        finally:
            await client.close()

    def named(self) -> list[str]:
        """The ids of the checks that found something."""
        return [result.check.id for result in problems(self.results())]

    def mend(self) -> None:
        """Undo what was spoilt."""
        while self._mends:
            self._mends.pop()()
        self.clock_off = timedelta(0)

    # ------------------------------------------------------------------------------------------------- what spoils

    def deletes(self, path: str) -> None:
        """Delete an object of the installation."""
        before = self.api.get(path)
        self.api.delete(path)
        self._mends.append(partial(self._make_again, path, before))

    def patches(self, path: str, body: dict[str, Any]) -> None:
        """Patch an object of the installation."""
        before = self.api.get(path)
        self.api.patch(path, body)
        self._mends.append(partial(self._put_back, path, before))

    def _make_again(self, path: str, before: dict[str, Any]) -> None:
        server_made = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation")
        metadata = {key: value for key, value in before["metadata"].items() if key not in server_made}
        again = {**before, "metadata": metadata}
        until("its name is free", lambda: self._is_gone(path), 30)
        self.api.request("POST", path.rpartition("/")[0], again)
        self._settle(path)

    def _put_back(self, path: str, before: dict[str, Any]) -> None:
        def put() -> bool:
            version = self.api.get(path)["metadata"]["resourceVersion"]
            with contextlib.suppress(ApiError):  # somebody wrote in between
                self.api.request("PUT", path, {**before, "metadata": before["metadata"] | {"resourceVersion": version}})
                return True
            return False

        until("it is put back", put, 30)
        self._settle(path)

    def _is_gone(self, path: str) -> bool:
        try:
            self.api.get(path)
        except ApiError:
            return True
        return False

    def _settle(self, path: str) -> None:
        """Where it was the Deployment: its Pods have other addresses now."""
        if path == DEPLOYMENT:
            until("both Pods are ready", lambda: len(self.installation.ready_pods()) == 2, 90)
            self.installation.route_metrics_api()

    def sets(self, **settings: str) -> None:
        """Put settings into the ConfigMap, which running Pods do not read again."""
        data = {f"WAKEGATE_{name.upper()}": value for name, value in settings.items()}
        metadata = {"name": "wakegate", "namespace": NAMESPACE}
        self.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
        self._mends.append(partial(self.api.delete, f"/api/v1/namespaces/{NAMESPACE}/configmaps/wakegate"))

    def target(self, **annotations: str) -> None:
        """Create an annotated workload that does nothing, as `kubectl create` would."""
        written = {
            "topic": self.topic,
            "consumer-group": self.topic,
            "bootstrap-servers": self.stage.bed.kafka.bootstrap_servers,
            "offset-reset-policy": "earliest",
            **{key.replace("_", "-"): value for key, value in annotations.items()},
        }
        document = workloads.deployment(
            SPOILT,
            {"image": workloads.PAUSE},
            namespace=self.stage.namespace,
            annotations={ANNOTATION_PREFIX + key: value for key, value in written.items()},
        )
        path = f"/apis/apps/v1/namespaces/{self.stage.namespace}/deployments"
        self.api.request("POST", path, document)
        self._mends.append(partial(self.api.delete, f"{path}/{SPOILT}"))

    def topic_named(self, name: str) -> str:
        """Create a topic."""
        with contextlib.suppress(Exception):  # it is there from an earlier case
            self.stage.bed.kafka.create_topic(name, partitions=1)
        return name

    def allows(self, kind: ResourceType, name: str, operation: AclOperation, user: str = WAKEGATE) -> None:
        """Make a topic or group theirs alone whom this ACL names."""
        admin = AdminClient({"bootstrap.servers": self.stage.bed.kafka.bootstrap_servers})
        pattern = ResourcePatternType.LITERAL
        binding = AclBinding(kind, name, pattern, user, "*", operation, AclPermissionType.ALLOW)
        for created in admin.create_acls([binding]).values():
            created.result(timeout=30)
        every = AclBindingFilter(kind, name, pattern, user, "*", operation, AclPermissionType.ALLOW)
        self._mends.append(lambda: [gone.result(timeout=30) for gone in admin.delete_acls([every]).values()])


def missing_verb(ground: Ground) -> None:
    """The account may no longer patch /scale."""
    role = ground.api.get(f"{RBAC}/clusterroles/wakegate")
    rules = [rule for rule in role["rules"] if "deployments/scale" not in rule["resources"]]
    ground.patches(f"{RBAC}/clusterroles/wakegate", {"rules": rules})


def no_front_proxy_role(ground: Ground) -> None:
    """The RoleBinding in kube-system is gone."""
    ground.deletes(f"{RBAC}/namespaces/kube-system/rolebindings/wakegate-front-proxy-reader")


def no_crd(ground: Ground) -> None:
    """The CRD is gone."""
    ground.deletes(CRD)


def old_crd(ground: Ground) -> None:
    """The CRD is of a version that kept no offsets."""
    versions = ground.api.get(CRD)["spec"]["versions"]
    del versions[0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["offsets"]
    ground.patches(CRD, {"spec": {"versions": versions}})


def not_installed(ground: Ground) -> None:
    """The Deployment is gone."""
    ground.deletes(DEPLOYMENT)


def scaled_to_zero(ground: Ground) -> None:
    """The Deployment is scaled to zero."""
    ground.patches(DEPLOYMENT, {"spec": {"replicas": 0}})


def stuck_rollout(ground: Ground) -> None:
    """An upgrade to an image whose Pods never become ready."""
    containers = ground.api.get(DEPLOYMENT)["spec"]["template"]["spec"]["containers"]
    containers[0]["image"] = workloads.NEVER_READY
    ground.patches(DEPLOYMENT, {"spec": {"template": {"spec": {"containers": containers}}}})


def bad_setting(ground: Ground) -> None:
    """A setting with a value that is not allowed."""
    ground.sets(log_level="loud")


def no_election(ground: Ground) -> None:
    """Two replicas without an election."""
    ground.sets(leader_election="false")


def led_from_elsewhere(ground: Ground) -> None:
    """The Lease is somebody else's, for an hour."""
    lease = ground.api.get(LEASE)
    renewed = Clock().now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    lease["spec"] |= {"holderIdentity": "laptop_1", "leaseDurationSeconds": 3600, "renewTime": renewed}
    # Between our read and this write a replica may have renewed it.
    until("the Lease is taken", lambda: ground.api.patch(LEASE, {"spec": lease["spec"]}), 10)
    ground._mends.append(partial(ground.api.delete, LEASE))


def nobody_leads(ground: Ground) -> None:
    """An admission policy of the cluster refuses every renewal of the Lease, although RBAC allows it."""
    group = "admissionregistration.k8s.io/v1"
    metadata = {"name": "frozen-leases"}
    rule = {
        "apiGroups": ["coordination.k8s.io"],
        "apiVersions": ["v1"],
        "operations": ["UPDATE"],
        "resources": ["leases"],
    }
    constraints = {"resourceRules": [{**rule, "resourceNames": ["wakegate"]}]}
    spec = {"matchConstraints": constraints, "validations": [{"expression": "false"}], "failurePolicy": "Fail"}
    binding = {"policyName": "frozen-leases", "validationActions": ["Deny"]}
    ground.api.apply(
        {"apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": metadata, "spec": spec},
        {"apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding", "metadata": metadata, "spec": binding},
    )
    for plural in ("validatingadmissionpolicies", "validatingadmissionpolicybindings"):
        ground._mends.append(partial(ground.api.delete, f"/apis/{group}/{plural}/frozen-leases"))


def clock_ahead(ground: Ground) -> None:
    """The clock of this machine is two minutes ahead."""
    ground.clock_off = timedelta(minutes=2)


def leaders_clock_behind(ground: Ground) -> None:
    """The leader writes times of five minutes ago into its Lease."""
    renewed = (Clock().now() - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    pod = ground.installation.ready_pods()[0]["metadata"]["name"]
    spec = {"holderIdentity": f"{pod}_0", "leaseDurationSeconds": 3600, "renewTime": renewed}
    ground.api.patch(LEASE, {"spec": spec})
    ground._mends.append(partial(ground.api.delete, LEASE))


def no_api_service(ground: Ground) -> None:
    """The APIService is gone."""
    ground.deletes(APISERVICE)


def of_another(ground: Ground) -> None:
    """The APIService is KEDA's, and HPAs are insisted on."""
    ground.sets(handoff="hpa")
    ground.patches(APISERVICE, {"spec": {"service": {"namespace": "keda", "name": "keda-metrics-apiserver"}}})


def dead_api_service(ground: Ground) -> None:
    """The Service that the APIService leads to is gone."""
    ground.deletes(SERVICE)


def closed_port(ground: Ground) -> None:
    """Nobody listens where the Service leads to."""
    port = ground.closed_port
    ground.patches(SERVICE, {"spec": {"ports": [{"name": "metrics-api", "port": port, "targetPort": port}]}})
    ground.patches(APISERVICE, {"spec": {"service": {"port": port}}})


def wrong_ca(ground: Ground) -> None:
    """Somebody answers behind the Service whose certificate the APIService's CA has not signed."""
    stranger = SelfSigned([f"wakegate-metrics.{NAMESPACE}.svc"], Clock().now()).current()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    stranger.load_into(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, daemon=True).start()
    ground._mends += [server.server_close, server.shutdown]
    port = server.server_port
    ports = [{"name": "metrics-api", "port": port, "targetPort": port}]
    ground.patches(SERVICE, {"spec": {"externalName": "localhost", "ports": ports}})
    ground.patches(APISERVICE, {"spec": {"service": {"port": port}}})


def secret(ground: Ground, name: str, data: dict[str, str], *, readable: bool) -> None:
    """Make a Secret with Kafka credentials, which wakegate may read or not."""
    metadata = {"name": name, "namespace": ground.stage.namespace}
    ground.api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})
    ground._mends.append(partial(ground.api.delete, f"/api/v1/namespaces/{ground.stage.namespace}/secrets/{name}"))
    if not readable:
        return
    version = RBAC.removeprefix("/apis/")
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [name], "verbs": ["get"]}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    subject = {"kind": "ServiceAccount", "name": "wakegate", "namespace": NAMESPACE}
    role = {"apiVersion": version, "kind": "Role", "metadata": metadata, "rules": [rule]}
    binding = {**role, "kind": "RoleBinding", "roleRef": reference, "subjects": [subject]}
    del binding["rules"]
    ground.api.apply(role, binding)
    for plural in ("roles", "rolebindings"):
        path = f"{RBAC}/namespaces/{ground.stage.namespace}/{plural}/{name}"
        ground._mends.append(partial(ground.api.delete, path))


def key_in_wrong_form(ground: Ground) -> None:
    """A Secret with Kafka credentials holds a key that is none."""
    secret(ground, "broken", {"tls": "enable", "cert": "no certificate", "key": "MIIKPAIBAzCCCfI="}, readable=True)
    ground.target(authentication_secret="broken")  # a name


def secret_denied(ground: Ground) -> None:
    """A Secret with Kafka credentials may not be read by wakegate."""
    secret(ground, "private", {"sasl": "none"}, readable=False)
    ground.target(authentication_secret="private")  # a name


def kafka_away(ground: Ground) -> None:
    """A workload names a Kafka where nobody listens."""
    ground.target(bootstrap_servers=f"127.0.0.1:{ground.closed_port}")


def absent_topic(ground: Ground) -> None:
    """A workload names a topic that does not exist."""
    ground.target(topic=f"{ground.topic}s")


def misspelt_group(ground: Ground) -> None:
    """A workload names a group that is not the consumer's."""
    ground.target(consumer_group=f"{ground.topic}s")


def topic_denied(ground: Ground) -> None:
    """A topic is somebody else's alone."""
    name = ground.topic_named("private-invoices")
    ground.allows(ResourceType.TOPIC, name, AclOperation.READ, user="User:accounting")
    ground.target(topic=name)


def topic_not_readable(ground: Ground) -> None:
    """A topic may be described only."""
    name = ground.topic_named("seen-payments")
    ground.allows(ResourceType.TOPIC, name, AclOperation.DESCRIBE)
    ground.target(topic=name)


def group_denied(ground: Ground) -> None:
    """A group is somebody else's alone."""
    ground.allows(ResourceType.GROUP, "private-readers", AclOperation.READ, user="User:accounting")
    ground.target(consumer_group="private-readers")


def group_not_readable(ground: Ground) -> None:
    """A group may be described only."""
    ground.allows(ResourceType.GROUP, "seen-workers", AclOperation.DESCRIBE)
    ground.target(consumer_group="seen-workers")


def typo(ground: Ground) -> None:
    """An annotation is misspelt."""
    ground.target(lag_treshold="5")


def rival(ground: Ground) -> None:
    """An HPA of somebody else drives the workload."""
    ground.target(paused="true")
    metadata = {"name": "theirs", "namespace": ground.stage.namespace}
    spec = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": SPOILT}, "maxReplicas": 3}
    api_version = "autoscaling/v2"
    ground.api.apply({"apiVersion": api_version, "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": spec})
    path = f"/apis/autoscaling/v2/namespaces/{ground.stage.namespace}/horizontalpodautoscalers/theirs"
    ground._mends.append(partial(ground.api.delete, path))


def gitops(ground: Ground) -> None:
    """A GitOps controller applies replicas."""
    ground.target(paused="true")
    path = f"/apis/apps/v1/namespaces/{ground.stage.namespace}/deployments/{SPOILT}"
    metadata = {"name": SPOILT, "namespace": ground.stage.namespace}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"replicas": 2}}
    query = "fieldManager=argocd-controller&force=true"
    ground.api.request("PATCH", f"{path}?{query}", body, content_type="application/apply-patch+yaml")


FAULTS: tuple[tuple[Callable[[Ground], None], str, str], ...] = (
    (clock_ahead, "clock-skew", "NTP"),
    (leaders_clock_behind, "clock-skew", "NTP"),
    (missing_verb, "permissions", "rbac"),
    (no_front_proxy_role, "front-proxy", "wakegate-front-proxy-reader"),
    (no_crd, "crd", "manifests/crds"),
    (old_crd, "crd", "manifests/crds"),
    (not_installed, "deployment", "install"),
    (scaled_to_zero, "pods", "--replicas=2"),
    (stuck_rollout, "pods", "describe pods"),
    (bad_setting, "settings", "ConfigMap wakegate"),
    (no_election, "leader", "WAKEGATE_LEADER_ELECTION"),
    (led_from_elsewhere, "leader", "delete lease"),
    (nobody_leads, "leader", "logs"),
    (no_api_service, "metrics-api-owner", "overlays/kubernetes"),
    (of_another, "metrics-api-owner", "WAKEGATE_HANDOFF=auto"),
    (dead_api_service, "metrics-api-service", "apply the overlay"),
    (closed_port, "metrics-api-reachable", "TCP 6443"),
    (wrong_ca, "metrics-api-trust", "caBundle"),
    (key_in_wrong_form, "kafka-secrets", "correct that key"),
    (secret_denied, "kafka-secrets", "bind a Role"),
    (kafka_away, "kafka-reachable", "address"),
    (absent_topic, "topic-exists", "make the topic"),
    (topic_denied, "topic-describe", "DESCRIBE"),
    (topic_not_readable, "topic-read", "READ"),
    (misspelt_group, "group-exists", "group.id"),
    (group_denied, "group-describe", "DESCRIBE"),
    (group_not_readable, "group-read", "READ"),
    (typo, "annotations", "annotations.md"),
    (rival, "rivals", "remove"),
    (gitops, "gitops", "ignoreDifferences"),
)
"""What is spoilt, the check that names it, and a word of the fix."""


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    """The overlay for Kubernetes on a Kafka with ACLs, and a consumer that has consumed and sleeps."""
    options = TestbedOptions(
        jaeger=False, kafka_properties=ACLS, hpa=HpaTimes(sync_period="2s", downscale_stabilization="5s")
    )
    with Testbed(options) as bed, pytest.MonkeyPatch.context() as environment:
        environment.setenv("KUBECONFIG", str(bed.control_plane.kubeconfig))
        installation = Installation(bed)
        installation.apply()
        until("both Pods are ready", lambda: len(installation.ready_pods()) == 2, 90)
        installation.route_metrics_api()
        until("the metrics API is available", installation.metrics_api_is_available, 60)
        stage = Stage.on(bed)
        consumer = stage.consumer(cooldown_period="6", polling_interval="5")
        stage.produce(consumer)
        until("it has consumed", lambda: consumer.consumed() == 1, 60)
        until("it sleeps", lambda: consumer.replicas() == 0, 90)
        made = Ground(installation, stage, consumer, closed_port=bed.reserve_ports(1)[0])
        until("nothing is wrong", lambda: not made.named(), 30)
        yield made


@pytest.mark.parametrize(("spoil", "check", "fix"), FAULTS, ids=lambda value: getattr(value, "__name__", None))
def test_each_fault_is_named_and_nothing_else(
    ground: Ground, spoil: Callable[[Ground], None], check: str, fix: str
) -> None:
    """The one check that is about it says so, with the fix; once it is mended nothing is wrong."""
    found: list[str] = []

    def named() -> tuple[Result, ...]:
        told = problems(ground.results())
        found[:] = [result.check.id for result in told]
        return told if found == [check] else ()

    try:
        spoil(ground)
        try:
            (told,) = until(f"{check} is named alone", named, 45)
        except AssertionError:
            pytest.fail(f"expected {check} alone, the doctor named {found}")
        assert fix in told.verdict.fix
    finally:
        ground.mend()
    until("nothing is wrong any more", lambda: not ground.named(), 60)


def test_a_metrics_api_of_another_is_no_fault(ground: Ground) -> None:
    """Where the APIService is KEDA's, nothing is wrong: the doctor says what was chosen, and why."""

    def chosen() -> str:
        results = ground.results()
        (owner,) = [result.verdict.text for result in results if result.check.id == "metrics-api-owner"]
        return owner if "keda" in owner and not problems(results) else ""

    try:
        ground.patches(APISERVICE, {"spec": {"service": {"namespace": "keda", "name": "keda-metrics-apiserver"}}})
        told = until("the doctor says whose it is", chosen, 45)
        assert told == (
            "external.metrics.k8s.io belongs to Service keda/keda-metrics-apiserver, which is left alone: "
            "wakegate itself moves 1..N"
        )
    finally:
        ground.mend()
    until("nothing is wrong any more", lambda: not ground.named(), 60)


def wakegate(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run a verb as a person does; return exit code, stdout and stderr."""
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "activator", *arguments],
        env={"PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_as_a_person_asks(ground: Ground) -> None:
    """Well: exit code 0, nothing with -o short, success in JSON; without colours, and without a word on stderr."""
    kubeconfig = str(ground.stage.bed.control_plane.kubeconfig)
    code, out, errors = wakegate("doctor", KUBECONFIG=kubeconfig)
    assert (code, errors) == (0, "")
    assert out.endswith(f"all is well ({len(CHECKS)} ok)\n")
    assert "\x1b" not in out
    assert wakegate("doctor", "-o", "short", KUBECONFIG=kubeconfig) == (0, "", "")
    document = json.loads(wakegate("doctor", "-o", "json", KUBECONFIG=kubeconfig)[1])
    assert document["success"] is True


def test_before_an_installation(ground: Ground) -> None:
    """With --pre the installer's rights, the owner of the metrics API and Kafka are looked at."""
    kubeconfig = str(ground.stage.bed.control_plane.kubeconfig)
    servers = ground.stage.bed.kafka.bootstrap_servers
    code, out, _ = wakegate("doctor", "--pre", "--bootstrap-servers", servers, KUBECONFIG=kubeconfig)
    assert (code, f"({len(CHECKS_BEFORE)} ok)" in out) == (0, True), out


def test_an_api_server_that_is_away(ground: Ground) -> None:
    """It is the only failure, the exit code is 1, and nothing else is pretended to be known."""
    kubeconfig = yaml.safe_load(ground.stage.bed.control_plane.kubeconfig.read_text())
    kubeconfig["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{ground.closed_port}"
    path = ground.stage.bed.run_directory / "nowhere.yaml"
    path.write_text(yaml.safe_dump(kubeconfig))
    code, out, _ = wakegate("doctor", "-o", "json", KUBECONFIG=str(path))
    checks = [check for category in json.loads(out)["categories"] for check in category["checks"]]
    assert code == 1
    assert [check["id"] for check in checks if check["result"] == "fail"] == ["api-server"]
    assert [check["id"] for check in checks if check["result"] == "ok"] == []


def test_in_a_pod_it_looks_as_the_account_itself(ground: Ground) -> None:
    """With the Pod's own token and settings nothing is wrong; what it may not read is skipped, and nothing else is."""
    pod = ground.installation.ready_pods()[0]["metadata"]["name"]
    token = ground.installation.kubectl("-n", NAMESPACE, "create", "token", "wakegate").strip()
    kubeconfig = yaml.safe_load(ground.stage.bed.control_plane.kubeconfig.read_text())
    kubeconfig["users"][0]["user"] = {"token": token}
    path = ground.stage.bed.run_directory / "as-the-account.yaml"
    path.write_text(yaml.safe_dump(kubeconfig))
    environment = {
        "POD_NAME": pod,
        "POD_NAMESPACE": NAMESPACE,
        "WAKEGATE_LEASE": f"{NAMESPACE}/wakegate",
        "WAKEGATE_METRICS_API_SERVICE": f"{NAMESPACE}/wakegate-metrics",
    }
    code, out, _ = wakegate("doctor", "-o", "json", KUBECONFIG=str(path), **environment)
    checks = [check for category in json.loads(out)["categories"] for check in category["checks"]]
    assert code == 0
    assert [check["id"] for check in checks if check["result"] == "skipped"] == ["crd"]


def test_status_and_explain(ground: Ground) -> None:
    """Status is well and counts the sleeper; explain tells of its sleep, by workload and by HPA."""
    kubeconfig = str(ground.stage.bed.control_plane.kubeconfig)
    code, out, errors = wakegate("status", "--wait", "30", "-o", "json", KUBECONFIG=kubeconfig)
    status = json.loads(out)
    assert (code, errors) == (0, "")
    assert (status["success"], status["workloads"]["phases"]["Asleep"]) == (True, 1)
    assert {part["result"] for part in status["components"]} == {"ok"}
    namespace = ground.stage.namespace
    for name in ("orders", "wakegate-deployment-orders"):
        code, out, errors = wakegate("explain", f"{namespace}/{name}", "-o", "json", KUBECONFIG=kubeconfig)
        told = json.loads(out)
        assert (code, errors) == (0, "")
        assert (told["target"]["name"], told["phase"], told["replicas"]) == ("orders", "Asleep", 0)
        assert "sleeps at 0" in told["patchEvent"]
        assert len(told["changeTraceId"]) == 32
        assert told["hpa"]["max"] == 5
    code, out, errors = wakegate("explain", f"{namespace}/ordres", KUBECONFIG=kubeconfig)
    assert (code, out) == (1, "")
    assert "did you mean orders?" in errors
