"""The operator's own credentials: a mounted Secret, whose files have KEDA's parameter names.

The same Secret that an annotated workload names in `wakegate.dev/authentication-secret` can be mounted. The activator
shows these to its default bootstrap servers alone, the gateway to its own.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from activator.errors import SettingsError, SpecError
from activator.kafka.connection import SecurityOptions
from activator.kafka.security import security_options
from activator.specs.credentials import PARAMETERS, read_credentials

if TYPE_CHECKING:
    from pathlib import Path

    from activator.specs.credentials import KafkaCredentials

REREAD_SECONDS = 2.0
"""Files are read no more often than this: they are asked for at every request. The kubelet takes a minute itself."""


class CredentialFolder:
    """The security options that a folder describes.

    Files: `sasl` (none, plaintext, scram_sha256, scram_sha512 or oauthbearer), `username`, `password`,
    `oauthTokenEndpointUri`, `scopes`, `oauthExtensions`, `tls` (enable or disable), `ca`, `cert`, `key`,
    `keyPassword` (PEM), `unsafeSsl` (true: the broker's certificate is not verified).

    Args:
        folder: None: plain text and nobody.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._credentials: KafkaCredentials | None = None
        self._options = SecurityOptions()
        self._read_at: float | None = None

    def options(self) -> SecurityOptions:
        """Return what the files say now, the very same value while they say the same.

        Raises:
            SettingsError: what is in them cannot be used.
        """
        if self._folder is None:
            return self._options
        if self._read_at is not None and time.monotonic() - self._read_at < REREAD_SECONDS:
            return self._options
        if not self._folder.is_dir():  # an optional Secret that is not there is an empty folder
            raise SettingsError(f"Kafka credentials: {self._folder} is no folder")
        credentials, problems = read_credentials(
            {name: text for name in PARAMETERS if (text := _text(self._folder / name))}, self._place
        )
        if problems or credentials is None:
            raise SettingsError("; ".join(map(str, problems)))
        if credentials != self._credentials:
            try:
                self._options = security_options(credentials, self._place)
            except SpecError as error:
                raise SettingsError(str(error)) from error
            self._credentials = credentials
        self._read_at = time.monotonic()
        return self._options

    def _place(self, name: str) -> str:
        return f"Kafka credentials in {self._folder}, file {name}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}") from error
