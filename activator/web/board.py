"""What the dashboard remembers: the last look at every target, a bounded past of each, and what is wrong now.

How it is shown does not belong here: see `board_views`.
"""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from activator.core.model import (
    BatchRead,
    Cluster,
    Departed,
    EpisodePhase,
    Evaluation,
    Notice,
    Outcome,
    Phase,
    Reason,
    TargetRef,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from activator.core.model import Fact

GONE_AFTER = timedelta(minutes=5)
"""A target that should have been looked at this long ago is shown no more: it is gone, or another replica leads."""
_ALL_ENTRIES, _FEWEST_ENTRIES, _MOST_ENTRIES = 20_000, 6, 100
"""How many decisions are kept over all targets, and the bounds of each one's share: some 60 MB at most."""
_ALL_POINTS, _FEWEST_POINTS, _MOST_POINTS = 600_000, 100, 2_000
"""The same for the points of charts, of 20 bytes each."""
UNKNOWN_LAG = -1

_INVALID_NOTICE, _VALID_AGAIN_NOTICE = "InvalidConfiguration", "TakenOver"


class Points:
    """Lag and replicas over time; a stretch in which nothing changes takes two points."""

    def __init__(self) -> None:
        self.times = array("d")
        """Seconds since 1970."""
        self.lags = array("q")
        self.replicas = array("i")
        self.dropped = 0
        """Points that were there before the first one."""

    def __len__(self) -> int:
        return len(self.times)

    def add(self, time: float, lag: int, replicas: int, most: int) -> None:
        """Add a point, or move the last one on; keeps no more than `most`."""
        if self._unchanged(lag, replicas):
            self.times[-1] = time
            return
        self.times.append(time)
        self.lags.append(lag)
        self.replicas.append(replicas)
        if len(self) > most + most // 4:  # in batches: each cut moves the rest
            cut = len(self) - most
            self.dropped += cut
            for column in (self.times, self.lags, self.replicas):
                del column[:cut]

    def _unchanged(self, lag: int, replicas: int) -> bool:
        return len(self) > 1 and (
            self.lags[-1] == self.lags[-2] == lag and self.replicas[-1] == self.replicas[-2] == replicas
        )


@dataclass(slots=True)
class Entry:
    """One line of a target's past: a decision (or a stretch of equal ones), a notice, or a stretch of an episode."""

    id: str
    fact: Evaluation | Notice | EpisodePhase
    """The last one that it stands for."""
    first: datetime
    last: datetime
    sequence: int
    evaluations: int = 1


@dataclass(slots=True)
class Track:
    """Everything that is kept of one target."""

    ref: TargetRef
    sequence: int = 0
    """Of the last change."""
    last: Evaluation | None = None
    invalid: Notice | None = None
    points: Points = field(default_factory=Points)
    entries: deque[Entry] = field(default_factory=deque)
    """Oldest first."""
    wrong: Wrong | None = None

    @property
    def phase(self) -> Phase:
        """Where it is in its cycle, or that it cannot be managed as it is written."""
        return Phase.INVALID if self.invalid is not None or self.last is None else self.last.phase

    @property
    def expected_at(self) -> datetime | None:
        """When it is to be heard of again, or has been heard of last; None: not as long as it is not corrected."""
        if self.last is not None:
            return max(self.last.decision.look_again_at, self.last.now)
        return self.entries[-1].last if self.invalid is None else None


@dataclass(frozen=True, slots=True)
class Wrong:
    """What a person should look at."""

    label: str
    text: str
    since: datetime


def _problems(evaluation: Evaluation) -> str:
    return "; ".join(problem for lag in evaluation.seen.lags for problem in lag.problems)


def _failure(evaluation: Evaluation) -> str:
    return evaluation.applied.status if evaluation.applied else evaluation.decision.text


_WRONG: tuple[tuple[str, Callable[[Evaluation], str | None]], ...] = (
    ("failed", lambda e: _failure(e) if e.outcome is Outcome.FAILED else None),
    ("refused", lambda e: e.decision.text if e.outcome is Outcome.REFUSED else None),
    ("unreadable", lambda e: _problems(e) or (e.decision.text if e.decision.reason is Reason.UNREADABLE else None)),
    ("no commit", lambda e: e.decision.text if e.decision.reason is Reason.NO_COMMITTED_OFFSET else None),
    ("not ready", lambda e: e.decision.text if e.decision.reason is Reason.NO_REPLICA_READY else None),
)
"""What is wrong with a look, in the order of urgency; None: not that."""


class Board:
    """`ports.Recorder` that keeps what the dashboard shows."""

    def __init__(self) -> None:
        self.sequence = 0
        """Goes up with every fact."""
        self.reads: dict[Cluster, BatchRead] = {}
        """The last batched read of each cluster."""
        self.managed: Callable[[], Mapping[TargetRef, bool]] = dict
        """Every target that is managed, and whether its configuration has a mistake: only who leads tells by a notice
        that one has been corrected."""
        self._tracks: dict[TargetRef, Track] = {}
        self._sorted: list[Track] | None = None

    def record(self, fact: Fact) -> None:
        """Take one fact."""
        self.sequence += 1
        match fact:
            case Evaluation():
                self._evaluation(fact)
            case BatchRead():
                self.reads[fact.cluster] = fact
            case EpisodePhase():
                track = self._track(fact.ref)
                entry_id = f"e{fact.ids.span_id}"
                self._append(track, Entry(entry_id, fact, fact.started_at, fact.ended_at, self.sequence))
            case Notice():
                self._notice(fact)
            case Departed():
                self.forget(fact.ref)

    def forget(self, ref: TargetRef) -> None:
        """Show a target no more."""
        if self._tracks.pop(ref, None) is not None:
            self.sequence += 1
            self._sorted = None

    def refresh(self, now: datetime) -> None:
        """Show no more what is over without a fact that says so."""
        self._forget_corrected()
        self._forget_gone(now)

    def _forget_corrected(self) -> None:
        """Show mistakes no more that have been corrected."""
        mistaken = [track for track in self._tracks.values() if track.invalid is not None]
        managed = self.managed() if mistaken else {}
        for track in mistaken:
            if managed.get(track.ref, True):  # who never was valid is not managed
                continue
            if track.last is None:  # it comes with its first look
                self.forget(track.ref)
                continue
            self.sequence += 1
            track.sequence, track.invalid = self.sequence, None
            self._judge(track)

    def _forget_gone(self, now: datetime) -> None:
        """Show those no more that nobody looks at any more, and clusters that nobody reads."""
        before = now - GONE_AFTER
        for track in list(self._tracks.values()):
            expected_at = track.expected_at
            if expected_at is not None and expected_at < before:
                self.forget(track.ref)
        for cluster, read in list(self.reads.items()):
            if read.ended_at < before:
                del self.reads[cluster]

    def tracks(self) -> list[Track]:
        """Return all targets by namespace, name and kind."""
        if self._sorted is None:
            by_name = lambda track: (track.ref.namespace, track.ref.name, track.ref.kind)  # noqa: E731 - a sort key
            self._sorted = sorted(self._tracks.values(), key=by_name)
        return self._sorted

    def find(self, namespace: str, kind: str, name: str) -> Track | None:
        """Return one target; of two API versions of a kind the first."""
        wanted = (namespace, kind, name)
        return next((t for t in self.tracks() if (t.ref.namespace, t.ref.kind, t.ref.name) == wanted), None)

    def wrong_clusters(self) -> Iterator[tuple[Cluster, BatchRead]]:
        """Yield the clusters whose last read had a problem."""
        return ((cluster, read) for cluster, read in sorted(self.reads.items()) if read.problem is not None)

    def _evaluation(self, evaluation: Evaluation) -> None:
        if evaluation.decision.reason is Reason.UNMANAGED:
            self.forget(evaluation.ref)
            return
        track = self._track(evaluation.ref)
        lag = evaluation.seen.known_lag
        applied = evaluation.outcome is Outcome.APPLIED
        replicas = evaluation.decision.replicas if applied else evaluation.seen.replicas
        most = _share(_ALL_POINTS, len(self._tracks), _FEWEST_POINTS, _MOST_POINTS)
        if applied:  # the step is drawn where it was made, not as a slope from the look before
            seen = evaluation.seen.replicas
            track.points.add(evaluation.now.timestamp(), UNKNOWN_LAG if lag is None else lag, seen, most)
        track.points.add(evaluation.now.timestamp(), UNKNOWN_LAG if lag is None else lag, replicas, most)
        track.last = evaluation
        newest = next((entry for entry in reversed(track.entries) if isinstance(entry.fact, Evaluation)), None)
        if newest is not None and _goes_on(newest, evaluation):
            newest.fact, newest.last, newest.sequence = evaluation, evaluation.now, self.sequence
            newest.evaluations += 1
        else:
            now = evaluation.now
            self._append(track, Entry(evaluation.ids.trace_id, evaluation, now, now, self.sequence))
        self._judge(track)

    def _notice(self, notice: Notice) -> None:
        track = self._track(notice.ref)
        if notice.reason == _INVALID_NOTICE:
            track.invalid = notice
        elif notice.reason == _VALID_AGAIN_NOTICE:
            track.invalid = None
        self._append(track, Entry(f"n{self.sequence}", notice, notice.now, notice.now, self.sequence))
        self._judge(track)

    def _judge(self, track: Track) -> None:
        if track.invalid is not None:
            track.wrong = Wrong("invalid", track.invalid.message, track.invalid.now)
            return
        found = next(((label, text) for label, judge in _WRONG if track.last and (text := judge(track.last))), None)
        if found is None:
            track.wrong = None
        elif track.wrong is None or track.wrong.label != found[0]:
            track.wrong = Wrong(*found, since=track.last.now if track.last else track.entries[-1].last)
        else:
            track.wrong = Wrong(*found, since=track.wrong.since)

    def _track(self, ref: TargetRef) -> Track:
        track = self._tracks.get(ref)
        if track is None:
            track = self._tracks[ref] = Track(ref)
            self._sorted = None
        track.sequence = self.sequence
        return track

    def _append(self, track: Track, entry: Entry) -> None:
        track.entries.append(entry)
        most = _share(_ALL_ENTRIES, len(self._tracks), _FEWEST_ENTRIES, _MOST_ENTRIES)
        while len(track.entries) > most:
            track.entries.popleft()


def _goes_on(entry: Entry, evaluation: Evaluation) -> bool:
    before = entry.fact
    return (
        isinstance(before, Evaluation)
        and evaluation.outcome in {Outcome.HELD, Outcome.REFUSED}
        and (before.outcome, before.decision.reason, before.seen.replicas, before.decision.replicas)
        == (evaluation.outcome, evaluation.decision.reason, evaluation.seen.replicas, evaluation.decision.replicas)
    )


def _share(everything: int, targets: int, fewest: int, most: int) -> int:
    return max(fewest, min(most, everything // max(1, targets)))
