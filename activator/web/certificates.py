"""The certificate that a TLS listener shows: read from files and reread as they change, or made on the spot.

A private key never touches a disk: `ssl` takes keys by path only, so they go through an anonymous file in memory.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import ssl
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from activator.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

log = logging.getLogger(__name__)

_LIFETIME = timedelta(days=3650)
"""Of a certificate that lives in this process alone: no process gets so old, so nothing has to renew it."""
_CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate chain and its private key, both PEM."""

    chain: bytes
    key: bytes

    def __repr__(self) -> str:
        """Leave the key out: a repr may reach a log."""
        return f"KeyPair(chain={len(self.chain)} bytes)"

    def load_into(self, context: ssl.SSLContext) -> None:
        """Make a context show this certificate.

        Raises:
            ssl.SSLError: chain or key are not PEM, or do not belong together.
        """
        descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
        try:
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(self.key + b"\n" + self.chain)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)


class CertificateSource(Protocol):
    """Where a listener's certificate is had from."""

    def current(self) -> KeyPair:
        """Return the certificate to show now."""


class SelfSigned:
    """A certificate made for this process: the API server reaches it with ``insecureSkipTLSVerify`` or its PEM."""

    def __init__(self, names: Sequence[str], now: datetime) -> None:
        self._pair = _make(names, now)

    def current(self) -> KeyPair:
        """Return the one certificate."""
        return self._pair


class FromFiles:
    """A certificate in two files, reread when either changes; one that cannot be used leaves the last good one.

    Raises:
        SettingsError: the files cannot be used at the start, when there is no last good one.
    """

    def __init__(self, chain: Path, key: Path) -> None:
        self._chain, self._key = chain, key
        self._stamp = self._look()
        try:
            self._pair = self._read()
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"TLS certificate {chain} with key {key} cannot be used: {error}") from error

    def current(self) -> KeyPair:
        """Return the certificate in the files, or the last one that could be used."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._pair = self._read()
            except (OSError, ssl.SSLError) as error:
                log.warning(
                    "TLS certificate %s with key %s changed and cannot be used: %s; the one before stays in use "
                    "until the files change again",
                    self._chain,
                    self._key,
                    error,
                )
        return self._pair

    def _look(self) -> tuple[object, ...]:
        return tuple(_stamp(path) for path in (self._chain, self._key))

    def _read(self) -> KeyPair:
        pair = KeyPair(self._chain.read_bytes(), self._key.read_bytes())
        pair.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        return pair


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Tell one content of a file from the next: a kubelet swaps a symbolic link, others write in place."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _make(names: Sequence[str], now: datetime) -> KeyPair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wakegate")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
