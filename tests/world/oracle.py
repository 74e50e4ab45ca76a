"""The oracle: it knows every record, every commit and every replica, and tells what must not have happened.

The rules are a table (`rules.py`). What is true of each target it asks `truth.py`, what each process was told
`evidence.py`, and of which PATCHes there is no word yet `patches.py`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from activator.core.model import Evaluation, Handover, Reason, SleepFrom
from activator.core.naming import FIELD_MANAGER
from tests.world.evidence import Witness
from tests.world.faults import Scope
from tests.world.patches import Patches
from tests.world.rules import FORBIDS, GRACE_SECONDS
from tests.world.scheduler import seeded_loop

if TYPE_CHECKING:
    from activator.core.model import Fact, Policy, Scale, TargetRef
    from activator.errors import WakegateError
    from activator.ports import TopicPartition
    from tests.world.actors import Consumers
    from tests.world.run import World
    from tests.world.scheduler import Process
    from tests.world.truth import Truth

WAKE_SECONDS = 1.0
GIVEN_BACK_SECONDS = 30.0
LATE_SECONDS = 30.0
COOLDOWN_SLACK_SECONDS = 16.0
"""Looks at who is awake are up to 15 s apart."""
COOLDOWN_SLACK_WHERE_LOOKS_WERE_MISSED_SECONDS = 60.0
"""Last active is kept by 30 s, and who begins, or begins to lead, goes on from that; who stands still sees nothing."""
SHORTEST_COOLDOWN_CHECKED = 60.0
PROLONGED_AGAIN_AFTER_SECONDS = 60.0
"""So long after one that was ended, or has failed, the next try is made, by a look."""
LEASE_SECONDS = 15.0


class Oracle:
    """Follows one run."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.journal = world.journal
        self.truths: dict[TargetRef, Truth] = {}
        self.witness = Witness(world)
        self._patches = Patches(world)
        self._epochs = 0
        self._refusing_states = 0
        """Strikes under way that let nothing be kept of any target."""
        self.last_calm = False
        """The last ten minutes: nothing may be written."""
        self._clock = timedelta(0)
        """How wrong the clock is of who began last."""
        self._crew_changed_at = 0.0
        """When a process last began or died."""
        self._led_since = 0.0
        """When the Lease last had another holder."""

    # ------------------------------------------------------------------------------------------------ what is done

    def recorded(self, process: Process, fact: Fact) -> None:
        """Take what a process records."""
        if not isinstance(fact, Evaluation):
            self.journal.note("recorded", process.name, type(fact).__name__, getattr(fact, "reason", ""))
            return
        self.journal.note(
            "decided",
            process.name,
            fact.ref,
            fact.seen.replicas,
            fact.decision.replicas,
            fact.outcome,
            "; ".join(f"{step.name}: {step.reason} ({step.text})" for step in fact.decision.steps)
            if self.journal.keep
            else ",".join(step.reason for step in fact.decision.steps),
        )
        for step in fact.decision.steps:
            self.journal.reasons[step.reason] += 1
        if fact.decision.reason is Reason.INVARIANT_VIOLATED:
            self._break("refused-by-ourselves", f"{process.name}: {fact.ref} {fact.decision.text}")
        truth = self.truths[fact.ref]
        if truth.falling:
            truth.falling = False
            self.touch(fact.ref)
        if fact.applied is None:
            return
        self._patches.explain(process, fact, fact.applied)

    def asked_scale(self, ref: TargetRef) -> None:
        """A process reads a scale: of an awake target that is how a sleep begins."""
        truth = self.truths[ref]
        if ref in self.world.server.workloads and self.world.server.replicas(ref) > truth.idle:
            truth.falling = True
            self.touch(ref)

    def process_starts(self, clock_offset: timedelta) -> None:
        """A process begins; where its clock is another, what was kept of any target is not told by it."""
        self._crew_changed_at = seeded_loop().time()
        if clock_offset != self._clock:
            self._clock = clock_offset
            for truth in self.truths.values():
                truth.clocks_wrong = True

    def process_dies(self) -> None:
        """A process ends."""
        self._crew_changed_at = seeded_loop().time()

    def leads_now(self) -> None:
        """The Lease has another holder."""
        self._led_since = seeded_loop().time()
        for ref in self.truths:
            self.touch(ref)

    # -------------------------------------------------------------------------------------------------- the PATCHes

    def sends(self, process: Process, ref: TargetRef, replicas: int, seen: Scale) -> None:
        """A process sends a PATCH."""
        now = seeded_loop().time()
        truth = self.truths[ref]
        self._patches.sends(process, ref, replicas, seen)
        self.journal.note("sends", process.name, ref, seen.replicas, replicas)
        stored = self.world.server.workloads.get(ref)
        if not truth.managed or stored is None or _version(stored.workload.scale) != _version(seen):
            return  # what it names is gone, or was written since: the API server refuses it
        if replicas <= truth.idle < seen.replicas:
            self._check_sleep(process, truth, now)
        elif seen.replicas <= truth.idle < replicas:
            self.witness.check_ready(process, truth, now)
        self._check_frozen(process, truth, replicas, now)

    def writes(self, by: str, call: str, ref: TargetRef, replicas: int | None) -> None:
        """A process asks for something to be written, and that need not be a count."""
        truth = self.truths[ref]
        late = seeded_loop().time() - truth.worked_at <= _longest_awake(truth.policy)  # its sleep is still to come
        # With work that nobody does (seed 235), or held awake for want of a commit (seed 65), it is active at each
        # look, and when it last was is kept.
        active = call == "state.save" and (truth.work or not truth.is_committed)
        if self.last_calm and not late and not active:
            what = call if replicas is None else f"{call} to {replicas}"
            self._break("restless", f"{by}: {what} of {ref}")

    def patched(self, process: Process, ref: TargetRef, before: Scale, after: Scale) -> None:
        """A PATCH was made: it has arrived, and the precondition held."""
        now, truth = seeded_loop().time(), self.truths[ref]
        patch = self._patches.made(process, ref, before, after)
        if patch is None:
            return
        if before.replicas != patch.seen.replicas:
            self._break(
                "overwrote",
                f"{process.name}: {ref} from {before.replicas} to {after.replicas}, saw {patch.seen.replicas}",
            )
        lease, idle = self.world.server.lease, truth.idle
        led = lease.holder == process.name and now - lease.sent_at <= LEASE_SECONDS
        if not led and before.replicas > idle:
            rule = "slept-without-lease" if after.replicas <= idle else "changed-unled"
            self._break(rule, f"{process.name}: {ref} to {after.replicas}, the Lease is {lease.holder}'s")
        if after.replicas <= idle < before.replicas:
            self._slept(process, truth, now)
        elif truth.managed:
            self._check_bounds(process, truth, before.replicas, after.replicas, now)
        self._patches.must_be_explained(patch)

    def was_answered(self, process: Process, ref: TargetRef, error: WakegateError | None) -> None:
        """The answer of a PATCH came in."""
        self.journal.note("answered", process.name, ref, type(error).__name__ if error else "ok")
        self._patches.was_answered(process, ref, error)

    def _check_sleep(self, process: Process, truth: Truth, now: float) -> None:
        self.witness.check_sleep(process, truth, now)
        who = f"{process.name}: {truth.ref}"
        if truth.policy.idle_replicas is None:
            self._break("out-of-bounds", f"{who} to idle, idle-replica-count is none")
        cooldown = truth.policy.cooldown.total_seconds()
        told = self.witness.last_told(process, truth)
        seen = self.witness.could_see_work(process, truth)
        if told is not None:  # what came after it the tail finds, and wakes it again
            seen = seen and not told.undetectable and truth.work_since <= told.asked_at
        since = max(truth.worked_at if seen else 0.0, truth.raised_at)
        quiet, missed = now - since, max(self._crew_changed_at, self._led_since, truth.calm_since) >= since
        missed = missed or bool(truth.disturbed)  # by a stall, say, in which the last work was done (seed 150)
        slack = COOLDOWN_SLACK_WHERE_LOOKS_WERE_MISSED_SECONDS if missed else COOLDOWN_SLACK_SECONDS
        if cooldown >= SHORTEST_COOLDOWN_CHECKED and quiet < cooldown - slack and self._are_told_by_one_clock(truth):
            self._break("slept-too-soon", f"{who}, quiet for {quiet:.1f} s of {cooldown:g} s")
        if truth.kept_awake_at is not None and truth.is_in_force(truth.kept_awake_at, now):
            self._break("slept-while-kept-awake", who)

    def _are_told_by_one_clock(self, truth: Truth) -> bool:
        """Tell whether the moments that matter to a target were all told by the same clock."""
        crew = [wakegate.process for wakegate in self.world.running()]
        # All who are there have seen its last work. (Not who began before it and looked after it: seed 2495.)
        seen = all(self.witness.had_read(process, truth, truth.worked_at) for process in crew)
        if len({process.clock_offset for process in crew}) == 1 and seen and truth.worked_at > self._crew_changed_at:
            truth.clocks_wrong = False
        return not truth.clocks_wrong

    def _check_frozen(self, process: Process, truth: Truth, replicas: int, now: float) -> None:
        for why, since in truth.frozen.items():
            put_back = why == "rival" and truth.asleep and replicas > truth.idle
            known = truth.is_told(since, now) if why == "rival" else truth.is_in_force(since, now)
            if known and not put_back:
                self._break(FORBIDS[why], f"{process.name}: {truth.ref} to {replicas}")

    def _check_bounds(self, process: Process, truth: Truth, before: int, after: int, now: float) -> None:
        policy, idle = truth.policy, truth.idle
        if after <= idle or "rival" in truth.frozen:
            return
        who = f"{process.name}: {truth.ref} from {before} to {after}"
        most = policy.max_replicas
        # A group whose commits have expired has no topics; one whose coordinator does not answer tells nothing.
        if self.witness.has_read(process, truth) and not truth.consumers.trigger.allow_idle_consumers:
            most = min(most, truth.most_partitions(now))
        most = max(most, policy.min_replicas)
        if not policy.min_replicas <= after <= most:
            self._break("out-of-bounds", f"{who}, allowed are {policy.min_replicas}..{most}")
        if policy.handoff is not Handover.DIRECT and before > idle:
            self._break("moved-beside-the-hpa", who)

    # --------------------------------------------------------------------------------------------- what has changed

    def scaled(self, ref: TargetRef, before: int, after: int, manager: str) -> None:
        """spec.replicas is another."""
        truth = self.truths[ref]
        # What its user wants awake has no more work than before: its quiet period goes on.
        is_wake = before <= truth.idle and truth.kept_awake_at is None
        if after > before and (manager != FIELD_MANAGER or is_wake):
            truth.raised_at = seeded_loop().time()
        if manager != FIELD_MANAGER:
            truth.asleep_when_left = False  # its owner has a say in what it is left with
        if before <= truth.idle < after:
            truth.raised_by_us, truth.woken_at = manager == FIELD_MANAGER, seeded_loop().time()
        elif after <= truth.idle and manager != FIELD_MANAGER:
            truth.standing.offsets.clear()  # put to idle by another hand: nothing was read and kept before it

    def _slept(self, process: Process, truth: Truth, now: float) -> None:
        """Remember where its consumers must go on."""
        truth.slept_at, truth.falling = now, False
        evidence = self.witness.last_told(process, truth)
        ends = evidence.ends if evidence is not None and not evidence.undetectable else {}
        truth.standing.sleeps(ends, now)

    def assigned(self, consumers: Consumers, where: TopicPartition, at: int, committed: int | None) -> None:
        """A consumer begins to read a partition."""
        truth = self.truths[consumers.ref]
        standing, now = truth.standing, seeded_loop().time()
        expected = standing.offsets.get(where)
        rule = standing.moved(where, at)
        if rule is None:
            return
        if standing.lost_at >= truth.slept_at and not truth.is_remembered:
            return  # whoever has committed for it since did not know where it stood
        usable = standing.is_usable(where, committed)
        if not usable and not (
            truth.managed
            and not truth.frozen
            and not truth.disturbed
            and truth.is_remembered
            and standing.lacks_excuse(now, truth.calm_since, truth.raised_at, by_us=truth.raised_by_us)
        ):
            return
        found = "as committed" if usable else f"with {committed} committed"
        self._break(rule, f"{consumers.ref} {where[0]}-{where[1]}: goes on at {at} {found}, slept at {expected}")

    def is_prolonged(self, truth: Truth) -> bool:
        """Tell whether a leader that could do what it must has had time to prolong what a sleeper's group has.

        Two looks must agree first; and what news of the target, or a look, has ended is tried again after a while.
        """
        now, standing = seeded_loop().time(), truth.standing
        stirred = (self._crew_changed_at, self._led_since, truth.calm_since, truth.slept_at, standing.lost_at)
        calm_for = now - max(*stirred, truth.consumers.empty_since)
        looks = 2 * truth.policy.polling_interval.total_seconds() + PROLONGED_AGAIN_AFTER_SECONDS
        able = not truth.disturbed and truth.must_act and standing.able and truth.is_remembered
        return able and calm_for > looks + GRACE_SECONDS

    def partitions_changed(self, ref: TargetRef, number: int) -> None:
        """A topic has another number of partitions."""
        self.truths[ref].partitions.append((seeded_loop().time(), number))

    def disturb(self, ref: TargetRef, scope: Scope) -> None:
        """Something strikes that concerns a target."""
        truth = self.truths[ref]
        truth.disturbed += 1
        truth.unled += scope is Scope.LEASE
        self.touch(ref)

    def calm(self, ref: TargetRef, scope: Scope) -> None:
        """It is over."""
        truth = self.truths[ref]
        truth.disturbed -= 1
        truth.unled -= scope is Scope.LEASE
        truth.calm_since = seeded_loop().time()
        self.touch(ref)

    def states_are_refused(self, more: int) -> None:
        """Nothing can be kept of any target, or can be again: what must be kept before a sleep is waited for."""
        self._refusing_states += more
        for ref in self.truths:
            self.touch(ref)

    def record_arrived(self, ref: TargetRef) -> None:
        """A record has arrived: while nothing is broken a sleeper is woken within a second."""
        truth, now = self.truths[ref], seeded_loop().time()
        slept = truth.asleep
        before = truth.work
        self.touch(ref)
        if not slept or not truth.work or before or not truth.must_act:
            return
        if truth.may_wake_late or now - truth.calm_since < GRACE_SECONDS or not self.world.settled():
            return
        seeded_loop().later(WAKE_SECONDS, self._check_woken, ref, now)

    def _check_woken(self, ref: TargetRef, since: float) -> None:
        truth = self.truths[ref]
        if truth.may_wake_late or truth.calm_since > since or not truth.must_act or not truth.work:
            return
        if truth.asleep:
            self._break("missed-wake", f"{ref} still sleeps, {WAKE_SECONDS:g} s after a record arrived")

    def touch(self, ref: TargetRef) -> None:
        """Look at a target again: something about it has changed."""
        truth = self.truths.get(ref)
        if truth is None:
            return
        now = seeded_loop().time()
        truth.count_work(now)
        phase = truth.phase_now
        if phase is not truth.phase:
            truth.phase = phase
            self.journal.note("phase", ref, phase)
            self.world.strikes.entered(ref, phase)
        must = truth.must_act and not truth.disturbed
        asleep = truth.asleep
        moved = now - truth.hidden_work_at < truth.policy.polling_interval.total_seconds() + GRACE_SECONDS
        extra = truth.policy.polling_interval.total_seconds() if moved else 0.0
        awaited = must and asleep and truth.work and not truth.may_wake_late
        self._hold(truth, "not-awake", awaited, GRACE_SECONDS + extra)
        sleeps = truth.policy.idle_replicas is not None and truth.kept_awake_at is None and truth.is_committed
        sleeps = sleeps and not (self._refusing_states and self.world.server.crd_installed)  # "slept-unkept"
        must = must and sleeps and not asleep and not truth.work
        self._hold(truth, "never-slept", must, _longest_awake(truth.policy))

    def rebalanced(self, ref: TargetRef) -> None:
        """Its group rebalances: what wakegate takes for quiet begins when that is done, and is counted from there."""
        self.truths[ref].conditions.pop("never-slept", None)

    def _hold(self, truth: Truth, rule: str, holds: bool, limit: float) -> None:  # noqa: FBT001 - a condition by name
        """Break a rule where a condition has held without a break for so long."""
        if not holds:
            truth.conditions.pop(rule, None)
        elif rule not in truth.conditions:
            self._epochs += 1
            truth.conditions[rule] = self._epochs
            seeded_loop().later(limit, self._held, truth, rule, self._epochs, limit)

    def _held(self, truth: Truth, rule: str, epoch: int, limit: float) -> None:
        if truth.conditions.get(rule) == epoch:
            self._break(rule, f"{truth.ref} for {limit:g} s ({truth.phase})")

    def left(self, ref: TargetRef) -> None:
        """Its annotations are taken away."""
        truth = self.truths[ref]
        truth.managed, truth.calm_since = False, seeded_loop().time()
        workload = self.world.server.workloads[ref].workload
        truth.asleep_when_left = truth.asleep and workload.replicas_manager == FIELD_MANAGER

    def came_back(self, ref: TargetRef) -> None:
        """Its annotations are there again."""
        truth, now = self.truths[ref], seeded_loop().time()
        truth.managed = True
        self.witness.begins_anew(truth)
        if ref not in self.world.server.workloads:
            return
        workload = self.world.server.workloads[ref].workload
        replicas = workload.scale.replicas
        # One that was being put to sleep as it left slept by our hand as well.
        slept = truth.asleep_when_left or (truth.asleep and workload.replicas_manager == FIELD_MANAGER)
        kept = truth.original if self.world.server.crd_installed else 0
        undisturbed = truth.disturbed == 1 and now - truth.calm_since > GIVEN_BACK_SECONDS
        if slept and undisturbed and truth.is_remembered and replicas < max(kept, truth.policy.min_replicas):
            self._break("given-back-short", f"{ref} has {replicas}, came with {truth.original}")
        truth.original = replicas

    def begin_quiet(self) -> None:
        """From here on nothing may be written: everything is as it should be."""
        self.last_calm = True
        for ref, truth in self.truths.items():
            if not truth.has_a_topic:
                continue
            hpa, policy = self.world.server.hpa_of(ref), truth.policy
            most = policy.max_replicas
            if not truth.consumers.trigger.allow_idle_consumers:
                most = min(most, truth.partitions[-1][1])
            bounds = (policy.min_replicas, max(policy.min_replicas, most))
            if policy.handoff is Handover.DIRECT and hpa is not None:
                self._break("hpa-wrong", f"{ref} has one, and is moved by us")
            elif policy.handoff is not Handover.DIRECT and (
                hpa is None or (hpa.min_replicas, hpa.max_replicas) != bounds
            ):
                self._break("hpa-wrong", f"{ref} has {hpa and (hpa.min_replicas, hpa.max_replicas)}, asked is {bounds}")

    def check_looks(self) -> None:
        """Every running process has read every target within its polling interval."""
        now = seeded_loop().time()
        for truth in self.truths.values():
            longest = truth.policy.polling_interval.total_seconds() + LATE_SECONDS
            if truth.disturbed or not truth.must_act or now - truth.calm_since < longest:
                continue
            for wakegate in self.world.running():
                process = wakegate.process
                if now - max(process.started_at, self.witness.last_look(process, truth)) > longest:
                    self._break("not-looked-at", f"{truth.ref} by {process.name} for {longest:g} s")

    def _break(self, rule: str, text: str) -> None:
        self.journal.violation(rule, text)


def _version(scale: Scale) -> tuple[str, str]:
    return scale.uid, scale.resource_version


def _longest_awake(policy: Policy) -> float:
    """Return how many seconds a target may stay awake without work."""
    limit: float = policy.cooldown.total_seconds() + policy.initial_cooldown.total_seconds() + 120.0
    return limit + 600.0 if policy.sleep_from is SleepFrom.FLOOR else limit
