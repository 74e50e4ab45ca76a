"""The parts with a Kafka that asks who one is, once for all cases of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from testbed.bed import REPOSITORY, Testbed, TestbedOptions
from testbed.control_plane_flags import HpaFlags
from testbed.kafka_config import Listener
from testbed.stage import install_crd, install_keda_crds
from tests.e2e.secured.ground import ELSEWHERE, FIRST, LONG_AGO, USER

if TYPE_CHECKING:
    from collections.abc import Iterator

LISTENERS = (
    Listener("SASL_SSL", users={USER: FIRST}, name="SCRAM"),
    Listener("SSL", require_client_certificate=True, name="MTLS"),
    Listener("SSL", require_client_certificate=True, name="EXPIRED", certificate_not_after=LONG_AGO),
    Listener("SSL", require_client_certificate=True, name="ELSEWHERE", certificate_hosts=(ELSEWHERE,)),
)


@pytest.fixture(scope="package")
def bed() -> Iterator[Testbed]:
    """All parts, with a Kafka that asks who one is."""
    options = TestbedOptions(hpa=HpaFlags(sync_period="2s", downscale_stabilization="5s"), kafka_listeners=LISTENERS)
    with Testbed(options) as made:
        install_crd(made)
        install_keda_crds(made)
        made.control_plane.api.apply(*_roles())
        yield made


def _roles() -> list[dict[str, Any]]:
    found = []
    for file in ("base/rbac.yaml", "base/rbac-cluster.yaml", "components/secrets-reader/rbac.yaml"):
        documents = yaml.safe_load_all((REPOSITORY / "manifests" / file).read_text())
        found += [document for document in documents if document["kind"] == "ClusterRole"]
    return found
