"""The OpenShift overlay as restricted-v2 lets it in: under a user ID of the namespace's range, with the image's files.

What the admission of restricted-v2 sets (openshift/cluster-kube-apiserver-operator, and `uid-range` of the namespace's
annotations): runAsUser and fsGroup are the first of the range, the group is the image's, which is 0. What it refuses is
`violations` in `tests/manifests/test_pod_security.py`.
"""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from activator.web.issuing import issue
from activator.wiring.inspection import Clock
from testbed.kubelet import container as containers
from testbed.kubelet.volumes import relocated, secret_mounts
from tests.image.built import ANYBODY, as_anybody, command, environment, serving, status
from tests.manifests.support import pod_spec, rendered
from tests.manifests.test_gateway import POD
from tests.manifests.test_pod_security import violations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.real

LOOPBACK = dict.fromkeys(
    (
        *("WAKEGATE_LISTEN", "WAKEGATE_METRICS_API_LISTEN", "WAKEGATE_DASHBOARD_LISTEN"),
        *("WAKEGATE_GATEWAY_LISTEN", "WAKEGATE_GATEWAY_MANAGEMENT_LISTEN"),
    ),
    "127.0.0.1:0",
)
PODS: dict[str, tuple[dict[str, Any], str]] = {
    "activator": (pod_spec(rendered("openshift")), r"health and metrics on port (\d+)"),
    "gateway": (POD["spec"], r"probes on port (\d+)"),
}
"""Their specs, and where the log says the port of /healthz."""


def admitted(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A Pod's spec as restricted-v2 hands it on; what it would refuse fails the test."""
    assert violations(dict(spec)) == []
    security = {**spec["securityContext"], "fsGroup": ANYBODY, "seLinuxOptions": {"level": "s0:c26,c5"}}
    return {
        **spec,
        "securityContext": security,
        "containers": [
            {**container, "securityContext": {**container["securityContext"], "runAsUser": ANYBODY}}
            for container in spec["containers"]
        ],
    }


def identity(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Whom the container runtime makes of a process, where we may become somebody; else we ourselves."""
    if not as_anybody():
        return {}
    (container,) = spec["containers"]
    return {
        "user": container["securityContext"]["runAsUser"],
        "group": 0,
        "extra_groups": [spec["securityContext"]["fsGroup"]],
    }


def certificate() -> dict[str, bytes]:
    """What service-ca puts into the Secret that the overlay mounts."""
    made = issue(["wakegate-metrics.wakegate-system.svc"], Clock().now(), timedelta(days=1))
    return {"tls.crt": made.chain.encode(), "tls.key": made.key.encode()}


@contextmanager
def mounted(spec: Mapping[str, Any]) -> Iterator[dict[str, Path]]:
    """The folders of the Pod's Secrets: service-ca's certificate, for the fsGroup alone; the others empty."""
    (container,) = spec["containers"]
    with tempfile.TemporaryDirectory(prefix="wakegate-mounts-") as place:
        Path(place).chmod(0o755)
        folders = {}
        for number, mount in enumerate(secret_mounts({"spec": spec}, container)):
            folder = folders[mount.path] = Path(place) / str(number)
            folder.mkdir(mode=0o755)
            if mount.optional:
                continue
            for name, text in certificate().items():
                (folder / name).write_bytes(text)
                if as_anybody():
                    os.chown(folder / name, 0, spec["securityContext"]["fsGroup"])
                (folder / name).chmod(0o640)
        yield folders


@pytest.mark.parametrize("name", PODS)
def test_it_serves_as_restricted_v2_starts_it(root: Path, name: str) -> None:
    """The overlay's own command and variables, as a user ID of the range: it serves, ends with 0, and wrote nothing."""
    told, pattern = PODS[name]
    spec = admitted(told)
    (container,) = spec["containers"]
    pod = {"metadata": {"name": f"{name}-0", "namespace": "wakegate-system", "uid": "u"}, "spec": spec}
    sources: containers.Sources = {
        ("ConfigMap", "wakegate"): None,
        ("ConfigMap", "wakegate-gateway"): {"WAKEGATE_GATEWAY_BOOTSTRAP_SERVERS": "127.0.0.1:9"},
    }
    written = containers.environment_of(pod, container, sources)
    with mounted(spec) as folders:
        variables = {key: relocated(value, folders) for key, value in written.items()}
        variables |= {**environment(root), **LOOPBACK}
        words = command(root, *container["command"])
        with serving(words, variables, told=pattern, identity=identity(spec)) as (process, port):
            assert (status(port, "/healthz"), status(port, "/readyz")) == (200, 503)
            if as_anybody():
                owner = re.search(r"Uid:\t(\d+)", Path(f"/proc/{process.pid}/status").read_text())
                assert owner is not None
                assert int(owner[1]) == ANYBODY
