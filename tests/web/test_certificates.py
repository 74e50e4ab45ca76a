"""Serving certificates: made, read, reread, and never on a disk."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from activator.errors import SettingsError
from activator.web.certificates import FromFiles, KeyPair, SelfSigned

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Protocol

    class Authority(Protocol):
        """What conftest's CA can do."""

        def issue(self, folder: Path, common_name: str) -> tuple[Path, Path]:
            """Write a certificate and its key."""


NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


def test_a_made_certificate_carries_its_names_and_is_valid_at_once() -> None:
    """The API server knows it by the Service's names, also where its clock is a little behind."""
    pair = SelfSigned(["wakegate-metrics.wakegate-system.svc", "127.0.0.1"], NOW).current()
    certificate = x509.load_pem_x509_certificate(pair.chain)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["wakegate-metrics.wakegate-system.svc"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert certificate.not_valid_before_utc < NOW - timedelta(minutes=30)
    assert certificate.not_valid_after_utc > NOW + timedelta(days=365)


def test_a_made_certificate_verifies_as_its_own_ca() -> None:
    """Its PEM can be the caBundle of an APIService."""
    pair = SelfSigned(["localhost"], NOW).current()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=pair.chain.decode())
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair.load_into(server)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_side = context.wrap_bio(to_client, to_server, server_hostname="localhost")
    server_side = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (client_side, server_side, client_side, server_side):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert client_side.getpeercert()


def test_the_key_is_in_no_repr() -> None:
    """A repr may reach a log."""
    assert "PRIVATE" not in repr(SelfSigned(["localhost"], NOW).current())


def test_files_are_reread_when_they_change(front_proxy_ca: Authority, tmp_path: Path) -> None:
    """A renewed certificate is shown without a restart."""
    chain, key = front_proxy_ca.issue(tmp_path, "metrics")
    source = FromFiles(chain, key)
    first = source.current()
    assert source.current() is first
    front_proxy_ca.issue(tmp_path, "metrics")
    assert source.current().chain != first.chain


@pytest.mark.parametrize("broken", [b"", b"no PEM at all"])
def test_a_renewal_that_does_not_load_leaves_the_old_one(
    front_proxy_ca: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: bytes
) -> None:
    """Half a renewal must not end the service; it is said once, and a whole one is taken."""
    chain, key = front_proxy_ca.issue(tmp_path, "metrics")
    source = FromFiles(chain, key)
    first = source.current()
    chain.write_bytes(broken)
    assert [source.current() for _ in range(3)] == [first] * 3
    assert len(caplog.records) == 1
    assert "stays in use" in caplog.text
    front_proxy_ca.issue(tmp_path, "metrics")
    assert source.current() != first


def test_a_certificate_with_another_s_key_is_half_a_renewal(front_proxy_ca: Authority, tmp_path: Path) -> None:
    """Chain and key are written one after the other: between the two they do not belong together."""
    chain, key = front_proxy_ca.issue(tmp_path, "metrics")
    source = FromFiles(chain, key)
    first = source.current()
    (tmp_path / "new").mkdir()
    new_chain, new_key = front_proxy_ca.issue(tmp_path / "new", "metrics")
    chain.write_bytes(new_chain.read_bytes())
    assert source.current() is first
    key.write_bytes(new_key.read_bytes())
    assert source.current() == KeyPair(new_chain.read_bytes(), new_key.read_bytes())


def test_files_that_vanish_leave_the_last_one(front_proxy_ca: Authority, tmp_path: Path) -> None:
    """A Secret that is deleted and made again leaves a gap that nobody notices."""
    chain, key = front_proxy_ca.issue(tmp_path, "metrics")
    source = FromFiles(chain, key)
    first = source.current()
    chain.unlink()
    assert source.current() is first


def test_files_that_cannot_be_used_at_the_start_are_a_settings_error(tmp_path: Path) -> None:
    """With no last good one there is nothing to serve: the error names both files."""
    with pytest.raises(SettingsError, match=r"absent\.crt.*absent\.key"):
        FromFiles(tmp_path / "absent.crt", tmp_path / "absent.key")
