"""Certificates that are made here: verified by their CA and by no other, under the strictest rules."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest

from activator.core.rotation import Term
from activator.web import issuing
from activator.web.certificates import HandedOver, KeyPair, SelfSigned

NAMES = ["wakegate-metrics.wakegate-system.svc", "localhost"]
NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
LIFETIME = timedelta(days=3650)
"""Long, because handshakes go by the real clock."""


def handshake(chain: str, key: str, trusted: str, name: str = NAMES[0]) -> None:
    """Shake hands in memory as a client that trusts some CAs. Raises ssl.SSLError."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.load_verify_locations(cadata=trusted)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    KeyPair(chain.encode(), key.encode()).load_into(server)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_side = client.wrap_bio(to_client, to_server, server_hostname=name)
    server_side = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (client_side, server_side, client_side, server_side):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue


def test_it_says_what_it_is_for_and_for_how_long() -> None:
    """Read back, the certificate has the names and the term that were asked for, and its CA the same term."""
    certificate, authority = issuing.read(issuing.issue(NAMES, NOW, LIFETIME).chain)
    assert certificate.names == frozenset(NAMES)
    assert certificate.term == authority.term == Term(NOW, NOW + LIFETIME)


def test_its_own_ca_verifies_it_and_another_does_not() -> None:
    """Also where both are trusted, as they are while one follows the other."""
    first, second = (issuing.issue(NAMES, NOW, LIFETIME) for _ in range(2))
    authorities = [issuing.read(issued.chain)[1].pem for issued in (first, second)]
    for issued in (first, second):
        handshake(issued.chain, issued.key, "".join(authorities))
        handshake(issued.chain, issued.key, "".join(reversed(authorities)))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(first.chain, first.key, authorities[1])


def test_it_is_for_its_names_alone() -> None:
    """A client that asks for another Service turns away."""
    issued = issuing.issue(NAMES, NOW, LIFETIME)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(issued.chain, issued.key, issuing.read(issued.chain)[1].pem, "other.wakegate-system.svc")


def test_the_key_is_in_no_repr() -> None:
    """A repr may reach a log."""
    issued = issuing.issue(NAMES, NOW, LIFETIME)
    assert issued.key not in repr(issued)
    assert "PRIVATE" not in repr(issued)


@pytest.mark.parametrize("text", ["no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_said(text: str) -> None:
    """Garbage is a ValueError; an empty text is no certificate at all."""
    with pytest.raises(ValueError, match=r".+"):
        issuing.read(text)
    assert issuing.read("") == ()


def test_handed_over_again_it_stays_the_same_object(caplog: pytest.LogCaptureFixture) -> None:
    """Who listens goes by identity; what cannot be used is told and leaves the one before."""
    shown = HandedOver(SelfSigned(NAMES, NOW))
    own = shown.current()
    issued = issuing.issue(NAMES, NOW, LIFETIME)
    shown.take(issued.chain, issued.key)
    taken = shown.current()
    assert taken is not own
    shown.take(issued.chain, issued.key)
    assert shown.current() is taken
    shown.take(issued.chain, issuing.issue(NAMES, NOW, LIFETIME).key)
    assert shown.current() is taken
    assert "cannot be used" in caplog.text
