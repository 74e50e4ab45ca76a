"""Asking a dashboard from outside: what a replica remembers of its targets, as JSON."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import aiohttp

from activator.errors import NotFoundError, SettingsError, UnavailableError

if TYPE_CHECKING:
    from activator.core.model import TargetRef

DEADLINE_SECONDS = 5.0
_MOST_BYTES = 16 * 1024 * 1024


class DashboardClient:
    """Reads one dashboard. Raises SettingsError where its URL is none."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise SettingsError(f"the dashboard's URL is {url!r}; allowed: a URL such as http://127.0.0.1:8081")
        self.url = url.rstrip("/")

    async def overview(self, text: str = "") -> dict[str, Any]:
        """Read the overview, of the targets that a text is part of. Raises UnavailableError."""
        return await self._get(f"/api/targets?q={quote(text, safe='')}")

    async def target(self, ref: TargetRef) -> dict[str, Any]:
        """Read all that is remembered of one target. Raises NotFoundError, UnavailableError."""
        return await self._get("/api/targets/" + "/".join(quote(part, safe="") for part in _place(ref)))

    async def _get(self, path: str) -> dict[str, Any]:
        where = f"dashboard {self.url}"
        try:
            async with asyncio.timeout(DEADLINE_SECONDS), aiohttp.ClientSession() as session:  # noqa: SIM117
                async with session.get(self.url + path) as answer:
                    body, status = await _body(where, answer), answer.status
            if status == 404:  # noqa: PLR2004 - HTTP's Not Found
                raise NotFoundError(f"{where}: {body.decode(errors='replace').strip()}")
            if status == 403:  # noqa: PLR2004 - HTTP's Forbidden: it is asked for under a name that it does not know
                raise UnavailableError(where, body.decode(errors="replace").strip())
            found = json.loads(body)
        except TimeoutError as error:
            raise UnavailableError(where, f"no answer within {DEADLINE_SECONDS:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            cause = getattr(error, "os_error", error)  # aiohttp's own words go on about its TLS settings
            raise UnavailableError(where, str(cause) or type(error).__name__) from error
        if status >= 300 or not isinstance(found, dict):  # noqa: PLR2004 - HTTP's successes end there
            raise UnavailableError(where, f"answered {status}: this is no dashboard of wakegate")
        return found


async def _body(where: str, answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise UnavailableError(where, f"its answer is larger than {_MOST_BYTES} bytes, and was not read to its end")
    return bytes(body)


def _place(ref: TargetRef) -> tuple[str, str, str]:
    return ref.namespace, ref.kind, ref.name
