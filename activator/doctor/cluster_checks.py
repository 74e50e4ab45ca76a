"""The API server, permissions, and what is installed."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from activator.doctor.facts import Unknown
from activator.doctor.needs import FRONT_PROXY
from activator.doctor.verdict import Verdict, fail, ok, skipped, warn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from activator.doctor.facts import Document, Facts, Permission

OLDEST_KUBERNETES = (1, 27)
"""The oldest that the manifests are written for (unhealthyPodEvictionPolicy, apply of a PodDisruptionBudget)."""
SKEW_WARNED = timedelta(seconds=5)
SKEW_FAILED = timedelta(seconds=30)
"""Tokens and certificates are judged by the clock; the Lease is not."""
_DATE_PRECISION = timedelta(seconds=1)
"""Of the HTTP header Date and of managedFields."""
STATUS_FIELDS = frozenset({"phase", "replicas", "reason", "lastActive", "originalReplicas", "asleepByUs", "offsets"})
"""Of a ScaleTarget: without one of these something would be forgotten over a restart."""


def api_server(facts: Facts) -> Verdict:
    """The API server answers."""
    if facts.unreachable:
        return fail(
            "the API server does not answer",
            facts.unreachable,
            fix="see that KUBECONFIG leads to the cluster, and that its credentials are valid: kubectl version",
        )
    return ok(f"the API server answers at {facts.server}")


def version(facts: Facts) -> Verdict:
    """The version is one that the manifests are written for."""
    oldest = ".".join(map(str, OLDEST_KUBERNETES))
    if isinstance(facts.version, Unknown):
        return skipped(f"the version is not known: {facts.version.reason}")
    found = ".".join(map(str, facts.version))
    if facts.version < OLDEST_KUBERNETES:
        return fail(
            f"Kubernetes {found} is too old", f"needed: {oldest} or newer", fix="upgrade the cluster's control plane"
        )
    return ok(f"Kubernetes {found}")


def clock(facts: Facts) -> Verdict:
    """This machine's clock and the leader's agree with the API server's."""
    skews = {"this machine's clock": facts.ahead, "the leader's clock": _leader_ahead(facts.lease)}
    known = {name: skew for name, skew in skews.items() if not isinstance(skew, Unknown | None)}
    if not known:
        return skipped("no clock could be compared with the API server's")
    off = {name: skew for name, skew in known.items() if abs(skew) > SKEW_WARNED + _DATE_PRECISION}
    if not off:
        return ok(f"in step with the API server's: {' and '.join(known)}")
    causes = [
        f"{name} is {abs(skew).total_seconds():.0f} s {'ahead' if skew > timedelta(0) else 'behind'}"
        for name, skew in off.items()
    ]
    say = fail if max(map(abs, off.values())) > SKEW_FAILED else warn
    return say(
        "clocks disagree with the API server's",
        *causes,
        fix="let that machine's clock be set by NTP (chronyc tracking)",
    )


def _leader_ahead(lease: Document | Unknown | None) -> timedelta | None:
    """How far the leader is ahead: what it wrote as the time of its renewal, less when the API server took it.

    Source: Kubernetes documentation, "Server-Side Apply": the time of an entry in managedFields is the server's.
    """
    if isinstance(lease, Unknown | None):
        return None
    taken, renewed = _taken(lease), (lease.get("spec") or {}).get("renewTime")
    return moment(renewed) - taken if renewed and taken else None


def _taken(lease: Document) -> datetime | None:
    """When the API server took the last renewal, by its own clock; None: it does not tell."""
    entries = lease["metadata"].get("managedFields") or ()
    renewals = [entry for entry in entries if "f:renewTime" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})]
    times = [str(entry["time"]) for entry in renewals if "time" in entry]
    return moment(max(times)) if times else None


def permissions(facts: Facts) -> Verdict:
    """The account may do what it needs to."""
    if isinstance(facts.permissions, Unknown):
        return skipped(f"what {facts.account} may do is not known: {facts.permissions.reason}")
    missing = [permission for permission, allowed in facts.permissions.items() if not allowed]
    missing = [permission for permission in missing if permission != FRONT_PROXY]
    if missing:
        return fail(
            f"{facts.account} lacks permissions",
            *_joined(missing),
            fix="apply manifests/base/rbac*.yaml again; each verb there names the file that needs it",
        )
    return ok(f"{facts.account} may do all of the {len(facts.permissions)} things it needs to")


