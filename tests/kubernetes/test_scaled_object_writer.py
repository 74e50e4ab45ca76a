"""The status of a ScaledObject, as several replicas write it in turn."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from activator.core.model import ScaledObject
from activator.kubernetes.scaled_object_status import Remembered
from activator.kubernetes.scaled_object_writer import ScaledObjectWriter
from activator.ports import HandoffView
from tests.fakes.facts import POLICY, START, evaluation, lag
from tests.fakes.recorder import FakeRecorder
from tests.kubernetes.memory_api import MemoryApi
from tests.kubernetes.test_scaled_objects import Followed, document, path_of, running
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from activator.kubernetes.client import KubernetesClient

DRIVEN = replace(POLICY, scaled_object=ScaledObject(name="orders", uid="u-orders", hpa_name="keda-hpa-orders"))


class Api(MemoryApi):
    """With a status subresource for merge patches."""

    async def merge_patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Change the object itself."""
        return await super().merge_patch(path.removesuffix("/status"), body)


@virtual
async def test_who_leads_again_writes_over_what_another_wrote() -> None:
    """What a leader wrote last is not what stands there, where another has led since."""
    api = Api()
    api.put(path_of("orders"), document())
    followed, leader = Followed(api), ["A"]

    def writer(name: str) -> ScaledObjectWriter:
        client = cast("KubernetesClient", api)
        made = ScaledObjectWriter(client, followed.objects, FakeRecorder(), lambda: leader == [name], lambda: START)
        made.remembered = lambda _: Remembered(1, None, HandoffView())
        return made

    def ready() -> str:
        conditions = api.documents[path_of("orders")]["status"]["conditions"]
        return next(str(entry["status"]) for entry in conditions if entry["type"] == "Ready")

    writers = [writer("A"), writer("B")]

    async def look(seconds: float, *problems: str) -> str:
        for each in writers:
            each.record(evaluation(seconds, policy=DRIVEN, lags=(lag(seconds=seconds, problems=problems),)))
        await asyncio.sleep(1)
        return ready()

    tasks = [asyncio.create_task(each.run()) for each in writers]
    async with running(followed):
        assert await look(0) == "True"
        leader[0] = "B"
        assert await look(30, "NOT_LEADER") == "False"
        leader[0] = "A"
        assert await look(60) == "True"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
