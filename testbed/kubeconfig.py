"""A kubeconfig with one cluster and one token: written for clients, read back by ours."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Credentials:
    """Where an API server is, whom to trust and who we are."""

    server: str
    ca_pem: str
    token: str

    def __repr__(self) -> str:
        """Leave the token out."""
        return f"Credentials(server={self.server!r})"

    def write(self, path: Path) -> Path:
        """Write it as a kubeconfig that kubectl and every client library read."""
        name = "testbed"
        cluster = {
            "server": self.server,
            "certificate-authority-data": base64.b64encode(self.ca_pem.encode()).decode(),
        }
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": name, "user": {"token": self.token}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(document))
        return path


def read(path: Path) -> Credentials:
    """Read back what `Credentials.write` wrote."""
    document = yaml.safe_load(path.read_text())
    cluster = document["clusters"][0]["cluster"]
    return Credentials(
        server=cluster["server"],
        ca_pem=base64.b64decode(cluster["certificate-authority-data"]).decode(),
        token=document["users"][0]["user"]["token"],
    )
