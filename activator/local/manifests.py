"""YAML of Deployments and StatefulSets -> what local mode runs of them. Pure: text in, values out.

One process stands for a replica: the container that `kubectl.kubernetes.io/default-container` names, else the first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from activator.core.model import TargetRef
from activator.core.naming import ANNOTATION_PREFIX
from activator.errors import SpecError
from activator.specs.documents import documents, line_of, pairs

if TYPE_CHECKING:
    from collections.abc import Collection

    import yaml

KINDS = ("Deployment", "StatefulSet")
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_DEFAULT_GRACE_SECONDS = 30
_FIELDS = ("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "status.hostIP", "status.podIP")
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


@dataclass(frozen=True, slots=True)
class EnvironmentVariable:
    """One entry of a container's `env`."""

    name: str
    value: str = ""
    """May hold ``$(NAME)``."""
    field: str | None = None
    """A fieldPath of the downward API, which gives the value instead."""


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """What is run as a process."""

    name: str
    command: tuple[str, ...]
    """`command` and `args`; not empty."""
    environment: tuple[EnvironmentVariable, ...] = ()
    working_directory: str | None = None


@dataclass(frozen=True, slots=True)
class ScaledObjectSpec:
    """What a folder says of one ScaledObject."""

    document: Mapping[str, Any]
    place: str
    """``FILE:LINE`` of the document."""
    node: yaml.Node = field(compare=False, repr=False)

    @property
    def key(self) -> tuple[str, str]:
        """Its namespace and name."""
        metadata = self.document["metadata"]
        return str(metadata.get("namespace") or "default"), metadata["name"]

    def __str__(self) -> str:
        return f"{self.place}: ScaledObject {self.document['metadata']['name']}"

    def placed(self, problem: SpecError) -> SpecError:
        """Return a mistake in it with its file and line."""
        file = self.place.rpartition(":")[0]
        name = self.document["metadata"]["name"]
        where = f"{file}:{line_of(self.node, problem.where)}: ScaledObject {name}: {problem.where}"
        return SpecError(where, problem.got, problem.allowed, problem.did_you_mean)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A workload as it is written: read whole only where it is run."""

    ref: TargetRef
    document: Mapping[str, Any]
    place: str
    node: yaml.Node = field(compare=False, repr=False)
    annotated: bool


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """What a folder says of one workload."""

    ref: TargetRef
    annotations: Mapping[str, str]
    """Its ``wakegate.dev/`` annotations as written."""
    replicas: int
    container: ContainerSpec
    grace: timedelta
    place: str
    """``FILE:LINE`` of the document."""
    lines: Mapping[str, int]
    """Line of each of the annotations."""
    driver: ScaledObjectSpec | None = None
    """What says how it is scaled, where no annotations do."""

    @property
    def file(self) -> str:
        """The file that it stands in."""
        return self.place.rpartition(":")[0]


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic that a folder asks for (a KafkaTopic of Strimzi)."""

    name: str
    partitions: int


