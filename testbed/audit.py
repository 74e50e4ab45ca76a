"""The API server's audit log as values: who did what, and how it was answered."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class AuditEvent:
    """One completed request.

    Attributes:
        user: user name, such as `system:serviceaccount:kube-system:horizontal-pod-autoscaler`.
        user_agent: as the client sent it.
        verb: get, list, watch, create, update, patch, delete.
        group: API group, empty for core.
        resource: plural name.
        subresource: such as `scale` or `status`, else empty.
        namespace: empty for cluster-scoped objects.
        name: empty for collections.
        status: HTTP status code.
        received_at: when the API server got the request.
        completed_at: when it had answered.
        request: the body sent, where the policy keeps it.
        response: the body answered, where the policy keeps it.
    """

    user: str
    user_agent: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    status: int
    received_at: dt.datetime
    completed_at: dt.datetime
    request: dict[str, Any]
    response: dict[str, Any]

    @property
    def is_scale_write(self) -> bool:
        """Whether it wrote (or tried to write) a replica count through /scale."""
        return self.subresource == "scale" and self.verb in ("patch", "update")

    @property
    def requested_replicas(self) -> int:
        """The count that a write to /scale asked for; zero is left out of the JSON (omitempty)."""
        return int(self.request.get("spec", {}).get("replicas", 0))


def read(path: Path) -> Iterator[AuditEvent]:
    """Parse the log as it is now; a last line that is still being written is left for the next time."""
    if not path.exists():
        return
    with path.open() as lines:
        for line in lines:
            if not line.endswith("\n"):
                return
            event = parse(json.loads(line))
            if event is not None:
                yield event


def parse(raw: dict[str, Any]) -> AuditEvent | None:
    """One line of the log; None for stages other than the end (a watch logs its start too) and for plain URLs."""
    if raw.get("stage") != "ResponseComplete" or "objectRef" not in raw:
        return None
    target = raw["objectRef"]
    return AuditEvent(
        user=raw["user"]["username"],
        user_agent=raw.get("userAgent", ""),
        verb=raw["verb"],
        group=target.get("apiGroup", ""),
        resource=target.get("resource", ""),
        subresource=target.get("subresource", ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        status=raw.get("responseStatus", {}).get("code", 0),
        received_at=dt.datetime.fromisoformat(raw["requestReceivedTimestamp"]),
        completed_at=dt.datetime.fromisoformat(raw["stageTimestamp"]),
        request=_document(raw.get("requestObject")),
        response=_document(raw.get("responseObject")),
    )


def _document(value: object) -> dict[str, Any]:
    """A JSON patch is a list: kept under `items`, so that every body is a mapping."""
    if isinstance(value, list):
        return {"items": value}
    return value if isinstance(value, dict) else {}
