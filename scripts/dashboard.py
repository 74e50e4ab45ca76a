"""The Grafana dashboard as a table of panels: what it asks, in which unit, and how wide it is.

Kept as a table, because what Grafana saves is mostly defaults. `scripts.generate_chart` writes it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

UID = "wakegate"
_COLUMNS = 24
_HEIGHT = 8
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_RATE = "$__rate_interval"


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: what it answers.
        queries: legend -> PromQL; a legend may name labels in double braces.
        unit: Grafana's name of it.
        kind: Grafana's name of the visualisation.
        width: of 24 columns.
        text: shown behind the small i.
    """

    title: str
    queries: dict[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    text: str = ""


def _quantile(share: float, metric: str, by: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket[{_RATE}])))"


ROWS: dict[str, tuple[Panel, ...]] = {
    "Now": (
        Panel("Asleep", {"asleep": 'max(wakegate_targets{phase="Asleep"})'}, kind="stat", width=4),
        Panel("Awake", {"awake": 'max(wakegate_targets{phase="Awake"})'}, kind="stat", width=4),
        Panel(
            "Woken, and nothing ready",
            {"no replica ready": 'max(wakegate_targets_by_reason{reason="no-replica-ready"}) or vector(0)'},
            kind="stat",
            width=4,
            text="Workloads that were woken five minutes ago and have no ready replica yet.",
        ),
        Panel(
            "Not readable",
            {"not readable": "count(min by (topic, group) (wakegate_target_readable) == 0) or vector(0)"},
            kind="stat",
            width=4,
            text="Groups on topics whose lag cannot be read: their workloads hold.",
        ),
        Panel(
            "Time saved, last 24 h",
            {"asleep": '24 * avg_over_time(max(wakegate_targets{phase="Asleep"})[24h:5m])'},
            unit="h",
            kind="stat",
            width=4,
            text="Hours that workloads were asleep, added up: each would have kept at least one replica.",
        ),
        Panel("Replicas of wakegate", {"running": "count(wakegate_build_info)"}, kind="stat", width=4),
    ),
    "Wakes": (
        Panel(
            "Wake latency",
            {
                "p50": _quantile(0.5, "wakegate_wake_latency_seconds"),
                "p95": _quantile(0.95, "wakegate_wake_latency_seconds"),
            },
            unit="s",
            text="From the record being seen to the API server's answer.",
        ),
        Panel("Wakes by who saw the record", {"{{source}}": f"sum by (source) (rate(wakegate_wakes_total[{_RATE}]))"}),
        Panel(
            "From the wake to the first commit, p95",
            {
                "{{stretch}}": _quantile(0.95, "wakegate_episode_duration_seconds", "stretch").replace(
                    "_bucket[", '_bucket{episode="wake"}['
                )
            },
            unit="s",
            text="By stretch: a replica ready, handed to the HPA, the first commit.",
        ),
    ),
    "Decisions": (
        Panel(
            "Decisions by outcome and reason",
            {"{{outcome}}: {{reason}}": f"sum by (outcome, reason) (rate(wakegate_evaluations_total[{_RATE}]))"},
            width=12,
        ),
        Panel("Workloads by phase", {"{{phase}}": "max by (phase) (wakegate_targets)"}, width=6),
        Panel(
            "Looks later than due, p95",
            {"late": _quantile(0.95, "wakegate_look_lateness_seconds")},
            unit="s",
            width=6,
        ),
    ),
    "Workloads": (
        Panel("Lag", {"{{topic}} {{group}}": "topk(20, max by (topic, group) (wakegate_target_lag))"}, width=8),
        Panel(
            "Replicas",
            {"{{namespace}}/{{name}}": "topk(20, max by (namespace, kind, name) (wakegate_target_replicas))"},
            width=8,
        ),
        Panel(
            "Replicas that are not ready",
            {
                "{{namespace}}/{{name}}": (
                    "max by (namespace, kind, name) (wakegate_target_replicas) "
                    "- max by (namespace, kind, name) (wakegate_target_ready_replicas) > 0"
                )
            },
            width=8,
        ),
    ),
    "What it depends on": (
        Panel(
            "Reading lag, p95",
            {"{{cluster}}": _quantile(0.95, "wakegate_lag_read_duration_seconds", "cluster")},
            unit="s",
        ),
        Panel(
            "PATCH of /scale, p95", {"{{outcome}}": _quantile(0.95, "wakegate_apply_duration_seconds", "outcome")}, "s"
        ),
        Panel(
            "Questions of the HPA",
            {"{{result}}": f"sum by (result) (rate(wakegate_external_metric_requests_total[{_RATE}]))"},
        ),
    ),
    "Gateway": (
        Panel(
            "Events",
            {"{{route}} {{outcome}}": f"sum by (route, outcome) (rate(wakegate_gateway_events_total[{_RATE}]))"},
        ),
        Panel(
            "Time to Kafka's word",
            {
                "p50": _quantile(0.5, "wakegate_gateway_produce_seconds"),
                "p95": _quantile(0.95, "wakegate_gateway_produce_seconds"),
            },
            unit="s",
        ),
        Panel("Answers", {"{{status}}": f"sum by (status) (rate(wakegate_gateway_requests_total[{_RATE}]))"}),
        Panel("Under way", {"{{route}}": "sum by (route) (wakegate_gateway_in_flight_events)"}, width=12),
        Panel("Kafka answers", {"kafka": "min(wakegate_gateway_kafka_up)"}, kind="stat", width=12),
    ),
}
"""Title of a row -> its panels."""


def queries() -> tuple[str, ...]:
    """Return every query, with the duration that Grafana would put in."""
    return tuple(
        query.replace(_RATE, "5m") for panels in ROWS.values() for panel in panels for query in panel.queries.values()
    )


def dashboard() -> str:
    """Return the dashboard as Grafana imports it."""
    document = {
        "uid": UID,
        "title": "wakegate",
        "tags": ["kafka", "autoscaling"],
        "timezone": "browser",
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}]
        },
        "panels": _panels(),
    }
    return json.dumps(document, indent=2) + "\n"


def _panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    top = 0
    for title, panels in ROWS.items():
        place = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
        found.append({"id": len(found) + 1, "type": "row", "title": title, "collapsed": False, "gridPos": place})
        top, left = top + 1, 0
        for panel in panels:
            if left + panel.width > _COLUMNS:
                top, left = top + _HEIGHT, 0
            place = {"x": left, "y": top, "w": panel.width, "h": _HEIGHT}
            found.append(_panel(panel, len(found) + 1, place))
            left += panel.width
        top += _HEIGHT
    return found


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
        for index, (legend, query) in enumerate(panel.queries.items())
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }
