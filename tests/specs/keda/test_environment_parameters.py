"""Parameters of a TriggerAuthentication out of a container's environment."""

from __future__ import annotations

from typing import Any

import pytest

from activator.core.model import TargetRef
from activator.specs.authentication import (
    CONFIG_MAP,
    SECRET,
    TRIGGER_AUTHENTICATION,
    AuthenticationSource,
    Plan,
    Reference,
    Variable,
)
from activator.specs.keda.environment_parameters import objects_of_variables, read_variables

CANARY = "c4n4ry"
SOURCE = AuthenticationSource(
    TRIGGER_AUTHENTICATION, "shop", "login", target=TargetRef("shop", "Deployment", "orders"), container="app"
)
KAFKA, SETTINGS, HIDDEN = (
    Reference(SECRET, "shop", "kafka"),
    Reference(CONFIG_MAP, "shop", "settings"),
    Reference(SECRET, "shop", "hidden"),
)
DATA: dict[Reference, dict[str, str] | str | None] = {
    KAFKA: {"password": f"{CANARY}-secret", "PASSWORD": f"{CANARY}-whole", "long": CANARY * 10_000},
    SETTINGS: {"sasl": "plaintext"},
    HIDDEN: "Secret shop/hidden: it may not be read",
}
WORKLOAD: dict[str, Any] = {
    "metadata": {"namespace": "shop", "name": "orders"},
    "spec": {
        "template": {
            "spec": {
                "containers": [
                    {"name": "proxy", "env": [{"name": "USER", "value": "proxy"}]},
                    {
                        "name": "app",
                        "envFrom": [{"secretRef": {"name": "kafka"}}],
                        "env": [
                            {"name": "USER", "value": "orders"},
                            {"name": "WHO", "value": "$(USER)-$(KEY)"},
                            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "kafka", "key": "password"}}},
                            {"name": "LONG", "valueFrom": {"secretKeyRef": {"name": "kafka", "key": "long"}}},
                            {"name": "LATE", "value": "$(USER)-$(KEY)"},
                            {
                                "name": "SASL",
                                "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "sasl"}},
                            },
                            {"name": "SEEN", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "x"}}},
                            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                        ],
                    },
                ]
            }
        }
    },
}


def variable(name: str, container: str = "") -> Plan:
    """A plan of one parameter."""
    return Plan(variables=(Variable("password", name, container),))


VALUES = {
    "a value": ("USER", "", "orders", set()),
    "of another container": ("USER", "proxy", "proxy", set()),
    "out of a Secret": ("KEY", "", f"{CANARY}-secret", {KAFKA}),
    "out of a ConfigMap": ("SASL", "", "plaintext", {SETTINGS}),
    "out of a whole Secret": ("PASSWORD", "", f"{CANARY}-whole", {KAFKA}),
    "expanded": ("LATE", "", f"orders-{CANARY}-secret", {KAFKA}),
    "what comes later is not expanded": ("WHO", "", "orders-$(KEY)", {KAFKA}),
}


@pytest.mark.parametrize(("name", "container", "value", "objects"), VALUES.values(), ids=VALUES)
def test_a_variable_is_what_the_container_sees(name: str, container: str, value: str, objects: set[Reference]) -> None:
    """By Kubernetes' rules, and of all objects only those are read that bear on it."""
    plan = variable(name, container)
    assert objects_of_variables(SOURCE, plan, WORKLOAD) == objects
    given = read_variables(SOURCE, plan, WORKLOAD, DATA.__getitem__)
    assert (given.values, given.problems) == ({"password": value}, ())


APP = "Deployment shop/orders, container app, variable"
TAKES = "TriggerAuthentication shop/login of Deployment orders takes the parameter password from it"
MISTAKES = {
    "no such variable": ("USERS", "", f"{APP} USERS: there is no such variable; {TAKES}; did you mean USER?"),
    "no such container": (
        "USER",
        "apps",
        (
            "Deployment shop/orders, container apps: there is no such container; TriggerAuthentication shop/login of "
            "Deployment orders looks there for USER; did you mean app?"
        ),
    ),
    "may not be read": ("SEEN", "", f"{APP} SEEN: Secret shop/hidden: it may not be read"),
    "known to the Pod alone": ("NODE", "", f"{APP} NODE: its value is known to the running Pod alone"),
    "too long": ("LONG", "", f"{APP} LONG: Secret shop/kafka, key long: it is longer than 32768 letters"),
}


@pytest.mark.parametrize(("name", "container", "said"), MISTAKES.values(), ids=MISTAKES)
def test_what_is_wrong_with_a_variable_is_told_by_its_place(name: str, container: str, said: str) -> None:
    """And never by a value."""
    given = read_variables(SOURCE, variable(name, container), WORKLOAD, DATA.__getitem__)
    assert given.values == {}
    assert [str(problem) for problem in given.problems] == [said]
    assert CANARY not in said


def test_a_target_that_is_gone_has_no_environment() -> None:
    """It is told, as any missing object is."""
    given = read_variables(SOURCE, variable("USER"), None, DATA.__getitem__)
    assert [str(problem) for problem in given.problems] == [
        "TriggerAuthentication shop/login of Deployment orders, spec.env: Deployment shop/orders does not exist"
    ]
