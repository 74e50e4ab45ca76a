"""A reflector tells its handler all there is, through whatever happens to the API server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import pytest

from activator.kubernetes.reflector import Key, Reflector
from activator.kubernetes.responses import ExpiredError
from tests.kubernetes.memory_api import Document, MemoryApi, unreachable
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.errors import WakegateError
    from activator.kubernetes.client import KubernetesClient

PATH = "/apis/apps/v1/deployments"


class Names:
    """A handler that wants what is labelled, and writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def seen(self, document: Document) -> bool:
        """Take an object."""
        self.told.append(f"{document['metadata']['name']} {document.get('value')}")
        return not document.get("unwanted")

    def gone(self, key: Key) -> None:
        """Lose an object."""
        self.told.append(f"gone {key[1]}")

    def listed(self) -> None:
        """All has been delivered."""
        self.told.append("listed")

    def take(self) -> list[str]:
        """Return what was told since the last time."""
        told, self.told = self.told, []
        return told


@asynccontextmanager
async def reflecting(api: MemoryApi) -> AsyncIterator[Names]:
    """Run a reflector for the block, from its first list on."""
    names = Names()
    task = asyncio.create_task(Reflector(cast("KubernetesClient", api), PATH, names).run())
    await asyncio.sleep(1)
    yield names
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def deployment(name: str, value: int = 0, *, unwanted: bool = False) -> tuple[str, Document]:
    """Path and document of a Deployment."""
    document = {"metadata": {"name": name}, "value": value, "unwanted": unwanted}
    return f"/apis/apps/v1/namespaces/shop/deployments/{name}", document


def full(*names: str) -> MemoryApi:
    """An API server with some Deployments."""
    api = MemoryApi()
    for name in names:
        api.put(*deployment(name))
    return api


@virtual
async def test_every_page_is_told_and_then_every_change() -> None:
    """Three objects on pages of two; one more, one changed, one deleted."""
    api = full("a", "b", "c")
    async with reflecting(api) as names:
        assert names.take() == ["a 0", "b 0", "c 0", "listed"]
        api.put(*deployment("d", 1))
        api.put(*deployment("a", 2))
        api.remove(deployment("b")[0])
        await asyncio.sleep(1)
        assert names.take() == ["d 1", "a 2", "gone b"]
        assert api.asked("LIST") == [PATH, PATH]


@virtual
async def test_only_what_was_wanted_is_told_as_gone() -> None:
    """An object that the handler wants no more is forgotten at once; it has seen that for itself."""
    api = full("a", "b")
    async with reflecting(api) as names:
        api.put(*deployment("a", 1, unwanted=True))
        await asyncio.sleep(1)
        names.take()
        api.remove(deployment("a")[0])
        api.remove(deployment("b")[0])
        await asyncio.sleep(1)
        assert names.take() == ["gone b"]


@virtual
async def test_a_watch_that_ends_goes_on_where_it_was() -> None:
    """Bookmarks move it on, so that nothing is told twice and no list is needed."""
    api = full("a")
    async with reflecting(api) as names:
        names.take()
        api.bookmark()
        await asyncio.sleep(1)
        api.end_watches()
        await asyncio.sleep(1)
        first, second = (int(path.partition("@")[2]) for path in api.asked("WATCH"))
        assert second > first
        api.put(*deployment("b"))
        await asyncio.sleep(1)
        assert names.take() == ["b 0"]
        assert len(api.asked("LIST")) == 1


@virtual
async def test_a_version_that_is_too_old_is_listed_again() -> None:
    """What was deleted while nobody watched is told as gone."""
    api = full("a", "b")
    async with reflecting(api) as names:
        names.take()
        api.end_watches(unreachable())
        api.down = unreachable()
        await asyncio.sleep(0.01)
        api.remove(deployment("a")[0])
        api.put(*deployment("c"))
        api.down = None
        api.faults.append(("WATCH", ExpiredError("410 too old resource version"), False))
        await asyncio.sleep(10)
        assert names.take() == ["b 0", "c 0", "gone a", "listed"]
        assert api.watching == 1


@virtual
async def test_an_outage_is_waited_for_with_growing_patience_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """A minute without API server costs a dozen tries; ten seconds after its return everything is followed."""
    api = full("a")
    caplog.set_level("INFO")
    async with reflecting(api) as names:
        names.take()
        api.down = unreachable()
        api.end_watches(unreachable())
        tried = len(api.log)
        await asyncio.sleep(60)
        assert 6 <= len(api.log) - tried <= 16
        api.down = None
        api.put(*deployment("b"))
        await asyncio.sleep(10)
        assert api.watching == 1
        api.put(*deployment("c"))
        await asyncio.sleep(1)
        assert "c 0" in names.take()
        told = [record.getMessage() for record in caplog.records]
        assert [line for line in told if "not followed" in line] == [
            f"{PATH} is not followed just now: memory: connection refused; trying again"
        ]
        assert f"{PATH} is followed again" in told


@virtual
async def test_the_first_list_is_tried_until_it_succeeds() -> None:
    """Wakegate may start before the API server."""
    api = full("a")
    api.down = unreachable()
    async with reflecting(api) as names:
        await asyncio.sleep(30)
        assert names.take() == []
        api.down = None
        await asyncio.sleep(10)
        assert names.take() == ["a 0", "listed"]


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param(unreachable(), id="breaks"),
        pytest.param(ExpiredError("410"), id="is too old"),
        pytest.param(None, id="just ends"),
    ],
)
@virtual
async def test_a_watch_that_is_over_at_once_does_not_spin(ending: WakegateError | None) -> None:
    """A proxy that cuts every watch costs about a request a second, not a busy loop."""
    api = full("a")
    api.end_each_watch = (ending,)
    async with reflecting(api):
        await asyncio.sleep(100)
        assert len(api.asked("WATCH")) < 110
        assert len(api.asked("LIST")) < 110
