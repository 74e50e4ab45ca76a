"""What may go wrong, as one table: name, whom it concerns, in which phases it may strike, how long it lasts.

`begin` strikes and returns how to end it; None: it was over at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from activator.core.naming import ANNOTATION_PREFIX
from tests.fakes.kubernetes import HPA_CONTROLLER, server_error, too_many_requests, unreachable
from tests.world.kubernetes import Trouble, conflict_of
from tests.world.scheduler import seeded_loop

if TYPE_CHECKING:
    from activator.ports import TopicPartition
    from tests.world.run import Hit


class Phase(StrEnum):
    """Where a target is, by the truth."""

    ASLEEP = "asleep"
    WAKING = "waking"
    BUSY = "busy"
    QUIET = "quiet"
    FALLING = "falling-asleep"
    """Between the GET of its scale and the answer of the PATCH that puts it to idle."""


class Scope(StrEnum):
    """Whom a fault disturbs while it lasts."""

    TARGET = "target"
    CLUSTER = "cluster"
    ALL = "all"
    NOBODY = "nobody"
    """It is no excuse for anything."""


End = Callable[[], None]
ANY = frozenset(Phase)
AWAKE = frozenset({Phase.WAKING, Phase.BUSY, Phase.QUIET})
EMPTY_GROUP = frozenset({Phase.ASLEEP, Phase.WAKING})
"""Only then will Kafka change a group's offsets for an operator."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One row."""

    name: str
    family: str
    scope: Scope
    phases: frozenset[Phase]
    lasts: tuple[float, float]
    """Seconds, at least and at most."""
    begin: Callable[[Hit], End | None]
    text: str


FAULTS: dict[str, Fault] = {}


def _fault(
    family: str, scope: Scope, phases: frozenset[Phase] = ANY, lasts: tuple[float, float] = (0.0, 0.0)
) -> Callable[[Callable[[Hit], End | None]], Callable[[Hit], End | None]]:
    def add(begin: Callable[[Hit], End | None]) -> Callable[[Hit], End | None]:
        name = begin.__name__.strip("_").replace("_", "-")
        text = (begin.__doc__ or "").strip()
        FAULTS[name] = Fault(name, family, scope, phases, lasts, begin, text)
        return begin

    return add


# ------------------------------------------------------------------------------------------------------------ Kafka


def _drop(errors: dict[Any, str], key: object) -> None:
    errors.pop(key, None)


def _kafka_error(hit: Hit, begin: Callable[[], None], end: Callable[[], None]) -> End:
    logs = hit.logs
    logs.faults += 1
    begin()

    def over() -> None:
        logs.faults -= 1
        logs.healthy_since = seeded_loop().time()
        end()
        logs._changed()

    return over


@_fault("kafka", Scope.CLUSTER, lasts=(5, 200))
def _cluster_times_out(hit: Hit) -> End:
    """No broker answers."""
    logs = hit.logs

    def begin() -> None:
        logs.down, logs.down_at_once = "no broker answered within 5 s", False

    return _kafka_error(hit, begin, lambda: setattr(logs, "down", None))


@_fault("kafka", Scope.CLUSTER, lasts=(5, 200))
def _authentication_expires(hit: Hit) -> End:
    """Every connection is refused for its credentials."""
    logs = hit.logs

    def begin() -> None:
        logs.down, logs.down_at_once = "SASL_AUTHENTICATION_FAILED", True

    return _kafka_error(hit, begin, lambda: setattr(logs, "down", None))


@_fault("kafka", Scope.TARGET, lasts=(20, 400))
def _partition_errors(hit: Hit) -> End:
    """One partition has no leader; the others answer."""
    where = hit.partition()
    errors = hit.logs.partition_errors
    return _kafka_error(hit, lambda: errors.__setitem__(where, "LEADER_NOT_AVAILABLE"), lambda: _drop(errors, where))


