"""Which request leads where."""

from __future__ import annotations

import pytest

from gateway.routes import OpenRoute, Route, RouteTable

TABLE = RouteTable(
    [
        Route("orders", "/orders", "orders"),
        Route("shop-orders", "/orders", "shop-orders", host="shop.test"),
        Route("umlaut", "/käse", "cheese"),
        Route("closed", "/topics/closed", "elsewhere"),
    ],
    OpenRoute(allowed=("shop.*", "closed")),
)


@pytest.mark.parametrize(
    ("host", "path", "topic"),
    [
        (None, "/orders", "orders"),
        ("any.test", "/orders", "orders"),
        ("shop.test", "/orders", "shop-orders"),
        ("SHOP.test:8080", "/orders", "shop-orders"),
        ("shop.test.", "/orders", "shop-orders"),
        ("[::1]:8080", "/orders", "orders"),
        (None, "/orders/", None),
        (None, "/Orders", None),
        (None, "/k%C3%A4se", "cheese"),
        (None, "/topics/shop.orders", "shop.orders"),
        (None, "/topics/shop%2Eorders", "shop.orders"),
        (None, "/topics/closed", "elsewhere"),
        (None, "/topics/other", None),
        (None, "/topics/", None),
        (None, "/topics/shop.a/b", None),
        (None, "/", None),
    ],
)
def test_find(host: str | None, path: str, topic: str | None) -> None:
    """The nearest route wins: one with the host before one for any, one of the file before the open one."""
    found = TABLE.find(host, path)
    assert (None if found is None else found.topic) == topic


@pytest.mark.parametrize(
    ("allowed", "topic", "allows"),
    [
        (("*",), "orders", True),
        (("*",), "__consumer_offsets", False),
        (("__*",), "__consumer_offsets", True),
        (("a", "b*"), "bc", True),
        (("a", "b*"), "c", False),
        (("*",), "..", False),
        (("*",), "a b", False),
        (("*",), "a" * 250, False),
        (("*",), "", False),
        ((), "orders", False),
    ],
)
def test_open_route(allowed: tuple[str, ...], topic: str, allows: bool) -> None:  # noqa: FBT001 - a column
    """Patterns say which topics are open; Kafka's own have to be named."""
    assert OpenRoute(allowed).allows(topic) is allows


def test_no_open_route() -> None:
    """Without an open route topics are reached by the routes alone."""
    assert RouteTable([Route("orders", "/orders", "orders")]).find(None, "/topics/orders") is None
