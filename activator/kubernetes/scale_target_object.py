"""A target's state as a ScaleTarget document and back. Pure.

The schema is `manifests/crds/scaletarget.yaml`; a test keeps the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from activator.core.model import GroupOnTopic, Handover, KeptOffsets, Phase, TargetRef, TargetState
from activator.core.naming import scale_target_name

API_VERSION = "wakegate.dev/v1alpha1"
KIND = "ScaleTarget"
PLURAL = "scaletargets"

_Convert = Callable[[Any], Any]


def _as_is(value: Any) -> Any:
    return value


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


_PIN = "p"


def _offsets_text(kept: KeptOffsets) -> str:
    """Write offsets in the order of partitions: ``17,20,,5p`` has nothing for partition 2 and a pin on partition 3.

    A topic of 1,000 partitions takes some 10 kB like this, and an object may take 1.5 MB.
    """
    return ",".join(
        "" if offset is None else f"{offset}{_PIN if number in kept.pinned else ''}"
        for number, offset in enumerate(kept.offsets)
    )


def _kept_to_json(kept: Mapping[GroupOnTopic, KeptOffsets]) -> list[dict[str, str]]:
    return [
        {
            "bootstrapServers": place.bootstrap_servers,
            "topic": place.topic,
            "group": place.group,
            "offsets": _offsets_text(offsets),
        }
        | ({"topicId": offsets.topic_id} if offsets.topic_id else {})
        for place, offsets in sorted(kept.items(), key=lambda item: item[0])
    ]


def _kept_from_json(entries: list[dict[str, str]]) -> dict[GroupOnTopic, KeptOffsets]:
    kept = {}
    for entry in entries:
        written = entry["offsets"].split(",") if entry["offsets"] else []
        kept[GroupOnTopic(entry["bootstrapServers"], entry["topic"], entry["group"])] = KeptOffsets(
            tuple(int(text.removesuffix(_PIN)) if text else None for text in written),
            frozenset(number for number, text in enumerate(written) if text.endswith(_PIN)),
            entry.get("topicId"),
        )
    return kept


_FIELDS: tuple[tuple[str, str, _Convert, _Convert], ...] = (
    ("phase", "phase", str, Phase),
    ("replicas", "replicas", int, int),
    ("reason", "reason", str, str),
    ("message", "message", str, str),
    ("since", "since", _timestamp, _moment),
    ("takenOverAt", "taken_over_at", _timestamp, _moment),
    ("lag", "lag", int, int),
    ("lastActive", "last_active", _timestamp, _moment),
    ("originalReplicas", "original_replicas", int, int),
    ("asleepByUs", "asleep_by_us", _as_is, bool),
    ("handoff", "handoff", str, Handover),
    ("lastValid", "last_valid", dict, dict),
    ("problems", "problems", list, tuple),
    ("warnings", "warnings", list, tuple),
    ("offsets", "kept", _kept_to_json, _kept_from_json),
    ("episodeId", "episode_id", str, str),
    ("traceId", "trace_id", str, str),
)
"""Name in the status, field of TargetState, to JSON, from JSON.

What is None or empty is left out: an apply that empties a map makes it null, which the schema refuses (seen on 1.37).
"""


def body(ref: TargetRef, uid: str) -> dict[str, Any]:
    """Return the object without its status, owned by the workload so that it is deleted with it."""
    target = {"apiVersion": ref.api_version, "kind": ref.kind, "name": ref.name}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": scale_target_name(ref),
            "namespace": ref.namespace,
            "ownerReferences": [{**target, "uid": uid}],
        },
        "spec": {"targetRef": target},
    }


def with_status(ref: TargetRef, state: TargetState) -> dict[str, Any]:
    """Return what is applied to the status subresource: all of the state."""
    values = ((name, getattr(state, field), write) for name, field, write, _ in _FIELDS)
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": scale_target_name(ref), "namespace": ref.namespace},
        "status": {name: write(value) for name, value, write in values if value not in (None, {}, ())},
    }


def read(document: dict[str, Any]) -> tuple[TargetRef, str, TargetState] | None:
    """Return a ScaleTarget's target, its owner's uid and its state; None where it holds none (yet, or any more).

    An object that somebody edited, or that another version wrote, is worth no more than none: its target begins with
    a fresh cooldown.
    """
    metadata = document["metadata"]
    try:
        target = document["spec"]["targetRef"]
        ref = TargetRef(metadata["namespace"], target["kind"], target["name"], target["apiVersion"])
        status = document["status"]
        state = TargetState(**{field: convert(status[name]) for name, field, _, convert in _FIELDS if name in status})
    except (KeyError, TypeError, ValueError):
        return None
    owners = metadata.get("ownerReferences") or [{}]
    return ref, owners[0].get("uid", ""), state
