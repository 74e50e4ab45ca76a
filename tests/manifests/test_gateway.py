"""The gateway's component says what the gateway understands, and its Pods may do nothing at the API server."""

from __future__ import annotations

import os
import tomllib
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest
import yaml

from gateway import settings
from scripts import render_manifests
from tests.manifests.support import MANIFESTS, OVERLAYS, Object, default_namespace, namespace_of, of_kind, rendered, the
from tests.manifests.test_pod_security import violations

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = MANIFESTS / "components" / "gateway"
PROJECT = tomllib.loads((MANIFESTS.parent / "pyproject.toml").read_text())["project"]
OBJECTS: list[Object] = [
    document
    for name in yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]
    for document in yaml.safe_load_all((FOLDER / name).read_text())
]
DEPLOYMENT = the(OBJECTS, "Deployment", "wakegate-gateway")
POD = DEPLOYMENT["spec"]["template"]
(CONTAINER,) = POD["spec"]["containers"]
ENVIRONMENT = {variable["name"]: variable.get("value", "") for variable in CONTAINER["env"]}


def read() -> settings.Settings:
    """The settings as a Pod in a namespace would read them, with the one thing that its ConfigMap has to say."""
    given = {name: value.replace("$(POD_NAMESPACE)", "here") for name, value in ENVIRONMENT.items()}
    return settings.read(None, {**given, "WAKEGATE_GATEWAY_BOOTSTRAP_SERVERS": "kafka:9092"})


def test_every_variable_is_a_setting() -> None:
    """Each WAKEGATE_GATEWAY_* variable is one that the gateway reads, and its value can be used."""
    known = {settings.environment_name(field.name) for field in fields(settings.Settings)}
    assert {name for name in ENVIRONMENT if name.startswith("WAKEGATE_")} <= known
    assert read().token_file, "by default nobody may send, rather than anyone"


def test_it_wakes_through_the_activators_own_service() -> None:
    """The URL that is told of new records is that of the Service in front of the activator, with its path."""
    service = the(rendered("kubernetes"), "Service", "wakegate")
    (port,) = service["spec"]["ports"]
    assert read().wake_url == f"http://{service['metadata']['name']}.here:{port['port']}/wake"


def test_ports_are_those_that_are_listened_on() -> None:
    """Named ports are the settings' defaults; probes, Service and NetworkPolicy use names that there are."""
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    listen = settings.Settings().listen, settings.Settings().management_listen
    assert listen == (("0.0.0.0", ports["events"]), ("0.0.0.0", ports["management"]))  # noqa: S104 - the defaults
    for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert CONTAINER[probe]["httpGet"] == {"path": path, "port": "management"}
    (service_port,) = the(OBJECTS, "Service", "wakegate-gateway")["spec"]["ports"]
    assert service_port["targetPort"] == "events"
    policy = the(OBJECTS, "NetworkPolicy", "wakegate-gateway")["spec"]
    assert {port["port"] for rule in policy["ingress"] for port in rule["ports"]} == ports.keys()


def test_selectors_find_its_pods_and_no_others() -> None:
    """Deployment, Service, PodDisruptionBudget, NetworkPolicy and anti-affinity select these labels alone."""
    terms = POD["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    selectors = [
        DEPLOYMENT["spec"]["selector"]["matchLabels"],
        the(OBJECTS, "Service", "wakegate-gateway")["spec"]["selector"],
        the(OBJECTS, "PodDisruptionBudget", "wakegate-gateway")["spec"]["selector"]["matchLabels"],
        the(OBJECTS, "NetworkPolicy", "wakegate-gateway")["spec"]["podSelector"]["matchLabels"],
        *(term["podAffinityTerm"]["labelSelector"]["matchLabels"] for term in terms),
    ]
    (activator,) = of_kind(rendered("kubernetes"), "Deployment")
    others = activator["spec"]["template"]["metadata"]["labels"].items()
    assert all(selector.items() <= POD["metadata"]["labels"].items() for selector in selectors)
    assert not any(selector.items() <= others for selector in selectors)


