"""Targets that are managed no more: put back to what they were, their HPA and what was kept of them removed.

Only the leader releases, and it tries until it is done: a target must not stay asleep because the API server was down
for a moment. What is kept of it is deleted last, so that a crash on the way begins it again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from activator.core.decide import phase_of
from activator.core.model import (
    Applied,
    Decision,
    Evaluation,
    Observation,
    OnRelease,
    Outcome,
    Policy,
    Reason,
    Step,
)
from activator.errors import WakegateError
from activator.loop import last_offsets, notices, putting_back

if TYPE_CHECKING:
    from datetime import datetime

    from activator.core.model import Scale, TargetRef, TargetState
    from activator.loop.keeping import Keeper
    from activator.loop.world import World

_AGAIN = timedelta(seconds=2)
KAFKA_WITHIN = timedelta(seconds=30)
"""For so long a release waits for a Kafka that cannot be read: a workload at zero is nobody's gain either."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Release:
    """A target to give back."""

    state: TargetState
    """What is kept of it: what it had, whether it sleeps by our hand, and where its groups stand."""
    policy: Policy | None
    begun_at: datetime
    due: datetime
    uid: str | None = None
    """Of the workload; None: not known."""
    rule: OnRelease | None = None
    """By which rule, whatever the policy says; None: by the policy's."""
    lost: Scale | None = None
    """What the PATCH of the last try named, where that had no answer."""

    @property
    def on_release(self) -> OnRelease:
        """By which rule it is given back."""
        if self.rule is not None:
            return self.rule
        return self.policy.on_release if self.policy else OnRelease.AT_LEAST_ORIGINAL

    @property
    def goal(self) -> int:
        """How many replicas are left behind, where that is not as many as there are."""
        original = self.state.original_replicas or 0
        if self.on_release is OnRelease.ORIGINAL:
            return original
        return max(original, self.policy.min_replicas if self.policy else 1)


class Releasing:
    """What is still to be given back.

    `rule` is for all of them: an uninstalled wakegate wakes nothing any more, so that a ScaledObject's wish to leave
    the count as it is, meant for its own deletion, would leave its target asleep for ever.
    """

    def __init__(self, world: World, keeper: Keeper, rule: OnRelease | None = None) -> None:
        self._rule = rule
        self._world = world
        self._keeper = keeper
        self._releases: dict[TargetRef, Release] = {}

    @property
    def left(self) -> tuple[TargetRef, ...]:
        """What has not been given back yet."""
        return tuple(self._releases)

    def begin(
        self, ref: TargetRef, state: TargetState, policy: Policy | None = None, *, uid: str | None = None
    ) -> None:
        """Give a target back as soon as this replica leads; `uid`: of the workload, where it is known."""
        if policy is None and state.last_valid:
            policy, _ = self._world.parse(state.last_valid, ref)
        known, now = self._releases.get(ref), self._world.now()
        self._releases[ref] = Release(
            state=state,
            policy=policy,
            begun_at=now,
            due=now,
            uid=uid,
            rule=self._rule,
            lost=known.lost if known is not None else None,
        )

    def cancel(self, ref: TargetRef, uid: str) -> TargetState | None:
        """Do not give it back: it is managed again. Returns what is known of it; None: nothing of this very workload.

        Annotations that are away for a moment forget no original count, and not where a sleeper's groups stand. Who
        does not lead cannot tell whether the leader has given it back long ago.
        """
        release = self._releases.pop(ref, None)
        if release is None or release.uid not in {uid, None} or not self._world.leads():
            return None
        return release.state

    def leave_to_others(self, before: datetime | None) -> None:
        """Forget what was begun before a moment: another replica sees to it, or has; None: nothing is forgotten."""
        if before is not None:
            self._releases = {ref: release for ref, release in self._releases.items() if release.begun_at >= before}

    def holds(self, ref: TargetRef) -> bool:
        """Tell whether it is still to be given back."""
        return ref in self._releases

    async def run_due(self) -> None:
        """Give back all that is due; what fails is tried again."""
        if not self._releases:
            return
        now = self._world.now()
        due = {ref: release for ref, release in self._releases.items() if release.due <= now}
        unknown = await last_offsets.restore(self._world, due)
        for ref, release in due.items():
            if not self._is_due(ref, release):  # the ones before it may have taken longer than the lease had left
                continue
            why = unknown.get(ref)
            if why is not None and self._world.now() - release.begun_at < KAFKA_WITHIN:
                self._try_again(ref, why, release.lost)
                continue
            try:
                await self._release(ref, release, why)
            except putting_back.NotDueError as error:
                _log.info("%s", error)
            except putting_back.LostAnswerError as error:
                self._try_again(ref, str(error), error.named)
            except WakegateError as error:
                self._try_again(ref, str(error), None)
            else:
                if self._is_due(ref, release):  # else more has been learnt of it meanwhile, or somebody else leads
                    del self._releases[ref]

    def _try_again(self, ref: TargetRef, why: str, lost: Scale | None) -> None:
        _log.warning("%s could not be released, it is tried again in a moment: %s", ref, why)
        if (newest := self._releases.get(ref)) is not None:  # begun anew meanwhile, or the one that was tried
            self._releases[ref] = replace(newest, due=self._world.now() + _AGAIN, lost=lost)

    def _is_due(self, ref: TargetRef, release: Release) -> bool:
        """Tell whether it is still to be given back, and by this replica."""
        return self._releases.get(ref) is release and self._world.leads()

    async def _release(self, ref: TargetRef, release: Release, unknown: str | None) -> None:
        """Give a target back; `unknown`: why it is not known whether its groups lack offsets."""
        started = self._world.now()
        made = await putting_back.release(
            self._world,
            ref,
            release.goal,
            is_due=lambda: self._is_due(ref, release),
            asleep_by_us=release.state.asleep_by_us,
            on_release=release.on_release,
            lost=release.lost,
        )
        if made is not None:
            self._tell(ref, release, made, started)
            if unknown is not None and made.before.replicas != made.after.replicas:
                now, uid = self._world.now(), made.after.uid
                self._world.recorder.record(notices.given_back_without_offsets(ref, uid, unknown, now))
        if self._is_due(ref, release):
            await self._keeper.forget(ref)

    def _tell(self, ref: TargetRef, release: Release, made: putting_back.PutBack, started: datetime) -> None:
        now, before, after = self._world.now(), made.before, made.after
        changed = before.replicas != after.replicas
        if release.policy is None and not changed:
            return  # it was never taken over: there is nothing to tell
        text = f"managed no more: given back with {after.replicas} replicas and without its HPA"
        self._world.recorder.record(notices.released(ref, after.uid, text, now))
        policy = release.policy or Policy(triggers=())
        self._world.recorder.record(
            Evaluation(
                ref=ref,
                policy=policy,
                seen=Observation(replicas=before.replicas, ready_replicas=0, lags=()),
                decision=Decision(after.replicas, (Step("release", after.replicas, Reason.UNMANAGED, text),), now),
                outcome=Outcome.APPLIED if changed else Outcome.HELD,
                phase=phase_of(policy, after.replicas, 0),
                now=now,
                ids=self._world.new_ids(None),
                applied=Applied(started, now, made.status) if changed else None,
            )
        )
