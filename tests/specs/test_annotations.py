"""Annotations: each row of the table, what several of them make together, and every mistake told at once."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.model import (
    Behavior,
    Cluster,
    Fallback,
    Handover,
    IsolationLevel,
    OffsetGuard,
    OffsetReset,
    Policy,
    SleepFrom,
    Trigger,
    WakeTo,
)
from activator.core.naming import ANNOTATION_PREFIX
from activator.specs.annotations import TABLE, config_hash, parse
from activator.specs.defaults import AnnotationDefaults

DEFAULTS = AnnotationDefaults(bootstrap_servers="kafka:9092")
LEAST = {"topic": "orders", "consumer-group": "orders-workers"}
"""What a user must write where the operator has set Kafka's address."""


def annotated(**written: str) -> dict[str, str]:
    """Prefix annotations, given with underscores, on top of the least there must be."""
    return prefixed(LEAST | {name.replace("_", "-"): value for name, value in written.items()})


def prefixed(names: dict[str, str]) -> dict[str, str]:
    """Write annotations as they stand on a workload."""
    return {ANNOTATION_PREFIX + name: value for name, value in names.items()}


def accepted(annotations: dict[str, str], defaults: AnnotationDefaults = DEFAULTS) -> Policy:
    """Return the policy of annotations without a mistake."""
    policy, problems = parse(annotations, defaults, "shop")
    assert [str(problem) for problem in problems] == []
    assert policy is not None
    return policy


def refused(annotations: dict[str, str], defaults: AnnotationDefaults = DEFAULTS) -> list[str]:
    """Return the sentence of each mistake."""
    policy, problems = parse(annotations, defaults, "shop")
    assert policy is None
    return [str(problem) for problem in problems]


def test_four_lines_are_enough_and_every_default_is_the_promised_one() -> None:
    """A topic and a group, where the operator has set Kafka's address; all else is filled in."""
    assert accepted(annotated()) == Policy(
        triggers=(
            Trigger(
                cluster=Cluster("kafka:9092"),
                topic="orders",
                group="orders-workers",
                lag_threshold=10,
                activation_lag_threshold=0,
                offset_reset=OffsetReset.LATEST,
                isolation=IsolationLevel.READ_UNCOMMITTED,
                allow_idle_consumers=False,
                limit_to_partitions_with_lag=False,
                exclude_persistent_lag=False,
            ),
        ),
        min_replicas=1,
        max_replicas=100,
        idle_replicas=0,
        polling_interval=timedelta(seconds=30),
        cooldown=timedelta(seconds=300),
        initial_cooldown=timedelta(seconds=300),
        behavior=Behavior(),
        handoff=Handover.AUTO,
        sleep_from=SleepFrom.ANY,
        wake_to=WakeTo.MIN,
        paused=False,
        keep_awake=False,
        dry_run=False,
        config_hash=config_hash(LEAST),
    )


TRIGGER_FIELDS = {
    "topic": "topic",
    "consumer-group": "group",
    "bootstrap-servers": "cluster",
    "authentication-secret": "cluster",
    "authentication-ref": "cluster",
    "lag-threshold": "lag_threshold",
    "activation-lag-threshold": "activation_lag_threshold",
    "offset-reset-policy": "offset_reset",
    "isolation-level": "isolation",
    "allow-idle-consumers": "allow_idle_consumers",
    "limit-to-partitions-with-lag": "limit_to_partitions_with_lag",
    "exclude-persistent-lag": "exclude_persistent_lag",
}
POLICY_FIELDS = {
    "polling-interval": "polling_interval",
    "cooldown-period": "cooldown",
    "initial-cooldown-period": "initial_cooldown",
    "idle-replica-count": "idle_replicas",
    "min-replica-count": "min_replicas",
    "max-replica-count": "max_replicas",
    "behavior": "behavior",
    "handoff": "handoff",
    "sleep-from": "sleep_from",
    "wake-to": "wake_to",
    "paused": "paused",
    "keep-awake": "keep_awake",
    "dry-run": "dry_run",
    "offset-guard": "offset_guard",
    "fallback-replicas": "fallback",
    "fallback-after": "fallback",
}
NEEDS = {"fallback-after": {"fallback-replicas": "3"}}
"""What an annotation needs beside it."""

