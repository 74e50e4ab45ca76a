"""The routes file: YAML -> `RouteTable`, by one table of keys; every mistake is told with its line and the fix.

The reference in `docs/gateway.md` is made from the table (`reference`).
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import yaml

from activator.errors import SettingsError, SpecError
from gateway.admission import HEAD_BYTES, Limits
from gateway.cloudevents.kafka import KeyRule, RecordMode
from gateway.routes import OPEN_ROUTE_NAME, TOPIC_NAME, OpenRoute, Route, RouteTable, Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from enum import StrEnum

_LARGEST = 2**31 - 1
_SIZE = re.compile(r"([0-9]{1,10})(Ki|Mi)?")
_SIZE_UNIT = {None: 1, "Ki": 1024, "Mi": 1024 * 1024}
_DURATION = re.compile(r"([0-9]{1,6})(ms|s|m)?")
_DURATION_UNIT = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0}
_LONGEST_DELIVERY = 60.0
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

_Choice = TypeVar("_Choice", bound="StrEnum")


@dataclass(frozen=True, slots=True)
class Key:
    """One row of the table: a key that a rule is set by."""

    name: str
    parse: Callable[[str], Any]
    default: str
    """As a user would write it."""
    doc: str


def _one_of(choices: type[_Choice]) -> Callable[[str], _Choice]:
    def parse(text: str) -> _Choice:
        try:
            return choices(text)
        except ValueError:
            raise ValueError(" or ".join(choices)) from None

    return parse


def _switch(text: str) -> bool:
    try:
        return {"true": True, "false": False}[text.lower()]
    except KeyError:
        raise ValueError("true or false") from None


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > len(str(_LARGEST)) or not 0 < int(text) <= _LARGEST:
        raise ValueError(f"a whole number from 1 to {_LARGEST}")
    return int(text)


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    size = int(found[1]) * _SIZE_UNIT[found[2]] if found else 0
    if not 0 < size <= _LARGEST:
        raise ValueError("bytes, such as 65536, 64Ki or 4Mi")
    return size


def _delivery(text: str) -> float:
    found = _DURATION.fullmatch(text)
    seconds = int(found[1]) * _DURATION_UNIT[found[2]] if found else 0.0
    if not 0 < seconds <= _LONGEST_DELIVERY:
        raise ValueError(f"a duration up to {_LONGEST_DELIVERY:g}s, such as 5s or 800ms")
    return seconds


def _token_file(text: str) -> Path | None:
    if text == "none":
        return None
    if not text.startswith("/"):
        raise ValueError("the absolute path of a file, or none to let anyone send")
    return Path(text)


def _topic(text: str) -> str:
    if TOPIC_NAME.fullmatch(text) is None or text in {".", ".."}:
        raise ValueError("a Kafka topic name: 1 to 249 of the characters a-z A-Z 0-9 . _ -")
    return text


def _path(text: str) -> str:
    if not text.startswith("/") or "?" in text or "#" in text:
        raise ValueError("a path that begins with /, without ? and #")
    return text


def _host(text: str) -> str:
    if _HOST.fullmatch(text.lower()) is None:
        raise ValueError("a host name without a port, such as events.example.com")
    return text.lower()


def _route_name(text: str) -> str:
    if _NAME.fullmatch(text) is None or text == OPEN_ROUTE_NAME:
        raise ValueError(f"1 to 63 of the characters a-z 0-9 -, and not {OPEN_ROUTE_NAME}")
    return text


RULE_KEYS: Final = (
    Key("key", _one_of(KeyRule), "none", "the record's key where an event has no `partitionkey`: `none` or `subject`"),
    Key("mode", _one_of(RecordMode), "binary", "content mode of the records: `binary` or `structured`"),
    Key("plain", _switch, "false", "take bodies that are no CloudEvents too"),
    Key("tokenFile", _token_file, "none", "file with bearer tokens, one a line; default: the setting `--token-file`"),
    Key("deliveryTimeout", _delivery, "5s", "how long an event may wait for Kafka's acknowledgement"),
    Key("maxEventBytes", _size, "1Mi", "largest body of a single event; more is answered 413"),
    Key("maxBatchBytes", _size, "4Mi", "largest body of a batch; more is answered 413"),
    Key("maxBatchEvents", _count, "1000", "most events in a batch; more is answered 413"),
    Key("maxInFlightEvents", _count, "5000", "most events under way on the route; more is answered 429"),
    Key(
        "maxInFlightBytes",
        _size,
        "32Mi",
        "most bytes, with headers, under way on the route; more is answered 429",
    ),
)
"""May stand in a route, in `openRoute` and in `defaults`."""
ROUTE_KEYS: Final = (
    Key("name", _route_name, "", "name of the route in metrics and logs, not `topics`; default: its topic"),
    Key("path", _path, "", "the exact path; required"),
    Key("host", _host, "", "the Host header it answers to; default: any"),
    Key("topic", _topic, "", "the Kafka topic; required"),
)
"""May stand in a route only."""
_WEBHOOK_ORIGINS = "webhookOrigins"
_TOPICS = "topics"


def read_routes(path: Path, defaults: Rules) -> RouteTable:
    """Read a routes file; `defaults` are the rules that the settings give.

    Raises:
        SettingsError: the file cannot be read, or something in it is wrong; the message has a line for each mistake.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"routes file {path} cannot be read: {error}") from error
    return parse_routes(text, str(path), defaults)


