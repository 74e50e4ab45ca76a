"""What the Kubernetes fakes add to their ports: faults to order, outages, and a watch that lags behind."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from activator.core.model import Policy, TargetRef
from activator.errors import UnavailableError
from tests.contracts.kubernetes_worlds import Listener
from tests.fakes.api_server import FakeApiServer, server_error, too_many_requests
from tests.fakes.kubernetes import FakeCatalog, FakeScaler
from tests.virtual_time import virtual

ORDERS = TargetRef("shop", "Deployment", "orders")
TOPIC = {"wakegate.dev/topic": "orders"}


@virtual
async def test_a_fault_is_met_as_often_as_it_was_ordered() -> None:
    """By the calls and the target that it was ordered for."""
    server, mail = FakeApiServer(), TargetRef("shop", "Deployment", "mail")
    server.add(ORDERS)
    server.add(mail)
    server.inject("scale.get", too_many_requests(timedelta(seconds=3)), times=2, ref=ORDERS)
    scaler = FakeScaler(server)
    await scaler.get(mail)
    for _ in range(2):
        with pytest.raises(UnavailableError) as raised:
            await scaler.get(ORDERS)
        assert raised.value.retry_after == timedelta(seconds=3)
    await scaler.get(ORDERS)
    assert [bool(request.error) for request in server.sent("scale.get", ORDERS)] == [True, True, False]


@virtual
async def test_an_answer_can_be_lost_after_the_change() -> None:
    """The caller cannot know."""
    server = FakeApiServer()
    seen = server.add(ORDERS, replicas=0).scale
    server.inject("scale.set", server_error(), applied=True)
    with pytest.raises(UnavailableError):
        await FakeScaler(server).set(ORDERS, 1, seen)
    assert server.replicas(ORDERS) == 1


@virtual
async def test_an_outage_holds_back_what_a_relist_then_tells() -> None:
    """The last state, and none in between."""
    server, listener = FakeApiServer(), Listener()
    server.add(ORDERS, annotations=TOPIC)
    catalog = FakeCatalog(server, lambda _, __: (Policy(triggers=()), ()))
    task = asyncio.create_task(catalog.run(listener))
    await asyncio.sleep(1)
    server.start_outage()
    for replicas in (2, 3, 4):
        server.scale(ORDERS, replicas)
    with pytest.raises(UnavailableError):
        await catalog.find(ORDERS)
    assert listener.log == ["upsert orders", "synced"]
    server.end_outage()
    assert listener.log == ["upsert orders", "synced", "upsert orders"]
    assert listener.managed[ORDERS].workload.scale.replicas == 4
    task.cancel()


@virtual
async def test_a_watch_may_lag_behind() -> None:
    """Each change is told as it was, when something newer is long there."""
    server, listener = FakeApiServer(watch_lag=timedelta(seconds=5)), Listener()
    server.add(ORDERS, annotations=TOPIC)
    task = asyncio.create_task(FakeCatalog(server, lambda _, __: (Policy(triggers=()), ())).run(listener))
    await asyncio.sleep(1)
    server.scale(ORDERS, 2)
    await asyncio.sleep(3)
    server.scale(ORDERS, 3)
    counts = []
    for _ in range(2):
        await asyncio.sleep(3)
        counts.append(listener.managed[ORDERS].workload.scale.replicas)
    assert counts == [2, 3]
    task.cancel()
