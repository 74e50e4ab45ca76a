"""The bytes of one Metadata request."""

from __future__ import annotations

import struct

from testbed import kafka_probe
from testbed.kafka_probe import BrokerView
from testbed.ports import ReservedPorts


def text(value: str | None) -> bytes:
    """A nullable string of the Kafka protocol."""
    return struct.pack(">h", -1) if value is None else struct.pack(">h", len(value)) + value.encode()


def test_request() -> None:
    """Size, header and topics, as the protocol guide has them."""
    assert kafka_probe.encode_request(("ab",)) == bytes.fromhex("00000012 0003 0001 00000001 ffff 00000001 0002 6162")


def test_answer() -> None:
    """Brokers are counted, and topics with an error are not known."""
    broker = struct.pack(">i", 1) + text("127.0.0.1") + struct.pack(">i", 9092) + text(None)
    partition = struct.pack(">hiiiiii", 0, 0, 1, 1, 1, 1, 1)
    known = struct.pack(">h", 0) + text("orders") + struct.pack(">bi", 0, 2) + partition * 2
    unknown = struct.pack(">h", 3) + text("typo") + struct.pack(">bi", 0, 0)
    body = struct.pack(">ii", 1, 2) + broker * 2 + struct.pack(">ii", 1, 2) + unknown + known
    assert kafka_probe.decode_answer(body) == BrokerView(2, frozenset({"orders"}))


def test_nobody_answers() -> None:
    """Where nothing listens there is no view, rather than an empty one."""
    with ReservedPorts(1) as reserved:
        assert kafka_probe.ask(reserved.ports[0]) is None
