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
    pod_spec,
    rendered,
    the,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.manifests.support import Object

needs_kubectl = pytest.mark.real
"""`make test` needs nothing but Python; kustomize is part of kubectl."""
API_SERVICE = "v1beta1.external.metrics.k8s.io"
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
    reference = the(objects, "APIService", API_SERVICE)["spec"]["service"]
    service = the(objects, "Service", reference["name"])
    assert service["metadata"]["namespace"] == reference["namespace"]
    (port,) = service["spec"]["ports"]
    assert port["port"] == reference["port"]
    assert port["targetPort"] in {named["name"] for named in container(objects)["ports"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_api_server_verifies_who_answers(overlay: str) -> None:
    """No APIService skips the verification of the certificate."""
    for api_service in of_kind(rendered(overlay), "APIService"):
        assert "insecureSkipTLSVerify" not in api_service["spec"]


def test_openshift_shows_the_certificate_that_service_ca_makes() -> None:
    """service-ca's Secret is the one that is mounted, and its CA goes on the APIService."""
    objects = rendered("openshift")
    service = the(objects, "Service", "wakegate-metrics")
    secret = service["metadata"]["annotations"]["service.beta.openshift.io/serving-cert-secret-name"]
    assert mounted_secret(objects) == secret
    annotations = the(objects, "APIService", API_SERVICE)["metadata"]["annotations"]
    assert annotations["service.beta.openshift.io/inject-cabundle"] == "true"


def test_a_certificate_of_its_own_has_a_secret_and_an_account_that_may_fill_it() -> None:
    """The Secret is there, empty, in the namespace of the Service, under the name that the Deployment says."""
    objects = rendered("kubernetes")
    (name,) = [
        variable["value"]
        for variable in container(objects)["env"]
        if variable["name"] == "WAKEGATE_METRICS_API_SHARED_CERTIFICATE"
    ]
    secret = the(objects, "Secret", name)
    assert secret["metadata"]["namespace"] == the(objects, "Service", "wakegate-metrics")["metadata"]["namespace"]
    assert {"data", "stringData"}.isdisjoint(secret), "applying it again must not empty it"
    assert the(objects, "Role", "wakegate-metrics-certificate")["rules"][0]["resourceNames"] == [name]


@needs_kubectl
def test_cert_manager_makes_what_is_mounted(tmp_path: Path) -> None:
    """Base, metrics API and cert-manager together: one Secret, the Service's name, and its CA on the APIService."""
    components = [MANIFESTS / "components" / name for name in ("metrics-api", "cert-manager", "namespace")]
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(MANIFESTS / "base", tmp_path)],
        "components": [os.path.relpath(path, tmp_path) for path in components],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    objects = list(yaml.safe_load_all(render_manifests.kustomize(tmp_path)))
    certificate = the(objects, "Certificate", "wakegate-metrics")
    namespace = certificate["metadata"]["namespace"]
    assert mounted_secret(objects) == certificate["spec"]["secretName"]
    assert certificate["spec"]["dnsNames"] == [f"wakegate-metrics.{namespace}.svc"]
    annotations = the(objects, "APIService", API_SERVICE)["metadata"]["annotations"]
    assert annotations["cert-manager.io/inject-ca-from"] == f"{namespace}/wakegate-metrics"
    issuers = {item["metadata"]["name"]: item["spec"] for item in of_kind(objects, "Issuer")}
    authority = the(objects, "Certificate", "wakegate-metrics-ca")["spec"]
    assert issuers[certificate["spec"]["issuerRef"]["name"]]["ca"]["secretName"] == authority["secretName"]
    assert authority["issuerRef"]["name"] in issuers


def mounted_secret(objects: list[Object]) -> str:
    """The Secret whose certificate the metrics API shows."""
    volumes = {volume["name"]: volume["secret"]["secretName"] for volume in pod_spec(objects)["volumes"]}
    return str(volumes["metrics-api-tls"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_namespaced_object_has_a_namespace(overlay: str) -> None:
    """Nothing lands in whatever namespace kubectl happens to be in; one RoleBinding belongs to kube-system."""
    objects = rendered(overlay)
    cluster_scoped = {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "APIService"}
    namespaces = {
        item["metadata"].get("namespace")
        for item in objects
        if item["kind"] not in cluster_scoped and "front-proxy-reader" not in item["metadata"]["name"]
    }
    assert namespaces == {"wakegate" if overlay == "namespaced" else "wakegate-system"}
    reader = "wakegate-front-proxy-reader" + ("-wakegate" if overlay == "namespaced" else "")
    assert the(objects, "RoleBinding", reader)["metadata"]["namespace"] == "kube-system"


def test_each_namespace_can_have_its_own() -> None:
    """Outside of its namespace the overlay for one has only what is named after it: a second one takes nothing away."""
    outside = [item["metadata"] for item in rendered("namespaced") if item["metadata"]["namespace"] != "wakegate"]
    assert [(item["namespace"], item["name"]) for item in outside] == [
        ("kube-system", "wakegate-front-proxy-reader-wakegate")
    ]


def test_one_namespace_asks_for_nothing_of_the_clusters() -> None:
    """The overlay for one namespace has no object of the whole cluster's."""
    kinds = {item["kind"] for item in rendered("namespaced")}
    assert kinds.isdisjoint(
        {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "APIService"}
    )
