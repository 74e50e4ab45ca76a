"""What goes wrong with Kafka: brokers, logs, groups and their offsets, permissions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from tests.fakes.api_server import unreachable
from tests.world.faults.table import AWAKE, EMPTY_GROUP, FALLING_ASLEEP, End, Phase, Scope, fault, nothing
from tests.world.kafka import READ_SECONDS
from tests.world.kubernetes import Trouble
from tests.world.scheduler import seeded_loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.ports import TopicPartition
    from tests.world.plan import TargetPlan
    from tests.world.strikes import Hit


COMMITS_STAY = 0.5
"""How often a topic that is made anew is there before Kafka has deleted what was committed on the old one."""


def _drop(errors: dict[Any, str], key: object) -> None:
    errors.pop(key, None)


def kafka_error(hit: Hit, begin: Callable[[], None], end: Callable[[], None]) -> End:
    """Begin what a cluster does wrong; returns how to end it."""
    logs = hit.logs
    logs.faults += 1
    begin()

    def over() -> None:
        logs.faults -= 1
        logs.healthy_since = seeded_loop().time()
        end()
        logs._changed()

    return over


@fault("kafka", Scope.CLUSTER, lasts=(5, 200))
def _cluster_times_out(hit: Hit) -> End:
    """No broker answers."""
    logs = hit.logs

    def begin() -> None:
        logs.down, logs.down_at_once = "no broker answered within 5 s", False

    return kafka_error(hit, begin, lambda: setattr(logs, "down", None))


@fault("kafka", Scope.CLUSTER, lasts=(5, 200))
def _authentication_expires(hit: Hit) -> End:
    """Every connection is refused for its credentials."""
    logs = hit.logs

    def begin() -> None:
        logs.down, logs.down_at_once = "SASL_AUTHENTICATION_FAILED", True

    return kafka_error(hit, begin, lambda: setattr(logs, "down", None))


@fault("kafka", Scope.TARGET, lasts=(20, 400))
def _partition_errors(hit: Hit) -> End:
    """One partition has no leader; the others answer."""
    where = hit.partition()
    errors = hit.logs.partition_errors
    return kafka_error(hit, lambda: errors.__setitem__(where, "LEADER_NOT_AVAILABLE"), lambda: _drop(errors, where))


@fault("kafka", Scope.TARGET, lasts=(5, 400))
def _coordinator_moves(hit: Hit) -> End:
    """The group's coordinator is loading."""
    group, errors = hit.consumers.trigger.group, hit.logs.group_errors
    return kafka_error(
        hit, lambda: errors.__setitem__(group, "COORDINATOR_LOAD_IN_PROGRESS"), lambda: _drop(errors, group)
    )


@fault("kafka", Scope.TARGET, lasts=(5, 400))
def _topic_is_denied(hit: Hit) -> End:
    """Somebody takes the permission to describe the topic away, and gives it back."""
    topic, errors = hit.consumers.trigger.topic, hit.logs.topic_errors
    return kafka_error(
        hit, lambda: errors.__setitem__(topic, "TOPIC_AUTHORIZATION_FAILED"), lambda: _drop(errors, topic)
    )


@fault("kafka", Scope.CLUSTER, lasts=(1, 20))
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

    return kafka_error(hit, begin, end)


@fault("kafka", Scope.CLUSTER, lasts=(1, 60))
def _tail_is_cut(hit: Hit) -> End:
    """The tail's connections are cut, and cut again; reads go through."""
    logs = hit.logs

    def begin() -> None:
        logs.tail_broken_until = seeded_loop().time() + hit.strike.lasts_seconds

    return kafka_error(hit, begin, lambda: None)


@fault("kafka", Scope.CLUSTER, lasts=(5, 120))
def _reads_are_slow(hit: Hit) -> End:
    """Reads take seconds."""
    logs = hit.logs

    def begin() -> None:
        logs.read_seconds = (0.3, 2.4)

    return kafka_error(hit, begin, lambda: setattr(logs, "read_seconds", READ_SECONDS))


@fault("kafka", Scope.TARGET, lasts=(5, 120))
def _end_is_stale(hit: Hit) -> End:
    """The end offsets are those of a moment ago: a replica that lags answers as if it led."""
    logs, topic = hit.logs, hit.consumers.trigger.topic
    frozen = {number: log.end for number, log in enumerate(logs.topics.get(topic, ()))}

    def begin() -> None:
        logs.lies[topic] = lambda where, end: min(end, frozen.get(where[1], end))
        logs.undetectable.add(topic)

    return kafka_error(hit, begin, lambda: truth_again(hit))


