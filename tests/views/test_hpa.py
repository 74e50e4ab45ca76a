"""An HPA's metrics as they are told, by the type of each and of its target."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from activator.views import hpa

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)


def external(**target: Any) -> dict[str, Any]:
    """A metric of the lag."""
    return {"type": "External", "external": {"metric": {"name": "lag"}, "target": target}}


def resource(**target: Any) -> dict[str, Any]:
    """A metric of the CPU."""
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def container(**target: Any) -> dict[str, Any]:
    """A metric of one container's CPU."""
    return {
        "type": "ContainerResource",
        "containerResource": {"name": "cpu", "container": "app", "target": target},
    }


def document(metrics: list[dict[str, Any]], seen: list[dict[str, Any]]) -> dict[str, Any]:
    """An HPA with these metrics."""
    return {
        "metadata": {"name": "orders"},
        "spec": {"maxReplicas": 5, "metrics": metrics},
        "status": {"currentMetrics": seen},
    }


def current(kind: str, **numbers: Any) -> dict[str, Any]:
    """What the controller saw of one metric."""
    return {"type": kind, kind[0].lower() + kind[1:]: {"current": numbers}}


@pytest.mark.parametrize(
    ("wanted", "seen", "told"),
    [
        (
            external(type="AverageValue", averageValue="10"),
            current("External", value="0", averageValue="7"),
            "lag 7, 10 a replica",
        ),
        (external(type="Value", value="10"), current("External", value="7"), "lag 7, 10 in all"),
        (
            resource(type="Utilization", averageUtilization=60),
            current("Resource", averageUtilization=41, averageValue="205m"),
            "cpu 41%, 60% of the requests",
        ),
        (
            resource(type="AverageValue", averageValue="500m"),
            current("Resource", averageValue="205m"),
            "cpu 205m, 500m a replica",
        ),
        (
            container(type="Utilization", averageUtilization=60),
            current("ContainerResource", averageUtilization=0, averageValue="0"),
            "cpu 0%, 60% of the requests",
        ),
        (resource(type="Utilization", averageUtilization=60), {"type": ""}, "cpu unknown, 60% of the requests"),
        ({"type": "Novel", "novel": {"target": {"type": "Newer"}}}, {"type": "Novel"}, "Novel unknown, unknown"),
    ],
)
def test_each_metric_is_told_by_its_types(wanted: dict[str, Any], seen: dict[str, Any], told: str) -> None:
    """What is seen stands beside what is wanted, in the unit of the target; what is unknown is told as unknown."""
    assert list(hpa.lines(hpa.summary(document([wanted], [seen])), NOW))[1:] == [told]


def test_metrics_that_the_controller_has_not_looked_at_yet_are_unknown() -> None:
    """A new HPA has no status."""
    made = {**document([external(type="Value", value="10")], []), "status": {}}
    assert list(hpa.lines(hpa.summary(made), NOW)) == [
        "orders 1..5: wants none yet, sees none yet",
        "lag unknown, 10 in all",
    ]
