"""Situations that chance makes too seldom, each for a safeguard: drawn from a stream of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fakes.api_server import server_error, unreachable
from tests.world.faults.api_server import back_in_time
from tests.world.faults.kafka import expire, kafka_error, trim, truth_again
from tests.world.faults.table import FALLING_ASLEEP, End, Phase, Scope, anyone, fault, nothing
from tests.world.kafka import READ_SECONDS
from tests.world.kubernetes import Trouble
from tests.world.scheduler import PROCESS, Process, seeded_loop

if TYPE_CHECKING:
    from activator.ports import TopicPartition
    from tests.world.plan import TargetPlan
    from tests.world.strikes import Hit

LIES_IN_A_ROW = 2
"""The second is believed, because it agrees with the first; before a sleep there is a third look."""


def _without_a_cooldown(target: TargetPlan) -> bool:
    return ("wakegate.dev/cooldown-period", "0") in target.annotations


def _guarded(target: TargetPlan) -> bool:
    return ("wakegate.dev/offset-guard", "on") in target.annotations


def _guarded_at_latest(target: TargetPlan) -> bool:
    wanted = {("wakegate.dev/offset-guard", "on"), ("wakegate.dev/offset-reset-policy", "latest")}
    return wanted <= set(target.annotations)


def _guarded_at_latest_with_a_threshold(target: TargetPlan) -> bool:
    return _guarded_at_latest(target) and ("wakegate.dev/activation-lag-threshold", "0") not in target.annotations


def _with_markers_left(target: TargetPlan) -> bool:
    return ("wakegate.dev/isolation-level", "read_committed") in target.annotations and not target.commits_idle


@fault("kafka", Scope.TARGET, frozenset({Phase.BUSY}), lasts=(5, 60), aimed_at=_without_a_cooldown)
def _end_falls_to_the_commit(hit: Hit) -> End | None:
    """Once a look has been told the truth, the next two are told by a replica that lags behind: nothing seems left."""
    logs, trigger = hit.logs, hit.consumers.trigger
    if trigger.topic in logs.lies:  # two liars would tell the same end more often in a row, which is believed
        return nothing
    shown: dict[Process | None, int] = {}
    lies: dict[Process | None, int] = {}

    def lie(where: TopicPartition, end: int) -> int | None:
        process, committed = PROCESS.get(), hit.consumers.group.commits.get(where, end)
        if where[1] == 0:
            # An end that nobody has seen cannot be seen to fall.
            is_fall = shown.get(process) == end > committed and lies.get(process, 0) < LIES_IN_A_ROW
            lies[process] = lies.get(process, 0) + 1 if is_fall else 0
            shown[process] = end
        return min(end, committed) if lies.get(process) else end

    return kafka_error(hit, lambda: logs.lies.__setitem__(trigger.topic, lie), lambda: truth_again(hit))


@fault("kafka", Scope.NOBODY, frozenset({Phase.QUIET, Phase.ASLEEP}), lasts=(5, 60), aimed_at=_with_markers_left)
def _transaction_leaves_a_marker(hit: Hit) -> End | None:
    """A transaction is aborted at once: nothing to read, and a lag that no consumer works off."""
    where = hit.partition()
    logs = hit.logs.topics.get(where[0], ())
    if where[1] >= len(logs) or logs[where[1]].open_since is not None:
        return nothing
    hit.logs.produce_in_transaction(*where, hit.dice.randint(1, 20))
    hit.logs.end_transaction(*where, commit=False)
    hit.consumers.wake()
    # Until a consumer has passed it, it is lag like any other: an HPA follows that, and each later step is a
    # rebalance, after which the quiet period begins.
    hit.world.oracle.truths[hit.ref].conditions.pop("never-slept", None)
    hit.world.oracle.touch(hit.ref)
    return None


@fault("kafka", Scope.NOBODY, frozenset({Phase.WAKING}), aimed_at=_guarded_at_latest)
def _offsets_expire_as_consumers_start(hit: Hit) -> End:
    """They expire after a look, and before the next one a member is there, for which nobody may commit."""
    starts_in = hit.consumers.starts_at - seeded_loop().time()
    truth = hit.world.oracle.truths[hit.ref]

    def expire_as_they_start() -> None:
        # Of a workload that was made anew meanwhile nobody knows yet where its group stands.
        if truth.phase is Phase.WAKING:
            expire(hit)
            hit.strikes()  # also where they stay: to be committed again after the wake is what saves them

    seeded_loop().later(max(0.0, starts_in - hit.dice.uniform(0.05, 0.5)), expire_as_they_start)
    return nothing  # so far


@fault("kafka", Scope.NOBODY, frozenset({Phase.ASLEEP}), aimed_at=_guarded)
def _retention_passes_as_somebody_wakes_it(hit: Hit) -> End | None:
    """What has no retention of its own is forgotten as a person scales it up, whose consumers are there at once."""
    truth = hit.world.oracle.truths[hit.ref]
    if not hit.world.oracle.is_prolonged(truth):
        return nothing
    if not hit.write(max(1, truth.policy.min_replicas), "kubectl"):
        return nothing
    hit.logs.pass_retention_of(hit.consumers.trigger.group)
    hit.world.produce(hit.ref, hit.partition()[1], 1)
    hit.consumers.start_at_once()
    return None


@fault("kafka", Scope.NOBODY, frozenset({Phase.ASLEEP}), lasts=(40, 400), aimed_at=_guarded_at_latest_with_a_threshold)
def _records_below_the_threshold_expire(hit: Hit) -> End | None:
    """Too few records to wake it come, retention passes them and its commit, and then one comes that wakes it."""
    where, threshold = hit.partition(), hit.consumers.trigger.activation_lag_threshold
    truth, logs = hit.world.oracle.truths[hit.ref], hit.logs.topics.get(where[0], ())
    few = hit.dice.randint(1, max(1, threshold // 4))
    if where[1] >= len(logs) or where not in truth.standing.offsets or truth.lag + few > threshold:
        return nothing
    log = logs[where[1]]
    hit.world.produce(hit.ref, where[1], few)

    def pass_the_commit() -> None:
        present = hit.logs.topics.get(where[0], ())
        if where[1] < len(present) and present[where[1]] is log:
            trim(hit, where, log.end)

    def wake() -> None:
        hit.world.produce(hit.ref, where[1], threshold + 1)

    seeded_loop().later(hit.dice.uniform(0.1, 0.7) * hit.strike.lasts_seconds, pass_the_commit)
    return wake


@fault("api", Scope.NOBODY, FALLING_ASLEEP, lasts=(40, 120), aimed_at=anyone)
def _awake_is_told_after_the_sleep(hit: Hit) -> End:
    """The count before the sleep is told once more after it, and then a record comes."""
    hit.tempt(0.2)
    return back_in_time(hit)


@fault("api", Scope.TARGET, frozenset({Phase.ASLEEP}), lasts=(5, 60), aimed_at=anyone)
def _wakes_are_refused(hit: Hit) -> End:
    """A record comes, and the PATCH that it asks for is answered 500 for a while."""
    hit.tempt(0.2)
    return hit.trouble(Trouble(frozenset({"scale.set"}), "refused", server_error, hit.ref))


@fault("process", Scope.ALL, FALLING_ASLEEP, lasts=(20, 40), aimed_at=anyone)
def _lease_runs_out_during_a_sleep(hit: Hit) -> End:
    """From its first request on a sleep takes as long as each of its steps may, and the Lease is not renewed."""
    holder = hit.world.server.lease.holder
    slow = Trouble(
        frozenset({"state.save", "scale.set"}),
        "slow",
        unreachable,
        hit.ref,
        there_seconds=(3.0, 4.4),
        back_seconds=(0.1, 0.4),
    )

    def begin() -> None:
        hit.logs.read_seconds = (2.0, 2.4)

    over = [
        hit.trouble(Trouble(frozenset({"lease"}), "refused", unreachable, process=holder)),
        hit.trouble(slow),
        kafka_error(hit, begin, lambda: setattr(hit.logs, "read_seconds", READ_SECONDS)),
    ]

    def end() -> None:
        for one in over:
            one()

    return end


@fault("user", Scope.TARGET, FALLING_ASLEEP, lasts=(60, 240), aimed_at=anyone)
def _annotations_are_removed_before_a_sleep_is_answered(hit: Hit) -> End:
    """The target is at idle and managed no more before we know that we have put it there."""
    trouble = Trouble(
        frozenset({"scale.set"}), "slow", unreachable, hit.ref, there_seconds=(0.001, 0.01), back_seconds=(2.0, 4.0)
    )
    answered = hit.trouble(trouble)
    back: list[End | None] = []

    def remove() -> None:
        answered()
        back.append(hit.world.author.unmanage(hit.ref))

    seeded_loop().later(hit.dice.uniform(0.3, 1.5), remove)

    def end() -> None:
        for over in back:
            if over is not None:
                over()

    return end


@fault("api", Scope.ALL, frozenset({Phase.ASLEEP}), lasts=(30, 90), aimed_at=_guarded_at_latest)
def _scale_targets_cannot_be_listed(hit: Hit) -> End | None:
    """Other processes begin, none of them can read what was kept, and offsets expire before a record comes."""
    if not hit.world.server.crd_installed:
        return nothing
    gone = hit.world.running()
    for wakegate in gone:
        wakegate.process.dies()
    expire(hit)
    hit.world.produce(hit.ref, hit.partition()[1], 1 + hit.consumers.trigger.activation_lag_threshold)
    over = hit.trouble(Trouble(frozenset({"state.load"}), "refused", server_error))
    for wakegate in gone:
        hit.world.replace(wakegate)
    return over