@fault("kafka", Scope.TARGET, lasts=(30, 400))
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

    return kafka_error(hit, lambda: logs.lies.__setitem__(topic, lie), lambda: truth_again(hit))


@fault("kafka", Scope.TARGET, lasts=(30, 300))
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

    return kafka_error(hit, lambda: logs.lies.__setitem__(topic, lie), lambda: truth_again(hit))


def truth_again(hit: Hit) -> None:
    """Tell true ends from now on."""
    topic = hit.consumers.trigger.topic
    hit.logs.lies.pop(topic, None)
    if topic in hit.logs.undetectable:
        hit.logs.undetectable.discard(topic)
        hit.hides_work()  # a record that was pushed may have been looked for where the end was an old one


@fault("kafka", Scope.TARGET, lasts=(1, 30))
def _topic_is_recreated(hit: Hit) -> End | None:
    """The topic is deleted and made again, shorter; the group's commits go with it, or are there still."""
    logs, topic, commits = hit.logs, hit.consumers.trigger.topic, hit.consumers.group.commits
    if topic not in logs.topics:
        return nothing
    partitions, stay = len(logs.topics[topic]), hit.dice.random() < COMMITS_STAY

    def end() -> None:
        logs.create_topic(topic, partitions)
        for number in range(partitions):
            logs.arrivals.pop((topic, number), None)
        # Nothing of this log has been read (seed 2939): where its group had got in the one before, by a commit that
        # lay beyond the new end at the next sleep, was taken for records of the new one that were read again.
        hit.consumers.progress = dict.fromkeys(hit.consumers.progress, 0)
        if stay:
            # A commit beyond the end is never moved: it is out of range, and at latest a consumer goes on at the end.
            hit.standing.offsets.clear()
        hit.standing.recreated(topic, partitions, seeded_loop().time(), asleep=hit.asleep)
        hit.consumers.rebalance()

    def begin() -> None:
        logs.delete_topic(topic)
        if not stay:
            for where in [where for where in commits if where[0] == topic]:
                del commits[where]
        if not hit.asleep:
            hit.standing.offsets.clear()

    return kafka_error(hit, begin, end)


@fault("kafka", Scope.TARGET)
def _partitions_are_added(hit: Hit) -> End | None:
    """The topic grows by one partition."""
    topic = hit.consumers.trigger.topic
    if topic not in hit.logs.topics:
        return nothing
    partitions = len(hit.logs.topics[topic]) + 1
    hit.logs.create_topic(topic, partitions)
    hit.world.oracle.partitions_changed(hit.ref, partitions)
    hit.world.oracle.truths[hit.ref].standing.grew((topic, partitions - 1), seeded_loop().time())
    hit.consumers.rebalance()
    hit.hides_work()
    return None


@fault("kafka", Scope.TARGET)
def _log_is_truncated(hit: Hit) -> End | None:
    """An unclean election: the log has lost its end."""
    where = hit.partition()
    logs = hit.logs.topics.get(where[0], ())
    if where[1] >= len(logs) or logs[where[1]].end == logs[where[1]].log_start:
        return nothing
    log = logs[where[1]]
    log.end = max(log.log_start, log.end - hit.dice.randint(1, 40))
    log.open_since = None
    hit.standing.truncated(where)
    hit.hides_work()
    return None


@fault("kafka", Scope.TARGET)
def _retention_passes_the_commit(hit: Hit) -> End | None:
    """Retention removes all but the last records, and with them those that nobody has read yet."""
    where = hit.partition()
    logs = hit.logs.topics.get(where[0], ())
    if where[1] >= len(logs) or (before := logs[where[1]].end - hit.dice.randint(0, 2)) <= logs[where[1]].log_start:
        return nothing
    trim(hit, where, before)
    hit.hides_work()
    return None


def trim(hit: Hit, where: TopicPartition, before: int) -> None:
    """Let retention remove what lies before an offset."""
    hit.logs.trim(*where, before)
    hit.standing.trimmed(where, before, seeded_loop().time(), asleep=hit.asleep)


@fault("kafka", Scope.TARGET, EMPTY_GROUP)
def _offsets_are_reset(hit: Hit) -> End | None:
    """An operator moves the group's offsets back: there is work without a new record."""
    if hit.consumers.members or not hit.consumers.group.commits:
        return nothing
    for where, offset in hit.consumers.group.commits.items():
        hit.consumers.group.commits[where] = max(0, offset - hit.dice.randint(0, 30))
    hit.consumers.group.lasting.clear()
    hit.standing.offsets.clear()
    hit.hides_work()
    return None


@fault("kafka", Scope.NOBODY, EMPTY_GROUP)
def _offsets_expire(hit: Hit) -> End | None:
    """The group has been empty for longer than offsets.retention.minutes; that excuses nothing."""
    return None if expire(hit) else nothing


