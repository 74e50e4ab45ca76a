"""Certificates as an API server's front proxy has them, made for the test."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

ISSUED = datetime(2025, 1, 1, tzinfo=UTC)
LASTS = timedelta(days=36500)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


@dataclass
class Authority:
    """A CA that does not say what its key is for, as some clusters have them: Python 3.13 refuses it when strict."""

    common_name: str = "front-proxy-ca"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def __post_init__(self) -> None:
        self.certificate = self._sign(self.common_name, self.key.public_key(), ca=True)

    @property
    def pem(self) -> str:
        """The CA's certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def issue(self, folder: Path, common_name: str) -> tuple[Path, Path]:
        """Write a certificate and its key; return their paths."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(common_name, key.public_key(), ca=False)
        chain_file, key_file = folder / f"{common_name}.crt", folder / f"{common_name}.key"
        chain_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return chain_file, key_file

    def client(self, folder: Path, common_name: str = "front-proxy-client") -> ssl.SSLContext:
        """Return a context that shows a certificate of this CA and takes any server's."""
        context = any_server()
        context.load_cert_chain(*self.issue(folder, common_name))
        return context

    def _sign(self, common_name: str, key: ec.EllipticCurvePublicKey, *, ca: bool) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .issuer_name(_name(self.common_name))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(ISSUED)
            .not_valid_after(ISSUED + LASTS)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )


def any_server() -> ssl.SSLContext:
    """Return a client's context that believes every server and shows no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.fixture
def front_proxy_ca() -> Authority:
    """Return the CA of the API server's front proxy."""
    return Authority()


@pytest.fixture
def other_ca() -> Authority:
    """Return a CA that nobody has reason to trust, under the same name."""
    return Authority()


@pytest.fixture
def anonymous() -> ssl.SSLContext:
    """Return the context of a client without a certificate."""
    return any_server()
