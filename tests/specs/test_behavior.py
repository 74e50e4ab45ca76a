"""HPA behavior: what is read, what is refused, and that what is written is an HPA's."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes_asyncio.client.models.v2_horizontal_pod_autoscaler_behavior import V2HorizontalPodAutoscalerBehavior
from kubernetes_asyncio.client.models.v2_hpa_scaling_policy import V2HPAScalingPolicy
from kubernetes_asyncio.client.models.v2_hpa_scaling_rules import V2HPAScalingRules

from activator.core.model import Behavior, ScalingPolicy, ScalingRules, SelectPolicy
from activator.errors import SpecError
from activator.specs.behavior import read_behavior, write_behavior

KUBERNETES_DEFAULTS = {
    "scaleUp": {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ],
    },
    "scaleDown": {
        "stabilizationWindowSeconds": 300,
        "selectPolicy": "Max",
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
    },
}
"""k8s.io/kubernetes pkg/apis/autoscaling/v2/defaults.go, but the window down, which the controller's flag gives."""

POLICY = {"type": "Pods", "value": 1, "periodSeconds": 60}


def test_the_defaults_are_those_of_kubernetes() -> None:
    """What a user leaves out is written out as Kubernetes would fill it in."""
    assert write_behavior(read_behavior({}, "behavior")) == KUBERNETES_DEFAULTS
    assert read_behavior({"scaleUp": None, "scaleDown": {}}, "behavior") == Behavior()


READ: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a window down": (
        {"scaleDown": {"stabilizationWindowSeconds": 30}},
        {"scaleDown": KUBERNETES_DEFAULTS["scaleDown"] | {"stabilizationWindowSeconds": 30}},
    ),
    "no window at all": (
        {"scaleDown": {"stabilizationWindowSeconds": 0}},
        {"scaleDown": KUBERNETES_DEFAULTS["scaleDown"] | {"stabilizationWindowSeconds": 0}},
    ),
    "one policy replaces the default ones": (
        {"scaleUp": {"policies": [POLICY]}},
        {"scaleUp": KUBERNETES_DEFAULTS["scaleUp"] | {"policies": [POLICY]}},
    ),
    "a direction switched off": (
        {"scaleDown": {"selectPolicy": "Disabled"}},
        {"scaleDown": KUBERNETES_DEFAULTS["scaleDown"] | {"selectPolicy": "Disabled"}},
    ),
    "a tolerance as a number": (
        {"scaleUp": {"tolerance": 0.05}},
        {"scaleUp": KUBERNETES_DEFAULTS["scaleUp"] | {"tolerance": "0.05"}},
    ),
    "a tolerance as a text": (
        {"scaleUp": {"tolerance": "0.2"}},
        {"scaleUp": KUBERNETES_DEFAULTS["scaleUp"] | {"tolerance": "0.2"}},
    ),
    "a tolerance as YAML writes a small float": (
        {"scaleUp": {"tolerance": 1e-05}},
        {"scaleUp": KUBERNETES_DEFAULTS["scaleUp"] | {"tolerance": "0.00001"}},
    ),
}


@pytest.mark.parametrize(("written", "expected"), READ.values(), ids=READ)
def test_is_read(written: dict[str, Any], expected: dict[str, Any]) -> None:
    """A part that is given changes that part and nothing else."""
    assert write_behavior(read_behavior(written, "behavior")) == KUBERNETES_DEFAULTS | expected


FIELDS = "stabilizationWindowSeconds, selectPolicy, policies, tolerance"

