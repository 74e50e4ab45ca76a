"""Names of Services in URLs become the address of a ready Pod."""

from __future__ import annotations

from typing import Any, cast

from testbed.kubelet.address import pod_ip
from testbed.kubelet.client import Client, RefusedError
from testbed.kubelet.services import addresses, resolved


def pod(uid: str, *, ready: bool, **metadata: str) -> dict[str, Any]:
    """A Pod with a named port."""
    return {
        "metadata": {"uid": uid, **metadata},
        "spec": {"containers": [{"ports": [{"name": "http", "containerPort": 18080}]}]},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


class FakeApi:
    """One Service `wakegate` in `here`, with three Pods behind it."""

    async def request(self, _method: str, path: str) -> dict[str, Any]:
        """Answer a GET."""
        match path:
            case "/api/v1/namespaces/here/services/wakegate":
                return {"spec": {"selector": {"app": "w"}, "ports": [{"port": 8080, "targetPort": "http"}]}}
            case "/api/v1/namespaces/here/pods?labelSelector=app%3Dw":
                ending = pod("z", ready=True, deletionTimestamp="2026-01-01T00:00:00Z")
                return {"items": [ending, pod("a", ready=False), pod("b", ready=True)]}
        raise RefusedError(404, path)


async def test_a_service_leads_to_its_ready_pod() -> None:
    """By name, namespace and port, to the target port; what is no Service of that port stays as it is.

    A Pod that is being deleted is passed over.
    """
    texts = ["http://wakegate.here:8080/wake", "http://wakegate.here:9/", "http://other.here:80/", "kafka.here:9092"]
    known = await addresses(texts, cast("Client", FakeApi()))
    to = f"http://{pod_ip(pod('b', ready=True))}:18080/wake"
    assert [resolved(text, known) for text in texts] == [to, *texts[1:]]
