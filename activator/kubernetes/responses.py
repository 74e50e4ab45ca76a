"""What an API server's answer means in the house's own words: status and headers to errors, pure.

Sources: Kubernetes API conventions ("HTTP status codes", Status objects), RFC 9110 section 10.2.3 (Retry-After).
"""

from __future__ import annotations

import json
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from activator.errors import (
    ConflictError,
    DeniedError,
    InvalidError,
    NotFoundError,
    UnavailableError,
    WakegateError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST_REFUSALS = 3
"""So many refusals of what has never been seen, and the right is missing: an API server that starts has not read its
roles yet, and refuses one or two."""
_LONGEST_MESSAGE = 500


class ExpiredError(WakegateError):
    """The resourceVersion or continue token is too old (HTTP 410): list again."""


_ERRORS: Mapping[int, type[WakegateError]] = {
    HTTPStatus.BAD_REQUEST: InvalidError,
    HTTPStatus.UNAUTHORIZED: DeniedError,
    HTTPStatus.FORBIDDEN: DeniedError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.METHOD_NOT_ALLOWED: InvalidError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.GONE: ExpiredError,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: InvalidError,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: InvalidError,
    HTTPStatus.UNPROCESSABLE_ENTITY: InvalidError,
}
"""Every other status from 300 on is the server's trouble, and may pass: `UnavailableError`."""


def error_of(status: int, headers: Mapping[str, str], body: bytes, where: str) -> WakegateError | None:
    """Translate one answer; None: it is a success."""
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    what = f"{status} {message_of(body) or HTTPStatus(status).phrase if status in set(HTTPStatus) else ''}".strip()
    kind = _ERRORS.get(status)
    if kind is None:
        # A 500 or 504 may come of a write that etcd has made: the server gave up waiting for it.
        maybe_done = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return UnavailableError(where, what, retry_after=retry_after(headers, body), maybe_done=maybe_done)
    return kind(f"{where}: {what}")


def error_of_status(document: Mapping[str, Any], where: str) -> WakegateError:
    """Translate a Status object that came as a watch event of type ERROR."""
    status = document.get("code")
    code = status if isinstance(status, int) else HTTPStatus.INTERNAL_SERVER_ERROR
    found = error_of(code, {}, json.dumps(document).encode(), where)
    return found or UnavailableError(where, f"an error event with code {status}")


def message_of(body: bytes) -> str:
    """Return the message of a Status object, or the beginning of whatever came instead of one."""
    try:
        document = json.loads(body)
    except ValueError:
        return body[:_LONGEST_MESSAGE].decode("utf-8", "replace").strip()
    message = document.get("message", "") if isinstance(document, dict) else ""
    return str(message)[:_LONGEST_MESSAGE]


def retry_after(headers: Mapping[str, str], body: bytes = b"") -> timedelta | None:
    """Return how long the server asks to wait: the header in seconds, else the Status object's retryAfterSeconds."""
    header = headers.get("Retry-After", "")
    if header.isdecimal():
        return timedelta(seconds=int(header))
    try:
        seconds = json.loads(body)["details"]["retryAfterSeconds"]
    except (ValueError, KeyError, TypeError):
        return None
    return timedelta(seconds=seconds) if isinstance(seconds, int) else None
