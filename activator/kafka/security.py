"""Credentials as a value -> what aiokafka connects with: protocol, TLS context, SASL."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from activator.errors import SpecError
from activator.kafka.connection import SecurityOptions
from activator.kafka.oauth import ClientCredentialsToken
from activator.kafka.private_keys import show_certificate
from activator.specs.credentials import SaslMechanism

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.specs.credentials import KafkaCredentials


def security_options(credentials: KafkaCredentials, place: Callable[[str], str]) -> SecurityOptions:
    """Make connections' options out of credentials.

    Args:
        credentials: as they were read.
        place: where a parameter stands, for messages: ``Secret shop/kafka, key ca``.

    Raises:
        SpecError: a certificate or key cannot be used.
    """
    context, certificate = _tls(credentials, place) if credentials.tls else (None, "")
    if credentials.mechanism is None:
        return SecurityOptions("SSL" if context else "PLAINTEXT", context, client_certificate=certificate)
    bearer = credentials.mechanism is SaslMechanism.OAUTHBEARER
    return SecurityOptions(
        "SASL_SSL" if context else "SASL_PLAINTEXT",
        context,
        client_certificate=certificate,
        sasl_mechanism=credentials.mechanism.value,
        sasl_username=None if bearer else credentials.username,
        sasl_password=None if bearer else credentials.password,
        sasl_oauth_token_provider=ClientCredentialsToken(credentials, _trust(credentials, place)) if bearer else None,
    )


def _tls(credentials: KafkaCredentials, place: Callable[[str], str]) -> tuple[ssl.SSLContext, str]:
    context = _trust(credentials, place)
    if not credentials.certificate:
        return context, ""
    shown = show_certificate(context, credentials.certificate, credentials.key, credentials.key_password, place)
    until = f"{shown.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    return context, f"our client certificate in {place('cert')}, which is valid until {until}"


def _trust(credentials: KafkaCredentials, place: Callable[[str], str]) -> ssl.SSLContext:
    """Return a context that trusts the system's authorities and those that are given."""
    context = ssl.create_default_context()
    # Python 3.13 turns this on; the CAs of some clusters do not say what their keys are for and fail it.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if credentials.ca:
        try:
            # Bundles name their authorities in comments, in any language; what is not ASCII is a TypeError here.
            context.load_verify_locations(cadata=credentials.ca.encode("ascii", "replace").decode())
        except (ssl.SSLError, ValueError):
            raise SpecError(place("ca"), None, "it is no certificate in PEM") from None
    if not credentials.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
