"""Which topics count for a trigger that names none, from one look at its group to the next."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.group_topics import expanded, follow, names_no_topic
from activator.core.joined import joined, whole_triggers
from activator.core.model import Cluster, GroupState, Lag, Policy, Trigger, TriggerOffsets
from activator.core.naming import metric_name

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WRITTEN = Trigger(Cluster("kafka:9092"), "", "shop", topics_of_group=True)
NAMED = Trigger(Cluster("kafka:9092"), "named", "shop", index=1)
POLICY = Policy(triggers=(WRITTEN, NAMED))
TOPICS = st.frozensets(st.sampled_from("abcd"))

STABLE, EMPTY, REBALANCING = GroupState.STABLE, GroupState.EMPTY, GroupState.PREPARING_REBALANCE
LOOKS = [
    pytest.param("a", "ab", EMPTY, None, "ab", id="found"),
    pytest.param("ab", "a", EMPTY, None, "ab", id="expired-without-members"),
    pytest.param("ab", "", EMPTY, None, "ab", id="all-expired"),
    pytest.param("ab", "a", STABLE, "a", "a", id="deleted-and-not-consumed"),
    pytest.param("ab", "a", STABLE, "ab", "ab", id="consumed-without-a-commit-yet"),
    pytest.param("ab", "a", STABLE, None, "ab", id="what-is-consumed-is-not-known"),
    pytest.param("ab", "a", REBALANCING, "a", "ab", id="rebalancing"),
    pytest.param("", "", STABLE, "a", "a", id="consumed-and-never-committed"),
    pytest.param("", "", STABLE, "", "", id="nothing-is-known"),
]


@pytest.mark.parametrize(("known", "committed", "state", "consumed", "then"), LOOKS)
def test_one_look_while_awake(known: str, committed: str, state: GroupState, consumed: str | None, then: str) -> None:
    """What is committed on or consumed counts, and what is known goes only where it is surely neither."""
    members = None if consumed is None else frozenset(consumed)
    reading = TriggerOffsets((), NOW, state, 1, consumed=members, topics=frozenset(committed))
    assert follow(frozenset(known), reading, asleep=False) == frozenset(then)


@given(TOPICS, TOPICS, st.none() | TOPICS, st.sampled_from(GroupState))
def test_none_is_ever_lost_in_its_sleep(
    known: frozenset[str], committed: frozenset[str], consumed: frozenset[str] | None, state: GroupState
) -> None:
    """Whatever the group shows, as other consumers of it may have come and gone."""
    reading = TriggerOffsets((), NOW, state, 1, consumed=consumed, topics=committed)
    assert follow(known, reading, asleep=True) == known | committed


def test_each_topic_is_a_trigger_and_all_of_them_are_one() -> None:
    """Beside a trigger that names its topic: lags are summed under a name that does not change with the topics."""
    policy = expanded(POLICY, {WRITTEN: frozenset("ba")})
    assert [trigger.topic for trigger in policy.triggers] == ["a", "b", "named"]
    lags = [Lag(2, complete=True, partitions=1), Lag(3, complete=False, partitions=1), Lag(7, True, 1)]
    found = [(metric_name(trigger), lag.known, lag.complete) for trigger, lag in joined(policy.triggers, lags)]
    assert found == [("s0-kafka-shop-topics", 5, False), ("s1-kafka-named", 7, True)]
    assert whole_triggers(policy.triggers) == [WRITTEN, NAMED]


def test_without_a_topic_it_stays_as_it_was_written() -> None:
    """There is a trigger that cannot be read, and not one trigger less: its lag is unknown and not zero."""
    assert expanded(POLICY, {WRITTEN: frozenset()}) is POLICY
    two = replace(POLICY, triggers=(WRITTEN, replace(WRITTEN, group="other")))
    assert list(map(names_no_topic, expanded(two, {WRITTEN: frozenset("a")}).triggers)) == [False, True]
