"""Facts -> Prometheus.

What is counted is counted as it happens. What is true of each target is not kept as metrics at all: it is read off
its last evaluation when Prometheus asks, so that three thousand targets cost little, and a target that is gone or led
by another replica leaves no series behind.
"""

from __future__ import annotations

import platform
from collections import Counter as Tally
from datetime import timedelta
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from activator.core.model import BatchRead, Departed, EpisodePhase, Evaluation, Notice, Outcome, Reason
from activator.telemetry import metrics_table as table
from activator.telemetry.attributes import is_wake, wake_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from activator.core.model import Fact, Push, TargetRef

GONE_AFTER = timedelta(minutes=5)
"""A target that should have been looked at this long ago is told of no more: it is gone."""
CLUSTER_GONE_AFTER = timedelta(days=1)
"""A cluster that was read last this long ago has no series any more: no target names it, and polling is not so slow."""


class MetricsRecorder:
    """`ports.Recorder` that feeds Prometheus metrics.

    Args:
        registry: where the metrics are registered; nothing goes into the library's global one.
        now: the clock by which a target is known to be gone.
        version: wakegate's.
    """

    def __init__(self, registry: CollectorRegistry, now: Callable[[], datetime], *, version: str) -> None:
        self._now = now
        self._last: dict[TargetRef, Evaluation] = {}
        self._read_at: dict[str, datetime] = {}
        """When each cluster was read last, by its servers."""
        self._refused: set[TargetRef] = set()
        """Those with a mistake in their configuration, as far as notices tell: of who never was valid they alone do."""
        self.managed: Callable[[], Mapping[TargetRef, bool]] = dict
        """Every target that is managed, and whether it has such a mistake: its evaluations, by the last valid
        configuration, do not tell."""
        self.leads: Callable[[], bool] = lambda: True
        """Whether this replica does, and tells of each target."""
        self._counters = {
            metric: Counter(metric.name, metric.doc, metric.labels, registry=registry)
            for metric in table.COUNTED
            if not metric.buckets
        }
        self._histograms = {
            metric: Histogram(metric.name, metric.doc, metric.labels, registry=registry, buckets=metric.buckets)
            for metric in table.COUNTED
            if metric.buckets
        }
        built = Gauge(table.BUILD_INFO.name, table.BUILD_INFO.doc, table.BUILD_INFO.labels, registry=registry)
        built.labels(version, platform.python_version()).set(1)
        ProcessCollector(registry=registry)
        registry.register(_TargetCollector(self))

    def record(self, fact: Fact) -> None:
        """Count one fact."""
        match fact:
            case Evaluation():
                self._evaluation(fact)
            case BatchRead():
                self._batch_read(fact)
            case Departed():
                self._forget(fact.ref)
            case EpisodePhase():
                self._observe(table.EPISODE_DURATION, fact.ended_at - fact.started_at, fact.episode, fact.name or "all")
                for missing in fact.missing:
                    self._count(table.EPISODES_INCOMPLETE, fact.episode, missing)
            case Notice():
                self._count(table.NOTICES, fact.severity.value, fact.reason)
                if fact.reason == "InvalidConfiguration":
                    self._refused.add(fact.ref)

    def pushed(self, push: Push) -> None:
        """Count a push, whatever it leads to."""
        self._count(table.PUSHES, push.source.value)

    def external_metric_served(self, result: str) -> None:
        """Count a question of the HPA by its end."""
        self._count(table.SERVED, result)

    def spans_exported(self, spans: int) -> None:
        """Count spans that a backend has taken."""
        self._count(table.SPANS_EXPORTED, by=spans)

    def spans_dropped(self, spans: int, why: str) -> None:
        """Count spans that are lost."""
        self._count(table.SPANS_DROPPED, why, by=spans)

    def present(self) -> list[Evaluation]:
        """Return the last evaluation of each target that is still there, where this replica leads; forgets the others.

        Safe in any thread.
        """
        before = self._now() - GONE_AFTER
        for ref, last in list(self._last.items()):
            if max(last.decision.look_again_at, last.now) < before and self._last.get(ref) is last:
                self._last.pop(ref, None)
        return list(self._last.values()) if self.leads() else []

    def invalid(self) -> frozenset[TargetRef]:
        """Return the targets with a mistake in their configuration, where this replica leads. Safe in any thread."""
        if not self.leads():
            return frozenset()
        managed = self.managed()
        return frozenset(ref for ref, wrong in managed.items() if wrong) | (self._refused.copy() - managed.keys())

    def _batch_read(self, read: BatchRead) -> None:
        servers = read.cluster.bootstrap_servers
        self._observe(table.READ_DURATION, read.ended_at - read.started_at, servers)
        self._count(table.TRIGGERS_READ, servers, by=read.triggers)
        self._count(table.TRIGGERS_UNREADABLE, servers, by=read.unreadable)
        self._read_at[servers] = read.ended_at
        before = read.ended_at - CLUSTER_GONE_AFTER
        for gone in [other for other, read_at in self._read_at.items() if read_at < before]:
            self._forget_cluster(gone)

    def _forget_cluster(self, servers: str) -> None:
        del self._read_at[servers]
        self._histograms[table.READ_DURATION].remove(servers)
        for metric in (table.TRIGGERS_READ, table.TRIGGERS_UNREADABLE):
            self._counters[metric].remove(servers)

    def _forget(self, ref: TargetRef) -> None:
        self._last.pop(ref, None)
        self._refused.discard(ref)

    def _evaluation(self, evaluation: Evaluation) -> None:
        self._count(table.EVALUATIONS, evaluation.outcome.value, evaluation.decision.reason.value)
        self._observe(table.LATENESS, evaluation.late)
        if evaluation.decision.reason is Reason.UNMANAGED:
            self._forget(evaluation.ref)
        else:
            self._last[evaluation.ref] = evaluation
        applied = evaluation.applied
        if applied is None:
            return
        self._observe(table.APPLY_DURATION, applied.ended_at - applied.started_at, evaluation.outcome.value)
        self._count(table.APPLY_RETRIES, by=max(0, applied.attempts - 1))
        if evaluation.outcome is Outcome.APPLIED and is_wake(evaluation):
            source = wake_source(evaluation) or ""
            self._count(table.WAKES, source)
            if evaluation.seen.pushed is not None:
                self._observe(table.WAKE_LATENCY, applied.ended_at - evaluation.seen.pushed.seen_at, source)

    def _count(self, metric: table.Counted, *labels: str, by: float = 1) -> None:
        counter = self._counters[metric]
        (counter.labels(*labels) if labels else counter).inc(by)

    def _observe(self, metric: table.Counted, duration: timedelta, *labels: str) -> None:
        histogram = self._histograms[metric]
        (histogram.labels(*labels) if labels else histogram).observe(duration.total_seconds())


