"""The annotated workloads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.core.naming import FIELD_MANAGER
from activator.doctor.facts import Unknown
from activator.doctor.verdict import Verdict, fail, ok, skipped, warn

if TYPE_CHECKING:
    from activator.doctor.facts import Facts, FieldOwner

GITOPS = {
    "argocd-controller": "Argo CD",
    "argocd-application-controller": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
    "fleetagent": "Fleet",
    "fleet-agent": "Fleet",
    "kapp-server-side": "kapp",
}
"""Field managers that write what they manage again and again."""


def spelling(facts: Facts) -> Verdict:
    """Every annotation is right."""
    if isinstance(facts.targets, Unknown):
        return skipped(f"the annotated workloads: {facts.targets.reason}")
    if not facts.targets:
        return ok("no workload is annotated yet")
    wrong = [target for target in facts.targets if target.problems]
    if wrong:
        return fail(
            f"workloads that are annotated wrongly: {len(wrong)} of {len(facts.targets)}",
            *(f"{target.name}: {problem}" for target in wrong for problem in target.problems),
            fix="correct it (docs/annotations.md); the last valid configuration stays in force meanwhile",
        )
    return ok(f"annotated workloads: {len(facts.targets)}, all valid")


def rivals(facts: Facts) -> Verdict:
    """Nobody else scales what we do."""
    if isinstance(facts.targets, Unknown):
        return skipped(f"the annotated workloads: {facts.targets.reason}")
    causes = [f"{target.name}: {rival}" for target in facts.targets for rival in target.rivals]
    if causes:
        return fail(
            f"workloads that another autoscaler drives too, and that are left alone: {len(causes)}",
            *causes,
            fix="remove the other one, or the annotations",
        )
    return ok("no workload is driven by another autoscaler")


def gitops(facts: Facts) -> Verdict:
    """Nobody writes spec.replicas back."""
    if isinstance(facts.targets, Unknown):
        return skipped(f"the annotated workloads: {facts.targets.reason}")
    causes = [
        f"{target.name}: field manager {owner.manager}{_known(owner)}"
        for target in facts.targets
        for owner in target.replicas_owners
        if _writes_again(owner)
    ]
    if causes:
        return warn(
            f"workloads whose spec.replicas somebody else manages, and may write back: {len(causes)}",
            *causes,
            fix="leave spec.replicas out of what it applies (Argo CD: also ignoreDifferences on /spec/replicas with "
            "RespectIgnoreDifferences=true)",
        )
    return ok("nobody else manages spec.replicas")


def _writes_again(owner: FieldOwner) -> bool:
    """Who applies declares a state that it will apply again; a plain update (kubectl scale, the HPA) was once."""
    if owner.manager == FIELD_MANAGER:
        return False
    return owner.operation == "Apply" or owner.manager in GITOPS


def _known(owner: FieldOwner) -> str:
    name = GITOPS.get(owner.manager)
    return f" ({name})" if name else ""
