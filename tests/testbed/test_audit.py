"""The audit log as values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from testbed import audit

if TYPE_CHECKING:
    from pathlib import Path


def line(**changes: Any) -> dict[str, Any]:
    """A PATCH of a Deployment's scale, as kube-apiserver 1.37 logs it."""
    return {
        "stage": "ResponseComplete",
        "verb": "patch",
        "user": {"username": "system:serviceaccount:wakegate-system:wakegate"},
        "userAgent": "wakegate",
        "objectRef": {
            "resource": "deployments",
            "namespace": "team",
            "name": "orders",
            "apiGroup": "apps",
            "subresource": "scale",
        },
        "responseStatus": {"code": 200},
        "requestObject": {"spec": {"replicas": 2}},
        "requestReceivedTimestamp": "2026-01-01T10:00:00.000001Z",
        "stageTimestamp": "2026-01-01T10:00:00.250001Z",
        **changes,
    }


def test_scale_write() -> None:
    """A write to /scale tells who asked for how many and how it was answered."""
    event = audit.parse(line())
    assert event is not None
    assert event.is_scale_write
    assert (event.group, event.resource, event.namespace, event.name) == ("apps", "deployments", "team", "orders")
    assert (event.status, event.requested_replicas) == (200, 2)
    assert (event.completed_at - event.received_at).total_seconds() == 0.25
    assert event.received_at.utcoffset() is not None


def test_zero_replicas_are_left_out_of_the_json() -> None:
    """`replicas` is omitempty: an update to zero has an empty spec."""
    event = audit.parse(line(verb="update", requestObject={"spec": {}}))
    assert event is not None
    assert event.requested_replicas == 0


def test_only_completed_requests_for_objects_count() -> None:
    """The start of a watch and requests for plain URLs are no events."""
    assert audit.parse(line(stage="ResponseStarted")) is None
    without_object = line()
    del without_object["objectRef"]
    assert audit.parse(without_object) is None


def test_a_half_written_last_line_is_left_for_later(tmp_path: Path) -> None:
    """The log is read while it is being written."""
    log = tmp_path / "audit.log"
    assert list(audit.read(log)) == []
    whole = json.dumps(line())
    log.write_text(f"{whole}\n{whole[:40]}")
    assert len(list(audit.read(log))) == 1
