"""Tokens by client credentials: one for all connections, renewed ahead of its end, refusals in standard words."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from activator.errors import DeniedError, UnavailableError
from activator.kafka import oauth
from activator.kafka.oauth import ClientCredentialsToken
from activator.specs.credentials import KafkaCredentials, SaslMechanism

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass
class Endpoint:
    """A token endpoint that counts and does as it is told."""

    url: str = ""
    forms: list[dict[str, Any]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    status: int = 200
    answer: Any = field(default_factory=lambda: {"access_token": "token", "expires_in": 300})
    silent: bool = False

    async def give(self, request: web.Request) -> web.Response:
        """Answer POST /token."""
        self.forms.append(dict(await request.post()))
        self.authorizations.append(request.headers.get("Authorization", ""))
        if self.silent:
            await asyncio.Event().wait()
        if isinstance(self.answer, str):
            return web.Response(status=self.status, text=self.answer, headers={"Location": "/elsewhere"})
        return web.json_response(self.answer, status=self.status)


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    """Run a token endpoint."""
    made = Endpoint()
    app = web.Application()
    app.router.add_post("/token", made.give)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/token"
    yield made
    await runner.cleanup()


def provider(endpoint: Endpoint, **more: Any) -> ClientCredentialsToken:
    """A provider of tokens for one client."""
    credentials = KafkaCredentials(
        SaslMechanism.OAUTHBEARER, "wake gate", "c4n4ry", token_endpoint=endpoint.url, **more
    )
    return ClientCredentialsToken(credentials, ssl.create_default_context())


async def test_one_token_serves_all_connections(endpoint: Endpoint) -> None:
    """Client ID and secret by Basic authentication, the scopes in the form; connections that begin together share."""
    tokens = provider(endpoint, scopes=("kafka", "openid"), extensions=(("pool", "p"),))
    assert await asyncio.gather(*(tokens.token() for _ in range(5))) == ["token"] * 5
    assert endpoint.forms == [{"grant_type": "client_credentials", "scope": "kafka openid"}]
    assert endpoint.authorizations == ["Basic d2FrZStnYXRlOmM0bjRyeQ=="]
    assert tokens.extensions() == {"pool": "p"}
    assert "c4n4ry" not in repr(tokens)


async def test_no_scopes_are_asked_for_where_none_are_named(endpoint: Endpoint) -> None:
    """An empty scope is not the same as none: KEDA sends one and some endpoints refuse it."""
    await provider(endpoint).token()
    assert endpoint.forms == [{"grant_type": "client_credentials"}]


async def test_a_token_is_renewed_ahead_of_its_end(endpoint: Endpoint) -> None:
    """Past its share of life another is asked for; while the endpoint is away the old one still serves."""
    tokens = provider(endpoint)
    endpoint.answer = {"access_token": "short", "expires_in": 0.000001}
    assert await tokens.token() == "short"
    endpoint.answer = {"access_token": "long", "expires_in": "3600"}
    assert await tokens.token() == "long"
    clock = asyncio.get_running_loop().time()
    assert 0 < tokens.fresh_until() - clock <= 3600 * oauth.FRESH_SHARE
    assert len(endpoint.forms) == 2


async def test_the_old_token_serves_while_the_endpoint_is_away(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until its true end."""
    monkeypatch.setattr(oauth, "FRESH_SHARE", 0.0)
    tokens = provider(endpoint)
    assert await tokens.token() == "token"
    endpoint.status = 503
    assert await tokens.token() == "token"
    assert len(endpoint.forms) == 2
    assert await tokens.token() == "token"
    assert len(endpoint.forms) == 2, "an endpoint that is away is not asked at each connect"


@pytest.mark.parametrize(
    ("status", "answer", "error", "message"),
    [
        pytest.param(
            401, {"error": "invalid_client"}, DeniedError, "gives no token: HTTP 401, invalid_client", id="no"
        ),
        pytest.param(
            400, {"error": "bad c4n4ry"}, DeniedError, "HTTP 400, without one of the standard's reasons", id="free text"
        ),
        pytest.param(503, "c4n4ry", UnavailableError, ": HTTP 503", id="away"),
        pytest.param(302, "c4n4ry", UnavailableError, ": HTTP 302", id="led elsewhere"),
        pytest.param(200, "<html>", UnavailableError, "its answer holds no access_token", id="no JSON"),
        pytest.param(200, {"access_token": 7}, UnavailableError, "its answer holds no access_token", id="no token"),
        pytest.param(200, "x" * 300_000, UnavailableError, "its answer is larger than 262144 bytes", id="too much"),
    ],
)
async def test_refusals(endpoint: Endpoint, status: int, answer: Any, error: type[Exception], message: str) -> None:
    """Each is told with the endpoint and without anything that was sent or that it wrote freely."""
    endpoint.status, endpoint.answer = status, answer
    with pytest.raises(error) as caught:
        await provider(endpoint).token()
    assert str(caught.value).startswith(f"token endpoint {endpoint.url}")
    assert message in str(caught.value)
    assert "c4n4ry" not in str(caught.value)


async def test_a_silent_endpoint(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a deadline of its own."""
    monkeypatch.setattr(oauth, "TOKEN_SECONDS", 0.05)
    endpoint.silent = True
    with pytest.raises(UnavailableError, match=r"no answer within 0\.05 s"):
        await provider(endpoint).token()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://user:c4n4ry@127.0.0.1:1/token", "http://127.0.0.1:1/token"),
        ("http://user:c4n4ry@127.0.0.1:99999/token", "http://127.0.0.1:99999/token"),
        ("https://user:c4n4ry@[::1/token", "(not a URL)"),
    ],
)
async def test_a_password_in_the_url_is_not_shown(url: str, shown: str) -> None:
    """The endpoint is named, and nothing that lets somebody in."""
    credentials = KafkaCredentials(SaslMechanism.OAUTHBEARER, "gate", "secret", token_endpoint=url)
    tokens = ClientCredentialsToken(credentials, ssl.create_default_context())
    with pytest.raises(UnavailableError) as caught:
        await tokens.token()
    assert str(caught.value).startswith(f"token endpoint {shown}: ")
    assert "c4n4ry" not in f"{caught.value} {tokens!r}"
