"""Private keys in every form that people have them in."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import pkcs12

if TYPE_CHECKING:
    from collections.abc import Callable

    PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

PASSWORD = "c4n4ry-key-password"

_PKCS8 = serialization.PrivateFormat.PKCS8
_TRADITIONAL = serialization.PrivateFormat.TraditionalOpenSSL
_PBE_SHA1_3DES = bytes.fromhex("060a2a864886f70d010c0103")
"""DER of the object identifier 1.2.840.113549.1.12.1.3 (RFC 7292, appendix C)."""


def _written(key: PrivateKey, form: serialization.PrivateFormat, *, encrypted: bool) -> str:
    how = serialization.BestAvailableEncryption(PASSWORD.encode()) if encrypted else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, how).decode()


def _pbes1(key: PrivateKey) -> str:
    """PKCS#8 under PBES1: `cryptography` writes that only inside PKCS#12, whose key bag is just this."""
    how = (
        serialization.PrivateFormat.PKCS12.encryption_builder()
        .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
        .hmac_hash(hashes.SHA256())
        .build(PASSWORD.encode())
    )
    assert not isinstance(key, ed25519.Ed25519PrivateKey)
    store = pkcs12.serialize_key_and_certificates(None, key, None, None, how)
    # EncryptedPrivateKeyInfo: SEQUENCE { SEQUENCE { the algorithm's OID ...
    inner = store.index(_PBE_SHA1_3DES) - 2
    outer = next(start for start in (inner - 4, inner - 3, inner - 2) if _header(store, start) == inner - start)
    body = base64.encodebytes(store[outer : inner + _length(store, outer)]).decode()
    return f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{body}-----END ENCRYPTED PRIVATE KEY-----\n"


def _header(der: bytes, at: int) -> int:
    """Bytes of a SEQUENCE's tag and length; 0: there is none."""
    if der[at] != 0x30:
        return 0
    return 2 + (der[at + 1] & 0x7F if der[at + 1] & 0x80 else 0)


def _length(der: bytes, at: int) -> int:
    """Bytes of a SEQUENCE's content."""
    more = _header(der, at) - 2
    return int.from_bytes(der[at + 2 : at + 2 + more]) if more else der[at + 1]


def _rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _ec() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


FORMS: dict[str, tuple[Callable[[], PrivateKey], Callable[[PrivateKey], str], str]] = {
    "RSA, PKCS#1": (_rsa, lambda key: _written(key, _TRADITIONAL, encrypted=False), "BEGIN RSA PRIVATE KEY"),
    "RSA, PKCS#1, legacy": (_rsa, lambda key: _written(key, _TRADITIONAL, encrypted=True), "Proc-Type: 4,ENCRYPTED"),
    "RSA, PKCS#8": (_rsa, lambda key: _written(key, _PKCS8, encrypted=False), "BEGIN PRIVATE KEY"),
    "RSA, PKCS#8, PBES2": (_rsa, lambda key: _written(key, _PKCS8, encrypted=True), "BEGIN ENCRYPTED PRIVATE KEY"),
    "RSA, PKCS#8, PBES1": (_rsa, _pbes1, "BEGIN ENCRYPTED PRIVATE KEY"),
    "EC, SEC1": (_ec, lambda key: _written(key, _TRADITIONAL, encrypted=False), "BEGIN EC PRIVATE KEY"),
    "EC, SEC1, legacy": (_ec, lambda key: _written(key, _TRADITIONAL, encrypted=True), "Proc-Type: 4,ENCRYPTED"),
    "EC, PKCS#8": (_ec, lambda key: _written(key, _PKCS8, encrypted=False), "BEGIN PRIVATE KEY"),
    "EC, PKCS#8, PBES2": (_ec, lambda key: _written(key, _PKCS8, encrypted=True), "BEGIN ENCRYPTED PRIVATE KEY"),
    "EC, PKCS#8, PBES1": (_ec, _pbes1, "BEGIN ENCRYPTED PRIVATE KEY"),
    "Ed25519, PKCS#8": (
        ed25519.Ed25519PrivateKey.generate,
        lambda key: _written(key, _PKCS8, encrypted=False),
        "BEGIN PRIVATE KEY",
    ),
}
"""Maker of a key, its PEM in one form, and a mark of that form."""