@fault("kafka", Scope.NOBODY, EMPTY_GROUP)
def _offsets_expire_and_a_record_arrives(hit: Hit) -> End | None:
    """The same, and a record comes before any look has found it."""
    expired = expire(hit)
    arrived = hit.world.produce(hit.ref, hit.partition()[1], 1 + hit.consumers.trigger.activation_lag_threshold)
    return None if expired and arrived else nothing


def expire(hit: Hit) -> bool:
    """Let Kafka forget the offsets of a group without members; returns whether it has forgotten any."""
    truth, now = hit.world.oracle.truths[hit.ref], seeded_loop().time()
    if hit.consumers.members:
        return False
    if truth.phase is Phase.WAKING:
        # Within a second of the wake nothing can have been done about it (docs/safety.md); and offsets that have
        # been committed again after it have a retention of their own.
        if now - truth.woken_at < 1.0:
            return False
        if hit.logs.renewed_at.get(hit.consumers.trigger.group, -1.0) >= truth.woken_at:
            return False
    had_any = bool(hit.consumers.group.commits)
    hit.consumers.group.commits.clear()
    truth.standing.expired(now)
    hit.hides_work()
    return had_any


@fault("kafka", Scope.TARGET, lasts=(20, 600))
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

    return kafka_error(hit, begin, end)


@fault("kafka", Scope.TARGET, lasts=(5, 200))
def _answers_to_commits_are_lost(hit: Hit) -> End:
    """What we commit for a group is committed, and nobody says so."""
    group, lost = hit.consumers.trigger.group, hit.logs.answers_lost
    return kafka_error(hit, lambda: lost.add(group), lambda: lost.discard(group))


def _reads_committed(target: TargetPlan) -> bool:
    return ("wakegate.dev/isolation-level", "read_committed") in target.annotations


@fault("kafka", Scope.TARGET, lasts=(5, 200), fits=_reads_committed)
def _transaction_is_open(hit: Hit) -> End | None:
    """A producer's transaction stays open; then it commits, or aborts and leaves nothing but a marker."""
    where = hit.partition()
    logs = hit.logs
    if not hit.reads_committed or where[1] >= len(logs.topics.get(where[0], ())):
        return nothing
    log = logs.topics[where[0]][where[1]]
    if log.open_since is not None:
        return nothing
    logs.produce_in_transaction(*where, hit.dice.randint(1, 20))
    logs.arrived(where)

    def end() -> None:
        present = logs.topics.get(where[0], ())
        if where[1] < len(present) and present[where[1]] is log and log.open_since is not None:
            logs.end_transaction(*where, commit=hit.dice.random() < 0.5)
            logs.arrivals[where].clear()
            logs.arrived(where)
            hit.hides_work()
            hit.consumers.wake()

    return end


@fault("kafka", Scope.NOBODY)
def _record_arrives(hit: Hit) -> End | None:
    """A record comes at the worst moment; that excuses nothing."""
    return None if hit.world.produce(hit.ref, hit.partition()[1], 1) else nothing


@fault("kafka", Scope.NOBODY, FALLING_ASLEEP)
def _record_arrives_once_it_sleeps(hit: Hit) -> None:
    """A record comes in the second after the sleep: its consumers leave, and no look has found them gone."""
    records = 1 + hit.consumers.trigger.activation_lag_threshold
    seeded_loop().later(hit.dice.uniform(0.1, 0.9), hit.world.produce, hit.ref, hit.partition()[1], records)


@fault("kafka", Scope.NOBODY, FALLING_ASLEEP, lasts=(5, 5))
def _record_arrives_while_the_sleep_takes_long(hit: Hit) -> End:
    """What must be kept before a sleep is kept slowly, and a record comes meanwhile."""
    records = 1 + hit.consumers.trigger.activation_lag_threshold
    seeded_loop().later(hit.dice.uniform(0.1, 0.4), hit.world.produce, hit.ref, hit.partition()[1], records)
    return hit.trouble(Trouble(frozenset({"state.save"}), "slow", unreachable, hit.ref))


@fault("kafka", Scope.ALL, frozenset({Phase.ASLEEP}), lasts=(1, 60))
def _offsets_expire_while_wakegate_is_away(hit: Hit) -> End:
    """Who comes back has never seen where the group stood."""
    gone = hit.world.running()
    for wakegate in gone:
        wakegate.process.dies()
    expire(hit)

    def end() -> None:
        for wakegate in gone:
            hit.world.replace(wakegate)

    return end


@fault("kafka", Scope.TARGET, AWAKE, lasts=(10, 300))
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
