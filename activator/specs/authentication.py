"""Where a trigger's authentication comes from, and what of it is to be read: pure, whoever reads it.

A source is one of three objects. Its key stands in `Cluster.credential`, so that triggers with the same source share
connections, and the key says where to look and nothing of what is there. A TriggerAuthentication whose parameters come
from a container's environment (`env`) says something else of each target: there the key names the target as well.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from activator.core.model import TargetRef
from activator.errors import SpecError
from activator.specs.credentials import KafkaCredentials, read_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from activator.core.model import Cluster, Policy

SECRET = "Secret"  # noqa: S105 - a kind
CONFIG_MAP = "ConfigMap"
FILE = "File"
"""That the operator has mounted: of a ClusterTriggerAuthentication alone, read whole."""
SERVICE_ACCOUNT = "ServiceAccount"
"""Whose token is asked for (TokenRequest), under `TOKEN_KEY`."""
TOKEN_KEY = "token"  # noqa: S105 - a key
TRIGGER_AUTHENTICATION = "TriggerAuthentication"
CLUSTER_TRIGGER_AUTHENTICATION = "ClusterTriggerAuthentication"
TRIGGER = "Trigger"
"""Of a ScaledObject that names no TriggerAuthentication: what its trigger's metadata says is all there is."""

FROM_TRIGGER = ("sasl", "tls", "unsafeSsl", "saslTokenProvider")
"""What a ScaledObject's trigger may say itself, in its metadata."""

_SOURCES = (
    ("configMapTargetRef", CONFIG_MAP, ("parameter", "name", "key")),
    ("secretTargetRef", SECRET, ("parameter", "name", "key")),
    ("boundServiceAccountToken", SERVICE_ACCOUNT, ("parameter", "serviceAccountName")),
)
"""In KEDA's order of resolution, after `env`: what comes later wins. Field, kind of object, what an entry must say."""
ENVIRONMENT = "env"
_OF_TARGET = "of"
"""In a key, in front of the target whose environment parameters come from."""
_UNSUPPORTED = {
    "oauth2": "use the parameters sasl: oauthbearer, username, password, scopes and oauthTokenEndpointUri",
    "hashiCorpVault": "have its values synchronised into a Secret",
    "azureKeyVault": "have its values synchronised into a Secret",
    "gcpSecretManager": "have its values synchronised into a Secret",
    "awsSecretManager": "have its values synchronised into a Secret",
}


