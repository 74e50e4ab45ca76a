"""The certificate at the door, and its rotation."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from activator.errors import SettingsError
from gateway.listener import Listener
from gateway.tls import Certificate
from tests.gateway.support import read_answer, request_bytes

if TYPE_CHECKING:
    from pathlib import Path

ISSUED = datetime(2025, 1, 1, tzinfo=UTC)


def write(folder: Path, name: str) -> None:
    """Write a self-signed certificate for a name, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ISSUED)
        .not_valid_after(ISSUED + timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    (folder / "tls.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "tls.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


async def shown(port: int) -> str:
    """Ask over TLS and return the name in the certificate that is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.write(request_bytes("GET", "/", [], b""))
    assert (await read_answer(reader)).status == 404
    writer.close()
    return str(x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


async def test_rotation(tmp_path: Path) -> None:
    """A changed certificate is shown to new connections; one that cannot be used leaves the last good one."""
    write(tmp_path, "first")
    certificate = Certificate(tmp_path / "tls.crt", tmp_path / "tls.key")
    listener = Listener(_not_found, ("127.0.0.1", 0), ssl_context=certificate.context)
    await listener.start()
    try:
        assert await shown(listener.port) == "first"
        write(tmp_path, "second")
        assert await shown(listener.port) == "first"
        certificate.reload()
        assert await shown(listener.port) == "second"
        (tmp_path / "tls.crt").write_text("nonsense")
        certificate.reload()
        assert await shown(listener.port) == "second"
        write(tmp_path, "third")
        certificate.reload()
        assert await shown(listener.port) == "third"
    finally:
        await listener.close()


async def _not_found(_request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=404)


def test_unusable_at_the_start(tmp_path: Path) -> None:
    """Without a last good certificate there is nothing to serve with."""
    with pytest.raises(SettingsError, match="cannot be used"):
        Certificate(tmp_path / "tls.crt", tmp_path / "tls.key")
