"""The walk of one look: decide, act, tell, and say when to look again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from activator.core.decide import decide, push_is_proof
from activator.core.model import Outcome, Reason
from activator.loop import acting, guarding, next_look, putting_back, reading, telling, unanswered

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from activator.core.agenda import Agenda
    from activator.core.model import Push, Scale, TraceIds
    from activator.loop.keeping import Keeper
    from activator.loop.releasing import Releasing
    from activator.loop.roster import Roster
    from activator.loop.target import Target
    from activator.loop.world import World

STORM = 16
"""So many wakes on their way at once are a storm, to which all else gives way."""


class Looking:
    """What becomes of a look at a target whose lag has been read, or that a push has proved to have work.

    Args:
        world: every port.
        agenda: when to look again.
        roster: which targets are managed.
        keeper: writes down what outlives us.
        releasing: gives back who is managed no more.
        storm_begins: told as so many wakes are on their way that all else is to give way.
    """

    def __init__(
        self,
        world: World,
        agenda: Agenda,
        roster: Roster,
        keeper: Keeper,
        releasing: Releasing,
        storm_begins: Callable[[], None],
    ) -> None:
        self._world = world
        self._agenda = agenda
        self._roster = roster
        self._keeper = keeper
        self._releasing = releasing
        self._storm_begins = storm_begins
        self._waking = 0

    @property
    def is_storm(self) -> bool:
        """Whether many wakes are on their way."""
        return self._waking >= STORM

    async def walk(
        self, target: Target, push: Push | None, links: tuple[TraceIds, ...]
    ) -> tuple[acting.Act, datetime] | None:
        """Decide, do it and tell it; return what is to be followed up and when it was decided, where anything is."""
        if await unanswered.settle(self._world, target) and target.woken:
            await guarding.renew(self._world, target)
        proof = push is not None and proves(target, push)
        if not proof:
            await reading.probe_markers(self._world, target)
        now = self._world.now()
        target.settle_handoff(self._world.auto_handoff())
        seen = target.observe(self._world.handoff.look(target.ref, target.policy.scaled_object), push, proof=proof)
        # Members without a ready replica are those from before its sleep, which take their time to leave.
        target.woken = target.woken and not target.asleep and (target.has_no_members() or not target.has_ready_replicas)
        decision, memory = decide(target.policy, target.memory, seen, now)
        target.decided()
        act = await self._act(target, acting.Act(Outcome.HELD, decision, memory, seen))
        if target.departed:
            self._abandon(target, act, links, now)
            return None
        if act is None:  # somebody else has done it, or may: look at what there is now
            target.note_work(memory.last_active)
            await guarding.restore(self._world, target)
            self.later(target)
            return None
        target.memory = act.memory
        if act.outcome is Outcome.APPLIED:  # or an HPA that writes its stale count before the next look goes unnoticed
            target.memory = replace(act.memory, replicas=act.decision.replicas)
        if act.unanswered is not None:
            lost = unanswered.Unanswered(act, act.unanswered, push, links, now, target.commits())
            unanswered.keep(self._world, target, lost)
            self._try_again(target, push, act)
            return None
        if push is None and target.pushed is not None and _woke(target, act):
            # The record that was read told of itself while it was looked at: the wake is its doing.
            push, act = target.pushed, replace(act, seen=replace(act.seen, pushed=target.pushed))
        self._finish(target, act, push, links, now)
        return act, now

    def _abandon(self, target: Target, act: acting.Act | None, links: tuple[TraceIds, ...], now: datetime) -> None:
        """Take leave of a target that is managed no more since a look at it began: only what was sent still counts."""
        if act is None or act.applied is None:
            return
        self._world.recorder.record(telling.evaluate(self._world, target, act, links, now))
        if target.ref in self._roster.targets:
            return  # made anew: the PATCH named the uid of the old one
        self._world.wakes.leave(target.ref)
        # What was to be given back was the target before this act: it may have been put to sleep since.
        target.asleep_by_us = target.asleep_by_us or act.decision.replicas <= target.idle
        self._releasing.begin(target.ref, target.state(self._world.now()), uid=target.workload.scale.uid)

    async def _act(self, target: Target, act: acting.Act) -> acting.Act | None:
        """Do what was decided: the way out of idle is any replica's, every other the leader's."""
        wanted, seen = act.decision.replicas, act.seen.replicas
        if act.decision.reason is Reason.RIVAL:
            return await putting_back.step_aside(self._world, target, act)
        if wanted == seen:
            return act
        if seen <= target.idle and not target.policy.paused:  # to a count that it is paused at is no wake
            return await self._wake(target, act)
        if not self._world.leads():
            return None
        if wanted <= target.idle and not target.policy.paused:
            return await acting.sleep(self._world, target, act, self._save_asleep)
        return await acting.change(self._world, target, act)

    async def _wake(self, target: Target, act: acting.Act) -> acting.Act | None:
        self._waking += 1
        if self._waking == STORM:  # what follows the first of them is to give way, too
            self._storm_begins()
        try:
            return await acting.wake(self._world, target, act)
        finally:
            self._waking -= 1

    def _finish(
        self, target: Target, act: acting.Act, push: Push | None, links: tuple[TraceIds, ...], now: datetime
    ) -> None:
        """Record an act, follow the episode, and say when to look again."""
        applied = act.outcome is Outcome.APPLIED
        if applied:
            act = unanswered.supersede(self._world, target, act)
        telling.tell(self._world, target, act, push, links, now)
        telling.follow_episode(self._world, target, now)
        if target.policy.paused or not (target.asleep or target.may_be_asleep):
            acting.leave_tail(self._world, target)
        elif _must_join(target) and all(lag.complete for lag in target.lags()):
            acting.join_tail(self._world, target)
        if not guarding.may_lack_what_was_kept(self._world, target):
            samples = target.samples(self._world.now(), at_least=1 if act.seen.push_is_proof else 0)
            self._world.metrics.publish(target.ref, list(samples))
        if act.outcome is Outcome.FAILED:
            self._try_again(target, push, act)
            return
        target.failures = 0
        target.to_renew = target.woken and (target.to_renew or _woke(target, act))
        look_again_at = act.decision.look_again_at
        if applied and target.woken and guarding.is_guarded(self._world, target):
            look_again_at = now  # offsets that expired since the last look are committed before a consumer asks
        if target.may_be_asleep and not target.asleep:  # it may be at zero with nobody but us to see it
            look_again_at = min(look_again_at, self._world.now() + next_look.FIRST_BACK_OFF)
        at = next_look.while_a_wake_is_fresh(target, look_again_at, self._world.now())
        begin_at, company_from = next_look.sooner(target, at, now)
        self._agenda.schedule(target.ref, at, begin_at=begin_at, in_company_from=company_from)
        self._keeper.offer(target.ref, target.workload.scale.uid, target.state(now))

    def _try_again(self, target: Target, push: Push | None, failed: acting.Act) -> None:
        """Have another look at a target whose act has failed."""
        if push is not None:  # it still proves work, but must not be tried again without a pause
            self._agenda.carry(target.ref, push)
        self.later(target, retry_after=failed.retry_after)

    def later(self, target: Target, *, retry_after: timedelta | None = None) -> None:
        """Look again after a failure, or a change of mind."""
        target.failures += 1
        wait = next_look.after_a_failure(target, leads=self._world.leads(), retry_after=retry_after)
        self._agenda.schedule(target.ref, self._world.now() + wait)

    async def _save_asleep(self, target: Target, scale: Scale) -> None:
        """Write what must outlive us before a target is put to sleep."""
        state = target.state(self._world.now(), going_to_sleep=True)
        await self._keeper.save(target.ref, scale.uid, state)


def _woke(target: Target, act: acting.Act) -> bool:
    return act.outcome is Outcome.APPLIED and act.seen.replicas <= target.idle


def _must_join(target: Target) -> bool:
    return target.joined is None or acting.has_recreated_topic(target) or acting.has_unwatched_topic(target)


def proves(target: Target, push: Push) -> bool:
    """Tell whether a push proves work for one of a target's triggers without a read."""
    return any(
        trigger.topic == push.topic and push_is_proof(trigger, target.tracker(trigger).lag)
        for trigger in target.policy.triggers
    )
