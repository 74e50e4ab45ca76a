"""Seeded faults: each is named by the one check that is about it, with what to do, and by no other."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from activator.core.model import Handover
from activator.doctor.checks import CHECKS, examine, problems, succeeded
from activator.doctor.facts import (
    Access,
    BrokerReach,
    Certificate,
    FieldOwner,
    InstalledSettings,
    KafkaCluster,
    Permission,
    TopicOfTarget,
    Unknown,
)
from activator.doctor.needs import FRONT_PROXY, of_account
from activator.doctor.verdict import Level
from tests.doctor import healthy
from tests.doctor.healthy import NOW, SERVERS, api_service, cluster, deployment, facts, lease, target

if TYPE_CHECKING:
    from activator.doctor.facts import Facts


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, who is to say so, and a word that has to be said."""

    name: str
    facts: Facts
    check: str
    level: Level
    says: str
    fix: str


def denied(*permissions: Permission) -> Facts:
    """Without these permissions."""
    there = facts().permissions
    assert not isinstance(there, Unknown)
    assert set(permissions) <= set(there)
    return facts(permissions={**there, **dict.fromkeys(permissions, False)})


def unavailable(reason: str, message: str) -> Facts:
    """With an APIService that is not Available."""
    return facts(api_service=api_service(reason=reason, message=message))


def by_roles() -> Facts:
    """With an installation for one namespace, to which the CRD was not added."""
    settings = InstalledSettings(watch_namespace=("shop",))
    permissions = dict.fromkeys(of_account(settings.lease, settings.watch_namespace), True)
    return facts(crd=None, settings=settings, permissions=permissions)


def old_crd() -> Facts:
    """With the CRD of a version that kept no offsets."""
    crd = copy.deepcopy(healthy.CRD)
    status = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    del status["properties"]["offsets"]
    return facts(crd=crd)


def pending() -> Facts:
    """With Pods whose image cannot be had."""
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found: wakegate:0.1.0"}}}
    pod = {"metadata": {"name": "wakegate-7c5"}, "status": {"containerStatuses": [waiting]}}
    return facts(deployment=deployment(ready=0), pods=(pod,))


def topics(**access: Any) -> Facts:
    """With this access to the topic."""
    return facts(clusters=(cluster(topics={"orders": Access(**access)}),))


def groups(**access: Any) -> Facts:
    """With this access to the consumer group."""
    return facts(clusters=(cluster(groups={"shop": Access(**access)}),))


def misspelt(topic: str = "orders", group: str = "shop") -> Facts:
    """With a topic or a group that does not exist."""
    seen = cluster(topics={topic: Access(exists=topic == "orders", read=True)}, groups={group: Access(group == "shop")})
    return facts(clusters=(seen,), targets=(target(triggers=(TopicOfTarget(SERVERS, topic, group),)),))


REFUSED = (
    "failing or missing response from https://10.0.0.7:443/apis: dial tcp 10.0.0.7:443: connect: connection refused"
)
SILENT = "failing or missing response from https://10.0.0.7:443/apis: context deadline exceeded"
UNTRUSTED = "failing or missing response from https://10.0.0.7:443/apis: x509: certificate signed by unknown authority"
FORBIDDEN = "failing or missing response from https://10.0.0.7:443/apis: bad status from https://10.0.0.7:443/apis: 403"
SECRET = "Secret wakegate-system/wakegate-metrics-tls"
SERVICE_DNS = "wakegate-metrics.wakegate-system.svc"
PATCH_SCALE = Permission("apps", "deployments/scale", "patch")
HPA = InstalledSettings(handoff=Handover.HPA)
OK, WARN, FAIL = Level.OK, Level.WARN, Level.FAIL