def front_proxy(facts: Facts) -> Verdict:
    """The account may read how the API server's front proxy is known."""
    if isinstance(facts.permissions, Unknown):
        return skipped(f"what {facts.account} may do is not known: {facts.permissions.reason}")
    if not facts.permissions.get(FRONT_PROXY, True):
        return fail(
            "the metrics API cannot know the API server, and no Pod becomes ready",
            f"{facts.account} may not {FRONT_PROXY}",
            fix="an administrator applies RoleBinding kube-system/wakegate-front-proxy-reader, which is part of every "
            "overlay (of namespaced: wakegate-front-proxy-reader-NAMESPACE)",
        )
    return ok("the certificate of the API server's front proxy may be read")


def installer(facts: Facts) -> Verdict:
    """Whoever runs this may install it."""
    if isinstance(facts.permissions, Unknown):
        return skipped(f"what you may do is not known: {facts.permissions.reason}")
    missing = [permission for permission, allowed in facts.permissions.items() if not allowed]
    if missing:
        return fail(
            "you may not make everything that an installation needs",
            *_joined(missing),
            fix="ask an administrator of the cluster, or use the overlay `namespaced`, which needs one namespace only",
        )
    return ok("you may make everything that an installation needs")


def crd(facts: Facts) -> Verdict:
    """ScaleTargets are served, with every field."""
    found = facts.crd
    if isinstance(found, Unknown):
        return skipped(f"CustomResourceDefinition scaletargets.wakegate.dev: {found.reason}")
    if found is None:
        say = warn if facts.settings.watch_namespace else fail  # an installation for one namespace may lack it
        return say(
            "CustomResourceDefinition scaletargets.wakegate.dev is not there",
            "after a restart each workload begins a fresh cooldown, and original counts are forgotten",
            fix="kubectl apply -k manifests/crds",
        )
    served = [item for item in found["spec"]["versions"] if item["name"] == "v1alpha1" and item.get("served")]
    established = _condition(found, "Established")
    if not served or (established or {}).get("status") != "True":
        message = (established or {}).get("message", "") or "version v1alpha1 is not served"
        return fail("ScaleTargets are not served", message, fix="kubectl apply -k manifests/crds")
    schema = served[0].get("schema", {}).get("openAPIV3Schema", {}).get("properties", {})
    lacking = sorted(STATUS_FIELDS - set(schema.get("status", {}).get("properties", {})))
    if lacking:
        return fail(
            "CustomResourceDefinition scaletargets.wakegate.dev is of an older wakegate",
            f"its status lacks {', '.join(lacking)}: the API server drops them without a word",
            fix="kubectl apply -k manifests/crds",
        )
    return ok("CustomResourceDefinition scaletargets.wakegate.dev is served")


def deployment(facts: Facts) -> Verdict:
    """The Deployment is there."""
    found = facts.deployment
    if isinstance(found, Unknown):
        return skipped(f"Deployment {facts.namespace}/wakegate: {found.reason}")
    if found is None:
        return fail(
            f"there is no Deployment of wakegate in namespace {facts.namespace}",
            fix="install it (docs/install.md), or say where it is with --namespace",
        )
    image = found["spec"]["template"]["spec"]["containers"][0].get("image", "")
    return ok(f"Deployment {facts.namespace}/{found['metadata']['name']} of image {image}")


def settings(facts: Facts) -> Verdict:
    """Its settings can be read."""
    if facts.settings.unread:
        return skipped(facts.settings.unread)
    if facts.settings.problem:
        return fail(
            "a setting of the Deployment cannot be used",
            facts.settings.problem,
            fix="correct it in the Deployment or in ConfigMap wakegate (docs/settings.md)",
        )
    return ok("the settings can be read")


def pods(facts: Facts) -> Verdict:
    """As many Pods are ready as are asked for."""
    found = facts.deployment
    if isinstance(found, Unknown | None):
        return skipped("there is no Deployment to look at")
    wanted = found["spec"].get("replicas", 1)
    ready = (found.get("status") or {}).get("readyReplicas", 0)
    if wanted == 0:
        return fail(
            "the Deployment is scaled to zero",
            "nothing wakes, and nothing is put to sleep",
            fix=f"kubectl -n {facts.namespace} scale deployment/{found['metadata']['name']} --replicas=2",
        )
    updated = (found.get("status") or {}).get("updatedReplicas", wanted)
    if ready >= wanted and updated >= wanted:
        return ok(f"{ready} of {wanted} Pods are ready")
    # An upgrade takes no old Pod away before a new one is ready: all are, and yet it may be stuck.
    rollout = f", {updated} of the newest version" if ready >= wanted else ""
    say = warn if ready else fail
    return say(
        f"{ready} of {wanted} Pods are ready{rollout}",
        *_why_not_ready(facts),
        fix=f"kubectl -n {facts.namespace} describe pods -l app.kubernetes.io/name=wakegate",
    )


