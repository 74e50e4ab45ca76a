"""What is said of a broker's certificate that is not to be trusted: each trouble its own sentence."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from activator.core.model import Cluster
from activator.errors import SpecError, UnavailableError
from activator.kafka.connection import bootstrap_addresses, open_connection
from activator.kafka.security import security_options
from activator.specs.credentials import KafkaCredentials, SaslMechanism
from testbed.certificates import CertificateAuthority, private_key_pem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


def place(name: str) -> str:
    """Where a parameter stands."""
    return f"Secret shop/kafka, key {name}"


@contextlib.asynccontextmanager
async def listening(context: ssl.SSLContext | None) -> AsyncIterator[str]:
    """Listen as a broker that hangs up once hands are shaken; None: in plain text."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if context is None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context) as server:
        yield "127.0.0.1:{1}".format(*server.sockets[0].getsockname())


@pytest.mark.parametrize(
    ("hosts", "not_after", "trusted", "message"),
    [
        pytest.param(
            ["127.0.0.1"], None, "other", "none of the authorities that are trusted (ca) has signed it", id="ca"
        ),
        pytest.param(["127.0.0.1"], LONG_AGO, "ca", "it has expired", id="expired"),
        pytest.param(
            ["kafka.shop.svc", "10.0.0.1"], None, "ca", "it is made out to another address", id="another host"
        ),
        pytest.param(["127.0.0.1"], None, "ca", "", id="trusted"),
    ],
)
async def test_a_brokers_certificate(
    tmp_path: Path, hosts: list[str], not_after: dt.datetime | None, trusted: str, message: str
) -> None:
    """It is told apart whether nobody vouches for it, its time is over, or it is another's."""
    authority, other = (
        CertificateAuthority(tmp_path / "ca", "one CA"),
        CertificateAuthority(tmp_path / "other", "other"),
    )
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "broker.pem").write_text(
        private_key_pem(key).decode() + authority.certify("broker", key.public_key(), hosts=hosts, not_after=not_after)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "broker.pem")
    ca = {"ca": authority, "other": other}[trusted].certificate.read_text()
    options = security_options(KafkaCredentials(tls=True, ca=ca), place)
    async with listening(context) as servers:
        (address,) = bootstrap_addresses(Cluster(servers))
        with pytest.raises(UnavailableError) as caught:
            await open_connection(address, options, client_id="test")
    expected = f"certificate verify failed: {message}" if message else "closed the connection"
    assert str(caught.value) == f"Kafka {servers}: {expected}"


async def test_tls_to_a_listener_without(tmp_path: Path) -> None:
    """A common mistake: the right host, and the port of another listener."""
    options = security_options(
        KafkaCredentials(tls=True, ca=CertificateAuthority(tmp_path, "CA").certificate.read_text()), place
    )
    async with listening(None) as servers:
        (address,) = bootstrap_addresses(Cluster(servers))
        with pytest.raises(UnavailableError, match="the listener does not speak TLS"):
            await open_connection(address, options, client_id="test")


def test_authorities_are_added_to_the_systems(tmp_path: Path) -> None:
    """A CA of one's own beside the public ones, not instead of them; lax about its key, and its comments."""
    ca = "# Főtanúsítvány\n" + CertificateAuthority(tmp_path, "test CA").certificate.read_text()
    system = len(ssl.create_default_context().get_ca_certs())
    context = security_options(KafkaCredentials(tls=True, ca=ca), place).ssl_context
    assert context is not None
    assert len(context.get_ca_certs()) == system + 1
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    with pytest.raises(SpecError, match=r"^Secret shop/kafka, key ca: it is no certificate in PEM$"):
        security_options(KafkaCredentials(tls=True, ca="c4n4ry"), place)


@pytest.mark.parametrize(
    ("credentials", "protocol"),
    [
        (KafkaCredentials(), "PLAINTEXT"),
        (KafkaCredentials(tls=True), "SSL"),
        (KafkaCredentials(SaslMechanism.PLAIN, "u", "p"), "SASL_PLAINTEXT"),
        (KafkaCredentials(SaslMechanism.SCRAM_SHA_512, "u", "p", tls=True, verify=False), "SASL_SSL"),
    ],
)
def test_the_security_protocol(credentials: KafkaCredentials, protocol: str) -> None:
    """By Kafka's names; nothing secret is shown."""
    options = security_options(credentials, place)
    assert options.security_protocol == protocol
    assert options.sasl_username == (credentials.username or None)
    assert options.sasl_password == (credentials.password or None)
    if options.ssl_context is not None:
        assert (options.ssl_context.verify_mode is ssl.CERT_REQUIRED) is credentials.verify
