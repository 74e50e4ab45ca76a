"""Files of YAML -> every mistake in the annotated workloads and ScaledObjects in them, each with its line. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from activator.core.naming import ANNOTATION_PREFIX
from activator.errors import SpecError
from activator.specs.annotations import parse
from activator.specs.documents import documents, line_of
from activator.specs.keda.environment import environment_of
from activator.specs.keda.scaled_object import container_of, read_scaled_object, variables_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import yaml

    from activator.specs.defaults import AnnotationDefaults

WORKLOADS = ("Deployment", "StatefulSet")
SCALED_OBJECT = "ScaledObject"


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake and where it is."""

    file: str
    line: int
    object: str
    """Kind and name of what it is in; empty: the file itself."""
    problem: SpecError

    def __str__(self) -> str:
        within = f"{self.object}: " if self.object else ""
        return f"{self.file}:{self.line}: {within}{self.problem}"


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found in some files."""

    objects: tuple[str, ...]
    """Kind and name of everything that is for us."""
    mistakes: tuple[Mistake, ...]


_Placed = tuple[str, "yaml.Node", "Mapping[str, Any]"]


def check(files: Mapping[str, str], defaults: AnnotationDefaults) -> Checked:
    """Check the texts of some files, by name.

    A ScaledObject may read parameters from its target's environment: they are checked where the target is in one of
    the files, too.
    """
    placed: list[_Placed] = []
    mistakes: list[Mistake] = []
    for file, text in files.items():
        try:
            placed += [(file, node, found) for node, found in documents(text, file) if isinstance(found, dict)]
        except SpecError as error:
            name, _, line = error.where.rpartition(":")
            at = int(line) if name and line.isdecimal() else 1
            mistakes.append(Mistake(file, at, "", replace_where(error, "YAML")))
    environments = {_key(found.get("kind"), found): found for _, _, found in placed if found.get("kind") in WORKLOADS}
    objects: list[str] = []
    for file, node, found in placed:
        problems = _problems(found, environments, defaults)
        if problems is None:
            continue
        name = f"{found['kind']} {(found.get('metadata') or {}).get('name', '')}".strip()
        objects.append(name)
        mistakes += [Mistake(file, line_of(node, _path(problem.where)), name, problem) for problem in problems]
    return Checked(tuple(objects), tuple(mistakes))


def replace_where(error: SpecError, where: str) -> SpecError:
    """Return the same mistake at another place."""
    return SpecError(where, error.got, error.allowed, error.did_you_mean)


def _problems(
    found: Mapping[str, Any],
    workloads: Mapping[tuple[Any, ...], Mapping[str, Any]],
    defaults: AnnotationDefaults,
) -> tuple[SpecError, ...] | None:
    """Return what is wrong with a document; None: it is not for us."""
    kind, metadata = found.get("kind"), found.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    if kind == SCALED_OBJECT:
        return _of_scaled_object(found, workloads, defaults)
    if kind not in WORKLOADS:
        return None
    annotations = metadata.get("annotations")
    ours = {
        key: value
        for key, value in (annotations if isinstance(annotations, dict) else {}).items()
        if str(key).startswith(ANNOTATION_PREFIX)
    }
    if not ours:
        return None
    unquoted = [
        SpecError(key, str(value).lower(), f'a string: write "{str(value).lower()}" in quotes')
        for key, value in ours.items()
        if not isinstance(value, str)
    ]
    if unquoted:
        return tuple(unquoted)
    _, problems = parse(ours, defaults, str(metadata.get("namespace") or "default"))
    return problems


def _of_scaled_object(
    found: Mapping[str, Any],
    workloads: Mapping[tuple[Any, ...], Mapping[str, Any]],
    defaults: AnnotationDefaults,
) -> tuple[SpecError, ...]:
    spec = found.get("spec")
    if not isinstance(spec, dict):
        return (SpecError("spec", None, "it is required"),)
    target = spec.get("scaleTargetRef")
    target = target if isinstance(target, dict) else {}
    workload = workloads.get(_key(target.get("kind") or "Deployment", found, target.get("name")))
    environment = environment_of(workload or {}, container_of(found), wanted=variables_of(found))
    _, problems = read_scaled_object(found, environment, defaults)
    # Without the workload nobody can tell which variables there are, nor with it what comes from a Secret.
    return tuple(
        problem
        for problem in problems
        if not problem.where.endswith("FromEnv") or (workload is not None and problem.got is not None)
    )


def _key(kind: Any, found: Mapping[str, Any], name: Any = None) -> tuple[Any, ...]:
    metadata = found.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    return kind, metadata.get("namespace") or "default", name or metadata.get("name")


def _path(where: str) -> str:
    """Return the path of a mistake in its document: that of an annotation begins with its key."""
    if not where.startswith(ANNOTATION_PREFIX):
        return where
    key = where.removeprefix(ANNOTATION_PREFIX).partition(".")[0].partition("[")[0]
    return f"metadata.annotations[{ANNOTATION_PREFIX}{key}]"
