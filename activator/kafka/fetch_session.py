"""The client's half of an incremental fetch session (KIP-227): what the broker has been told and must be told next.

Pure. A session remembers at the broker which partitions are fetched from which offsets, so that a request carries only
what has changed, and a waiting fetch over thousands of idle partitions costs nothing.
"""

from __future__ import annotations

from collections import defaultdict
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from activator.kafka.fetch import INITIAL_EPOCH, NO_SESSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from activator.ports import TopicPartition

MAX_EPOCH = 2**31 - 1


class SessionRequest(NamedTuple):
    """The session's part of the next fetch."""

    session_id: int
    epoch: int
    offsets: Mapping[str, Mapping[int, int]]
    """Partitions that are new or have moved."""
    forgotten: Mapping[str, Sequence[int]]


class SessionAnswer(Enum):
    """What became of a session by an answer."""

    KEPT = auto()
    LOST = auto()
    """The broker does not know it any more: the next request opens another; this answer holds nothing."""
    DECLINED = auto()
    """The broker keeps none (its cache is full, or it does not implement sessions); the answer itself holds."""


class FetchSession:
    """One session with one broker."""

    def __init__(self) -> None:
        self._wanted: dict[TopicPartition, int] = {}
        self._told: dict[TopicPartition, int] = {}
        self._changed: set[TopicPartition] = set()
        self._id = NO_SESSION
        self._epoch = INITIAL_EPOCH

    def __len__(self) -> int:
        return len(self._wanted)

    def put(self, where: TopicPartition, offset: int) -> None:
        """Fetch a partition from this offset on, from the next request."""
        self._wanted[where] = offset
        if self._told.get(where) != offset:
            self._changed.add(where)

    def drop(self, where: TopicPartition) -> None:
        """Fetch a partition no more, from the next request."""
        if self._wanted.pop(where, None) is not None:
            self._changed.add(where)

    def asked_from(self, where: TopicPartition) -> int | None:
        """Return the offset that the broker fetches a partition from, as far as it has been told."""
        return self._told.get(where)

    def partitions(self) -> list[TopicPartition]:
        """List what is fetched."""
        return list(self._wanted)

    def reset(self) -> None:
        """Begin anew: the next request is a full one. After a lost connection or an answer that never came."""
        self._id, self._epoch = NO_SESSION, INITIAL_EPOCH
        self._told.clear()
        self._changed.clear()

    def next_request(self) -> SessionRequest:
        """Say what the next fetch must tell, and take it as told."""
        full = self._id == NO_SESSION
        if full:
            self._told.clear()
        offsets: dict[str, dict[int, int]] = defaultdict(dict)
        forgotten: dict[str, list[int]] = defaultdict(list)
        for where in list(self._wanted) if full else self._changed:
            topic, number = where
            if where in self._wanted:
                offsets[topic][number] = self._told[where] = self._wanted[where]
            elif self._told.pop(where, None) is not None:
                forgotten[topic].append(number)
        self._changed.clear()
        return SessionRequest(self._id, self._epoch, offsets, forgotten)

    def answered(self, session_id: int, *, lost: bool) -> SessionAnswer:
        """Take an answer's session id, or that it was an error of the session."""
        if lost:
            self.reset()
            return SessionAnswer.LOST
        if session_id == NO_SESSION:
            self._id, self._epoch = NO_SESSION, INITIAL_EPOCH
            return SessionAnswer.DECLINED
        self._id = session_id
        self._epoch = 1 if self._epoch == MAX_EPOCH else self._epoch + 1
        return SessionAnswer.KEPT
