"""One raw question to one broker: a client library chooses itself who answers, and is slow when nobody does."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from testbed.ports import LOOPBACK

TIMEOUT_SECONDS = 2.0
METADATA = 3
VERSION = 1
SIZE_BYTES = 4


@dataclass(frozen=True)
class BrokerView:
    """What one broker says about the cluster.

    Attributes:
        brokers: how many brokers it sees, itself included.
        topics: of those asked for, the ones it knows.
    """

    brokers: int
    topics: frozenset[str]


def ask(port: int, *topics: str) -> BrokerView | None:
    """Ask the PLAINTEXT broker on this loopback port for metadata; None while it does not answer.

    Metadata v1 of the Kafka protocol guide: any older and newer broker speaks it.
    """
    try:
        with socket.create_connection((LOOPBACK, port), timeout=TIMEOUT_SECONDS) as connection:
            connection.sendall(encode_request(topics))
            (size,) = struct.unpack(">i", _receive(connection, SIZE_BYTES))
            return decode_answer(_receive(connection, size))
    except OSError:
        return None


def encode_request(topics: tuple[str, ...]) -> bytes:
    """Size, header (api key, version, correlation id, null client id) and the topics asked for; none is not all."""
    names = b"".join(struct.pack(">h", len(name)) + name.encode() for name in topics)
    body = struct.pack(">hhihi", METADATA, VERSION, 1, -1, len(topics)) + names
    return struct.pack(">i", len(body)) + body


def decode_answer(body: bytes) -> BrokerView:
    """Read brokers and topics from an answer without its size."""
    reader = _Reader(body)
    reader.number("i")  # correlation id
    brokers = reader.number("i")
    for _ in range(brokers):
        reader.number("i")  # node id
        reader.text()  # host
        reader.number("i")  # port
        reader.text()  # rack
    reader.number("i")  # controller id
    topics = set()
    for _ in range(reader.number("i")):
        error = reader.number("h")
        name = reader.text()
        reader.number("b")  # is internal
        for _ in range(reader.number("i")):
            reader.skip(struct.calcsize(">hii"))  # error, partition, leader
            reader.skip(4 * reader.number("i"))  # replicas
            reader.skip(4 * reader.number("i"))  # in-sync replicas
        if error == 0:
            topics.add(name)
    return BrokerView(brokers, frozenset(topics))


class _Reader:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._position = 0

    def number(self, kind: str) -> int:
        (value,) = struct.unpack_from(f">{kind}", self._body, self._position)
        self._position += struct.calcsize(f">{kind}")
        return int(value)

    def text(self) -> str:
        """A string; null (length -1) reads as empty."""
        length = max(0, self.number("h"))
        self._position += length
        return self._body[self._position - length : self._position].decode()

    def skip(self, count: int) -> None:
        self._position += count


def _receive(connection: socket.socket, count: int) -> bytes:
    """Read exactly so many bytes.

    Raises:
        ConnectionError: the broker closed the connection before.
    """
    found = b""
    while len(found) < count:
        chunk = connection.recv(count - len(found))
        if not chunk:
            raise ConnectionError("closed before the answer was complete")
        found += chunk
    return found
