"""Safeguards, each with a way to take it out: whatever no seed notices the want of is not tested.

Each is taken out from here, by a name of the module that has it. The last check before a PATCH (`core.invariants`) is
a second look at what the others keep, and is taken out with them: the oracle has to notice by itself.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

from activator.core import decide, group_topics, kept_offsets, lag, naming
from activator.core.steps import asking, limiting, restraining
from activator.errors import NotFoundError
from activator.loop import acting, guarding, leading, looking, reading, releasing, roster, takeover, tracker
from activator.loop import target as targets
from activator.loop import world as loop_world
from tests.world import kubernetes
from tests.world.plan import plan_of
from tests.world.run import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from activator.core.model import Scale, TargetRef
    from tests.world.journal import Violation
    from tests.world.plan import Plan
    from tests.world.run import Result


@dataclass(frozen=True, slots=True)
class Ablation:
    """One safeguard."""

    name: str
    text: str
    """What it is."""
    rules: frozenset[str]
    """What is broken without it."""
    without: Callable[[], AbstractContextManager[object]]
    topicless: bool = False
    """It is one of triggers that name no topic."""


ABLATIONS: dict[str, Ablation] = {}


def run_ablated(plan: Plan, *, keep: bool = False, stops_at: frozenset[str] = frozenset()) -> Result:
    """Run a plan without the safeguard that it names."""
    if plan.ablation is None:
        return run(plan, keep=keep, stops_at=stops_at)
    with ABLATIONS[plan.ablation].without(), mock.patch.object(acting, "_violation", return_value=None):
        return run(plan, keep=keep, stops_at=stops_at)


def plan_without(name: str, seed: int) -> Plan:
    """Return the plan of a seed with a safeguard taken out."""
    return plan_of(seed, name, topicless=ABLATIONS[name].topicless)


def catch(name: str, seed: int) -> Violation | None:
    """Return how a seed notices that a safeguard is missing; None: it does not."""
    rules = ABLATIONS[name].rules
    result = run_ablated(plan_without(name, seed), stops_at=rules)
    return next((violation for violation in result.violations if violation.rule in rules), None)


def catching_seed(name: str, start: int, seeds: int) -> tuple[int, Violation] | None:
    """Return the first of so many seeds that notices the want of a safeguard, and how it does; None: none does."""
    for seed in range(start, start + seeds):
        if (violation := catch(name, seed)) is not None:
            return seed, violation
    return None


def _ablation(*rules: str, topicless: bool = False) -> Callable[[Callable[[], AbstractContextManager[object]]], None]:
    def add(without: Callable[[], AbstractContextManager[object]]) -> None:
        name = without.__name__.strip("_").replace("_", "-")
        text = (without.__doc__ or "").strip()
        ABLATIONS[name] = Ablation(name, text, frozenset(rules), without, topicless)

    return add


def _without_step(step: Callable[..., Any]) -> AbstractContextManager[object]:
    return mock.patch.object(decide, "STEPS", tuple(other for other in decide.STEPS if other is not step))


# ---------------------------------------------------------------------------------------------------- the decision


@_ablation("slept-blind")
def _hold_while_unreadable() -> AbstractContextManager[object]:
    """An unknown lag holds what is."""
    return _without_step(asking.hold_while_unreadable)


@_ablation("slept-too-soon")
def _cooldown() -> AbstractContextManager[object]:
    """To idle only after the quiet period."""
    return _without_step(restraining.cooldown)


@_ablation("out-of-bounds")
def _bounds() -> AbstractContextManager[object]:
    """Never below min while awake, never above max."""
    return _without_step(limiting.bounds)


@_ablation("out-of-bounds")
def _never_to_idle_where_that_is_none() -> AbstractContextManager[object]:
    """Where idle-replica-count is none, min is the least at all times."""

    def bounds(draft: Any) -> Any:
        policy, least = draft.policy, draft.policy.idle_replicas or 0
        bounded = limiting.bounds(replace(draft, policy=replace(policy, idle_replicas=least)))
        return replace(bounded, policy=policy)

    return mock.patch.object(
        decide, "STEPS", tuple(bounds if step is limiting.bounds else step for step in decide.STEPS)
    )


@_ablation("out-of-bounds", "hpa-wrong")
def _partition_cap() -> AbstractContextManager[object]:
    """No more consumers than partitions."""
    return mock.patch.object(limiting, "partition_cap", return_value=None)


@_ablation("moved-beside-the-hpa")
def _leave_1_to_n_to_the_hpa() -> AbstractContextManager[object]:
    """With an HPA handed off, only the ways into and out of idle are ours."""
    return _without_step(restraining.hand_over)


@_ablation("moved-while-paused")
def _pause() -> AbstractContextManager[object]:
    """Paused freezes the count."""
    return _without_step(restraining.pause)


@_ablation("moved-in-dry-run")
def _dry_run() -> AbstractContextManager[object]:
    """A dry run changes nothing."""
    return _without_step(restraining.dry_run)


@_ablation("moved-beside-a-rival")
def _rival() -> AbstractContextManager[object]:
    """What another autoscaler drives is left alone."""
    return _without_step(restraining.rival)


@_ablation("slept-while-kept-awake")
def _keep_awake() -> AbstractContextManager[object]:
    """keep-awake holds at least min."""
    return _without_step(restraining.keep_awake)


@_ablation("slept-too-soon")
def _foreign_hand() -> AbstractContextManager[object]:
    """A count that another hand raised begins a new cooldown."""
    return mock.patch.object(decide, "_note_foreign_hand", lambda memory, *_: memory)


@_ablation("slept-in-rebalance")
def _rebalancing() -> AbstractContextManager[object]:
    """A group in rebalance is not quiet."""
    return mock.patch.object(restraining, "REBALANCING", frozenset())


# -------------------------------------------------------------------------------------------------------- the lag


@_ablation("slept-blind")
def _ends_that_fall() -> AbstractContextManager[object]:
    """An end offset that falls is not believed until two reads agree."""
    return mock.patch.object(lag, "_believed_end", lambda offsets, *_, **__: (offsets.end, "no end offset"))


@_ablation("slept-uncommitted")
def _latest_without_a_commit() -> AbstractContextManager[object]:
    """A group at latest that has not committed is held awake."""

    def measure(*arguments: Any, **keywords: Any) -> Any:
        found, partitions, memory = lag.measure(*arguments, **keywords)
        return replace(found, uncommitted=False, passed=False), partitions, memory

    return mock.patch.object(tracker, "measure", measure)


@_ablation("never-slept")
def _probe_of_markers() -> AbstractContextManager[object]:
    """Transaction markers that alone stand in the way of a sleep are found out."""

    async def nothing(*_: object) -> None:
        return None

    return mock.patch.object(reading, "probe_markers", nothing)


# ------------------------------------------------------------------------------------------------- the order of acts


@_ablation("slept-blind")
def _fresh_read() -> AbstractContextManager[object]:
    """A sleep is decided once more, on a reading taken after the scale."""

    async def nothing(*_: object) -> tuple[()]:
        return ()

    kept = {name: getattr(reading, name) for name in dir(reading) if not name.startswith("__")}
    return mock.patch.object(acting, "reading", SimpleNamespace(**{**kept, "read": nothing}))


@_ablation("slept-with-records")
def _tail_joins_before_the_sleep() -> AbstractContextManager[object]:
    """The tail watches from the ends of the deciding read before the PATCH is sent."""
    join = acting.join_tail
    return mock.patch.object(acting, "join_tail", lambda world, target: join(world, target) if target.asleep else None)


@_ablation("slept-with-records", "missed-wake", "not-awake")
def _push_while_busy() -> AbstractContextManager[object]:
    """A record that is pushed while its target is being looked at stops the sleep, or is looked at afterwards."""
    sleepers = roster.Roster.sleepers

    def without(self: roster.Roster, push: Any) -> Iterator[Any]:
        busy = {ref for ref, target in self.targets.items() if target.busy and target.pushed is None}
        yield from sleepers(self, push)
        for ref in busy:
            self.targets[ref].pushed = None

    return mock.patch.object(roster.Roster, "sleepers", without)


@_ablation("missed-wake", "not-awake")
def _tail_joins_after_a_restart() -> AbstractContextManager[object]:
    """A process that finds a target asleep watches it from its first complete reading on."""
    join = acting.join_tail
    return mock.patch.object(acting, "join_tail", lambda world, target: None if target.asleep else join(world, target))


@_ablation("slept-unkept")
def _state_before_the_sleep() -> AbstractContextManager[object]:
    """What must outlive us is kept before the PATCH."""

    async def nothing(*_: object) -> None:
        return None

    return mock.patch.object(looking.Looking, "_save_asleep", nothing)


@_ablation("overwrote")
def _resource_version() -> AbstractContextManager[object]:
    """A PATCH hits the very object that was read, or nothing."""

    async def set_whatever(self: kubernetes.Scaler, ref: TargetRef, replicas: int, seen: Scale) -> Scale:
        self._oracle.sends(self._process, ref, replicas, seen)

        def act() -> Scale:
            if ref not in self._server.workloads:
                raise NotFoundError(f"{ref} does not exist")
            return self._server.scale(ref, replicas, manager=naming.FIELD_MANAGER).scale

        return await self._server.answer("scale.set", ref, self._identity, act, replicas=replicas)

    return mock.patch.object(kubernetes.Scaler, "set", set_whatever)


@_ablation("slept-without-lease", "changed-unled")
def _lease() -> AbstractContextManager[object]:
    """Only the holder of the Lease puts to sleep and moves 1..N."""
    return mock.patch.object(loop_world.World, "leads", return_value=True)


@_ablation("slept-without-lease", "changed-unled")
def _lease_for_as_long_as_a_write_takes() -> AbstractContextManager[object]:
    """A write is sent only while the Lease has more left than the write's deadline."""
    both = ExitStack()
    for module in (loop_world, leading):
        both.enter_context(mock.patch.object(module, "WRITE_DEADLINE", timedelta(0)))
    return both