FAULTS = (
    Fault("API server away", facts(unreachable="no answer within 5 s"), "api-server", FAIL, "no answer", "KUBECONFIG"),
    Fault("an old cluster", facts(version=(1, 26)), "kubernetes-version", FAIL, "1.26", "upgrade"),
    Fault("our clock ahead", facts(ahead=timedelta(minutes=3)), "clock-skew", FAIL, "180 s ahead", "NTP"),
    Fault("our clock a bit behind", facts(ahead=timedelta(seconds=-9)), "clock-skew", WARN, "9 s behind", "NTP"),
    Fault(
        "the leader's clock", facts(lease=lease(renewed=-121)), "clock-skew", FAIL, "the leader's clock is 120", "NTP"
    ),
    Fault("a missing verb", denied(PATCH_SCALE), "permissions", FAIL, "patch deployments/scale.apps", "rbac"),
    Fault("front proxy's role", denied(FRONT_PROXY), "front-proxy", FAIL, "extension-apiserver", "front-proxy-reader"),
    Fault("no CRD", facts(crd=None), "crd", FAIL, "scaletargets", "manifests/crds"),
    Fault("no CRD, by Roles", by_roles(), "crd", WARN, "original counts", "manifests/crds"),
    Fault("an old CRD", old_crd(), "crd", FAIL, "offsets", "manifests/crds"),
    Fault("not installed", facts(deployment=None), "deployment", FAIL, "no Deployment", "--namespace"),
    Fault(
        "a bad setting",
        facts(settings=InstalledSettings(problem="WAKEGATE_LEASE is 'x'")),
        "settings",
        FAIL,
        "'x'",
        "ConfigMap",
    ),
    Fault("no image", pending(), "pods", FAIL, "ImagePullBackOff", "describe pods"),
    Fault("one Pod of two", facts(deployment=deployment(ready=1)), "pods", WARN, "1 of 2", "describe pods"),
    Fault("scaled to zero", facts(deployment=deployment(replicas=0, ready=0)), "pods", FAIL, "zero", "--replicas=2"),
    Fault("a stuck rollout", facts(deployment=deployment(updated=1)), "pods", WARN, "1 of the newest", "describe pods"),
    Fault(
        "led from elsewhere",
        facts(pods=({"metadata": {"name": "wakegate-9"}, "status": {}},)),
        "leader",
        WARN,
        "no Pod",
        "delete lease",
    ),
    Fault("no Lease", facts(lease=None), "leader", FAIL, "nobody leads", "logs"),
    Fault("a Lease that ran out", facts(lease=lease(renewed=-40, taken=-40)), "leader", FAIL, "for 40 s", "logs"),
    Fault("a Lease given back", facts(lease=lease(holder="")), "leader", FAIL, "nobody leads", "logs"),
    Fault(
        "no election", facts(settings=InstalledSettings(leader_election=False)), "leader", FAIL, "2 replicas", "single"
    ),
    Fault(
        "APIService gone", facts(api_service=None), "metrics-api-owner", WARN, "nobody serves", "overlays/kubernetes"
    ),
    Fault(
        "not ours, hpa asked",
        facts(api_service=api_service(namespace="keda"), settings=HPA),
        "metrics-api-owner",
        FAIL,
        "keda",
        "auto",
    ),
    Fault(
        "dead APIService",
        unavailable("ServiceNotFound", "no such service"),
        "metrics-api-service",
        FAIL,
        "no such",
        "get service",
    ),
    Fault(
        "nobody behind it",
        unavailable("MissingEndpoints", "no endpoints"),
        "metrics-api-service",
        FAIL,
        "no endpoints",
        "endpointslices",
    ),
    Fault("wrong CA", unavailable("FailedDiscoveryCheck", UNTRUSTED), "metrics-api-trust", FAIL, "x509", "caBundle"),
    Fault(
        "closed port",
        unavailable("FailedDiscoveryCheck", REFUSED),
        "metrics-api-reachable",
        FAIL,
        "refused",
        "TCP 6443",
    ),
    Fault(
        "firewall", unavailable("FailedDiscoveryCheck", SILENT), "metrics-api-reachable", FAIL, "deadline", "firewall"
    ),
    Fault(
        "unknown front proxy",
        unavailable("FailedDiscoveryCheck", FORBIDDEN),
        "metrics-api-reachable",
        FAIL,
        "refuses",
        "RoleBinding",
    ),
    Fault(
        "key not PEM",
        facts(certificate=Certificate(SECRET, "tls.key is not PEM")),
        "metrics-api-certificate",
        FAIL,
        "not PEM",
        "PEM",
    ),
    Fault(
        "other name",
        facts(certificate=Certificate(SECRET, names=("a.b.svc",))),
        "metrics-api-certificate",
        FAIL,
        "a.b.svc",
        SERVICE_DNS,
    ),
    Fault(
        "expired",
        facts(certificate=Certificate(SECRET, names=(SERVICE_DNS,), expires=NOW)),
        "metrics-api-certificate",
        FAIL,
        "expired",
        "renew",
    ),
    Fault(
        "expires soon",
        facts(certificate=Certificate(SECRET, names=(SERVICE_DNS,), expires=NOW + timedelta(days=9))),
        "metrics-api-certificate",
        WARN,
        "soon",
        "renew",
    ),
    Fault(
        "Kafka away",
        facts(clusters=(KafkaCluster(SERVERS, problem="Kafka kafka:9092: refused"),)),
        "kafka-reachable",
        FAIL,
        "refused",
        "exec",
    ),
    Fault(
        "credentials",
        facts(clusters=(KafkaCluster(SERVERS, problem="SASL", denied=True),)),
        "kafka-credentials",
        FAIL,
        "SASL",
        "password",
    ),
    Fault(
        "a key in a wrong form",
        facts(credential_problems=("Secret shop/kafka, key key: it is PKCS#12",)),
        "kafka-secrets",
        FAIL,
        "PKCS#12",
        "correct that key",
    ),
    Fault(
        "advertised",
        facts(clusters=(cluster(brokers=(BrokerReach("b:1", "Kafka b:1: no"),)),)),
        "kafka-brokers",
        FAIL,
        "b:1",
        "advertised",
    ),
    Fault(
        "absent topic", misspelt(topic="order"), "topic-exists", FAIL, "did you mean 'orders'?", "wakegate.dev/topic"
    ),
    Fault("topic denied", topics(exists=None, describe=False), "topic-describe", FAIL, "'orders'", "DESCRIBE"),
    Fault("topic not readable", topics(exists=True, read=False), "topic-read", WARN, "within a second", "READ"),
    Fault("misspelt group", misspelt(group="shopp"), "group-exists", WARN, "did you mean 'shop'?", "consumer-group"),
    Fault("group denied", groups(exists=None, describe=False), "group-describe", FAIL, "'shop'", "DESCRIBE"),
    Fault(
        "group not readable", groups(exists=True, read=False), "group-read", WARN, "cannot be guarded", "offset-guard"
    ),
    Fault(
        "another topic",
        groups(exists=True, read=True, consumed=frozenset({"payments"})),
        "topic-consumed",
        WARN,
        "consumes 'payments', and nobody of it topic 'orders'",
        "name in the trigger",
    ),
    Fault(
        "a typo",
        facts(targets=(target(problems=("wakegate.dev/topik: did you mean topic?",)),)),
        "annotations",
        FAIL,
        "topik",
        "annotations.md",
    ),
    Fault(
        "a rival",
        facts(targets=(target(rivals=("HorizontalPodAutoscaler orders",)),)),
        "rivals",
        FAIL,
        "orders",
        "remove",
    ),
    Fault(
        "GitOps",
        facts(targets=(target(replicas_owners=(FieldOwner("argocd-controller", "Update"),)),)),
        "gitops",
        WARN,
        "Argo CD",
        "ignoreDifferences",
    ),
    Fault(
        "server-side apply",
        facts(targets=(target(replicas_owners=(FieldOwner("ci", "Apply"),)),)),
        "gitops",
        WARN,
        "manager ci",
        "leave spec.replicas",
    ),
)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_is_named_and_nothing_else(fault: Fault) -> None:
    """One check says it, in words that name it, with a fix; the exit code is that of a failure where it is one."""
    results = examine(fault.facts)
    (told,) = problems(results)
    assert (told.check.id, told.verdict.level) == (fault.check, fault.level)
    assert fault.says in " ".join([told.verdict.text, *told.verdict.causes])
    assert fault.fix in told.verdict.fix
    assert succeeded(results) is (fault.level is not FAIL)


