"""Which workloads are managed, by which policy, and what comes and goes: the listener of the catalog."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from activator.core import naming
from activator.core.model import Departed
from activator.loop import acting, notices, takeover, telling, unanswered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from activator.core.model import Push, Scale, TargetRef, TargetState, Workload
    from activator.loop.keeping import Keeper
    from activator.loop.releasing import Releasing
    from activator.loop.target import Target
    from activator.loop.world import World
    from activator.ports import ManagedWorkload


class Roster:
    """Every managed target.

    Args:
        world: the ports.
        keeper: writes what outlives a restart.
        releasing: takes what is managed no more.
        due: called with a target that is to be looked at, and when.
    """

    def __init__(
        self,
        world: World,
        keeper: Keeper,
        releasing: Releasing,
        due: Callable[[TargetRef, datetime], None],
    ) -> None:
        self._world = world
        self._keeper = keeper
        self._releasing = releasing
        self._due = due
        self.targets: dict[TargetRef, Target] = {}
        self._by_topic: defaultdict[tuple[frozenset[str], str], dict[TargetRef, None]] = defaultdict(dict)
        """In the order of their takeover, so that equal runs are equal."""
        self._restored: dict[TargetRef, TargetState] = {}
        """What was kept of workloads that the catalog has not delivered (yet)."""
        self._refused: dict[TargetRef, tuple[str, TargetState]] = {}
        """Workloads whose configuration has never been valid, with their uid: marked, and not managed."""
        self._undecided: dict[TargetRef, ManagedWorkload] = {}
        """Workloads whose configuration is not valid, while their last valid one may still be read."""
        self.is_synced = False
        self.is_restored = False
        """What outlived the last process has been read."""

    # ----------------------------------------------------------------------------------------------- what comes in

    def upsert(self, managed: ManagedWorkload) -> None:
        """Take a workload that is new or changed."""
        ref = managed.workload.ref
        target = self.targets.get(ref)
        if target is not None and _is_old_news(target, managed.workload.scale):
            return  # the configuration would go back with it
        if target is not None and target.workload.scale.uid != managed.workload.scale.uid:
            self.remove(ref, None)  # deleted and made anew between two looks of the catalog: another workload
            target = None
        if target is None:
            self._take_over(managed)
            return
        if _is_raised_by_another(managed.workload, target.told):
            target.raised_at = self._world.now()
        target.told = managed.workload.scale
        self._take_workload(target, managed.workload)
        self._take_configuration(target, managed)

    def remove(self, ref: TargetRef, workload: Workload | None) -> None:
        """Take note that a workload is no longer managed; None: it is gone, and what we made goes with it."""
        target = self.targets.pop(ref, None)
        self._undecided.pop(ref, None)
        self._world.metrics.withdraw(ref)
        uid, refused = self._refused.pop(ref, (None, None))
        state = self._restored.pop(ref, None) or refused
        if target is not None:
            target.departed = True
            self._index(target, remove=True)
            acting.leave_tail(self._world, target)
            state, uid = target.state(self._world.now()), target.workload.scale.uid
            unanswered.give_up(self._world, target)
        if workload is None:
            self._keeper.drop(ref)
        elif state is not None:
            self._releasing.begin(ref, state, uid=uid)
        self._world.recorder.record(Departed(ref, self._world.now()))

    def synced(self) -> None:
        """Take note that the first complete list was delivered: what was kept of others is to be given back."""
        self.is_synced = True
        self._release_absent()

    def sleepers(self, push: Push) -> Iterator[Target]:
        """Yield the targets that a push is news for; one that is being looked at just now is told for afterwards."""
        servers = frozenset(push.bootstrap_servers.split(","))
        for ref in self._by_topic.get((servers, push.topic), ()):
            target = self.targets[ref]
            if target.busy:
                if target.pushed is None or is_old(target, target.pushed):
                    target.pushed = push
            elif target.asleep and not target.policy.paused and not is_old(target, push):
                yield target

    async def restore(self) -> bool:
        """Read what outlived the last process or leader, and tell whether anything can.

        Raises DeniedError, UnavailableError.
        """
        kept = await self._world.states.load()
        for ref, state in (kept or {}).items():
            self._keeper.restored(ref, state)
            target = self.targets.get(ref)
            if target is not None:
                self._index(target, remove=True)
                takeover.adopt_state(target, state, self._world.now())
                self._index(target)
            elif ref not in self._refused:
                self._restored[ref] = state
        if not self.is_restored:
            self._catch_up()
        self._release_absent()
        return kept is not None

    def _catch_up(self) -> None:
        """See to what had to wait until what outlived the last process was read."""
        self.is_restored = True
        for managed in list(self._undecided.values()):
            self._take_over(managed)
        for target in self.targets.values():
            target.lacks_kept = False
            self._due(target.ref, self._world.now())

    def mark_refused(self) -> None:
        """Have it written down whose configuration has never been valid: who leads has not always led."""
        for ref, (uid, state) in self._refused.items():
            if not self._releasing.holds(ref):
                self._keeper.offer(ref, uid, state)

    # ------------------------------------------------------------------------------------------------- one workload

    def _take_over(self, managed: ManagedWorkload) -> None:
        """Begin to manage a workload, as what was kept of it says."""
        ref, now = managed.workload.ref, self._world.now()
        kept = self._restored.pop(ref, None)
        policy, annotations = managed.policy, managed.annotations
        if policy is None and kept is not None and kept.last_valid:
            (policy, _), annotations = self._world.parse(kept.last_valid, ref), kept.last_valid
        self._undecided.pop(ref, None)
        if policy is None and not self.is_restored:
            self._undecided[ref] = managed
            return
        if policy is None:
            self._refuse(managed, kept, now)
            return
        if managed.problems:
            self._world.recorder.record(notices.invalid(managed.workload, managed.problems, now, in_force=True))
        self._refused.pop(ref, None)
        given_up = self._releasing.cancel(ref, managed.workload.scale.uid)
        target = takeover.take_over(managed, policy, annotations, kept or given_up, now)
        target.lacks_kept = not self.is_restored
        self.targets[ref] = target
        self._index(target)
        self._due(ref, now)

    def _refuse(self, managed: ManagedWorkload, kept: TargetState | None, now: datetime) -> None:
        """Mark a workload whose configuration has never been valid; if it sleeps by our hand, put it back."""
        ref, uid = managed.workload.ref, managed.workload.scale.uid
        state = takeover.invalid_state(managed, now)
        if (known := self._refused.get(ref)) is None or known[1].problems != state.problems:
            self._world.recorder.record(notices.invalid(managed.workload, managed.problems, now, in_force=False))
        self._refused[ref] = uid, state
        if kept is not None and kept.asleep_by_us:
            self._releasing.begin(ref, kept, uid=uid)
        else:
            self._keeper.offer(ref, uid, state)

    def _take_workload(self, target: Target, workload: Workload) -> None:
        """Believe the catalog, unless we know better by a write of our own that it has not seen yet."""
        if _is_older(workload.scale, target.workload.scale):
            return
        before, target.workload, now = target.workload, workload, self._world.now()
        target.woken = target.woken or before.scale.replicas <= target.idle < workload.scale.replicas
        if not target.asleep:
            target.asleep_by_us = False
        elif before.scale.replicas > target.idle:  # another replica of ours may have done it, and not lead any more
            target.asleep_by_us = workload.replicas_manager == naming.FIELD_MANAGER
        if workload.scale.replicas != before.scale.replicas:
            notice = notices.foreign_write(target, before, now)
            if notice is not None and self._world.leads():
                self._world.recorder.record(notice)
            self._due(target.ref, now)
        elif workload.ready_replicas != before.ready_replicas:
            telling.follow_episode(self._world, target, now)

    def _take_configuration(self, target: Target, managed: ManagedWorkload) -> None:
        """Put a changed policy in force; a broken one leaves the last valid one there, and is told."""
        now = self._world.now()
        if managed.policy is None:
            if managed.problems == target.problems:
                return
            # Taken over while its credentials were still to be read, it may never have had a policy that works.
            in_force = target.announced
            self._world.recorder.record(notices.invalid(target.workload, managed.problems, now, in_force=in_force))
        elif managed.policy == target.written and not target.problems:
            return
        else:
            self._index(target, remove=True)
            target.adopt(managed.policy, managed.annotations)
            target.announced = False
            self._index(target)
            acting.leave_tail(self._world, target)
        target.problems = managed.problems
        self._due(target.ref, now)

    def follow_topics(self, target: Target) -> None:
        """Let those topics count that were found by the commits of its groups; not in the midst of a look."""
        if not target.busy and target.has_other_topics():
            self._index(target, remove=True)
            target.follow_topics()
            self._index(target)

    def _index(self, target: Target, *, remove: bool = False) -> None:
        for trigger in target.policy.triggers:
            refs = self._by_topic[frozenset(trigger.cluster.bootstrap_servers.split(",")), trigger.topic]
            if remove:
                refs.pop(target.ref, None)
            else:
                refs[target.ref] = None

    def _release_absent(self) -> None:
        """Give back what was kept of workloads that are managed no more."""
        if self.is_synced:
            for ref, state in self._restored.items():
                self._releasing.begin(ref, state)
            self._restored.clear()


def is_old(target: Target, push: Push) -> bool:
    """Tell whether a target had counted the record already when it went to sleep."""
    if push.partition is None or push.offset is None or target.joined is None:
        return False
    place = (push.topic, push.partition)
    joined = [offset for (_, known), offset in target.joined.items() if known == place]
    return bool(joined) and push.offset < min(joined)


def _is_raised_by_another(workload: Workload, told: Scale) -> bool:
    """Tell whether another hand has raised a count, by what the catalog told before: a read may have been ahead of it.

    Before the next look it may be lowered again. Whose hand it was is not known of a kind that has nothing but /scale:
    of those it is up to the looks.
    """
    manager = workload.replicas_manager
    return workload.scale.replicas > told.replicas and manager not in {None, naming.FIELD_MANAGER}


def _is_old_news(target: Target, scale: Scale) -> bool:
    """Tell whether the catalog tells again what it, or a look at one made anew since, knows better."""
    is_another = scale.uid != target.workload.scale.uid
    return _is_older(scale, target.told) or (is_another and _is_older(scale, target.workload.scale))


def _is_older(scale: Scale, known: Scale) -> bool:
    """Tell whether a scale was read before the one that is known: a cache may lag behind our own last PATCH.

    Resource versions of one kind are comparable as numbers, also those of two objects that had the same name one after
    the other (KEP-5504); where they are not numbers, news is news.
    """
    versions = (scale.resource_version, known.resource_version)
    if not all(version.isdecimal() for version in versions):
        return False
    return int(versions[0]) < int(versions[1])
