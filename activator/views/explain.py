"""`wakegate explain`: from a workload back to its cause in blocks, and the trace last."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from activator.core.naming import ANNOTATION_PREFIX, FIELD_MANAGER
from activator.core.steps.asking import ARRIVED
from activator.views import hpa
from activator.views.words import ago, moment, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from activator.core.model import TargetRef
    from activator.doctor.facts import Document
    from activator.doctor.report import Line

_APPLIED = frozenset({"Woken", "PutToSleep", "Scaled", "ScaleFailed"})
"""Reasons of the Events that tell of a PATCH."""
_TRACE = re.compile(r"\(trace ([0-9a-f]{32})\)")
"""How `kubernetes.event_object` ends a message."""
_MOST_EVENTS = 6
_READ = ("topic", "consumer-group", "bootstrap-servers", "lag-threshold", "cooldown-period")
_NO_MEMORY = "the objects of the cluster do not tell; the dashboard of a replica does (--dashboard-url)"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that is known of one workload."""

    ref: TargetRef
    now: datetime
    workload: Document | None = None
    scale_target: Document | None = None
    hpa: Document | None = None
    events: tuple[Document, ...] = ()
    """Of the workload and of its HPA."""
    memory: Document | None = None
    """The dashboard's page of the target: entries newest first; None: it was not reached, or knows nothing of it."""
    memory_problem: str = ""
    """Why it was not reached, where it was asked for."""

    @property
    def status(self) -> Document:
        """The ScaleTarget's."""
        return (self.scale_target or {}).get("status") or {}

    @property
    def decisions(self) -> list[Document]:
        """What a replica remembers, newest first."""
        return [entry for entry in (self.memory or {}).get("entries") or () if entry.get("kind") == "decision"]

    @property
    def last_change(self) -> Document | None:
        """The last decision that was applied or failed, as a replica remembers it."""
        return next((entry for entry in self.decisions if entry.get("outcome") in {"applied", "failed"}), None)

    @property
    def patch_event(self) -> Document | None:
        """The Event of the last PATCH."""
        found = [event for event in self.events if event.get("reason") in _APPLIED and _is_ours(event)]
        return max(found, key=_when, default=None)


def lines(told: Explanation) -> Iterator[Line]:
    """Tell it to a person."""
    yield from _headline(told)
    for title, block in (
        ("Record", _record(told)),
        ("Reading", _reading(told)),
        ("Steps", _steps(told)),
        ("PATCH", _patch(told)),
        ("HPA", _hpa(told)),
        ("Events", _events(told)),
        ("Trace", _trace(told)),
    ):
        yield "", ""
        yield "title", title
        for line in block or ["-"]:
            yield "", f"  {line}"


def document(told: Explanation) -> dict[str, Any]:
    """Return what `-o json` prints: the same parts as documents."""
    last = told.decisions[0] if told.decisions else {}
    change = told.last_change or {}
    return {
        "target": {"namespace": told.ref.namespace, "kind": told.ref.kind, "name": told.ref.name},
        "phase": _phase(told),
        "replicas": _replicas(told)[0],
        "readyReplicas": _replicas(told)[1],
        "reason": _reason(told)[0],
        "message": _reason(told)[1],
        "record": change.get("push"),
        "reading": {"lag": _lag(told), "problems": last.get("problems", []), "triggers": _triggers(told)},
        "steps": last.get("steps", []),
        "patch": {
            "from": change.get("from"),
            "to": change.get("to"),
            "outcome": change.get("outcome"),
            **(change.get("apply") or {}),
        }
        if change
        else None,
        "patchEvent": _event_row(told.patch_event, told.now)[2] if told.patch_event else None,
        "hpa": hpa.summary(told.hpa) if told.hpa is not None else None,
        "events": [
            {"reason": event.get("reason"), "message": event.get("message"), "at": _when(event)}
            for event in _newest(told.events)
        ],
        "changeTraceId": _trace_of_change(told),
        "traceId": told.status.get("traceId"),
        "episodeId": told.status.get("episodeId"),
    }


def _headline(told: Explanation) -> Iterator[Line]:
    replicas, ready = _replicas(told)
    count = "unknown replicas" if replicas is None else f"{replicas} replicas ({ready or 0} ready)"
    yield "title", f"{told.ref}: {_phase(told) or 'not managed'}, {count}"
    reason, text = _reason(told)
    if reason:
        yield "", f"  because  {text or reason} [{reason}]"
    if since := ago(moment(told.status.get("since")), told.now):
        yield "", f"  since    {since}"
    for problem in told.status.get("problems") or ():
        yield "fail", f"  invalid  {problem}"
    for warning in told.status.get("warnings") or ():
        yield "warn", f"  warning  {warning}"


def _record(told: Explanation) -> list[str]:
    if told.memory is None:
        reached = [f"{told.memory_problem}; what follows is told by Events"] if told.memory_problem else []
        return [*reached, *(_record_of_event(told) or [_NO_MEMORY])]
    if told.last_change is None:
        return _record_of_event(told) or ["none is remembered"]
    push = told.last_change.get("push")
    if push is None:
        return ["none: the last change was due by itself, at a look or at the end of a cooldown"]
    place = push["topic"] if push.get("partition") is None else f"{push['topic']}[{push['partition']}]"
    offset = "" if push.get("offset") is None else f" offset {push['offset']}"
    return [f"{place}{offset}, seen by {push['source']} at {_at(push['at'])}"]


