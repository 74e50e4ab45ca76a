"""What a container's environment says, and what has to be read for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from activator.specs.authentication import CONFIG_MAP, SECRET, Reference
from activator.specs.keda.environment import UNKNOWN, environment_of, objects_needed

if TYPE_CHECKING:
    from collections.abc import Mapping

KAFKA = Reference(CONFIG_MAP, "shop", "kafka")
PRIVATE = Reference(SECRET, "shop", "private")
GONE = Reference(CONFIG_MAP, "shop", "gone")
DENIED = Reference(SECRET, "shop", "denied")
OBJECTS: Mapping[Reference, Mapping[str, str] | str | None] = {
    KAFKA: {"TOPIC": "orders", "SERVERS": "kafka:9092"},
    PRIVATE: {"TOPIC": "private-orders", "nul": "a\0b", "long": "x" * 40_000},
    GONE: None,
    DENIED: "it may not be read",
}


def workload(*containers: dict[str, Any]) -> dict[str, Any]:
    """A Deployment with such containers."""
    return {"metadata": {"namespace": "shop"}, "spec": {"template": {"spec": {"containers": list(containers)}}}}


def key(kind: str, name: str, at: str, **more: Any) -> dict[str, Any]:
    """An entry of `env` named X that comes from a key."""
    return {"name": "X", "valueFrom": {kind: {"name": name, "key": at, **more}}}


def whole(kind: str, name: str, prefix: str = "", **more: Any) -> dict[str, Any]:
    """An entry of `envFrom`."""
    return {kind: {"name": name, **more}, **({"prefix": prefix} if prefix else {})}


X, Y = {"name": "X", "value": "x"}, {"name": "Y", "value": "y"}
ROWS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]], str, str | None]] = {
    # env, envFrom, variable -> value
    "a value": ([X], [], "X", "x"),
    "no value is an empty one": ([{"name": "X"}], [], "X", ""),
    "no such variable": ([X], [], "Z", None),
    "the last of two": ([X, {"name": "X", "value": "again"}], [], "X", "again"),
    "one that stands before": ([Y, {"name": "X", "value": "<$(Y)>"}], [], "X", "<y>"),
    "one that stands after stays as written": ([{"name": "X", "value": "$(Y)"}, Y], [], "X", "$(Y)"),
    "itself, as it was before": ([X, {"name": "X", "value": "$(X)$(X)"}], [], "X", "xx"),
    "two dollars are one": ([Y, {"name": "X", "value": "$$(Y)"}], [], "X", "$(Y)"),
    "a key of a ConfigMap": ([key("configMapKeyRef", "kafka", "TOPIC")], [], "X", "orders"),
    "a key of a Secret": ([key("secretKeyRef", "private", "TOPIC")], [], "X", "private-orders"),
    "an optional key that is not there": ([key("secretKeyRef", "private", "no", optional=True)], [], "X", None),
    "... leaves an earlier value": ([X, key("secretKeyRef", "private", "no", optional=True)], [], "X", "x"),
    "an optional object that is not there": ([key("configMapKeyRef", "gone", "k", optional=True)], [], "X", None),
    "envFrom": ([], [whole("configMapRef", "kafka")], "TOPIC", "orders"),
    "env wins over envFrom": ([{"name": "TOPIC", "value": "x"}], [whole("configMapRef", "kafka")], "TOPIC", "x"),
    "the last of envFrom wins": (
        [], [whole("configMapRef", "kafka"), whole("secretRef", "private")], "TOPIC", "private-orders",
    ),
    "a prefix": ([], [whole("configMapRef", "kafka", "KAFKA_")], "KAFKA_TOPIC", "orders"),
    "without its prefix it is not there": ([], [whole("configMapRef", "kafka", "KAFKA_")], "TOPIC", None),
    "optional envFrom": ([], [whole("configMapRef", "gone", optional=True)], "TOPIC", None),
    "expanded from envFrom": (
        [{"name": "X", "value": "live-$(TOPIC)"}], [whole("configMapRef", "kafka")], "X", "live-orders",
    ),
    "of no object: a container's mistake": ([key("configMapKeyRef", "kafka", "TOPIC")], [{}], "X", "orders"),
}  # fmt: skip
UNKNOWN_ROWS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]], str]] = {
    # env, envFrom -> why X is not known
    "no such key": (
        [key("secretKeyRef", "private", "no")], [],
        "its value comes from Secret shop/private, key no: there is no such key",
    ),
    "no such object": (
        [key("configMapKeyRef", "gone", "k")], [],
        "its value comes from ConfigMap shop/gone, key k: it does not exist",
    ),
    "not to be read": ([key("secretKeyRef", "denied", "k")], [], "it may not be read"),
    "of the Pod": (
        [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}], [],
        "its value is known to the running Pod alone",
    ),
    "expanded from one that is not known": (
        [{"name": "Y", "valueFrom": {"fieldRef": {}}}, {"name": "X", "value": "a-$(Y)"}], [],
        "Y: its value is known to the running Pod alone",
    ),
    "it may be in one that is not read": (
        [], [whole("configMapRef", "kafka"), whole("secretRef", "denied")], "it may not be read",
    ),
    "it may be in one that is not there": (
        [], [whole("configMapRef", "gone")], "its value may come from ConfigMap shop/gone: it does not exist",
    ),
    "a NUL": ([key("secretKeyRef", "private", "nul")], [], "Secret shop/private, key nul: it holds a NUL"),
    "too long": (
        [key("secretKeyRef", "private", "long")], [],
        "Secret shop/private, key long: it is longer than 32768 letters",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("env", "env_from", "name", "expected"), ROWS.values(), ids=ROWS)
def test_what_a_variable_holds(
    env: list[dict[str, Any]], env_from: list[dict[str, Any]], name: str, expected: str | None
) -> None:
    """As Kubernetes makes a container's environment."""
    found = environment_of(workload({"env": env, "envFrom": env_from}), wanted=[name], data=OBJECTS.__getitem__)
    assert found.get(name) == expected


