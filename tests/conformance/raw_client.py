"""A Kafka client of one blocking socket that sends any request in any version and returns the answer as it is.

It is written with the embedded broker's own layouts; that a real Kafka understands it is what proves those layouts.
"""

from __future__ import annotations

import socket
import struct
from itertools import count
from typing import TYPE_CHECKING, Any, Self

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from activator.local.broker.messages import APIS
from activator.local.broker.protocol import ApiKey
from activator.local.broker.wire import skip_tagged_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from activator.local.broker.protocol import Body

CLIENT_ID = "conformance"
ANSWER_SECONDS = 20.0


class ConnectionClosedError(Exception):
    """The broker closed the connection instead of answering."""


class RawClient:
    """One connection; requests are answered in order, `send` and `receive` may overlap."""

    def __init__(self, bootstrap_servers: str) -> None:
        host, port = bootstrap_servers.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS)
        self._correlation_ids = count(1)
        self._asked: list[tuple[int, ApiKey, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def call(self, api: ApiKey, version: int, body: Body) -> Body:
        """Send one request and wait for its answer."""
        self.send(api, version, body)
        return self.receive()

    def send(self, api: ApiKey, version: int, body: Body) -> None:
        """Send one request."""
        layout = APIS[api]
        correlation_id = next(self._correlation_ids)
        client_id = CLIENT_ID.encode()
        chunks = [struct.pack(">hhih", api, version, correlation_id, len(client_id)), client_id]
        if version >= layout.flexible:
            chunks.append(b"\0")
        layout.request.codec(version).write(body, chunks)
        self._asked.append((correlation_id, api, version))
        self.send_frame(b"".join(chunks))

    def send_frame(self, payload: bytes) -> None:
        """Send bytes as a request, whatever they are."""
        self._socket.sendall(struct.pack(">i", len(payload)) + payload)

    def receive(self) -> Body:
        """Wait for the answer to the oldest request that has none."""
        correlation_id, api, version = self._asked.pop(0)
        frame = memoryview(self.receive_frame())
        (answered_id,) = struct.unpack_from(">i", frame)
        assert answered_id == correlation_id
        position = 4
        if version >= APIS[api].flexible and api != ApiKey.API_VERSIONS:
            position = skip_tagged_fields(frame, position)
        body, end = APIS[api].response.codec(version).read(frame, position)
        assert end == len(frame), f"{len(frame) - end} bytes are left over in an answer of {api.name} v{version}"
        return dict(body)

    def receive_frame(self) -> bytes:
        """The payload of the next answer."""
        (size,) = struct.unpack(">i", self._exactly(4))
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                more = self._socket.recv(size - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                raise ConnectionClosedError
            data += more
        return bytes(data)


def batch_of(
    values: Iterable[bytes],
    *,
    timestamp_ms: int = 1_000_000_000_000,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    compression: int = 0,
) -> bytes:
    """A record batch of these values, each a millisecond after the one before."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=compression,
        is_transactional=0,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        base_sequence=base_sequence,
        batch_size=1 << 22,
    )
    for number, value in enumerate(values):
        builder.append(number, timestamp=timestamp_ms + number, key=None, value=value, headers=[])
    return bytes(builder.build())


def partitions_of(answer: Body, topic: str) -> dict[int, Body]:
    """The partitions that an answer holds for a topic, by number."""
    return {
        one["partition"]: one for entry in answer["topics"] if entry["name"] == topic for one in entry["partitions"]
    }


def sole(items: Iterable[Any]) -> Any:
    """The only item there is."""
    iterator: Iterator[Any] = iter(items)
    item = next(iterator)
    assert next(iterator, None) is None
    return item
