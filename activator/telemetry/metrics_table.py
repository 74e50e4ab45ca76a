"""The table of all metrics: name, type, labels, what it means, and where a target's value comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from activator.core.model import Outcome, Phase, Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from activator.core.model import Evaluation, Lag, Trigger

_WAKE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_EPISODE_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)


@dataclass(frozen=True, slots=True)
class Counted:
    """A metric that is counted as it happens."""

    name: str
    doc: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Of a histogram; none: a counter."""

    @property
    def type(self) -> str:
        """Prometheus' type."""
        return "histogram" if self.buckets else "counter"


@dataclass(frozen=True, slots=True)
class Fixed:
    """A metric whose samples come from elsewhere."""

    name: str
    doc: str
    labels: tuple[str, ...]
    type: str = "gauge"


@dataclass(frozen=True, slots=True)
class PerTarget:
    """A gauge with a series for each target, read off its last evaluation."""

    name: str
    doc: str
    samples: Callable[[Evaluation], Iterable[tuple[tuple[str, ...], float]]]
    """Values of `labels`, and the value."""
    labels: tuple[str, ...] = ()
    """Besides namespace, kind and name."""
    type: str = "gauge"


@dataclass(frozen=True, slots=True)
class OfTargets:
    """A gauge over all targets, read off their last evaluations."""

    name: str
    doc: str
    label: str
    value_of: Callable[[Evaluation], str]
    """The label's value for a target."""
    always: tuple[str, ...]
    """Label values that are there with 0, too."""
    of_invalid: str | None = None
    """The label's value for a target with a mistake in its configuration; None: what its last evaluation says."""
    type: str = "gauge"

    @property
    def labels(self) -> tuple[str, ...]:
        """The one label."""
        return (self.label,)


EVALUATIONS = Counted(
    "wakegate_evaluations_total", "Looks at targets, by what became of them and why.", ("outcome", "reason")
)
WAKE_LATENCY = Counted(
    "wakegate_wake_latency_seconds",
    "From the moment a record was seen to the API server's answer to the PATCH that wakes its consumer.",
    ("source",),
    _WAKE_BUCKETS,
)
WAKES = Counted("wakegate_wakes_total", "Targets woken, by who saw the record: tail, gateway or poll.", ("source",))
LATENESS = Counted(
    "wakegate_look_lateness_seconds",
    "How long after it was due a target was decided about, the batched read included.",
    (),
    _WAKE_BUCKETS,
)
APPLY_DURATION = Counted(
    "wakegate_apply_duration_seconds",
    "Duration of the PATCH of a scale subresource, with its repetitions after conflicts.",
    ("outcome",),
    _CALL_BUCKETS,
)
APPLY_RETRIES = Counted(
    "wakegate_apply_retries_total", "PATCHes sent again because somebody else had written in between."
)
READ_DURATION = Counted(
    "wakegate_lag_read_duration_seconds", "Duration of one batched read of a cluster.", ("cluster",), _CALL_BUCKETS
)
TRIGGERS_READ = Counted("wakegate_triggers_read_total", "Triggers whose lag was asked for.", ("cluster",))
TRIGGERS_UNREADABLE = Counted(
    "wakegate_triggers_unreadable_total", "Of those, triggers that could not be read.", ("cluster",)
)
EPISODE_DURATION = Counted(
    "wakegate_episode_duration_seconds",
    "From the PATCH of a wake or sleep to the end of a stretch of it (ready, handoff, first_commit, stopped), or from "
    "its beginning, which of a wake is the record, to the end of the whole.",
    ("episode", "stretch"),
    _EPISODE_BUCKETS,
)
EPISODES_INCOMPLETE = Counted(
    "wakegate_episodes_incomplete_total",
    "Wakes and sleeps that were closed for want of time, by what had not been seen.",
    ("episode", "missing"),
)
NOTICES = Counted(
    "wakegate_notices_total",
    "What persons were told of by Kubernetes Events, by the Event's reason (ForeignWrites, InvalidConfiguration, ...).",
    ("severity", "reason"),
)
PUSHES = Counted("wakegate_pushes_total", "Records whose arrival was pushed, by who saw them.", ("source",))
SERVED = Counted(
    "wakegate_external_metric_requests_total",
    "Questions of the HPA, by their end: ok, unknown, unreadable, stale or bad-request.",
    ("result",),
)
SPANS_EXPORTED = Counted("wakegate_spans_exported_total", "Spans that the tracing backend has taken.")
SPANS_DROPPED = Counted("wakegate_spans_dropped_total", "Spans that are lost: queue-full or export-failed.", ("cause",))
WATCHED = Fixed(
    "wakegate_tail_partitions",
    "Partitions of sleeping targets that are watched, by way: fetched (a push comes within milliseconds), looked_at "
    "(once a second), waiting (not just now).",
    ("cluster", "way"),
)
EVENTS_DROPPED = Fixed(
    "wakegate_kubernetes_events_dropped_total",
    "Kubernetes Events that could not be written, or were too many.",
    (),
    "counter",
)
LEADER = Fixed(
    "wakegate_leader",
    "1 where this replica holds the Lease: it puts to sleep, writes HPAs and tells of each target; 0 where it waits.",
    (),
)
BUILD_INFO = Fixed("wakegate_build_info", "Always 1; what runs.", ("version", "python_version"))