GOOD: list[tuple[str, str, Any]] = [
    ("topic", "orders.v1", "orders.v1"),
    ("consumer-group", "any text: even this", "any text: even this"),
    ("bootstrap-servers", "a:9092, b:9092", Cluster("a:9092,b:9092")),
    ("authentication-secret", "kafka.login", Cluster("kafka:9092", "Secret shop/kafka.login")),
    ("authentication-ref", "kafka-login", Cluster("kafka:9092", "TriggerAuthentication shop/kafka-login")),
    ("lag-threshold", "1", 1),
    ("activation-lag-threshold", "5", 5),
    ("polling-interval", "1s", timedelta(seconds=1)),
    ("polling-interval", "300", timedelta(minutes=5)),
    ("cooldown-period", "0", timedelta(0)),
    ("cooldown-period", "5m", timedelta(minutes=5)),
    ("initial-cooldown-period", "0s", timedelta(0)),
    ("idle-replica-count", "0", 0),
    ("idle-replica-count", "none", None),
    ("min-replica-count", "0", 1),
    ("min-replica-count", "100", 100),
    ("max-replica-count", "1", 1),
    ("offset-reset-policy", "earliest", OffsetReset.EARLIEST),
    ("isolation-level", "read_committed", IsolationLevel.READ_COMMITTED),
    ("allow-idle-consumers", "true", True),
    ("limit-to-partitions-with-lag", "true", True),
    ("exclude-persistent-lag", "TRUE", True),
    ("behavior", "scaleDown:\n  stabilizationWindowSeconds: 300", Behavior()),
    ("handoff", "hpa", Handover.HPA),
    ("handoff", "direct", Handover.DIRECT),
    ("sleep-from", "floor", SleepFrom.FLOOR),
    ("wake-to", "lag", WakeTo.LAG),
    ("paused", "true", True),
    ("keep-awake", "true", True),
    ("dry-run", "true", True),
    ("offset-guard", "observe", OffsetGuard.OBSERVE),
    ("fallback-replicas", "3", Fallback(3, timedelta(seconds=90))),
    ("fallback-after", "2m", Fallback(3, timedelta(minutes=2))),
]


@pytest.mark.parametrize(("name", "written", "expected"), GOOD, ids=lambda value: str(value)[:30])
def test_an_annotation_is_taken(name: str, written: str, expected: object) -> None:
    """Each annotation ends up in the field that means it, and in no other."""
    beside = prefixed(NEEDS.get(name, {}))
    policy = accepted(annotated() | beside | prefixed({name: written}))
    plain = accepted(annotated() | beside)
    if name in TRIGGER_FIELDS:
        assert getattr(policy.triggers[0], TRIGGER_FIELDS[name]) == expected
        changed = _differences(policy.triggers[0], plain.triggers[0])
        assert changed <= {TRIGGER_FIELDS[name]}
    else:
        assert getattr(policy, POLICY_FIELDS[name]) == expected
        follows = {"initial_cooldown"} if name == "cooldown-period" else set()
        assert _differences(policy, plain) <= {POLICY_FIELDS[name], "config_hash"} | follows


def _differences(one: Any, other: Any) -> set[str]:
    return {name for name in one.__slots__ if getattr(one, name) != getattr(other, name)}


INTEGER = "allowed: a whole number from {} to 2147483647"
DURATION = "allowed: a duration such as 30, 30s, 5m or 1h, at least {} s"
BOOLEAN = "allowed: true or false"

