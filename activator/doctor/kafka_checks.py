"""Kafka, as the principal that we are to it: reachability, ACLs, topics and groups."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, NamedTuple

from activator.doctor.facts import Unknown
from activator.doctor.verdict import Verdict, fail, ok, skipped, warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from activator.doctor.facts import Access, Facts, KafkaCluster, Target, TopicOfTarget

_NONE = "no Kafka cluster is named: neither by WAKEGATE_BOOTSTRAP_SERVERS nor by a workload"
_ACLS = "docs/security.md#kafka-acls"


def secrets(facts: Facts) -> Verdict:
    """Every Secret with Kafka credentials may be read and can be used."""
    if facts.credential_problems:
        return fail(
            f"Kafka credentials that cannot be used: {len(facts.credential_problems)}",
            *facts.credential_problems,
            fix="correct that key of the Secret, or let wakegate read it: bind a Role with get on that Secret to its "
            "ServiceAccount, in the workload's namespace",
        )
    return ok("no Kafka credentials are in a form that cannot be used")


def reachable(facts: Facts) -> Verdict:
    """Some broker of each cluster answers."""
    if not facts.clusters:
        return skipped(_NONE)
    silent = [cluster for cluster in facts.clusters if cluster.problem and not cluster.denied]
    if silent:
        return fail(
            _count(silent, facts.clusters, "Kafka clusters that do not answer from here"),
            *(cluster.problem for cluster in silent),
            fix="see that the address is right and its listener open; where only Pods reach it, ask from one: "
            f"kubectl -n {facts.namespace} exec deployment/wakegate -- wakegate doctor",
        )
    return ok(f"{', '.join(cluster.bootstrap_servers for cluster in facts.clusters)} answers")


def credentials(facts: Facts) -> Verdict:
    """Each cluster takes us for who we say we are."""
    if not facts.clusters:
        return skipped(_NONE)
    refused = [cluster for cluster in facts.clusters if cluster.denied]
    if refused:
        return fail(
            _count(refused, facts.clusters, "Kafka clusters that refuse the credentials"),
            *(cluster.problem for cluster in refused),
            fix="see to user, password and mechanism, and that the port is that of a listener which takes them",
        )
    if all(cluster.problem for cluster in facts.clusters):
        return skipped("see kafka-reachable")
    return ok("no cluster refuses the credentials")


def brokers(facts: Facts) -> Verdict:
    """Every broker is reached at the address that the cluster names, not only the bootstrap server."""
    if not facts.clusters:
        return skipped(_NONE)
    named = [broker for cluster in facts.clusters for broker in cluster.brokers]
    lost = [broker for broker in named if broker.problem]
    if lost:
        return fail(
            _count(lost, named, "brokers that are not reached at the address that they advertise"),
            *(broker.problem for broker in lost),
            fix="correct advertised.listeners of those brokers, or let their addresses be reached from here",
        )
    return ok(f"brokers reached at the address that they advertise: all, {len(named)}")


def topics(facts: Facts) -> Verdict:
    """Every topic exists."""
    causes = [
        f"{seen.topic}{_near(seen.trigger.topic, seen.cluster.topic_names)}"
        for seen in _topics(facts)
        if seen.access.describe and seen.access.exists is False
    ]
    if causes:
        return fail(
            f"topics that do not exist: {len(causes)}",
            *causes,
            fix="correct wakegate.dev/topic, or make the topic; until then the workload holds its count",
        )
    return _well(facts, "every topic exists")


def topic_describe(facts: Facts) -> Verdict:
    """We may see every topic: without this nothing is known of the lag."""
    if causes := [seen.topic for seen in _topics(facts) if not seen.access.describe]:
        return fail(
            f"topics that may not be described: {len(causes)}",
            *causes,
            fix=f"grant the ACL DESCRIBE on them to wakegate's principal ({_ACLS}); such a workload holds its count",
        )
    return _well(facts, "every topic may be described")


def topic_read(facts: Facts) -> Verdict:
    """We may read every topic: without this a wake takes up to a second."""
    if causes := [seen.topic for seen in _topics(facts) if seen.access.exists and seen.access.read is False]:
        return warn(
            f"topics that may not be read, and so wake within a second instead of milliseconds: {len(causes)}",
            *causes,
            fix=f"grant the ACL READ on them to wakegate's principal ({_ACLS})",
        )
    return _well(facts, "every topic may be read")


def group_describe(facts: Facts) -> Verdict:
    """We may see every group: without this nothing is known of the lag."""
    if causes := [seen.group for seen in _groups(facts) if not seen.access.describe]:
        return fail(
            f"consumer groups that may not be described: {len(causes)}",
            *causes,
            fix=f"grant the ACL DESCRIBE on them to wakegate's principal ({_ACLS}); such a workload holds its count",
        )
    return _well(facts, "every consumer group may be described")


def group_read(facts: Facts) -> Verdict:
    """We may commit for every group whose offsets are guarded."""
    guarded = (seen for seen in _groups(facts) if seen.target.guards_offsets)
    if causes := [seen.group for seen in guarded if seen.access.describe and seen.access.read is False]:
        return warn(
            f"consumer groups whose offsets cannot be guarded: {len(causes)}",
            *causes,
            fix=f"grant the ACL READ on them to wakegate's principal ({_ACLS}), or annotate "
            'wakegate.dev/offset-guard: "off"',
        )
    return _well(facts, "every consumer group may be committed for")


def groups(facts: Facts) -> Verdict:
    """No group is a slip of the pen: one that does not exist may be yet to come, unless another is nearly called so."""
    absent = [seen for seen in _groups(facts) if seen.access.describe and seen.access.exists is False]
    near = [(seen.group, _near(seen.trigger.group, seen.cluster.group_names)) for seen in absent]
    if causes := [f"{group}{hint}" for group, hint in near if hint]:
        return warn(
            f"consumer groups that do not exist while others are nearly called so: {len(causes)}",
            *causes,
            fix="correct wakegate.dev/consumer-group to the group.id of the consumer, if that is what it is",
        )
    return _well(
        facts, f"consumer groups that do not exist yet: {len(absent)}" if absent else "every consumer group exists"
    )


def consumed(facts: Facts) -> Verdict:
    """No group has members that all consume other topics: the lag on this one would never go."""
    causes = [
        f"{seen.group} consumes {_listed(seen.access.consumed)}, and nobody of it topic {seen.trigger.topic!r}"
        for seen in _groups(facts)
        if seen.trigger.topic and seen.access.consumed is not None and seen.trigger.topic not in seen.access.consumed
    ]
    if causes:
        return warn(
            f"topics that no member of their consumer group consumes: {len(causes)}",
            *causes,
            fix="name in the trigger the topics that are consumed, or consume this one: its lag stays, and keeps the "
            "workload awake",
        )
    return _well(facts, "every consumer group that has members just now consumes its topics")


class _Seen(NamedTuple):
    """A trigger of a target, and what we may do to its topic or to its group."""

    target: Target
    trigger: TopicOfTarget
    cluster: KafkaCluster
    access: Access

    @property
    def topic(self) -> str:
        return f"{self.target.name}: topic {self.trigger.topic!r}"

    @property
    def group(self) -> str:
        return f"{self.target.name}: consumer group {self.trigger.group!r}"


def _topics(facts: Facts) -> Iterator[_Seen]:
    return _each(facts, lambda cluster, trigger: cluster.topics.get(trigger.topic))


def _groups(facts: Facts) -> Iterator[_Seen]:
    return _each(facts, lambda cluster, trigger: cluster.groups.get(trigger.group))


def _each(facts: Facts, look: Callable[[KafkaCluster, TopicOfTarget], Access | None]) -> Iterator[_Seen]:
    """Walk the triggers of which something could be found out."""
    clusters = {(cluster.bootstrap_servers, cluster.credential): cluster for cluster in facts.clusters}
    for target in () if isinstance(facts.targets, Unknown) else facts.targets:
        for trigger in target.triggers:
            cluster = clusters.get((trigger.bootstrap_servers, trigger.credential))
            if cluster is not None and (access := look(cluster, trigger)) is not None:
                yield _Seen(target, trigger, cluster, access)


def _well(facts: Facts, text: str) -> Verdict:
    if isinstance(facts.targets, Unknown):
        return skipped(f"the annotated workloads: {facts.targets.reason}")
    if not any(target.triggers for target in facts.targets):
        return skipped("no workload is annotated yet")
    asked = {(cluster.bootstrap_servers, cluster.credential) for cluster in facts.clusters if not cluster.problem}
    named = {(trigger.bootstrap_servers, trigger.credential) for target in facts.targets for trigger in target.triggers}
    if silent := sorted({servers for servers, _ in named - asked}):
        return skipped(f"{', '.join(silent)} could not be asked; nothing is wrong elsewhere")
    return ok(text)


def _near(name: str, names: Sequence[str]) -> str:
    """Name the nearest right name, as the end of a sentence; empty: none is near."""
    found = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    return f"; did you mean {found[0]!r}?" if found else ""


def _listed(names: frozenset[str]) -> str:
    return ", ".join(map(repr, sorted(names))) or "no topic"


def _count(bad: Sequence[object], of: Sequence[object], what: str) -> str:
    return f"{what}: {len(bad)} of {len(of)}"
