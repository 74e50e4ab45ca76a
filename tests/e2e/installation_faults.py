"""What goes wrong with installations: each fault spoils one thing; beside it stands the check that is to name it."""

from __future__ import annotations

import ssl
from datetime import timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

from confluent_kafka.admin import AclOperation, ResourceType  # type: ignore[attr-defined]  # it does export them

from activator.web.certificates import SelfSigned
from activator.wiring.inspection import Clock
from testbed import workloads
from testbed.install import NAMESPACE
from testbed.stage import until
from tests.e2e.installation_ground import APISERVICE, CRD, DEPLOYMENT, LEASE, RBAC, SERVICE, SPOILT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.installation_ground import Ground


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
    ground.mended_by(partial(ground.api.delete, LEASE))


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
        ground.mended_by(partial(ground.api.delete, f"/apis/{group}/{plural}/frozen-leases"))


def clock_ahead(ground: Ground) -> None:
    """The clock of this machine is two minutes ahead."""
    ground.clock_off = timedelta(minutes=2)


def leaders_clock_behind(ground: Ground) -> None:
    """The leader writes times of five minutes ago into its Lease."""
    renewed = (Clock().now() - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    pod = ground.installation.ready_pods()[0]["metadata"]["name"]
    spec = {"holderIdentity": f"{pod}_0", "leaseDurationSeconds": 3600, "renewTime": renewed}
    ground.api.patch(LEASE, {"spec": spec})
    ground.mended_by(partial(ground.api.delete, LEASE))


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
    ground.mended_by(server.server_close, server.shutdown)
    port = server.server_port
    ports = [{"name": "metrics-api", "port": port, "targetPort": port}]
    ground.patches(SERVICE, {"spec": {"externalName": "localhost", "ports": ports}})
    ground.patches(APISERVICE, {"spec": {"service": {"port": port}}})


def secret(ground: Ground, name: str, data: dict[str, str], *, readable: bool) -> None:
    """Make a Secret with Kafka credentials, which wakegate may read or not."""
    metadata = {"name": name, "namespace": ground.stage.namespace}
    ground.api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})
    ground.mended_by(partial(ground.api.delete, f"/api/v1/namespaces/{ground.stage.namespace}/secrets/{name}"))
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
        ground.mended_by(partial(ground.api.delete, path))


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
    ground.mended_by(partial(ground.api.delete, path))


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
