"""What the listener of the activator and that of the gateway both keep, each written for its own needs."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from activator.web.certificates import SelfSigned
from activator.web.listener import Listener as ActivatorListener
from gateway.listener import Listener as GatewayListener

if TYPE_CHECKING:
    from collections.abc import Callable

    AnyListener = ActivatorListener | GatewayListener

ADDRESS = ("127.0.0.1", 0)
ISSUED = datetime(2026, 1, 1, tzinfo=UTC)


async def not_found(_: web.BaseRequest) -> web.StreamResponse:
    """Answer that there is nothing."""
    return web.Response(status=404)


def activator_listener(serving: ssl.SSLContext) -> AnyListener:
    """Return the activator's."""
    return ActivatorListener(web.Application(), ADDRESS, ssl_context=serving)


def gateway_listener(serving: ssl.SSLContext) -> AnyListener:
    """Return the gateway's."""
    return GatewayListener(not_found, ADDRESS, ssl_context=serving)


@pytest.mark.parametrize("listener_of", [activator_listener, gateway_listener], ids=["activator", "gateway"])
async def test_a_connection_that_agrees_on_tls_after_the_close_is_closed_too(
    listener_of: Callable[[ssl.SSLContext], AnyListener], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was accepted before: nobody is left to answer on it, or to close it later."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    SelfSigned(["localhost"], ISSUED).current().load_into(serving)
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
    listener = listener_of(serving)
    accepted = asyncio.Event()
    loop = asyncio.get_running_loop()
    create_server = loop.create_server

    async def listen(make: Callable[[], asyncio.Protocol], *arguments: Any, **options: Any) -> asyncio.Server:
        def made() -> asyncio.Protocol:
            accepted.set()
            return make()

        return await create_server(made, *arguments, **options)

    monkeypatch.setattr(loop, "create_server", listen)
    await listener.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    await accepted.wait()
    await listener.close()
    async with asyncio.timeout(5):
        with suppress(ConnectionError):  # it was reset before we had agreed, or before we looked
            await writer.start_tls(asking)
            assert await reader.read() == b""
    writer.close()
