"""Fetch: the long poll, and the sessions by which a client asks for thousands of partitions with a few bytes.

A fetch waits until `min_bytes` can be read, a partition has an error, or `max_wait_ms` is over. Which partitions may
have something to say is kept up to date as records arrive, so that a fetch over ten thousand idle partitions costs
nothing per idle partition.

Sessions are those of KIP-227: session epoch 0 opens one and answers for every partition, each next epoch names only
what changed, and the answer holds only partitions with records, an error, or a moved end or start.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from activator.local.broker.protocol import ApiError, ApiKey, Body, ErrorCode, Outcome, Reply, Request
from activator.local.broker.records import check_leader_epoch

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from activator.local.broker.config import BrokerConfig
    from activator.local.broker.faults import Faults
    from activator.local.broker.timers import Timers
    from activator.local.broker.topics import Topics

_NO_SESSION = 0
_FIRST_EPOCH, _FINAL_EPOCH = 0, -1
_READ_COMMITTED = 1
_LARGEST = 0x7FFFFFFF

_Key: TypeAlias = tuple[str, int]
"""Topic and partition."""


@dataclass(slots=True)
class _Position:
    """From where one partition is wanted, and what the client was last told about it (end and start offset)."""

    fetch_offset: int
    max_bytes: int
    leader_epoch: int
    told: tuple[int, int] | None = None


@dataclass(slots=True, eq=False)
class _View:
    """The partitions that one fetch, or one session over many fetches, is about.

    `ready` holds those that may have something to say, in the order in which they may fill the answer.
    """

    positions: dict[_Key, _Position] = field(default_factory=dict)
    ready: dict[_Key, None] = field(default_factory=dict)
    session_id: int = _NO_SESSION
    epoch: int = _FIRST_EPOCH
    created_ms: float = 0.0
    used_ms: float = 0.0
    waiting: Request | None = None

    def move(self, topics: Iterable[Body]) -> list[_Key]:
        """Take over what a request says about its partitions, and answer which of them are new."""
        added = []
        for topic in topics:
            for wanted in topic["partitions"]:
                key = (topic["name"], wanted["partition"])
                position = self.positions.get(key)
                if position is None:
                    added.append(key)
                self.positions[key] = _Position(
                    wanted["fetch_offset"],
                    wanted["partition_max_bytes"],
                    wanted["current_leader_epoch"],
                    None if position is None else position.told,
                )
                self.ready[key] = None
        return added

    def forget(self, topics: Iterable[Body]) -> list[_Key]:
        """Drop partitions, and answer which of them were there."""
        gone = [(topic["name"], partition) for topic in topics for partition in topic["partitions"]]
        dropped = [key for key in gone if self.positions.pop(key, None) is not None]
        for key in dropped:
            self.ready.pop(key, None)
        return dropped


class Fetches:
    """Every fetch that waits and every session that is open; an answer that comes late is put into `outbox`."""

    def __init__(
        self,
        config: BrokerConfig,
        topics: Topics,
        faults: Faults,
        timers: Timers,
        outbox: list[Outcome],
        random: Random,
    ) -> None:
        self._config = config
        self._topics = topics
        self._faults = faults
        self._timers = timers
        self._outbox = outbox
        self._random = random
        self._sessions: dict[int, _View] = {}
        self._waiting: dict[int, _View] = {}
        self._watchers: defaultdict[_Key, set[_View]] = defaultdict(set)

    @property
    def session_count(self) -> int:
        """How many sessions are open."""
        return len(self._sessions)

    # -- requests -----------------------------------------------------------------------------------------------

    def fetch(self, request: Request, now_ms: float) -> Body | None:
        """Answer at once, or park the request and answer later."""
        body = request.body
        try:
            view = self._view_for(body, now_ms)
        except ApiError as error:
            return {"error_code": error.code, "session_id": _NO_SESSION}
        wait_ms = body["max_wait_ms"]
        if wait_ms <= 0 or not view.positions or self._enough(view, body["min_bytes"]):
            return self._answer(view, body, now_ms)
        view.waiting = request
        self._waiting[request.token] = view
        if view.session_id == _NO_SESSION:
            self._watch(view, view.positions)
        self._timers.set(_timer(request.token), now_ms + wait_ms, lambda late_ms: self._finish(view, late_ms))
        return None

    def cancel(self, token: int) -> None:
        """The client of a waiting fetch is gone."""
        view = self._waiting.get(token)
        if view is not None:
            self._stop_waiting(view)

    def changed(self, name: str, partition: int, now_ms: float) -> None:
        """A partition got records, or came, or went, or lost some: who waits for it may have an answer."""
        key = (name, partition)
        for view in tuple(self._watchers.get(key, ())):
            view.ready[key] = None
            if view.waiting is not None and (
                not self._is_there(key) or self._enough(view, view.waiting.body["min_bytes"])
            ):
                self._finish(view, now_ms)

    def _is_there(self, key: _Key) -> bool:
        try:
            self._topics.partition(*key)
        except ApiError:
            return False
        return True

    def topics_of(self, body: Body) -> set[str]:
        """The topics a request is about: those it names, and those of its session."""
        view = self._sessions.get(body["session_id"])
        return {topic["name"] for topic in body["topics"]} | {name for name, _ in (view.positions if view else ())}

    # -- sessions -----------------------------------------------------------------------------------------------

    def _view_for(self, body: Body, now_ms: float) -> _View:
        """The session that a request goes on with, or a fresh view for a full fetch.

        Raises:
            ApiError: FETCH_SESSION_ID_NOT_FOUND or INVALID_FETCH_SESSION_EPOCH.
        """
        session_id, epoch = body["session_id"], body["session_epoch"]
        if epoch in {_FIRST_EPOCH, _FINAL_EPOCH}:
            old = self._sessions.get(session_id)
            if old is not None:
                self._close(old, now_ms)
            view = _View(created_ms=now_ms)
            view.move(body["topics"])
            return view
        return self._continue(session_id, epoch, body, now_ms)

    def _continue(self, session_id: int, epoch: int, body: Body, now_ms: float) -> _View:
        view = self._sessions.get(session_id)
        if view is None:
            raise ApiError(ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
        if epoch != view.epoch:
            raise ApiError(ErrorCode.INVALID_FETCH_SESSION_EPOCH)
        if view.waiting is not None:  # its client came back on another connection
            self._finish(view, now_ms)
        view.epoch = 1 if epoch == _LARGEST else epoch + 1
        view.used_ms = now_ms
        self._watch(view, view.move(body["topics"]))
        self._unwatch(view, view.forget(body["forgotten_topics"]))
        if not view.positions:
            self._close(view, now_ms)
        return view

    def _open(self, view: _View, now_ms: float) -> None:
        """Keep the view as a session, if there is room for one."""
        if len(self._sessions) >= self._config.max_incremental_fetch_session_cache_slots:
            victim = self._victim(view, now_ms)
            if victim is None:
                return  # the client sees session id 0 and goes on without one
            self._close(victim, now_ms)
        while view.session_id in self._sessions or view.session_id == _NO_SESSION:
            view.session_id = self._random.randint(1, _LARGEST)
        view.epoch, view.used_ms = _FIRST_EPOCH + 1, now_ms
        self._sessions[view.session_id] = view
        self._watch(view, view.positions)

    def _victim(self, view: _View, now_ms: float) -> _View | None:
        """Which session gives way: the longest unused, else the smallest, each only after the minimum time."""
        before_ms = now_ms - self._config.min_incremental_fetch_session_eviction_ms
        unused = min(self._sessions.values(), key=lambda session: session.used_ms)
        if unused.used_ms < before_ms:
            return unused
        smallest = min(self._sessions.values(), key=lambda session: len(session.positions))
        if smallest.created_ms < before_ms and len(smallest.positions) < len(view.positions):
            return smallest
        return None

    def _close(self, view: _View, now_ms: float) -> None:
        if view.waiting is not None:
            self._finish(view, now_ms)
        del self._sessions[view.session_id]
        view.session_id = _NO_SESSION
        self._unwatch(view, view.positions)

    def _watch(self, view: _View, keys: Iterable[_Key]) -> None:
        for key in keys:
            self._watchers[key].add(view)

    def _unwatch(self, view: _View, keys: Iterable[_Key]) -> None:
        for key in keys:
            watchers = self._watchers.get(key)
            if watchers is not None:
                watchers.discard(view)
                if not watchers:
                    del self._watchers[key]

    # -- answers ------------------------------------------------------------------------------------------------

    def _enough(self, view: _View, min_bytes: int) -> bool:
        """Whether there is reason to answer now; what has nothing to say is taken off the ready list.

        Any error is a reason, but as in Kafka a partition that is not there is one only if no other is.
        """
        available = unknown = 0
        for key in tuple(view.ready):
            position = view.positions[key]
            if not self._is_there(key):
                unknown += 1
                continue
            log = self._topics.partition(*key)
            try:
                check_leader_epoch(position.leader_epoch)
                log.check_range(position.fetch_offset)
            except ApiError:
                return True
            if self._faults.expects_error(ApiKey.FETCH, topic=key[0], partition=key[1]):
                return True
            if position.fetch_offset < log.end_offset:
                available += log.available_bytes(position.fetch_offset, position.max_bytes)
            elif position.told == (log.end_offset, log.start_offset):
                del view.ready[key]
        return available >= min_bytes or unknown == len(view.positions)

    def _finish(self, view: _View, now_ms: float) -> None:
        """Answer a parked request."""
        request = view.waiting
        if request is not None:
            self._stop_waiting(view)
            self._outbox.append(Reply(request.token, self._answer(view, request.body, now_ms)))

    def _stop_waiting(self, view: _View) -> None:
        request = view.waiting
        if request is not None:
            view.waiting = None
            del self._waiting[request.token]
            self._timers.cancel(_timer(request.token))
            if view.session_id == _NO_SESSION:
                self._unwatch(view, view.positions)

    def _answer(self, view: _View, body: Body, now_ms: float) -> Body:
        """What the client gets now: every partition on a full fetch, only what is new to it in a session."""
        incremental = view.session_id != _NO_SESSION
        if body["session_epoch"] == _FIRST_EPOCH:
            self._open(view, now_ms)
        topics: dict[str, list[Body]] = {}
        room = min(body["max_bytes"], self._config.fetch_max_bytes)
        empty = True
        aborted = () if body["isolation_level"] == _READ_COMMITTED else None
        for key in tuple(view.ready if incremental else view.positions):
            position = view.positions[key]
            answer = self._read(key, position, room, empty=empty) | {"aborted_transactions": aborted}
            size = sum(len(batch) for batch in answer["records"])
            room, empty = max(0, room - size), empty and not size
            if _note(view, key, answer, size) or not incremental:
                topics.setdefault(key[0], []).append(answer)
        answers = [{"name": name, "partitions": partitions} for name, partitions in topics.items()]
        return {"session_id": view.session_id, "topics": answers}

    def _read(self, key: _Key, position: _Position, room: int, *, empty: bool) -> Body:
        """One partition's part of the answer; the first batch of an answer comes whatever its size (KIP-74)."""
        name, partition = key
        try:
            self._faults.check(ApiKey.FETCH, topic=name, partition=partition)
            log = self._topics.partition(name, partition)
            check_leader_epoch(position.leader_epoch)
            records = log.read(position.fetch_offset, min(room, position.max_bytes), at_least_one=empty)
        except ApiError as refused:
            return {
                "partition": partition,
                "error_code": refused.code,
                "high_watermark": -1,
                "log_start_offset": -1,
                "records": (),
            }
        return {
            "partition": partition,
            "error_code": ErrorCode.NONE,
            "high_watermark": log.end_offset,
            "last_stable_offset": log.end_offset,
            "log_start_offset": log.start_offset,
            "records": records,
        }


def _note(view: _View, key: _Key, answer: Body, size: int) -> bool:
    """Remember what the client is told about a partition, and whether any of it is news to it.

    A partition that gave records goes to the end of the list, so that a busy one does not starve the others; one that
    has no more to say leaves it. An error is news each time, and the end offset is told again after it.
    """
    position = view.positions[key]
    if answer["error_code"]:
        position.told = None
        return True
    told = (answer["high_watermark"], answer["log_start_offset"])
    news = size > 0 or told != position.told
    position.told = told
    if size:
        view.ready.pop(key, None)
        view.ready[key] = None
    elif position.fetch_offset >= answer["high_watermark"]:
        view.ready.pop(key, None)
    return news


def _timer(token: int) -> tuple[str, int]:
    return ("fetch", token)
