"""Who is due, who is woken, who is read together, and who is looked at."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from activator.core.agenda import Agenda
from activator.loop import acting, following_up, reading
from activator.loop.backlog import Backlog
from activator.loop.batches import READ_TOGETHER, Batches
from activator.loop.keeping import Keeper
from activator.loop.leading import InformedLeadership, Leading
from activator.loop.looking import Looking, proves
from activator.loop.prolonging import Prolonging
from activator.loop.recording import PatientRecorder
from activator.loop.releasing import Releasing
from activator.loop.roster import Roster, is_old

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from activator.core.agenda import Due
    from activator.core.model import Push, TargetRef, TraceIds, Workload
    from activator.loop.batches import Batch, Clusters
    from activator.loop.target import Target
    from activator.loop.world import World
    from activator.ports import ManagedWorkload

ACTS_AT_ONCE = 64
"""Targets of the same clusters acted upon at the same time: a storm of wakes is spread over no more requests than this,
and sleeps that wait for a cluster which stalls hold up nobody on another."""
FOLLOW_UPS_AT_ONCE = 16
"""Targets whose decision is followed up at the same time, beside those: the next wake waits for no HPA of the last."""
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
        self._looking = Looking(world, self._agenda, self._roster, self._keeper, self._releasing, self._note_backlog)
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
            if due.push is not None and proves(target, due.push):
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
        return self._looking.is_storm or any(acts.locked() for acts in self._acts.values())

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
                done = await self._looking.walk(target, push, links)
            if self._follow_ups.locked() or self._backlog.is_pressing:
                waiting = done
            elif done is not None:
                target.to_follow_up = None
                async with self._follow_ups:
                    await self._follow_up(tasks, target, done)
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
                await self._follow_up(tasks, target, done)
            except Exception:  # noqa: BLE001 - a mistake of ours in what follows is no end of the loop for the others
                self._poisoned(target)
            finally:
                self._set_free(target)

    async def _follow_up(self, tasks: asyncio.TaskGroup, target: Target, done: tuple[acting.Act, datetime]) -> None:
        await following_up.follow_up(self._world, target, *done)
        self._prolonging.begin(tasks, target)

    def _poisoned(self, target: Target) -> None:
        _log.exception("a look at %s failed in a way nobody foresaw; it is tried again", target.ref)
        self._looking.later(target)

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

    def _look_at_successor(self, target: Target) -> None:
        """Forget when to look at a target that has departed, and look at the one that was made anew in its place."""
        self._agenda.forget(target.ref)
        if (successor := self._roster.targets.get(target.ref)) is not None:
            # The old look joined and left the tail by the name of both: what the new one watched may be gone.
            successor.joined = None
            self._agenda.bring_forward(target.ref, self._world.now())
