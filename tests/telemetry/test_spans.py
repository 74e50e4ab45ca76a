"""Facts become spans with the ids that the facts carry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode

from activator.core.model import FOUND_APPLIED, Applied, Notice, Outcome, Reason, Severity, TraceIds
from activator.telemetry.holds import LONGEST, NONE, HoldMerger
from activator.telemetry.spans import ReservedIds, SpanRecorder
from tests.fakes.facts import ORDERS, START, at, batch_read, evaluation, hold, new_ids, push, stretch, wake

if TYPE_CHECKING:
    from datetime import timedelta

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext

    from activator.core.model import Fact


@dataclass
class World:
    """A recorder, and what it has written."""

    recorder: SpanRecorder
    memory: InMemorySpanExporter

    def record(self, *facts: Fact) -> list[ReadableSpan]:
        """Record facts; return all spans that are written so far, in the order of their starts, parents first."""
        for fact in facts:
            self.recorder.record(fact)
        return self.written()

    def written(self) -> list[ReadableSpan]:
        """Return all spans so far."""
        return sorted(
            self.memory.get_finished_spans(), key=lambda span: (span.start_time or 0, span.parent is not None)
        )


def make(sampler: Sampler = ALWAYS_ON, longest: timedelta = LONGEST) -> World:
    """Return a recorder that writes into memory."""
    ids, memory = ReservedIds(), InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler, id_generator=ids, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    return World(SpanRecorder(provider, ids, HoldMerger(longest)), memory)


@pytest.fixture
def world() -> World:
    """Return a recorder that samples everything and merges holds."""
    return make()


def hexadecimal(context: SpanContext | None) -> TraceIds | None:
    """Return a context's ids as facts have them."""
    return TraceIds(f"{context.trace_id:032x}", f"{context.span_id:016x}") if context is not None else None


def links(span: ReadableSpan) -> list[TraceIds | None]:
    """Return what a span links to."""
    return [hexadecimal(link.context) for link in span.links]


def nanoseconds(seconds: float) -> int:
    """Return a moment as OTLP has it."""
    return round(at(seconds).timestamp() * 1000) * 1_000_000


def test_an_applied_decision_is_a_root_with_its_patch_as_child(world: World) -> None:
    """Ids, times and outcome are those of the fact; the child has an id of its own."""
    decided = wake(1)
    decide, apply = world.record(decided)
    assert (decide.name, apply.name) == ("wakegate.decide", "wakegate.apply")
    assert hexadecimal(decide.context) == decided.ids
    assert decide.parent is None
    assert (decide.start_time, decide.end_time) == (nanoseconds(1), nanoseconds(1.004))
    assert hexadecimal(apply.parent) == decided.ids
    assert apply.context is not None
    assert apply.context.span_id != int(decided.ids.span_id, 16)
    assert (apply.start_time, apply.end_time) == (nanoseconds(1), nanoseconds(1.004))
    assert apply.kind is SpanKind.CLIENT
    assert decide.status.status_code is StatusCode.UNSET


def test_a_decision_carries_what_explains_it(world: World) -> None:
    """What an on-call engineer searches for, and the steps in words."""
    decide, _ = world.record(wake(1))
    attributes = decide.attributes or {}
    assert attributes["wakegate.target"] == "Deployment shop/orders"
    assert attributes["wakegate.outcome"] == "applied"
    assert attributes["wakegate.reason"] == "record-arrived"
    assert attributes["wakegate.wake.source"] == "tail"
    assert (attributes["wakegate.replicas.from"], attributes["wakegate.replicas.to"]) == (0, 1)
    assert attributes["wakegate.steps"] == ("follow triggers -> 1 (record-arrived): a record has arrived on pizza",)
    assert not decide.events


