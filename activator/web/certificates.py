"""The certificate that a TLS listener shows: read from files and reread as they change, handed over, or made here.

A private key never touches a disk: `ssl` takes keys by path only, so they go through an anonymous file in memory.
"""

from __future__ import annotations

import logging
import os
import ssl
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from activator.errors import SettingsError
from activator.web import issuing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

log = logging.getLogger(__name__)

_LIFETIME = timedelta(days=3650)
"""Of a certificate that lives in this process alone: no process gets so old, so nothing has to renew it."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate chain and its private key, both PEM."""

    chain: bytes
    key: bytes

    def __repr__(self) -> str:
        """Leave the key out: a repr may reach a log."""
        return f"KeyPair(chain={len(self.chain)} bytes)"

    def load_into(self, context: ssl.SSLContext) -> None:
        """Make a context show this certificate.

        Raises:
            ssl.SSLError: chain or key are not PEM, or do not belong together.
        """
        descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
        try:
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(self.key + b"\n" + self.chain)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)


class CertificateSource(Protocol):
    """Where a listener's certificate is had from."""

    def current(self) -> KeyPair:
        """Return the certificate to show now."""


class SelfSigned:
    """A certificate made for this process: the API server reaches it with ``insecureSkipTLSVerify`` or its chain."""

    def __init__(self, names: Sequence[str], now: datetime) -> None:
        issued = issuing.issue(names, now, _LIFETIME)
        self._pair = KeyPair(issued.chain.encode(), issued.key.encode())

    def current(self) -> KeyPair:
        """Return the one certificate."""
        return self._pair


class HandedOver:
    """A certificate that somebody hands over, and later another.

    Args:
        until_then: what is shown before the first comes.
    """

    def __init__(self, until_then: CertificateSource) -> None:
        self._pair = until_then.current()

    def current(self) -> KeyPair:
        """Return the one that came last."""
        return self._pair

    def take(self, chain: str, key: str) -> None:
        """Show this one from now on; one that cannot be used is told, and leaves the one before."""
        pair = KeyPair(chain.encode(), key.encode())
        if pair == self._pair:
            return  # and not an equal one: who listens goes by identity, and would close its connections
        try:
            pair.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        except ssl.SSLError as error:
            log.warning("the certificate handed over cannot be used: %s; the one before stays in use", error)
            return
        self._pair = pair


class FromFiles:
    """A certificate in two files, reread when either changes; one that cannot be used leaves the last good one.

    Raises:
        SettingsError: the files cannot be used at the start, when there is no last good one.
    """

    def __init__(self, chain: Path, key: Path) -> None:
        self._chain, self._key = chain, key
        self._stamp = self._look()
        try:
            self._pair = self._read()
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"TLS certificate {chain} with key {key} cannot be used: {error}") from error

    def current(self) -> KeyPair:
        """Return the certificate in the files, or the last one that could be used."""
        stamp = self._look()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._pair = self._read()
            except (OSError, ssl.SSLError) as error:
                log.warning(
                    "TLS certificate %s with key %s changed and cannot be used: %s; the one before stays in use "
                    "until the files change again",
                    self._chain,
                    self._key,
                    error,
                )
        return self._pair

    def _look(self) -> tuple[object, ...]:
        return tuple(_stamp(path) for path in (self._chain, self._key))

    def _read(self) -> KeyPair:
        pair = KeyPair(self._chain.read_bytes(), self._key.read_bytes())
        pair.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        return pair


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Tell one content of a file from the next: a kubelet swaps a symbolic link, others write in place."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