@_fault("kafka", Scope.TARGET, lasts=(5, 400))
def _coordinator_moves(hit: Hit) -> End:
    """The group's coordinator is loading."""
    group, errors = hit.consumers.trigger.group, hit.logs.group_errors
    return _kafka_error(
        hit, lambda: errors.__setitem__(group, "COORDINATOR_LOAD_IN_PROGRESS"), lambda: _drop(errors, group)
    )


@_fault("kafka", Scope.TARGET, lasts=(5, 400))
def _topic_is_denied(hit: Hit) -> End:
    """Somebody takes the permission to describe the topic away, and gives it back."""
    topic, errors = hit.consumers.trigger.topic, hit.logs.topic_errors
    return _kafka_error(
        hit, lambda: errors.__setitem__(topic, "TOPIC_AUTHORIZATION_FAILED"), lambda: _drop(errors, topic)
    )


@_fault("kafka", Scope.CLUSTER, lasts=(1, 20))
def _leader_moves(hit: Hit) -> End:
    """A broker goes: every partition of the topic errors, and the tail loses its connection."""
    logs, topic = hit.logs, hit.consumers.trigger.topic
    places = [(topic, number) for number in range(len(logs.topics.get(topic, ())))]

    def begin() -> None:
        logs.tail_broken_until = seeded_loop().time() + hit.strike.lasts_seconds
        logs.partition_errors.update(dict.fromkeys(places, "NOT_LEADER_OR_FOLLOWER"))

    def end() -> None:
        for where in places:
            logs.partition_errors.pop(where, None)

    return _kafka_error(hit, begin, end)


@_fault("kafka", Scope.CLUSTER, lasts=(1, 60))
def _tail_is_cut(hit: Hit) -> End:
    """The tail's connections are cut, and cut again; reads go through."""
    logs = hit.logs

    def begin() -> None:
        logs.tail_broken_until = seeded_loop().time() + hit.strike.lasts_seconds

    return _kafka_error(hit, begin, lambda: None)


@_fault("kafka", Scope.CLUSTER, lasts=(5, 120))
def _reads_are_slow(hit: Hit) -> End:
    """Reads take seconds."""
    logs = hit.logs

    def begin() -> None:
        logs.read_seconds = (0.3, 2.4)

    return _kafka_error(hit, begin, lambda: setattr(logs, "read_seconds", (0.002, 0.02)))


@_fault("kafka", Scope.TARGET, lasts=(5, 120))
def _end_is_stale(hit: Hit) -> End:
    """The end offsets are those of a moment ago: a replica that lags answers as if it led."""
    logs, topic = hit.logs, hit.consumers.trigger.topic
    frozen = {number: log.end for number, log in enumerate(logs.topics.get(topic, ()))}

    def begin() -> None:
        logs.lies[topic] = lambda where, end: min(end, frozen.get(where[1], end))
        logs.undetectable.add(topic)

    return _kafka_error(hit, begin, lambda: _truth_again(hit))


@_fault("kafka", Scope.TARGET, lasts=(30, 400))
def _end_falls(hit: Hit) -> End:
    """The end offset is told smaller with every answer."""
    logs, topic, number = hit.logs, *hit.partition()
    fallen = 0

    def lie(where: TopicPartition, end: int) -> int | None:
        nonlocal fallen
        if where[1] != number:
            return end
        fallen += hit.dice.randint(1, 3)
        return max(1, end - 500 - fallen) if end > 1000 else None

    return _kafka_error(hit, lambda: logs.lies.__setitem__(topic, lie), lambda: _truth_again(hit))


@_fault("kafka", Scope.TARGET, lasts=(30, 300))
def _end_is_zero(hit: Hit) -> End:
    """Now and then, never twice in a row, an end offset of zero is told."""
    logs, topic, number = hit.logs, *hit.partition()
    answers = 0

    def lie(where: TopicPartition, end: int) -> int | None:
        nonlocal answers
        if where[1] != number:
            return end
        answers += 1
        return (
            0
            if answers % len(hit.world.running() or [0]) == 0 and answers // max(1, len(hit.world.running())) % 2
            else end
        )

    return _kafka_error(hit, lambda: logs.lies.__setitem__(topic, lie), lambda: _truth_again(hit))


