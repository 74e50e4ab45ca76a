"""Every overlay renders, alone and with every component, and what is in the tree is what is rendered."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import yaml

from scripts import render_manifests
from tests.manifests.support import (
    MANIFESTS,
    OVERLAYS,
    container,
    default_namespace,
    namespace_of,
    of_kind,
    rendered,
    the,
)

if TYPE_CHECKING:
    from pathlib import Path

needs_kubectl = pytest.mark.real
"""`make test` needs nothing but Python; kustomize is part of kubectl."""
OPTIONAL = ("servicemonitor", "networkpolicy", "prometheusrule", "otel")


def test_every_overlay_is_known_here() -> None:
    """The folder of overlays, the rendered files and these tests name the same overlays."""
    assert render_manifests.OVERLAYS == OVERLAYS
    assert sorted(path.stem for path in (MANIFESTS / "rendered").iterdir()) == list(OVERLAYS)


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_rendered_files_are_fresh(overlay: str) -> None:
    """The single file of an overlay is what kustomize makes of it now."""
    fresh = (MANIFESTS / "rendered" / f"{overlay}.yaml").read_text() == render_manifests.render(overlay)
    assert fresh, "run 'make manifests'"


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_optional_component_goes_on_every_overlay(overlay: str, tmp_path: Path) -> None:
    """A kustomization that adds the optional components to an overlay renders, and the objects come out once each."""
    wanted = [name for name in OPTIONAL if not (overlay == "openshift" and name == "servicemonitor")]
    components = [MANIFESTS / "components" / name for name in wanted] + [default_namespace(overlay)]
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(MANIFESTS / "overlays" / overlay, tmp_path)],
        "components": [os.path.relpath(path, tmp_path) for path in components],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    objects = list(yaml.safe_load_all(render_manifests.kustomize(tmp_path)))
    for kind in ("ServiceMonitor", "PodMonitor", "NetworkPolicy", "PrometheusRule"):
        assert len(of_kind(objects, kind)) == 1
    added = of_kind(objects, "ServiceMonitor", "PodMonitor", "NetworkPolicy", "PrometheusRule")
    assert {item["metadata"]["namespace"] for item in added} == {namespace_of(rendered(overlay))}
    names = [variable["name"] for variable in container(objects)["env"]]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in names
    assert len(names) == len(set(names))


def test_the_metrics_api_is_claimed_only_where_it_is_ours() -> None:
    """The APIService is in the overlays that own external.metrics.k8s.io, and in no other."""
    claims = {overlay: bool(of_kind(rendered(overlay), "APIService")) for overlay in OVERLAYS}
    assert claims == {"kubernetes": True, "openshift": True, "beside": False, "namespaced": False}


@pytest.mark.parametrize("overlay", ["kubernetes", "openshift"])
def test_the_api_service_leads_to_our_service(overlay: str) -> None:
    """The APIService names the Service in front of the Pods, in the same namespace, by a port that it has."""
    objects = rendered(overlay)
    reference = the(objects, "APIService", "v1beta1.external.metrics.k8s.io")["spec"]["service"]
    service = the(objects, "Service", reference["name"])
    assert service["metadata"]["namespace"] == reference["namespace"]
    (port,) = service["spec"]["ports"]
    assert port["port"] == reference["port"]
    assert port["targetPort"] in {named["name"] for named in container(objects)["ports"]}


def test_openshift_checks_the_certificate_that_it_makes() -> None:
    """service-ca's Secret is the one that is mounted, and the APIService does not skip verification."""
    objects = rendered("openshift")
    service = the(objects, "Service", "wakegate-metrics")
    secret = service["metadata"]["annotations"]["service.beta.openshift.io/serving-cert-secret-name"]
    (deployment,) = of_kind(objects, "Deployment")
    mounted = {
        volume["name"]: volume["secret"]["secretName"] for volume in deployment["spec"]["template"]["spec"]["volumes"]
    }
    assert mounted["metrics-api-tls"] == secret
    spec = the(objects, "APIService", "v1beta1.external.metrics.k8s.io")["spec"]
    assert "insecureSkipTLSVerify" not in spec


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_namespaced_object_has_a_namespace(overlay: str) -> None:
    """Nothing lands in whatever namespace kubectl happens to be in; one RoleBinding belongs to kube-system."""
    objects = rendered(overlay)
    cluster_scoped = {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "APIService"}
    namespaces = {
        item["metadata"].get("namespace")
        for item in objects
        if item["kind"] not in cluster_scoped and item["metadata"]["name"] != "wakegate-front-proxy-reader"
    }
    assert namespaces == {"wakegate" if overlay == "namespaced" else "wakegate-system"}
    assert the(objects, "RoleBinding", "wakegate-front-proxy-reader")["metadata"]["namespace"] == "kube-system"


def test_one_namespace_asks_for_nothing_of_the_clusters() -> None:
    """The overlay for one namespace has no object of the whole cluster's."""
    kinds = {item["kind"] for item in rendered("namespaced")}
    assert kinds.isdisjoint(
        {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "APIService"}
    )
