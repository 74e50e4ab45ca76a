"""A small synchronous client of the API server, for setting tests up and looking at what happened."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from functools import cache
from typing import TYPE_CHECKING, Any

from testbed.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from testbed.kubeconfig import Credentials

TIMEOUT_SECONDS = 15.0
FIELD_MANAGER = "testbed"
CONTENT_TYPES = {
    "POST": "application/json",
    "PUT": "application/json",
    "PATCH": "application/merge-patch+json",
    "DELETE": "application/json",
}

Object = dict[str, Any]


class ApiClient:
    """Requests as JSON in, JSON out.

    Every method raises `ApiError` when the server refuses, and `OSError` when it cannot be reached.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._tls = ssl.create_default_context(cadata=credentials.ca_pem)
        self._resource_path = cache(self._discover)

    def request(self, method: str, path: str, body: object = None, *, content_type: str | None = None) -> Object:
        """Send one request to a path such as `/apis/apps/v1/namespaces/default/deployments`.

        PATCH is a JSON merge patch unless `content_type` says otherwise. An answer that is not JSON comes back as
        `{"text": ...}`.
        """
        headers = {"Authorization": f"Bearer {self._credentials.token}", "Accept": "application/json"}
        data = None
        if body is not None:
            headers["Content-Type"] = content_type or CONTENT_TYPES[method]
            data = json.dumps(body).encode()
        url = self._credentials.server + path
        request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310 - our own server
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=self._tls) as answer:  # noqa: S310
                return _parse(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                status = _parse(error.read())
            reason = status.get("reason") or str(error.reason)
            raise ApiError(error.code, reason, status.get("message") or status.get("text", "")) from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, OSError):
                raise error.reason from None
            raise

    def get(self, path: str) -> Object:
        """GET a path."""
        return self.request("GET", path)

    def patch(self, path: str, body: object) -> Object:
        """PATCH a path with a JSON merge patch."""
        return self.request("PATCH", path, body)

    def delete(self, path: str) -> Object:
        """DELETE a path."""
        return self.request("DELETE", path)

    def apply(self, *objects: Mapping[str, Any]) -> list[Object]:
        """Apply objects server-side, in order, taking over conflicting fields."""
        return [self._apply(item) for item in objects]

    def _apply(self, item: Mapping[str, Any]) -> Object:
        query = urllib.parse.urlencode({"fieldManager": FIELD_MANAGER, "force": "true"})
        return self.request("PATCH", f"{self.path_of(item)}?{query}", item, content_type="application/apply-patch+yaml")

    def create_namespaces(self, names: Iterable[str]) -> None:
        """Make sure that namespaces exist."""
        for name in names:
            self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def path_of(self, item: Mapping[str, Any]) -> str:
        """The path of one object, by its apiVersion, kind, namespace (default `default`) and name."""
        prefix, plural, namespaced = self._resource_path(item["apiVersion"], item["kind"])
        metadata = item["metadata"]
        scope = f"/namespaces/{metadata.get('namespace', 'default')}" if namespaced else ""
        return f"{prefix}{scope}/{plural}/{metadata['name']}"

    def _discover(self, api_version: str, kind: str) -> tuple[str, str, bool]:
        prefix = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
        for resource in self.get(prefix)["resources"]:
            if resource["kind"] == kind and "/" not in resource["name"]:
                return prefix, resource["name"], resource["namespaced"]
        raise ApiError(404, "NotFound", f"{api_version} has no kind {kind}")


def _parse(content: bytes) -> Object:
    try:
        document = json.loads(content)
    except ValueError:
        return {"text": content.decode(errors="replace")}
    return document if isinstance(document, dict) else {"text": content.decode(errors="replace")}
