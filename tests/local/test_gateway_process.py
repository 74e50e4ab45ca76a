"""The gateway beside the demo: where it is, and what is said where it does not start."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import aiohttp
import pytest

from activator.errors import UnavailableError
from activator.local.gateway_process import gateway

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path


def started(folder: Path, bootstrap_servers: str) -> AbstractAsyncContextManager[str]:
    """A gateway on a free port that would write to this Kafka."""
    token_file = folder / "token"
    token_file.write_text("secret")
    return gateway(
        port=0,
        port_flag="--gateway-port",
        bootstrap_servers=bootstrap_servers,
        wake_url="http://127.0.0.1:1/wake",
        wake_token_file=token_file,
        environment=os.environ,
        say=lambda _: None,
    )


async def test_it_is_where_its_url_says(tmp_path: Path) -> None:
    """On a free port of our choice; it answers once the block begins, and nobody listens there after its end."""
    async with aiohttp.ClientSession() as session:
        async with started(tmp_path, "127.0.0.1:1") as url, session.options(f"{url}/topics/orders") as answer:
            assert answer.status == 200
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.options(f"{url}/topics/orders")


async def test_one_that_ends_at_once_is_told_in_its_own_words(tmp_path: Path) -> None:
    """Whoever has asked it something is not left to wait for thirty seconds."""
    with pytest.raises(UnavailableError, match="the gateway did not start: --bootstrap-servers is ','; allowed: "):
        async with started(tmp_path, ","):
            pytest.fail("it cannot have started")
