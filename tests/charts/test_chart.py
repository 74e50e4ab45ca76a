"""The chart installs what the manifests install, refuses what cannot be, and says what it takes."""

from __future__ import annotations

import json
import os
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from scripts import generate_chart, render_manifests
from testbed import builds
from testbed.errors import TestbedError
from testbed.helm import CHART, helm, template
from tests.manifests.support import MANIFESTS, Object, default_namespace, rendered
from tests.manifests.test_pod_security import violations

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

needs_helm = pytest.mark.real
"""`make test` needs nothing but Python; Helm is built like the other real parts."""

OF_HELM = ("helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/instance", "app.kubernetes.io/version")
"""Labels that the chart adds."""

OVERLAYS: dict[str, tuple[dict[str, Any], str]] = {
    "kubernetes": ({}, "wakegate-system"),
    "beside": ({"metricsApi.enabled": False}, "wakegate-system"),
    "openshift": (
        {"certificates.serviceCa.enabled": True, "prometheus.operator.serviceMonitor.enabled": True},
        "wakegate-system",
    ),
    "namespaced": ({"rbac.namespaced": True}, "wakegate"),
}
"""Overlay -> the values that mean the same, and its namespace."""

COMPONENTS: dict[str, dict[str, Any]] = {
    "networkpolicy": {"networkPolicy.enabled": True},
    "prometheusrule": {"prometheus.operator.prometheusRules.enabled": True},
    "servicemonitor": {
        "prometheus.operator.serviceMonitor.enabled": True,
        "prometheus.gateway.podMonitor.enabled": True,
    },
    "grafana-dashboard": {"grafana.dashboard.enabled": True},
    "secrets-reader": {"rbac.secretsReader": True},
    "kafka-credentials": {"kafkaCredentials.secretName": "wakegate-kafka-credentials"},
    "gateway": {"gateway.enabled": True, "gateway.settings.bootstrap_servers": "kafka:9092"},
    "gateway, gateway-route": {
        "gateway.enabled": True,
        "gateway.settings.bootstrap_servers": "kafka:9092",
        "gateway.route.enabled": True,
    },
}
"""Component, or several -> the values that mean the same."""

Key = tuple[str, str, str]


def compared(objects: list[Object]) -> dict[Key, Object]:
    """Objects by kind, namespace and name, without what one of the two kinds of installation alone has."""
    found: dict[Key, Object] = {}
    for item in objects:
        metadata = item["metadata"]
        annotations = metadata.get("annotations") or {}
        if item["kind"] == "Namespace" or "helm.sh/hook" in annotations:
            continue
        key = (item["kind"], metadata.get("namespace", ""), metadata["name"])
        assert key not in found
        found[key] = _normal(item)
    return found


def _normal(value: Any) -> Any:
    """Without the chart's own labels; environments and the like in the order of their names."""
    if isinstance(value, dict):
        kept = {key: _normal(item) for key, item in value.items() if key not in OF_HELM}
        return {key: item for key, item in kept.items() if item not in ({}, None)}
    if isinstance(value, list):
        items = [_normal(item) for item in value]
        named = all(isinstance(item, dict) and "name" in item for item in items)
        return sorted(items, key=lambda item: item["name"]) if named else items
    return value


@needs_helm
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_it_installs_what_the_overlay_installs(overlay: str) -> None:
    """Object for object, field for field."""
    values, namespace = OVERLAYS[overlay]
    ours, theirs = compared(template(values, namespace)), compared(rendered(overlay))
    if overlay == "namespaced":  # the CRD stands in the chart's crds/, which Helm installs unless told not to
        ours = {key: item for key, item in ours.items() if key[0] != "CustomResourceDefinition"}
    if overlay == "openshift":  # the overlay's component watches the gateway too, where there is one
        theirs = {key: item for key, item in theirs.items() if key[0] != "PodMonitor"}
    assert ours.keys() == theirs.keys()
    for key in ours:
        assert ours[key] == theirs[key], key


