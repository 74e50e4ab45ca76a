"""What the kubelet runs for a container."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.kubelet import container as containers
from testbed.kubelet.container import CannotRunError

POD: dict[str, Any] = {
    "metadata": {"name": "orders-1", "namespace": "team", "uid": "u1"},
    "spec": {"nodeName": "node"},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)-$(B)", "1-2"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$$(A)", "$(A)"),
        ("$A $", "$A $"),
        ("$(A)$(A)", "11"),
    ],
)
def test_expand(text: str, expected: str) -> None:
    """`$(NAME)` is replaced as Kubernetes does it."""
    assert containers.expand(text, {"A": "1", "B": "2"}) == expected


def test_command_line() -> None:
    """Command and arguments are joined, variables replaced."""
    container = {"name": "main", "command": ["python", "-m"], "args": ["$(MODULE)"]}
    assert containers.command_line(container, {"MODULE": "testbed.consumer"}) == ["python", "-m", "testbed.consumer"]


def test_an_image_alone_cannot_be_run() -> None:
    """Arguments for an image's own entrypoint do not help: there is no image."""
    with pytest.raises(CannotRunError, match="container main has no command"):
        containers.command_line({"name": "main", "args": ["--help"]}, {})


def test_environment() -> None:
    """Values, earlier values, fields of the Pod and keys of other objects become variables."""
    secret = {"name": "kafka", "key": "password"}
    container = {
        "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)2"},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "PASSWORD", "valueFrom": {"secretKeyRef": secret}},
            {"name": "MAYBE", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "x", "optional": True}}},
        ]
    }
    assert containers.referenced_sources(container) == {("Secret", "kafka"), ("ConfigMap", "none")}
    sources: containers.Sources = {
        ("Secret", "kafka"): containers.decode_source("Secret", {"data": {"password": "c2VjcmV0"}}),
        ("ConfigMap", "none"): None,
    }
    assert containers.environment_of(POD, container, sources) == {
        "HOSTNAME": "orders-1",
        "A": "1",
        "B": "12",
        "POD_NAME": "orders-1",
        "PASSWORD": "secret",
    }


def test_environment_from_whole_objects() -> None:
    """Every key of a whole object becomes a variable; the container's own win; an optional object may be missing."""
    container = {
        "envFrom": [
            {"configMapRef": {"name": "settings"}},
            {"secretRef": {"name": "none", "optional": True}, "prefix": "KAFKA_"},
        ],
        "env": [{"name": "A", "value": "own"}],
    }
    assert containers.referenced_sources(container) == {("ConfigMap", "settings"), ("Secret", "none")}
    sources: containers.Sources = {("ConfigMap", "settings"): {"A": "1", "B": "2"}, ("Secret", "none"): None}
    assert containers.environment_of(POD, container, sources) == {"HOSTNAME": "orders-1", "A": "own", "B": "2"}
    with pytest.raises(CannotRunError, match="there is no ConfigMap settings"):
        containers.environment_of(POD, container, {})


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ({"secretKeyRef": {"name": "kafka", "key": "password"}}, "env X: Secret kafka has no key password"),
        ({"fieldRef": {"fieldPath": "metadata.labels"}}, "env X: fieldPath metadata.labels is not one of"),
        ({"resourceFieldRef": {"resource": "limits.cpu"}}, "env X: the test kubelet does not know resourceFieldRef"),
    ],
)
def test_what_cannot_be_resolved_is_said(source: dict[str, Any], complaint: str) -> None:
    """A value that cannot be had is named, never left empty."""
    with pytest.raises(CannotRunError, match=complaint):
        containers.environment_of(POD, {"env": [{"name": "X", "valueFrom": source}]}, {})


def test_back_off() -> None:
    """The first restart is at once, the next ones later and later, never beyond the limit."""
    assert [containers.back_off_seconds(restarts) for restarts in (0, 1, 2, 3, 5, 6, 1000)] == [0, 1, 2, 4, 16, 30, 30]
