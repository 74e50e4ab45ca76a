"""Whether a certificate and its key can be used by the metrics API, in words that name the usual mistakes. Pure."""

from __future__ import annotations

import ssl

from cryptography import x509

from activator.doctor.facts import Certificate
from activator.web.certificates import KeyPair

_PEM = b"-----BEGIN"


def examine(source: str, chain: bytes, key: bytes) -> Certificate:
    """Look at a certificate chain and its key as they stand in a Secret or in files."""
    if problem := _format_problem("tls.crt", chain, b"CERTIFICATE") or _format_problem("tls.key", key, b"PRIVATE KEY"):
        return Certificate(source, problem=problem)
    try:
        leaf = x509.load_pem_x509_certificates(chain)[0]
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        names = x509.SubjectAlternativeName([])
    except ValueError as error:
        return Certificate(source, problem=f"tls.crt is no certificate: {error}")
    try:
        KeyPair(chain, key).load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    except ssl.SSLError as error:
        told = "tls.key does not belong to tls.crt" if error.reason == "KEY_VALUES_MISMATCH" else str(error)
        return Certificate(source, problem=told)
    return Certificate(source, names=tuple(names.get_values_for_type(x509.DNSName)), expires=leaf.not_valid_after_utc)


def _format_problem(name: str, content: bytes, kind: bytes) -> str:
    """Name the mistake in a PEM file; empty: it looks like one."""
    if not content.strip():
        return f"{name} is empty"
    if _PEM not in content:
        binary = "in binary form (DER, PKCS#12 or JKS)" if b"\0" in content or content[:1] == b"0" else "not PEM"
        return f"{name} is {binary}; PEM is needed (openssl pkcs12 -nodes, openssl x509 -inform der)"
    if b"\\n" in content:
        return f"{name} has \\n written out in place of line ends"
    if kind not in content:
        return f"{name} holds no {kind.decode()}"
    if b"ENCRYPTED" in content:
        return f"{name} is encrypted with a password (openssl pkcs8 -in {name} -out plain.key takes it off)"
    return ""