def _truth_again(hit: Hit) -> None:
    topic = hit.consumers.trigger.topic
    hit.logs.lies.pop(topic, None)
    hit.logs.undetectable.discard(topic)


@_fault("kafka", Scope.TARGET, lasts=(1, 30))
def _topic_is_recreated(hit: Hit) -> End | None:
    """The topic is deleted and made again, shorter; the group's commits stay."""
    logs, topic = hit.logs, hit.consumers.trigger.topic
    if topic not in logs.topics:
        return None
    partitions = len(logs.topics[topic])

    def end() -> None:
        logs.create_topic(topic, partitions)
        for number in range(partitions):
            logs.arrivals.pop((topic, number), None)
        hit.excuse("recreated")
        hit.consumers.rebalance()

    def begin() -> None:
        logs.delete_topic(topic)
        hit.excuse("recreated")

    return _kafka_error(hit, begin, end)


@_fault("kafka", Scope.TARGET)
def _partitions_are_added(hit: Hit) -> None:
    """The topic grows by one partition."""
    topic = hit.consumers.trigger.topic
    if topic not in hit.logs.topics:
        return
    partitions = len(hit.logs.topics[topic]) + 1
    hit.logs.create_topic(topic, partitions)
    hit.world.oracle.partitions_changed(hit.ref, partitions)
    hit.world.oracle.truths[hit.ref].standing.grew((topic, partitions - 1), seeded_loop().time())
    hit.consumers.rebalance()
    hit.moved_commits()


@_fault("kafka", Scope.TARGET)
def _log_is_truncated(hit: Hit) -> None:
    """An unclean election: the log has lost its end."""
    where = hit.partition()
    logs = hit.logs.topics.get(where[0], ())
    if where[1] < len(logs):
        log = logs[where[1]]
        log.end = max(log.log_start, log.end - hit.dice.randint(1, 40))
        log.open_since = None
        hit.excuse("truncated")
        hit.moved_commits()


@_fault("kafka", Scope.TARGET)
def _retention_passes_the_commit(hit: Hit) -> None:
    """Retention removes records that nobody has read yet."""
    where = hit.partition()
    logs = hit.logs.topics.get(where[0], ())
    if where[1] < len(logs):
        hit.logs.trim(*where, logs[where[1]].end - hit.dice.randint(0, 2))
        hit.excuse("trimmed")
        hit.moved_commits()


@_fault("kafka", Scope.TARGET, EMPTY_GROUP)
def _offsets_are_reset(hit: Hit) -> None:
    """An operator moves the group's offsets back: there is work without a new record."""
    if hit.consumers.members:
        return
    for where, offset in hit.consumers.group.commits.items():
        hit.consumers.group.commits[where] = max(0, offset - hit.dice.randint(0, 30))
    hit.excuse("reset")
    hit.moved_commits()


@_fault("kafka", Scope.NOBODY, EMPTY_GROUP)
def _offsets_expire(hit: Hit) -> None:
    """The group has been empty for longer than offsets.retention.minutes; that excuses nothing."""
    _expire(hit)


@_fault("kafka", Scope.NOBODY, EMPTY_GROUP)
def _offsets_expire_and_a_record_arrives(hit: Hit) -> None:
    """The same, and a record comes before any look has found it."""
    _expire(hit)
    hit.world.produce(hit.ref, hit.partition()[1], 1 + hit.consumers.trigger.activation_lag_threshold)


