"""Keeps the leaders of watched topics up to date: every few seconds, and at once where something says they moved."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from activator.kafka.topology import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from activator.kafka.topology import Topic, Topology

LOOK_SECONDS = 5.0
TOPICS_PER_SECOND = 200
"""More topics than this times `LOOK_SECONDS` are looked at less often, so that metadata stays cheap."""
PAUSE_SECONDS = 0.1
"""Between two requests, however many partitions ask for one."""
RETRY_SECONDS = 0.5

_log = logging.getLogger(__name__)


class Leaders:
    """Who leads the watched topics of one cluster.

    Args:
        where: the cluster, as log lines name it.
        topology: asks the cluster.
        watched: lists the topics to look at.
        changed: told of a topic whose leaders or partitions are not what they were; also when it is gone.
    """

    def __init__(
        self,
        where: str,
        topology: Topology,
        watched: Callable[[], Collection[str]],
        changed: Callable[[str], None],
    ) -> None:
        self._where = where
        self._topology = topology
        self._watched = watched
        self._changed = changed
        self._known: dict[str, Mapping[int, int]] = {}
        self._asked_for: set[str] = set()
        self._wanted = asyncio.Event()
        self._silent = False

    def of(self, topic: str) -> Mapping[int, int] | None:
        """Return the leader by partition; empty: there is no such topic; None: not known yet."""
        return self._known.get(topic)

    def ask(self, *topics: str) -> None:
        """Look at these topics soon."""
        self._asked_for.update(topics)
        self._wanted.set()

    def forget(self, topic: str) -> None:
        """Drop what is known of a topic that nobody watches any more."""
        self._known.pop(topic, None)

    async def run(self) -> None:
        """Look until cancelled."""
        clock = asyncio.get_running_loop().time
        next_full = clock()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(next_full):
                    await self._wanted.wait()
            self._wanted.clear()
            topics, self._asked_for = self._asked_for & set(self._watched()), set()
            if clock() >= next_full:
                topics = set(self._watched())
                next_full = clock() + max(LOOK_SECONDS, len(topics) / TOPICS_PER_SECOND)
            answered = not topics or await self._look_at(topics)
            await asyncio.sleep(PAUSE_SECONDS if answered else RETRY_SECONDS)

    async def _look_at(self, topics: set[str]) -> bool:
        """Ask for topics, tell what changed, and return whether anybody answered."""
        asked_at = asyncio.get_running_loop().time()
        found = await self._topology.topics(topics, max_age=0)
        silent = [answer for answer in found.values() if not _is_news(answer, asked_at)]
        if silent:
            self.ask(*topics)
            self._tell(silent[0])
            return False
        self._tell(None)
        for topic, answer in found.items():
            leaders = {} if isinstance(answer, Failure) else answer.leaders
            if self._known.get(topic) != leaders and topic in self._watched():
                self._known[topic] = leaders
                self._changed(topic)
        return True

    def _tell(self, silence: Topic | Failure | None) -> None:
        """Log the beginning and the end of a silence, once each."""
        if silence is not None and not self._silent:
            why = silence.text if isinstance(silence, Failure) else f"{self._where}: no broker answers"
            _log.warning("%s; until it does, nothing that sleeps there is woken by its records", why)
        elif silence is None and self._silent:
            _log.warning("%s answers again", self._where)
        self._silent = silence is not None


def _is_news(answer: Topic | Failure, asked_at: float) -> bool:
    """Tell an answer of the cluster from what was known before it fell silent."""
    return bool(answer.code) if isinstance(answer, Failure) else answer.seen_at >= asked_at
