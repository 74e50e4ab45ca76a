"""What is in the Secret of the metrics API's certificate, and how it changes; purely.

Its keys, all PEM: `tls.crt` (the certificate that is shown, and its CA) and `tls.key`; `next.crt` and `next.key`, what
will be shown once everybody knows its CA; `ca.crt`, the CAs that clients are given.
"""

from __future__ import annotations

import base64
import binascii
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from activator.core.rotation import Certificate, Issued, Term

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    Read = Callable[[str], tuple[Certificate, ...]]
    """PEM -> the certificates in it, or ValueError."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Generation:
    """A certificate that can be shown, and its CA."""

    issued: Issued
    term: Term
    authority: Certificate


@dataclass(frozen=True, slots=True)
class Contents:
    """The Secret, understood."""

    shown: Generation | None = None
    staged: Generation | None = None
    trusted: tuple[Certificate, ...] = ()
    """CAs of `ca.crt`: those of both generations, and of earlier ones."""

    @property
    def retired(self) -> tuple[Certificate, ...]:
        """CAs of earlier generations."""
        current = {generation.authority for generation in (self.shown, self.staged) if generation is not None}
        return tuple(authority for authority in self.trusted if authority not in current)

    @property
    def bundle(self) -> str:
        """All CAs, as clients are given them."""
        return "".join(authority.pem for authority in self.trusted)

    def issued(self, generation: Generation, now: datetime) -> Contents:
        """Return it with a first generation, or one after everything before it expired."""
        return Contents(generation, None, (*self._unexpired(now), generation.authority))

    def with_next(self, generation: Generation) -> Contents:
        """Return it with a generation staged."""
        return replace(self, staged=generation, trusted=(*self.trusted, generation.authority))

    def turned(self) -> Contents:
        """Return it with the staged generation shown; the CA of the one before stays trusted."""
        return replace(self, shown=self.staged, staged=None)

    def pruned(self, now: datetime) -> Contents:
        """Return it without the CAs that have expired."""
        return replace(self, trusted=self._unexpired(now))

    def _unexpired(self, now: datetime) -> tuple[Certificate, ...]:
        return tuple(authority for authority in self.trusted if now < authority.term.until)

    def data(self) -> dict[str, str]:
        """Return the Secret's `data`."""
        texts = {"ca.crt": self.bundle}
        for name, generation in (("tls", self.shown), ("next", self.staged)):
            if generation is not None:
                texts |= {f"{name}.crt": generation.issued.chain, f"{name}.key": generation.issued.key}
        return {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}


def generation_of(issued: Issued, names: frozenset[str], read: Read) -> Generation | None:
    """Return what was issued as a generation; None where it is not a certificate of these names and its CA."""
    match read(issued.chain):
        case (certificate, authority) if certificate.names == names:
            return Generation(issued, certificate.term, authority)
    return None


def parse(document: Mapping[str, Any], names: frozenset[str], read: Read) -> Contents:
    """Read the Secret; what cannot be used, or is of other names, counts as not there."""
    data = document.get("data") or {}

    def text(key: str) -> str:
        try:
            return base64.b64decode(data.get(key) or "", validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            _log.warning("%s in the Secret of the metrics API's certificate is no text: it counts as not there", key)
            return ""

    def generation(name: str) -> Generation | None:
        issued = Issued(text(f"{name}.crt"), text(f"{name}.key"))
        return generation_of(issued, names, lenient) if issued.key else None

    def lenient(pem: str) -> tuple[Certificate, ...]:
        try:
            return read(pem)
        except ValueError as error:
            _log.warning("a certificate in the Secret of the metrics API cannot be read: %s", error)
            return ()

    shown, staged = generation("tls"), generation("next")
    own = [found.authority for found in (shown, staged) if found is not None]
    return Contents(shown, staged, tuple(dict.fromkeys([*lenient(text("ca.crt")), *own])))