def _expire(hit: Hit) -> None:
    truth, now = hit.world.oracle.truths[hit.ref], seeded_loop().time()
    if hit.consumers.members:
        return
    if truth.phase is Phase.WAKING:
        # Within a second of the wake nothing can have been done about it (docs/safety.md); and once the offsets have
        # been committed again after it, their retention has begun anew.
        if now - truth.raised_at < 1.0:
            return
        if hit.logs.renewed_at.get(hit.consumers.trigger.group, -1.0) >= truth.raised_at:
            return
    hit.consumers.group.commits.clear()
    truth.standing.expired(now)
    hit.moved_commits()


@_fault("kafka", Scope.TARGET, lasts=(20, 600))
def _commits_are_denied(hit: Hit) -> End:
    """Somebody takes the permission to commit for the group away, and gives it back."""
    group, denied = hit.consumers.trigger.group, hit.logs.unwritable_groups
    truth = hit.world.oracle.truths[hit.ref]

    def begin() -> None:
        denied.add(group)
        truth.standing.denied_until = math.inf

    def end() -> None:
        denied.discard(group)
        truth.standing.denied_until = seeded_loop().time()

    return _kafka_error(hit, begin, end)


@_fault("kafka", Scope.TARGET, lasts=(5, 200))
def _answers_to_commits_are_lost(hit: Hit) -> End:
    """What we commit for a group is committed, and nobody says so."""
    group, lost = hit.consumers.trigger.group, hit.logs.answers_lost
    return _kafka_error(hit, lambda: lost.add(group), lambda: lost.discard(group))


@_fault("kafka", Scope.TARGET, lasts=(5, 200))
def _transaction_is_open(hit: Hit) -> End | None:
    """A producer's transaction stays open; then it commits, or aborts and leaves nothing but a marker."""
    where = hit.partition()
    logs = hit.logs
    if not hit.reads_committed or where[1] >= len(logs.topics.get(where[0], ())):
        return None
    log = logs.topics[where[0]][where[1]]
    if log.open_since is not None:
        return None
    logs.produce_in_transaction(*where, hit.dice.randint(1, 20))
    logs.arrived(where)

    def end() -> None:
        present = logs.topics.get(where[0], ())
        if where[1] < len(present) and present[where[1]] is log and log.open_since is not None:
            logs.end_transaction(*where, commit=hit.dice.random() < 0.5)
            logs.arrivals[where].clear()
            logs.arrived(where)
            hit.moved_commits()
            hit.consumers.wake()

    return end


@_fault("kafka", Scope.NOBODY)
def _record_arrives(hit: Hit) -> None:
    """A record comes at the worst moment; that excuses nothing."""
    hit.world.produce(hit.ref, hit.partition()[1], 1)


@_fault("kafka", Scope.TARGET, AWAKE, lasts=(10, 300))
def _group_rebalances(hit: Hit) -> End:
    """A member that comes and goes keeps the group in rebalance."""
    over = False

    def again() -> None:
        if not over:
            hit.consumers.rebalance()
            seeded_loop().later(hit.dice.uniform(0.5, 3.0), again)

    again()

    def end() -> None:
        nonlocal over
        over = True

    return end


# ------------------------------------------------------------------------------------------------------- API server


def _trouble(hit: Hit, trouble: Trouble) -> End:
    troubles = hit.world.server.troubles
    troubles.append(trouble)
    return lambda: troubles.remove(trouble)


@_fault("api", Scope.ALL, lasts=(5, 120))
def _api_server_is_away(hit: Hit) -> End:
    """No request is answered, no watch delivers, no lease is renewed."""
    hit.world.server.start_outage()
    return hit.world.server.end_outage


@_fault("api", Scope.ALL, lasts=(5, 60))
def _api_server_errors(hit: Hit) -> End:
    """Half of the requests are answered 500."""
    return _trouble(hit, Trouble(frozenset(), "refused", server_error, share=0.5))


@_fault("api", Scope.ALL, lasts=(5, 60))
def _api_server_throttles(hit: Hit) -> End:
    """Requests are answered 429 with Retry-After."""
    return _trouble(hit, Trouble(frozenset(), "refused", lambda: too_many_requests(timedelta(seconds=2)), share=0.7))


