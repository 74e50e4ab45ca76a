"""Where objects live in the API."""

from __future__ import annotations

import pytest

from activator.kubernetes import paths


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (paths.collection("apps/v1", "deployments"), "/apis/apps/v1/deployments"),
        (paths.collection("apps/v1", "deployments", "shop"), "/apis/apps/v1/namespaces/shop/deployments"),
        (paths.member("v1", "events", "shop", "a"), "/api/v1/namespaces/shop/events/a"),
        (
            paths.member("apps/v1", "deployments", "shop", "orders", "scale"),
            "/apis/apps/v1/namespaces/shop/deployments/orders/scale",
        ),
        (paths.group("v1"), "/api/v1"),
        (paths.group("apps/v1"), "/apis/apps/v1"),
    ],
)
def test_paths(path: str, expected: str) -> None:
    """The core group is under /api, every other under /apis."""
    assert path == expected


def test_all_namespaces_are_one_collection() -> None:
    """Named ones are one each: a Role in each is enough to follow them."""
    assert paths.followed("apps/v1", "deployments", ()) == ("/apis/apps/v1/deployments",)
    assert paths.followed("apps/v1", "deployments", ("a", "b")) == (
        "/apis/apps/v1/namespaces/a/deployments",
        "/apis/apps/v1/namespaces/b/deployments",
    )
