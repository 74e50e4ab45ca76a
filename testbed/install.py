"""An installation from the shipped manifests, on the testbed: `kubectl apply -k` of an overlay, and little else.

What stands between the shipped overlay and the testbed, all of it in `_kustomization` and `route_metrics_api`:

- all Pods are on one machine, so each listens on an address of its own and on reserved ports;
- there is no kube-proxy, so the Service of the metrics API becomes an ExternalName that leads to one ready Pod;
  what a Pod finds by the name of another Service is led to a ready Pod by the kubelet.

Everything else is as shipped: accounts, roles, Pod Security, probes, two replicas, APIService.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from testbed.bed import REPOSITORY
from testbed.errors import TestbedError
from testbed.helm import CHART, helm
from testbed.stage import until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from testbed.bed import Testbed

NAMESPACE = "wakegate-system"
API_SERVICE = "v1beta1.external.metrics.k8s.io"
KUBECTL_SECONDS = 120
RENDERED = "rendered.yaml"
"""What Helm has made of the chart."""


@dataclass
class Installation:
    """wakegate as an overlay installs it.

    Attributes:
        bed: with a control plane and a kubelet.
        overlay: name of a folder below manifests/overlays.
        namespace: the one that the overlay installs into.
        settings: more of them, by name as in `activator.settings`.
        components: names of folders below manifests/components that are put on the overlay.
    """

    bed: Testbed
    overlay: str = "kubernetes"
    namespace: str = NAMESPACE
    settings: Mapping[str, str] = field(default_factory=dict)
    components: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Take the ports, and write the kustomization that stands on the overlay."""
        self.http_port, self.metrics_api_port, self.dashboard_port = self.bed.reserve_ports(3)
        self.gateway_port, self.management_port = self.bed.reserve_ports(2)
        self.folder = self.bed.run_directory / f"install-{self.overlay}"
        self.folder.mkdir()
        (self.folder / "kustomization.yaml").write_text(yaml.safe_dump(self._kustomization()))

    @property
    def account(self) -> str:
        """The user name of its Pods at the API server."""
        return f"system:serviceaccount:{self.namespace}:wakegate"

    def apply(self) -> None:
        """Install it. Raises TestbedError with kubectl's words."""
        self.kubectl("apply", "-k", str(self.folder))

    def delete(self, *what: str) -> None:
        """Delete some objects, or all of them."""
        self.kubectl("delete", "--ignore-not-found", *(what or ("-k", str(self.folder))))

    def end(self) -> None:
        """Delete the Deployments, so that their Pods end while they still have their rights."""
        self.delete("-n", self.namespace, "deployment", "wakegate", "wakegate-gateway")
        until("its Pods have ended", lambda: not self.all_pods(), 60)

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl as the administrator and return what it prints. Raises TestbedError."""
        kubeconfig = f"--kubeconfig={self.bed.control_plane.kubeconfig}"
        cache = f"--cache-dir={self.bed.run_directory / 'kubectl-cache'}"
        done = subprocess.run(
            ["kubectl", kubeconfig, cache, *arguments],
            capture_output=True,
            text=True,
            timeout=KUBECTL_SECONDS,
            check=False,
        )
        if done.returncode:
            raise TestbedError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def shell(self, script: str) -> None:
        """Run a script with kubectl as the administrator. Raises TestbedError where it fails."""
        environment = {**os.environ, "KUBECONFIG": str(self.bed.control_plane.kubeconfig)}
        command = ["bash", "-eu", "-o", "pipefail", "-c", script]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=KUBECTL_SECONDS, check=False
        )
        if done.returncode:
            raise TestbedError(f"exit code {done.returncode}: {done.stderr.strip()}\n{script}")

    def all_pods(self) -> list[dict[str, Any]]:
        """Its Pods, those too that are being deleted."""
        found: list[dict[str, Any]] = self.bed.control_plane.api.get(f"/api/v1/namespaces/{self.namespace}/pods")[
            "items"
        ]
        return found

    def pods(self, component: str = "activator") -> list[dict[str, Any]]:
        """The Pods of one of its Deployments that are not being deleted."""
        return [
            pod
            for pod in self.all_pods()
            if pod["metadata"]["labels"].get("app.kubernetes.io/component") == component
            and not pod["metadata"].get("deletionTimestamp")
        ]

    def ready_pods(self, component: str = "activator") -> list[dict[str, Any]]:
        """Those of them whose readiness probe succeeds."""
        return [pod for pod in self.pods(component) if _is_ready(pod)]

    def route_metrics_api(self) -> None:
        """Lead the Service of the metrics API to one ready Pod, in kube-proxy's stead."""
        service = {
            "type": "ExternalName",
            "externalName": self.ready_pods()[0]["status"]["podIP"],
            "selector": None,
            "ports": [{"name": "metrics-api", "port": self.metrics_api_port, "targetPort": self.metrics_api_port}],
        }
        self.bed.control_plane.api.patch(
            f"/api/v1/namespaces/{self.namespace}/services/wakegate-metrics", {"spec": service}
        )

    def metrics_api_is_available(self) -> bool:
        """Whether the API server reaches it."""
        path = f"/apis/apiregistration.k8s.io/v1/apiservices/{API_SERVICE}"
        conditions = self.bed.control_plane.api.get(path).get("status", {}).get("conditions", [])
        return any((item["type"], item["status"]) == ("Available", "True") for item in conditions)

    def log(self) -> str:
        """What all its Pods have written."""
        return "".join(self.bed.pod_log(self.namespace, pod["metadata"]["name"]) for pod in self.pods())

    def _resources(self) -> list[str]:
        return [self._relative("overlays", self.overlay)]

    def _relative(self, *path: str) -> str:
        """Name a folder below manifests/ as kustomize wants it: it takes no absolute paths."""
        return os.path.relpath(REPOSITORY.joinpath("manifests", *path).resolve(), self.folder.resolve())

    def _kustomization(self) -> dict[str, Any]:
        activator = {
            "WAKEGATE_LISTEN": self.http_port,
            "WAKEGATE_METRICS_API_LISTEN": self.metrics_api_port,
            "WAKEGATE_DASHBOARD_LISTEN": self.dashboard_port,
        }
        gateway = {
            "WAKEGATE_GATEWAY_LISTEN": self.gateway_port,
            "WAKEGATE_GATEWAY_MANAGEMENT_LISTEN": self.management_port,
        }
        settings = [{"name": f"WAKEGATE_{name.upper()}", "value": value} for name, value in self.settings.items()]
        # An ExternalName has no target port: the port that is asked for is the one that is connected to.
        port = [{"op": "replace", "path": "/spec/service/port", "value": self.metrics_api_port}]
        service_port = [{"op": "replace", "path": "/spec/ports/0/port", "value": self.metrics_api_port}]
        return {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": self._resources(),
            "components": [self._relative("components", name) for name in self.components],
            "patches": [
                _patch("Deployment", "wakegate", _listening(activator, settings)),
                _patch("Deployment", "wakegate-gateway", _listening(gateway, [])),
                _patch("APIService", API_SERVICE, port),
                _patch("Service", "wakegate-metrics", service_port),
            ],
        }


