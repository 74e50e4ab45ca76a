"""The embedded broker on its port, with unmodified clients."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from confluent_kafka import KafkaException, Producer

from activator.local.broker.config import BrokerConfig
from activator.local.broker.faults import Delay, DropConnection, Fail, Fault
from activator.local.broker.protocol import ApiError, ApiKey, ErrorCode
from activator.local.broker.server import EmbeddedBroker
from tests.conformance.broker_thread import BrokerThread, utc_now
from tests.conformance.raw_client import ConnectionClosedError, RawClient, batch_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_Producer: Any = AIOKafkaProducer
_Consumer: Any = AIOKafkaConsumer
SOON_SECONDS = 10.0


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedBroker]:
    """A broker with one topic, on a free port."""
    async with EmbeddedBroker(now=utc_now) as broker:
        broker.create_topic("orders", partitions=2)
        yield broker


async def test_a_port_that_is_taken_is_an_error_at_once(broker: EmbeddedBroker) -> None:
    """The operating system's, which names the address."""
    with pytest.raises(OSError, match=str(broker.port)):
        async with EmbeddedBroker(now=utc_now, port=broker.port):
            pass


async def test_a_fixed_port_can_be_had_again_after_the_end() -> None:
    """The demo uses the same port every time; clients that were connected do not hold it."""
    async with EmbeddedBroker(now=utc_now) as first:
        port = first.port
        client = await asyncio.to_thread(RawClient, first.bootstrap_servers)
    with pytest.raises(ConnectionClosedError):
        await asyncio.to_thread(client.call, ApiKey.METADATA, 1, {"topics": []})
    client.close()
    async with EmbeddedBroker(now=utc_now, port=port) as second:
        assert second.bootstrap_servers == f"127.0.0.1:{port}"


async def test_the_end_leaves_nothing_behind() -> None:
    """No task, no timer that is due, no connection, while a client was in the middle of a long poll."""
    before = asyncio.all_tasks()
    async with EmbeddedBroker(now=utc_now) as broker:
        broker.create_topic("orders")
        async with consumer_of(broker) as consumer:
            waiting = asyncio.create_task(consumer.getone())
            await asyncio.sleep(0.1)
            waiting.cancel()
    assert asyncio.all_tasks() <= before
    assert broker._connections == {}


def consumer_of(broker: EmbeddedBroker, *topics: str, **settings: Any) -> Any:
    """A consumer without a group, to be entered."""
    return _Consumer(
        *(topics or ("orders",)),
        bootstrap_servers=broker.bootstrap_servers,
        auto_offset_reset="earliest",
        **settings,
    )


async def test_a_lost_acknowledgement_stores_a_record_once(broker: EmbeddedBroker) -> None:
    """An idempotent producer sends again what was stored already; the broker knows the batch."""
    broker.faults.add(Fault(ApiKey.PRODUCE, DropConnection(after_effect=True), topic="orders", times=1))
    settings = {"enable_idempotence": True, "retry_backoff_ms": 20}
    async with _Producer(bootstrap_servers=broker.bootstrap_servers, **settings) as producer:
        async with asyncio.timeout(SOON_SECONDS):
            await producer.send_and_wait("orders", b"once", partition=0)
            await producer.send_and_wait("orders", b"twice", partition=0)
    assert not broker.faults
    assert broker.log("orders", 0).end_offset == 2


async def test_a_client_gets_over_a_partition_that_lost_its_leader(broker: EmbeddedBroker) -> None:
    """NOT_LEADER_OR_FOLLOWER is answered by a new look at the metadata and another try."""
    broker.faults.add(Fault(ApiKey.PRODUCE, Fail(ErrorCode.NOT_LEADER_OR_FOLLOWER), topic="orders", times=2))
    broker.faults.add(Fault(ApiKey.METADATA, Fail(ErrorCode.LEADER_NOT_AVAILABLE), topic="orders", times=1))
    async with (
        asyncio.timeout(SOON_SECONDS),
        _Producer(bootstrap_servers=broker.bootstrap_servers, retry_backoff_ms=20) as producer,
    ):
        await producer.send_and_wait("orders", b"at last", partition=0)
    assert not broker.faults


async def test_a_delay_holds_up_one_request(broker: EmbeddedBroker) -> None:
    """By as much as the rule says, on the clock of the event loop."""
    broker.faults.add(Fault(ApiKey.LIST_OFFSETS, Delay(300), times=1))
    async with consumer_of(broker, group_id=None) as consumer:
        part = TopicPartition("orders", 0)
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await consumer.end_offsets([part]) == {part: 0}
        assert loop.time() - began >= 0.3


async def test_what_is_done_in_process_is_seen_by_clients_that_wait(broker: EmbeddedBroker) -> None:
    """A topic that is deleted ends the wait of a fetch at once."""

    def fetch() -> int:
        body = {
            "replica_id": -1,
            "max_wait_ms": 60_000,
            "min_bytes": 1,
            "max_bytes": 1000,
            "topics": [
                {"name": "orders", "partitions": [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1000}]}
            ],
        }
        with RawClient(broker.bootstrap_servers) as client:
            return int(client.call(ApiKey.FETCH, 11, body)["topics"][0]["partitions"][0]["error_code"])

    waiting = asyncio.create_task(asyncio.to_thread(fetch))
    while not broker._broker._fetches._waiting:  # noqa: ASYNC110 - the client is in another thread
        await asyncio.sleep(0.01)
    broker.delete_topic("orders")
    assert await asyncio.wait_for(waiting, SOON_SECONDS) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    with pytest.raises(ApiError):
        broker.delete_topic("orders")


