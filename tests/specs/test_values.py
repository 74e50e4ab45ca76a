"""Parsers of single values: what is taken, and what is said about the rest."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.model import IsolationLevel, OffsetReset
from activator.specs import values

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND = timedelta(seconds=1)

TAKEN: dict[str, tuple[Callable[[str], Any], str, Any]] = {
    "a text loses the space around it": (values.text, "  orders ", "orders"),
    "a topic": (values.topic, "orders.v1_eu-west", "orders.v1_eu-west"),
    "the longest topic": (values.topic, "t" * 249, "t" * 249),
    "three dots are a legal topic": (values.topic, "...", "..."),
    "one server": (values.bootstrap_servers, "kafka:9092", "kafka:9092"),
    "servers keep their order": (values.bootstrap_servers, " b:9092, a:9093 ,", "b:9092,a:9093"),
    "a server by IPv6 address": (values.bootstrap_servers, "[::1]:9092", "[::1]:9092"),
    "a server by service name": (values.bootstrap_servers, "k_1.kafka.svc:9092", "k_1.kafka.svc:9092"),
    "an integer": (values.integer(0), " 12 ", 12),
    "the least integer": (values.integer(1), "1", 1),
    "the largest int32": (values.integer(1), "2147483647", 2147483647),
    "sleeping at zero": (values.idle_count, "0", 0),
    "never sleeping": (values.idle_count, " None ", None),
    "a duration without a unit is in seconds": (values.duration(SECOND), "30", timedelta(seconds=30)),
    "a duration in seconds": (values.duration(SECOND), "30s", timedelta(seconds=30)),
    "a duration in minutes": (values.duration(SECOND), "5m", timedelta(minutes=5)),
    "a duration in hours": (values.duration(SECOND), "2h", timedelta(hours=2)),
    "a duration in days": (values.duration(SECOND), "365d", timedelta(days=365)),
    "a duration in milliseconds": (values.duration(SECOND), "1500ms", timedelta(seconds=1.5)),
    "no duration at all": (values.duration(timedelta(0)), "0", timedelta(0)),
    "true in any case": (values.switch, "True", True),
    "false with space": (values.switch, " false ", False),
    "a choice": (values.one_of(OffsetReset), "earliest", OffsetReset.EARLIEST),
    "another choice": (values.one_of(IsolationLevel), "read_committed", IsolationLevel.READ_COMMITTED),
}

TOPIC = "a Kafka topic name: 1 to 249 of the characters a-z A-Z 0-9 . _ -"
SERVERS = "a comma-separated list of HOST:PORT, without a protocol in front"
IDLE = "0, or none to never sleep (an HPA cannot hold any other count while idle)"
DURATION = "a duration such as 30, 30s, 5m or 1h, at least 1 s"

REFUSED: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "an empty text": (values.text, "", "a text that is not empty"),
    "a blank text": (values.text, " \n", "a text that is not empty"),
    "an empty topic": (values.topic, "", TOPIC),
    "the topic called dot": (values.topic, ".", TOPIC),
    "the topic called dot dot": (values.topic, "..", TOPIC),
    "a topic that is too long": (values.topic, "t" * 250, TOPIC),
    "a topic with a space": (values.topic, "my orders", TOPIC),
    "a topic with another script's letters": (values.topic, "bestellungen-für-alle", TOPIC),
    "no server": (values.bootstrap_servers, " , ", SERVERS),
    "a server without a port": (values.bootstrap_servers, "kafka", SERVERS),
    "a server without a host": (values.bootstrap_servers, ":9092", SERVERS),
    "port zero": (values.bootstrap_servers, "kafka:0", SERVERS),
    "a port that is too large": (values.bootstrap_servers, "kafka:65536", SERVERS),
    "a port with four thousand digits": (values.bootstrap_servers, "kafka:" + "9" * 5000, SERVERS),
    "a port in another script's digits": (values.bootstrap_servers, "kafka:٩٠٩٢", SERVERS),
    "a listener as Kafka's own configuration writes it": (values.bootstrap_servers, "SASL_SSL://kafka:9093", SERVERS),
    "a URL": (values.bootstrap_servers, "http://kafka:9092", SERVERS),
    "a space in a host": (values.bootstrap_servers, "my kafka:9092", SERVERS),
    "servers with a semicolon between": (values.bootstrap_servers, "a:1;b:2", SERVERS),
    "an integer that is too small": (values.integer(1), "0", "a whole number from 1 to 2147483647"),
    "an integer with a sign": (values.integer(0), "-1", "a whole number from 0 to 2147483647"),
    "an integer with a point": (values.integer(0), "1.0", "a whole number from 0 to 2147483647"),
    "an integer past int32": (values.integer(0), "2147483648", "a whole number from 0 to 2147483647"),
    "an integer of five thousand digits": (values.integer(0), "1" * 5000, "a whole number from 0 to 2147483647"),
    "an integer in another script's digits": (values.integer(0), "٣", "a whole number from 0 to 2147483647"),
    "sleeping at one": (values.idle_count, "1", IDLE),
    "a duration that is too short": (values.duration(SECOND), "999ms", f"{DURATION}, and at most 365d"),
    "a duration that is too long": (values.duration(SECOND), "366d", f"{DURATION}, and at most 365d"),
    "a duration past any clock": (values.duration(SECOND), "99999999999999999999d", f"{DURATION}, and at most 365d"),
    "a duration of five thousand digits": (values.duration(SECOND), "9" * 5000, DURATION),
    "a duration in weeks": (values.duration(SECOND), "1w", DURATION),
    "a duration with a fraction": (values.duration(SECOND), "1.5m", DURATION),
    "a duration as Go writes it": (values.duration(SECOND), "1m30s", DURATION),
    "a negative duration": (values.duration(SECOND), "-30", DURATION),
    "yes": (values.switch, "yes", "true or false"),
    "one": (values.switch, "1", "true or false"),
    "an unknown choice": (values.one_of(OffsetReset), "newest", "earliest or latest"),
}  # fmt: skip


@pytest.mark.parametrize(("parse", "written", "expected"), TAKEN.values(), ids=TAKEN)
def test_is_taken(parse: Callable[[str], Any], written: str, expected: object) -> None:
    """A value as people write it becomes the typed value that it means."""
    assert parse(written) == expected


@pytest.mark.parametrize(("parse", "written", "allowed"), REFUSED.values(), ids=REFUSED)
def test_is_refused(parse: Callable[[str], Any], written: str, allowed: str) -> None:
    """A value that cannot be meant is refused with what is allowed, and nothing else is raised."""
    with pytest.raises(ValueError, match=f"^{re.escape(allowed)}$"):
        parse(written)


@given(st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=365)))
def test_a_duration_in_milliseconds_reads_back(written: timedelta) -> None:
    """Every whole number of milliseconds within bounds is taken as it is."""
    milliseconds = written // timedelta(milliseconds=1)
    assert values.duration(SECOND)(f"{milliseconds}ms") == timedelta(milliseconds=milliseconds)


@given(st.text())
def test_only_value_errors_are_raised(written: str) -> None:
    """Whatever a person writes, a parser answers or says what is allowed."""
    for parse in (values.text, values.topic, values.bootstrap_servers, values.integer(0), values.idle_count,
                  values.duration(SECOND), values.switch, values.one_of(OffsetReset)):  # fmt: skip
        with suppress(ValueError):
            parse(written)
