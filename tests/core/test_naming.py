"""Names that several rooms agree on, and what Kubernetes accepts as one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.model import Cluster, TargetRef, Trigger
from activator.core.naming import hpa_name, metric_name, scale_target_name, target_label

LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
OBJECT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
"""A DNS subdomain (RFC 1123), which is what the API server asks of an HPA's name."""

NAMES: dict[str, tuple[str, str, str]] = {
    "a Deployment": ("Deployment", "orders", "wakegate-deployment-orders"),
    "a StatefulSet": ("StatefulSet", "orders", "wakegate-statefulset-orders"),
    "a name of exactly 63": (
        "Deployment",
        "o" * 43,
        "wakegate-deployment-" + "o" * 43,
    ),
    "a name of 64 is cut and gets a hash": (
        "Deployment",
        "o" * 44,
        "wakegate-deployment-" + "o" * 34 + "-83492b20",
    ),
    "no hyphen is left before the hash": (
        "Deployment",
        "o" * 32 + "--" + "p" * 20,
        "wakegate-deployment-" + "o" * 32 + "-4a6e918c",
    ),
}


@pytest.mark.parametrize(("kind", "name", "expected"), NAMES.values(), ids=NAMES)
def test_the_hpa_s_name(kind: str, name: str, expected: str) -> None:
    """It names the kind and the workload, and never passes the 63 characters of a label."""
    ref = TargetRef("shop", kind, name)
    assert hpa_name(ref) == expected
    assert target_label(ref) == expected.removeprefix("wakegate-")


DNS_LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
WORKLOADS = st.lists(DNS_LABEL, min_size=1, max_size=3).map(".".join).map(lambda name: name[:240].rstrip(".-"))
KINDS = st.sampled_from(["Deployment", "StatefulSet", "DeploymentConfig"])


@given(KINDS, WORKLOADS)
def test_every_name_is_one_for_kubernetes(kind: str, name: str) -> None:
    """Whatever a workload may be called, the names made of it are accepted and the same each time."""
    ref = TargetRef("shop", kind, name)
    assert OBJECT_NAME.fullmatch(hpa_name(ref))
    assert len(hpa_name(ref)) <= 63
    assert LABEL_VALUE.fullmatch(target_label(ref))
    assert OBJECT_NAME.fullmatch(scale_target_name(ref))


@given(
    st.lists(st.tuples(KINDS, WORKLOADS | st.integers(60, 63).map(lambda size: "o" * size)), unique=True, max_size=9)
)
def test_no_two_workloads_share_a_name(workloads: list[tuple[str, str]]) -> None:
    """Two kinds may share a name, and long names a beginning: theirs stay apart."""
    refs = [TargetRef("shop", kind, name) for kind, name in workloads]
    assert len({hpa_name(ref) for ref in refs}) == len(refs)
    assert len({scale_target_name(ref) for ref in refs}) == len(refs)


METRICS: dict[str, tuple[int, str, str]] = {
    "a plain topic": (0, "orders", "s0-kafka-orders"),
    "the second trigger": (1, "orders", "s1-kafka-orders"),
    "dots become hyphens": (0, "org.shop.orders", "s0-kafka-org-shop-orders"),
    "an underscore stays": (0, "my_orders", "s0-kafka-my_orders"),
    "capitals stay": (0, "Orders", "s0-kafka-Orders"),
    "what may not stand in a path becomes hyphens": (2, "a/b:c%(d)", "s2-kafka-a-b-c--d-"),
}


@pytest.mark.parametrize(("index", "topic", "expected"), METRICS.values(), ids=METRICS)
def test_the_metric_s_name(index: int, topic: str, expected: str) -> None:
    """It is the form that users of KEDA know, and one segment of a path."""
    assert metric_name(Trigger(Cluster("kafka:9092"), topic, "workers", index)) == expected


def test_topics_that_look_alike_have_metrics_of_their_own() -> None:
    """Two topics of one target differ by the trigger's index where their names become one."""
    alike = [Trigger(Cluster("kafka:9092"), topic, "workers", index) for index, topic in enumerate(["a.b", "a-b"])]
    assert metric_name(alike[0]) != metric_name(alike[1])