@_ablation("given-back-short", "skipped", "read-again", "slept-too-soon", "woke-unready")
def _leading_after_reading() -> AbstractContextManager[object]:
    """Who holds the Lease leads only after it has read what the last leader kept."""

    def at_once(self: leading.InformedLeadership) -> timedelta:
        return self._lease.remaining()

    return mock.patch.object(leading.InformedLeadership, "remaining", at_once)


@_ablation("not-awake", "missed-wake")
def _retry_after_a_failure() -> AbstractContextManager[object]:
    """An act that failed is tried again within seconds."""
    later = looking.Looking.later

    def much_later(self: looking.Looking, target: Any, **keywords: Any) -> None:
        later(self, target, **keywords)
        self._agenda.schedule(target.ref, self._world.now() + target.policy.polling_interval)

    return mock.patch.object(looking.Looking, "later", much_later)


@_ablation("not-awake", "missed-wake")
def _wake_without_the_lease() -> AbstractContextManager[object]:
    """Waking needs no lease: any replica may."""
    wake = acting.wake

    async def led(world: Any, target: Any, act: Any) -> Any:
        return await wake(world, target, act) if world.leads() else None

    return mock.patch.object(acting, "wake", led)


@_ablation("given-back-short")
def _release() -> AbstractContextManager[object]:
    """What is managed no more is put back."""
    return mock.patch.object(releasing.Releasing, "begin", return_value=None)


