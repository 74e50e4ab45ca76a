"""Credentials for Kafka from a folder: a mounted Secret whose keys are KEDA's parameter names.

The same Secret that an annotated workload names in `wakegate.dev/authentication-secret` can be mounted here. The files
are read at each connect, so that a rotated Secret is taken up without a restart.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final

from activator.errors import SettingsError
from activator.kafka.connection import SecurityOptions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MECHANISMS: Final = {
    "none": None,
    "plaintext": "PLAIN",
    "scram_sha256": "SCRAM-SHA-256",
    "scram_sha512": "SCRAM-SHA-512",
}
_SWITCHES: Final = {"enable": True, "disable": False}


class Credentials:
    """The security options that a folder describes.

    Files: `sasl` (none, plaintext, scram_sha256 or scram_sha512), `username`, `password`, `tls` (enable or disable),
    `ca`, `cert`, `key`, `keyPassword` (PEM), `unsafeSsl` (true: the broker's certificate is not verified).

    Args:
        folder: None: plain text and nobody.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def options(self) -> SecurityOptions:
        """Read the folder. Raises SettingsError where what is in it cannot be used."""
        if self._folder is None:
            return SecurityOptions()
        sasl, tls = (
            self._choice("sasl", {"none": None, **_MECHANISMS}, "none"),
            self._choice("tls", _SWITCHES, "disable"),
        )
        context = self._context() if tls else None
        protocol = ("SASL_SSL" if tls else "SASL_PLAINTEXT") if sasl else ("SSL" if tls else "PLAINTEXT")
        if sasl is None:
            return SecurityOptions(protocol, context)
        return SecurityOptions(
            protocol,
            context,
            sasl_mechanism=str(sasl),
            sasl_username=self._required("username"),
            sasl_password=self._required("password"),
        )

    def _context(self) -> ssl.SSLContext:
        authority = self._text("ca")
        try:
            context = ssl.create_default_context(cadata=authority or None)
            # Python 3.13 turns this on; the CAs of some clusters do not say what their keys are for and fail it.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            if self._text("unsafeSsl") == "true":
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if self._text("cert"):
                context.load_cert_chain(self._path("cert"), self._path("key"), self._text("keyPassword") or "")
        except (ssl.SSLError, OSError, ValueError) as error:
            raise SettingsError(
                f"Kafka credentials in {self._folder}: ca, cert or key cannot be used: {error}"
            ) from error
        return context

    def _choice(self, name: str, choices: Mapping[str, object], default: str) -> object:
        value = self._text(name) or default
        if value not in choices:
            raise SettingsError(f"{self._path(name)} is {value!r}; allowed: {', '.join(choices)}")
        return choices[value]

    def _required(self, name: str) -> str:
        value = self._text(name)
        if not value:
            raise SettingsError(f"{self._path(name)} is missing or empty; sasl asks for username and password")
        return value

    def _text(self, name: str) -> str:
        try:
            return self._path(name).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{self._path(name)} cannot be read: {error}") from error

    def _path(self, name: str) -> Path:
        if self._folder is None:
            raise SettingsError("no folder with Kafka credentials is set")
        return self._folder / name
