"""Service names in URLs, resolved as a process starts: there is neither DNS nor kube-proxy here.

`http://NAME.NAMESPACE:PORT` in a variable or an argument becomes the address of one ready Pod behind that Service, and
stays so for the life of the process, also when that Pod has gone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from testbed.kubelet.address import pod_ip
from testbed.kubelet.client import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from testbed.kubelet.client import Client

_URL = re.compile(r"(?<=http://)([a-z0-9-]+)\.([a-z0-9-]+):(\d+)")


async def addresses(texts: Iterable[str], client: Client) -> dict[str, str]:
    """The Service names in some texts, with their ports -> host and port; those that lead nowhere are left out."""
    found: dict[str, str] = {}
    for match in {match[0]: match for text in texts for match in _URL.finditer(text)}.values():
        endpoint = await _endpoint(match[1], match[2], int(match[3]), client)
        if endpoint is not None:
            found[match[0]] = endpoint
    return found


def resolved(text: str, known: Mapping[str, str]) -> str:
    """Replace the Service names in a text."""
    return _URL.sub(lambda match: known.get(match[0], match[0]), text)


async def _endpoint(name: str, namespace: str, port: int, client: Client) -> str | None:
    try:
        service = await client.request("GET", f"/api/v1/namespaces/{namespace}/services/{name}")
    except RefusedError:
        return None
    selector = ",".join(f"{key}={value}" for key, value in (service["spec"].get("selector") or {}).items())
    targets = [item.get("targetPort", port) for item in service["spec"]["ports"] if item["port"] == port]
    if not selector or not targets:
        return None
    pods = await client.request("GET", f"/api/v1/namespaces/{namespace}/pods?labelSelector={quote(selector)}")
    # One that is being deleted is no endpoint any more, though it may be ready to its end.
    ready = (pod for pod in pods["items"] if _is_ready(pod) and not pod["metadata"].get("deletionTimestamp"))
    return next((f"{pod_ip(pod)}:{container_port(pod, targets[0])}" for pod in ready), None)


def container_port(pod: Mapping[str, Any], target: int | str) -> int:
    """A Service's target port as a number."""
    containers = pod["spec"]["containers"]
    named = {port.get("name"): port["containerPort"] for container in containers for port in container.get("ports", [])}
    return int(named.get(target, target))


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any((item["type"], item["status"]) == ("Ready", "True") for item in conditions)
