"""What is wrong with a certificate and its key, in the words of the mistake that was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)

from activator.web.certificate_facts import examine
from activator.web.certificates import SelfSigned
from tests.web.conftest import ISSUED

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

PAIR = SelfSigned(["wakegate-metrics.wakegate-system.svc", "localhost"], ISSUED).current()
OTHER = SelfSigned(["localhost"], ISSUED).current()


def private_key() -> EllipticCurvePrivateKey:
    """The key of the pair."""
    return load_pem_private_key(PAIR.key, None)  # type: ignore[return-value]  # it is made so


ENCRYPTED = private_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
STORE = pkcs12.serialize_key_and_certificates(b"a", private_key(), None, None, BestAvailableEncryption(b"secret"))


def test_a_good_pair_tells_its_names_and_its_end() -> None:
    """No problem, the DNS names of the leaf, and when it expires."""
    found = examine("Secret a/b", PAIR.chain, PAIR.key)
    assert (found.problem, found.names) == ("", ("wakegate-metrics.wakegate-system.svc", "localhost"))
    assert found.expires is not None
    assert found.expires > ISSUED


@pytest.mark.parametrize(
    ("mistake", "chain", "key", "says"),
    [
        ("an empty key", PAIR.chain, b"\n", "tls.key is empty"),
        ("a PKCS#12 store", STORE, PAIR.key, "tls.crt is in binary form (DER, PKCS#12 or JKS)"),
        ("base64 without a frame", PAIR.chain, b"MIIEvQ", "tls.key is not PEM"),
        ("line ends written out", PAIR.chain.replace(b"\n", b"\\n"), PAIR.key, "\\n written out"),
        ("a key with a password", PAIR.chain, ENCRYPTED, "tls.key is encrypted with a password"),
        ("the two exchanged", PAIR.key, PAIR.chain, "tls.crt holds no CERTIFICATE"),
        ("the certificate twice", PAIR.chain, PAIR.chain, "tls.key holds no PRIVATE KEY"),
        ("the key of another", PAIR.chain, OTHER.key, "tls.key does not belong to tls.crt"),
        ("a frame around nothing", b"-----BEGIN CERTIFICATE-----\nxx\n", PAIR.key, "tls.crt is no certificate"),
    ],
)
def test_each_usual_mistake_is_named(mistake: str, chain: bytes, key: bytes, says: str) -> None:
    """Which of the two files it is, and what is wrong with it; never what stands in a key."""
    found = examine("Secret a/b", chain, key)
    assert says in found.problem, mistake
    assert "PRIVATE KEY-----" not in found.problem
