"""Everything that a check may look at. Where something could not be found out, the fact is `Unknown`, never absent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from activator.core.model import Handover

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

Document = dict[str, Any]
"""A Kubernetes object as parsed JSON."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something that could not be found out, and why, in one clause."""

    reason: str


class Permission(NamedTuple):
    """One thing that an account may or may not do at the API server."""

    group: str
    resource: str
    """With its subresource: ``deployments/scale``."""
    verb: str
    namespace: str = ""
    """Empty: in all of them, or the resource has none."""
    name: str = ""
    """The one object; empty: any."""

    def __str__(self) -> str:
        group = f".{self.group}" if self.group else ""
        where = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{group}{f' {self.name}' if self.name else ''}{where}"


@dataclass(frozen=True, slots=True)
class InstalledSettings:
    """What the checks need of the settings that the installed Deployment has."""

    handoff: Handover = Handover.AUTO
    metrics_api_service: tuple[str, str] = ("wakegate-system", "wakegate-metrics")
    lease: tuple[str, str] = ("wakegate-system", "wakegate")
    leader_election: bool = True
    watch_namespace: tuple[str, ...] = ()
    shared_certificate: str = ""
    """Name of the Secret through which all replicas share a certificate that they make."""
    names_itself: bool = False
    """WAKEGATE_IDENTITY is set."""
    problem: str = ""
    """Why they cannot be read as they are written; the rest is defaults then."""
    unread: str = ""
    """Why not all of them could be looked at; what was not is defaults then."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the metrics API shows, where it comes from a Secret or files."""

    source: str
    """Where it was found, such as ``Secret wakegate-system/wakegate-metrics-tls``."""
    problem: str = ""
    """Why certificate and key cannot be used together; empty: they can."""
    names: tuple[str, ...] = ()
    """Subject alternative names."""
    expires: datetime | None = None


@dataclass(frozen=True, slots=True)
class BrokerReach:
    """A broker at the address that the cluster itself names, which is the one that clients go on with."""

    address: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """What we may do to a topic or a consumer group as the principal that we are to Kafka."""

    exists: bool | None
    """None: not told, because we may not describe it."""
    describe: bool = True
    read: bool | None = None
    """None: the broker does not tell."""
    consumed: frozenset[str] | None = None
    """Topics that the members of a consumer group are subscribed to or assigned; None: not known just now."""


@dataclass(frozen=True, slots=True)
class KafkaCluster:
    """One Kafka cluster as it was seen from where the doctor runs."""

    bootstrap_servers: str
    credential: str = ""
    """Key of the credentials that it was shown, as in `core.model.Cluster`; empty: the operator's own, or none."""
    problem: str = ""
    """Why nobody was reached; empty: somebody was."""
    denied: bool = False
    """Somebody was reached and refused our credentials."""
    brokers: tuple[BrokerReach, ...] = ()
    topics: Mapping[str, Access] = field(default_factory=dict)
    groups: Mapping[str, Access] = field(default_factory=dict)
    topic_names: tuple[str, ...] = ()
    """Of all topics that we may describe."""
    group_names: tuple[str, ...] = ()
    """Of all groups that we may describe."""


class TopicOfTarget(NamedTuple):
    """A trigger of a target."""

    bootstrap_servers: str
    topic: str
    group: str
    credential: str = ""


class FieldOwner(NamedTuple):
    """Who is known to the API server as an owner of spec.replicas (metadata.managedFields)."""

    manager: str
    operation: str
    """``Apply`` or ``Update``."""


@dataclass(frozen=True, slots=True)
class Target:
    """An annotated workload."""

    name: str
    """Kind and namespace/name."""
    triggers: tuple[TopicOfTarget, ...] = ()
    problems: tuple[str, ...] = ()
    """Every mistake in its annotations."""
    guards_offsets: bool = True
    rivals: tuple[str, ...] = ()
    """Other autoscalers that drive it, by kind and name."""
    replicas_owners: tuple[FieldOwner, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """An installation, or what there is before one."""

    server: str
    unreachable: str = ""
    """Why the API server does not answer; empty: it does."""
    version: tuple[int, int] | Unknown
    """Major and minor version of the API server."""
    now: datetime
    """The API server's time where it is known, else ours."""
    ahead: timedelta | Unknown
    """How far the clock of this machine is ahead of the API server's; negative: behind."""
    namespace: str
    account: str
    """User name of the ServiceAccount at the API server."""
    settings: InstalledSettings
    permissions: Mapping[Permission, bool] | Unknown
    """What the account may do, of what it needs; before an installation, what the installer may do."""
    crd: Document | Unknown | None
    deployment: Document | Unknown | None
    pods: tuple[Document, ...] | Unknown
    lease: Document | Unknown | None
    api_service: Document | Unknown | None
    service: Document | Unknown | None
    """The Service that the APIService is to lead to."""
    certificate: Certificate | Unknown | None
    """None: each replica makes its own."""
    credential_problems: tuple[str, ...] = ()
    """Why Kafka credentials cannot be used: which key of which Secret, and what is wrong with it; never its value."""
    clusters: tuple[KafkaCluster, ...]
    """Those whose credentials could be used."""
    targets: tuple[Target, ...] | Unknown
