"""Objects that are read by name: where they are, what is in them, and what is said where they may not be read."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from activator.errors import SpecError
from activator.kubernetes import paths
from activator.specs.authentication import CONFIG_MAP, FILE, SECRET, SERVICE_ACCOUNT, TOKEN_KEY

if TYPE_CHECKING:
    from activator.specs.authentication import Reference

READER_ROLE = "wakegate-secrets-reader"
FILE_PREFIX = "file:"
"""In front of a file's name, where of objects the path at the API server is."""
_PLURALS = {SECRET: "secrets", CONFIG_MAP: "configmaps", SERVICE_ACCOUNT: "serviceaccounts"}


def path_of(reference: Reference) -> str:
    """Return where an object is read; of a ServiceAccount, where its token is asked for."""
    if reference.kind == FILE:
        return FILE_PREFIX + reference.name
    subresource = "token" if reference.kind == SERVICE_ACCOUNT else ""
    return paths.member("v1", _PLURALS[reference.kind], reference.namespace, reference.name, subresource)


def data_of(answer: Any) -> dict[str, str] | None:
    """Decode what is in a Secret or ConfigMap; None: it does not exist."""
    if answer is None:
        return None
    if answer.get("kind") == "TokenRequest":
        return {TOKEN_KEY: str((answer.get("status") or {}).get("token", ""))}
    data = answer.get("data") or {}
    if answer.get("kind") in {CONFIG_MAP, FILE}:
        return dict(data)
    return {key: _decoded(value) for key, value in data.items()}


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value).decode(errors="replace")  # a key store beside the text is nobody's business
    except binascii.Error:
        return ""


def unreadable(what: str, namespace: str) -> SpecError:
    """Say which grant is missing in a namespace."""
    grant = f"bind ClusterRole {READER_ROLE} to wakegate's ServiceAccount by a RoleBinding in namespace {namespace}"
    return SpecError(what, None, f"it may not be read; {grant}")
