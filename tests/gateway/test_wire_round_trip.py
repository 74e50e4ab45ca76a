"""What is sent over HTTP is read out of Kafka by an independent client: the whole gateway, on the wire at both ends."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.cloudevents.kafka import Record
from gateway.settings import Settings
from tests.gateway.cloudevents import reading
from tests.gateway.cloudevents.test_round_trip import ATTRIBUTES, key_of, strings
from tests.gateway.support import eventually, exchange, request_bytes
from tests.gateway.test_wiring import broker, gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

ROUTES = """
routes:
  - {path: /binary, topic: orders, name: binary}
  - {path: /structured, topic: orders, name: structured, mode: structured}
"""
TRIP_SECONDS = 30.0
DATA = st.none() | st.binary(max_size=200)
EVERY_TYPE = {
    "specversion": "1.0",
    "id": "Zürich 😀",
    "source": "/shop?a=b#c",
    "type": 'a "quoted" 100%',
    "time": "2026-03-01T10:00:00.5+02:00",
    "dataschema": "https://shop.test/order.json",
    "datacontenttype": "image/png",
    "subject": " ",
    "partitionkey": "customer-7",
    "no": False,
    "yes": True,
    "count": -(2**31),
    "bytes": "AP8=",
    "empty": "",
}


class Trip:
    """A gateway and a consumer at the end of its topic, driven from hypothesis' own thread."""

    def __init__(self, port: int, consumer: Any) -> None:
        self._port = port
        self._consumer = consumer
        self._loop = asyncio.get_running_loop()

    def __call__(self, path: str, headers: Sequence[tuple[str | bytes, str | bytes]], body: bytes) -> Record:
        """Send a message and return the record that it became."""
        return asyncio.run_coroutine_threadsafe(self._go(path, headers, body), self._loop).result(TRIP_SECONDS)

    async def _go(self, path: str, headers: Sequence[tuple[str | bytes, str | bytes]], body: bytes) -> Record:
        answer = await exchange(self._port, request_bytes("POST", path, headers, body))
        assert answer.status == 202, answer.body
        async with asyncio.timeout(TRIP_SECONDS):
            found = await self._consumer.getone()
        assert found.offset == answer.json()["offset"]
        return Record(found.key, found.value, list(found.headers))


@asynccontextmanager
async def trip(folder: Path) -> AsyncIterator[Trip]:
    """Run broker, gateway and consumer."""
    routes = folder / "routes.yaml"
    routes.write_text(ROUTES, encoding="utf-8")
    async with broker() as kafka, gateway(Settings(kafka.bootstrap_servers, routes=str(routes))) as (made, _):
        await eventually(lambda: made.problems() == [])
        consumer: Any = AIOKafkaConsumer(  # type: ignore[no-untyped-call]
            "orders", bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            yield Trip(made.door.port, consumer)
        finally:
            await consumer.stop()


async def test_round_trip(tmp_path: Path) -> None:
    """Attributes of every type, the key and the bytes of the payload arrive, in each mode of either end."""
    async with trip(tmp_path) as send:

        @settings(max_examples=25, suppress_health_check=list(HealthCheck))
        @given(ATTRIBUTES, DATA)
        @example(EVERY_TYPE, b"\x00\xff")
        @example(EVERY_TYPE, None)
        def holds(attributes: dict[str, Any], data: bytes | None) -> None:
            structured = [("Content-Type", "application/cloudevents+json")], reading.http_structured(attributes, data)
            binary = reading.http_binary(attributes), data or b""
            # HTTP cannot tell an empty payload from none: a type says that there is one.
            payload = data or (b"" if "datacontenttype" in attributes else None)
            records = [
                send("/binary", *structured),
                send("/structured", *structured),
                send("/binary", *binary),
                send("/structured", *binary),
            ]
            assert reading.binary_record(records[0]) == (strings(attributes), data)
            assert reading.structured_record(records[1]) == (attributes, data)
            assert reading.binary_record(records[2]) == (strings(attributes), payload)
            assert reading.structured_record(records[3]) == (strings(attributes), payload)
            assert {record.key for record in records} == {key_of(attributes)}

        await asyncio.to_thread(holds)
