"""The worlds that contract suites run on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from activator.kubernetes import configuration
from activator.kubernetes.client import KubernetesClient
from tests.contracts.kubernetes_worlds import FakeWorld, KubernetesWorld, RealWorld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from testbed.api import ApiClient

CRD = Path(__file__).parents[2] / "manifests" / "crds" / "scaletarget.yaml"


@pytest.fixture(scope="session")
def api_server_kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Kubeconfig of a real API server with our CRD and without controllers: nobody writes but the tests."""
    from testbed.control_plane import ControlPlane  # noqa: PLC0415 - the testbed is for the real tests alone

    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as plane:
        plane.controller_manager.stop()
        (crd,) = plane.api.apply(yaml.safe_load(CRD.read_text(encoding="utf-8")))
        plane.api_server.wait_ready(lambda: is_established(plane.api, crd), within_seconds=30)
        yield plane.kubeconfig


def is_established(api: ApiClient, crd: Mapping[str, Any]) -> bool:
    """Whether the API server serves what a CustomResourceDefinition names: a moment after it has taken it."""
    conditions = api.get(api.path_of(crd)).get("status", {}).get("conditions", [])
    return any((found["type"], found["status"]) == ("Established", "True") for found in conditions)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.real)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[KubernetesWorld]:
    """Yield an empty Kubernetes world of each kind."""
    if request.param == "fake":
        yield FakeWorld()
        return
    kubeconfig = request.getfixturevalue("api_server_kubeconfig")
    client = KubernetesClient(await configuration.load({"KUBECONFIG": str(kubeconfig)}))
    real = RealWorld(client)
    await real.open()
    yield real
    await real.close()
    await client.close()