@_ablation("given-back-short")
def _what_was_kept() -> AbstractContextManager[object]:
    """A successor takes over what was kept of a target."""

    def forgets(target: Any, *_: object) -> None:
        target.announced = True

    return mock.patch.object(takeover, "adopt_state", forgets)


@_ablation("restless", "moved-beside-the-hpa", "missed-wake", "not-awake", "slept-too-soon", "overwrote")
def _old_news_of_the_watch() -> AbstractContextManager[object]:
    """What a watch tells late or again is not believed over what was read or written since."""
    return mock.patch.object(roster, "_is_older", return_value=False)


# --------------------------------------------------------------------------------------------- the offsets guard


async def _nothing(*_: object) -> None:
    return None


@_ablation("skipped", "read-again")
def _offsets_given_back() -> AbstractContextManager[object]:
    """What Kafka has forgotten of a sleeper, or never had, is committed for it."""
    return mock.patch.multiple(
        guarding, restore=_nothing, renew=_nothing, prolong=_nothing, before_a_wake=_still_asleep
    )


async def _still_asleep(_: Any, target: Any) -> bool:
    return bool(target.asleep)


@_ablation("skipped", "read-again")
def _offsets_renewed_after_a_wake() -> AbstractContextManager[object]:
    """What a group has is committed once more after a wake, so that it outlasts the start of its first process."""
    return mock.patch.object(guarding, "renew", _nothing)


