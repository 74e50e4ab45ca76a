"""Private keys as people have them -> an SSL context that shows a certificate; nothing decrypted touches a disk.

Read are PEM keys as PKCS#1, SEC1 and PKCS#8, RSA, EC and Ed25519, plain or encrypted by PBES2, PBES1 or the legacy
``Proc-Type: 4,ENCRYPTED`` header. `cryptography` does it, which the metrics API's own certificate needs anyway.
"""

from __future__ import annotations

import os
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import load_pem_x509_certificates

from activator.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate

_ENCRYPTED: Final = ("BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED")


def show_certificate(
    context: ssl.SSLContext, certificate: str, key: str, password: str, place: Callable[[str], str]
) -> Certificate:
    """Let a context show a client certificate, and return it.

    Args:
        context: what connections are made with.
        certificate: PEM chain, our own first.
        key: PEM of its private key.
        password: of the key; empty: it is not encrypted. One that a plain key does not need is passed over.
        place: where a parameter stands, for messages.

    Raises:
        SpecError: one of them cannot be used; what is in them is not shown.
    """
    try:
        chain = load_pem_x509_certificates(certificate.encode())
    except ValueError:
        raise SpecError(place("cert"), None, "it is no certificate in PEM") from None
    private = _private_key(key, password, place)
    public_form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        certified = chain[0].public_key()
    except (ValueError, UnsupportedAlgorithm):  # such as of the curve SM2
        what = "its key is of a kind that is not known; allowed: RSA, EC or Ed25519"
        raise SpecError(place("cert"), None, what) from None
    if private.public_key().public_bytes(*public_form) != certified.public_bytes(*public_form):
        raise SpecError(place("key"), None, "it is not the key of the certificate in cert")
    plain = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        with _in_memory(certificate.encode() + b"\n" + plain) as path:
            context.load_cert_chain(path)
    except ssl.SSLError as error:
        raise SpecError(place("cert"), None, f"OpenSSL refuses it: {error.reason or 'no reason given'}") from None
    return chain[0]


def _private_key(key: str, password: str, place: Callable[[str], str]) -> PrivateKeyTypes:
    encrypted = any(mark in key for mark in _ENCRYPTED)
    if encrypted and not password:
        raise SpecError(place("keyPassword"), None, "it is missing or empty, and the key is encrypted")
    try:
        return serialization.load_pem_private_key(key.encode(), password.encode() if encrypted else None)
    except (ValueError, UnsupportedAlgorithm, TypeError):
        # The library's own words may quote what it read. A wrong password and a damaged key look alike to it.
        if encrypted:
            what = "it does not decrypt the key, or the key is damaged or encrypted in a way that is not known"
            raise SpecError(place("keyPassword"), None, what) from None
        what = "it is no private key in PEM; allowed: PKCS#1, PKCS#8 or SEC1, of RSA, EC or Ed25519"
        raise SpecError(place("key"), None, what) from None


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Give a path to bytes that are in memory only: OpenSSL takes a certificate by path alone."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
