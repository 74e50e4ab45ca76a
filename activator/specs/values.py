"""Parsers of single values: text as a user writes it -> a typed value, or ValueError with what is allowed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

import yaml

_TOPIC = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]")
_OBJECT_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_DURATION = re.compile(r"([0-9]+)(ms|s|m|h|d)?")
_UNIT = {
    None: timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_LARGEST_PORT = 65535
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""Some moment to ask from, where any will do."""
LONGEST_DURATION = timedelta(days=365)
LARGEST_INTEGER = 2**31 - 1
"""Replica counts and thresholds end up in int32 fields of the Kubernetes API."""
_LONGEST_INTEGER = 20

Choice = TypeVar("Choice", bound=StrEnum)


def plain_yaml(value: str, what: str) -> Any:
    """Return what YAML in plain values says. Raises ValueError: it is none; `what` names what it should say."""
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(f"YAML of {what} ({str(error).splitlines()[0]})") from None
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        # What PyYAML lets through for a tag with a wrong value (!!bool maybe), and what `str` says to a huge number.
        raise ValueError(f"YAML of {what}, in plain values") from None


def text(value: str) -> str:
    """Return any text that is not empty."""
    if not value.strip():
        raise ValueError("a text that is not empty")
    return value.strip()


def topic(value: str) -> str:
    """Return a legal Kafka topic name (``org.apache.kafka.common.internals.Topic``)."""
    if not _TOPIC.fullmatch(value.strip()):
        raise ValueError("a Kafka topic name: 1 to 249 of the characters a-z A-Z 0-9 . _ -")
    return value.strip()


def object_name(value: str) -> str:
    """Return a legal name of most Kubernetes objects (RFC 1123 subdomain)."""
    if not _OBJECT_NAME.fullmatch(value.strip()):
        raise ValueError("the name of an object in the same namespace: a-z 0-9 - and . only, at most 253")
    return value.strip()


def bootstrap_servers(value: str) -> str:
    """Return a comma-separated list of HOST:PORT without white space, in the order as written."""
    servers = [part.strip() for part in value.split(",") if part.strip()]
    if not servers or not all(map(_is_address, servers)):
        raise ValueError("a comma-separated list of HOST:PORT, without a protocol in front")
    return ",".join(servers)


def _is_address(server: str) -> bool:
    host, _, port = server.rpartition(":")
    if _HOST.fullmatch(host) is None or not _is_decimal(port):
        return False
    return 0 < int(port) <= _LARGEST_PORT


def _is_decimal(cleaned: str) -> bool:
    """Tell whether a text is plain ASCII digits, few enough for `int` to take them."""
    return cleaned.isascii() and cleaned.isdecimal() and len(cleaned) <= _LONGEST_INTEGER


@dataclass(frozen=True, slots=True)
class Integer:
    """A parser of decimal integers that are at least `least` and fit into an int32."""

    least: int

    def __call__(self, value: str) -> int:
        """Return the integer."""
        cleaned = value.strip()
        if not _is_decimal(cleaned) or not self.least <= int(cleaned) <= LARGEST_INTEGER:
            raise ValueError(f"a whole number from {self.least} to {LARGEST_INTEGER}")
        return int(cleaned)


def idle_count(value: str) -> int | None:
    """Return the count to sleep at: 0, or None for "none" (never sleeps)."""
    match value.strip().lower():
        case "0":
            return 0
        case "none":
            return None
    raise ValueError("0, or none to never sleep (an HPA cannot hold any other count while idle)")


def integer(least: int) -> Integer:
    """Return a parser of integers."""
    return Integer(least)


@dataclass(frozen=True, slots=True)
class Duration:
    """A parser of durations such as ``30``, ``30s``, ``5m``, at least `least` and at most a year."""

    least: timedelta

    def __call__(self, value: str) -> timedelta:
        """Return the duration."""
        allowed = f"a duration such as 30, 30s, 5m or 1h, at least {self.least.total_seconds():g} s"
        found = _DURATION.fullmatch(value.strip())
        if found is None or len(found[1]) > _LONGEST_INTEGER:
            raise ValueError(allowed)
        count, unit = int(found[1]), _UNIT[found[2]]
        if count > LONGEST_DURATION // unit or count * unit < self.least:
            raise ValueError(f"{allowed}, and at most 365d")
        return count * unit


def duration(least: timedelta) -> Duration:
    """Return a parser of durations."""
    return Duration(least)


def switch(value: str) -> bool:
    """Return a boolean. A misspelt one is an error: a target must not be paused or woken by a typo."""
    match value.strip().lower():
        case "true":
            return True
        case "false":
            return False
    raise ValueError("true or false")


@dataclass(frozen=True, slots=True)
class OneOf(Generic[Choice]):
    """A parser of the values of an enumeration."""

    choices: type[Choice]

    def __call__(self, value: str) -> Choice:
        """Return the member."""
        try:
            return self.choices(value.strip())
        except ValueError:
            raise ValueError(" or ".join(self.choices)) from None


def one_of(choices: type[Choice]) -> OneOf[Choice]:
    """Return a parser of the values of an enumeration."""
    return OneOf(choices)