@_ablation("skipped", "read-again")
def _offsets_that_outlast_the_sleep() -> AbstractContextManager[object]:
    """What a sleeper's group has is committed once more in its sleep, so that it does not expire before a wake."""
    return mock.patch.object(guarding, "prolong", _nothing)


@_ablation("skipped")
def _commits_that_retention_passed() -> AbstractContextManager[object]:
    """At latest a commit that retention has passed is moved to the log start."""
    missing = kept_offsets.missing_commits

    def only_where_there_is_none(*arguments: Any) -> Any:
        return tuple(entry for entry in missing(*arguments) if not entry.passed)

    return mock.patch.object(guarding, "missing_commits", only_where_there_is_none)


@_ablation("woke-unready")
def _wait_before_a_wake() -> AbstractContextManager[object]:
    """A wake waits until what its group is known to lack is committed, five seconds at most."""
    return mock.patch.object(guarding, "before_a_wake", _still_asleep)


@_ablation("slept-uncommitted")
def _pins_are_kept() -> AbstractContextManager[object]:
    """Where a group stands, pins among it, is written down before a sleep."""
    return mock.patch.object(targets.Target, "kept", return_value={})


@_ablation("skipped", "read-again")
def _kept_offsets_outlive_a_restart() -> AbstractContextManager[object]:
    """A successor takes over where the groups stand."""
    return mock.patch.object(targets.Target, "take_kept", return_value=None)


@_ablation("never-slept")
def _pins_at_latest() -> AbstractContextManager[object]:
    """A group at latest that has never committed is pinned, so that it can sleep."""

    def without_pins(*arguments: Any) -> Any:
        kept = kept_offsets.follow(*arguments)
        offsets = tuple(None if number in kept.pinned else offset for number, offset in enumerate(kept.offsets))
        return replace(kept, offsets=offsets, pinned=frozenset())

    return mock.patch.object(lag, "follow", without_pins)


@_ablation("slept-uncommitted")
def _permission_found_out_before_the_sleep() -> AbstractContextManager[object]:
    """A group for which nobody may commit is held awake as if it had no guard."""
    return mock.patch.object(guarding, "check", _nothing)


@_ablation("not-looked-at", "given-back-short")
def _departures() -> AbstractContextManager[object]:
    """What is under way at a workload that goes does not come out after it."""
    remove = roster.Roster.remove

    def unnoticed(self: roster.Roster, ref: TargetRef, workload: Any) -> None:
        target = self.targets.get(ref)
        remove(self, ref, workload)
        if target is not None:
            target.departed = False

    return mock.patch.object(roster.Roster, "remove", unnoticed)


# ------------------------------------------------------------------------------------ triggers that name no topic


@_ablation("not-awake", "missed-wake", topicless=True)
def _topics_that_stay() -> AbstractContextManager[object]:
    """A topic whose commits expire while its group sleeps stays one of its group's."""
    return mock.patch.object(group_topics, "follow", lambda _, told, **__: told.topics or frozenset())


@_ablation("not-awake", "missed-wake", topicless=True)
def _kept_topics_outlive_a_restart() -> AbstractContextManager[object]:
    """A successor takes over which topics a group has."""
    take_kept = targets.Target.take_kept

    def of_known_topics(self: targets.Target, stored: Any) -> None:
        known = {trigger.topic for trigger in self.policy.triggers}
        take_kept(self, {place: kept for place, kept in stored.items() if place.topic in known})

    return mock.patch.object(targets.Target, "take_kept", of_known_topics)