@_fault("api", Scope.ALL, lasts=(5, 60))
def _api_server_is_slow(hit: Hit) -> End:
    """Requests take seconds, and the slowest are given up before their answer."""
    return _trouble(hit, Trouble(frozenset(), "slow", unreachable))


@_fault("api", Scope.TARGET, lasts=(2, 60))
def _answers_are_lost(hit: Hit) -> End:
    """A PATCH is made, and its answer never comes."""
    return _trouble(hit, Trouble(frozenset({"scale.set"}), "lost", unreachable, hit.ref))


@_fault("api", Scope.TARGET, lasts=(2, 60))
def _conflicts(hit: Hit) -> End:
    """A PATCH of the scale meets 409 most of the time: others write the object's status."""
    return _trouble(hit, Trouble(frozenset({"scale.set"}), "refused", lambda: conflict_of(hit.ref), hit.ref, share=0.7))


@_fault("api", Scope.TARGET, lasts=(5, 60))
def _status_is_busy(hit: Hit) -> End:
    """Something writes the object a few times a second: only its resourceVersion moves."""
    over = False

    def again() -> None:
        if not over and hit.ref in hit.world.server.workloads:
            hit.world.server.touch(hit.ref)
            seeded_loop().later(hit.dice.uniform(0.05, 0.5), again)

    again()

    def end() -> None:
        nonlocal over
        over = True

    return end


@_fault("api", Scope.TARGET, lasts=(5, 120))
def _states_are_not_kept(hit: Hit) -> End:
    """ScaleTargets cannot be written."""
    return _trouble(hit, Trouble(frozenset({"state.save", "state.load"}), "refused", server_error))


@_fault("api", Scope.TARGET, lasts=(2, 60))
def _watch_event_is_lost(hit: Hit) -> End:
    """What changes is not told, until the watch expires and begins again."""
    for process in hit.world.running():
        process.catalog.stream.lost.add(hit.ref)

    def end() -> None:
        for process in hit.world.processes:
            process.catalog.stream.lost.discard(hit.ref)
            process.catalog.relist(hit.ref)

    return end


@_fault("api", Scope.ALL, lasts=(2, 60))
def _watch_event_is_late(hit: Hit) -> End:
    """A change is told many seconds later, and everything that comes after it, too."""
    seconds = hit.dice.uniform(1.0, 20.0)
    struck = hit.world.running()
    for process in struck:
        process.catalog.stream.late_seconds[hit.ref] = seconds

    def end() -> None:
        for process in struck:
            process.catalog.stream.late_seconds.pop(hit.ref, None)
            process.catalog.stream.next_at = min(process.catalog.stream.next_at, seeded_loop().time())

    return end


@_fault("api", Scope.TARGET, lasts=(2, 120))
def _watch_event_is_doubled(hit: Hit) -> End:
    """Every change is told twice."""
    struck = hit.world.running()
    for process in struck:
        process.catalog.stream.doubled.add(hit.ref)

    def over() -> None:
        for process in struck:
            process.catalog.stream.doubled.discard(hit.ref)

    return over


@_fault("api", Scope.TARGET, lasts=(2, 120))
def _watch_goes_back_in_time(hit: Hit) -> End:
    """After each change the state before it is told again: an API server with an old cache took over."""
    struck = hit.world.running()
    for process in struck:
        process.catalog.stream.back_in_time.add(hit.ref)

    def end() -> None:
        for process in struck:
            process.catalog.stream.back_in_time.discard(hit.ref)
            process.catalog.relist(hit.ref)

    return end


# ---------------------------------------------------------------------------------------------------------- process


@_fault("process", Scope.ALL, lasts=(1, 40))
def _crashes(hit: Hit) -> End:
    """A process dies at some await, and another one is started in its place."""
    victim = hit.dice.choice(hit.world.running() or hit.world.processes)
    hit.world.light_fuse(victim, hit.dice.choice((0, 1, 2, 5, 10, 30, 100)))
    return lambda: hit.world.replace(victim)


