"""The Deployment says what the code understands: settings, ports, paths, command, version."""

from __future__ import annotations

import tomllib
from dataclasses import fields

import pytest

from activator import settings
from activator.core.model import Handover
from activator.kubernetes.lease import LeaseTimes
from tests.manifests.support import (
    MANIFESTS,
    OVERLAYS,
    container,
    environment,
    namespace_of,
    of_kind,
    pod_spec,
    rendered,
    the,
)

PROJECT = tomllib.loads((MANIFESTS.parent / "pyproject.toml").read_text())["project"]
KNOWN = {settings.environment_name(field.name) for field in fields(settings.Settings)}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_variable_is_a_setting(overlay: str) -> None:
    """Each WAKEGATE_* variable is one that the settings read, and its value can be used."""
    objects = rendered(overlay)
    given = environment(objects, namespace_of(objects))
    assert {name for name in given if name.startswith("WAKEGATE_")} <= KNOWN
    read = settings.read(None, given)
    assert read.lease == (namespace_of(objects), "wakegate")
    assert read.metrics_api_service == (namespace_of(objects), "wakegate-metrics")
    assert read.leader_election


def test_what_an_overlay_is_for() -> None:
    """Who moves 1..N and which namespaces are managed, as each overlay's first lines say."""
    read = {overlay: settings.read(None, environment(rendered(overlay), "here")) for overlay in OVERLAYS}
    handoffs = {overlay: found.handoff for overlay, found in read.items()}
    assert handoffs == {
        "kubernetes": Handover.AUTO,
        "openshift": Handover.AUTO,
        "beside": Handover.DIRECT,
        "namespaced": Handover.DIRECT,
    }
    watched = {overlay: found.watch_namespace for overlay, found in read.items()}
    assert watched == {"kubernetes": (), "openshift": (), "beside": (), "namespaced": ("here",)}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_ports_are_those_that_are_listened_on(overlay: str) -> None:
    """The named ports are the settings' defaults, and probes and Services use names that there are."""
    objects = rendered(overlay)
    ports = {port["name"]: port["containerPort"] for port in container(objects)["ports"]}
    assert ports == {"http": settings.Settings().listen[1], "metrics-api": settings.Settings().metrics_api_listen[1]}
    probes = {name: container(objects)[name]["httpGet"] for name in ("livenessProbe", "readinessProbe")}
    assert probes == {
        "livenessProbe": {"path": "/healthz", "port": "http"},
        "readinessProbe": {"path": "/readyz", "port": "http"},
    }
    for service in of_kind(objects, "Service"):
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports.keys()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_find_the_pods(overlay: str) -> None:
    """Deployment, Services, PodDisruptionBudget and anti-affinity all select the labels that the Pods have."""
    objects = rendered(overlay)
    (deployment,) = of_kind(objects, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    terms = pod_spec(objects)["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        *(service["spec"]["selector"] for service in of_kind(objects, "Service")),
        the(objects, "PodDisruptionBudget", "wakegate")["spec"]["selector"]["matchLabels"],
        *(term["podAffinityTerm"]["labelSelector"]["matchLabels"] for term in terms),
    ]
    assert all(selector.items() <= labels for selector in selectors)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_image_is_this_version_and_its_command_exists(overlay: str) -> None:
    """The tag is the project's version; the command is one that the distribution installs."""
    found = container(rendered(overlay))
    assert found["image"] == f"wakegate:{PROJECT['version']}"
    assert found["command"][0] in PROJECT["scripts"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_file_that_is_named_is_mounted(overlay: str) -> None:
    """Each setting that names a file names one below a volume's mount."""
    found = container(rendered(overlay))
    mounts = [mount["mountPath"] for mount in found["volumeMounts"]]
    files = [variable["value"] for variable in found["env"] if variable.get("value", "").startswith("/")]
    assert files
    assert all(any(file.startswith(mount + "/") for mount in mounts) for file in files)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_replica_can_go_at_any_time(overlay: str) -> None:
    """Two replicas, of which a drain takes one at most and an upgrade none; both have time to give back the Lease."""
    objects = rendered(overlay)
    (deployment,) = of_kind(objects, "Deployment")
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert the(objects, "PodDisruptionBudget", "wakegate")["spec"]["maxUnavailable"] == 1
    assert pod_spec(objects)["terminationGracePeriodSeconds"] > LeaseTimes().duration.total_seconds()