def _record_of_event(told: Explanation) -> list[str]:
    """What the Event of the last wake says of the record that woke it; a wake by a look at the lag names none."""
    woken = [event for event in told.events if event.get("reason") == "Woken" and _is_ours(event)]
    if not woken:
        return []
    event = max(woken, key=_when)
    return [f"{step}, {ago(moment(_when(event)), told.now)}" for step in _event_steps(event) if ARRIVED in step]


def _event_steps(event: Document) -> list[str]:
    _, separator, steps = str(event.get("message", "")).partition(": ")
    return steps.partition(" (trace ")[0].split("; ") if separator else []


def _reading(told: Explanation) -> list[str]:
    lag = _lag(told)
    found = [f"lag {lag}" if lag is not None else "lag unknown"]
    if active := ago(moment(told.status.get("lastActive")), told.now):
        found.append(f"last active {active}")
    if triggers := _triggers(told):
        found += [", ".join(f"{key} {value}" for key, value in trigger.items()) for trigger in triggers]
    found += [str(problem) for problem in (told.decisions[0].get("problems") if told.decisions else None) or ()]
    return found


def _steps(told: Explanation) -> list[str]:
    if not told.decisions:
        shown = _event_steps(told.patch_event) if told.patch_event else []
        return shown or [text for text in _reason(told)[1:] if text]
    looks = {entry["id"]: entry for entry in (told.decisions[0], told.last_change) if entry}
    found = []
    for look in looks.values():
        rows = [(step["name"], f"{step['replicas']}", step["reason"], step["text"]) for step in look["steps"]]
        found += [f"at {_at(look['last'])}, {look['outcome']}:", *(f"  {line}" for line in table(rows))]
    return found


def _patch(told: Explanation) -> list[str]:
    change, event = told.last_change, told.patch_event
    found = []
    if change is not None and (applied := change.get("apply")):
        times = "once" if applied["attempts"] == 1 else f"{applied['attempts']} times"
        found.append(
            f"{change['from']} -> {change['to']} at {_at(change['last'])}: {applied['status']} "
            f"in {applied['milliseconds']:.0f} ms, sent {times}"
        )
    elif event is not None:
        at, reason, message = _event_row(event, told.now)
        found.append(f"{reason}, {message.partition(':')[0]}, {at}")
    if told.status.get("asleepByUs"):
        found.append("it is at idle by wakegate's hand")
    return found or ["none that is remembered"]


def _hpa(told: Explanation) -> list[str]:
    if told.hpa is not None:
        return list(hpa.lines(hpa.summary(told.hpa), told.now))
    direct = told.workload is None or told.status.get("handoff") == "direct"
    return ["none: wakegate itself moves it between 1 and N" if direct else "none"]


def _events(told: Explanation) -> list[str]:
    rows = [_event_row(event, told.now) for event in _newest(told.events)]
    return list(table(rows)) if rows else []


def _trace(told: Explanation) -> list[str]:
    rows = [("last change", _trace_of_change(told)), ("last decision", told.status.get("traceId"))]
    return list(table([(name, found) for name, found in rows if found])) or ["none yet"]


def _phase(told: Explanation) -> str | None:
    return told.status.get("phase") or ((told.memory or {}).get("row") or {}).get("phase")


def _replicas(told: Explanation) -> tuple[int | None, int | None]:
    if told.workload is not None:
        return told.workload["spec"].get("replicas", 1), (told.workload.get("status") or {}).get("readyReplicas", 0)
    row = (told.memory or {}).get("row") or {}
    return row.get("replicas", told.status.get("replicas")), row.get("ready")


def _reason(told: Explanation) -> tuple[str, str]:
    """Why it is as it is: a replica's last look where it is known, because a ScaleTarget is written on change."""
    row = (told.memory or {}).get("row") or {}
    if row.get("reason"):
        return str(row["reason"]), str(row.get("text", ""))
    return str(told.status.get("reason", "")), str(told.status.get("message", ""))


def _lag(told: Explanation) -> int | None:
    row = (told.memory or {}).get("row") or {}
    lag = row["lag"] if "lag" in row else told.status.get("lag")
    return int(lag) if lag is not None else None


def _triggers(told: Explanation) -> list[dict[str, Any]]:
    if policy := (told.memory or {}).get("policy"):
        return list(policy.get("triggers") or ())
    annotations = ((told.workload or {}).get("metadata") or {}).get("annotations") or {}
    found = {key: annotations[ANNOTATION_PREFIX + key] for key in _READ if ANNOTATION_PREFIX + key in annotations}
    return [found] if found else []


def _trace_of_change(told: Explanation) -> str | None:
    if told.last_change is not None:
        return str(told.last_change["trace"])
    found = _TRACE.search(str(told.patch_event.get("message", ""))) if told.patch_event else None
    return found[1] if found else None


def _newest(events: Sequence[Document]) -> list[Document]:
    return sorted(events, key=_when, reverse=True)[:_MOST_EVENTS]


def _event_row(event: Document, now: datetime) -> tuple[str, str, str]:
    count = event.get("count") or 1
    message = " ".join(str(event.get("message", "")).split())
    times = f" ({count} times)" if count > 1 else ""
    return ago(moment(_when(event)), now) or "-", str(event.get("reason", "")), f"{message}{times}"


def _when(event: Document) -> str:
    metadata = event.get("metadata") or {}
    last = (event.get("series") or {}).get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return str(last or metadata.get("creationTimestamp") or "")


def _is_ours(event: Document) -> bool:
    component = (event.get("source") or {}).get("component") or event.get("reportingComponent")
    return bool(component == FIELD_MANAGER)


def _at(milliseconds: float) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%H:%M:%S.%f}"[:-3] + " UTC"