async def test_clients_come_back_after_all_were_disconnected(broker: EmbeddedBroker) -> None:
    """As after a restart of a broker that kept its records."""
    async with (
        asyncio.timeout(SOON_SECONDS),
        _Producer(bootstrap_servers=broker.bootstrap_servers, retry_backoff_ms=20) as producer,
    ):
        await producer.send_and_wait("orders", b"before", partition=0)
        broker.disconnect_all()
        await producer.send_and_wait("orders", b"after", partition=0)
    assert broker.log("orders", 0).end_offset == 2


@pytest.mark.parametrize(
    "hello",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: kafka\r\n\r\n", id="HTTP"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(struct.pack(">i", -5), id="a negative size"),
        pytest.param(struct.pack(">ihhih", 10, 17, 1, 1, -1), id="SASL"),
    ],
)
async def test_who_does_not_speak_kafka_is_disconnected(
    broker: EmbeddedBroker, hello: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """At once, with one line in the log that says why."""

    def talk() -> bytes:
        with socket.create_connection((broker.host, broker.port), timeout=SOON_SECONDS) as client:
            client.sendall(hello)
            try:
                return client.recv(100)
            except ConnectionResetError:
                return b""

    with caplog.at_level(logging.WARNING):
        assert await asyncio.to_thread(talk) == b""
    assert len(caplog.records) == 1
    assert caplog.records[0].getMessage().startswith("closed /127.0.0.1: ")


async def test_a_client_that_does_not_read_is_not_served_on(broker: EmbeddedBroker) -> None:
    """It holds up itself: answers do not pile up in the broker for it."""
    async with _Producer(bootstrap_servers=broker.bootstrap_servers, max_request_size=1 << 20) as producer:
        for _ in range(4):
            await producer.send_and_wait("orders", bytes(1_000_000), partition=0)
    partition = {"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1 << 25}
    body = {
        "replica_id": -1,
        "max_wait_ms": 0,
        "min_bytes": 1,
        "max_bytes": 1 << 25,
        "topics": [{"name": "orders", "partitions": [partition]}],
    }

    def ask_and_not_read() -> RawClient:
        client = RawClient(broker.bootstrap_servers)
        for _ in range(10):
            client.send(ApiKey.FETCH, 11, body)
        return client

    client = await asyncio.to_thread(ask_and_not_read)
    await asyncio.sleep(0.3)
    (connection,) = [one for one in broker._connections.values() if not one._writable]
    assert connection._transport is not None
    assert connection._transport.get_write_buffer_size() < 5_000_000

    def read_all() -> list[int]:
        return [len(client.receive()["topics"][0]["partitions"][0]["records"]) for _ in range(10)]

    assert set(await asyncio.to_thread(read_all)) == {broker.log("orders", 0).size_bytes}
    client.close()


async def test_a_large_request_behind_one_that_waits_is_served(broker: EmbeddedBroker) -> None:
    """Its beginning may fill what is read ahead: the rest is read once nothing else is being served."""
    fetch = {
        "replica_id": -1,
        "max_wait_ms": 300,
        "min_bytes": 1,
        "max_bytes": 1000,
        "topics": [
            {"name": "orders", "partitions": [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1000}]}
        ],
    }
    batches = [{"partition": number, "records": [batch_of([bytes(1_000_000)])]} for number in (0, 1)]
    topics = [{"name": name, "partitions": batches} for name in ("orders", "none")]
    produce = {"transactional_id": None, "acks": -1, "timeout_ms": 1000, "topics": topics}

    def talk() -> list[int]:
        with RawClient(broker.bootstrap_servers) as client:
            client.send(ApiKey.FETCH, 11, fetch)
            client.send(ApiKey.PRODUCE, 7, produce)
            client.receive()
            return [one["error_code"] for one in client.receive()["topics"][0]["partitions"]]

    assert await asyncio.wait_for(asyncio.to_thread(talk), SOON_SECONDS) == [0, 0]


async def test_the_first_records_that_go_for_want_of_memory_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """Once: one line in the log names the limit, what goes and what to do."""
    async with EmbeddedBroker(now=utc_now, config=BrokerConfig(memory_bytes=1 << 20)) as broker:
        broker.create_topic("orders")
        async with _Producer(bootstrap_servers=broker.bootstrap_servers) as producer:
            with caplog.at_level(logging.WARNING, logger="activator"):
                await producer.send_and_wait("orders", bytes(900_000))
                assert caplog.messages == []
                for _ in range(3):
                    await producer.send_and_wait("orders", bytes(900_000))
    (told,) = caplog.messages
    assert told == (
        "the embedded Kafka keeps 1 MiB of records and is full: from now on the oldest of all topics go, "
        "whatever their retention and whether or not they were read; for more, name a Kafka of your own: "
        "wakegate local --bootstrap-servers"
    )


def test_a_transactional_producer_is_refused() -> None:
    """The client's init_transactions ends with the broker's own error, at once."""
    with BrokerThread() as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "transactional.id": "t", "log_level": 0})
        with pytest.raises(KafkaException) as refused:
            producer.init_transactions(SOON_SECONDS)
    assert "Transactional Id authorization failed" in str(refused.value)


def test_retention_goes_by_the_injected_clock() -> None:
    """Records that are older than their topic's retention by that clock are gone after the next look."""
    with BrokerThread(BrokerConfig(retention_check_interval_ms=20)) as broker:
        broker.do(lambda one: one.create_topic("orders", configs={"retention.ms": "50"}))
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers, "log_level": 0})
        producer.produce("orders", b"x")
        assert producer.flush(SOON_SECONDS) == 0
        deadline = utc_now().timestamp() + SOON_SECONDS
        while broker.do(lambda one: one.log("orders", 0).start_offset) == 0:
            assert utc_now().timestamp() < deadline
        assert broker.do(lambda one: one.log("orders", 0).end_offset) == 1
