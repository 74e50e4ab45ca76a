"""Every PATCH of a scale that was sent: whether it was made, and whether one evaluation tells of it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from activator.core.model import FOUND_APPLIED, Outcome
from activator.core.naming import FIELD_MANAGER
from activator.errors import UnavailableError
from tests.world.scheduler import START, seeded_loop

if TYPE_CHECKING:
    from activator.core.model import Applied, Evaluation, Scale, TargetRef
    from activator.errors import WakegateError
    from tests.world.run import World
    from tests.world.scheduler import Process

CLOCK_SLACK_SECONDS = 0.001
EVALUATED_SECONDS = 15.0


@dataclass
class Patch:
    """One PATCH of a scale that was sent."""

    process: Process
    ref: TargetRef
    replicas: int
    seen: Scale
    sent_at: float
    applied_at: float | None = None
    unanswered: bool = False
    """Its sender had no answer."""


class Patches:
    """Those that were sent, until an evaluation tells of them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sent: defaultdict[tuple[Process, TargetRef], list[Patch]] = defaultdict(list)
        self._last: dict[TargetRef, Patch] = {}
        """The last one that was made, by whichever process."""
        self._left_to_the_leader: dict[tuple[Process, TargetRef], Patch] = {}
        """The last one of a process whose answer was lost, and that did not lead when it should have been told."""

    def sends(self, process: Process, ref: TargetRef, replicas: int, seen: Scale) -> None:
        """A process sends one."""
        self._sent[process, ref].append(Patch(process, ref, replicas, seen, seeded_loop().time()))

    def made(self, process: Process, ref: TargetRef, before: Scale, after: Scale) -> Patch | None:
        """One was made; None: nobody sent it, or it changed nothing."""
        patch = next((sent for sent in reversed(self._sent[process, ref]) if sent.applied_at is None), None)
        if patch is None:
            self._break("never-happened", f"{process.name}: a PATCH of {ref} that was never sent")
            return None
        if before.resource_version == after.resource_version:
            return None
        patch.applied_at = seeded_loop().time()
        self._last[ref] = patch
        return patch

    def was_answered(self, process: Process, ref: TargetRef, error: WakegateError | None) -> None:
        """The answer of the last one came in."""
        if error is not None and self._sent[process, ref]:
            self._sent[process, ref][-1].unanswered = isinstance(error, UnavailableError) and error.maybe_done

    def must_be_explained(self, patch: Patch) -> None:
        """Expect an evaluation that tells of one that was made."""
        seeded_loop().later(EVALUATED_SECONDS, self._check_explained, patch)

    def explain(self, process: Process, told: Evaluation, by: Applied) -> None:
        """Match an evaluation that tells of one with those that were sent."""
        # One whose answer was lost may be told of only when the next one has been answered.
        ended_at = (by.ended_at - START - process.clock_offset).total_seconds() + CLOCK_SLACK_SECONDS
        status, sent = by.status, self._sent[process, told.ref]
        known = [patch for patch in sent if patch.sent_at <= ended_at]
        who = f"{process.name}: {told.ref} to {told.decision.replicas}"
        # A release that failed tells the count that it has left.
        patches = [patch for patch in known if patch.replicas == told.decision.replicas]
        if told.outcome is Outcome.FAILED and not patches:
            patches = [patch for patch in known if patch.applied_at is None]
        applied = [patch for patch in patches if patch.applied_at is not None]
        if status == FOUND_APPLIED and not applied:
            # The same PATCH, sent again: the first was refused, and is the one that is told of (seed 6046).
            asked = [patch for patch in sent if patch.replicas == told.decision.replicas]
            again = [patch for patch in asked if patch.unanswered and patch.applied_at is not None]
            patches = again or patches
            applied = again
        if len(applied) > 1:
            self._break("unexplained", f"{who}: one evaluation for several PATCHes")
        if told.outcome is Outcome.FAILED:
            is_another = any(patch.unanswered and patch.applied_at is None for patch in patches)
            if not is_another:  # of the same that was sent before: which of the two failed nobody can tell
                self._check_failed(who, applied, told.ref)
            gone = [patch for patch in patches if patch not in applied] or applied
        else:
            last = self._last.get(told.ref)
            # Of two replicas of one name whose answers were lost, whose PATCH it was cannot be told.
            found = status == FOUND_APPLIED and not applied
            by_another = found and last is not None and last.process is not process
            is_told = by_another or (found and self._is_told_late(process, told))
            if not is_told and (found or not patches):
                self._break("never-happened", who)
            gone = patches
        for patch in gone:
            sent.remove(patch)

    def _is_told_late(self, process: Process, told: Evaluation) -> bool:
        """Tell whether what was the leader's to tell is told by its sender, who leads again (seed 1686)."""
        patch = self._left_to_the_leader.pop((process, told.ref), None)
        return patch is not None and patch is self._last.get(told.ref) and patch.replicas == told.decision.replicas

    def _check_failed(self, who: str, applied: list[Patch], ref: TargetRef) -> None:
        """A PATCH that was applied, and still holds, is told as applied."""
        stored = self._world.server.workloads.get(ref)
        if stored is None or not applied or not self._world.oracle.truths[ref].managed:
            return
        held = (stored.workload.scale.replicas, stored.workload.replicas_manager)
        if self._last.get(ref) is applied[-1] and held == (applied[-1].replicas, FIELD_MANAGER):
            self._break("unexplained", f"{who}: told as failed, and it was applied")

    def _check_explained(self, patch: Patch) -> None:
        if not patch.process.alive or patch not in self._sent[patch.process, patch.ref]:
            return
        server = self._world.server
        if patch.unanswered and server.lease.holder != patch.process.name:
            self._sent[patch.process, patch.ref].remove(patch)
            self._left_to_the_leader[patch.process, patch.ref] = patch
            return
        troubled = patch.unanswered and (server.down or bool(server.troubles))  # nobody can find out yet
        # Who stood still until a moment ago finds out by its next look (seed 5617).
        stalled = patch.process.stalled or seeded_loop().time() - patch.process.went_on_at < EVALUATED_SECONDS
        if stalled or troubled:
            self.must_be_explained(patch)
            return
        self._sent[patch.process, patch.ref].remove(patch)
        self._break("unexplained", f"{patch.process.name}: {patch.ref} to {patch.replicas} at {patch.applied_at:.3f}")

    def _break(self, rule: str, text: str) -> None:
        self._world.journal.violation(rule, text)
