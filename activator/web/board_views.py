"""The dashboard's board as documents: an overview and a page a target, whole at first and then what has changed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from activator.core.model import EpisodePhase, Evaluation, Notice, Phase, PushSource, Severity
from activator.web.board import UNKNOWN_LAG

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from activator.core.model import Policy
    from activator.web.board import Board, Entry, Points, Track

PAGE_ROWS = 100
_MOST_WRONG = 50
"""How many wrong targets are listed at the top; their number is always told."""
WRONG = "wrong"
"""Value of `Query.show` for the targets with which something is wrong."""

Document = dict[str, Any]
Message = tuple[str, Document]
"""An event's name, ``snapshot`` or ``update``, and its data."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which targets an overview lists."""

    text: str = ""
    """Part of namespace/name, topic or consumer group."""
    show: str = ""
    """A phase, or ``wrong``; empty: all."""
    page: int = 1

    @classmethod
    def read(cls, values: Mapping[str, str]) -> Query:
        """Read it from a URL's query; what makes no sense there means its default."""
        show = values.get("show", "")
        page = values.get("page", "")
        return cls(
            text=values.get("q", "").strip().lower(),
            show=show if show == WRONG or show in set(Phase) else "",
            page=max(1, int(page)) if page.isdecimal() and len(page) < 6 else 1,  # noqa: PLR2004 - more pages than targets
        )

    def matches(self, track: Track) -> bool:
        """Tell whether a target is listed."""
        if self.show == WRONG and track.wrong is None:
            return False
        if self.show not in {"", WRONG, track.phase}:
            return False
        return not self.text or self.text in _searched(track)


