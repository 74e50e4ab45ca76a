"""The settings that the doctor judges are those of the installed Deployment, or none."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import pytest

from activator.doctor.checks import CHECKS, examine
from activator.doctor.facts import Unknown
from activator.doctor.verdict import Level
from activator.errors import DeniedError
from activator.wiring.inspection import Inspection
from tests.kubernetes.memory_api import MemoryApi

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.doctor.facts import Facts
    from activator.doctor.verdict import Verdict
    from activator.kubernetes.client import KubernetesClient

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DEPLOYMENTS = "/apis/apps/v1/deployments"
OPS_DEPLOYMENTS = "/apis/apps/v1/namespaces/ops/deployments"
CONFIG_MAP = "/api/v1/namespaces/ops/configmaps/wakegate"
DENIED = DeniedError("403")
MISTAKEN = {"WAKEGATE_HANDOFF": "sideways"}
IN_POD = {"POD_NAMESPACE": "ops", "POD_NAME": "wakegate-1"}


class Dated(MemoryApi):
    """An API server that tells the time, and of nobody what he may do."""

    async def date(self) -> datetime:
        """Answer at once."""
        return NOW

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Refuse a review."""
        del body
        await self._begin("POST", path)
        raise DENIED


def installed(*, env_from: bool = True, **variables: str) -> Dated:
    """A cluster with a Deployment in namespace ops that has these variables, and a ConfigMap without a mistake."""
    api = Dated()
    container: dict[str, Any] = {"env": [{"name": name, "value": value} for name, value in variables.items()]}
    if env_from:
        container["envFrom"] = [{"configMapRef": {"name": "wakegate", "optional": True}}]
    pod = {"spec": {"containers": [container]}}
    api.put(f"{OPS_DEPLOYMENTS}/wakegate", {"metadata": {"name": "wakegate"}, "spec": {"template": pod}})
    api.put(CONFIG_MAP, {"metadata": {"name": "wakegate"}, "data": {"WAKEGATE_HANDOFF": "direct"}})
    return api


def inspection(api: Dated, **environment: str) -> Inspection:
    """A look at a cluster by a process with this environment."""
    return Inspection(cast("KubernetesClient", api), lambda: NOW, environment=environment)


def settings(facts: Facts) -> Verdict:
    """What the check of this name says."""
    (result,) = [result for result in examine(facts, CHECKS) if result.check.id == "settings"]
    return result.verdict


@pytest.mark.parametrize("environment", [{}, MISTAKEN], ids=["empty", "mistaken"])
async def test_a_deployment_that_may_not_be_listed_has_no_settings(environment: Mapping[str, str]) -> None:
    """They are skipped with the reason: those of one's own shell are nobody's installation."""
    api = installed()
    api.broken[DEPLOYMENTS] = DENIED
    verdict = settings(await inspection(api, **environment).components())
    assert (verdict.level, verdict.text) == (
        Level.SKIPPED,
        "Deployment wakegate-system/wakegate: you may not list deployments",
    )


async def test_a_config_map_that_may_not_be_read_is_not_an_empty_one() -> None:
    """The settings are skipped with the reason, and so is a mistake that they may mend."""
    api = installed(WAKEGATE_LEASE="ops/mine")
    api.broken[CONFIG_MAP] = DENIED
    facts = await inspection(api).components()
    verdict = settings(facts)
    assert (verdict.level, verdict.text) == (Level.SKIPPED, "ConfigMap ops/wakegate: you may not read it")
    assert facts.settings.lease == ("ops", "mine")


async def test_a_certificate_that_only_the_config_map_would_name_is_not_known() -> None:
    """It is not said that each replica makes its own."""
    api = installed()
    api.broken[CONFIG_MAP] = DENIED
    facts = await inspection(api).facts()
    assert facts.certificate == Unknown("ConfigMap ops/wakegate: you may not read it")
    del api.broken[CONFIG_MAP]
    assert (await inspection(api).facts()).certificate is None


async def test_a_config_map_that_no_pod_takes_need_not_be_read() -> None:
    """A Deployment that has all of its settings itself is judged by them."""
    api = installed(env_from=False, **MISTAKEN)
    api.broken[CONFIG_MAP] = DENIED
    verdict = settings(await inspection(api).components())
    assert verdict.level is Level.FAIL
    assert "'sideways'" in verdict.causes[0]


async def test_the_settings_of_a_pod_are_known_though_its_deployment_is_not() -> None:
    """In a Pod of wakegate the environment has them."""
    api = installed()
    api.broken[OPS_DEPLOYMENTS] = DENIED
    assert settings(await inspection(api, **IN_POD).components()).level is Level.OK
    assert settings(await inspection(api, **IN_POD, **MISTAKEN).components()).level is Level.FAIL
