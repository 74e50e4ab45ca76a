"""Bearer tokens kept in a file, one a line so that they can be rotated without a gap."""

from __future__ import annotations

import hmac
import logging
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

_SCHEME = "bearer"


class Verdict(Enum):
    """What an Authorization header is worth."""

    ALLOWED = "allowed"
    REFUSED = "refused"
    NO_TOKEN_CONFIGURED = "no token configured"  # noqa: S105 - a verdict, not a token


class TokenFile:
    """The tokens in a file, reread when it changes; a file that is missing or empty holds none."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._tokens: tuple[bytes, ...] = ()

    def check(self, authorization: str | None) -> Verdict:
        """Judge the value of an Authorization header, in a time that does not depend on how much of it is right."""
        tokens = self._read()
        if not tokens:
            return Verdict.NO_TOKEN_CONFIGURED
        scheme, _, given = (authorization or "").partition(" ")
        said = given.strip().encode(errors="surrogateescape")  # as aiohttp has read it: any bytes may stand there
        matches = [hmac.compare_digest(said, token) for token in tokens]
        return Verdict.ALLOWED if scheme.lower() == _SCHEME and any(matches) else Verdict.REFUSED

    def _read(self) -> tuple[bytes, ...]:
        if self._path is None:
            return ()
        try:
            found = self._path.stat()
            stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
            if stamp != self._stamp:
                self._tokens = tuple(line.strip() for line in self._path.read_bytes().splitlines() if line.strip())
                self._stamp = stamp
        except OSError as error:
            if self._stamp is not None or self._tokens:
                log.warning("token file %s cannot be read any more: %s; no token is accepted", self._path, error)
            self._stamp, self._tokens = None, ()
        return self._tokens