def test_a_healthy_installation_has_no_problem() -> None:
    """Every check is fine, none is skipped."""
    assert {result.verdict.level for result in examine(facts())} == {OK}


def test_every_check_has_a_fault() -> None:
    """No check is there that no fault of the table makes speak."""
    assert {fault.check for fault in FAULTS} == {check.id for check in CHECKS}


@pytest.mark.parametrize(
    ("row", "changes", "says"),
    [
        (
            "KEDA's, by default",
            {"api_service": api_service(namespace="keda", name="keda-metrics")},
            "keda/keda-metrics",
        ),
        ("nobody's, direct", {"api_service": None, "settings": InstalledSettings(handoff=Handover.DIRECT)}, "nobody"),
        ("nobody's, no Service", {"api_service": None, "service": None}, "nobody serves"),
    ],
)
def test_a_metrics_api_of_others_is_no_fault(row: str, changes: dict[str, Any], says: str) -> None:
    """Where wakegate moves 1..N itself, the doctor says so and why, and finds nothing wrong."""
    results = examine(facts(**changes))
    assert problems(results) == (), row
    (owner,) = [result.verdict.text for result in results if result.check.id == "metrics-api-owner"]
    assert says in owner
    assert "wakegate itself moves 1..N" in owner


@pytest.mark.parametrize("name", ["version", "ahead", "permissions", "crd", "deployment", "pods", "lease"])
def test_what_is_not_known_is_no_fault_and_not_fine(name: str) -> None:
    """A fact that could not be found out is skipped with its reason."""
    unknown: dict[str, Any] = {name: Unknown("you may not read it")}
    results = examine(facts(**unknown))
    assert problems(results) == ()