REFUSED: dict[str, tuple[Any, str]] = {
    "nothing": (None, "behavior is 'null'; allowed: a mapping with scaleUp, scaleDown"),
    "a list": ([], "behavior is '[]'; allowed: a mapping with scaleUp, scaleDown"),
    "a misspelt direction": (
        {"scaleup": {}},
        "behavior.scaleup: there is no such field, only scaleUp, scaleDown; did you mean scaleUp?",
    ),
    "a misspelt field": (
        {"scaleDown": {"stabilisationWindowSeconds": 1}},
        (
            f"behavior.scaleDown.stabilisationWindowSeconds: there is no such field, only {FIELDS}; "
            "did you mean stabilizationWindowSeconds?"
        ),
    ),
    "a key that is no text": ({1: {}}, "behavior.1: there is no such field, only scaleUp, scaleDown"),
    "a direction that is a number": ({"scaleUp": 4}, f"behavior.scaleUp is '4'; allowed: a mapping with {FIELDS}"),
    "a window past an hour": (
        {"scaleUp": {"stabilizationWindowSeconds": 3601}},
        "behavior.scaleUp.stabilizationWindowSeconds is '3601'; allowed: a whole number from 0 to 3600",
    ),
    "a window as a text": (
        {"scaleUp": {"stabilizationWindowSeconds": "30"}},
        "behavior.scaleUp.stabilizationWindowSeconds is '30'; allowed: a whole number from 0 to 3600",
    ),
    "a window that is true": (
        {"scaleUp": {"stabilizationWindowSeconds": True}},
        "behavior.scaleUp.stabilizationWindowSeconds is 'True'; allowed: a whole number from 0 to 3600",
    ),
    "a selection in lower case": (
        {"scaleUp": {"selectPolicy": "max"}},
        "behavior.scaleUp.selectPolicy is 'max'; allowed: Max, Min, Disabled",
    ),
    "a selection that is a list": (
        {"scaleUp": {"selectPolicy": ["Max"]}},
        "behavior.scaleUp.selectPolicy is \"['Max']\"; allowed: Max, Min, Disabled",
    ),
    "no policy": (
        {"scaleUp": {"policies": []}},
        "behavior.scaleUp.policies is '[]'; allowed: a list of at least one policy",
    ),
    "policies as a mapping": (
        {"scaleUp": {"policies": {"type": "Pods"}}},
        "behavior.scaleUp.policies is \"{'type': 'Pods'}\"; allowed: a list of at least one policy",
    ),
    "a policy without a type": (
        {"scaleUp": {"policies": [{"value": 1, "periodSeconds": 1}]}},
        "behavior.scaleUp.policies[0].type is 'null'; allowed: Pods or Percent",
    ),
    "a type that is a list": (
        {"scaleUp": {"policies": [POLICY | {"type": ["Pods"]}]}},
        "behavior.scaleUp.policies[0].type is \"['Pods']\"; allowed: Pods or Percent",
    ),
    "a value of zero in the second policy": (
        {"scaleUp": {"policies": [POLICY, POLICY | {"value": 0}]}},
        "behavior.scaleUp.policies[1].value is '0'; allowed: a whole number from 1 to 2147483647",
    ),
    "a period past half an hour": (
        {"scaleUp": {"policies": [POLICY | {"periodSeconds": 1801}]}},
        "behavior.scaleUp.policies[0].periodSeconds is '1801'; allowed: a whole number from 1 to 1800",
    ),
    "a tolerance past one": (
        {"scaleUp": {"tolerance": 5}},
        "behavior.scaleUp.tolerance is '5'; allowed: a number from 0 to 1, such as 0.05",
    ),
    "a tolerance in percent": (
        {"scaleUp": {"tolerance": "5%"}},
        "behavior.scaleUp.tolerance is '5%'; allowed: a number from 0 to 1, such as 0.05",
    ),
    "a tolerance that is not a number": (
        {"scaleUp": {"tolerance": float("nan")}},
        "behavior.scaleUp.tolerance is 'nan'; allowed: a number from 0 to 1, such as 0.05",
    ),
    "a tolerance that is true": (
        {"scaleUp": {"tolerance": True}},
        "behavior.scaleUp.tolerance is 'True'; allowed: a number from 0 to 1, such as 0.05",
    ),
}


@pytest.mark.parametrize(("written", "sentence"), REFUSED.values(), ids=REFUSED)
def test_is_refused(written: Any, sentence: str) -> None:
    """A mistake is told with its path, its value, what is allowed and the nearest right name."""
    with pytest.raises(SpecError) as refused:
        read_behavior(written, "behavior")
    assert str(refused.value) == sentence


RULES = st.builds(
    ScalingRules,
    stabilization=st.integers(0, 3600).map(lambda seconds: timedelta(seconds=seconds)),
    policies=st.lists(
        st.builds(
            ScalingPolicy,
            type=st.sampled_from(["Pods", "Percent"]),
            value=st.integers(1, 2**31 - 1),
            period=st.integers(1, 1800).map(lambda seconds: timedelta(seconds=seconds)),
        ),
        min_size=1,
        max_size=4,
    ).map(tuple),
    select=st.sampled_from(SelectPolicy),
    tolerance=st.none() | st.integers(0, 1000).map(lambda thousandths: f"{thousandths / 1000:.3f}"),
)


@given(st.builds(Behavior, scale_up=RULES, scale_down=RULES))
def test_what_is_written_is_read_back_and_is_an_hpa_s(behavior: Behavior) -> None:
    """Reading undoes writing, and every field written is one of the autoscaling/v2 schema, the required ones there."""
    written = write_behavior(behavior)
    assert read_behavior(written, "behavior") == behavior
    _in_schema(written, V2HorizontalPodAutoscalerBehavior)


NESTED: dict[str, type] = {"scaleUp": V2HPAScalingRules, "scaleDown": V2HPAScalingRules, "policies": V2HPAScalingPolicy}


def _in_schema(written: dict[str, Any], model: Any) -> None:
    """Build Kubernetes' own generated model of it: a field that it does not know has no name to be passed by."""
    names = {json_name: name for name, json_name in model.attribute_map.items()}
    model(**{names[key]: value for key, value in written.items()})
    for key in written.keys() & NESTED:
        for part in written[key] if isinstance(written[key], list) else [written[key]]:
            _in_schema(part, NESTED[key])


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["scaleUp", "policies"]), inner),
    max_leaves=8,
)


@given(
    PLAIN
    | st.fixed_dictionaries({"scaleUp": st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS.split(", "), PLAIN))})
)
def test_only_spec_errors_are_raised(written: Any) -> None:
    """Whatever YAML holds, it is read or refused by a sentence."""
    with suppress(SpecError):
        read_behavior(written, "behavior")