def _why_not_ready(facts: Facts) -> list[str]:
    causes = []
    if not isinstance(facts.deployment, Unknown | None):
        failure = _condition(facts.deployment, "ReplicaFailure")
        causes += [failure.get("message", "")] if failure and failure.get("status") == "True" else []
    for pod in () if isinstance(facts.pods, Unknown) else facts.pods:
        status = pod.get("status") or {}
        waiting = [item.get("state", {}).get("waiting") for item in status.get("containerStatuses") or ()]
        ready = _condition(pod, "Ready") or {}
        if ready.get("status") != "True":
            told = [f"{item.get('reason', '')} {item.get('message', '')}".strip() for item in waiting if item]
            scheduled = _condition(pod, "PodScheduled") or {}
            message = told[0] if told else scheduled.get("message") or ready.get("message") or status.get("phase", "")
            causes.append(f"Pod {pod['metadata']['name']}: {message}")
    return [cause for cause in causes if cause]


def leader(facts: Facts) -> Verdict:
    """One replica leads."""
    place = "/".join(facts.settings.lease)
    if not facts.settings.leader_election:
        return _without_election(facts)
    lease = facts.lease
    if isinstance(lease, Unknown):
        return skipped(f"Lease {place}: {lease.reason}")
    if why := _why_nobody_leads(lease, facts.now):
        return fail(
            f"nobody leads: Lease {place} {why}",
            "waking works, but nothing is put to sleep and nothing is written",
            fix=f"kubectl -n {facts.namespace} logs deployment/wakegate | grep lease",
        )
    holder = lease["spec"]["holderIdentity"] if lease else ""
    if _is_no_pod_of_ours(facts, holder):
        namespace, name = facts.settings.lease
        return warn(
            f"{holder} leads, which is no Pod of the Deployment",
            "another wakegate runs against this cluster, or somebody has written the Lease",
            fix=f"end it, or delete the Lease: kubectl -n {namespace} delete lease {name}",
        )
    return ok(f"{holder} leads")


def _why_nobody_leads(lease: Document | None, now: datetime) -> str:
    """Say of a Lease why nobody holds it, as the end of a sentence; empty: somebody does."""
    if lease is None:
        return "is not there"
    spec = lease.get("spec") or {}
    if not spec.get("holderIdentity"):
        return "is held by nobody"
    age = now - _renewed(lease)
    if age <= timedelta(seconds=spec.get("leaseDurationSeconds") or 15) + _DATE_PRECISION:
        return ""
    return f"was not renewed for {age.total_seconds():.0f} s by {spec['holderIdentity']}"


def _is_no_pod_of_ours(facts: Facts, holder: str) -> bool:
    """A replica calls itself by its Pod's name and a random part, unless WAKEGATE_IDENTITY says otherwise."""
    if isinstance(facts.pods, Unknown) or not facts.pods or facts.settings.names_itself:
        return False
    return holder.rpartition("_")[0] not in {pod["metadata"]["name"] for pod in facts.pods}


def _without_election(facts: Facts) -> Verdict:
    found = facts.deployment
    replicas = 1 if isinstance(found, Unknown | None) else found["spec"].get("replicas", 1)
    if replicas > 1:
        return fail(
            f"{replicas} replicas and no election: each puts to sleep and writes",
            fix="remove WAKEGATE_LEADER_ELECTION=false, or run a single replica",
        )
    return ok("a single replica, without an election")


def _renewed(lease: Document) -> datetime:
    """When it was renewed, by the API server's clock where it is known."""
    return _taken(lease) or moment(lease["spec"]["renewTime"])


def moment(text: str) -> datetime:
    """Read a timestamp of the API."""
    return datetime.fromisoformat(text)


def _condition(document: Document, kind: str) -> dict[str, Any] | None:
    conditions = (document.get("status") or {}).get("conditions") or ()
    return next((item for item in conditions if item.get("type") == kind), None)


def _joined(permissions: Iterable[Permission]) -> list[str]:
    """One line a resource, with all its verbs."""
    verbs: dict[Permission, list[str]] = defaultdict(list)
    for permission in permissions:
        verbs[permission._replace(verb="")].append(permission.verb)
    return [str(resource._replace(verb=", ".join(named))) for resource, named in verbs.items()]