def parse_routes(text: str, name: str, defaults: Rules) -> RouteTable:
    """Parse the text of a routes file called `name`. Raises SettingsError as `read_routes` does."""
    try:
        document = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise SettingsError(f"{name}{line}: is not YAML: {getattr(error, 'problem', None) or error}") from None
    reader = _Reader(name)
    table = reader.document(document, defaults)
    if reader.problems:
        raise SettingsError("\n".join(str(problem) for problem in reader.problems))
    return table


class _Reader:
    """Walks the YAML nodes, which know their lines, and gathers all mistakes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._ways_in: dict[object, str] = {}
        self._route_names: dict[object, str] = {}
        self.problems: list[SpecError] = []

    def document(self, node: yaml.Node | None, defaults: Rules) -> RouteTable:
        if node is None:
            self.problems.append(SpecError(self._name, None, "is empty; it must have routes, openRoute or both"))
            return RouteTable()
        sections = self._mapping(node, "the file", ("defaults", "routes", "openRoute"))
        if "defaults" in sections:
            members = self._mapping(sections["defaults"], "defaults", _names(RULE_KEYS, _WEBHOOK_ORIGINS))
            defaults = self._rules(members, sections["defaults"], "defaults", defaults)
        open_route = None
        if "openRoute" in sections:
            open_route = self._open_route(sections["openRoute"], defaults)
        routes = [self._route(item, where, defaults) for item, where in self._items(sections.get("routes"), "routes")]
        found = [route for route in routes if route is not None]
        if not found and open_route is None and not self.problems:
            self._wrong(node, "the file", None, "must have at least one entry in routes, or openRoute")
        return RouteTable(found, open_route)

    def _open_route(self, node: yaml.Node, defaults: Rules) -> OpenRoute:
        members = self._mapping(node, "openRoute", _names(RULE_KEYS, _WEBHOOK_ORIGINS, _TOPICS))
        allowed = self._texts(members.get(_TOPICS), "openRoute.topics", default=("*",))
        return OpenRoute(allowed, self._rules(members, node, "openRoute", defaults))

    def _route(self, node: yaml.Node, where: str, defaults: Rules) -> Route | None:
        members = self._mapping(node, where, _names((*ROUTE_KEYS, *RULE_KEYS), _WEBHOOK_ORIGINS))
        values = self._values(members, where, ROUTE_KEYS)
        rules = self._rules(members, node, where, defaults)
        for required in ("path", "topic"):
            if required not in members:
                self._wrong(node, f"{where}.{required}", None, "is missing; every route has one")
        if "path" not in values or "topic" not in values:
            return None
        if "name" not in members and values["topic"] == OPEN_ROUTE_NAME:
            why = f"is missing; the topic's is that of the open route: give one that is not {OPEN_ROUTE_NAME}"
            self._wrong(node, f"{where}.name", None, why)
        route = Route(values.get("name", values["topic"]), values["path"], values["topic"], values.get("host"), rules)
        self._once(node, f"{where}.path", self._ways_in, (route.host, route.path))
        self._once(node, f"{where}.name", self._route_names, route.name)
        return route

    def _rules(self, members: Mapping[str, yaml.Node], node: yaml.Node, where: str, defaults: Rules) -> Rules:
        values = self._values(members, where, RULE_KEYS)
        origins = self._texts(
            members.get(_WEBHOOK_ORIGINS), f"{where}.{_WEBHOOK_ORIGINS}", default=defaults.webhook_origins
        )
        rules = replace(
            defaults,
            key=values.get("key", defaults.key),
            mode=values.get("mode", defaults.mode),
            plain=values.get("plain", defaults.plain),
            token_file=values.get("tokenFile", defaults.token_file),
            delivery_seconds=values.get("deliveryTimeout", defaults.delivery_seconds),
            max_event_bytes=values.get("maxEventBytes", defaults.max_event_bytes),
            max_batch_bytes=values.get("maxBatchBytes", defaults.max_batch_bytes),
            max_batch_events=values.get("maxBatchEvents", defaults.max_batch_events),
            limits=Limits(
                events=values.get("maxInFlightEvents", defaults.limits.events),
                size=values.get("maxInFlightBytes", defaults.limits.size),
            ),
            webhook_origins=tuple(origin.lower() for origin in origins),
        )
        self._check_together(members, node, where, rules)
        return rules

    def _check_together(self, members: Mapping[str, yaml.Node], node: yaml.Node, where: str, rules: Rules) -> None:
        """A limit that no request can pass would refuse every one with an answer that says "try again"."""
        room = max(rules.limits.size - HEAD_BYTES, 0)
        headers = f" less {HEAD_BYTES} for headers"
        pairs = (
            ("maxEventBytes", rules.max_event_bytes, "maxInFlightBytes", headers, room),
            ("maxBatchBytes", rules.max_batch_bytes, "maxInFlightBytes", headers, room),
            ("maxBatchEvents", rules.max_batch_events, "maxInFlightEvents", "", rules.limits.events),
        )
        for name, value, bound_name, less, bound in pairs:
            if value > bound and (name in members or bound_name in members):
                place = members.get(name) or members.get(bound_name) or node
                self._wrong(place, f"{where}.{name}", str(value), f"at most {bound_name}{less}, which is {bound}")

    def _once(self, node: yaml.Node, where: str, seen: dict[object, str], value: object) -> None:
        if value in seen:
            self._wrong(node, where, None, f"is the same as {seen[value]}; each route has its own")
        seen.setdefault(value, where)

    def _values(self, members: Mapping[str, yaml.Node], where: str, keys: tuple[Key, ...]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key in keys:
            node = members.get(key.name)
            if node is None:
                continue
            if not isinstance(node, yaml.ScalarNode):
                self._wrong(node, f"{where}.{key.name}", None, "must be a single value, not a list or a mapping")
                continue
            try:
                values[key.name] = key.parse(node.value)
            except ValueError as error:
                self._wrong(node, f"{where}.{key.name}", node.value, str(error))
        return values

    def _mapping(self, node: yaml.Node, where: str, allowed: tuple[str, ...]) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, where, None, f"must be a mapping with the keys {', '.join(allowed)}")
            return {}
        members: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = str(key.value)
            if name in members:
                self._wrong(key, f"{where}.{name}", None, "is given twice")
            elif name not in allowed:
                near = difflib.get_close_matches(name, allowed, n=1)
                self._wrong(key, where, name, ", ".join(allowed), near[0] if near else None)
            else:
                members[name] = value
        return members

    def _items(self, node: yaml.Node | None, where: str) -> Iterator[tuple[yaml.Node, str]]:
        if node is None:
            return
        if not isinstance(node, yaml.SequenceNode):
            self._wrong(node, where, None, "must be a list")
            return
        for index, item in enumerate(node.value):
            yield item, f"{where}[{index}]"

    def _texts(self, node: yaml.Node | None, where: str, *, default: tuple[str, ...]) -> tuple[str, ...]:
        if node is None:
            return default
        texts = []
        for item, place in self._items(node, where):
            if isinstance(item, yaml.ScalarNode) and item.value:
                texts.append(item.value)
            else:
                self._wrong(item, place, None, "must be a text that is not empty")
        return tuple(texts)

    def _wrong(self, node: yaml.Node, where: str, got: str | None, allowed: str, near: str | None = None) -> None:
        line = node.start_mark.line + 1
        self.problems.append(SpecError(f"{self._name}:{line}: {where}", got, allowed, near))


def _names(keys: tuple[Key, ...], *more: str) -> tuple[str, ...]:
    return (*(key.name for key in keys), *more)