COUNTED = (
    EVALUATIONS,
    WAKES,
    WAKE_LATENCY,
    LATENESS,
    APPLY_DURATION,
    APPLY_RETRIES,
    READ_DURATION,
    TRIGGERS_READ,
    TRIGGERS_UNREADABLE,
    EPISODE_DURATION,
    EPISODES_INCOMPLETE,
    NOTICES,
    PUSHES,
    SERVED,
    SPANS_EXPORTED,
    SPANS_DROPPED,
)


def _per_trigger(
    value: Callable[[Lag], float | None],
) -> Callable[[Evaluation], Iterator[tuple[tuple[str, ...], float]]]:
    def samples(evaluation: Evaluation) -> Iterator[tuple[tuple[str, ...], float]]:
        of_triggers: Iterable[tuple[Trigger, Lag]] = zip(evaluation.policy.triggers, evaluation.seen.lags, strict=False)
        for index, (trigger, lag) in enumerate(of_triggers):
            if (found := value(lag)) is not None:
                yield (str(index), trigger.topic, trigger.group), found

    return samples


_TRIGGER = ("trigger", "topic", "group")

PER_TARGET = (
    PerTarget("wakegate_target_replicas", "spec.replicas as last seen or set.", lambda e: [((), _replicas_after(e))]),
    PerTarget("wakegate_target_ready_replicas", "Ready replicas.", lambda e: [((), e.seen.ready_replicas)]),
    PerTarget(
        "wakegate_target_lag",
        "Consumable lag of a trigger; a lower bound where wakegate_target_readable is 0; absent: unknown.",
        _per_trigger(lambda lag: lag.known if lag.complete or lag.known else None),
        _TRIGGER,
    ),
    PerTarget(
        "wakegate_target_readable",
        "Whether every partition of a trigger could be read.",
        _per_trigger(lambda lag: float(lag.complete)),
        _TRIGGER,
    ),
    PerTarget(
        "wakegate_target_lag_read_timestamp_seconds",
        "When the last good reading of a trigger came in; its age is time() minus this.",
        _per_trigger(lambda lag: lag.read_at.timestamp() if lag.read_at is not None else None),
        _TRIGGER,
    ),
    PerTarget(
        "wakegate_target_phase",
        "Always 1; where the target is in its cycle.",
        lambda e: [((e.phase.value,), 1.0)],
        ("phase",),
    ),
    PerTarget(
        "wakegate_target_reason",
        "Always 1; what became of the last look, and why.",
        lambda e: [((e.outcome.value, e.decision.reason.value), 1.0)],
        ("outcome", "reason"),
    ),
)

OF_TARGETS = (
    OfTargets("wakegate_targets", "Targets by phase.", "phase", lambda e: e.phase.value, tuple(Phase), Phase.INVALID),
    OfTargets(
        "wakegate_targets_by_reason",
        "Targets by the reason of the last look; no-replica-ready are those that were woken in vain.",
        "reason",
        lambda e: e.decision.reason.value,
        tuple(Reason),
    ),
)

_TARGET_LABELS = ("namespace", "kind", "name")
METRICS = (*COUNTED, *PER_TARGET, *OF_TARGETS, WATCHED, EVENTS_DROPPED, LEADER, BUILD_INFO)
"""Everything that is documented."""


def labels_of(metric: Counted | PerTarget | OfTargets | Fixed) -> tuple[str, ...]:
    """Return a metric's label names."""
    return (*_TARGET_LABELS, *metric.labels) if isinstance(metric, PerTarget) else metric.labels


def metrics_markdown() -> str:
    """Return the reference of all metrics."""
    lines = [
        "# Metrics",
        "",
        "Made from `activator/telemetry/metrics_table.py`; do not edit.",
        "The process's own (`process_cpu_seconds_total`, `process_resident_memory_bytes`, ...) are there too.",
        "Series of a target come from the replica that leads.",
        "Those of a cluster that is not read for a day end with the next read of another.",
        "",
        "| metric | type | labels | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in labels_of(metric))
        lines.append(f"| `{metric.name}` | {metric.type} | {labels} | {metric.doc} |")
    return "\n".join([*lines, ""])


def _replicas_after(evaluation: Evaluation) -> float:
    applied = evaluation.outcome is Outcome.APPLIED
    return evaluation.decision.replicas if applied else evaluation.seen.replicas
