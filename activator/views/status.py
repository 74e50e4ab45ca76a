"""`wakegate status`: the components, the workloads by phase, and what is wrong last."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from activator.core.model import Phase, Reason
from activator.doctor.checks import CHECKS, examine
from activator.doctor.report import hint
from activator.doctor.verdict import Level
from activator.views.words import moment, span, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from activator.doctor.checks import Result
    from activator.doctor.facts import Document, Facts
    from activator.doctor.report import Line

COMPONENTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("API server", ("api-server",)),
    ("wakegate", ("deployment", "settings", "pods")),
    ("leader", ("leader",)),
    ("ScaleTargets", ("crd",)),
    ("metrics API", ("metrics-api-service", "metrics-api-trust", "metrics-api-reachable", "metrics-api-owner")),
)
"""What runs, and which checks of the doctor tell how it is: the first that is a problem, else the last."""

WRONG = frozenset(
    {
        Reason.UNREADABLE,
        Reason.NO_COMMITTED_OFFSET,
        Reason.RIVAL,
        Reason.INVARIANT_VIOLATED,
        Reason.NO_REPLICA_READY,
    }
)
"""Why a target holds that a person should see to; the other reasons are the ordinary course of things."""


@dataclass(frozen=True, slots=True)
class Component:
    """One part of the installation."""

    name: str
    level: Level
    text: str
    causes: tuple[str, ...] = ()
    check: str = ""
    """Where the doctor's docs explain it."""


@dataclass(frozen=True, slots=True)
class WrongTarget:
    """A workload that a person should see to."""

    name: str
    reason: str
    text: str
    since: datetime | None
    trace_id: str


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that is shown."""

    now: datetime
    components: tuple[Component, ...]
    phases: dict[str, int]
    """Workloads by phase, all phases, in the order of the cycle."""
    wrong: tuple[WrongTarget, ...]
    unread: str = ""
    """Why ScaleTargets could not be read; the counts are nothing then."""

    @property
    def well(self) -> bool:
        """Whether nothing is wrong: the exit code."""
        return not self.wrong and not self.unread and not any(part.level is Level.FAIL for part in self.components)


def of(facts: Facts, scale_targets: Sequence[Document] | None, unread: str = "") -> Status:
    """Make the status of an installation."""
    wanted = {check for _, checks in COMPONENTS for check in checks}
    results = {result.check.id: result for result in examine(facts, [row for row in CHECKS if row.id in wanted])}
    components = tuple(_component(name, [results[check] for check in checks]) for name, checks in COMPONENTS)
    statuses = [(_name(document), document.get("status") or {}) for document in scale_targets or ()]
    counted = Counter(str(status.get("phase", "")) for _, status in statuses)
    return Status(
        now=facts.now,
        components=components,
        phases={phase.value: counted[phase.value] for phase in Phase},
        wrong=tuple(_wrong(name, status) for name, status in sorted(statuses, key=_by_name) if _is_wrong(status)),
        unread=unread,
    )


def of_dashboard(overview: Document, now: datetime) -> Status:
    """Make the status of local mode from the dashboard's overview: one process, so no component but itself."""
    found = overview["wrong"]
    wrong = [
        WrongTarget(str(entry["id"]), str(entry["label"]), str(entry["text"]), _of_milliseconds(entry["since"]), "")
        for entry in found["list"]
    ]
    wrong += [
        WrongTarget(f"Kafka {entry['cluster']}", "unreadable", str(entry["text"]), _of_milliseconds(entry["since"]), "")
        for entry in found["clusters"]
    ]
    component = Component("wakegate", Level.OK, "runs here, without a cluster")
    return Status(
        now, (component,), {phase.value: overview["phases"].get(phase.value, 0) for phase in Phase}, tuple(wrong)
    )


def lines(status: Status) -> Iterator[Line]:
    """Tell it to a person: what is wrong comes last, where the eye is."""
    width = max(len(name) for name in ("workloads", *(part.name for part in status.components)))
    for part in status.components:
        yield part.level, f"{part.name:<{width}}  {part.level.value:<7}  {part.text}"
    total = sum(status.phases.values())
    counts = ", ".join(f"{count} {phase}" for phase, count in status.phases.items() if count)
    if not status.unread:
        yield "", f"{'workloads':<{width}}  {total:<7}  {counts or 'none is managed'}"
    told = [*_component_errors(status), *_target_errors(status)]
    if told:
        yield "", ""
        yield Level.FAIL, f"{'error' if len(told) == 1 else 'errors'}:"
        yield from (("", f"  {line}") for block in told for line in block)


def document(status: Status) -> dict[str, Any]:
    """Return what `-o json` prints."""
    return {
        "success": status.well,
        "components": [
            {"name": part.name, "result": part.level.value, "description": part.text, "error": list(part.causes)}
            for part in status.components
        ],
        "workloads": {"total": sum(status.phases.values()), "phases": status.phases},
        "errors": [
            {
                "workload": target.name,
                "reason": target.reason,
                "message": target.text,
                "since": target.since.isoformat() if target.since else None,
                "traceId": target.trace_id,
            }
            for target in status.wrong
        ]
        + ([{"workload": None, "reason": "unread", "message": status.unread}] if status.unread else []),
    }


def _component(name: str, results: Sequence[Result]) -> Component:
    bad = [result for result in results if result.verdict.level in {Level.FAIL, Level.WARN}]
    known = [result for result in results if result.verdict.level is not Level.SKIPPED]
    told = next(iter([*bad, *reversed(known), *results]))
    return Component(name, told.verdict.level, told.verdict.text, told.verdict.causes, told.check.id)


def _component_errors(status: Status) -> Iterator[list[str]]:
    for part in status.components:
        if part.level is Level.FAIL:
            yield [f"{part.name}: {part.text}", *(f"  {cause}" for cause in part.causes), f"  see {hint(part.check)}"]
    if status.unread:
        yield [f"workloads: {status.unread}"]


def _target_errors(status: Status) -> Iterator[list[str]]:
    rows = [
        (target.name, target.reason, f"for {span(status.now - target.since)}" if target.since else "", target.text)
        for target in status.wrong
    ]
    if rows:
        yield from ([line] for line in table(rows))


def _is_wrong(status: Document) -> bool:
    told = status.get("problems") or status.get("warnings")
    return status.get("phase") == Phase.INVALID or bool(told) or status.get("reason") in WRONG


def _wrong(name: str, status: Document) -> WrongTarget:
    problems = status.get("problems") or ()
    reason = str(Phase.INVALID) if problems or status.get("phase") == Phase.INVALID else str(status.get("reason", ""))
    said = problems or ([] if status.get("reason") in WRONG else status.get("warnings") or ())
    if said and not problems:
        reason = "warning"
    text = "; ".join(map(str, said)) or str(status.get("message", ""))
    return WrongTarget(name, reason, text, moment(status.get("since")), str(status.get("traceId", "")))


def _name(document: Document) -> str:
    target = document.get("spec", {}).get("targetRef") or {}
    return f"{target.get('kind')} {document['metadata']['namespace']}/{target.get('name')}"


def _of_milliseconds(since: float) -> datetime:
    return datetime.fromtimestamp(since / 1000, UTC)


def _by_name(item: tuple[str, Document]) -> str:
    return item[0]