OBJECT_NAME = "the name of an object in the same namespace: a-z 0-9 - and . only, at most 253"
BAD: list[tuple[str, str, str]] = [
    ("topic", "my orders", "allowed: a Kafka topic name: 1 to 249 of the characters a-z A-Z 0-9 . _ -"),
    ("triggers", "type: kafka", "allowed: YAML of a list of triggers, as in a ScaledObject's spec.triggers"),
    ("triggers", "[", "allowed: YAML of a list of triggers (while parsing a flow node)"),
    ("profile", "quick", "allowed: fast or steady or peaks or bootstrap or constant"),
    ("consumer-group", " ", "allowed: a text that is not empty"),
    ("bootstrap-servers", "kafka", "allowed: a comma-separated list of HOST:PORT, without a protocol in front"),
    ("authentication-secret", "shop/kafka", f"allowed: {OBJECT_NAME}"),
    ("authentication-ref", "Kafka", f"allowed: {OBJECT_NAME}"),
    ("lag-threshold", "0", INTEGER.format(1)),
    ("lag-threshold", "ten", INTEGER.format(1)),
    ("activation-lag-threshold", "-1", INTEGER.format(0)),
    ("polling-interval", "0", f"{DURATION.format(1)}, and at most 365d"),
    ("polling-interval", "half a minute", DURATION.format(1)),
    ("cooldown-period", "-1", DURATION.format(0)),
    ("initial-cooldown-period", "5 m", DURATION.format(0)),
    ("idle-replica-count", "1", "allowed: 0, or none to never sleep (an HPA cannot hold any other count while idle)"),
    ("min-replica-count", "-1", INTEGER.format(0)),
    ("min-replica-count", "101", "allowed: no more than max-replica-count, which is 100"),
    ("max-replica-count", "0", INTEGER.format(1)),
    ("offset-reset-policy", "none", "allowed: earliest or latest"),
    ("isolation-level", "serializable", "allowed: read_uncommitted or read_committed"),
    ("allow-idle-consumers", "yes", BOOLEAN),
    ("limit-to-partitions-with-lag", "1", BOOLEAN),
    ("exclude-persistent-lag", "", BOOLEAN),
    ("behavior", "scaleUp: [", "allowed: YAML of an HPA's behavior (while parsing a flow node)"),
    ("behavior", "scaleUp: !!bool maybe", "allowed: YAML of an HPA's behavior, in plain values"),
    ("handoff", "keda", "allowed: auto or hpa or direct"),
    ("sleep-from", "min", "allowed: any or floor"),
    ("wake-to", "max", "allowed: min or lag"),
    ("paused", "until tomorrow", BOOLEAN),
    ("keep-awake", "on", BOOLEAN),
    ("dry-run", "tru", BOOLEAN),
    ("offset-guard", "true", "allowed: on or observe or off"),
    ("fallback-replicas", "some", INTEGER.format(0)),
    ("fallback-after", "0", f"{DURATION.format(1)}, and at most 365d"),
]


@pytest.mark.parametrize(("name", "written", "allowed"), BAD, ids=lambda value: str(value)[:30])
def test_a_wrong_value_is_told(name: str, written: str, allowed: str) -> None:
    """A wrong value is told once, with its key, itself and what is allowed."""
    assert refused(annotated() | prefixed(NEEDS.get(name, {})) | prefixed({name: written})) == [
        f"wakegate.dev/{name} is {written!r}; {allowed}",
    ]


def test_every_annotation_of_the_table_has_a_good_and_a_bad_row() -> None:
    """An annotation without a row here is one that nobody has tried."""
    names = {row.name for row in TABLE}
    # What triggers and profiles mean, which is more than one field, is told by test_annotated_triggers, test_profiles.
    assert names - {"triggers", "profile"} == {name for name, _, _ in GOOD}
    assert names == {name for name, _, _ in BAD}


def test_a_fallback_has_a_count() -> None:
    """And a short polling interval does not make it nervous: 60 s at least."""
    assert refused(annotated(fallback_after="2m")) == [
        "wakegate.dev/fallback-replicas: it is required where fallback-after is given"
    ]
    assert accepted(annotated(fallback_replicas="3", polling_interval="5")).fallback == Fallback(
        3, timedelta(seconds=60)
    )


def test_every_default_of_the_table_parses() -> None:
    """What the reference shows as a default is what a user may write."""
    for row in TABLE:
        if row.default is not None:
            row.parse(row.default)
    names = [row.name for row in TABLE]
    assert len(names) == len(set(names))


