"""How a request is refused: problem details of RFC 9457, with a code that a program can tell apart."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from activator.errors import WakegateError

if TYPE_CHECKING:
    from collections.abc import Mapping

PROBLEM_TYPE = "application/problem+json"
_LATER = {HTTPStatus.TOO_MANY_REQUESTS: "1", HTTPStatus.SERVICE_UNAVAILABLE: "2"}
"""Retry-After in seconds: at a limit room comes back at once, Kafka takes a moment longer."""


class ProblemError(WakegateError):
    """A request that is refused.

    Args:
        status: the HTTP status.
        code: what is wrong, in a word that stays the same: also the reason in the rejection metric.
        detail: what is wrong, what is allowed and what happens next.
        headers: for the answer.
        members: more members of the problem, such as the attribute at fault.
    """

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.status = HTTPStatus(status)
        self.code = code
        self.detail = detail
        self.headers = headers or {}
        self.members = members

    def body(self) -> dict[str, Any]:
        """Return the problem as it is written."""
        return {
            "title": self.status.phrase,
            "status": self.status.value,
            "code": self.code,
            "detail": self.detail,
            **self.members,
        }

    def response(self) -> web.Response:
        """Return the answer; 429 and 503 say when to try again."""
        headers = {"Content-Type": PROBLEM_TYPE, **self.headers}
        if self.status in _LATER:
            headers["Retry-After"] = _LATER[self.status]
        return web.Response(status=self.status, body=json.dumps(self.body()).encode(), headers=headers)