class OverviewFeed:
    """What one viewer of the overview is sent."""

    def __init__(self, board: Board, query: Query) -> None:
        self._board = board
        self._query = query
        self._sequence = -1
        self._ids: list[str] = []
        self._head: Document = {}

    def next(self, now: datetime) -> Message | None:
        """Return what has changed since the last time, the whole where rows came or went; None: nothing."""
        self._board.refresh(now)
        if self._board.sequence == self._sequence:
            return None
        head, tracks = self._look()
        ids = [row_id(track) for track in tracks]
        first = self._sequence < 0
        changed = [track for track in tracks if track.sequence > self._sequence]
        self._sequence = self._board.sequence
        if first or ids != self._ids:
            self._ids, self._head = ids, head
            return "snapshot", {"now": milliseconds(now), **head, "rows": [row(track) for track in tracks]}
        update: Document = {"now": milliseconds(now), "rows": [row(track) for track in changed]}
        if head != self._head:
            self._head = head
            update |= head
        return ("update", update) if changed or len(update) > 2 else None  # noqa: PLR2004 - more than now and rows

    def _look(self) -> tuple[Document, list[Track]]:
        tracks = self._board.tracks()
        matching = [track for track in tracks if self._query.matches(track)]
        pages = max(1, -(-len(matching) // PAGE_ROWS))
        page = min(self._query.page, pages)
        clusters = [
            {
                "label": "Kafka",
                "cluster": cluster.bootstrap_servers,
                "text": f"{read.unreadable} of {read.triggers} triggers unreadable: {read.problem}",
                "since": milliseconds(read.ended_at),
            }
            for cluster, read in self._board.wrong_clusters()
        ]
        wrong = [track for track in tracks if track.wrong is not None]
        phases = Counter(track.phase for track in tracks)
        head = {
            "wrong": {
                "targets": len(wrong),
                "clusters": clusters,
                "list": [_wrong(track) for track in wrong[:_MOST_WRONG]],
            },
            "phases": {phase.value: phases[phase] for phase in Phase if phases[phase]},
            "total": len(tracks),
            "matching": len(matching),
            "page": page,
            "pages": pages,
        }
        return head, matching[(page - 1) * PAGE_ROWS : page * PAGE_ROWS]


class TargetFeed:
    """What one viewer of a target's page is sent."""

    def __init__(self, board: Board, namespace: str, kind: str, name: str) -> None:
        self._board = board
        self._wanted = (namespace, kind, name)
        self._track: Track | None = None
        self._absence_told = False
        self._sequence = -1
        self._points = 0
        """How many points the viewer has, those included that were there before its first one."""

    def next(self, now: datetime) -> Message | None:
        """Return what has changed since the last time; a target that is not there has a document without a row."""
        self._board.refresh(now)
        track = self._board.find(*self._wanted)
        if track is not self._track:  # come, gone, or gone and come again
            self._track, self._sequence, self._points, self._absence_told = track, -1, 0, False
        if track is None:
            told, self._absence_told = self._absence_told, True
            return None if told else ("snapshot", {"now": milliseconds(now), "row": None})
        if track.sequence <= self._sequence:
            return None
        first = self._sequence < 0
        entries = [entry for entry in track.entries if entry.sequence > self._sequence]
        document: Document = {
            "now": milliseconds(now),
            "row": row(track),
            "entries": [_entry(entry) for entry in reversed(entries)],
            "points": _points(track.points, self._points),
        }
        if track.last is not None:
            document["policy"] = _policy(track.last.policy)
        self._sequence = track.sequence
        self._points = track.points.dropped + len(track.points)
        return ("snapshot" if first else "update"), document


def row_id(track: Track) -> str:
    """Return a target's id as it stands in URLs."""
    return f"{track.ref.namespace}/{track.ref.kind}/{track.ref.name}"


def row(track: Track) -> Document:
    """Return the line of a target."""
    found: Document = {
        "id": row_id(track),
        "namespace": track.ref.namespace,
        "kind": track.ref.kind,
        "name": track.ref.name,
        "phase": track.phase.value,
        "wrong": track.wrong.label if track.wrong else None,
        "text": track.wrong.text if track.wrong else "",
    }
    if (last := track.last) is None:
        return found
    replicas = track.points.replicas[-1] if len(track.points) else last.seen.replicas
    return found | {
        "replicas": replicas,
        "ready": min(last.seen.ready_replicas, replicas),
        "lag": last.seen.known_lag,
        "complete": all(lag.complete for lag in last.seen.lags),
        "outcome": last.outcome.value,
        "reason": last.decision.reason.value,
        "text": track.wrong.text if track.wrong else last.decision.text,
        "at": milliseconds(last.now),
        "next": milliseconds(last.decision.look_again_at),
    }


def milliseconds(moment: datetime) -> int:
    """Return a moment as JavaScript has it."""
    return round(moment.timestamp() * 1000)


def _wrong(track: Track) -> Document:
    wrong = track.wrong
    if wrong is None:
        return {}
    return {"label": wrong.label, "id": row_id(track), "text": wrong.text, "since": milliseconds(wrong.since)}


def _searched(track: Track) -> str:
    triggers = track.last.policy.triggers if track.last is not None else ()
    words = [f"{track.ref.namespace}/{track.ref.name}", *(f"{trigger.topic} {trigger.group}" for trigger in triggers)]
    return " ".join(words).lower()


def _policy(policy: Policy) -> Document:
    return {
        "triggers": [
            {
                "topic": trigger.topic,
                "group": trigger.group,
                "cluster": trigger.cluster.bootstrap_servers,
                "lagThreshold": trigger.lag_threshold,
            }
            for trigger in policy.triggers
        ],
        "min": policy.min_replicas,
        "max": policy.max_replicas,
        "idle": policy.idle_replicas,
        "cooldown": policy.cooldown.total_seconds(),
        "pollingInterval": policy.polling_interval.total_seconds(),
        "paused": policy.paused,
        "keepAwake": policy.keep_awake,
        "dryRun": policy.dry_run,
    }


def _points(points: Points, known: int) -> Document:
    """Return the points from the last known one on, which may have moved since; `from` is the number of its first."""
    begin = max(known - 1, points.dropped, 0)
    rest = slice(begin - points.dropped, None)
    return {
        "from": begin,
        "dropped": points.dropped,
        "time": [round(time * 1000) for time in points.times[rest]],
        "lag": [None if lag == UNKNOWN_LAG else lag for lag in points.lags[rest]],
        "replicas": list(points.replicas[rest]),
    }


def _entry(entry: Entry) -> Document:
    common: Document = {"id": entry.id, "first": milliseconds(entry.first), "last": milliseconds(entry.last)}
    match entry.fact:
        case Evaluation() as evaluation:
            return common | {"kind": "decision", "evaluations": entry.evaluations} | _decision(evaluation)
        case Notice() as notice:
            bad = notice.severity is Severity.WARNING
            return common | {"kind": "notice", "bad": bad, "reason": notice.reason, "text": notice.message}
        case EpisodePhase() as phase:
            return (
                common | {"kind": "episode", "bad": bool(phase.missing), "trace": phase.ids.trace_id} | _episode(phase)
            )


def _episode(phase: EpisodePhase) -> Document:
    seconds = (phase.ended_at - phase.started_at).total_seconds()
    if phase.missing:
        return {"reason": phase.episode, "text": f"closed after {seconds:.0f} s without {', '.join(phase.missing)}"}
    stretch = phase.name.replace("_", " ") or "complete"
    return {"reason": phase.episode, "text": f"{stretch} after {seconds:.2f} s"}


def _decision(evaluation: Evaluation) -> Document:
    applied, pushed = evaluation.applied, evaluation.seen.pushed
    return {
        "outcome": evaluation.outcome.value,
        "reason": evaluation.decision.reason.value,
        "text": evaluation.decision.text,
        "from": evaluation.seen.replicas,
        "to": evaluation.decision.replicas,
        "lag": evaluation.seen.known_lag,
        "problems": [problem for lag in evaluation.seen.lags for problem in lag.problems],
        "trace": evaluation.ids.trace_id,
        "steps": [
            {"name": step.name, "replicas": step.replicas, "reason": step.reason.value, "text": step.text}
            for step in evaluation.decision.steps
        ],
        "push": None
        if pushed is None
        else {
            "source": "the gateway" if pushed.source is PushSource.GATEWAY else "the tail",
            "topic": pushed.topic,
            "partition": pushed.partition,
            "offset": pushed.offset,
            "at": milliseconds(pushed.seen_at),
        },
        "apply": None
        if applied is None
        else {
            "status": applied.status,
            "attempts": applied.attempts,
            "milliseconds": (applied.ended_at - applied.started_at).total_seconds() * 1000,
        },
    }