TOGETHER: dict[str, tuple[dict[str, str], list[str]]] = {
    "nothing at all": (
        {},
        ["wakegate.dev/topic: it is required", "wakegate.dev/consumer-group: it is required"],
    ),
    "a minimum above the maximum": (
        LEAST | {"min-replica-count": "5", "max-replica-count": "3"},
        ["wakegate.dev/min-replica-count is '5'; allowed: no more than max-replica-count, which is 3"],
    ),
    "nothing to keep while never sleeping": (
        LEAST | {"min-replica-count": "0", "idle-replica-count": "none"},
        ["wakegate.dev/min-replica-count is '0'; allowed: at least 1 where idle-replica-count is none"],
    ),
    "two ways to log in": (
        LEAST | {"authentication-secret": "a", "authentication-ref": "b"},
        ["wakegate.dev/authentication-ref is 'b'; allowed: only without authentication-secret"],
    ),
    "a cap that is lifted and lowered": (
        LEAST | {"allow-idle-consumers": "true", "limit-to-partitions-with-lag": "true"},
        [
            (
                "wakegate.dev/allow-idle-consumers is 'true'; allowed: false where limit-to-partitions-with-lag is "
                "true: one lifts the cap, the other lowers it"
            )
        ],
    ),
    "a bound that cannot be read is told, and not compared": (
        LEAST | {"min-replica-count": "five", "max-replica-count": "3"},
        ["wakegate.dev/min-replica-count is 'five'; allowed: a whole number from 0 to 2147483647"],
    ),
    "a misspelt name": (
        LEAST | {"lag-treshold": "20"},
        ["wakegate.dev/lag-treshold: there is no such annotation; did you mean wakegate.dev/lag-threshold?"],
    ),
    "a misspelt required name is told once": (
        {"topic": "orders", "consumer-gruop": "orders-workers"},
        ["wakegate.dev/consumer-gruop: there is no such annotation; did you mean wakegate.dev/consumer-group?"],
    ),
    "KEDA's own spelling": (
        LEAST | {"lagThreshold": "20", "pollingInterval": "5"},
        [
            "wakegate.dev/lagThreshold: there is no such annotation; did you mean wakegate.dev/lag-threshold?",
            "wakegate.dev/pollingInterval: there is no such annotation; did you mean wakegate.dev/polling-interval?",
        ],
    ),
    "a name in capitals": (
        LEAST | {"PAUSED": "true"},
        ["wakegate.dev/PAUSED: there is no such annotation; did you mean wakegate.dev/paused?"],
    ),
    "a name like no other": (LEAST | {"qqq": "1"}, ["wakegate.dev/qqq: there is no such annotation"]),
    "no name behind the prefix": (LEAST | {"": "1"}, ["wakegate.dev/: there is no such annotation"]),
    "every mistake at once": (
        {"topic": "a b", "lag-treshold": "x", "polling-interval": "0", "paused": "si", "max-replica-count": "0",
         "behavior": "scaleDown:\n  stabilizationWindowSeconds: 9999"},
        [
            "wakegate.dev/lag-treshold: there is no such annotation; did you mean wakegate.dev/lag-threshold?",
            "wakegate.dev/topic is 'a b'; allowed: a Kafka topic name: 1 to 249 of the characters a-z A-Z 0-9 . _ -",
            (
                "wakegate.dev/polling-interval is '0'; allowed: a duration such as 30, 30s, 5m or 1h, at least 1 s, "
                "and at most 365d"
            ),
            "wakegate.dev/max-replica-count is '0'; allowed: a whole number from 1 to 2147483647",
            (
                "wakegate.dev/behavior.scaleDown.stabilizationWindowSeconds is '9999'; "
                "allowed: a whole number from 0 to 3600"
            ),
            "wakegate.dev/paused is 'si'; allowed: true or false",
            "wakegate.dev/consumer-group: it is required",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("written", "sentences"), TOGETHER.values(), ids=TOGETHER)
def test_what_several_make_together(written: dict[str, str], sentences: list[str]) -> None:
    """All mistakes come at once, each once, in sentences that a person can act on."""
    assert refused(prefixed(written)) == sentences


ALLOWED = frozenset({"kafka:9092", "kafka:9093"})

SERVERS: dict[str, tuple[str | None, AnnotationDefaults, str | list[str]]] = {
    "named where the operator has none": ("a:1", AnnotationDefaults(), "a:1"),
    "named beside the operator's": ("a:1", DEFAULTS, "a:1"),
    "left to the operator": (None, DEFAULTS, "kafka:9092"),
    "named nowhere": (
        None,
        AnnotationDefaults(),
        [
            (
                "wakegate.dev/bootstrap-servers: it is required, because the operator has set no "
                "WAKEGATE_BOOTSTRAP_SERVERS"
            )
        ],
    ),
    "one of the allowed": ("kafka:9093", AnnotationDefaults(allowed_bootstrap_servers=ALLOWED), "kafka:9093"),
    "one of two is not allowed": (
        "kafka:9092,evil:9092",
        AnnotationDefaults(allowed_bootstrap_servers=ALLOWED),
        ["wakegate.dev/bootstrap-servers is 'evil:9092'; allowed: kafka:9092, kafka:9093"],
    ),
    "the operator's own needs no further permission": (
        None,
        AnnotationDefaults("own:9092", allowed_bootstrap_servers=ALLOWED),
        "own:9092",
    ),
    "nor does naming it": (
        "own:9092",
        AnnotationDefaults("own:9092", allowed_bootstrap_servers=ALLOWED),
        "own:9092",
    ),
}


@pytest.mark.parametrize(("written", "defaults", "expected"), SERVERS.values(), ids=SERVERS)
def test_which_servers(written: str | None, defaults: AnnotationDefaults, expected: str | list[str]) -> None:
    """Kafka's address is the target's own or the operator's, and within what the operator allows."""
    annotations = annotated() if written is None else annotated(bootstrap_servers=written)
    if isinstance(expected, str):
        assert accepted(annotations, defaults).triggers[0].cluster == Cluster(expected)
    else:
        assert refused(annotations, defaults) == expected


def test_the_operator_s_defaults_stand_where_a_target_says_nothing() -> None:
    """The hand-off is the target's word or the operator's; the operator's dry run holds for all."""
    defaults = AnnotationDefaults("kafka:9092", handoff=Handover.HPA, dry_run=True)
    assert accepted(annotated(), defaults).handoff is Handover.HPA
    assert accepted(annotated(handoff="auto"), defaults).handoff is Handover.AUTO
    assert accepted(annotated(dry_run="false"), defaults).dry_run is True


def test_the_initial_cooldown_follows_the_cooldown() -> None:
    """Where it is left out, no target sleeps before one cooldown of its own."""
    assert accepted(annotated(cooldown_period="60")).initial_cooldown == timedelta(seconds=60)
    assert accepted(annotated(cooldown_period="60", initial_cooldown_period="0")).initial_cooldown == timedelta(0)


def test_other_annotations_are_passed_over() -> None:
    """What does not carry the prefix is nobody's mistake and changes nothing, the hash neither."""
    others = {"kubectl.kubernetes.io/restartedAt": "x", "wakegate.dev": "x", "a.wakegate.dev/topic": "x"}
    assert accepted(annotated() | others) == accepted(annotated())


@given(st.permutations(sorted(annotated(paused="true", lag_threshold="5").items())))
def test_the_hash_does_not_know_an_order(items: list[tuple[str, str]]) -> None:
    """Annotations come in any order; what was written alike has one hash."""
    assert accepted(dict(items)).config_hash == accepted(annotated(paused="true", lag_threshold="5")).config_hash


def test_different_configurations_have_different_hashes() -> None:
    """Moving a character between key and value is a different text, too."""
    written = [{}, {"a": "b"}, {"ab": ""}, {"a": "b", "c": "d"}, {"a": "bc", "": "d"}, {"a": "b,c:d"}]
    hashes = [config_hash(annotations) for annotations in written]
    assert all(one != other for one, other in itertools.combinations(hashes, 2))


NAMES = st.sampled_from([row.name for row in TABLE]) | st.text(max_size=20)
VALUES = st.text(max_size=40) | st.sampled_from(["true", "0", "5m", "!!int x", "!!timestamp x", "&a {scaleUp: *a}"])


@given(st.dictionaries(NAMES, VALUES, max_size=8))
def test_arbitrary_text_is_answered(written: dict[str, str]) -> None:
    """Whatever is written there is a policy within bounds or at least one mistake, and never an exception."""
    policy, problems = parse(prefixed(LEAST | written), DEFAULTS)
    assert (policy is None) == bool(problems)
    assert all(str(problem).startswith("wakegate.dev/") for problem in problems)
    if policy is not None:
        assert 1 <= policy.min_replicas <= policy.max_replicas


@given(st.text(alphabet="!&*{}[]:,-?|>'\"% \n0aefisxbolnt_.", max_size=40))
def test_arbitrary_yaml_is_answered(written: str) -> None:
    """A behavior of any characters that YAML gives a meaning to is read or refused, and never an exception."""
    parse(annotated(behavior=written), DEFAULTS)


YAML_TRAPS = {
    "a list nested ten thousand times": "[" * 10_000,
    "a mapping that holds itself": "&a {scaleUp: *a}",
    "a tag with a wrong value": "scaleUp: {tolerance: !!timestamp never}",
    "an integer tag without digits": "scaleUp: {tolerance: !!int ''}",
    "a date that does not exist": "scaleUp: {tolerance: 2026-13-45}",
    "a number of six thousand digits": f"scaleUp: {{tolerance: 0x{'f' * 6000}}}",
    "a Python object": "!!python/object/apply:os.system ['true']",
    "two documents": "{}\n---\n{}",
    "a key that cannot be one": "{[1]: 2}",
    "a null character": "scaleUp: \0",
}


@pytest.mark.parametrize("written", YAML_TRAPS.values(), ids=YAML_TRAPS)
def test_yaml_that_breaks_its_parser_is_refused(written: str) -> None:
    """What makes a YAML parser stumble is a mistake of this one target, told shortly."""
    (sentence,) = refused(annotated(behavior=written))
    assert sentence.startswith("wakegate.dev/behavior")
    assert len(sentence) < 300
