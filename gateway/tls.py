"""The certificate at the door: read from two files, and read again when they change."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, Final

from activator.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 5.0


class Certificate:
    """A TLS context that shows the certificate in two PEM files.

    New connections get a changed certificate within five seconds; those that are open keep theirs. Files that cannot be
    used leave the last good certificate in place.

    Raises:
        SettingsError: the files cannot be used at the start, when there is no last good one.
    """

    def __init__(self, chain: Path, key: Path) -> None:
        self._chain, self._key = chain, key
        self.context = _context()
        self._stamp = self._look()
        try:
            self.context.load_cert_chain(chain, key)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"TLS certificate {chain} with key {key} cannot be used: {error}") from error

    async def watch(self) -> None:
        """Look at the files until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self.reload()

    def reload(self) -> None:
        """Take the files up, where they changed and can be used."""
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            # Tried on another context first: a key that does not fit would leave this one with half of each.
            _context().load_cert_chain(self._chain, self._key)
            self.context.load_cert_chain(self._chain, self._key)
            log.info("took up the changed TLS certificate %s", self._chain)
        except (OSError, ssl.SSLError) as error:
            log.warning("TLS certificate %s changed and cannot be used: %s; the one before stays", self._chain, error)

    def _look(self) -> object:
        return tuple(_stamp(path) for path in (self._chain, self._key))


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def _stamp(path: Path) -> object:
    """Tell one content of a file from the next: a kubelet swaps a symbolic link, others write in place."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
