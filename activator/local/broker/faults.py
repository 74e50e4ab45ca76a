"""Scripted faults: what the embedded broker gets wrong on purpose, by rule.

`broker.faults.add(Fault(ApiKey.FETCH, Fail(ErrorCode.NOT_LEADER_OR_FOLLOWER), topic="orders", times=3))`
spoils the next three answers for that topic. A rule holds from the next request on, until its `times` are used up
or it is removed.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from activator.local.broker.protocol import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from activator.local.broker.protocol import ApiKey, ErrorCode


@dataclass(frozen=True, slots=True)
class Delay:
    """The request is looked at only after so many milliseconds; what comes after it on its connection waits too."""

    milliseconds: float


@dataclass(frozen=True, slots=True)
class DropConnection:
    """The request is not answered and its connection is closed; `after_effect` first does what was asked."""

    after_effect: bool = False


@dataclass(frozen=True, slots=True)
class Fail:
    """The topic's partition, the topic or the group is answered with this error code and nothing is done.

    A broker without a leader for a topic is `Fault(ApiKey.METADATA, Fail(ErrorCode.LEADER_NOT_AVAILABLE), topic=...)`.
    """

    code: ErrorCode


@dataclass(frozen=True, slots=True)
class EndOffset:
    """ListOffsets misreports the partition's end as this offset, although the records are there.

    For records that are really gone there is `Broker.truncate`.
    """

    offset: int


Action: TypeAlias = Delay | DropConnection | Fail | EndOffset


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """One rule: which requests, about what, go wrong how, and how many times (None: until it is removed).

    Without a topic, partition or group it holds for any. Each spoiled partition or group counts as one time, and
    each delayed request or dropped connection does.
    """

    api: ApiKey
    action: Action
    topic: str | None = None
    partition: int | None = None
    group: str | None = None
    times: int | None = None

    def concerns(self, topic: str | None, partition: int | None, group: str | None) -> bool:
        """Whether the rule names no other topic, partition or group than these."""
        return self.topic in {None, topic} and self.partition in {None, partition} and self.group in {None, group}


class Faults:
    """The rules in force, in the order they were added; the first that fits is applied."""

    def __init__(self) -> None:
        self._left: dict[Fault, int | None] = {}

    def add(self, fault: Fault) -> Fault:
        """Put a rule in force."""
        self._left[fault] = fault.times
        return fault

    def remove(self, fault: Fault) -> None:
        """Lift a rule; one that is used up is fine."""
        self._left.pop(fault, None)

    def clear(self) -> None:
        """Lift every rule."""
        self._left.clear()

    @contextmanager
    def injected(self, *faults: Fault) -> Iterator[None]:
        """Keep these rules in force for the length of a `with` block."""
        for fault in faults:
            self.add(fault)
        try:
            yield
        finally:
            for fault in faults:
                self.remove(fault)

    def __bool__(self) -> bool:
        return bool(self._left)

    def __iter__(self) -> Iterator[Fault]:
        return iter(tuple(self._left))

    def on_request(self, api: ApiKey, topics: Iterable[str], groups: Iterable[str]) -> Delay | DropConnection | None:
        """What happens to a whole request about these topics and groups."""
        if not self._left:
            return None
        abouts: list[tuple[str | None, str | None]] = [(topic, None) for topic in topics]
        abouts += [(None, group) for group in groups]
        for topic, group in abouts or [(None, None)]:
            for fault in self:
                # A rule about one partition fits a request about its topic: the answer is one for all of them.
                if fault.api == api and fault.concerns(topic, fault.partition, group):
                    action = fault.action
                    if isinstance(action, Delay | DropConnection):
                        self._use(fault)
                        return action
        return None

    def error(
        self, api: ApiKey, *, topic: str | None = None, partition: int | None = None, group: str | None = None
    ) -> ErrorCode | None:
        """The error code that this partition, topic or group is answered with, if a rule says so."""
        if not self._left:
            return None
        for fault in self:
            if fault.api == api and isinstance(fault.action, Fail) and fault.concerns(topic, partition, group):
                self._use(fault)
                return fault.action.code
        return None

    def check(
        self, api: ApiKey, *, topic: str | None = None, partition: int | None = None, group: str | None = None
    ) -> None:
        """Raise what `error` would answer.

        Raises:
            ApiError: with the code that the rule says.
        """
        code = self.error(api, topic=topic, partition=partition, group=group)
        if code is not None:
            raise ApiError(code)

    def expects_error(self, api: ApiKey, *, topic: str, partition: int) -> bool:
        """Whether `error` would answer one; it counts nothing."""
        return any(
            fault.api == api and isinstance(fault.action, Fail) and fault.concerns(topic, partition, None)
            for fault in self._left
        )

    def end_offset(self, topic: str, partition: int) -> int | None:
        """The end offset that ListOffsets misreports for this partition, if a rule says so."""
        for fault in self:
            action = fault.action
            if isinstance(action, EndOffset) and fault.concerns(topic, partition, None):
                self._use(fault)
                return action.offset
        return None

    def _use(self, fault: Fault) -> None:
        left = self._left[fault]
        if left is None:
            return
        if left <= 1:
            del self._left[fault]
        else:
            self._left[fault] = left - 1