def test_its_pods_are_admitted_by_the_activators_network_policy() -> None:
    """The label by which POST /wake is let in is one that the gateway's Pods have."""
    text = (MANIFESTS / "components" / "networkpolicy" / "networkpolicy.yaml").read_text()
    sources = [source for rule in yaml.safe_load(text)["spec"]["ingress"] for source in rule.get("from", [])]
    admitted = [source["podSelector"]["matchLabels"].items() for source in sources if "podSelector" in source]
    assert any(labels <= POD["metadata"]["labels"].items() for labels in admitted)


def test_no_token_and_no_right() -> None:
    """Neither the account nor the Pods give a token of the API server, and nothing is granted."""
    assert the(OBJECTS, "ServiceAccount", "wakegate-gateway")["automountServiceAccountToken"] is False
    assert POD["spec"]["automountServiceAccountToken"] is False
    assert of_kind(OBJECTS, "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding") == []


def test_its_pods_keep_the_rules() -> None:
    """Pod Security `restricted` and OpenShift's `restricted-v2`, with any user ID and a read-only root."""
    assert violations(POD["spec"]) == []


def test_the_image_is_this_version_and_its_command_exists() -> None:
    """The tag is the project's version; the command is one that the distribution installs."""
    assert CONTAINER["image"] == f"wakegate:{PROJECT['version']}"
    assert CONTAINER["command"][0] in PROJECT["scripts"]


def test_a_file_that_is_named_is_mounted() -> None:
    """Each file or folder that the environment names lies in a volume, all of them optional Secrets."""
    mounts = [mount["mountPath"] for mount in CONTAINER["volumeMounts"]]
    files = [value for value in ENVIRONMENT.values() if value.startswith("/")]
    assert len(files) == len(mounts)
    assert all(any(file == mount or file.startswith(mount + "/") for mount in mounts) for file in files)
    assert all(volume["secret"]["optional"] for volume in POD["spec"]["volumes"])


def test_it_ends_within_its_grace() -> None:
    """The Pod's grace is longer than the delay and the grace of the process together."""
    given = settings.Settings()
    assert POD["spec"]["terminationGracePeriodSeconds"] > given.shutdown_delay + given.shutdown_grace


def test_the_route_leads_to_its_service_by_https_alone() -> None:
    """To the port's name in the Service; a token that was sent in the clear would be lost."""
    (route,) = yaml.safe_load_all((MANIFESTS / "components" / "gateway-route" / "route.yaml").read_text())
    service = the(OBJECTS, "Service", "wakegate-gateway")
    assert route["spec"]["to"] == {"kind": "Service", "name": service["metadata"]["name"]}
    assert route["spec"]["port"]["targetPort"] in [port["name"] for port in service["spec"]["ports"]]
    assert route["spec"]["tls"] == {"termination": "edge", "insecureEdgeTerminationPolicy": "None"}


@pytest.mark.real  # kustomize is part of kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_it_goes_on_every_overlay_and_into_its_namespace(overlay: str, tmp_path: Path) -> None:
    """A kustomization that adds the gateway to an overlay renders, and all of it has the overlay's namespace."""
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(MANIFESTS / "overlays" / overlay, tmp_path)],
        "components": [os.path.relpath(path, tmp_path) for path in (FOLDER, default_namespace(overlay))],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    objects = list(yaml.safe_load_all(render_manifests.kustomize(tmp_path)))
    ours = [item for item in objects if item["metadata"]["name"] == "wakegate-gateway"]
    assert sorted(item["kind"] for item in ours if item["kind"] != "PodMonitor") == [
        "Deployment",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
    ]
    assert {item["metadata"]["namespace"] for item in ours} == {namespace_of(rendered(overlay))}
