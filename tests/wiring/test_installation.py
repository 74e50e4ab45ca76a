"""The settings of an installation, read from its Deployment as the kubelet would put them together."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from activator.settings import read
from activator.wiring.installation import environment_of
from tests.manifests.support import OVERLAYS, namespace_of, of_kind, rendered


def deployment(*env: dict[str, Any], env_from: bool = True) -> dict[str, Any]:
    """A Deployment in namespace ops with these variables."""
    container: dict[str, Any] = {"env": list(env)}
    if env_from:
        container["envFrom"] = [{"configMapRef": {"name": "wakegate", "optional": True}}]
    return {"metadata": {"namespace": "ops"}, "spec": {"template": {"spec": {"containers": [container]}}}}


NAMESPACE = {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}


@pytest.mark.parametrize(
    ("rule", "given", "config", "expected"),
    [
        ("a value", deployment({"name": "WAKEGATE_LOG_LEVEL", "value": "debug"}), {}, {"WAKEGATE_LOG_LEVEL": "debug"}),
        ("the ConfigMap", deployment(), {"WAKEGATE_HANDOFF": "hpa"}, {"WAKEGATE_HANDOFF": "hpa"}),
        (
            "env wins",
            deployment({"name": "WAKEGATE_HANDOFF", "value": "direct"}),
            {"WAKEGATE_HANDOFF": "hpa"},
            {"WAKEGATE_HANDOFF": "direct"},
        ),
        ("not mounted", deployment(env_from=False), {"WAKEGATE_HANDOFF": "hpa"}, {}),
        (
            "a reference",
            deployment(NAMESPACE, {"name": "WAKEGATE_LEASE", "value": "$(POD_NAMESPACE)/w"}),
            {},
            {"WAKEGATE_LEASE": "ops/w"},
        ),
        (
            "the namespace",
            deployment({**NAMESPACE, "name": "WAKEGATE_WATCH_NAMESPACE"}),
            {},
            {"WAKEGATE_WATCH_NAMESPACE": "ops"},
        ),
        ("only ours", deployment({"name": "OTEL_SERVICE_NAME", "value": "x"}), {}, {}),
        (
            "what only the kubelet knows",
            deployment({"name": "WAKEGATE_LISTEN", "value": "$(POD_IP):1"}),
            {},
            {"WAKEGATE_LISTEN": "$(POD_IP):1"},
        ),
    ],
)
def test_environment(rule: str, given: dict[str, Any], config: dict[str, str], expected: dict[str, str]) -> None:
    """As Kubernetes does it: the ConfigMap first, then each variable, with references to those before it."""
    assert environment_of(given, config) == expected, rule


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_overlay_s_settings_can_be_read(overlay: str) -> None:
    """The doctor knows the Lease and the Service of each overlay as the Pods do."""
    objects = rendered(overlay)
    (found,) = [item for item in of_kind(objects, "Deployment") if item["metadata"]["name"] == "wakegate"]
    settings = read(environment=environment_of(yaml.safe_load(yaml.safe_dump(found)), {}))
    assert settings.lease == (namespace_of(objects), "wakegate")
    assert settings.metrics_api_service == (namespace_of(objects), "wakegate-metrics")
