"""Who may send: bearer tokens in files, several at once so that they can be rotated, reread when a file changes."""

from __future__ import annotations

import hmac
import logging
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)


class Verdict(Enum):
    """What an Authorization header is worth."""

    ALLOWED = "allowed"
    WRONG = "wrong"
    CLOSED = "closed"
    """The file holds no token at all: nobody may send."""


class Tokens:
    """All token files that routes name. One token a line; empty lines and lines that begin with # are skipped."""

    def __init__(self) -> None:
        self._files: dict[Path, tuple[object, tuple[bytes, ...]]] = {}

    def check(self, path: Path, authorization: str | None) -> Verdict:
        """Judge an Authorization header in a time that does not depend on how much of it is right."""
        tokens = self.read(path)
        if not tokens:
            return Verdict.CLOSED
        scheme, _, given = (authorization or "").partition(" ")
        right = [hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), token) for token in tokens]
        return Verdict.ALLOWED if scheme.lower() == "bearer" and any(right) else Verdict.WRONG

    def read(self, path: Path) -> tuple[bytes, ...]:
        """Return the tokens in a file; none where it is missing, empty or cannot be read."""
        known, tokens = self._files.get(path, (None, ()))
        try:
            found = path.stat()
            stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
            if stamp != known:
                lines = (line.strip() for line in path.read_bytes().splitlines())
                tokens = tuple(line for line in lines if line and not line.startswith(b"#"))
                self._files[path] = (stamp, tokens)
                if tokens:
                    log.info("read %d tokens from %s", len(tokens), path)
                else:
                    log.warning("token file %s holds no token: what asks for one is closed", path)
        except OSError as error:
            if known is not None or path not in self._files:
                log.warning("token file %s cannot be read: %s; no token is accepted until it can", path, error)
            self._files[path] = (None, ())
            return ()
        return tokens
