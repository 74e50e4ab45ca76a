"""The layout of every message in every version, field by field, as it is compiled into a real Kafka."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from activator.local.broker.messages import APIS
from activator.local.broker.wire import BYTES, RECORDS, STRING, UUID, Array, Fixed

if TYPE_CHECKING:
    from activator.local.broker.messages import Api
    from activator.local.broker.wire import Field, Type

_FIXED = {"?": "BOOLEAN", "b": "INT8", "h": "INT16", "i": "INT32", "q": "INT64", UUID.format: "UUID"}
_VARIABLE = {id(STRING): "STRING", id(BYTES): "BYTES", id(RECORDS): "RECORDS"}


def structure(fields: tuple[Field, ...], version: int, *, flexible: bool) -> str:
    """A structure in the notation of Layouts.java."""
    carried = [field.type for field in fields if field.since <= version <= field.until]
    names = [name(kind, version, flexible=flexible) for kind in carried] + ["TAGS"] * flexible
    return "{" + " ".join(names) + "}"


def name(kind: Type | tuple[Field, ...], version: int, *, flexible: bool) -> str:
    """A type in the notation of Layouts.java."""
    compact = "COMPACT_" if flexible else ""
    match kind:
        case tuple():
            return structure(kind, version, flexible=flexible)
        case Fixed():
            return _FIXED[kind.format]
        case Array():
            return f"{compact}[{name(kind.of, version, flexible=flexible)}]"
        case _:
            return compact + _VARIABLE[id(kind)]


def lines_of(api: Api) -> list[str]:
    """What Layouts.java prints for the versions that the embedded broker speaks."""
    return [
        f"{api.key.value} {version} {direction} {structure(message.fields, version, flexible=version >= api.flexible)}"
        for version in api.versions
        for direction, message in (("request", api.request), ("response", api.response))
    ]


@pytest.fixture(scope="module")
def kafka_layouts() -> list[str]:
    """What the real Kafka's own classes say."""
    from testbed import builds  # noqa: PLC0415 - the real parts are fetched only where asked for

    jars = builds.ensure(builds.KAFKA) / "lib"
    command = ["java", "-cp", f"{jars}/*", str(Path(__file__).with_name("Layouts.java"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)  # noqa: S603 - no input
    return done.stdout.splitlines()


@pytest.mark.real
@pytest.mark.parametrize("api", [pytest.param(api, id=api.key.name) for api in APIS.values()])
def test_a_message_has_the_fields_that_kafka_gives_it(api: Api, kafka_layouts: list[str]) -> None:
    """Same types in the same order, in every version that is spoken."""
    found = {line for line in kafka_layouts if line.startswith(f"{api.key.value} ")}
    missing = [line for line in lines_of(api) if line not in found]
    assert missing == []
