"""What the API server says of its front proxy."""

from __future__ import annotations

import pytest

from activator.web import front_proxy
from activator.web.front_proxy import FrontProxy

DATA = {"requestheader-client-ca-file": "PEM"}


def test_the_keys_of_the_configmap_are_read() -> None:
    """Lists are JSON inside strings."""
    read = front_proxy.parse(
        DATA
        | {
            "requestheader-allowed-names": '["front-proxy-client", "aggregator"]',
            "requestheader-username-headers": '["X-Remote-User", "X-User"]',
        }
    )
    assert read == FrontProxy("PEM", frozenset({"front-proxy-client", "aggregator"}), ("X-Remote-User", "X-User"))


def test_absent_lists_have_the_api_server_s_defaults() -> None:
    """No allowed names mean any; no username headers mean X-Remote-User."""
    read = front_proxy.parse(DATA)
    assert read.admits("anybody")
    assert read.admits(None)
    assert read.user({"X-Remote-User": "me"}) == "me"


@pytest.mark.parametrize(
    ("names", "admitted"), [(frozenset({"a", "b"}), True), (frozenset({"b"}), False), (frozenset(), True)]
)
def test_allowed_names(names: frozenset[str], *, admitted: bool) -> None:
    """A name must be on the list where there is one."""
    assert FrontProxy("PEM", names).admits("a") is admitted


def test_the_first_header_with_a_name_counts() -> None:
    """An empty header names nobody."""
    known = FrontProxy("PEM", username_headers=("X-One", "X-Two"))
    assert known.user({"X-One": "", "X-Two": "me"}) == "me"
    assert known.user({"X-Other": "me"}) is None


@pytest.mark.parametrize(
    ("data", "named"),
    [
        ({}, "requestheader-client-ca-file"),
        ({"requestheader-client-ca-file": " \n"}, "requestheader-client-ca-file"),
        (DATA | {"requestheader-allowed-names": "front-proxy-client"}, "requestheader-allowed-names"),
        (DATA | {"requestheader-allowed-names": "[1]"}, "requestheader-allowed-names"),
        (DATA | {"requestheader-username-headers": '{"a": 1}'}, "requestheader-username-headers"),
    ],
)
def test_what_cannot_be_used_is_named(data: dict[str, str], named: str) -> None:
    """A list that cannot be read must not become the empty list, which lets in anybody."""
    with pytest.raises(front_proxy.FrontProxyError, match=named):
        front_proxy.parse(data)
