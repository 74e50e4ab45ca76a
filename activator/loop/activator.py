"""Who is due, who is woken, and the walk of one look: read, decide, act, record."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from activator.core.agenda import Agenda
from activator.core.decide import HPA_SYNC_PERIOD, decide, push_is_proof
from activator.core.model import Handover, Outcome, Reason
from activator.errors import WakegateError
from activator.loop import acting, guarding, notices, reading, telling
from activator.loop.keeping import Keeper
from activator.loop.leading import InformedLeadership, Leading
from activator.loop.releasing import Releasing
from activator.loop.roster import Roster, is_old

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from activator.core.agenda import Due
    from activator.core.model import Cluster, Push, Scale, TargetRef, TraceIds, Workload
    from activator.loop.target import Target
    from activator.loop.world import World
    from activator.ports import ManagedWorkload

ACTS_AT_ONCE = 64
"""Targets acted upon at the same time: a storm of wakes is spread over no more requests than this."""
FIRST_BACK_OFF = timedelta(milliseconds=250)
LONGEST_BACK_OFF = timedelta(seconds=5)
"""A failed act is tried again no later than this, so that everything is normal 10 s after a dependency is back."""
CLOSE_LOOKS = ((timedelta(seconds=30), timedelta(seconds=1)), (timedelta(minutes=10), timedelta(seconds=5)))
"""While a wake has no commit yet: for how long after it, and how often, its target is looked at."""
TAKEN_ALONG = 64
"""Targets looked at before they are due because another one is: more of them would make a batch that holds up those
that are due."""
COMPANY = 0.2
"""By which share of its interval a regular look may come sooner, in company."""
NON_LEADER_LOOK = timedelta(seconds=15)

_log = logging.getLogger(__name__)


class Activator:
    """The loop. It is the listener of the catalog, of the tail and of `POST /wake`."""

    def __init__(self, world: World) -> None:
        informed = InformedLeadership(world.leadership)
        self._world = world = replace(world, leadership=informed)
        self._agenda = Agenda()
        self._keeper = Keeper(world)
        self._releasing = Releasing(world, self._keeper)
        self._roster = Roster(world, self._keeper, self._releasing, self._agenda.bring_forward)
        self._leading = Leading(informed, self._roster, self._releasing, self)
        self._reading: set[tuple[Cluster, ...]] = set()
        self._waiting: defaultdict[tuple[Cluster, ...], dict[TargetRef, Push | None]] = defaultdict(dict)
        self._news = asyncio.Event()
        self._acts = asyncio.Semaphore(ACTS_AT_ONCE)

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
        self._roster.upsert(managed)
        self._news.set()

    def remove(self, ref: TargetRef, workload: Workload | None) -> None:
        """Take note that a workload is no longer managed; None: it is gone altogether."""
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

    async def restore(self) -> None:
        """Read what outlived the last process. Raises DeniedError, UnavailableError: `run` tries again.

        Until it succeeds this replica leads nothing, and wakes only who needs nothing of what was kept.
        """
        await self._roster.restore()
        self._news.set()

    async def run(self) -> None:
        """Look, decide and act until cancelled. `restore` comes first, whether or not it succeeds."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keeper.run())
            tasks.create_task(self._leading.run())
            tasks.create_task(self._leading.catch_up())
            while True:
                self._begin_due(tasks)
                await self._wait()

    async def _wait(self) -> None:
        deadline, alarm = self._agenda.next_deadline(), None
        if deadline is not None:
            wait = max(0.0, (deadline - self._world.now()).total_seconds())
            alarm = asyncio.get_running_loop().call_later(wait, self._news.set)
        try:
            await self._news.wait()
        finally:
            if alarm is not None:
                alarm.cancel()
        self._news.clear()

    def _begin_due(self, tasks: asyncio.TaskGroup) -> None:
        """Begin a look at every target that is due: at once where a push proves work, else in a batch per cluster."""
        for due in self._take_due():
            target = self._roster.targets.get(due.ref)
            if target is None:
                continue
            target.due_at = target.due_at or due.at
            if due.push is not None and _proves(target, due.push):
                self._begin_look(tasks, target, due.push, ())
            else:
                waiting = self._waiting[reading.clusters_of(target)]
                waiting[due.ref] = waiting.get(due.ref) or due.push
        for clusters in list(self._waiting):
            if clusters not in self._reading:
                self._reading.add(clusters)
                tasks.create_task(self._read(tasks, clusters, self._waiting.pop(clusters)))

    def _take_due(self) -> list[Due]:
        """Take who is due, and in their company who would be soon: a read of many costs little more than one of one."""
        now = self._world.now()
        due = list(self._agenda.take_due(now))
        if any(one.push is None for one in due):  # a wake alone waits for nobody
            due += self._agenda.take_along(now, TAKEN_ALONG)
        return due

    async def _read(
        self, tasks: asyncio.TaskGroup, clusters: tuple[Cluster, ...], batch: dict[TargetRef, Push | None]
    ) -> None:
        """Read one batch, then look at each of its targets by itself.

        One batch of a cluster is under way at a time: what becomes due on a slow cluster meanwhile is read together
        afterwards. A target may be woken by a push while its batch is under way.
        """
        targets = [self._roster.targets[ref] for ref in batch if ref in self._roster.targets]
        links: tuple[TraceIds, ...] = ()
        try:
            links = await reading.read(self._world, clusters, targets)
        except Exception:  # noqa: BLE001 - a mistake of ours in one read must not be the end of the loop for all
            _log.exception("a read of %s failed in a way nobody foresaw; it is tried again", clusters)
        finally:
            self._reading.discard(clusters)
            self._news.set()
        for target in targets:
            if self._roster.targets.get(target.ref) is target:
                self._begin_look(tasks, target, batch[target.ref], links)

    def _begin_look(
        self, tasks: asyncio.TaskGroup, target: Target, push: Push | None, links: tuple[TraceIds, ...]
    ) -> None:
        if target.busy:
            target.again, target.pushed = True, target.pushed or push
            return
        target.busy = True
        tasks.create_task(self._look(target, push, links))

    async def _look(self, target: Target, push: Push | None, links: tuple[TraceIds, ...]) -> None:
        """Look at one target; whatever comes of it, it is looked at again."""
        try:
            async with self._acts:
                await self._decide_and_act(target, push, links)
        except Exception:  # noqa: BLE001 - one poisoned target in a thousand touches no other
            _log.exception("a look at %s failed in a way nobody foresaw; it is tried again", target.ref)
            self._later(target)
        finally:
            target.busy = False
            if target.departed:
                self._look_at_successor(target)
            elif target.pushed is not None and target.asleep and not is_old(target, target.pushed):
                self._agenda.wake(target.ref, target.pushed)
            elif target.again:
                self._agenda.bring_forward(target.ref, self._world.now())
            target.pushed, target.again, target.due_at = None, False, None
            self._news.set()

    async def _decide_and_act(self, target: Target, push: Push | None, links: tuple[TraceIds, ...]) -> None:
        proof = push is not None and _proves(target, push)
        if not proof:
            await reading.probe_markers(self._world, target)
        now = self._world.now()
        target.settle_handoff(self._world.auto_handoff())
        seen = target.observe(self._world.handoff.look(target.ref, target.policy.scaled_object), push, proof=proof)
        target.woken = target.woken and not target.asleep and target.has_no_members()
        decision, memory = decide(target.policy, target.memory, seen, now)
        act = await self._act(target, acting.Act(Outcome.HELD, decision, memory, seen))
        if target.departed:
            self._abandon(target, act, links, now)
            return
        if act is None:  # somebody else has done it, or may: look at what there is now
            self._later(target)
            return
        target.memory = act.memory
        if act.outcome is Outcome.APPLIED:  # or an HPA that writes its stale count before the next look goes unnoticed
            target.memory = replace(act.memory, replicas=act.decision.replicas)
        self._finish(target, act, push, links, now)
        await self._follow_up(target, act, now)

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
        self._releasing.begin(target.ref, target.state(self._world.now()))

    def _look_at_successor(self, target: Target) -> None:
        """Forget when to look at a target that has departed, and look at the one that was made anew in its place."""
        self._agenda.forget(target.ref)
        if target.ref in self._roster.targets:
            self._agenda.bring_forward(target.ref, self._world.now())

    async def _act(self, target: Target, act: acting.Act) -> acting.Act | None:
        """Do what was decided: the way out of idle is any replica's, every other the leader's."""
        wanted, seen = act.decision.replicas, act.seen.replicas
        if act.decision.reason is Reason.RIVAL:
            return await acting.step_aside(self._world, target, act)
        if wanted == seen:
            return act
        if seen <= target.idle and not target.policy.paused:  # to a count that it is paused at is no wake
            return await acting.wake(self._world, target, act)
        if not self._world.leads():
            return None
        if wanted <= target.idle and not target.policy.paused:
            return await acting.sleep(self._world, target, act, self._save_asleep)
        return await acting.change(self._world, target, act)

    def _finish(
        self, target: Target, act: acting.Act, push: Push | None, links: tuple[TraceIds, ...], now: datetime
    ) -> None:
        """Record an act, follow the episode, and say when to look again."""
        applied = act.outcome is Outcome.APPLIED
        evaluation = telling.evaluate(self._world, target, act, links, now)
        if applied and target.asleep is not (act.seen.replicas <= target.idle):
            evaluation = telling.begin_episode(self._world, target, evaluation, push)
        if applied or self._world.leads():
            self._world.recorder.record(evaluation)
        telling.follow_episode(self._world, target, now)
        if not target.asleep or target.policy.paused:
            acting.leave_tail(self._world, target)
        if not guarding.may_lack_what_was_kept(self._world, target):
            samples = target.samples(self._world.now(), at_least=1 if act.seen.push_is_proof else 0)
            self._world.metrics.publish(target.ref, list(samples))
        if act.outcome is Outcome.FAILED:
            if push is not None:  # it still proves work, but must not be tried again without a pause
                self._agenda.carry(target.ref, push)
            self._later(target, retry_after=act.retry_after)
            return
        target.failures = 0
        look_again_at = act.decision.look_again_at
        if applied and target.woken and guarding.is_guarded(self._world, target):
            look_again_at = now  # offsets that expired since the last look are committed before a consumer asks
        at = self._next_look(target, look_again_at)
        self._agenda.schedule(target.ref, at, in_company_from=_in_company_from(target, at, now))
        self._keeper.offer(target.ref, target.workload.scale.uid, target.state(now))

    async def _follow_up(self, target: Target, act: acting.Act, now: datetime) -> None:
        """See to what follows a decision: the tail of a sleeper, the HPA, and the Event that tells of a takeover."""
        complete = all(lag.complete for lag in target.lags())
        if target.asleep and complete and not target.policy.paused and _must_join(target):
            acting.join_tail(self._world, target)
        if act.outcome is Outcome.APPLIED and target.woken and act.seen.replicas <= target.idle:
            await guarding.renew(self._world, target)
        if not self._world.leads():
            return
        await guarding.restore(self._world, target)
        if target.departed:
            return
        # A changed policy waits for a reading under it, too; a pause, and a count for want of a reading, do not.
        if complete or target.policy.paused or target.memory.fallback is not None:
            await self._hand_over(target, act, now)

    async def _hand_over(self, target: Target, act: acting.Act, now: datetime) -> None:
        """See to it that the HPA is what policy and rivals leave of it, and say what will happen from now on."""
        scaled_object = target.policy.scaled_object
        try:
            if target.policy.paused or act.seen.rival is not None:
                await self._world.handoff.remove(target.ref, scaled_object)
            elif target.policy.dry_run:
                pass
            elif target.handoff is Handover.DIRECT:
                await self._world.handoff.remove(target.ref, scaled_object)
            elif target.handoff is Handover.HPA:
                uid, cap = target.workload.scale.uid, target.partition_cap()
                await self._world.handoff.ensure(target.ref, uid, target.policy, cap)
        except WakegateError as error:
            self._world.recorder.record(notices.handoff_failed(target.workload, error, now))
        if not target.announced:
            target.announced = True
            self._world.recorder.record(notices.taken_over(target, now))

    def _later(self, target: Target, *, retry_after: timedelta | None = None) -> None:
        """Look again after a failure, or a change of mind: soon, then less and less soon."""
        target.failures += 1
        wait = min(FIRST_BACK_OFF * 2 ** min(target.failures - 1, 10), LONGEST_BACK_OFF)
        if not self._world.leads() and retry_after is None and not target.asleep:
            wait = min(target.policy.polling_interval, NON_LEADER_LOOK)  # the leader acts, the catalog tells us
        self._agenda.schedule(target.ref, self._world.now() + max(wait, retry_after or wait))

    def _next_look(self, target: Target, at: datetime) -> datetime:
        """Look more often while a wake has no commit yet: the HPA needs a fresh lag, and a person an answer."""
        if target.episode is None or target.episode.kind != "wake":
            return at
        now = self._world.now()
        often = next((often for longest, often in CLOSE_LOOKS if now - target.episode.changed_at < longest), None)
        return min(at, now + often) if often is not None else at

    async def _save_asleep(self, target: Target, scale: Scale) -> None:
        """Write what must outlive us before a target is put to sleep."""
        state = target.state(self._world.now(), going_to_sleep=True)
        await self._keeper.save(target.ref, scale.uid, state)


def _in_company_from(target: Target, at: datetime, now: datetime) -> datetime | None:
    """Say from when on a regular look may come, together with others; None: this one has a moment of its own.

    Where we move 1..N ourselves, looks keep the HPA's rhythm.
    """
    if not target.asleep and target.handoff is Handover.DIRECT:
        return None
    polling = target.policy.polling_interval
    regular = polling if target.asleep else min(polling, HPA_SYNC_PERIOD)
    return at - regular * COMPANY if at - now >= regular else None


def _must_join(target: Target) -> bool:
    return target.joined is None or acting.has_recreated_topic(target)


def _proves(target: Target, push: Push) -> bool:
    """Tell whether a push proves work for one of a target's triggers without a read."""
    return any(
        trigger.topic == push.topic and push_is_proof(trigger, target.tracker(trigger).lag)
        for trigger in target.policy.triggers
    )
