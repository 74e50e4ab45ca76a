"""Tokens for SASL OAUTHBEARER by the client credentials grant (RFC 6749, 4.4), kept until shortly before their end.

Broker and token endpoint are trusted alike: the CA that is given holds for both.
"""

from __future__ import annotations

import asyncio
import base64
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote_plus, urlsplit, urlunsplit

import aiohttp
from aiokafka.abc import AbstractTokenProvider

from activator.errors import DeniedError, UnavailableError

if TYPE_CHECKING:
    import ssl

    from activator.specs.credentials import KafkaCredentials

TOKEN_SECONDS = 5.0
"""How long a token endpoint may take."""
DEFAULT_LIFE_SECONDS = 300.0
"""Of a token whose endpoint does not say (RFC 6749 recommends `expires_in`, and asks for none)."""
FRESH_SHARE = 0.8
"""A token is used for this share of its life; the rest is for clocks that differ and an endpoint that is away."""
AGAIN_SECONDS = 15.0
"""When an endpoint that did not answer is asked again, while the old token is still good."""
LEAST_SECONDS = 5.0
"""No connection is made anew sooner than this, however short tokens live."""
_LARGEST_ANSWER = 256 * 1024
_REFUSED = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_CODES = {
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
}
"""RFC 6749, 5.2."""


class _Token(NamedTuple):
    text: str
    fresh_until: float
    """By the event loop's clock."""
    expires_at: float


class ClientCredentialsToken(AbstractTokenProvider):
    """aiokafka's token provider for one set of credentials.

    Args:
        credentials: client ID and secret, endpoint, scopes, extensions.
        context: what an https endpoint is verified by.
    """

    def __init__(self, credentials: KafkaCredentials, context: ssl.SSLContext) -> None:
        self._credentials = credentials
        self._context = context
        self._token: _Token | None = None
        self._fetching = asyncio.Lock()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_without_user(self._credentials.token_endpoint)})"

    async def token(self) -> str:
        """Return a token that is good for a while. Raises DeniedError, UnavailableError."""
        async with self._fetching:  # connections to many brokers begin together: one token serves them all
            clock = asyncio.get_running_loop().time
            if self._token is None or clock() >= self._token.fresh_until:
                try:
                    self._token = await self._fetch()
                except UnavailableError:
                    if self._token is None or clock() >= self._token.expires_at:
                        raise
                    # Until then the old one still opens the door; the endpoint is asked again in a while.
                    again = min(clock() + AGAIN_SECONDS, self._token.expires_at)
                    self._token = self._token._replace(fresh_until=again)
            return self._token.text

    def extensions(self) -> dict[str, str]:
        """Return the SASL extensions (KIP-342)."""
        return dict(self._credentials.extensions)

    def fresh_until(self) -> float:
        """Return until when a connection may go on with the token it was made with, by the event loop's clock.

        A broker with `connections.max.reauth.ms` hangs up at the token's end; a new connection is made before.
        """
        least = asyncio.get_running_loop().time() + LEAST_SECONDS
        return least if self._token is None else max(self._token.fresh_until, least)

    async def _fetch(self) -> _Token:
        where = f"token endpoint {_without_user(self._credentials.token_endpoint)}"
        form = {"grant_type": "client_credentials"}
        if self._credentials.scopes:
            form["scope"] = " ".join(self._credentials.scopes)
        asked_at = asyncio.get_running_loop().time()
        try:
            async with (
                asyncio.timeout(TOKEN_SECONDS),
                aiohttp.ClientSession() as session,
                session.post(
                    self._credentials.token_endpoint,
                    data=form,
                    ssl=self._context,
                    headers={"Accept": "application/json", "Authorization": self._basic()},
                    allow_redirects=False,  # the secret goes to the endpoint that is named, and to no other
                ) as response,
            ):
                body = await _read(response)
                status = response.status
        except TimeoutError as error:
            raise UnavailableError(where, f"no answer within {TOKEN_SECONDS:g} s") from error
        except aiohttp.InvalidURL as error:  # its text is the URL
            raise UnavailableError(where, "it is no URL that can be asked") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise UnavailableError(where, str(error) or type(error).__name__) from error
        answer = _object(body)
        if status in _REFUSED:
            raise DeniedError(f"{where} gives no token: HTTP {status}, {_code(answer)}")
        text = answer.get("access_token")
        if status != HTTPStatus.OK:
            raise UnavailableError(where, f"HTTP {status}")
        if not isinstance(text, str) or not text:
            raise UnavailableError(where, "its answer holds no access_token")
        life = _life(answer)
        return _Token(text, asked_at + life * FRESH_SHARE, asked_at + life)

    def _basic(self) -> str:
        # RFC 6749, 2.3.1: both are encoded as in a form before they are joined.
        joined = f"{quote_plus(self._credentials.username)}:{quote_plus(self._credentials.password)}"
        return f"Basic {base64.b64encode(joined.encode()).decode()}"


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Read an answer. Raises ValueError: it is larger than any token."""
    body = b""
    async for chunk in response.content.iter_chunked(_LARGEST_ANSWER):
        body += chunk
        if len(body) > _LARGEST_ANSWER:
            raise ValueError(f"its answer is larger than {_LARGEST_ANSWER} bytes")
    return body


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _without_user(endpoint: str) -> str:
    """Return a URL without the name and password that may stand in it: it is shown in errors."""
    try:
        parts = urlsplit(endpoint)
    except ValueError:
        return "(not a URL)"
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _code(answer: dict[str, Any]) -> str:
    """Return the endpoint's reason where it is one of the standard's: a free text might quote what was sent."""
    code = answer.get("error")
    return str(code) if code in _CODES else "without one of the standard's reasons"


def _life(answer: dict[str, Any]) -> float:
    try:
        life = float(answer.get("expires_in", DEFAULT_LIFE_SECONDS))
    except (TypeError, ValueError):
        return DEFAULT_LIFE_SECONDS
    return life if life > 0 else DEFAULT_LIFE_SECONDS
