"""Certificates that are made here: a CA that signs one certificate and whose key is then forgotten.

Nothing is kept that could sign another, so what is stored is worth no more to a thief than the certificate itself.
"""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from activator.core.rotation import Certificate, Issued, Term

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_CLOCK_SKEW = timedelta(hours=1)
"""A certificate is valid from so long before it was made: the API server's clock may be a little behind."""


def issue(names: Sequence[str], now: datetime, lifetime: timedelta) -> Issued:
    """Make a CA, and a server certificate for DNS names and IP addresses that it signs; both live equally long."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    # The serial number keeps the names of two generations apart: a client picks the CA of a chain by name first.
    authority_name = _name(f"wakegate metrics API CA {x509.random_serial_number():x}"[:64])
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key(), now, lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    certificate = (
        _builder(_name("wakegate"), authority_name, key.public_key(), now, lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    return Issued(chain=_pem(certificate) + _pem(authority), key=_key_pem(key))


def read(pem: str) -> tuple[Certificate, ...]:
    """Return the certificates in a PEM text, in order; none of an empty one. Raises ValueError where it is no PEM."""
    if not pem.strip():
        return ()
    return tuple(map(_describe, x509.load_pem_x509_certificates(pem.encode())))


def _describe(certificate: x509.Certificate) -> Certificate:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    except x509.ExtensionNotFound:
        found = []
    term = Term(certificate.not_valid_before_utc + _CLOCK_SKEW, certificate.not_valid_after_utc)
    return Certificate(_pem(certificate), term, frozenset(found))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + lifetime)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
