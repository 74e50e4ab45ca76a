"""Which request goes to which topic, and under what rules. Pure: `routes_file.py` reads them from YAML."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from gateway.admission import Limits, Share
from gateway.cloudevents.kafka import KeyRule, RecordMode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

MEBIBYTE: Final = 1024 * 1024
TOPICS_PATH: Final = "/topics/"
TOPIC_NAME: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")
"""What Kafka allows as a topic's name, `.` and `..` apart."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How the events of a route are taken."""

    key: KeyRule = KeyRule.NONE
    """The record's key where the event has no `partitionkey`."""
    mode: RecordMode = RecordMode.BINARY
    """The content mode of the records."""
    plain: bool = False
    """Whether bodies that are no CloudEvents are taken too, as records without attributes."""
    token_file: Path | None = None
    """File with the bearer tokens of which a request must carry one; None: anyone may send."""
    webhook_origins: tuple[str, ...] = ("*",)
    """Who may be told in the webhook handshake that its events are welcome, in lower case; `*`: anyone."""
    max_event_bytes: int = MEBIBYTE
    """The largest body of a single event."""
    max_batch_bytes: int = 4 * MEBIBYTE
    """The largest body of a batch."""
    max_batch_events: int = 1000
    """The most events in one batch."""
    delivery_seconds: float = 5.0
    """How long an event may take to be acknowledged by Kafka, from the moment its body was read."""
    limits: Limits = field(default=Limits(events=5_000, size=32 * MEBIBYTE))
    """What may be under way on this route at once; on the open route, to each topic."""


@dataclass(frozen=True, slots=True)
class Route:
    """One way in: a path, on one host or on any, to one topic."""

    name: str
    """Its name in metrics and logs."""
    path: str
    """The exact path, percent-decoded."""
    topic: str
    host: str | None = None
    """The Host header it answers to, in lower case and without a port; None: any."""
    rules: Rules = field(default_factory=Rules)


@dataclass(frozen=True, slots=True)
class OpenRoute:
    """`POST /topics/{topic}`: any topic that exists and is allowed."""

    allowed: tuple[str, ...] = ("*",)
    """Shell patterns of topic names. Kafka's own topics, which begin with two underscores, never match `*`."""
    rules: Rules = field(default_factory=Rules)

    def allows(self, topic: str) -> bool:
        """Tell whether a topic may be written to by its name."""
        if TOPIC_NAME.fullmatch(topic) is None or topic in {".", ".."}:
            return False
        patterns = (p for p in self.allowed if not topic.startswith("__") or p.startswith("__"))
        return any(fnmatchcase(topic, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a request leads."""

    topic: str
    rules: Rules
    share: Share
    """Whose limits it counts against; its route is one of a few, fit for a metric's label."""


OPEN_ROUTE_NAME: Final = "topics"


class RouteTable:
    """All ways in. Of two routes with the same path the one that names the host is the nearer one."""

    def __init__(self, routes: Iterable[Route] = (), open_route: OpenRoute | None = None) -> None:
        self.routes = tuple(routes)
        self.open_route = open_route
        self._open = lru_cache(maxsize=1024)(self._find_topic)
        self._exact: Mapping[tuple[str | None, str], Destination] = {
            (route.host, route.path): Destination(route.topic, route.rules, Share(route.name, route.topic))
            for route in self.routes
        }

    def find(self, host: str | None, raw_path: str) -> Destination | None:
        """Return where a request leads, by its Host header and the path as it was on the wire; None: nowhere."""
        path = unquote(raw_path) if "%" in raw_path else raw_path
        found = self._exact.get((_host_name(host), path)) or self._exact.get((None, path))
        if found is not None or self.open_route is None or not path.startswith(TOPICS_PATH):
            return found
        return self._open(path[len(TOPICS_PATH) :])

    def _find_topic(self, topic: str) -> Destination | None:
        if self.open_route is None or not self.open_route.allows(topic):
            return None
        return Destination(topic, self.open_route.rules, Share(OPEN_ROUTE_NAME, topic))

    def described(self) -> list[str]:
        """Return each way in as a line: where it is, the topic it leads to, and the rules a sender notices."""
        lines = [
            f"POST {route.host or ''}{route.path} -> {route.topic} ({_described(route.rules)})" for route in self.routes
        ]
        if self.open_route is not None:
            topics = ", ".join(self.open_route.allowed)
            lines.append(f"POST {TOPICS_PATH}{{topic}} -> topics {topics} ({_described(self.open_route.rules)})")
        return lines

    def all_rules(self) -> dict[str, Rules]:
        """Return the rules of every way in, by its name."""
        rules = {route.name: route.rules for route in self.routes}
        return rules if self.open_route is None else {**rules, OPEN_ROUTE_NAME: self.open_route.rules}


def _described(rules: Rules) -> str:
    parts = [
        f"records {rules.mode}",
        "key partitionkey" + ("" if rules.key is KeyRule.NONE else f", else {rules.key}"),
        "CloudEvents and plain bodies" if rules.plain else "CloudEvents only",
        "anyone may send" if rules.token_file is None else f"tokens {rules.token_file}",
    ]
    return "; ".join(parts)


def _host_name(host: str | None) -> str | None:
    """Return a Host header's name in lower case, without its port and without a final dot."""
    if host is None:
        return None
    name = host.rpartition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    return name.lower().removesuffix(".")