@dataclass(frozen=True, slots=True)
class Manifests:
    """What one file says."""

    workloads: tuple[WorkloadSpec, ...] = ()
    topics: tuple[TopicSpec, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    """Every workload, annotated or not: a ScaledObject of another file may drive it."""
    scaled_objects: tuple[ScaledObjectSpec, ...] = ()

    @property
    def passed_over(self) -> tuple[str, ...]:
        """Workloads without our annotations, by kind and name: they are not run, unless a ScaledObject drives them."""
        return tuple(f"{each.ref.kind} {each.ref.name}" for each in self.candidates if not each.annotated)


def read(text: str, file: str) -> Manifests:
    """Read a file of any number of documents; kinds that are not for us are passed over.

    Raises:
        SpecError: the first mistake, with file and line.
    """
    workloads: list[WorkloadSpec] = []
    topics: list[TopicSpec] = []
    candidates: list[Candidate] = []
    scaled_objects: list[ScaledObjectSpec] = []
    for node, document in documents(text, file):
        place = f"{file}:{node.start_mark.line + 1}"
        match document:
            case {"kind": "KafkaTopic", "metadata": {"name": str(name)}, **rest}:
                topics.append(_topic(name, rest.get("spec"), place))
            case {"kind": "ScaledObject", "metadata": {"name": str(name)}}:
                scaled_objects.append(ScaledObjectSpec(document, place, node))
            case {"kind": str(kind), "metadata": {"name": str(name), **metadata}} if kind in KINDS:
                where = f"{place}: {kind} {name}: metadata.annotations"
                annotations = _mapping(metadata.get("annotations") or {}, where)
                annotated = any(str(key).startswith(ANNOTATION_PREFIX) for key in annotations)
                ref = TargetRef(str(metadata.get("namespace") or "default"), kind, name)
                candidates.append(Candidate(ref, document, place, node, annotated))
                if annotated:
                    workloads.append(workload_of(candidates[-1]))
            case {"kind": str(kind)} if kind in KINDS:
                raise SpecError(f"{place}: metadata.name", None, "it is required")
            case _:
                continue
    return Manifests(tuple(workloads), tuple(topics), tuple(candidates), tuple(scaled_objects))


def expand(container: ContainerSpec, fields: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return a replica's command and its own environment.

    Args:
        container: as written.
        fields: values of the downward API by fieldPath.

    ``$(NAME)`` is the value of a variable of this `env` that stands before it (in `command` and `args`: anywhere);
    what is not there stays as written, and ``$$`` is a dollar sign (Kubernetes API reference, Container).
    """
    environment: dict[str, str] = {}
    for variable in container.environment:
        known = fields.get(variable.field, "") if variable.field else _resolve(variable.value, environment)
        environment[variable.name] = known
    return tuple(_resolve(word, environment) for word in container.command), environment


def with_bootstrap_servers(spec: WorkloadSpec, servers: str, written: Collection[str] = ()) -> WorkloadSpec:
    """Return a workload that talks to another Kafka: its annotation, and every `env` value that names the one it had.

    Args:
        spec: as written.
        servers: where Kafka is here.
        written: the addresses that its triggers name, besides its annotation.
    """
    key = f"{ANNOTATION_PREFIX}bootstrap-servers"
    replaced = {*written, spec.annotations.get(key, "")} - {""}
    environment = tuple(
        EnvironmentVariable(variable.name, servers) if variable.value in replaced else variable
        for variable in spec.container.environment
    )
    container = spec.container
    return replace(
        spec,
        annotations=spec.annotations if spec.driver else MappingProxyType({**spec.annotations, key: servers}),
        container=ContainerSpec(container.name, container.command, environment, container.working_directory),
    )


# ------------------------------------------------------------------------------------------------------- one document


def _topic(name: str, spec: Any, place: str) -> TopicSpec:
    spec = spec if isinstance(spec, Mapping) else {}
    partitions = spec.get("partitions", 1)
    if not isinstance(partitions, int) or isinstance(partitions, bool) or partitions < 1:
        raise SpecError(f"{place}: spec.partitions", str(partitions), "a whole number, at least 1")
    return TopicSpec(str(spec.get("topicName") or name), partitions)


def workload_of(candidate: Candidate) -> WorkloadSpec:
    """Read a workload that is to be run. Raises SpecError: the first mistake, with file and line."""
    document, node, place = candidate.document, candidate.node, candidate.place
    metadata = document["metadata"]
    kind, name = document["kind"], metadata["name"]
    place_of = f"{place}: {kind} {name}"
    spec = _mapping(document.get("spec"), f"{place_of}: spec")
    template = _mapping(spec.get("template"), f"{place_of}: spec.template")
    pod = _mapping(template.get("spec"), f"{place_of}: spec.template.spec")
    replicas = _count(spec.get("replicas", 1), f"{place_of}: spec.replicas")
    pod_metadata = _mapping(template.get("metadata") or {}, f"{place_of}: spec.template.metadata")
    where = f"{place_of}: spec.template.metadata.annotations"
    pod_annotations = _mapping(pod_metadata.get("annotations") or {}, where)
    grace = pod.get("terminationGracePeriodSeconds", _DEFAULT_GRACE_SECONDS)
    annotations = _mapping(metadata.get("annotations") or {}, f"{place_of}: metadata.annotations")
    ours = {key: value for key, value in annotations.items() if str(key).startswith(ANNOTATION_PREFIX)}
    for key, value in ours.items():
        if not isinstance(value, str):  # the API server refuses it too
            shown = f"metadata.annotations[{key}]"
            raise SpecError(f"{place_of}: {shown}", str(value), f'a string: write "{value}" in quotes')
    return WorkloadSpec(
        ref=candidate.ref,
        annotations=MappingProxyType(ours),
        replicas=replicas,
        container=_container(pod, pod_annotations.get(DEFAULT_CONTAINER), place_of),
        grace=timedelta(seconds=_count(grace, f"{place_of}: spec.template.spec.terminationGracePeriodSeconds")),
        place=place,
        lines=MappingProxyType(_lines_of(node, "metadata", "annotations")),
    )


def _container(pod: Mapping[str, Any], chosen: Any, place_of: str) -> ContainerSpec:
    where = "spec.template.spec.containers"
    containers = pod.get("containers")
    if not isinstance(containers, list) or not containers:
        raise SpecError(f"{place_of}: {where}", None, "a list of at least one container")
    names = [entry.get("name") if isinstance(entry, Mapping) else None for entry in containers]
    named = [index for index, name in enumerate(names) if chosen and name == chosen]
    index = named[0] if named else 0
    where = f"{place_of}: {where}[{index}]"
    entry = _mapping(containers[index], where)
    command = [
        *_words(entry.get("command"), f"{where}.command"),
        *_words(entry.get("args"), f"{where}.args"),
    ]
    if not entry.get("command"):
        hint = "it is required here: local mode starts processes, not images, so it cannot know an image's entrypoint"
        raise SpecError(f"{where}.command", None, hint)
    if entry.get("envFrom"):
        raise SpecError(f"{where}.envFrom", None, "not read by local mode: write the values below env")
    environment = entry.get("env") or []
    if not isinstance(environment, list):
        raise SpecError(f"{where}.env", None, "a list of variables")
    directory = entry.get("workingDir")
    if directory is not None and not isinstance(directory, str):
        raise SpecError(f"{where}.workingDir", str(directory), "a string")
    return ContainerSpec(
        name=str(entry.get("name") or ""),
        command=tuple(command),
        environment=tuple(_variable(variable, f"{where}.env[{at}]") for at, variable in enumerate(environment)),
        working_directory=directory,
    )


def _variable(entry: Any, where: str) -> EnvironmentVariable:
    match entry:
        case {"name": str(name), "valueFrom": {"fieldRef": {"fieldPath": str(field)}}}:
            if field not in _FIELDS:
                raise SpecError(f"{where}.valueFrom.fieldRef.fieldPath", field, ", ".join(_FIELDS))
            return EnvironmentVariable(name, field=field)
        case {"name": str(), "valueFrom": dict(source)}:
            shown = ", ".join(source)
            raise SpecError(f"{where}.valueFrom", shown, "fieldRef in local mode; write the value itself as `value`")
        case {"name": str(name), **rest}:
            value = "" if rest.get("value") is None else rest["value"]
            if not isinstance(value, str):
                shown = str(value).lower() if isinstance(value, bool) else str(value)
                raise SpecError(f"{where}.value", shown, f'a string: write "{shown}" in quotes')
            return EnvironmentVariable(name, value)
    raise SpecError(where, None, "a mapping with a name and a value")


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SpecError(where, None if value is None else str(value), "a mapping")
    return value


def _words(value: Any, where: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise SpecError(where, str(value), "a list of strings")
    return value


def _count(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise SpecError(where, str(value), "a whole number, at least 0")
    return value


def _lines_of(node: yaml.Node, *path: str) -> dict[str, int]:
    """Return the line of each key of the mapping below a path of keys."""
    for step in path:
        below = [value for key, value in pairs(node) if key.value == step]
        if not below:
            return {}
        node = below[0]
    return {str(key.value): key.start_mark.line + 1 for key, _ in pairs(node)}


def _resolve(text: str, known: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        name = found[1]
        return "$" if name is None else known.get(name, found[0])

    return _REFERENCE.sub(value, text)
