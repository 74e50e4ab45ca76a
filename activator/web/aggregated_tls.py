"""TLS for an aggregated API: our certificate out, the front proxy's certificate in, both exchangeable while running.

A live `ssl.SSLContext` can take a further CA but never drop one, so each change makes a new context, and every
handshake is moved onto the newest by `sni_callback` (which OpenSSL calls also for clients that name no server).
Verification takes its CAs from the context a handshake ends up with, but its mode and flags from the one it began
with: the first context therefore asks for certificates too, and trusts nobody.
"""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING

from activator.web import front_proxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.web.certificates import CertificateSource, KeyPair
    from activator.web.front_proxy import FrontProxy, RequestHeaderAuthority

log = logging.getLogger(__name__)


class AggregatedTls:
    """The context to listen with, and who may come in.

    Args:
        certificate: what we show.
        authority: what the API server says of its front proxy.
        changed: called after certificate or front proxy changed, so that old connections can be ended: they were let
            in under what no longer holds.
    """

    def __init__(
        self, certificate: CertificateSource, authority: RequestHeaderAuthority, changed: Callable[[], None]
    ) -> None:
        self._certificate = certificate
        self._authority = authority
        self._changed = changed
        self._pair: KeyPair | None = None
        self._data: object = None
        self._context: ssl.SSLContext | None = None
        self.front_proxy: FrontProxy | None = None
        """Who may come in; None: not known yet, so nobody."""
        self.listening_context = _context(certificate.current())
        self.listening_context.sni_callback = self._handshake

    def refresh(self) -> None:
        """Take over a changed certificate or front proxy; cheap where nothing changed."""
        pair, data = self._certificate.current(), self._authority.current()
        if data is None or (pair is self._pair and data == self._data):
            return
        first = self._data is None
        self._pair, self._data = pair, data
        try:
            trusted = front_proxy.parse(data)
            context = _context(pair)
            # A comment beside a certificate may be in any language; what is not ASCII is a TypeError here.
            context.load_verify_locations(cadata=trusted.client_ca_pem.encode("ascii", "replace").decode())
        except (front_proxy.FrontProxyError, ssl.SSLError) as error:
            kept = "nobody is let in" if self._context is None else "the one before stays in force"
            log.error(  # noqa: TRY400 - the sentence is the whole story
                "front proxy of ConfigMap kube-system/extension-apiserver-authentication cannot be used: %s; %s "
                "until it changes",
                error,
                kept,
            )
            return
        self._context, self.front_proxy = context, trusted
        if not first:
            log.info("certificate or front proxy changed: connections made before are closed")
            self._changed()

    def _handshake(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> int | None:
        self.refresh()
        if self._context is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self._context
        return None


def _context(pair: KeyPair) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # The only client is the API server, which has spoken 1.3 for years. It has no session without a full handshake
    # unless tickets are sent, and a resumed session would let in a certificate whose CA has been dropped.
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_REQUIRED
    # Python 3.13 asks for what the CAs of several distributions lack (an authority key identifier, key usage).
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    pair.load_into(context)
    return context
