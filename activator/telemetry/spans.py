"""Facts -> OpenTelemetry spans, written after the event with the ids that the facts already carry.

Imported only where spans are exported: see `export`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from activator.core.model import BatchRead, EpisodePhase, Evaluation, Outcome
from activator.telemetry import attributes, traceparent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

    from activator.core.model import Fact, Push, TraceIds
    from activator.telemetry.attributes import Value
    from activator.telemetry.holds import HoldMerger, Stretch

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SCOPE = "wakegate"


class ReservedIds(RandomIdGenerator):
    """Hands out the ids that a fact carries, so that its span has the ids that logs and Events already name."""

    def __init__(self) -> None:
        self.reserved: TraceIds | None = None
        """For the next span that is started; random ones where there is none."""

    def generate_trace_id(self) -> int:
        """Return the reserved trace id; not asked for a span with a parent."""
        return super().generate_trace_id() if self.reserved is None else int(self.reserved.trace_id, 16)

    def generate_span_id(self) -> int:
        """Return the reserved span id, once."""
        reserved, self.reserved = self.reserved, None
        return super().generate_span_id() if reserved is None else int(reserved.span_id, 16)


class SpanRecorder:
    """`ports.Recorder` that writes spans.

    Args:
        provider: whose processors export; made with `ids` as its id generator.
        ids: see `ReservedIds`.
        holds: merges evaluations that change nothing.
    """

    def __init__(self, provider: TracerProvider, ids: ReservedIds, holds: HoldMerger, version: str = "") -> None:
        self._sampler = provider.sampler
        self._tracer = provider.get_tracer(_SCOPE, version)
        self._ids = ids
        self._holds = holds

    def record(self, fact: Fact) -> None:
        """Write the spans that a fact finishes; a Notice has none."""
        match fact:
            case Evaluation():
                for stretch in self._holds.add(fact):
                    self._decide(stretch)
            case BatchRead():
                self._read_lag(fact)
            case EpisodePhase():
                self._episode(fact)

    def flush(self) -> None:
        """Write what is still being merged; at the end of the process."""
        for stretch in self._holds.flush():
            self._decide(stretch)

    def _decide(self, stretch: Stretch) -> None:
        first, last = stretch.first, stretch.last
        # A stretch that goes on from a finished one has the same ids: it becomes a child of the span that has them.
        parent = first.ids if stretch.continues else None
        span = self._start(
            "wakegate.decide",
            started_at=first.now,
            ids=None if stretch.continues else first.ids,
            parent=parent,
            links=self._links(first),
            values=attributes.values(attributes.DECIDE, stretch),
        )
        if last.applied is not None:
            self._apply(span, last)
        if last.outcome is Outcome.FAILED:
            span.set_status(Status(StatusCode.ERROR, last.applied.status if last.applied else last.decision.text))
        span.end(_nanoseconds(max(last.now, last.applied.ended_at) if last.applied else last.now))

    def _apply(self, decide: Span, evaluation: Evaluation) -> None:
        if (applied := evaluation.applied) is None:
            return
        span = self._tracer.start_span(
            "wakegate.apply",
            set_span_in_context(decide, Context()),
            SpanKind.CLIENT,
            attributes.values(attributes.APPLY, evaluation),
            start_time=_nanoseconds(applied.started_at),
        )
        if evaluation.outcome is Outcome.FAILED:
            span.set_status(Status(StatusCode.ERROR, applied.status))
        span.end(_nanoseconds(applied.ended_at))

    def _read_lag(self, read: BatchRead) -> None:
        span = self._start(
            "wakegate.read_lag",
            started_at=read.started_at,
            ids=read.ids,
            kind=SpanKind.CLIENT,
            values=attributes.values(attributes.READ_LAG, read),
        )
        if read.problem is not None:
            span.set_status(Status(StatusCode.ERROR, read.problem))
        span.end(_nanoseconds(read.ended_at))

    def _episode(self, phase: EpisodePhase) -> None:
        name = f"wakegate.{phase.episode}" + (f".{phase.name}" if phase.name else "")
        span = self._start(
            name,
            started_at=phase.started_at,
            ids=phase.ids,
            parent=phase.parent,
            links=[Link(self._context(phase.link))] if phase.link else [],
            values=attributes.values(attributes.EPISODE, phase),
        )
        if phase.missing:
            span.set_status(Status(StatusCode.ERROR, f"not seen in time: {', '.join(phase.missing)}"))
        span.end(_nanoseconds(phase.ended_at))

    def _start(
        self,
        name: str,
        *,
        started_at: datetime,
        ids: TraceIds | None,
        values: dict[str, Value],
        parent: TraceIds | None = None,
        links: Sequence[Link] = (),
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> Span:
        context = Context()
        if parent is not None:
            context = set_span_in_context(NonRecordingSpan(self._context(parent, name)), context)
        self._ids.reserved = ids
        return self._tracer.start_span(name, context, kind, values, links, _nanoseconds(started_at))

    def _context(self, ids: TraceIds, name: str = "wakegate.decide") -> SpanContext:
        """Return the context of another span of ours, sampled as its root was: a sampler goes by the trace id."""
        trace_id = int(ids.trace_id, 16)
        sampled = self._sampler.should_sample(Context(), trace_id, name).decision is Decision.RECORD_AND_SAMPLE
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        return SpanContext(trace_id, int(ids.span_id, 16), is_remote=False, trace_flags=flags)

    def _links(self, evaluation: Evaluation) -> list[Link]:
        """Link what a decision came from: the waking record, the reads that it used, the decision before."""
        pushed = evaluation.seen.pushed
        record = _waking_record(pushed) if pushed is not None else None
        ours = [Link(self._context(ids)) for ids in evaluation.links]
        return ours if record is None else [record, *ours]


def _waking_record(push: Push) -> Link | None:
    producer = traceparent.parse(push.traceparent) if push.traceparent else None
    if producer is None:
        return None
    flags = TraceFlags(TraceFlags.SAMPLED if producer.sampled else TraceFlags.DEFAULT)
    context = SpanContext(producer.trace_id, producer.span_id, is_remote=True, trace_flags=flags)
    return Link(context, attributes.values(attributes.WAKING_RECORD, push))


def _nanoseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND * 1000
