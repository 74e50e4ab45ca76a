"""The admission policy on the real API server: it rejects what the parsers reject, and nothing that they accept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from activator.specs.annotations import parse
from activator.specs.defaults import AnnotationDefaults
from testbed import workloads
from testbed.bed import REPOSITORY, Testbed, TestbedOptions
from testbed.errors import ApiError
from testbed.stage import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from activator.errors import SpecError

pytestmark = pytest.mark.real

POLICY = REPOSITORY / "manifests" / "admission-policy" / "policy.yaml"
NAMESPACE = "admission"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
LEAST = {"topic": "orders", "consumer-group": "orders", "bootstrap-servers": "kafka:9092"}
DEFAULTS = AnnotationDefaults()

CASES: dict[str, tuple[str, ...]] = {
    "topic": ("orders", "a.b_c-D", ".", "..", "", " orders ", "with space", "x" * 249, "x" * 250, "ümlaut"),
    "consumer-group": ("orders", "any thing", " ", ""),
    "bootstrap-servers": (
        "kafka:9092",
        "a:1, b:65535",
        "a:0",
        "a:65536",
        "a:00000000000000009092",
        "kafka",
        "http://kafka:9092",
        "[::1]:9092",
        "",
        ",",
        "a:9092,",
    ),
    "authentication-secret": ("kafka-user", "a.b", "Upper", "-a", "x" * 253, "x" * 254, ""),
    "lag-threshold": ("1", " 7 ", "0", "-1", "2147483647", "2147483648", "00000000000000000010", "1.5", "ten", ""),
    "activation-lag-threshold": ("0", "5", "-1"),
    "polling-interval": (
        "1",
        "30s",
        "5m",
        "1h",
        "365d",
        "366d",
        "999ms",
        "1000ms",
        "0",
        "1w",
        "s",
        "5 m",
        "99999999999d",
    ),
    "cooldown-period": ("0", "300", "never"),
    "idle-replica-count": ("0", "none", "None", "1", ""),
    "offset-reset-policy": ("earliest", "latest", "Latest", "none"),
    "paused": ("true", "False", "yes", "1"),
    "offset-guard": ("on", "observe", "off", "true"),
    "handoff": ("auto", "hpa", "direct", "keda"),
    "behavior": ("scaleDown: {}",),
    "profile": ("fast", " constant ", "Fast", "quick", ""),
}
"""Annotation -> values at and around the edges of what its parser takes."""

TOGETHER: dict[str, dict[str, str]] = {
    "more than the maximum": {"min-replica-count": "5", "max-replica-count": "4"},
    "as many as the maximum": {"min-replica-count": "4", "max-replica-count": "4"},
    "more than the default maximum": {"min-replica-count": "101"},
    "less than the default minimum": {"max-replica-count": "0"},
    "never asleep at zero": {"min-replica-count": "0", "idle-replica-count": "none"},
    "zero means one": {"min-replica-count": "0"},
    "a profile's maximum is another": {"profile": "constant", "min-replica-count": "150"},
    "a profile's bounds give way": {"profile": "steady", "max-replica-count": "1"},
    "a profile excuses no mistake": {"profile": "fast", "min-replica-count": "3", "max-replica-count": "2"},
    "a profile that never sleeps": {"profile": "constant", "min-replica-count": "0"},
    "triggers": {"triggers": "[{type: kafka, metadata: {topic: a}}]", "topic": ""},
    "lifted and lowered": {"allow-idle-consumers": "true", "limit-to-partitions-with-lag": "true"},
    "two ways to log in": {"authentication-secret": "a", "authentication-ref": "b"},
    "a typo": {"lag-treshold": "10"},
    "another's annotation": {},
}


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    """A control plane alone, with the policy in force."""
    with Testbed(TestbedOptions(kafka_nodes=0, jaeger=False, kubelet=False)) as made:
        made.control_plane.api.create_namespaces([NAMESPACE])
        made.control_plane.api.apply(*yaml.safe_load_all(POLICY.read_text()))
        until("the policy is in force", lambda: refusal(made, {"nonsense": "1"}), 60)
        yield made


def manifest(annotations: Mapping[str, str], name: str = "judged") -> dict[str, Any]:
    """A Deployment with annotations of ours beside another's."""
    written = {f"wakegate.dev/{key}": value for key, value in annotations.items()}
    return workloads.deployment(
        name, {"image": workloads.PAUSE}, namespace=NAMESPACE, replicas=0, annotations={**written, "team": "shop"}
    )


def refusal(bed: Testbed, annotations: Mapping[str, str]) -> str | None:
    """Why the API server does not take a Deployment; None: it would. Nothing is made."""
    try:
        bed.control_plane.api.request("POST", f"{DEPLOYMENTS}?dryRun=All", manifest(annotations))
    except ApiError as error:
        return str(error)
    return None


def mistakes(annotations: Mapping[str, str]) -> tuple[SpecError, ...]:
    """What the parsers say."""
    return parse({f"wakegate.dev/{key}": value for key, value in annotations.items()}, DEFAULTS)[1]


@pytest.mark.parametrize("name", CASES)
def test_it_agrees_with_the_parser(bed: Testbed, name: str) -> None:
    """Each value is rejected by both or by neither; a rejection names the annotation."""
    for value in CASES[name]:
        annotations = {**LEAST, name: value}
        refused, told = refusal(bed, annotations), mistakes(annotations)
        assert (refused is not None) == bool(told), (value, refused, told)
        if refused is not None:
            assert f"wakegate.dev/{name} is" in refused, refused


@pytest.mark.parametrize("case", TOGETHER)
def test_it_agrees_about_several_together(bed: Testbed, case: str) -> None:
    """Bounds that cannot both hold, and names that there are not."""
    annotations = {**LEAST, **TOGETHER[case]}
    refused = refusal(bed, annotations)
    assert (refused is not None) == bool(mistakes(annotations)), refused
    assert refused is None or any(f"wakegate.dev/{name}" in refused for name in TOGETHER[case])


def test_what_was_there_before_holds_nobody_up(bed: Testbed) -> None:
    """A mistake from before the policy: labels and scaling go through; a change of ours is judged with all the rest."""
    api = bed.control_plane.api
    policy, binding = yaml.safe_load_all(POLICY.read_text())
    place = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
    api.delete(f"{place}/{binding['metadata']['name']}")
    until("the policy is out of force", lambda: refusal(bed, {"nonsense": "1"}) is None, 60)
    api.apply(manifest({**LEAST, "lag-threshold": "ten"}, "older"))
    api.apply(policy, binding)
    until("it is in force again", lambda: refusal(bed, {"nonsense": "1"}), 60)
    path = f"{DEPLOYMENTS}/older"
    api.patch(path, {"metadata": {"labels": {"changed": "by-a-controller"}}})
    api.patch(f"{path}/scale", {"spec": {"replicas": 1}})
    with pytest.raises(ApiError, match=r'lag-threshold is "ten"'):
        api.patch(path, {"metadata": {"annotations": {"wakegate.dev/max-replica-count": "7"}}})
    api.patch(path, {"metadata": {"annotations": {"wakegate.dev/lag-threshold": None}}})
    assert "wakegate.dev/lag-threshold" not in json.dumps(api.get(path)["metadata"]["annotations"])
