"""Secured connections to a real Kafka: who may in, and how a refusal is told."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest

from activator.core.model import Cluster
from activator.errors import DeniedError, UnavailableError
from activator.kafka.connection import Address, SecurityOptions, bootstrap_addresses, open_connection, translated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.kafka import KafkaCluster

TRANSLATED = [
    pytest.param(TimeoutError(), UnavailableError, "Kafka one:9092: did not answer in time", id="deadline"),
    pytest.param(ConnectionRefusedError(111, "Connection refused"), UnavailableError, "Connection refused", id="os"),
    pytest.param(UnicodeError("label empty or too long"), UnavailableError, "label empty or too long", id="no-host"),
    pytest.param(ValueError("Invalid server signature!"), UnavailableError, "Invalid server signature!", id="scram"),
    pytest.param(KeyError((1, 0)), UnavailableError, "the connection was closed while in use", id="raced-with-close"),
    pytest.param(AssertionError(), UnavailableError, "the connection was closed while in use", id="asserted"),
]

pytestmark = pytest.mark.usefixtures("patient")


@pytest.mark.parametrize(("foreign", "ours", "text"), TRANSLATED)
def test_foreign_errors_are_translated(foreign: Exception, ours: type[Exception], text: str) -> None:
    """Whatever aiokafka, asyncio or the system raise, one of ours comes out and names the place."""
    with pytest.raises(ours, match=r"^Kafka one:9092: ") as caught, translated("Kafka one:9092"):
        raise foreign

    assert text in str(caught.value)
    assert caught.value.__cause__ is foreign


def test_addresses_as_users_write_them() -> None:
    """Names, IPv4 and IPv6, with and without a port, in the user's order."""
    cluster = Cluster("kafka-1:9093,10.0.0.7,[2001:db8::1]:9094")

    assert [str(address) for address in bootstrap_addresses(cluster)] == [
        "kafka-1:9093",
        "10.0.0.7:9092",
        "[2001:db8::1]:9094",
    ]


@pytest.mark.parametrize("host", ["kafka..shop.svc", "k" * 64])
async def test_a_host_that_is_no_name(host: str) -> None:
    """It is one broker that cannot be reached, and no mistake that ends the read of all others."""
    with pytest.raises(UnavailableError, match=rf"^Kafka {host}:9092: "):
        await open_connection(Address(host, 9092), SecurityOptions(), client_id="test")


async def test_a_server_that_speaks_another_protocol() -> None:
    """What hangs up at the first bytes is told as unavailable, and leaves nothing open."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        (address,) = bootstrap_addresses(Cluster(f"{host}:{port}"))
        with pytest.raises(UnavailableError, match=f"^Kafka {host}:{port}: closed the connection"):
            await open_connection(address, SecurityOptions(), client_id="test")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """A Kafka with a SASL and a SASL_SSL listener, and one user."""
    from testbed.kafka import KafkaCluster  # noqa: PLC0415 - the testbed is for the real tests alone
    from testbed.kafka_config import Listener  # noqa: PLC0415 - the same

    users = {"wakegate": "right"}
    listeners = (Listener("SASL_PLAINTEXT", users=users), Listener("SASL_SSL", sasl_mechanism="PLAIN", users=users))
    with KafkaCluster(tmp_path_factory.mktemp("secured"), listeners=listeners) as kafka:
        yield kafka


def address_of(kafka: KafkaCluster, listener: str) -> Address:
    """Return where a listener listens."""
    (address,) = bootstrap_addresses(Cluster(kafka.bootstrap_servers_of(listener)))
    return address


@pytest.mark.real
async def test_a_scram_user_gets_in_with_the_right_password_only(secured: KafkaCluster) -> None:
    """The wrong one is denied in the broker's words and without the password."""
    address = address_of(secured, "SASL_PLAINTEXT")
    right = SecurityOptions(
        "SASL_PLAINTEXT", sasl_mechanism="SCRAM-SHA-512", sasl_username="wakegate", sasl_password="right"
    )
    wrong = SecurityOptions(
        "SASL_PLAINTEXT", sasl_mechanism="SCRAM-SHA-512", sasl_username="wakegate", sasl_password="not-right"
    )

    connection = await open_connection(address, right, client_id="test")
    assert connection.is_open()
    connection.close()
    with pytest.raises(DeniedError, match=f"^Kafka {address}: refused the credentials") as caught:
        await open_connection(address, wrong, client_id="test")
    assert "not-right" not in str(caught.value)


@pytest.mark.real
async def test_a_mechanism_that_the_listener_has_not_is_denied(secured: KafkaCluster) -> None:
    """The error names the mechanism that was tried."""
    options = SecurityOptions("SASL_PLAINTEXT", sasl_mechanism="PLAIN", sasl_username="wakegate", sasl_password="right")

    with pytest.raises(DeniedError, match="the listener has no SASL mechanism PLAIN"):
        await open_connection(address_of(secured, "SASL_PLAINTEXT"), options, client_id="test")


@pytest.mark.real
async def test_tls_trusts_the_given_authority_only(secured: KafkaCluster) -> None:
    """With the cluster's CA a user gets in; with the system's the certificate is refused by us."""
    address = address_of(secured, "SASL_SSL")
    trusted = ssl.create_default_context(cafile=str(secured.authority.certificate))
    for context, gets_in in ((trusted, True), (ssl.create_default_context(), False)):
        options = SecurityOptions("SASL_SSL", context, "PLAIN", "wakegate", "right")
        if gets_in:
            (await open_connection(address, options, client_id="test")).close()
        else:
            with pytest.raises(UnavailableError, match="certificate verify failed"):
                await open_connection(address, options, client_id="test")


@pytest.mark.real
async def test_plain_text_to_a_secured_listener_is_unavailable(secured: KafkaCluster) -> None:
    """The commonest mistake: the right port, and the security protocol forgotten."""
    with pytest.raises(UnavailableError):
        await open_connection(address_of(secured, "SASL_SSL"), SecurityOptions(), client_id="test")
