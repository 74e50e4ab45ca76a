"""Kafka credentials out of a mounted Secret."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from activator.errors import SettingsError
from activator.kafka import credential_folder
from activator.kafka.connection import SecurityOptions
from activator.kafka.credential_folder import CredentialFolder

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, **files: str) -> CredentialFolder:
    """Write files, as a Secret is mounted."""
    for name, text in files.items():
        (folder / name).write_text(text)
    return CredentialFolder(folder)


def test_none(tmp_path: Path) -> None:
    """Without a folder, or with an empty one, Kafka is contacted in plain text and as nobody."""
    assert CredentialFolder(None).options() == SecurityOptions()
    assert CredentialFolder(tmp_path).options() == SecurityOptions()


@pytest.mark.parametrize(
    ("sasl", "mechanism"),
    [("plaintext", "PLAIN"), ("scram_sha256", "SCRAM-SHA-256"), ("scram_sha512", "SCRAM-SHA-512")],
)
def test_sasl(tmp_path: Path, sasl: str, mechanism: str) -> None:
    """KEDA's names of the mechanisms are Kafka's; a final line break in a file is no part of it."""
    options = write(tmp_path, sasl=f"{sasl}\n", username="shop\n", password="secret\n").options()
    assert (options.security_protocol, options.sasl_mechanism) == ("SASL_PLAINTEXT", mechanism)
    assert (options.sasl_username, options.sasl_password) == ("shop", "secret")
    assert "secret" not in repr(options)


def test_tls(tmp_path: Path) -> None:
    """TLS verifies the broker unless it is told not to."""
    verified = write(tmp_path, tls="enable").options()
    assert verified.security_protocol == "SSL"
    assert verified.ssl_context is not None
    assert verified.ssl_context.verify_mode is ssl.CERT_REQUIRED
    unverified = write(tmp_path, unsafeSsl="true", sasl="plaintext", username="u", password="p").options()
    assert unverified.security_protocol == "SASL_SSL"
    assert unverified.ssl_context is not None
    assert unverified.ssl_context.verify_mode is ssl.CERT_NONE


def test_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the files say now is taken up; while they say the same nothing is to be connected anew."""
    monkeypatch.setattr(credential_folder, "REREAD_SECONDS", 0.0)
    credentials = write(tmp_path, sasl="plaintext", username="u", password="old", tls="enable")
    before = credentials.options()
    assert credentials.options() is before
    write(tmp_path, password="new")
    assert credentials.options().sasl_password == "new"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"sasl": "kerberos"}, "file sasl: it has another value than is allowed: none, plaintext, scram_sha256"),
        ({"tls": "yes"}, "file tls: it has another value than is allowed: enable, disable"),
        ({"sasl": "plaintext", "username": "u"}, "file password: it is missing or empty"),
        ({"tls": "enable", "ca": "nonsense"}, "file ca: it is no certificate in PEM"),
        ({"tls": "enable", "cert": "nonsense", "key": "nonsense"}, "file cert: it is no certificate in PEM"),
    ],
)
def test_mistakes(tmp_path: Path, files: dict[str, str], message: str) -> None:
    """A mistake is told with the file that has it."""
    with pytest.raises(SettingsError) as error:
        write(tmp_path, **files).options()
    assert str(error.value).startswith(f"Kafka credentials in {tmp_path}, {message}")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """It is not taken for one that is not there."""
    (tmp_path / "ca").mkdir()
    with pytest.raises(SettingsError, match="ca cannot be read: "):
        CredentialFolder(tmp_path).options()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """It is not taken for an empty one: nobody would be asked for a login that was meant."""
    with pytest.raises(SettingsError, match="elsewhere is no folder"):
        CredentialFolder(tmp_path / "elsewhere").options()
