"""Client certificates with keys in every form, and the sentence of each that cannot be used."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from activator.errors import SpecError
from activator.kafka.private_keys import show_certificate
from testbed.certificates import CertificateAuthority
from tests.kafka.key_forms import FORMS, PASSWORD

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    """Who signs clients' certificates."""
    return CertificateAuthority(tmp_path_factory.mktemp("ca"), "test CA")


def show(certificate: str, key: str, password: str = "") -> ssl.SSLContext:
    """Let a context show a certificate."""
    context = ssl.create_default_context()
    show_certificate(context, certificate, key, password, lambda name: f"Secret shop/kafka, key {name}")
    return context


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_key(form: str, authority: CertificateAuthority, tmp_path: Path) -> None:
    """All are taken, and a server is shown the certificate; a password that is not needed is no error."""
    make, write, mark = FORMS[form]
    key = make()
    written = write(key)
    assert mark in written
    client = show(authority.certify("orders", key.public_key()), written, PASSWORD)
    client.load_verify_locations(str(authority.certificate))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.certificate))
    server.verify_mode = ssl.CERT_REQUIRED
    pair = authority.issue("broker")
    server.load_cert_chain(pair.certificate, pair.key)
    assert dict(shaken_hands(client, server)["subject"][0]) == {"commonName": "orders"}
    assert list(tmp_path.iterdir()) == []


def shaken_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> dict[str, tuple[tuple[tuple[str, str], ...], ...]]:
    """Join a client and a server in memory, and return the certificate that the server was shown."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    shown = ends[1].getpeercert()
    assert shown
    return shown  # type: ignore[return-value]  # typeshed has it as a looser mapping


def test_what_cannot_be_used_is_told_without_showing_it(authority: CertificateAuthority) -> None:
    """The parameter, and what is wrong with it: the library's own words might quote the key."""
    key, other = FORMS["EC, SEC1"][0](), FORMS["EC, SEC1"][0]()
    certificate = authority.certify("orders", key.public_key())
    plain, encrypted = FORMS["EC, SEC1"][1](key), FORMS["EC, PKCS#8, PBES2"][1](key)
    legacy = FORMS["EC, SEC1, legacy"][1](key)
    mistakes = {
        "key keyPassword: it is missing or empty, and the key is encrypted": (certificate, encrypted, ""),
        "key keyPassword: it does not decrypt the key": (certificate, encrypted, "c4n4ry-wrong"),
        "key keyPassword: it does not decrypt the key, or": (certificate, legacy, "c4n4ry-wrong"),
        "key key: it is no private key in PEM; allowed: PKCS#1": (certificate, "c4n4ry", ""),
        "key key: it is no private key in PEM": (certificate, plain.replace("M", "c4n4ry", 1), ""),
        "key cert: it is no certificate in PEM": ("c4n4ry", plain, ""),
        "key key: it is not the key of the certificate in cert": (certificate, FORMS["EC, SEC1"][1](other), ""),
    }
    for message, (shown_certificate, shown_key, password) in mistakes.items():
        with pytest.raises(SpecError) as caught:
            show(shown_certificate, shown_key, password)
        assert str(caught.value).startswith(f"Secret shop/kafka, {message}")
        assert "c4n4ry" not in str(caught.value)


SM2 = """\
-----BEGIN CERTIFICATE-----
MIIBeTCCAR+gAwIBAgIUZaj9yd18SI+jNy5Kcsp2FHvzQd8wCgYIKoZIzj0EAwIw
ETEPMA0GA1UEAwwGb3JkZXJzMCAXDTI2MTIwMTEyNDM1MVoYDzIxMjYxMTA3MTI0
MzUxWjARMQ8wDQYDVQQDDAZvcmRlcnMwWTATBgcqhkjOPQIBBggqgRzPVQGCLQNC
AATQRPZFIgLmsvYNrRLi2/cgWPAdlrfhczNCGBya4Zt9nKRxdL2BQODUccdM75be
8M71cUt3Pg708PEz4xjZod70o1MwUTAdBgNVHQ4EFgQUCznGrNKism8YQs0TFNul
9GaLzRswHwYDVR0jBBgwFoAUCznGrNKism8YQs0TFNul9GaLzRswDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiBeh0BhLcskbXMbJBBqqbEXxd3+dUc7
4R9AM4oJGu2S+AIhAP/H4RZK09hBHCp3OWNaYemiOWPKl7wh6ejgitIs2icl
-----END CERTIFICATE-----
"""
"""A certificate of a key on the curve SM2, which OpenSSL knows and `cryptography` does not."""


def test_a_certificate_of_an_unknown_kind_of_key() -> None:
    """It is told as any other that cannot be used."""
    make, write, _ = next(iter(FORMS.values()))
    with pytest.raises(SpecError, match=r"key cert: its key is of a kind that is not known; allowed: RSA, EC or"):
        show(SM2, write(make()), PASSWORD)