@pytest.mark.parametrize(("env", "env_from", "why"), UNKNOWN_ROWS.values(), ids=UNKNOWN_ROWS)
def test_why_a_variable_is_not_known(env: list[dict[str, Any]], env_from: list[dict[str, Any]], why: str) -> None:
    """Unknown is never empty: the sentence stands where the value would."""
    found = environment_of(workload({"env": env, "envFrom": env_from}), wanted=["X"], data=OBJECTS.__getitem__)
    assert found["X"] == f"{UNKNOWN}{why}"


def test_only_what_bears_on_a_variable_is_read() -> None:
    """A Secret that another variable comes from is not for us; what may hold a variable by envFrom is."""
    chosen = {
        "name": "app",
        "env": [
            {"name": "STAGE", "valueFrom": {"configMapKeyRef": {"name": "kafka", "key": "STAGE"}}},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "private", "key": "password"}}},
            {"name": "TOPIC", "value": "$(STAGE)-orders"},
        ],
        "envFrom": [whole("secretRef", "denied"), whole("configMapRef", "gone", "OTHER_")],
    }
    both = workload({"name": "proxy", "env": [X]}, chosen)
    assert objects_needed(both, "app", ["TOPIC"]) == {KAFKA}
    assert objects_needed(both, "app", ["GROUP"]) == {DENIED}
    assert objects_needed(both, "", ["TOPIC", "X"]) == set()
    several = workload({"envFrom": [whole("configMapRef", "kafka"), whole("secretRef", "private")]})
    assert objects_needed(several, "", ["SERVERS"]) == {KAFKA, PRIVATE}
    assert environment_of(several, wanted=["SERVERS"], data=OBJECTS.__getitem__) == {"SERVERS": "kafka:9092"}


def test_an_environment_made_to_harm_ends() -> None:
    """Variables that name the one before twice would be a billion letters long; a long row of them is cut."""
    doubling = [{"name": "V0", "value": "xx"}] + [
        {"name": f"V{n}", "value": f"$(V{n - 1})$(V{n - 1})"} for n in range(1, 60)
    ]
    assert environment_of(workload({"env": doubling}), wanted=["V59"])["V59"].startswith(UNKNOWN)
    row = [{"name": "V0", "value": "x"}] + [{"name": f"V{n}", "value": f"$(V{n - 1})"} for n in range(1, 5000)]
    assert environment_of(workload({"env": row}))["V4999"] == "x"
    assert objects_needed(workload({"env": row}), "", ["V4999"]) == set()


@pytest.mark.parametrize(
    "broken", [{}, {"spec": None}, {"spec": {"template": []}}, workload(), workload({"env": "x", "envFrom": 1})]
)
def test_a_workload_without_an_environment(broken: dict[str, Any]) -> None:
    """Of another kind than Kubernetes' own it may have any form."""
    assert environment_of(broken, wanted=["X"]) == {}
