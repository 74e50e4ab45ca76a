"""Who is due, who is woken, and the walk of one look: read, decide, act, record."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from activator.core.agenda import Agenda
from activator.core.decide import decide, push_is_proof
from activator.core.model import Outcome, Reason
from activator.loop import acting, following_up, guarding, next_look, putting_back, reading, telling, unanswered
from activator.loop.backlog import Backlog
from activator.loop.batches import READ_TOGETHER, Batches
from activator.loop.keeping import Keeper
from activator.loop.leading import InformedLeadership, Leading
from activator.loop.prolonging import Prolonging
from activator.loop.recording import PatientRecorder
from activator.loop.releasing import Releasing
from activator.loop.roster import Roster, is_old

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from activator.core.agenda import Due
    from activator.core.model import Push, Scale, TargetRef, TraceIds, Workload
    from activator.loop.batches import Batch, Clusters
    from activator.loop.target import Target
    from activator.loop.world import World
    from activator.ports import ManagedWorkload

ACTS_AT_ONCE = 64
"""Targets of the same clusters acted upon at the same time: a storm of wakes is spread over no more requests than this,
and sleeps that wait for a cluster which stalls hold up nobody on another."""
FOLLOW_UPS_AT_ONCE = 16
"""Targets whose decision is followed up at the same time, beside those: the next wake waits for no HPA of the last."""
STORM = 16
"""So many wakes on their way at once are a storm, to which all else gives way."""
LOOKS_A_TURN = 12
"""Looks that are begun before the event loop turns to whatever else has come in: after a takeover all targets are due
at once, and a record that is pushed then must not wait for three thousand decisions."""

_log = logging.getLogger(__name__)


class Activator:
    """The loop. It is the listener of the catalog, of the tail and of `POST /wake`."""

    def __init__(self, world: World) -> None:
        informed = InformedLeadership(world.leadership)
        self._backlog = Backlog()
        self._recorder = PatientRecorder(world.recorder, self._backlog)
        self._world = world = replace(world, leadership=informed, recorder=self._recorder)
        self._agenda = Agenda()
        self._keeper = Keeper(world)
        self._prolonging = Prolonging(world, self.look, self._backlog.give_way)
        self._releasing = Releasing(world, self._keeper)
        self._roster = Roster(world, self._keeper, self._releasing, self._agenda.bring_forward)
        self._leading = Leading(informed, self._roster, self._releasing, self, world.now)
        self._batches = Batches()
        self._waking = 0
        self._news = asyncio.Event()
        self._acts: WeakValueDictionary[Clusters, asyncio.Semaphore] = WeakValueDictionary()
        """Each is there as long as somebody acts, or waits for a place."""
        self._follow_ups = asyncio.Semaphore(FOLLOW_UPS_AT_ONCE)

    @property
    def targets(self) -> Mapping[TargetRef, Target]:
        """Every managed target, for views that only read."""
        return self._roster.targets

    @property
    def is_synced(self) -> bool:
        """The catalog has delivered all there is."""
        return self._roster.is_synced

    # ----------------------------------------------------------------------------------------------- what comes in

    def upsert(self, managed: ManagedWorkload) -> None:
        """Take a workload that is new or changed."""
        self._prolonging.stop(managed.workload.ref)
        self._roster.upsert(managed)
        self._news.set()

    def remove(self, ref: TargetRef, workload: Workload | None) -> None:
        """Take note that a workload is no longer managed; None: it is gone altogether."""
        self._prolonging.stop(ref)
        self._agenda.forget(ref)
        self._roster.remove(ref, workload)
        self._news.set()

    def synced(self) -> None:
        """Take note that the first complete list was delivered."""
        self._roster.synced()

    def look(self, ref: TargetRef) -> None:
        """Look at a target now: something has changed that its workload does not show."""
        if ref in self._roster.targets:
            self._agenda.bring_forward(ref, self._world.now())
            self._news.set()

    def push(self, push: Push) -> None:
        """Take note that a record has arrived on a topic: every sleeper on it is looked at now."""
        for target in self._roster.sleepers(push):
            self._agenda.wake(target.ref, push)
            self._news.set()

    def holds(self, ref: TargetRef) -> bool:
        """Tell whether a target is managed, or still to be given back."""
        return not self.is_synced or ref in self._roster.targets or self._releasing.holds(ref)

    # --------------------------------------------------------------------------------------------------- the cycle

    async def restore(self) -> bool:
        """Read what outlived the last process, and tell whether anything can. `run` tries again what is raised.

        Until it succeeds this replica leads nothing, and wakes only who needs nothing of what was kept.

        Raises:
            DeniedError, UnavailableError: it could not be read.
        """
        is_kept = await self._roster.restore()
        self._news.set()
        return is_kept

    async def run(self) -> None:
        """Look, decide and act until cancelled. `restore` comes first, whether or not it succeeds.

        It can be run again after a mistake of ours has ended it: nobody whose look that cut short is forgotten.
        """
        self._begin_anew()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._recorder.run())
            tasks.create_task(self._keeper.run(self._backlog.give_way))
            tasks.create_task(self._leading.run())
            tasks.create_task(self._leading.catch_up())
            while True:
                self._begin_due(tasks)
                await self._wait()

    def _begin_anew(self) -> None:
        """Look at every target: of those whose look was under way nothing else says when to look again."""
        self._batches = Batches()
        for target in self._roster.targets.values():
            target.busy = False
            self._agenda.bring_forward(target.ref, self._world.now())

    async def _wait(self) -> None:
        begin_at, alarm = self._agenda.next_begin(), None
        if begin_at is not None:
            wait = max(0.0, (begin_at - self._world.now()).total_seconds())
            alarm = asyncio.get_running_loop().call_later(wait, self._news.set)
        try:
            await self._news.wait()
        finally:
            if alarm is not None:
                alarm.cancel()
        self._news.clear()

    def _begin_due(self, tasks: asyncio.TaskGroup) -> None:
        """Begin a look at every target that is due: at once where a push proves work, else in a batch per cluster."""
        now = self._world.now()
        for due in self._take_due(now):
            target = self._roster.targets.get(due.ref)
            if target is None:
                continue
            target.due_at = target.due_at or due.at
            if due.push is not None and _proves(target, due.push):
                self._begin_look(tasks, target, due.push, ())
            else:
                self._batches.add(reading.clusters_of(target), due.ref, due.push, now)
        for clusters, batch in self._batches.begin(now, storm=self._is_storm()):
            tasks.create_task(self._read(tasks, clusters, batch))
        self._note_backlog()

    def _note_backlog(self) -> None:
        self._backlog.note(exists=self._batches.many_wait or self._is_storm())

    def _is_storm(self) -> bool:
        """Tell whether many wakes are on their way, or more than may be: between two rounds of those hardly any is."""
        return self._waking >= STORM or any(acts.locked() for acts in self._acts.values())

    def _take_due(self, now: datetime) -> list[Due]:
        """Take who is due, and in their company who would be soon: a read of many costs little more than one of one."""
        due = list(self._agenda.take_due(now))
        if any(one.push is None for one in due):  # a wake alone waits for nobody
            due += self._agenda.take_along(now, READ_TOGETHER - len(due))
        return due

    async def _read(self, tasks: asyncio.TaskGroup, clusters: Clusters, batch: Batch) -> None:
        """Read one batch, then look at each of its targets by itself; a push may wake one of them meanwhile."""
        targets = [self._roster.targets[ref] for ref in batch if ref in self._roster.targets]
        links: tuple[TraceIds, ...] = ()
        try:
            links = await reading.read(self._world, clusters, targets)
        except Exception:  # noqa: BLE001 - a mistake of ours in one read must not be the end of the loop for all
            _log.exception("a read of %s failed in a way nobody foresaw; it is tried again", clusters)
        finally:
            self._batches.end(clusters)
            self._news.set()
        for number, target in enumerate(targets, 1):
            if self._roster.targets.get(target.ref) is target:
                self._roster.follow_topics(target)
                self._begin_look(tasks, target, batch[target.ref], links)
            if number % LOOKS_A_TURN == 0:
                await asyncio.sleep(0)

    def _begin_look(
        self, tasks: asyncio.TaskGroup, target: Target, push: Push | None, links: tuple[TraceIds, ...]
    ) -> None:
        if target.busy:
            target.again, target.pushed = True, target.pushed or push
            return
        target.busy = True
        self._prolonging.stop(target.ref)
        tasks.create_task(self._look(tasks, target, push, links))

    async def _look(
        self, tasks: asyncio.TaskGroup, target: Target, push: Push | None, links: tuple[TraceIds, ...]
    ) -> None:
        """Look at one target; whatever comes of it, it is looked at again."""
        waiting = None
        try:
            async with self._acts.setdefault(reading.clusters_of(target), asyncio.Semaphore(ACTS_AT_ONCE)):
                done = await self._decide_and_act(target, push, links)
            if self._follow_ups.locked() or self._backlog.is_pressing:
                waiting = done
            elif done is not None:
                target.to_follow_up = None
                async with self._follow_ups:
                    await following_up.follow_up(self._world, target, *done)
                self._prolonging.begin(tasks, target)
        except Exception:  # noqa: BLE001 - one poisoned target in a thousand touches no other
            self._poisoned(target)
        finally:
            self._set_free(target)
        if waiting is not None:
            await self._follow_up_later(tasks, target, waiting)

    async def _follow_up_later(
        self, tasks: asyncio.TaskGroup, target: Target, done: tuple[acting.Act, datetime]
    ) -> None:
        """Follow a decision up once there is room: until then the target may be woken, and decided about anew."""
        target.to_follow_up = done
        if not target.to_renew:  # commits that expire now are gone when the first process of the woken asks for them
            await self._backlog.give_way()
        async with self._follow_ups:
            if target.to_follow_up is not done or target.busy:  # a newer look is followed up instead
                return
            if self._roster.targets.get(target.ref) is not target:
                return
            target.busy = True
            try:
                await following_up.follow_up(self._world, target, *done)
                self._prolonging.begin(tasks, target)
            except Exception:  # noqa: BLE001 - a mistake of ours in what follows is no end of the loop for the others
                self._poisoned(target)
            finally:
                self._set_free(target)

    def _poisoned(self, target: Target) -> None:
        _log.exception("a look at %s failed in a way nobody foresaw; it is tried again", target.ref)
        self._later(target)

    def _set_free(self, target: Target) -> None:
        """Let a target be looked at again, at once where something has come in meanwhile."""
        target.busy = False
        if target.departed:
            self._look_at_successor(target)
        elif target.pushed is not None and target.asleep and not is_old(target, target.pushed):
            self._agenda.wake(target.ref, target.pushed)
        elif target.again:
            self._agenda.bring_forward(target.ref, self._world.now())
        target.pushed, target.again, target.due_at = None, False, None
        self._news.set()

    async def _decide_and_act(
        self, target: Target, push: Push | None, links: tuple[TraceIds, ...]
    ) -> tuple[acting.Act, datetime] | None:
        """Decide, do it and tell it; return what is to be followed up and when it was decided, where anything is."""
        if await unanswered.settle(self._world, target) and target.woken:
            await guarding.renew(self._world, target)
        proof = push is not None and _proves(target, push)
        if not proof:
            await reading.probe_markers(self._world, target)
        now = self._world.now()
        target.settle_handoff(self._world.auto_handoff())
        seen = target.observe(self._world.handoff.look(target.ref, target.policy.scaled_object), push, proof=proof)
        # Members without a ready replica are those from before its sleep, which take their time to leave.
        target.woken = target.woken and not target.asleep and (target.has_no_members() or not target.has_ready_replicas)
        decision, memory = decide(target.policy, target.memory, seen, now)
        act = await self._act(target, acting.Act(Outcome.HELD, decision, memory, seen))
        if target.departed:
            self._abandon(target, act, links, now)
            return None
        if act is None:  # somebody else has done it, or may: look at what there is now
            target.note_work(memory.last_active)
            self._later(target)
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

    def _look_at_successor(self, target: Target) -> None:
        """Forget when to look at a target that has departed, and look at the one that was made anew in its place."""
        self._agenda.forget(target.ref)
        if (successor := self._roster.targets.get(target.ref)) is not None:
            # The old look joined and left the tail by the name of both: what the new one watched may be gone.
            successor.joined = None
            self._agenda.bring_forward(target.ref, self._world.now())

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
            self._note_backlog()
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
        self._later(target, retry_after=failed.retry_after)

    def _later(self, target: Target, *, retry_after: timedelta | None = None) -> None:
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


def _proves(target: Target, push: Push) -> bool:
    """Tell whether a push proves work for one of a target's triggers without a read."""
    return any(
        trigger.topic == push.topic and push_is_proof(trigger, target.tracker(trigger).lag)
        for trigger in target.policy.triggers
    )
