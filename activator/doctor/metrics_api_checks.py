"""external.metrics.k8s.io: whose it is, and whether the API server reaches us."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from activator.core.model import Handover
from activator.doctor.facts import Unknown
from activator.doctor.needs import API_SERVICE_NAME
from activator.doctor.verdict import Verdict, fail, ok, skipped, warn

if TYPE_CHECKING:
    from activator.doctor.facts import Certificate, Document, Facts

EXPIRY_WARNED = timedelta(days=14)

_TRUST = re.compile(r"x509|certificate|tls: ")
_CLOSED = re.compile(r"connection refused|no route to host|no such host|i/o timeout|deadline exceeded|Client\.Timeout")
_REFUSED = re.compile(r"\b(401|403)\b|[Uu]nauthorized|[Ff]orbidden")


def owner(facts: Facts) -> Verdict:
    """Whose it is, and who moves 1..N for that reason."""
    found, handoff = facts.api_service, facts.settings.handoff
    ours = "/".join(facts.settings.metrics_api_service)
    if isinstance(found, Unknown):
        return skipped(f"APIService {API_SERVICE_NAME}: {found.reason}")
    if leads_to_us(facts):
        mover = (
            "wakegate itself moves 1..N, as WAKEGATE_HANDOFF says" if handoff is Handover.DIRECT else "HPAs move 1..N"
        )
        return ok(f"external.metrics.k8s.io leads to Service {ours}: {mover}")
    whose = "nobody" if found is None else _named(found)
    if handoff is Handover.HPA:
        return fail(
            f"WAKEGATE_HANDOFF=hpa, but external.metrics.k8s.io is served by {whose} and not by Service {ours}",
            "HPAs that wakegate makes are served by somebody else, or by nobody",
            fix="set WAKEGATE_HANDOFF=auto: then wakegate itself moves 1..N",
        )
    if found is None and handoff is Handover.AUTO and isinstance(facts.service, dict):
        return warn(
            f"nobody serves external.metrics.k8s.io, and Service {ours} is there for it",
            "wakegate itself moves 1..N meanwhile",
            fix="kubectl apply -k manifests/overlays/kubernetes, or set WAKEGATE_HANDOFF=direct",
        )
    why = "nobody serves external.metrics.k8s.io" if found is None else f"external.metrics.k8s.io belongs to {whose}"
    return ok(f"{why}, which is left alone: wakegate itself moves 1..N")


def owner_before(facts: Facts) -> Verdict:
    """Which overlay fits."""
    if isinstance(facts.api_service, Unknown):
        return skipped(f"APIService {API_SERVICE_NAME}: {facts.api_service.reason}")
    if facts.api_service is None:
        return ok("nobody serves external.metrics.k8s.io: use the overlay `kubernetes` (or `openshift`)")
    if leads_to_us(facts):
        return ok("external.metrics.k8s.io leads to wakegate already: keep the overlay that you have")
    return ok(f"external.metrics.k8s.io belongs to {_named(facts.api_service)}: use the overlay `beside`")


def service(facts: Facts) -> Verdict:
    """The Service that the APIService names is there and has somebody behind it."""
    return _when_ours(facts, "Service", f"Service {'/'.join(facts.settings.metrics_api_service)} has a Pod behind it")


def trust(facts: Facts) -> Verdict:
    """The API server trusts our certificate."""
    return _when_ours(facts, "trust", "the API server takes our certificate")


def reachable(facts: Facts) -> Verdict:
    """The control plane reaches our port and is known there."""
    return _when_ours(facts, "port", "the control plane reaches the metrics API")


def _when_ours(facts: Facts, aspect: str, well: str) -> Verdict:
    found = facts.api_service
    if isinstance(found, Unknown):
        return skipped(f"APIService {API_SERVICE_NAME}: {found.reason}")
    if found is None or not leads_to_us(facts):
        return skipped("external.metrics.k8s.io does not lead to wakegate")
    condition = _available(found)
    if condition.get("status") == "True":
        return ok(well)
    message = f"{condition.get('reason', 'no condition yet')}: {condition.get('message', '')}"
    problem_aspect, verdict = _diagnosis(facts, condition.get("reason", ""), message)
    return verdict if problem_aspect == aspect else skipped(f"see {problem_aspect!r} above or below")


def _diagnosis(facts: Facts, reason: str, message: str) -> tuple[str, Verdict]:
    """Tell which of the checks it is that an APIService that is not Available fails.

    Source: kube-aggregator, the reasons and messages of its availability controller.
    """
    place = "/".join(facts.settings.metrics_api_service)
    if reason not in {"", "FailedDiscoveryCheck"}:
        return "Service", fail(
            f"Service {place} leads to nobody",
            message,
            fix=f"kubectl -n {facts.namespace} get service,endpointslices; apply the overlay again if it is missing",
        )
    if _TRUST.search(message):
        return "trust", fail(
            "the API server does not trust our certificate",
            message,
            fix="see whose certificate it is that answers there, and put its CA into spec.caBundle of the APIService "
            "(with WAKEGATE_METRICS_API_SHARED_CERTIFICATE the leader does it itself; OpenShift: inject-cabundle)",
        )
    if _REFUSED.search(message):
        return "port", fail(
            "the metrics API refuses the API server",
            message,
            fix="see that RoleBinding kube-system/wakegate-front-proxy-reader (of overlay namespaced: "
            "wakegate-front-proxy-reader-NAMESPACE) is there and that kube-apiserver has --proxy-client-cert-file",
        )
    cause = "the port is closed to the control plane" if _CLOSED.search(message) else "it gives no good answer"
    return "port", fail(
        f"the control plane does not get through to the metrics API: {cause}",
        message,
        fix="open TCP 6443 of the Pods to the control plane (firewall of private clusters, NetworkPolicy), see that "
        "WAKEGATE_METRICS_API_LISTEN and the Service's target port agree",
    )


def certificate(facts: Facts) -> Verdict:
    """A certificate from a Secret can be used, is for the Service, and does not expire soon."""
    found = facts.certificate
    if found is None:
        shared = facts.settings.shared_certificate
        return ok(f"the leader makes one for all replicas, Secret {shared}" if shared else "each replica makes its own")
    if isinstance(found, Unknown):
        return skipped(f"the certificate of the metrics API: {found.reason}")
    fix = "give tls.crt and tls.key as PEM, unencrypted, the certificate first and then its chain"
    if found.problem:
        return fail(f"{found.source} cannot be used", found.problem, fix=fix)
    return _of_whom_and_until(facts, found)


def _of_whom_and_until(facts: Facts, found: Certificate) -> Verdict:
    namespace, name = facts.settings.metrics_api_service
    wanted = f"{name}.{namespace}.svc"
    if not any(_is_for(pattern, wanted) for pattern in found.names):
        return fail(
            f"{found.source} is not for {wanted}",
            f"it is for {', '.join(found.names) or 'no name'}",
            fix=f"issue one with the DNS name {wanted}",
        )
    if found.expires is not None and found.expires - facts.now < EXPIRY_WARNED:
        gone = found.expires <= facts.now
        say = fail if gone else warn
        return say(
            f"{found.source} {'has expired' if gone else 'expires soon'}",
            f"on {found.expires:%Y-%m-%d}",
            fix="renew it; it is taken up without a restart",
        )
    return ok(f"{found.source} is good until {found.expires:%Y-%m-%d}" if found.expires else f"{found.source} is good")


def _is_for(pattern: str, name: str) -> bool:
    """Whether the API server takes a certificate's name for this one.

    Source: Go, crypto/x509, matchHostnames: in any case, and a wildcard stands for the whole left-most label alone.
    """
    _, _, parent = name.partition(".")
    return pattern.lower() in {name.lower(), f"*.{parent}".lower()}


def leads_to_us(facts: Facts) -> bool:
    """Whether the APIService refers to our Service."""
    if isinstance(facts.api_service, Unknown | None):
        return False
    service = facts.api_service.get("spec", {}).get("service") or {}
    return (service.get("namespace"), service.get("name")) == facts.settings.metrics_api_service


def _named(api_service: Document) -> str:
    service = api_service.get("spec", {}).get("service") or {}
    return f"Service {service.get('namespace')}/{service.get('name')}" if service else "the API server itself"


def _available(api_service: Document) -> dict[str, Any]:
    conditions = (api_service.get("status") or {}).get("conditions") or ()
    return next((item for item in conditions if item.get("type") == "Available"), {})
