"""Whom the API server says its aggregator is: the ``requestheader-*`` keys of one ConfigMap, and what they allow.

Source: ConfigMap ``kube-system/extension-apiserver-authentication``, Kubernetes' documentation "Configure the
Aggregation Layer". How the ConfigMap is read does not belong here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

_USERNAME_HEADERS = ("X-Remote-User",)


class RequestHeaderAuthority(Protocol):
    """Where the present content of the ConfigMap is had from."""

    def current(self) -> Mapping[str, str] | None:
        """Return the ConfigMap's ``data`` as last read, without leaving the process; None: not read yet."""


class FrontProxyError(ValueError):
    """The ConfigMap's content cannot be used."""


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """The certificate and the headers by which the aggregator is known."""

    client_ca_pem: str
    allowed_names: frozenset[str] = frozenset()
    """Common names that may act as the front proxy; empty: any that the CA has signed."""
    username_headers: tuple[str, ...] = _USERNAME_HEADERS

    def admits(self, common_name: str | None) -> bool:
        """Tell whether a certificate that the CA has signed may act as the front proxy."""
        return not self.allowed_names or common_name in self.allowed_names

    def user(self, headers: Mapping[str, str]) -> str | None:
        """Return the user for whom the aggregator asks; None: it named nobody."""
        return next((headers[name] for name in self.username_headers if headers.get(name)), None)


def parse(data: Mapping[str, str]) -> FrontProxy:
    """Read the ConfigMap's ``data``.

    Raises:
        FrontProxyError: a key is missing or is not what the API server writes there.
    """
    ca = data.get("requestheader-client-ca-file", "")
    if not ca.strip():
        raise FrontProxyError("requestheader-client-ca-file is missing: the API server runs without an aggregator")
    return FrontProxy(
        ca,
        frozenset(_names(data, "requestheader-allowed-names")),
        _names(data, "requestheader-username-headers") or _USERNAME_HEADERS,
    )


def _names(data: Mapping[str, str], key: str) -> tuple[str, ...]:
    text = data.get(key, "").strip() or "[]"
    try:
        names: Any = json.loads(text)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FrontProxyError(f"{key} is {text!r}; allowed: a JSON list of strings")
    return tuple(names)
