"""Every attribute of every span: its name, its type, what it means and where its value comes from.

``messaging.*`` and ``k8s.*`` follow OpenTelemetry's semantic conventions (their names are copied: the constants of
the Python package are marked as incubating). There is no convention for a scaling decision: ``wakegate.*`` is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from activator.core.model import (
    APPLIED_OK,
    FOUND_APPLIED,
    BatchRead,
    EpisodePhase,
    Evaluation,
    Push,
    PushSource,
    Reason,
    TargetRef,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activator.telemetry.holds import Stretch

Value = str | bool | int | float | tuple[str, ...]
Source = TypeVar("Source")

POLL = "poll"
"""Source of a wake that nobody pushed."""


@dataclass(frozen=True, slots=True)
class Attribute(Generic[Source]):
    """One attribute of one kind of span."""

    name: str
    type: str
    """As the semantic conventions write it."""
    doc: str
    value: Callable[[Source], Value | None]
    """None: the span does not carry it."""


def values(table: Sequence[Attribute[Source]], source: Source) -> dict[str, Value]:
    """Return the attributes of a span, those left out that have no value."""
    return {row.name: value for row in table if (value := row.value(source)) is not None}


def is_wake(evaluation: Evaluation) -> bool:
    """Tell whether a decision brings its target up from where it sleeps."""
    idle = evaluation.policy.idle_replicas or 0
    return evaluation.seen.replicas <= idle and evaluation.decision.replicas > evaluation.seen.replicas


def wake_source(evaluation: Evaluation) -> str | None:
    """Name who brought a look forward, or ``poll`` for a wake that a due look found."""
    if evaluation.seen.pushed is not None:
        return evaluation.seen.pushed.source.value
    return POLL if is_wake(evaluation) else None


def _age_seconds(evaluation: Evaluation) -> float | None:
    read = [lag.read_at for lag in evaluation.seen.lags if lag.read_at is not None]
    return (evaluation.now - min(read)).total_seconds() if read else None


def _only(texts: set[str]) -> str | None:
    return next(iter(texts)) if len(texts) == 1 else None


def _kind_is(kind: str) -> Callable[[TargetRef], str | None]:
    return lambda ref: ref.name if ref.kind == kind else None


_TARGET: tuple[Attribute[TargetRef], ...] = (
    Attribute("wakegate.target", "string", "The workload: kind, namespace and name.", str),
    Attribute("k8s.namespace.name", "string", "Its namespace.", lambda ref: ref.namespace),
    Attribute("k8s.deployment.name", "string", "Its name, where it is a Deployment.", _kind_is("Deployment")),
    Attribute("k8s.statefulset.name", "string", "Its name, where it is a StatefulSet.", _kind_is("StatefulSet")),
)


def _of_target(ref: Callable[[Source], TargetRef]) -> tuple[Attribute[Source], ...]:
    def through(row: Attribute[TargetRef]) -> Attribute[Source]:
        return Attribute(row.name, row.type, row.doc, lambda source: row.value(ref(source)))

    return tuple(through(row) for row in _TARGET)


DECIDE: tuple[Attribute[Stretch], ...] = (
    *_of_target(lambda stretch: stretch.last.ref),
    Attribute(
        "wakegate.outcome",
        "string",
        "What became of the decision: applied, held, refused or failed.",
        lambda stretch: stretch.last.outcome.value,
    ),
    Attribute(
        "wakegate.reason",
        "string",
        "Code of the reason that settled the count.",
        lambda stretch: stretch.last.decision.reason.value,
    ),
    Attribute("wakegate.explanation", "string", "The same in words.", lambda stretch: stretch.last.decision.text),
    Attribute("wakegate.replicas.from", "int", "The count that was seen.", lambda stretch: stretch.last.seen.replicas),
    Attribute(
        "wakegate.replicas.to", "int", "The count that was decided.", lambda stretch: stretch.last.decision.replicas
    ),
    Attribute(
        "wakegate.steps",
        "string[]",
        "Every rule that had a say, in order: its name, the count after it, its reason, and why in words.",
        lambda stretch: tuple(
            f"{step.name} -> {step.replicas} ({step.reason}): {step.text}" for step in stretch.last.decision.steps
        ),
    ),
    Attribute(
        "wakegate.phase", "string", "Where the target is in its cycle.", lambda stretch: stretch.last.phase.value
    ),
    Attribute(
        "wakegate.lag",
        "int",
        "Consumable lag over all triggers; a lower bound where wakegate.lag.complete is false; absent: unknown.",
        lambda stretch: stretch.last.seen.known_lag,
    ),
    Attribute(
        "wakegate.lag.complete",
        "boolean",
        "Whether every partition of every trigger was readable.",
        lambda stretch: all(lag.complete for lag in stretch.last.seen.lags) if stretch.last.seen.lags else None,
    ),
    Attribute(
        "wakegate.lag.age",
        "double",
        "Seconds since the oldest of the readings that were used.",
        lambda stretch: _age_seconds(stretch.last),
    ),
    Attribute(
        "wakegate.lag.problems",
        "string[]",
        "Why partitions could not be read.",
        lambda stretch: tuple(problem for lag in stretch.last.seen.lags for problem in lag.problems) or None,
    ),
    Attribute(
        "wakegate.wake.source",
        "string",
        "Who brought the look forward: tail or gateway; poll for a wake that a due look found.",
        lambda stretch: wake_source(stretch.first),
    ),
    Attribute(
        "wakegate.config.hash",
        "string",
        "Of what the user configured: equal hashes were written alike.",
        lambda stretch: stretch.last.policy.config_hash or None,
    ),
    Attribute(
        "wakegate.dry_run",
        "boolean",
        "Whether the decision was only to be told.",
        lambda stretch: stretch.last.policy.dry_run or stretch.last.decision.reason is Reason.DRY_RUN,
    ),
    Attribute(
        "wakegate.evaluations",
        "int",
        "How many evaluations in a row this span stands for.",
        lambda stretch: stretch.evaluations,
    ),
    Attribute(
        "wakegate.next_look",
        "string",
        "When the target is looked at again at the latest, RFC 3339.",
        lambda stretch: stretch.last.decision.look_again_at.isoformat(),
    ),
    Attribute(
        "wakegate.episode.id",
        "string",
        "Trace id of the wake or sleep that the target is in.",
        lambda stretch: stretch.last.episode_id,
    ),
    Attribute("messaging.system", "string", "Always kafka.", lambda _: "kafka"),
    Attribute(
        "messaging.destination.name",
        "string",
        "The topic, where all triggers have the same.",
        lambda stretch: _only({trigger.topic for trigger in stretch.last.policy.triggers} - {""}),
    ),
    Attribute(
        "messaging.consumer.group.name",
        "string",
        "The consumer group, where all triggers have the same.",
        lambda stretch: _only({trigger.group for trigger in stretch.last.policy.triggers}),
    ),
)

APPLY: tuple[Attribute[Evaluation], ...] = (
    *_of_target(lambda evaluation: evaluation.ref),
    Attribute(
        "wakegate.apply.status",
        "string",
        f"{APPLIED_OK}, `{FOUND_APPLIED}`, or what went wrong.",
        lambda evaluation: evaluation.applied.status if evaluation.applied else None,
    ),
    Attribute(
        "wakegate.apply.attempts",
        "int",
        "How often it was sent: more than once where somebody else wrote in between.",
        lambda evaluation: evaluation.applied.attempts if evaluation.applied else None,
    ),
)

READ_LAG: tuple[Attribute[BatchRead], ...] = (
    Attribute("messaging.system", "string", "Always kafka.", lambda _: "kafka"),
    Attribute("wakegate.bootstrap_servers", "string", "The cluster.", lambda read: read.cluster.bootstrap_servers),
    Attribute("wakegate.triggers", "int", "Triggers that were read.", lambda read: read.triggers),
    Attribute("wakegate.triggers.unreadable", "int", "Of those, unreadable ones.", lambda read: read.unreadable),
    Attribute("wakegate.problem", "string", "The first thing that went wrong.", lambda read: read.problem),
)

EPISODE: tuple[Attribute[EpisodePhase], ...] = (
    *_of_target(lambda phase: phase.ref),
    Attribute(
        "wakegate.episode.id",
        "string",
        "Trace id of the wake or sleep; kept in the ScaleTarget, so that a restart does not break the chain.",
        lambda phase: phase.episode_id,
    ),
    Attribute(
        "wakegate.episode.missing",
        "string[]",
        "What had not been seen when it was closed for want of time.",
        lambda phase: phase.missing or None,
    ),
)

WAKING_RECORD: tuple[Attribute[Push], ...] = (
    Attribute("messaging.system", "string", "Always kafka.", lambda _: "kafka"),
    Attribute("messaging.destination.name", "string", "The record's topic.", lambda push: push.topic),
    Attribute(
        "messaging.destination.partition.id",
        "string",
        "The record's partition, where it is known.",
        lambda push: None if push.partition is None else str(push.partition),
    ),
    Attribute("messaging.kafka.offset", "int", "The record's offset, where it is known.", lambda push: push.offset),
    Attribute(
        "wakegate.wake.source",
        "string",
        f"Who saw the record: {' or '.join(PushSource)}.",
        lambda push: push.source.value,
    ),
)


class Documented(NamedTuple):
    """What is written about one kind of span."""

    name: str
    doc: str
    attributes: Sequence[Attribute[Any]]


ATTRIBUTES = (
    Documented(
        "wakegate.decide",
        "One decision, or a stretch of equal ones that changed nothing; a trace of its own. It links to the record "
        "that woke the target, to the batch reads that it used and to the previous applied decision.",
        DECIDE,
    ),
    Documented("wakegate.apply", "The PATCH of the scale subresource, as a child of wakegate.decide.", APPLY),
    Documented("wakegate.read_lag", "One batched read of one cluster; a trace of its own.", READ_LAG),
    Documented(
        "wakegate.wake",
        "From the record to the first commit after it, with the children `wakegate.wake.ready`, "
        "`wakegate.wake.handoff` and `wakegate.wake.first_commit`; closed after ten minutes with what is missing. It "
        "links to its wakegate.decide.",
        EPISODE,
    ),
    Documented(
        "wakegate.sleep",
        "From the decision to the end of the last replica, with the child `wakegate.sleep.stopped`. It links to its "
        "wakegate.decide.",
        EPISODE,
    ),
    Documented(
        "Link to a waking record",
        "On a link of wakegate.decide, not on a span: the record whose arrival brought the look forward.",
        WAKING_RECORD,
    ),
)
"""Everything that is documented."""


def attributes_markdown() -> str:
    """Return the reference of all spans and their attributes."""
    lines = ["# Spans and their attributes", "", "Made from `activator/telemetry/attributes.py`; do not edit.", ""]
    for span in ATTRIBUTES:
        lines += [f"## {span.name}", "", span.doc, "", "| attribute | type | meaning |", "| --- | --- | --- |"]
        lines += [f"| `{row.name}` | {row.type} | {row.doc} |" for row in span.attributes]
        lines.append("")
    return "\n".join(lines)
