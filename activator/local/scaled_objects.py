"""ScaledObjects of a folder joined with the workloads that they drive, wherever in the folder those stand. Pure."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from activator.errors import SpecError
from activator.local.manifests import KINDS, workload_of
from activator.specs.keda.scaled_object import pack, target_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from activator.core.model import TargetRef
    from activator.local.manifests import Manifests, ScaledObjectSpec, WorkloadSpec


class Driven(NamedTuple):
    """What came of the ScaledObjects of a folder."""

    workloads: tuple[WorkloadSpec, ...]
    """With the ScaledObject in the place of annotations."""
    not_followed: tuple[str, ...]
    """One sentence for each that drives nothing here, with its place."""
    problems: tuple[tuple[ScaledObjectSpec, SpecError], ...]
    """Each with the ScaledObject that it keeps from its workload."""


def driven(files: Collection[Manifests]) -> Driven:
    """Give each ScaledObject its workload; of several that name the same the first counts, as in a cluster."""
    candidates = {candidate.ref: candidate for said in files for candidate in said.candidates}
    found: dict[TargetRef, WorkloadSpec] = {}
    sentences: list[str] = []
    problems: list[tuple[ScaledObjectSpec, SpecError]] = []
    for scaled_object in (each for said in files for each in said.scaled_objects):
        ref = target_of(scaled_object.document)
        if ref is None:
            missing = SpecError(f"{scaled_object}: spec.scaleTargetRef.name", None, "it is required")
            problems.append((scaled_object, missing))
        elif ref.kind not in KINDS:
            kinds = " and ".join(f"{kind}s" for kind in KINDS)
            sentences.append(f"{scaled_object} is not followed here: local mode runs {kinds}, not {ref}")
        elif ref not in candidates:
            sentences.append(f"{scaled_object} is not followed here: {ref} is not in the folder")
        elif ref in found:
            sentences.append(f"{scaled_object} is not followed: {found[ref].driver} drives {ref} already")
        else:
            try:
                spec = workload_of(candidates[ref])
            except SpecError as error:
                problems.append((scaled_object, error))
            else:
                found[ref] = _with(spec, scaled_object, candidates[ref].document)
    return Driven(tuple(found.values()), tuple(sentences), tuple(problems))


def _with(spec: WorkloadSpec, scaled_object: ScaledObjectSpec, workload: Mapping[str, Any]) -> WorkloadSpec:
    packed = pack(scaled_object.document, workload)
    return replace(spec, annotations=MappingProxyType(packed), driver=scaled_object)