@pytest.mark.parametrize(
    ("name", "level"),
    [
        (SERVICE_DNS, OK),
        ("Wakegate-Metrics.wakegate-system.SVC", OK),
        ("*.wakegate-system.svc", OK),
        ("*.svc", FAIL),
        ("*.*.svc", FAIL),
        ("wakegate-*.wakegate-system.svc", FAIL),
        ("*.wakegate-metrics.wakegate-system.svc", FAIL),
    ],
)
def test_a_certificate_is_for_whom_the_api_server_takes_it(name: str, level: Level) -> None:
    """Go's TLS compares in any case, and lets a wildcard stand for the whole left-most label alone."""
    certified = Certificate(SECRET, names=("other.example.org", name))
    results = {result.check.id: result.verdict.level for result in examine(facts(certificate=certified))}
    assert results["metrics-api-certificate"] is level


def test_two_faults_are_both_told() -> None:
    """A fault hides only what would repeat it."""
    spoilt = facts(crd=None, clusters=(KafkaCluster(SERVERS, problem="refused"),))
    assert [told.check.id for told in problems(examine(spoilt))] == ["crd", "kafka-reachable"]


def test_a_cluster_that_is_away_does_not_hide_another() -> None:
    """What is wrong on a cluster that answers is told although another is silent."""
    seen = misspelt(topic="order")
    spoilt = replace(seen, clusters=(*seen.clusters, KafkaCluster("far:9092", problem="refused")))
    assert [told.check.id for told in problems(examine(spoilt))] == ["kafka-reachable", "topic-exists"]
