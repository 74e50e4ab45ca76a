"""Annotations of a workload -> Policy, by one table: key, parser, default, unit, what it means.

The reference in `docs/annotations.md` is made from this table, and so is the list of names that a typo is held
against.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

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
from activator.errors import SpecError
from activator.specs import values
from activator.specs.annotated_triggers import read_annotated_triggers, trigger_list
from activator.specs.authentication import SECRET, TRIGGER_AUTHENTICATION, AuthenticationSource
from activator.specs.behavior import read_behavior
from activator.specs.defaults import NO_DEFAULTS, AnnotationDefaults
from activator.specs.keda.triggers import Triggers
from activator.specs.profiles import PROFILES, Profile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from collections.abc import Set as AbstractSet


def _behavior(value: str) -> Behavior:
    document = values.plain_yaml(value, "an HPA's behavior")
    try:
        return read_behavior(document, "behavior")
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        raise ValueError("YAML of an HPA's behavior, in plain values") from None


@dataclass(frozen=True, slots=True)
class Annotation:
    """One row of the table."""

    name: str
    """Without the prefix."""
    parse: Callable[[str], Any]
    default: str | None
    """As a user would write it; None: required, or taken from elsewhere as `doc` says."""
    unit: str
    doc: str


SHORTEST_FALLBACK = timedelta(seconds=60)
_ZERO = timedelta(0)
_SECOND = timedelta(seconds=1)

TABLE: tuple[Annotation, ...] = (
    Annotation(
        "topic", values.topic, None, "topic", "The topic whose records wake the workload. Required without `triggers`."
    ),
    Annotation(
        "consumer-group",
        values.text,
        None,
        "group",
        "The consumer group that the workload reads with. Required without `triggers`.",
    ),
    Annotation(
        "triggers",
        trigger_list,
        None,
        "YAML",
        "For more than one topic, or `cron`, `cpu`, `memory`: KEDA's list of triggers, in place of `topic`; the "
        "largest count that any asks for holds. See [below](#triggers).",
    ),
    Annotation(
        "profile",
        values.one_of(Profile),
        None,
        " or ".join(Profile),
        "Other defaults, for a way in which load comes. What is annotated beside it wins. See [below](#profiles).",
    ),
    Annotation(
        "bootstrap-servers",
        values.bootstrap_servers,
        None,
        "HOST:PORT,...",
        "Where Kafka is found. The operator's `WAKEGATE_BOOTSTRAP_SERVERS` where it is left out.",
    ),
    Annotation(
        "authentication-secret",
        values.object_name,
        None,
        "Secret",
        "A Secret in the same namespace that says how to log in to Kafka, with KEDA's parameter names as keys; see "
        "[authentication](authentication.md).",
    ),
    Annotation(
        "authentication-ref",
        values.object_name,
        None,
        "TriggerAuthentication",
        "A TriggerAuthentication in the same namespace that says it instead.",
    ),
    Annotation("lag-threshold", values.integer(1), "10", "records", "Lag that one replica is meant to carry."),
    Annotation(
        "activation-lag-threshold",
        values.integer(0),
        "0",
        "records",
        "It wakes on more lag than this. Above 0, records up to this many wait, with no limit of time.",
    ),
    Annotation(
        "polling-interval",
        values.duration(_SECOND),
        "30",
        "duration",
        "How often lag is read. Wakes do not wait for it; while an HPA is at work it is at most 15 s.",
    ),
    Annotation(
        "cooldown-period", values.duration(_ZERO), "300", "duration", "How long there must be no lag before it sleeps."
    ),
    Annotation(
        "initial-cooldown-period",
        values.duration(_ZERO),
        None,
        "duration",
        "It does not sleep sooner than this after its takeover. The cooldown-period where it is left out.",
    ),
    Annotation(
        "idle-replica-count",
        values.idle_count,
        "0",
        "replicas",
        "Where it sleeps: 0, or `none` so that it never sleeps and only 1..N is managed.",
    ),
    Annotation(
        "min-replica-count",
        values.integer(0),
        "1",
        "replicas",
        "What it wakes to, and the HPA's minimum. 0 means 1 with idle-replica-count 0.",
    ),
    Annotation(
        "max-replica-count",
        values.integer(1),
        "100",
        "replicas",
        "The HPA's maximum; lowered to the number of partitions, unless allow-idle-consumers is true.",
    ),
    Annotation(
        "offset-reset-policy",
        values.one_of(OffsetReset),
        "latest",
        "earliest or latest",
        "Where your consumer starts without a committed offset (its `auto.offset.reset`).",
    ),
    Annotation(
        "isolation-level",
        values.one_of(IsolationLevel),
        "read_uncommitted",
        "isolation level",
        "Your consumer's `isolation.level`: with read_committed, records of open transactions do not count.",
    ),
    Annotation("allow-idle-consumers", values.switch, "false", "boolean", "Lifts the cap at the number of partitions."),
    Annotation(
        "limit-to-partitions-with-lag",
        values.switch,
        "false",
        "boolean",
        "Caps at the number of partitions that have lag just now.",
    ),
    Annotation(
        "exclude-persistent-lag",
        values.switch,
        "false",
        "boolean",
        "A partition whose commit has not moved since the last look asks for no further replicas.",
    ),
    Annotation(
        "behavior", _behavior, None, "YAML", "The HPA's `behavior`; Kubernetes' defaults for what it leaves out."
    ),
    Annotation("paused", values.switch, "false", "boolean", "Freezes the replicas and removes the HPA."),
    Annotation("keep-awake", values.switch, "false", "boolean", "Holds at least the minimum. `paused` wins over it."),
    Annotation(
        "offset-guard",
        values.one_of(OffsetGuard),
        "on",
        "on, observe or off",
        "on: offsets that Kafka forgets while it sleeps, or that its group never committed, are committed for it. "
        "observe: it only says so. Needs the ACL Read on the group and the topic.",
    ),
    Annotation(
        "fallback-replicas",
        values.integer(0),
        None,
        "replicas",
        "Once lag has not been readable for `fallback-after`, at least so many. Without it, what is there is held.",
    ),
    Annotation(
        "fallback-after",
        values.duration(_SECOND),
        None,
        "duration",
        "How long lag must be unreadable before `fallback-replicas` holds. Three polling-intervals, and at least 60 s, "
        "where it is left out.",
    ),
    Annotation("dry-run", values.switch, "false", "boolean", "Decides and records, and changes nothing."),
    Annotation(
        "handoff",
        values.one_of(Handover),
        None,
        "auto, hpa or direct",
        "Who moves 1..N: an HPA, or wakegate itself by the same rules. The operator's `WAKEGATE_HANDOFF` if unset.",
    ),
    Annotation(
        "sleep-from",
        values.one_of(SleepFrom),
        "any",
        "any or floor",
        "any: it sleeps from every count; floor: it waits for the HPA to reach the minimum first.",
    ),
    Annotation(
        "wake-to",
        values.one_of(WakeTo),
        "min",
        "min or lag",
        "min: it wakes to the minimum; lag: to what the lag asks for, where that is known by then.",
    ),
)
"""Every annotation that is understood, in the order of the reference."""

_AUTHENTICATIONS = {"authentication-secret": SECRET, "authentication-ref": TRIGGER_AUTHENTICATION}
_BY_NAME = {row.name: row for row in TABLE}


def parse(
    annotations: Mapping[str, str], defaults: AnnotationDefaults = NO_DEFAULTS, namespace: str = "default"
) -> tuple[Policy | None, tuple[SpecError, ...]]:
    """Read a workload's annotations.

    Args:
        annotations: all or only the ``wakegate.dev/`` ones; others are passed over.
        defaults: the operator's settings.
        namespace: the workload's: what the annotations name by name alone stands there.

    Returns:
        The policy and no mistakes, or None and every mistake there is.
    """
    ours = {
        key.removeprefix(ANNOTATION_PREFIX): value
        for key, value in annotations.items()
        if key.startswith(ANNOTATION_PREFIX)
    }
    problems: list[SpecError] = []
    for name in ours:
        if name not in _BY_NAME:
            near = difflib.get_close_matches(name.lower(), _BY_NAME, n=1)
            suggestion = ANNOTATION_PREFIX + near[0] if near else None
            problems.append(SpecError(ANNOTATION_PREFIX + name, None, "there is no such annotation", suggestion))
    read = _read(ours, problems)
    wrong = {
        key.removeprefix(ANNOTATION_PREFIX).partition(".")[0]
        for problem in problems
        for key in (problem.where, problem.did_you_mean or "")
    }
    problems.extend(_together(read, wrong, defaults))
    triggers = _triggers(read, defaults, namespace)
    if triggers is not None:
        problems.extend(triggers.problems)
        problems.extend(_beside_triggers(read, triggers))
    if problems:
        return None, tuple(problems)
    if triggers is None:
        triggers = Triggers(kafka=[_trigger(read, defaults, namespace)])
    return _policy(read, triggers, defaults, config_hash(ours)), ()


def _read(ours: Mapping[str, str], problems: list[SpecError]) -> dict[str, Any]:
    """Read each annotation by its row, or its default; what is wrong is added to `problems`."""
    read: dict[str, Any] = {}
    profile = ours.get("profile", "").strip()
    by_profile = {entry.annotation: entry.value for entry in PROFILES[Profile(profile)]} if profile in PROFILES else {}
    for row in TABLE:
        written = ours.get(row.name, by_profile.get(row.name, row.default))
        if written is None:
            continue
        try:
            read[row.name] = row.parse(written)
        except SpecError as error:
            problems.append(SpecError(ANNOTATION_PREFIX + error.where, error.got, error.allowed, error.did_you_mean))
        except ValueError as error:
            choices = [str(choice) for choice in row.parse.choices] if isinstance(row.parse, values.OneOf) else []
            near = difflib.get_close_matches(written.strip().lower(), choices, n=1)
            problems.append(SpecError(ANNOTATION_PREFIX + row.name, written, str(error), *near))
    _give_way(read, by_profile.keys() - ours.keys())
    return read


def _give_way(read: dict[str, Any], by_profile: AbstractSet[str]) -> None:
    """Let the numbers of a profile give way to what is written: nobody is to correct one that they never wrote."""
    least, most = read.get("min-replica-count"), read.get("max-replica-count")
    if least is not None and most is not None and least > most:
        if "max-replica-count" in by_profile:
            read["max-replica-count"] = least
        elif "min-replica-count" in by_profile:
            read["min-replica-count"] = most
    if least == 0 and "idle-replica-count" in by_profile:
        read["idle-replica-count"] = 0


def config_hash(annotations: Mapping[str, str]) -> str:
    """Return a short digest of what the user wrote: equal for equal annotations in any order."""
    canonical = json.dumps(sorted(annotations.items()), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _together(read: Mapping[str, Any], wrong: set[str], defaults: AnnotationDefaults) -> list[SpecError]:
    """Return the mistakes that only several annotations together make."""
    problems = [
        SpecError(ANNOTATION_PREFIX + name, None, "it is required")
        for name in ("topic", "consumer-group")
        if name not in read and name not in wrong and "triggers" not in {*read, *wrong}
    ]
    servers = read.get("bootstrap-servers") or defaults.bootstrap_servers
    if not servers and "bootstrap-servers" not in wrong and "triggers" not in {*read, *wrong}:
        problems.append(
            SpecError(
                f"{ANNOTATION_PREFIX}bootstrap-servers",
                None,
                "it is required, because the operator has set no WAKEGATE_BOOTSTRAP_SERVERS",
            )
        )
    if "bootstrap-servers" in read and (refused := defaults.refused(servers)):
        problems.append(SpecError(f"{ANNOTATION_PREFIX}bootstrap-servers", refused, defaults.in_words()))
    if all(name in read for name in _AUTHENTICATIONS):
        problems.append(
            SpecError(
                f"{ANNOTATION_PREFIX}authentication-ref",
                read["authentication-ref"],
                "only without authentication-secret",
            )
        )
    least, most = read.get("min-replica-count"), read.get("max-replica-count")
    if least is not None and most is not None and least > most:
        problems.append(
            SpecError(
                f"{ANNOTATION_PREFIX}min-replica-count", str(least), f"no more than max-replica-count, which is {most}"
            )
        )
    if least == 0 and "idle-replica-count" in read and read["idle-replica-count"] is None:
        problems.append(
            SpecError(f"{ANNOTATION_PREFIX}min-replica-count", "0", "at least 1 where idle-replica-count is none")
        )
    if "fallback-after" in read and "fallback-replicas" not in read and "fallback-replicas" not in wrong:
        problems.append(
            SpecError(f"{ANNOTATION_PREFIX}fallback-replicas", None, "it is required where fallback-after is given")
        )
    if read.get("allow-idle-consumers") and read.get("limit-to-partitions-with-lag"):
        problems.append(
            SpecError(
                f"{ANNOTATION_PREFIX}allow-idle-consumers",
                "true",
                "false where limit-to-partitions-with-lag is true: one lifts the cap, the other lowers it",
            )
        )
    return problems


def _triggers(read: Mapping[str, Any], defaults: AnnotationDefaults, namespace: str) -> Triggers | None:
    """Return what `triggers` says; None: it is not there."""
    if "triggers" not in read:
        return None
    named = _authentication(read, namespace)
    return read_annotated_triggers(read, defaults, namespace, named, f"{ANNOTATION_PREFIX}triggers")


def _beside_triggers(read: Mapping[str, Any], triggers: Triggers) -> list[SpecError]:
    """Return the mistakes that other annotations make beside a list of triggers."""
    problems: list[SpecError] = []
    if "topic" in read:
        problems.append(
            SpecError(f"{ANNOTATION_PREFIX}topic", read["topic"], "only without triggers, which name theirs")
        )
    if triggers.only_resources and read.get("idle-replica-count") is not None:
        allowed = "none where cpu and memory are the only triggers: they cannot wake"
        problems.append(SpecError(f"{ANNOTATION_PREFIX}idle-replica-count", "0", allowed))
    if triggers.only_resources and "fallback-replicas" in read:
        allowed = "only with a trigger that is neither cpu nor memory"
        problems.append(SpecError(f"{ANNOTATION_PREFIX}fallback-replicas", None, allowed))
    return problems


def _authentication(read: Mapping[str, Any], namespace: str) -> AuthenticationSource | None:
    """Return what is named to log in with."""
    for name, kind in _AUTHENTICATIONS.items():
        if name in read:
            return AuthenticationSource(kind, namespace, read[name])
    return None


def _fallback(read: Mapping[str, Any]) -> Fallback | None:
    """Return the fallback that is asked for: never fewer than there are, because nobody knows what they are at."""
    if "fallback-replicas" not in read:
        return None
    after = read.get("fallback-after", max(3 * read["polling-interval"], SHORTEST_FALLBACK))
    return Fallback(read["fallback-replicas"], after)


def _trigger(read: Mapping[str, Any], defaults: AnnotationDefaults, namespace: str) -> Trigger:
    named = _authentication(read, namespace)
    return Trigger(
        cluster=Cluster(
            read.get("bootstrap-servers") or defaults.bootstrap_servers, credential=named.key() if named else ""
        ),
        topic=read["topic"],
        group=read["consumer-group"],
        lag_threshold=read["lag-threshold"],
        activation_lag_threshold=read["activation-lag-threshold"],
        offset_reset=read["offset-reset-policy"],
        isolation=read["isolation-level"],
        allow_idle_consumers=read["allow-idle-consumers"],
        limit_to_partitions_with_lag=read["limit-to-partitions-with-lag"],
        exclude_persistent_lag=read["exclude-persistent-lag"],
    )


def _policy(read: Mapping[str, Any], triggers: Triggers, defaults: AnnotationDefaults, digest: str) -> Policy:
    return Policy(
        triggers=tuple(triggers.kafka),
        schedules=tuple(triggers.schedules),
        resources=tuple(triggers.resources),
        notes=tuple(triggers.notes),
        min_replicas=max(1, read["min-replica-count"]),
        max_replicas=read["max-replica-count"],
        idle_replicas=read["idle-replica-count"],
        polling_interval=read["polling-interval"],
        cooldown=read["cooldown-period"],
        initial_cooldown=read.get("initial-cooldown-period", read["cooldown-period"]),
        behavior=read.get("behavior", Behavior()),
        handoff=read.get("handoff", defaults.handoff),
        sleep_from=read["sleep-from"],
        wake_to=read["wake-to"],
        paused=read["paused"],
        keep_awake=read["keep-awake"],
        dry_run=read["dry-run"] or defaults.dry_run,
        offset_guard=read["offset-guard"],
        fallback=_fallback(read),
        config_hash=digest,
    )
