"""What must hold of every PATCH, checked once more right before it is sent.

The steps of `core.decide` keep all of this by themselves. This is the second look, by other code: a violation is a
defect of ours, and costs a target its PATCH and not its records.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from activator.core.joined import joined
from activator.core.model import Reason, Step
from activator.core.schedule import window_at
from activator.core.steps.draft import REBALANCING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from activator.core.model import Decision, Observation, Policy

LOOK_AFTER_A_REFUSAL = timedelta(seconds=5)


def violation(policy: Policy, seen: Observation, replicas: int, *, leads: bool, since: datetime) -> str | None:
    """Return what forbids to set this count, in one clause; None: nothing does.

    Args:
        policy: of the target.
        seen: what the decision was made of.
        replicas: what the PATCH would set.
        leads: this replica holds the lease for as long as the PATCH may take.
        since: when the act began; a sleep's readings are no older.
    """
    idle = policy.idle_replicas or 0
    if policy.paused and replicas == policy.paused_replicas:
        checks = _of_a_pause(leads=leads)
    elif seen.replicas <= idle:
        checks = _of_a_wake(policy, seen, replicas)
    elif replicas <= idle:
        checks = _of_a_sleep(policy, seen, replicas, leads=leads, since=since)
    else:
        checks = _of_a_move(policy, seen, replicas, leads=leads)
    broken = next(_of_every_change(policy, seen, replicas), None) or next(checks, None)
    return broken and f"would go from {seen.replicas} to {replicas}, but {broken}"


def refused(decision: Decision, seen: Observation, broken: str, now: datetime) -> Decision:
    """Return the decision that is left of one that must not be carried out."""
    step = Step("invariants", seen.replicas, Reason.INVARIANT_VIOLATED, f"{broken}: not sent; please report this")
    return replace(
        decision, replicas=seen.replicas, steps=(*decision.steps, step), look_again_at=now + LOOK_AFTER_A_REFUSAL
    )


def _of_every_change(policy: Policy, seen: Observation, replicas: int) -> Iterator[str]:
    if policy.paused and replicas != policy.paused_replicas:
        yield "it is paused"
    if policy.pause_scale_out and replicas > seen.replicas and not policy.paused:
        yield "paused-scale-out is set"
    if policy.pause_scale_in and replicas < seen.replicas and not policy.paused:
        yield "paused-scale-in is set"
    if policy.dry_run:
        yield "it is a dry run"
    if seen.rival is not None:
        yield f"{seen.rival} drives it"


def _of_a_pause(*, leads: bool) -> Iterator[str]:
    if not leads:
        yield "this replica does not hold the lease for long enough"


def _of_a_wake(policy: Policy, seen: Observation, replicas: int) -> Iterator[str]:
    if replicas <= seen.replicas:
        yield "a wake never lowers"
    if replicas < policy.min_replicas:
        yield f"min-replica-count is {policy.min_replicas}"
    if replicas > max(policy.max_replicas, policy.min_replicas):
        yield f"max-replica-count is {policy.max_replicas}"


def _of_a_sleep(policy: Policy, seen: Observation, replicas: int, *, leads: bool, since: datetime) -> Iterator[str]:
    if policy.idle_replicas is None:
        yield "idle-replica-count is none"
    if replicas != policy.idle_replicas:
        yield f"idle-replica-count is {policy.idle_replicas}"
    if policy.keep_awake:
        yield "keep-awake is set"
    if not leads:
        yield "this replica does not hold the lease for long enough"
    if seen.push_is_proof:
        yield "a record has arrived"
    if policy.force_active:
        yield "force-activation is set"
    for schedule in policy.schedules:
        if window_at(schedule, since).is_open:
            yield f"{schedule} is open"
    yield from _of_evidence(policy, seen, since)


def _of_evidence(policy: Policy, seen: Observation, since: datetime) -> Iterator[str]:
    """Check that every trigger was read since then, in full, and had nothing to do."""
    if len(seen.lags) != len(policy.triggers) or not (seen.lags or policy.schedules):
        yield f"there are {len(seen.lags)} readings of {len(policy.triggers)} triggers"
    read = min(len(seen.lags), len(policy.triggers))
    for trigger, lag in joined(policy.triggers[:read], seen.lags[:read]):
        place = trigger.place
        if not lag.complete or lag.read_at is None:
            yield f"the lag of {place} is not known"
        elif lag.read_at < since:
            yield f"the reading of {place} is {(since - lag.read_at).total_seconds():.1f} s older than the scale"
        if lag.known > trigger.activation_lag_threshold:
            yield f"{place} lags {lag.known}"
        if lag.uncommitted or lag.passed:
            yield f"{place} has no offset to start from"
        if lag.group_state in REBALANCING:
            yield f"{place} is rebalancing"


def _of_a_move(policy: Policy, seen: Observation, replicas: int, *, leads: bool) -> Iterator[str]:
    if not leads:
        yield "this replica does not hold the lease for long enough"
    if seen.handed_off:
        yield "the HPA moves it between 1 and N"
    falls_back = policy.fallback is not None and replicas >= policy.fallback.replicas
    if replicas < seen.replicas and not falls_back and not all(lag.complete for lag in seen.lags):
        yield "not all of the lag is known"
    if replicas < min(seen.replicas, policy.min_replicas):
        yield f"min-replica-count is {policy.min_replicas}"
    if replicas > max(seen.replicas, policy.max_replicas, policy.min_replicas):
        yield f"max-replica-count is {policy.max_replicas}"
