"""KEDA's parameters of a Kafka trigger's authentication -> what a connection needs, or every mistake in them.

The same names are the keys of a Secret that an annotation names, the parameters of a TriggerAuthentication, and the
files of a mounted Secret (`reference`: KEDA, "Apache Kafka", authentication parameters). A message says which
parameter is wrong and what is allowed, and never what was written: it comes out of a Secret.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeVar

from activator.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


Choice = TypeVar("Choice")


class SaslMechanism(StrEnum):
    """How a user is proven, by Kafka's names."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"
    OAUTHBEARER = "OAUTHBEARER"


@dataclass(frozen=True, slots=True)
class KafkaCredentials:
    """How to prove who we are to a cluster, and how it proves itself; equal where nothing has to be reconnected.

    Nothing but whether there is TLS and SASL is shown by `repr`.
    """

    mechanism: SaslMechanism | None = None
    """None: no SASL."""
    username: str = field(default="", repr=False)
    """For OAUTHBEARER the client ID."""
    password: str = field(default="", repr=False)
    """For OAUTHBEARER the client secret."""
    token_endpoint: str = field(default="", repr=False)
    """OAUTHBEARER: URL that gives tokens for client credentials (RFC 6749, 4.4)."""
    scopes: tuple[str, ...] = field(default=(), repr=False)
    """OAUTHBEARER: none where empty."""
    extensions: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """OAUTHBEARER: SASL extensions (KIP-342), by name."""
    tls: bool = False
    ca: str = field(default="", repr=False)
    """PEM of the authorities to trust besides those of the system."""
    certificate: str = field(default="", repr=False)
    """PEM chain that we show; empty: none."""
    key: str = field(default="", repr=False)
    """PEM of its private key."""
    key_password: str = field(default="", repr=False)
    verify: bool = True
    """The broker's certificate is verified."""


PARAMETERS: Mapping[str, str] = {
    "sasl": "`none` (default), `plaintext`, `scram_sha256`, `scram_sha512` or `oauthbearer`.",
    "username": "Of every SASL mechanism; for `oauthbearer` the client ID.",
    "password": "Of every SASL mechanism; for `oauthbearer` the client secret.",
    "saslTokenProvider": "`bearer` (default).",
    "oauthTokenEndpointUri": "`oauthbearer`: http(s) URL that is asked for tokens by the client credentials grant.",
    "scopes": "`oauthbearer`: separated by commas or spaces. None are asked for where it is left out.",
    "oauthExtensions": "`oauthbearer`: SASL extensions, `name=value,name=value`.",
    "tls": "`enable` or `disable` (default). Must be said where `ca`, `cert` or `key` is given.",
    "ca": "PEM of the authorities to trust besides those of the system; it holds for the token endpoint too.",
    "cert": "PEM chain of the client certificate, its own first; needs `key`.",
    "key": "PEM of its private key: PKCS#1, PKCS#8 or SEC1; RSA, EC or Ed25519.",
    "keyPassword": "Of a key that is encrypted (PBES2, PBES1 or the legacy `Proc-Type: 4,ENCRYPTED`).",
    "unsafeSsl": "`true`: the broker's certificate is not verified. `false` (default).",
}
"""Every parameter that is understood, and what it means. Others in the same Secret are somebody else's."""

_MECHANISMS: Mapping[str, SaslMechanism | None] = {
    "none": None,
    "plaintext": SaslMechanism.PLAIN,
    "scram_sha256": SaslMechanism.SCRAM_SHA_256,
    "scram_sha512": SaslMechanism.SCRAM_SHA_512,
    "oauthbearer": SaslMechanism.OAUTHBEARER,
}
_OTHER_NAMES = {"plain": "plaintext", "oauth": "oauthbearer", "sasl/plain": "plaintext"}
"""What people write for a mechanism besides Kafka's own spelling of it."""
_REFUSED = {
    ("sasl", "gssapi"): "GSSAPI (Kerberos) is not supported",
    ("saslTokenProvider", "aws_msk_iam"): "tokens of AWS MSK IAM are not supported",
}
_SWITCHES = {"enable": True, "disable": False}
_BOOLEANS = {"true": True, "false": False}


def read_credentials(
    parameters: Mapping[str, str], place: Callable[[str], str]
) -> tuple[KafkaCredentials | None, tuple[SpecError, ...]]:
    """Read the parameters of one trigger's authentication.

    Args:
        parameters: by KEDA's names; white space around a value is no part of it, and an empty one is absent.
        place: where a parameter stands, for messages: ``Secret shop/kafka, key password``.

    Returns:
        The credentials and no mistakes, or None and every mistake there is.
    """
    given = {name: value.strip() for name, value in parameters.items() if value.strip()}
    reader = _Reader(given, place)
    credentials = reader.credentials()
    return (None if reader.problems else credentials), tuple(reader.problems)