class _TargetCollector(Collector):
    """Makes the series of all targets when Prometheus asks."""

    def __init__(self, recorder: MetricsRecorder) -> None:
        self._recorder = recorder

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Name the metrics without samples, so that registering asks for none."""
        for metric in (*table.PER_TARGET, *table.OF_TARGETS):
            yield GaugeMetricFamily(metric.name, metric.doc, labels=table.labels_of(metric))

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield every gauge with its samples."""
        evaluations = self._recorder.present()
        for metric in table.PER_TARGET:
            family = GaugeMetricFamily(metric.name, metric.doc, labels=table.labels_of(metric))
            for evaluation in evaluations:
                ref = evaluation.ref
                for labels, value in metric.samples(evaluation):
                    family.add_metric((ref.namespace, ref.kind, ref.name, *labels), value)
            yield family
        invalid = self._recorder.invalid()
        for of_targets in table.OF_TARGETS:
            tally = Tally(dict.fromkeys(of_targets.always, 0))
            other = invalid if of_targets.of_invalid is not None else frozenset()
            tally.update(of_targets.value_of(evaluation) for evaluation in evaluations if evaluation.ref not in other)
            if of_targets.of_invalid is not None:
                tally[of_targets.of_invalid] += len(other)
            family = GaugeMetricFamily(of_targets.name, of_targets.doc, labels=of_targets.labels)
            for label, number in tally.items():
                family.add_metric((label,), number)
            yield family


class OutsideCollector(Collector):
    """Asks other rooms for what they count themselves, when Prometheus asks.

    Args:
        watched: yields cluster, way and number of partitions that the tail watches.
        events_dropped: tells how many Kubernetes Events were given up.
        leads: tells whether this replica holds the Lease.
    """

    def __init__(
        self,
        watched: Callable[[], Iterable[tuple[str, str, int]]],
        events_dropped: Callable[[], int],
        leads: Callable[[], bool],
    ) -> None:
        self._watched = watched
        self._events_dropped = events_dropped
        self._leads = leads

    def describe(self) -> Iterator[Metric]:
        """Name the metrics without samples."""
        yield self._partitions()
        yield CounterMetricFamily(table.EVENTS_DROPPED.name, table.EVENTS_DROPPED.doc)
        yield GaugeMetricFamily(table.LEADER.name, table.LEADER.doc)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics with their samples."""
        partitions = self._partitions()
        for cluster, way, number in self._watched():
            partitions.add_metric((cluster, way), number)
        yield partitions
        yield CounterMetricFamily(table.EVENTS_DROPPED.name, table.EVENTS_DROPPED.doc, value=self._events_dropped())
        yield GaugeMetricFamily(table.LEADER.name, table.LEADER.doc, value=float(self._leads()))

    @staticmethod
    def _partitions() -> GaugeMetricFamily:
        return GaugeMetricFamily(table.WATCHED.name, table.WATCHED.doc, labels=table.WATCHED.labels)
