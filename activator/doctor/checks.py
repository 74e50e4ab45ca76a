"""The table of all checks, in the order of the output, and the walk over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from activator.doctor import cluster_checks, kafka_checks, metrics_api_checks, target_checks
from activator.doctor.verdict import Level, Verdict, skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activator.doctor.facts import Facts

KUBERNETES = "Kubernetes"
INSTALLATION = "Installation"
METRICS_API = "Metrics API"
KAFKA = "Kafka"
WORKLOADS = "Workloads"


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the table."""

    id: str
    """Also its anchor in docs/doctor.md."""
    section: str
    asks: str
    """What it looks at, for the list in the docs."""
    run: Callable[[Facts], Verdict]
    after: tuple[str, ...] = ()
    """Checks whose failure would be told again by this one: it is skipped then."""


_API = ("api-server",)
_THERE = ("api-server", "deployment")
_PODS = ("api-server", "deployment", "pods")
_LINKED = ("kafka-reachable", "kafka-credentials")

CHECKS: tuple[Check, ...] = (
    Check("api-server", KUBERNETES, "does the API server answer", cluster_checks.api_server),
    Check("kubernetes-version", KUBERNETES, "is it new enough", cluster_checks.version, _API),
    Check("clock-skew", KUBERNETES, "do the clocks agree", cluster_checks.clock, _API),
    Check("deployment", INSTALLATION, "is wakegate installed", cluster_checks.deployment, _API),
    Check("permissions", INSTALLATION, "may its account do what it needs to", cluster_checks.permissions, _THERE),
    Check("front-proxy", INSTALLATION, "may it read how the API server is known", cluster_checks.front_proxy, _THERE),
    Check("crd", INSTALLATION, "are ScaleTargets served, with every field", cluster_checks.crd, _THERE),
    Check("settings", INSTALLATION, "can its settings be read", cluster_checks.settings, _THERE),
    # Without the front proxy's certificate no Pod becomes ready, and a wrong setting ends each at once.
    Check(
        "pods",
        INSTALLATION,
        "are its Pods ready",
        cluster_checks.pods,
        (*_THERE, "settings", "front-proxy"),
    ),
    Check("leader", INSTALLATION, "does one replica lead", cluster_checks.leader, (*_PODS, "settings", "permissions")),
    Check("metrics-api-owner", METRICS_API, "whose is external.metrics.k8s.io", metrics_api_checks.owner, _API),
    Check(
        "metrics-api-certificate",
        METRICS_API,
        "are certificate and key of a Secret good",
        metrics_api_checks.certificate,
        (*_THERE, "settings"),
    ),
    Check("metrics-api-service", METRICS_API, "does the Service lead to somebody", metrics_api_checks.service, _PODS),
    Check(
        "metrics-api-trust",
        METRICS_API,
        "does the API server take our certificate",
        metrics_api_checks.trust,
        (*_PODS, "metrics-api-certificate"),
    ),
    Check(
        "metrics-api-reachable",
        METRICS_API,
        "does the control plane reach our port",
        metrics_api_checks.reachable,
        (*_PODS, "metrics-api-certificate", "front-proxy"),
    ),
    Check("kafka-secrets", KAFKA, "can all Kafka credentials be read and used", kafka_checks.secrets, _API),
    Check("kafka-reachable", KAFKA, "does each cluster answer", kafka_checks.reachable),
    Check("kafka-credentials", KAFKA, "does each cluster take our credentials", kafka_checks.credentials),
    Check("kafka-brokers", KAFKA, "are all brokers reached at their own address", kafka_checks.brokers, _LINKED),
    Check("topic-exists", KAFKA, "is there each topic", kafka_checks.topics),
    Check("topic-describe", KAFKA, "ACL DESCRIBE on each topic: the lag", kafka_checks.topic_describe),
    Check("topic-read", KAFKA, "ACL READ on each topic: the wake in milliseconds", kafka_checks.topic_read),
    Check("group-exists", KAFKA, "is there each consumer group", kafka_checks.groups),
    Check("group-describe", KAFKA, "ACL DESCRIBE on each group: the lag", kafka_checks.group_describe),
    Check("group-read", KAFKA, "ACL READ on each group: the offsets guard", kafka_checks.group_read),
    Check("topic-consumed", KAFKA, "does a member of each group consume its topics", kafka_checks.consumed),
    Check("annotations", WORKLOADS, "are all annotations right", target_checks.spelling, _API),
    Check("rivals", WORKLOADS, "is no workload driven by another autoscaler", target_checks.rivals, _API),
    Check("gitops", WORKLOADS, "does nobody write spec.replicas back", target_checks.gitops, _API),
)
"""Of an installation."""

_BY_ID = {check.id: check for check in CHECKS}

CHECKS_BEFORE: tuple[Check, ...] = (
    _BY_ID["api-server"],
    _BY_ID["kubernetes-version"],
    _BY_ID["clock-skew"],
    Check("installer", KUBERNETES, "may you make what an installation needs", cluster_checks.installer, _API),
    Check("overlay", METRICS_API, "which overlay fits the cluster", metrics_api_checks.owner_before, _API),
    _BY_ID["kafka-reachable"],
    _BY_ID["kafka-credentials"],
    _BY_ID["kafka-brokers"],
)
"""Before one (`--pre`)."""


@dataclass(frozen=True, slots=True)
class Result:
    """A check and what it said."""

    check: Check
    verdict: Verdict


def examine(facts: Facts, checks: Sequence[Check] = CHECKS) -> tuple[Result, ...]:
    """Run every check, but not those that could only repeat what an earlier one has found."""
    told_by: dict[str, str] = {}
    results = []
    for check in checks:
        before = next((told_by[id_] for id_ in check.after if id_ in told_by), None)
        verdict = skipped(f"see {before}") if before else check.run(facts)
        if before or verdict.level is Level.FAIL:
            told_by[check.id] = before or check.id
        results.append(Result(check, verdict))
    return tuple(results)


def problems(results: Sequence[Result]) -> tuple[Result, ...]:
    """Keep what a person should look at."""
    return tuple(result for result in results if result.verdict.level in {Level.WARN, Level.FAIL})


def succeeded(results: Sequence[Result]) -> bool:
    """Whether nothing failed; a warning is no failure."""
    return all(result.verdict.level is not Level.FAIL for result in results)