class _Reader:
    """Reads parameter by parameter and keeps every mistake."""

    def __init__(self, given: Mapping[str, str], place: Callable[[str], str]) -> None:
        self._given = given
        self._place = place
        self.problems: list[SpecError] = []

    def credentials(self) -> KafkaCredentials:
        """Read all; what is wrong is in `problems`."""
        found = len(self.problems)
        mechanism = self._choice("sasl", _MECHANISMS, "none")
        self._choice("saslTokenProvider", {"bearer": "bearer"}, "bearer")
        misread = len(self.problems) > found
        if mechanism is None and "sasl" not in self._given and "password" in self._given:
            self._wrong("sasl", f"it is missing although password is given; allowed: {', '.join(_MECHANISMS)}")
        tls = self._choice("tls", _SWITCHES, "disable")
        self._check_tls(tls=bool(tls))
        bearer = mechanism is SaslMechanism.OAUTHBEARER and not misread
        return KafkaCredentials(
            mechanism=mechanism,
            username=self._required("username", mechanism) if mechanism and not misread else "",
            password=self._required("password", mechanism) if mechanism and not misread else "",
            token_endpoint=self._endpoint() if bearer else "",
            scopes=tuple(self._given.get("scopes", "").replace(",", " ").split()) if bearer else (),
            extensions=self._extensions() if bearer else (),
            tls=bool(tls),
            ca=self._given.get("ca", "") if tls else "",
            certificate=self._given.get("cert", "") if tls else "",
            key=self._given.get("key", "") if tls else "",
            key_password=self._given.get("keyPassword", "") if tls else "",
            verify=not (tls and self._choice("unsafeSsl", _BOOLEANS, "false")),
        )

    def _choice(self, name: str, choices: Mapping[str, Choice], default: str) -> Choice:
        value = self._given.get(name, default)
        if value in choices:
            return choices[value]
        if refusal := _REFUSED.get((name, value.lower())):
            self._wrong(name, f"{refusal}; allowed: {', '.join(choices)}")
        else:
            self._wrong(name, f"it has another value than is allowed: {', '.join(choices)}", _nearest(value, choices))
        return choices[default]

    def _required(self, name: str, mechanism: object) -> str:
        if value := self._given.get(name):
            return value
        others = [other for other in self._given if other not in PARAMETERS]
        near = difflib.get_close_matches(name, others, n=1)
        there = f" (there is {near[0]!r}, which is not read)" if near else ""
        self._wrong(name, f"it is missing or empty{there}; SASL {mechanism} needs a username and a password")
        return ""

    def _check_tls(self, *, tls: bool) -> None:
        shown = [name for name in ("ca", "cert", "key") if name in self._given]
        if shown and "tls" not in self._given:
            # Silently connecting in plain text would send the password past the CA that was meant to guard it.
            self._wrong("tls", f"it is missing although {' and '.join(shown)} are given; allowed: enable, disable")
        if tls and ("cert" in self._given) != ("key" in self._given):
            missing, there = ("key", "cert") if "cert" in self._given else ("cert", "key")
            self._wrong(missing, f"it is missing or empty, and {there} is given; a client certificate needs both")

    def _endpoint(self) -> str:
        value = self._given.get("oauthTokenEndpointUri", "")
        if not value.startswith(("http://", "https://")):
            what = "is no http:// or https:// URL" if value else "is missing or empty"
            self._wrong("oauthTokenEndpointUri", f"it {what}; OAUTHBEARER asks it for tokens")
        return value

    def _extensions(self) -> tuple[tuple[str, str], ...]:
        return tuple(sorted(self._pairs(self._given.get("oauthExtensions", ""))))

    def _pairs(self, text: str) -> Iterator[tuple[str, str]]:
        for entry in filter(None, map(str.strip, text.split(","))):
            name, separator, value = entry.partition("=")
            if not (separator and name.strip().isalpha()):  # RFC 7628, 3.1: a key is letters only
                self._wrong("oauthExtensions", "it is not of the form name=value,name=value with names of letters")
                return
            yield name.strip(), value.strip()

    def _wrong(self, name: str, what: str, near: str | None = None) -> None:
        self.problems.append(SpecError(self._place(name), None, what, near))


def _nearest(value: str, choices: Mapping[str, object]) -> str | None:
    """Return the choice that was meant, so that Kafka's own spelling (SCRAM-SHA-512) is led to KEDA's."""
    cleaned = value.lower().replace("-", "_").replace("sha_", "sha")
    near = difflib.get_close_matches(cleaned, choices, n=1, cutoff=0.8)
    return _OTHER_NAMES.get(cleaned) or (near[0] if near else None)
