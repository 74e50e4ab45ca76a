"""A throw-away certificate authority: server and client certificates as PEM files."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

LIFETIME = dt.timedelta(days=30)
LOOPBACK = ("127.0.0.1", "::1")
CLOCK_SKEW = dt.timedelta(minutes=5)


@dataclass(frozen=True)
class KeyPair:
    """Where a certificate and its private key (PKCS#8, unencrypted) lie, both PEM."""

    certificate: Path
    key: Path

    def bundle(self) -> str:
        """Key and certificate in one text, as Kafka's PEM key store wants them."""
        return self.key.read_text() + self.certificate.read_text()


class CertificateAuthority:
    """A CA whose files live in one folder; elliptic-curve keys, because they are made at once."""

    def __init__(self, folder: Path, common_name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(common_name)
        self._public = (
            _builder(self._name, self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(ca=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = folder / "ca.crt"
        self.certificate.write_bytes(self._public.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        common_name: str,
        *,
        names: Sequence[str] = (),
        hosts: Sequence[str] | None = None,
        not_after: dt.datetime | None = None,
    ) -> KeyPair:
        """Make a certificate for loopback servers and for clients of this name.

        Args:
            common_name: subject, and name of the files.
            names: DNS names beside `localhost`, such as `SERVICE.NAMESPACE.svc`.
            hosts: whom it is made out to in place of all these.
            not_after: its end, default in `LIFETIME`.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        pair = KeyPair(self._folder / f"{common_name}.crt", self._folder / f"{common_name}.key")
        made_out_to = ("localhost", *LOOPBACK, *names) if hosts is None else hosts
        pair.certificate.write_text(self.certify(common_name, key.public_key(), hosts=made_out_to, not_after=not_after))
        _write_secret(pair.key, private_key_pem(key))
        return pair

    def certify(
        self,
        common_name: str,
        public_key: CertificatePublicKeyTypes,
        *,
        hosts: Sequence[str] = (),
        not_after: dt.datetime | None = None,
    ) -> str:
        """Sign a certificate for somebody's key, for servers and clients alike, and return it as PEM.

        Args:
            common_name: subject.
            public_key: of any kind.
            hosts: DNS names and IP addresses that it is made out to.
            not_after: its end, default in `LIFETIME`.
        """
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        signer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            _builder(_name(common_name), self._name, public_key, not_after)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(signer_id, critical=False)
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(map(_general_name, hosts)), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def private_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Serialize a key as unencrypted PKCS#8 PEM, the one form that both Kafka and Kubernetes read."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write_signing_key(folder: Path, name: str) -> KeyPair:
    """Make a bare key pair (`certificate` is the public key), as service account tokens are signed with."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    pair = KeyPair(folder / f"{name}.pub", folder / f"{name}.key")
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    pair.certificate.write_bytes(public)
    _write_secret(pair.key, private_key_pem(key))
    return pair


def _write_secret(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: CertificatePublicKeyTypes,
    not_after: dt.datetime | None = None,
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    end = not_after or now + LIFETIME
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - CLOCK_SKEW)
        .not_valid_after(end)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
