"""A Pod's credentials for the API server: a token of its service account, bound to the Pod.

A kubelet mounts the token where the in-cluster configuration looks for it. Here there are no mounts, so it comes as a
kubeconfig; account, groups and rights are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from testbed.kubeconfig import Credentials
from testbed.kubelet.client import RefusedError
from testbed.kubelet.container import CannotRunError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from testbed.kubelet.client import Client

TOKEN_SECONDS = 86_400


def wants_token(pod: Mapping[str, Any]) -> bool:
    """Whether a Pod asks for the token by name and by word: any other here is left without, for want of volumes."""
    spec = pod["spec"]
    return bool(spec.get("serviceAccountName")) and spec.get("automountServiceAccountToken") is True


async def write_kubeconfig(pod: Mapping[str, Any], client: Client, path: Path) -> Path:
    """Ask for a token of the Pod's service account and write it down. Raises CannotRunError."""
    metadata = pod["metadata"]
    account = pod["spec"]["serviceAccountName"]
    bound_to = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": TOKEN_SECONDS, "boundObjectRef": bound_to},
    }
    accounts = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts"
    try:
        answer = await client.request("POST", f"{accounts}/{account}/token", request)
    except RefusedError as error:
        raise CannotRunError(f"no token of service account {account}: {error}") from error
    ours = client.credentials
    return Credentials(ours.server, ours.ca_pem, answer["status"]["token"]).write(path)