def test_a_decision_links_to_the_waking_record_its_reads_and_the_decision_before(world: World) -> None:
    """From the wake one click leads to the producer's span."""
    read, before = new_ids(), new_ids()
    decide, _ = world.record(wake(1, links=(read, before)))
    producer = TraceIds("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert links(decide) == [producer, read, before]
    record = decide.links[0]
    assert record.context.is_remote
    assert record.context.trace_flags.sampled
    assert dict(record.attributes or {}) == {
        "messaging.system": "kafka",
        "messaging.destination.name": "pizza",
        "messaging.destination.partition.id": "3",
        "messaging.kafka.offset": 41,
        "wakegate.wake.source": "tail",
    }


@pytest.mark.parametrize("traceparent", [None, "garbage", f"00-{'0' * 32}-b7ad6b7169203331-01"])
def test_a_record_without_a_trace_context_has_no_link(world: World, traceparent: str | None) -> None:
    """The link is skipped, and nothing else."""
    decide, _ = world.record(wake(1, pushed=push(traceparent=traceparent)))
    assert links(decide) == []


def test_a_failed_decision_is_an_error(world: World) -> None:
    """Both spans say what the API server said."""
    failed = wake(1, outcome=Outcome.FAILED, applied=Applied(at(1), at(6), "API server: no answer within 5 s"))
    for span in world.record(failed):
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description == "API server: no answer within 5 s"


def test_a_wake_whose_answer_was_lost_is_no_error(world: World) -> None:
    """It was applied: the span of the PATCH says so, and how that was known."""
    spans = world.record(wake(1, applied=Applied(at(1), at(6), FOUND_APPLIED)))
    assert {span.status.status_code for span in spans} == {StatusCode.UNSET}
    assert {(span.attributes or {}).get("wakegate.apply.status") for span in spans} == {None, FOUND_APPLIED}


def test_a_hold_is_one_span_with_the_number_of_its_evaluations(world: World) -> None:
    """It is written when something else is decided, with the ids that its log line had."""
    looks = hold(0, 30, 60)
    assert world.record(*looks) == []
    held = world.record(wake(70))[0]
    assert hexadecimal(held.context) == looks[0].ids
    assert (held.start_time, held.end_time) == (nanoseconds(0), nanoseconds(60))
    assert (held.attributes or {})["wakegate.evaluations"] == 3


def test_a_flush_writes_what_is_open(world: World) -> None:
    """The end of the process loses no hold."""
    world.record(hold(0)[0])
    world.recorder.flush()
    assert len(world.written()) == 1


def test_unmerged_evaluations_have_a_span_each_in_one_trace() -> None:
    """The first has the ids of the hold, the others are its children."""
    looks = hold(0, 30, 60)
    spans = make(longest=NONE).record(*looks)
    assert [span.start_time for span in spans] == [nanoseconds(0), nanoseconds(30), nanoseconds(60)]
    assert hexadecimal(spans[0].context) == looks[0].ids
    assert spans[0].parent is None
    assert {hexadecimal(span.parent) for span in spans[1:]} == {looks[0].ids}
    assert len({span.context.span_id for span in spans if span.context}) == 3


def test_a_batch_read_is_a_trace_of_its_own(world: World) -> None:
    """With its cluster, what it asked for, and what went wrong."""
    read = batch_read(2, unreadable=3, problem="pizza/3: LEADER_NOT_AVAILABLE")
    [span] = world.record(read)
    assert span.name == "wakegate.read_lag"
    assert hexadecimal(span.context) == read.ids
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["wakegate.triggers.unreadable"] == 3


def test_a_wake_is_one_trace_of_its_stretches(world: World) -> None:
    """The children are written before the whole, which lends them its ids and links to its decision."""
    whole, decision = new_ids(), new_ids()
    spans = world.record(
        stretch("ready", 2, whole=whole),
        stretch("handoff", 15, whole=whole),
        stretch("first_commit", 16, whole=whole),
        stretch("", 16, whole=whole, link=decision),
    )
    by_name = {span.name: span for span in spans}
    root = by_name.pop("wakegate.wake")
    assert hexadecimal(root.context) == whole
    assert root.parent is None
    assert links(root) == [decision]
    assert set(by_name) == {"wakegate.wake.ready", "wakegate.wake.handoff", "wakegate.wake.first_commit"}
    for span in by_name.values():
        assert hexadecimal(span.parent) == whole
        assert (span.attributes or {})["wakegate.episode.id"] == whole.trace_id


def test_an_incomplete_wake_says_what_is_missing(world: World) -> None:
    """Ten minutes without a commit are an error that can be searched for."""
    [span] = world.record(stretch("", 600, whole=new_ids(), missing=("ready", "first_commit")))
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["wakegate.episode.missing"] == ("ready", "first_commit")


def test_a_notice_has_no_span(world: World) -> None:
    """What a person is told is an Event and a log line."""
    assert world.record(Notice(ORDERS, "uid", Severity.NORMAL, "TakenOver", "...", START)) == []


def test_what_is_not_sampled_is_not_written() -> None:
    """The operator's OTEL_TRACES_SAMPLER holds, and mixes up no ids of what comes after."""
    world = make(ALWAYS_OFF)
    assert world.record(wake(1), batch_read(2), stretch("", 3, whole=new_ids())) == []


def test_a_ratio_samples_whole_traces() -> None:
    """A child whose root is written later is sampled exactly when the root is."""
    world = make(ParentBased(TraceIdRatioBased(0.5)))
    kept = 0
    for number in range(200):
        whole = TraceIds(f"{number * 0x0147AE147AE147AE % (1 << 64) + (1 << 64):032x}", f"{number + 1:016x}")
        names = [s.name for s in world.record(stretch("ready", 1, whole=whole), stretch("", 2, whole=whole))]
        assert names in ([], ["wakegate.wake", "wakegate.wake.ready"])
        kept += bool(names)
        world.memory.clear()
    assert 50 < kept < 150


def test_a_span_never_ends_before_it_starts(world: World) -> None:
    """An answer that was stamped before the look's own moment does not make a negative duration."""
    odd = replace(wake(10), applied=Applied(at(9), at(9.5), "ok"))
    for span in world.record(odd, evaluation(20, reason=Reason.LAG)):
        assert (span.start_time or 0) <= (span.end_time or 0)