@needs_helm
@pytest.mark.parametrize("added", COMPONENTS)
def test_it_adds_what_the_component_adds(added: str, tmp_path: Path) -> None:
    """On top of the overlay for Kubernetes: the same further objects, and none of the others is changed."""
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(MANIFESTS / "overlays" / "kubernetes", tmp_path)],
        "components": [
            os.path.relpath(path, tmp_path)
            for path in (
                *(MANIFESTS / "components" / name for name in added.split(", ")),
                default_namespace("kubernetes"),
            )
        ],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    theirs = compared(list(yaml.safe_load_all(render_manifests.kustomize(tmp_path))))
    ours = compared(template(COMPONENTS[added], "wakegate-system"))
    ours.pop(("ConfigMap", "wakegate-system", "wakegate-gateway"), None)  # what the user of the manifests makes
    for item in ours.values():
        if item["kind"] == "Deployment":
            item["spec"]["template"]["metadata"].get("annotations", {}).pop("checksum/settings", None)
    ours, theirs = ({key: _normal(item) for key, item in found.items()} for found in (ours, theirs))
    assert ours.keys() == theirs.keys()
    for key in ours:
        assert ours[key] == theirs[key], key


@needs_helm
def test_cert_manager_is_asked_for_the_same(tmp_path: Path) -> None:
    """Base, metrics API and cert-manager: as a kustomization of one's own puts them together."""
    names = ("metrics-api", "cert-manager", "namespace")
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(MANIFESTS / "base", tmp_path)],
        "components": [os.path.relpath(MANIFESTS / "components" / name, tmp_path) for name in names],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    theirs = compared(list(yaml.safe_load_all(render_manifests.kustomize(tmp_path))))
    ours = compared(template({"certificates.certManager.enabled": True}, "wakegate-system"))
    assert ours.keys() == theirs.keys()
    for key in ours:
        assert ours[key] == theirs[key], key


@needs_helm
def test_the_admission_policy_is_the_same() -> None:
    """That of the manifests, which stands by itself there."""
    theirs = compared(list(yaml.safe_load_all((MANIFESTS / "admission-policy" / "policy.yaml").read_text())))
    ours = compared(template({"admissionPolicy.enabled": True}, "wakegate-system"))
    assert {key: item for key, item in ours.items() if key[0].startswith("ValidatingAdmission")} == theirs


