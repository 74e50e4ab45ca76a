"""What a stage looks like, in words: a case that fails far away must be understood from its output alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from activator.core.naming import ANNOTATION_PREFIX
from testbed.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from testbed.stage import Stage

LOG_LINES = 80
LEDGER_LINES = 20
POD_LINES = 15
EVENTS = 40


def report(stage: Stage) -> str:
    """Workloads, ScaleTargets, HPAs, Events, and the ends of all logs and ledgers; what cannot be had is named."""
    return "\n".join(line for part in PARTS for line in _lines(part, stage))


def _lines(part: Callable[[Stage], Iterator[str]], stage: Stage) -> list[str]:
    try:
        return list(part(stage))
    except (ApiError, OSError) as error:  # the case may have failed because the API server is gone
        return [f"{part.__name__.strip('_')}: {error}"]


def _workloads(stage: Stage) -> Iterator[str]:
    for item in stage.api.get(f"/apis/apps/v1/namespaces/{stage.namespace}/deployments")["items"]:
        annotations = item["metadata"].get("annotations", {})
        yield f"Deployment {item['metadata']['name']}: replicas {item['spec'].get('replicas')}"
        yield _indented({"status": {key: item["status"].get(key, 0) for key in ("replicas", "readyReplicas")}})
        yield _indented({key: value for key, value in annotations.items() if key.startswith(ANNOTATION_PREFIX)})


def _scale_targets(stage: Stage) -> Iterator[str]:
    path = f"/apis/wakegate.dev/v1alpha1/namespaces/{stage.namespace}/scaletargets"
    for item in stage.api.get(path)["items"]:
        yield f"ScaleTarget {item['metadata']['name']}:"
        yield _indented(item.get("status", {}))


def _hpas(stage: Stage) -> Iterator[str]:
    for item in stage.hpas():
        yield f"HPA {item['metadata']['name']}:"
        yield _indented(item.get("status", {}))


def _events(stage: Stage) -> Iterator[str]:
    items = stage.api.get(f"/api/v1/namespaces/{stage.namespace}/events")["items"]
    for item in sorted(items, key=_last_seen)[-EVENTS:]:
        yield f"Event {_last_seen(item)} {item['reason']} {item['involvedObject'].get('name')}: {item['message']}"


def _last_seen(event: dict[str, Any]) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _logs(stage: Stage) -> Iterator[str]:
    for wakegate in stage.wakegates:
        yield from _end_of(wakegate.process.log, LOG_LINES)


def _ledgers(stage: Stage) -> Iterator[str]:
    for path in sorted(stage.bed.run_directory.glob(f"{stage.namespace}-*.ledger")):
        yield from _end_of(path, LEDGER_LINES)


def _pods(stage: Stage) -> Iterator[str]:
    for path in sorted((stage.bed.run_directory / "kubelet" / "pods").glob(f"{stage.namespace}_*.log")):
        yield from _end_of(path, POD_LINES)


def _end_of(path: Path, lines: int) -> Iterator[str]:
    yield f"the end of {path.name}:"
    yield from ("  " + line for line in path.read_text(errors="replace").splitlines()[-lines:])


def _indented(value: object) -> str:
    return "\n".join("  " + line for line in yaml.safe_dump(value, sort_keys=False, width=200).splitlines())


PARTS = (_workloads, _scale_targets, _hpas, _events, _logs, _ledgers, _pods)
