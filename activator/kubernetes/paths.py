"""Where objects live in the API: URL paths, pure.

Source: Kubernetes API concepts ("API terminology"): group "" is under /api, every other under /apis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def collection(api_version: str, plural: str, namespace: str = "") -> str:
    """Path of a collection: of one namespace, or of all where none is given."""
    where = f"/namespaces/{namespace}" if namespace else ""
    return f"{group(api_version)}{where}/{plural}"


def member(api_version: str, plural: str, namespace: str, name: str, subresource: str = "") -> str:
    """Path of one object, or of a subresource of it."""
    below = f"/{subresource}" if subresource else ""
    return f"{collection(api_version, plural, namespace)}/{name}{below}"


def group(api_version: str) -> str:
    """Path of a group and version, where discovery lists its resources."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def followed(api_version: str, plural: str, namespaces: Sequence[str]) -> tuple[str, ...]:
    """Paths of the collections to follow: one for each namespace, or a single one for all of them."""
    return tuple(collection(api_version, plural, namespace) for namespace in namespaces or ("",))
