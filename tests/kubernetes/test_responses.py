"""What an API server's answer means."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from activator.errors import ConflictError, DeniedError, NotFoundError, UnavailableError, WakegateError
from activator.kubernetes import responses
from activator.kubernetes.responses import ExpiredError


@pytest.mark.parametrize("status", [200, 201, 202])
def test_success_is_no_error(status: int) -> None:
    """Whatever the body."""
    assert responses.error_of(status, {}, b"{}", "here") is None


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (
            404,
            b'{"kind":"Status","message":"deployments \\"x\\" not found"}',
            NotFoundError,
            'deployments "x" not found',
        ),
        (404, b"404 page not found\n", NotFoundError, "here: 404 404 page not found"),
        (409, b"", ConflictError, "here: 409 Conflict"),
        (401, b"[]", DeniedError, "here: 401 Unauthorized"),
        (500, b"<html>", UnavailableError, "here: 500 <html>"),
        (302, b"", UnavailableError, "here: 302 Found"),
        (599, b"", UnavailableError, "here: 599"),
    ],
)
def test_an_error_names_the_place_and_what_the_server_said(
    status: int, body: bytes, kind: type[WakegateError], text: str
) -> None:
    """A Status object's message, what else came, or at least what the number means."""
    error = responses.error_of(status, {}, body, "here")
    assert type(error) is kind
    assert text in str(error)


def test_a_body_without_end_is_cut() -> None:
    """A proxy's error page does not fill the log."""
    assert len(str(responses.error_of(502, {}, b"x" * 100_000, "here"))) < 1000


@pytest.mark.parametrize(
    ("headers", "body", "wait"),
    [
        pytest.param({"Retry-After": "3"}, {}, timedelta(seconds=3), id="the header"),
        pytest.param({}, {"details": {"retryAfterSeconds": 5}}, timedelta(seconds=5), id="the Status object"),
        pytest.param(
            {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, {}, None, id="a date, which no API server sends"
        ),
        pytest.param({}, {"details": None}, None, id="nothing"),
    ],
)
def test_how_long_the_server_asks_to_wait(
    headers: dict[str, str], body: dict[str, object], wait: timedelta | None
) -> None:
    """By header or by Status object."""
    error = responses.error_of(429, headers, json.dumps(body).encode(), "here")
    assert isinstance(error, UnavailableError)
    assert error.retry_after == wait


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"code": 410, "message": "too old"}, ExpiredError),
        ({"code": 500}, UnavailableError),
        ({"code": 200}, UnavailableError),
        ({}, UnavailableError),
    ],
)
def test_an_error_event_is_an_error_whatever_its_code(document: dict[str, object], kind: type[WakegateError]) -> None:
    """A watch that says ERROR is over."""
    assert type(responses.error_of_status(document, "here")) is kind
