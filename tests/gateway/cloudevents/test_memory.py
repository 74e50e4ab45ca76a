"""What reading an event costs in memory, whatever is in it: bodies under way are limited by their size."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress

import pytest

from gateway.cloudevents.event import EventError
from gateway.cloudevents.json_format import read_event

KIBIBYTE = 1024
EVENT = '{"specversion": "1.0", "id": "1", "type": "t", "source": "/s", '


@pytest.mark.parametrize(
    ("event", "times"),
    [
        (EVENT.replace("/s", "/" + "s" * 512 * KIBIBYTE) + '"data": 1}', 5),
        (f'{EVENT}"datacontenttype": "a/b;c=\\"{"c" * 512 * KIBIBYTE}\\""}}', 5),
        (f'{EVENT}"dataschema": "a:{"%20" * 170 * KIBIBYTE}"}}', 5),
        (f'{EVENT}"data": [{"[]," * 170 * KIBIBYTE} 1]}}', 30),
    ],
    ids=["source", "datacontenttype", "dataschema", "data of many values"],
)
def test_memory(event: str, times: int) -> None:
    """An event of 512 KiB takes but so many times its size while it is read."""
    body = event.encode()
    tracemalloc.start()
    with suppress(EventError):
        read_event(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < times * len(body), f"{peak / len(body):.1f} times"