class Reference(NamedTuple):
    """An object whose data is read."""

    kind: str
    """SECRET, CONFIG_MAP, SERVICE_ACCOUNT or FILE."""
    namespace: str
    """Empty for FILE."""
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class AuthenticationSource:
    """Which object says how to log in, and what the trigger itself says of it."""

    kind: str
    """SECRET, TRIGGER_AUTHENTICATION, CLUSTER_TRIGGER_AUTHENTICATION or TRIGGER."""
    namespace: str
    """Of the target: its TriggerAuthentication and Secrets stand there."""
    name: str
    """Empty for TRIGGER."""
    metadata: tuple[tuple[str, str], ...] = ()
    """Those of `FROM_TRIGGER` that the trigger gives, by name, ordered. They win over what the object gives."""
    target: TargetRef | None = None
    """In whose environment parameters are looked up; None: it does not matter, or nobody has asked yet."""
    container: str = ""
    """Whose environment it is where the object does not say; empty: the first."""

    def key(self) -> str:
        """Return what stands in `Cluster.credential`."""
        ref = self.target
        of = f"{_OF_TARGET} {ref.api_version}/{ref.kind}/{ref.name}/{self.container}" if ref is not None else ""
        said = json.dumps(dict(self.metadata), sort_keys=True) if self.metadata else ""
        return " ".join(filter(None, (self._place(), of, said)))

    @classmethod
    def of_key(cls, key: str) -> Self:
        """Return the source that a key stands for. Raises ValueError: it is none of ours."""
        kind, place, said = (*key.split(" ", 2), "")[:3]
        namespace, separator, name = place.partition("/")
        if not separator:
            raise ValueError(key)
        target, container = None, ""
        if said.startswith(f"{_OF_TARGET} "):
            of, _, said = said.removeprefix(f"{_OF_TARGET} ").partition(" ")
            version, of_kind, of_name, container = of.rsplit("/", 3)
            target = TargetRef(namespace, of_kind, of_name, version)
        return cls(kind, namespace, name, tuple(sorted(json.loads(said or "{}").items())), target, container)

    def __str__(self) -> str:
        if self.kind == TRIGGER:
            return "the trigger"
        return self._place() if self.target is None else f"{self._place()} of {self.target.kind} {self.target.name}"

    def _place(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter and where it is to be had."""

    name: str
    reference: Reference
    key: str

    def __str__(self) -> str:
        return f"{self.reference}, key {self.key}"


class Variable(NamedTuple):
    """One parameter and the variable of the target's container that holds it."""

    parameter: str
    name: str
    container: str
    """Empty: the source's."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be read for one source."""

    parameters: tuple[Parameter, ...] = ()
    variables: tuple[Variable, ...] = ()
    whole: Reference | None = None
    """A Secret or file all of whose keys are parameters."""
    problems: tuple[SpecError, ...] = field(default=())

    def references(self) -> tuple[Reference, ...]:
        """Return each object that is to be read, once, in order."""
        wanted = [parameter.reference for parameter in self.parameters]
        return tuple(dict.fromkeys([*([self.whole] if self.whole else []), *wanted]))


def plan_without_document(source: AuthenticationSource) -> Plan | None:
    """Return what is to be read for a source that no other object describes; None: one does.

    A Secret that is named itself is read whole, and a trigger that says everything itself needs nothing.
    """
    if source.kind == SECRET:
        return Plan(whole=Reference(SECRET, source.namespace, source.name))
    return Plan() if source.kind == TRIGGER else None


def plan_for_trigger_authentication(source: AuthenticationSource, document: Mapping[str, Any], namespace: str) -> Plan:
    """Read a TriggerAuthentication or ClusterTriggerAuthentication.

    Args:
        source: which one.
        document: the object.
        namespace: where its Secrets are: its own, or for a ClusterTriggerAuthentication the operator's.
    """
    spec = document.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    if spec.get("filePath"):
        return _plan_for_file(source, spec)
    problems = [
        SpecError(f"{source}, spec.{name}", None, f"it is not supported; {instead}")
        for name, instead in _UNSUPPORTED.items()
        if spec.get(name)
    ]
    pod_identity = spec.get("podIdentity")
    if isinstance(pod_identity, dict) and pod_identity.get("provider", "none") != "none":
        problems.append(SpecError(f"{source}, spec.podIdentity", None, "it is not supported; allowed: provider none"))
    variables = {
        str(entry["parameter"]): Variable(
            str(entry["parameter"]), str(entry["name"]), str(entry.get("containerName") or "")
        )
        for entry in _complete_entries(source, spec, ENVIRONMENT, ("parameter", "name"), problems)
    }
    parameters: dict[str, Parameter] = {}
    for field_name, kind, needed in _SOURCES:
        for entry in _complete_entries(source, spec, field_name, needed, problems):
            name, of, *key = (str(entry[name]) for name in needed)
            parameters[name] = Parameter(name, Reference(kind, namespace, of), *(key or [TOKEN_KEY]))
    if not parameters and not variables and not problems:
        allowed = ", ".join([ENVIRONMENT, *(name for name, _, _ in _SOURCES)])
        problems.append(SpecError(str(source), None, f"it names no parameters; allowed: {allowed}"))
    looked_up = tuple(variable for name, variable in variables.items() if name not in parameters)
    return Plan(tuple(parameters.values()), looked_up, problems=tuple(problems))


def _plan_for_file(source: AuthenticationSource, spec: Mapping[str, Any]) -> Plan:
    where = f"{source}, spec.filePath"
    others = [name for name, value in spec.items() if value and name != "filePath"]
    if source.kind != CLUSTER_TRIGGER_AUTHENTICATION:
        # Whoever may write one in a namespace would read every file that the operator has mounted for others.
        what = "only in a ClusterTriggerAuthentication; name the Secret in secretTargetRef"
        return Plan(problems=(SpecError(where, None, what),))
    if others:
        return Plan(problems=(SpecError(where, None, f"only alone, without {', '.join(others)}"),))
    return Plan(whole=Reference(FILE, "", str(spec["filePath"])))


def _complete_entries(
    source: AuthenticationSource,
    spec: Mapping[str, Any],
    field_name: str,
    needed: tuple[str, ...],
    problems: list[SpecError],
) -> Iterator[Mapping[str, Any]]:
    """Yield the entries that say all they must; the others are problems."""
    listed = spec.get(field_name)
    for index, found in enumerate(listed if isinstance(listed, list) else ()):
        entry = found if isinstance(found, dict) else {}
        missing = [name for name in needed if not entry.get(name)]
        if missing:
            where = f"{source}, spec.{field_name}[{index}]"
            problems.append(SpecError(where, None, f"{' and '.join(missing)} is missing"))
        else:
            yield entry


class Given(NamedTuple):
    """What the environment of a target's container gives, by parameter."""

    values: Mapping[str, str]
    places: Mapping[str, str]
    problems: tuple[SpecError, ...] = ()


NOTHING_GIVEN = Given({}, {})


class Resolution(NamedTuple):
    """What came of a plan: credentials and no problems, or None and every problem there is."""

    credentials: KafkaCredentials | None
    problems: tuple[SpecError, ...]
    place: Callable[[str], str]
    """Where a parameter stands, for what is found wrong with it later."""


def resolve(
    source: AuthenticationSource,
    plan: Plan,
    data: Mapping[Reference, Mapping[str, str] | None],
    given: Given = NOTHING_GIVEN,
) -> Resolution:
    """Join what was read into credentials.

    Args:
        source: whose.
        plan: what was to be read.
        data: of each of the plan's references what is in it; None: there is no such object.
        given: what its variables hold.
    """
    problems = [*plan.problems, *given.problems]
    problems += [
        SpecError(str(reference), None, f"it does not exist; {_named_by(source, reference)}")
        for reference in plan.references()
        if data[reference] is None
    ]
    values = dict(data[plan.whole] or {}) if plan.whole is not None else dict(given.values)
    places = dict(given.places)
    for parameter in plan.parameters:
        there = data[parameter.reference]
        if there is None:
            continue
        if parameter.key not in there:
            what = f"there is no such key; {source} takes the parameter {parameter.name} from it"
            problems.append(SpecError(str(parameter), None, what))
            continue
        values[parameter.name] = there[parameter.key]
        places[parameter.name] = str(parameter)

    def place(name: str) -> str:
        if name in places:
            return places[name]
        return f"{source}, parameter {name}" if plan.whole is None else f"{plan.whole}, key {name}"

    if problems:
        return Resolution(None, tuple(problems), place)
    return Resolution(*read_credentials({**values, **dict(source.metadata)}, place), place)


def may_take_variables(key: str) -> bool:
    """Tell whether what a key stands for may be another for each target, whatever its object says."""
    return key.startswith((f"{TRIGGER_AUTHENTICATION} ", f"{CLUSTER_TRIGGER_AUTHENTICATION} "))


def for_target(policy: Policy, ref: TargetRef, container: str, takes_variables: Callable[[str], bool]) -> Policy:
    """Return a target's policy, the target named in the key of each source that takes variables of its environment.

    Two targets that name the same one may so log in as different users, and all others go on sharing connections.

    Args:
        policy: as it was read from what the user wrote.
        ref: whose.
        container: whose environment it is where the source does not say; empty: the first.
        takes_variables: by key, as far as is known.
    """

    def key_for(key: str) -> str:
        if not takes_variables(key):
            return key
        return replace(AuthenticationSource.of_key(key), target=ref, container=container).key()

    def cluster_for(cluster: Cluster) -> Cluster:
        return replace(cluster, credential=key_for(cluster.credential)) if cluster.credential else cluster

    triggers = tuple(replace(trigger, cluster=cluster_for(trigger.cluster)) for trigger in policy.triggers)
    return policy if triggers == policy.triggers else replace(policy, triggers=triggers)


def refusal(cluster: Cluster, trusted_servers: frozenset[str]) -> SpecError | None:
    """Say why a cluster may not be shown the credentials that its trigger names; None: it may.

    Who writes a trigger chooses the address. What their own namespace supplies is theirs to send anywhere; a
    ClusterTriggerAuthentication is the operator's, and would be told to any address that somebody writes down.

    Args:
        cluster: address and credentials.
        trusted_servers: HOST:PORT that the operator has named, as default or as allowed.
    """
    if not cluster.credential.startswith(f"{CLUSTER_TRIGGER_AUTHENTICATION} "):
        return None
    strange = [server for server in cluster.bootstrap_servers.split(",") if server not in trusted_servers]
    if not strange:
        return None
    allowed = ", ".join(sorted(trusted_servers)) or "none, because the operator names no bootstrap servers"
    source = AuthenticationSource.of_key(cluster.credential)
    return SpecError(
        f"bootstrap servers for {source.kind} {source.name}",
        ",".join(strange),
        f"those that the operator names: {allowed}",
    )


def _named_by(source: AuthenticationSource, reference: Reference) -> str:
    return "make it, with KEDA's parameter names as keys" if str(source) == str(reference) else f"{source} names it"
