"""The Pods keep the rules of Pod Security `restricted` and of OpenShift's `restricted-v2`.

Sources: Kubernetes, "Pod Security Standards" (the API server of the end-to-end round enforces them for real);
the SecurityContextConstraints restricted-v2 of openshift/cluster-kube-apiserver-operator.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from tests.manifests.support import OVERLAYS, pod_spec, rendered

if TYPE_CHECKING:
    from collections.abc import Callable

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC")
USER_FIELDS = ("runAsUser", "runAsGroup", "fsGroup", "supplementalGroups", "seLinuxOptions", "sysctls")


def violations(spec: dict[str, Any]) -> list[str]:
    """What of a Pod's spec is against the rules; the field's name, shortly."""
    found = [name for name in HOST_FIELDS if spec.get(name)]
    found += [f"volume {volume['name']}" for volume in spec.get("volumes", []) if VOLUMES.isdisjoint(volume)]
    pod = spec.get("securityContext", {})
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        own = container.get("securityContext", {})
        seccomp = own.get("seccompProfile") or pod.get("seccompProfile") or {}
        rules = {
            "privileged": not own.get("privileged"),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "capabilities": own.get("capabilities", {}).get("drop") == ["ALL"]
            and set(own["capabilities"].get("add", [])) <= {"NET_BIND_SERVICE"},
            "runAsNonRoot": own.get("runAsNonRoot", pod.get("runAsNonRoot")) is True,
            "seccompProfile": seccomp.get("type") in {"RuntimeDefault", "Localhost"},
            "procMount": own.get("procMount", "Default") == "Default",
            "hostPort": not any(port.get("hostPort") for port in container.get("ports", [])),
            "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is True,
        }
        # A fixed identity is allowed by `restricted`, but lies outside the range that OpenShift gives a namespace.
        rules |= {field: field not in own and field not in pod for field in USER_FIELDS}
        found += [name for name, kept in rules.items() if not kept]
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_pods_keep_the_rules(overlay: str) -> None:
    """No overlay asks for more than `restricted` and `restricted-v2` allow, with any user ID and a read-only root."""
    assert violations(pod_spec(rendered(overlay))) == []


BREACHES: dict[str, Callable[[dict[str, Any]], object]] = {
    "hostNetwork": lambda spec: spec.update(hostNetwork=True),
    "volume host": lambda spec: spec["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
    "runAsUser": lambda spec: spec["securityContext"].update(runAsUser=1000),
    "seccompProfile": lambda spec: spec["securityContext"].pop("seccompProfile"),
    "runAsNonRoot": lambda spec: spec["securityContext"].pop("runAsNonRoot"),
    "capabilities": lambda spec: spec["containers"][0]["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]),
    "allowPrivilegeEscalation": lambda spec: spec["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
    "readOnlyRootFilesystem": lambda spec: spec["containers"][0]["securityContext"].pop("readOnlyRootFilesystem"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_would_be_seen(breach: str) -> None:
    """The rules above are not always kept: each breach is told by its name, and alone."""
    spec = copy.deepcopy(pod_spec(rendered("kubernetes")))
    BREACHES[breach](spec)
    assert violations(spec) == [breach]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_token_goes_only_to_the_pods_that_use_it(overlay: str) -> None:
    """The account gives no token by itself; the Pods of the activator ask for it."""
    objects = rendered(overlay)
    (account,) = [item for item in objects if item["kind"] == "ServiceAccount"]
    assert account["automountServiceAccountToken"] is False
    assert pod_spec(objects)["automountServiceAccountToken"] is True