@_fault("process", Scope.ALL, lasts=(1, 20))
def _clock_is_ahead(hit: Hit) -> End:
    """A process is replaced by one whose clock is an hour ahead."""
    return _wrong_clock(hit, timedelta(hours=1))


@_fault("process", Scope.ALL, lasts=(1, 20))
def _clock_is_behind(hit: Hit) -> End:
    """A process is replaced by one whose clock is an hour behind."""
    return _wrong_clock(hit, timedelta(hours=-1))


def _wrong_clock(hit: Hit, offset: timedelta) -> End:
    victim = hit.dice.choice(hit.world.running() or hit.world.processes)
    for truth in hit.world.oracle.truths.values():
        truth.clocks_wrong = True
    hit.world.light_fuse(victim, 0)
    return lambda: hit.world.replace(victim, clock_offset=offset)


@_fault("process", Scope.ALL, lasts=(5, 40))
def _stalls(hit: Hit) -> End:
    """A process stands still for up to 40 s, and goes on as if nothing had been."""
    victim = hit.dice.choice(hit.world.running() or hit.world.processes)
    seeded_loop().stall(victim.process, hit.strike.lasts_seconds)
    return lambda: None


@_fault("process", Scope.ALL, lasts=(10, 60))
def _lease_is_lost(hit: Hit) -> End:
    """The holder cannot renew its Lease, while everything else goes through: another replica takes over."""
    holder = hit.world.server.lease.holder or hit.world.processes[0].process.name
    return _trouble(hit, Trouble(frozenset({"lease"}), "refused", unreachable, process=holder))


@_fault("process", Scope.ALL, lasts=(20, 90))
def _second_leader(hit: Hit) -> End:
    """The holder cannot renew its Lease and another replica is there to take it; the old one runs on beside it."""
    holder = hit.world.server.lease.holder or hit.world.processes[0].process.name
    made = hit.world.start_process()
    over = _trouble(hit, Trouble(frozenset({"lease"}), "refused", unreachable, process=holder))

    def end() -> None:
        over()
        old = [found for found in hit.world.running() if found.process.name == holder]
        hit.world.light_fuse(hit.dice.choice([made, *old]), 0)

    return end


@_fault("process", Scope.ALL, lasts=(10, 120))
def _replica_joins(hit: Hit) -> End:
    """A rolling update: for a while there is one process more."""
    made = hit.world.start_process()
    return lambda: hit.world.light_fuse(made, 0)


# ------------------------------------------------------------------------------------------------------------ world


@_fault("world", Scope.TARGET, frozenset({Phase.ASLEEP, Phase.WAKING}), lasts=(60, 450))
def _pods_never_become_ready(hit: Hit) -> End:
    """Quota, image, scheduling: nothing starts."""
    hit.consumers.never_ready = True
    return hit.consumers.heal


@_fault("world", Scope.TARGET, AWAKE, lasts=(20, 200))
def _pods_crash(hit: Hit) -> End:
    """A crash loop: ready, gone, ready, gone."""
    over = False

    def again() -> None:
        if not over:
            hit.consumers.crash()
            seeded_loop().later(hit.dice.uniform(5.0, 30.0), again)

    again()

    def end() -> None:
        nonlocal over
        over = True
        hit.consumers.heal()

    return end


@_fault("world", Scope.TARGET, lasts=(60, 450))
def _consumers_never_commit(hit: Hit) -> End:
    """They read, and commit nothing: the lag stands."""
    hit.consumers.never_commits = True
    return hit.consumers.heal


@_fault("world", Scope.TARGET, frozenset({Phase.QUIET, Phase.BUSY, Phase.FALLING}), lasts=(5, 120))
def _members_linger(hit: Hit) -> End:
    """Pods are killed and not stopped: the group counts their members until the session times out."""
    hit.consumers.leaves_late_seconds = 45.0
    return hit.consumers.heal