EVERYTHING: dict[str, Any] = {
    "image.registry": "registry.example.com/team",
    "image.tag": "9.9.9",
    "imagePullSecrets": [{"name": "pull"}],
    "settings.bootstrap_servers": "kafka:9092",
    "settings.dry_run": True,
    "watchNamespace": "shop",
    "logging.operator.level": "debug",
    "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "additionalLabels": {"team": "platform"},
    "podAnnotations.operator": {"a": "b"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "topologySpreadConstraints.operator": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
    "opentelemetry.operator.enabled": True,
    "gateway.enabled": True,
    "gateway.settings.bootstrap_servers": "kafka:9092",
    "gateway.service.type": "LoadBalancer",
    "gateway.route": {"enabled": True, "host": "events.example.com"},
    "networkPolicy.enabled": True,
    "admissionPolicy.enabled": True,
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-extra"}}],
}


@needs_helm
def test_every_value_arrives() -> None:
    """With everything asked for at once the objects are well-formed, and each value is found where it belongs."""
    objects = template(EVERYTHING, "here")
    pods = [item["spec"]["template"]["spec"] for item in objects if item["kind"] in {"Deployment", "Job"}]
    assert len(pods) == 3
    for pod in pods:
        assert pod["nodeSelector"] == {"disk": "ssd"}
        assert pod["priorityClassName"] == "high"
        assert pod["imagePullSecrets"] == [{"name": "pull"}]
        (container,) = pod["containers"]
        assert container["image"] == "registry.example.com/team/wakegate:9.9.9"
        assert violations(pod) == []
    labels = [item["metadata"]["labels"] for item in objects if "labels" in item["metadata"]]
    ours = [found for found in labels if "helm.sh/chart" in found]
    assert ours
    assert all(found["team"] == "platform" for found in ours)
    (activator,) = [pod["containers"][0] for pod in pods if pod["containers"][0]["name"] == "activator"]
    environment = {variable["name"]: variable.get("value") for variable in activator["env"]}
    assert environment["WAKEGATE_WATCH_NAMESPACE"] == "shop"
    assert environment["WAKEGATE_LOG_LEVEL"] == "debug"
    assert environment["HTTPS_PROXY"] == "http://proxy:3128"
    assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"].endswith(":4318")
    maps = {item["metadata"]["name"]: item.get("data") for item in objects if item["kind"] == "ConfigMap"}
    assert maps["wakegate"] == {"WAKEGATE_BOOTSTRAP_SERVERS": "kafka:9092", "WAKEGATE_DRY_RUN": "true"}
    assert maps["wakegate-gateway"] == {"WAKEGATE_GATEWAY_BOOTSTRAP_SERVERS": "kafka:9092"}
    assert "wakegate-extra" in maps
    (route,) = [item for item in objects if item["kind"] == "Route"]
    assert route["spec"]["host"] == "events.example.com"


VALUES_FILE = """\
settings:
  identity: 2026120116
  dry_run: true
gateway:
  enabled: true
  settings:
    bootstrap_servers: kafka:9092
    max_in_flight_bytes: 134217728
    shutdown_delay: 0.5
"""


@needs_helm
def test_a_setting_arrives_as_it_stands_in_a_values_file(tmp_path: Path) -> None:
    """A large number, too, which Helm reads from a file as a float: the Pod would not start with 1.34217728e+08."""
    file = tmp_path / "values.yaml"
    file.write_text(VALUES_FILE)
    given = ["-f", str(file), "--kube-version", builds.KUBERNETES_VERSION]
    objects = yaml.safe_load_all(helm("template", "wakegate", str(CHART), *given))
    maps = {item["metadata"]["name"]: item["data"] for item in objects if item and item["kind"] == "ConfigMap"}
    assert maps["wakegate"] == {
        "WAKEGATE_IDENTITY": "2026120116",
        "WAKEGATE_DRY_RUN": "true",
    }
    assert maps["wakegate-gateway"] == {
        "WAKEGATE_GATEWAY_BOOTSTRAP_SERVERS": "kafka:9092",
        "WAKEGATE_GATEWAY_MAX_IN_FLIGHT_BYTES": "134217728",
        "WAKEGATE_GATEWAY_SHUTDOWN_DELAY": "0.5",
    }


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown value": ({"replicaCount": 3}, "replicaCount"),
    "an unknown setting": ({"settings.bootstrap_server": "kafka:9092"}, "bootstrap_server"),
    "a wrong type": ({"operator.replicaCount": "two"}, "replicaCount"),
    "a word that is none of the few": ({"logging.operator.level": "loud"}, "level"),
    "a claim of the cluster by a namespace": (
        {"metricsApi.enabled": True, "rbac.namespaced": True},
        "an APIService is an object of the cluster's",
    ),
    "two makers of one certificate": (
        {"certificates.serviceCa.enabled": True, "certificates.secretName": "own"},
        "service-ca, mounted are asked for",
    ),
    "no maker of a certificate": ({"certificates.autoGenerated": False}, "autoGenerated is false"),
    "a certificate that nobody can verify": ({"certificates.secretName": "own"}, "needs certificates.caBundle"),
    "a gateway without Kafka": ({"gateway.enabled": True}, "gateway.settings.bootstrap_servers"),
}


@needs_helm
@pytest.mark.parametrize(("values", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_is_refused(values: Mapping[str, Any], said: str) -> None:
    """Before anything is installed, with the name of the value."""
    with pytest.raises(TestbedError, match=re.escape(said)):
        template(values, "here")


@needs_helm
def test_helm_lint_has_nothing_to_say() -> None:
    """No error and no warning, also when strict."""
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


@pytest.mark.parametrize("name", generate_chart.FILES)
def test_generated_files_are_fresh(name: str) -> None:
    """README, schema, roles, CRD, alerts and policy are what they are made from now."""
    assert (generate_chart.REPOSITORY / name).read_text() == generate_chart.FILES[name](), "run 'make docs'"


def test_every_value_is_documented() -> None:
    """Each leaf of values.yaml has a comment of its own, or stands in a documented map."""
    documented = {value.path for value in generate_chart.values()}

    def leaves(value: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
        if path in documented or not isinstance(value, dict) or not value:
            return [path]
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]

    parsed = yaml.safe_load((CHART / "values.yaml").read_text())
    assert [path for path in leaves(parsed) if path not in documented] == []
    assert all(value.text for value in generate_chart.values())


def test_the_schema_admits_no_other_value() -> None:
    """Every object of the schema that has properties is closed."""
    schema = json.loads((CHART / "values.schema.json").read_text())

    def closed(node: dict[str, Any]) -> bool:
        inner = node.get("properties")
        return inner is None or (node["additionalProperties"] is False and all(map(closed, inner.values())))

    assert closed(schema)


def test_the_version_is_the_project_s() -> None:
    """The image that the chart pulls by default is the one that this tree builds."""
    project = tomllib.loads((CHART.parents[1] / "pyproject.toml").read_text())["project"]
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == project["version"]
