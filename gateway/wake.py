"""Tells the activator which topics got records, so that sleeping consumers wake before their lag is read.

Fire and forget: the record is in Kafka already, and where a wake is lost the activator's own look at Kafka finds it.
So no wake delays an answer, none is waited for at shutdown, and none grows a queue: a topic is told of at once, and
after that at most once a second for as long as records keep coming, the last time after the last record.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from gateway.tokens import Tokens

log = logging.getLogger(__name__)

QUIET_SECONDS: Final = 1.0
"""How long a topic is not told of again."""
MAX_TOPICS: Final = 5000
"""How many topics may wait to be told of; more are dropped, and counted."""
_MAX_TOPICS_PER_REQUEST: Final = 500
_MAX_TRACED_PER_ROUND: Final = 16
"""A request has one `traceparent`: topics whose request was sampled go alone, up to so many; the rest share one."""
_REQUEST_SECONDS: Final = 2.0
_RETRY_SECONDS: Final = 0.5
_TOKEN: Final = re.compile(rb"[ -~]+")


class Wake(NamedTuple):
    """Some topics, and the trace that one POST /wake carries for them."""

    topics: tuple[str, ...]
    traceparent: str | None


class WakeObserver(Protocol):
    """Is told what metrics want to know."""

    def wakes_sent(self, topics: int) -> None:
        """The activator took so many topics."""

    def wakes_lost(self, topics: int) -> None:
        """The activator was not told of so many topics."""


class Agenda:
    """Which topics are to be told of, and when. Pure: time comes in as seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._waiting: dict[str, str | None] = {}
        self._quiet_until: dict[str, float] = {}
        self._ends: deque[tuple[float, str]] = deque()

    def add(self, topic: str, traceparent: str | None) -> bool:
        """Note a record; the first trace is the one that is told. False: there is no room."""
        if topic not in self._waiting:
            if len(self._waiting) >= MAX_TOPICS:
                return False
            self._waiting[topic] = traceparent
        return True

    def due_in(self, now: float) -> float | None:
        """Return in how many seconds there is something to tell; None: nothing waits."""
        if not self._waiting:
            return None
        return max(0.0, min(self._quiet_until.get(topic, now) for topic in self._waiting) - now)

    def take(self, now: float) -> list[Wake]:
        """Return what is to be told now, and keep those topics quiet from here on."""
        while self._ends and self._ends[0][0] <= now:
            end, topic = self._ends.popleft()
            if self._quiet_until.get(topic) == end:
                del self._quiet_until[topic]
        due = {topic: trace for topic, trace in self._waiting.items() if topic not in self._quiet_until}
        for topic in due:
            del self._waiting[topic]
            self._quiet_until[topic] = now + QUIET_SECONDS
            self._ends.append((now + QUIET_SECONDS, topic))
        return _merge(due)


def _merge(due: Mapping[str, str | None]) -> list[Wake]:
    traced = [topic for topic, trace in due.items() if trace is not None][:_MAX_TRACED_PER_ROUND]
    wakes = [Wake((topic,), due[topic]) for topic in traced]
    rest = [topic for topic in due if topic not in set(traced)]
    starts = range(0, len(rest), _MAX_TOPICS_PER_REQUEST)
    wakes.extend(Wake(tuple(rest[start : start + _MAX_TOPICS_PER_REQUEST]), None) for start in starts)
    return wakes


class Waker:
    """Sends POST /wake to the activator.

    Args:
        url: of POST /wake; any replica may answer it.
        bootstrap_servers: Kafka's address as the targets name it, because that is how the activator finds them.
        token_file: its first token is sent.
        tokens: reads token files.
        observer: is told how it went.
    """

    def __init__(
        self, url: str, bootstrap_servers: str, token_file: Path | None, tokens: Tokens, observer: WakeObserver
    ) -> None:
        self._url = url
        self._bootstrap_servers = bootstrap_servers
        self._token_file = token_file
        self._tokens = tokens
        self._observer = observer
        self._agenda = Agenda()
        self._news = asyncio.Event()
        self._token_told = False

    def notify(self, topic: str, traceparent: str | None) -> None:
        """Note that a topic got a record."""
        if self._agenda.add(topic, traceparent):
            self._news.set()
        else:
            self._observer.wakes_lost(1)

    async def run(self) -> None:
        """Tell until cancelled."""
        loop = asyncio.get_running_loop()
        timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
            while True:
                await self._wait(loop)
                lost = await self._tell(session, self._agenda.take(loop.time()))
                if lost:
                    await asyncio.sleep(_RETRY_SECONDS)
                    lost = await self._tell(session, lost)
                self._observer.wakes_lost(sum(len(wake.topics) for wake in lost))

    async def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            self._news.clear()
            wait = self._agenda.due_in(loop.time())
            if wait == 0:
                return
            try:
                async with asyncio.timeout(wait):
                    await self._news.wait()
            except TimeoutError:
                return

    async def _tell(self, session: aiohttp.ClientSession, wakes: Sequence[Wake]) -> list[Wake]:
        """Send wakes side by side; return those that the activator did not take."""
        headers = self._headers()
        if headers is None:
            return list(wakes)
        problems = await asyncio.gather(*(self._send(session, wake, headers) for wake in wakes))
        first = next(filter(None, problems), None)
        if first is not None:
            log.warning("the activator was not told of new records: %s; its own look at Kafka finds them", first)
        return [wake for wake, problem in zip(wakes, problems, strict=True) if problem is not None]

    async def _send(self, session: aiohttp.ClientSession, wake: Wake, headers: Mapping[str, str]) -> str | None:
        """Send one request; return what went wrong."""
        body = json.dumps([{"bootstrapServers": self._bootstrap_servers, "topic": topic} for topic in wake.topics])
        traced = headers if wake.traceparent is None else {**headers, "traceparent": wake.traceparent}
        try:
            async with session.post(self._url, data=body, headers=traced, allow_redirects=False) as answer:
                if answer.status != 202:  # noqa: PLR2004 - Accepted, the one good answer
                    return f"{self._url} answered {answer.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return f"{self._url}: {error!r}"
        self._observer.wakes_sent(len(wake.topics))
        return None

    def _headers(self) -> dict[str, str] | None:
        """Return the headers of every wake; None, which is told once, where the token can stand in no header.

        A file in UTF-16, as PowerShell writes it, has a NUL beside each character. aiohttp raises ValueError for one,
        which is not among what may go wrong with a request, and would end the process.
        """
        headers = {"Content-Type": "application/json"}
        tokens: Sequence[bytes] = self._tokens.read(self._token_file) if self._token_file is not None else ()
        if tokens and _TOKEN.fullmatch(tokens[0]) is None:
            if not self._token_told:
                log.error(
                    "the first token in %s is not of visible ASCII (is the file UTF-16?), and no header can hold it: "
                    "until that is mended the activator is not told of new records; its own look at Kafka finds them",
                    self._token_file,
                )
            self._token_told = True
            return None
        self._token_told = False
        if tokens:
            headers["Authorization"] = f"Bearer {tokens[0].decode('ascii')}"
        return headers