@dataclass
class Release(Installation):
    """wakegate as the chart installs it: the same patches, put on what Helm has rendered.

    Hooks are not post-rendered by Helm, so they are as shipped.

    Attributes:
        overlay: name of its folder in the run directory.
        values: of the chart, by path.
    """

    overlay: str = "chart"
    values: Mapping[str, Any] = field(default_factory=dict)

    def apply(self) -> None:
        """Install it, or upgrade it, and keep the notes. Raises TestbedError with Helm's words."""
        given = [f"--set-json={name}={json.dumps(value)}" for name, value in self.values.items()]
        self.notes = self._helm(
            "upgrade", "--install", "wakegate", str(CHART), f"--post-renderer={self._renderer()}", *given
        )

    def uninstall(self) -> None:
        """Delete the release; Helm waits for its hook. Raises TestbedError."""
        self._helm("uninstall", "wakegate")

    def test(self) -> str:
        """Run the chart's own tests and return what Helm says. Raises TestbedError."""
        return self._helm("test", "wakegate")

    def _helm(self, *arguments: str) -> str:
        return helm(*arguments, "--namespace", self.namespace, kubeconfig=self.bed.control_plane.kubeconfig)

    def _resources(self) -> list[str]:
        return [RENDERED]

    def _renderer(self) -> Path:
        script = self.folder / "render"
        script.write_text(f"#!/bin/sh\ncat > '{self.folder / RENDERED}' && kubectl kustomize '{self.folder}'\n")
        script.chmod(0o755)
        return script


def _patch(kind: str, name: str, operations: list[dict[str, Any]]) -> dict[str, Any]:
    return {"target": {"kind": kind, "name": f"^{re.escape(name)}$"}, "patch": json.dumps(operations)}


def _listening(listen: Mapping[str, int], more: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Listen on the Pod's own address, and on reserved ports, of which the first two are the container's."""
    container = "/spec/template/spec/containers/0"
    variables: list[dict[str, Any]] = [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        *({"name": name, "value": f"$(POD_IP):{port}"} for name, port in listen.items()),
        *more,
    ]
    return [
        *({"op": "add", "path": f"{container}/env/-", "value": variable} for variable in variables),
        *(
            {"op": "replace", "path": f"{container}/ports/{at}/containerPort", "value": port}
            for at, port in enumerate(list(listen.values())[:2])
        ),
    ]


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any((item["type"], item["status"]) == ("Ready", "True") for item in conditions)
