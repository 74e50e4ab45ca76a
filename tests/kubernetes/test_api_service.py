"""Who serves external metrics settles the hand-off: by the APIService's reference, never by its mood."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from activator.core.model import Handover
from activator.errors import NotFoundError, UnavailableError
from activator.kubernetes.api_service import MetricsApiOwner
from tests.virtual_time import virtual

OURS = ("wakegate-system", "wakegate-metrics")


class OneDocument:
    """An API server that answers each GET with what a test put there."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self.answer = answer

    async def get(self, _path: str) -> dict[str, Any]:
        """Answer or fail."""
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def api_service(namespace: str, name: str, *, available: bool = True) -> dict[str, Any]:
    """An APIService that refers to a Service."""
    status = "True" if available else "False"
    conditions = [{"type": "Available", "status": status}]
    return {"spec": {"service": {"namespace": namespace, "name": name}}, "status": {"conditions": conditions}}


CASES = {
    "it leads to our Service": (api_service(*OURS), Handover.HPA),
    "it leads to our Service, which is not Available just now": (api_service(*OURS, available=False), Handover.HPA),
    "it belongs to KEDA": (api_service("keda", "keda-operator-metrics-apiserver"), Handover.DIRECT),
    "it belongs to Datadog": (api_service("datadog", "datadog-cluster-agent"), Handover.DIRECT),
    "it is local to the API server": ({"spec": {}}, Handover.DIRECT),
    "there is none": (NotFoundError("404"), Handover.DIRECT),
    "it could not be read yet": (UnavailableError("API server", "503"), None),
}


@pytest.mark.parametrize(("answer", "settled"), CASES.values(), ids=CASES.keys())
def test_the_reference_settles_it(answer: dict[str, Any] | Exception, settled: Handover | None) -> None:
    """Each owner of the API means one hand-off; not knowing is a value of its own."""

    @virtual
    async def look() -> None:
        owner = MetricsApiOwner(OneDocument(answer), OURS)  # type: ignore[arg-type]
        await run_for(owner, 1)
        assert owner.handoff() is settled

    look()


@virtual
async def test_an_outage_keeps_what_was_settled() -> None:
    """The API server is away: who moves 1..N stays as it is, and a change is seen after its return."""
    server = OneDocument(api_service(*OURS))
    owner = MetricsApiOwner(server, OURS)  # type: ignore[arg-type]
    await run_for(owner, 1)
    server.answer = UnavailableError("API server", "connection refused")
    await run_for(owner, 60)
    assert owner.handoff() is Handover.HPA
    server.answer = NotFoundError("404")
    await run_for(owner, 15)
    assert owner.handoff() is Handover.DIRECT


async def run_for(owner: MetricsApiOwner, seconds: float) -> None:
    """Let it look for some virtual time."""
    task = asyncio.create_task(owner.run())
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
