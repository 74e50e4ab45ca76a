"""The HPA of a target, to the letter."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.model import (
    Behavior,
    Cluster,
    Policy,
    ScalingPolicy,
    ScalingRules,
    SelectPolicy,
    TargetRef,
    Trigger,
)
from activator.kubernetes.hpa_object import build, quantity, says

ORDERS = TargetRef("shop", "StatefulSet", "Orders")
KAFKA = Cluster("kafka:9092")


def test_the_whole_document() -> None:
    """Two topics, the user's behavior up, Kubernetes' defaults down: both are written out."""
    up = ScalingRules(
        stabilization=timedelta(seconds=30),
        policies=(ScalingPolicy("Pods", 2, timedelta(minutes=1)),),
        select=SelectPolicy.MIN,
        tolerance="0.05",
    )
    policy = Policy(
        triggers=(
            Trigger(KAFKA, "orders", "billing", index=0, lag_threshold=10),
            Trigger(KAFKA, "refunds/eu", "billing", index=1, lag_threshold=5000),
        ),
        min_replicas=2,
        max_replicas=20,
        behavior=Behavior(scale_up=up),
    )
    target = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "Orders"}
    assert build(ORDERS, "uid-1", policy, 12) == {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": "wakegate-statefulset-orders",
            "namespace": "shop",
            "labels": {"app.kubernetes.io/managed-by": "wakegate", "wakegate.dev/target": "statefulset-orders"},
            "ownerReferences": [{**target, "uid": "uid-1"}],
        },
        "spec": {
            "scaleTargetRef": target,
            "minReplicas": 2,
            "maxReplicas": 12,
            "metrics": [metric("s0-kafka-orders", "10"), metric("s1-kafka-refunds-eu", "5k")],
            "behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 30,
                    "selectPolicy": "Min",
                    "policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}],
                    "tolerance": "50m",
                },
                "scaleDown": {
                    "stabilizationWindowSeconds": 300,
                    "selectPolicy": "Max",
                    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
                },
            },
        },
    }


def metric(name: str, threshold: str) -> dict[str, Any]:
    """An external metric of the target above."""
    selector = {"matchLabels": {"wakegate.dev/target": "statefulset-orders"}}
    return {
        "type": "External",
        "external": {
            "metric": {"name": name, "selector": selector},
            "target": {"type": "AverageValue", "averageValue": threshold},
        },
    }


@given(minimum=st.integers(0, 200), maximum=st.integers(0, 200), partitions=st.none() | st.integers(0, 200))
def test_an_hpa_is_always_acceptable(minimum: int, maximum: int, partitions: int | None) -> None:
    """1 <= minReplicas <= maxReplicas, or the API server refuses it."""
    policy = Policy(triggers=(), min_replicas=minimum, max_replicas=maximum)
    spec = build(ORDERS, "uid-1", policy, partitions)["spec"]
    assert 1 <= spec["minReplicas"] <= spec["maxReplicas"]


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0, "0"),
        (1, "1"),
        (10, "10"),
        (999, "999"),
        (1000, "1k"),
        (1500, "1500"),
        (20_000, "20k"),
        (3_000_000, "3M"),
        (10**9, "1G"),
        ("0.1", "100m"),
        ("0.05", "50m"),
        ("1.5", "1500m"),
        ("50m", "50m"),
        ("0.0001", "0.0001"),
    ],
)
def test_quantities_are_written_as_the_server_writes_them_back(number: str | int, written: str) -> None:
    """Else every HPA looks changed for ever."""
    assert quantity(number) == written


WANTED = build(ORDERS, "uid-1", Policy(triggers=(Trigger(KAFKA, "orders", "billing"),)), 3)["spec"]


@pytest.mark.parametrize(
    ("change", "same"),
    [
        pytest.param({}, True, id="nothing"),
        pytest.param({"unknown": 1}, True, id="a field that the server has added"),
        pytest.param({"maxReplicas": 4}, False, id="another number"),
        pytest.param({"metrics": [*WANTED["metrics"], {"type": "Resource"}]}, False, id="a metric more"),
        pytest.param({"metrics": []}, False, id="a metric less"),
        pytest.param({"behavior": None}, False, id="no behavior"),
    ],
)
def test_whether_what_is_there_says_what_is_wanted(change: dict[str, Any], same: bool) -> None:  # noqa: FBT001 - a table
    """An HPA that somebody edited is put right; one that the server filled in is left alone."""
    assert says({**WANTED, **change}, WANTED) is same


def test_a_changed_threshold_is_seen_deep_inside() -> None:
    """It stands five levels down."""
    policy = Policy(triggers=(Trigger(KAFKA, "orders", "billing"),))
    other = replace(policy, triggers=(replace(policy.triggers[0], lag_threshold=11),))
    assert not says(build(ORDERS, "uid-1", other, 3)["spec"], WANTED)