@_fault("world", Scope.TARGET, frozenset({Phase.FALLING, Phase.ASLEEP}))
def _hpa_writes_a_stale_count(hit: Hit) -> None:
    """The HPA controller retries a conflict with the count that it read before the sleep."""
    hit.write(hit.dice.randint(1, 3), HPA_CONTROLLER)


@_fault("world", Scope.TARGET, lasts=(30, 400))
def _gitops_writes_replicas_back(hit: Hit) -> End:
    """A GitOps tool that owns spec.replicas writes its own count back, again and again."""
    over, count = False, hit.dice.randint(1, 3)

    def again() -> None:
        if not over:
            hit.write(count, "argocd-controller")
            seeded_loop().later(hit.dice.uniform(5.0, 60.0), again)

    again()

    def end() -> None:
        nonlocal over
        over = True

    return end


@_fault("world", Scope.TARGET)
def _somebody_scales(hit: Hit) -> None:
    """A person sets a count by hand, also to zero."""
    hit.write(hit.dice.choice((0, 1, 4)), "kubectl")


@_fault("world", Scope.TARGET)
def _workload_is_recreated(hit: Hit) -> None:
    """Deleted and applied again: another uid, and no memory."""
    hit.world.recreate(hit.ref)


# ------------------------------------------------------------------------------------------------------------ users


def _annotation(hit: Hit, name: str, value: str | None, frozen: str = "") -> End:
    key = ANNOTATION_PREFIX + name
    stored = hit.world.server.workloads.get(hit.ref)
    before = stored.annotations.get(key) if stored else None
    truth = hit.world.oracle.truths[hit.ref]

    def write(written: str | None) -> None:
        if hit.ref in hit.world.server.workloads:
            hit.world.server.annotate(hit.ref, {key: written})

    truth.freeze(frozen, seeded_loop().time())
    write(value)

    def end() -> None:
        truth.thaw(frozen)
        write(before)

    return end


@_fault("user", Scope.TARGET, lasts=(20, 200))
def _paused(hit: Hit) -> End:
    """Somebody pauses the target for a while."""
    return _annotation(hit, "paused", "true", "paused")


@_fault("user", Scope.TARGET, lasts=(20, 200))
def _dry_run(hit: Hit) -> End:
    """Somebody sets a dry run for a while."""
    return _annotation(hit, "dry-run", "true", "dry-run")


@_fault("user", Scope.TARGET, lasts=(20, 400))
def _kept_awake(hit: Hit) -> End:
    """Somebody keeps the target awake for a while."""
    end = _annotation(hit, "keep-awake", "true")
    truth = hit.world.oracle.truths[hit.ref]
    truth.kept_awake_at = seeded_loop().time()

    def over() -> None:
        truth.kept_awake_at = None
        end()

    return over


@_fault("user", Scope.TARGET, lasts=(20, 200))
def _typo(hit: Hit) -> End:
    """Somebody saves a wrong annotation, and corrects it."""
    return _annotation(hit, "lag-treshold", "5")


@_fault("user", Scope.TARGET, lasts=(20, 200))
def _rival(hit: Hit) -> End:
    """Somebody else's HPA targets the same workload."""
    server, name = hit.world.server, f"theirs-{hit.ref.name}-{hit.strike.index}"
    truth = hit.world.oracle.truths[hit.ref]
    server.add_hpa(name, hit.ref)
    truth.freeze("rival", seeded_loop().time())

    def end() -> None:
        truth.thaw("rival")
        if (hit.ref.namespace, name) in server.hpas:
            server.delete_hpa(hit.ref.namespace, name)

    return end


@_fault("user", Scope.TARGET, lasts=(5, 120))
def _annotations_are_removed(hit: Hit) -> End | None:
    """The target is managed no more, and then again."""
    return hit.world.unmanage(hit.ref)
