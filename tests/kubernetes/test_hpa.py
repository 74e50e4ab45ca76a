"""HPAs are written when they differ, and only then; our own last write is believed before a watch that lags behind."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from activator.core.model import Behavior, Cluster, Policy, ScaledObject, TargetRef, Trigger
from activator.errors import InvalidError, UnavailableError
from activator.kubernetes.hpa import KubernetesHandoff
from tests.kubernetes.memory_api import MemoryApi, unreachable
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.kubernetes.client import KubernetesClient

ORDERS = TargetRef("shop", "Deployment", "orders")
POLICY = Policy(triggers=(Trigger(Cluster("kafka:9092"), "orders", "billing"),))
PATH = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/wakegate-deployment-orders"


@asynccontextmanager
async def handing_off(api: MemoryApi) -> AsyncIterator[KubernetesHandoff]:
    """Run a handoff for the block."""
    handoff = KubernetesHandoff(cast("KubernetesClient", api))
    task = asyncio.create_task(handoff.run())
    await asyncio.sleep(1)
    yield handoff
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@virtual
async def test_one_that_is_right_is_left_alone() -> None:
    """Over many cycles, and by the next process too: one write in all."""
    api = MemoryApi()
    for _ in range(2):
        async with handing_off(api) as handoff:
            for _ in range(5):
                await handoff.ensure(ORDERS, "uid-1", POLICY, 5)
                await asyncio.sleep(30)
    assert api.asked("APPLY") == [PATH]


@virtual
async def test_one_that_somebody_edited_is_put_right() -> None:
    """Kubectl edit lasts until the next cycle."""
    api = MemoryApi()
    async with handing_off(api) as handoff:
        await handoff.ensure(ORDERS, "uid-1", POLICY, 5)
        edited = api.documents[PATH]
        api.put(PATH, {**edited, "spec": {**edited["spec"], "maxReplicas": 50}})
        await asyncio.sleep(1)
        await handoff.ensure(ORDERS, "uid-1", POLICY, 5)
    assert api.documents[PATH]["spec"]["maxReplicas"] == 5
    assert len(api.asked("APPLY")) == 2


@virtual
async def test_a_recreated_workload_owns_its_hpa() -> None:
    """Else the garbage collector deletes it with the workload of yesterday."""
    api = MemoryApi()
    async with handing_off(api) as handoff:
        await handoff.ensure(ORDERS, "uid-1", POLICY, 5)
        await handoff.ensure(ORDERS, "uid-2", POLICY, 5)
    assert [owner["uid"] for owner in api.documents[PATH]["metadata"]["ownerReferences"]] == ["uid-2"]


@virtual
async def test_a_field_that_the_server_does_not_know_is_sent_once() -> None:
    """Tolerance came with Kubernetes 1.33: an older server drops it, and would be told again every cycle."""
    api = MemoryApi()
    api.dropped_fields = {"tolerance"}
    behavior = Behavior(scale_up=replace(Behavior().scale_up, tolerance="0.05"))
    async with handing_off(api) as handoff:
        for _ in range(5):
            await handoff.ensure(ORDERS, "uid-1", replace(POLICY, behavior=behavior), 5)
            await asyncio.sleep(30)
        assert len(api.asked("APPLY")) == 1
        await handoff.ensure(ORDERS, "uid-1", POLICY, 4)
        assert len(api.asked("APPLY")) == 2


@virtual
async def test_our_own_write_is_believed_before_the_watch_has_it() -> None:
    """An event from before it must not make us write again."""
    api = MemoryApi()
    async with handing_off(api) as handoff:
        await handoff.ensure(ORDERS, "uid-1", POLICY, 5)
        old = api.documents[PATH]
        await handoff.ensure(ORDERS, "uid-1", POLICY, 4)
        handoff.take(old)
        await handoff.ensure(ORDERS, "uid-1", POLICY, 4)
        assert len(api.asked("APPLY")) == 2


@virtual
async def test_one_that_was_deleted_by_hand_is_made_again() -> None:
    """The watch tells."""
    api = MemoryApi()
    async with handing_off(api) as handoff:
        await handoff.ensure(ORDERS, "uid-1", POLICY, 5)
        api.remove(PATH)
        await asyncio.sleep(1)
        assert not handoff.look(ORDERS).ours
        await handoff.ensure(ORDERS, "uid-1", POLICY, 5)
        assert handoff.look(ORDERS).ours


@virtual
async def test_nothing_is_written_before_everything_was_seen() -> None:
    """A rival that is not known yet is not fought."""
    api = MemoryApi()
    api.down = unreachable()
    async with handing_off(api) as handoff:
        for call in (handoff.ensure(ORDERS, "uid-1", POLICY, 5), handoff.remove(ORDERS)):
            with pytest.raises(UnavailableError, match="could not be listed yet"):
                await call
        api.down = None
        await handoff.listed()
        await handoff.ensure(ORDERS, "uid-1", POLICY, 5)


@virtual
async def test_a_refused_hpa_is_refused_to_the_caller_and_tried_again() -> None:
    """Nothing is remembered of a write that failed."""
    api = MemoryApi()
    async with handing_off(api) as handoff:
        api.faults.append(("APPLY", InvalidError("422"), False))
        with pytest.raises(InvalidError):
            await handoff.ensure(ORDERS, "uid-1", POLICY, 5)
        assert not handoff.look(ORDERS).ours
        await handoff.ensure(ORDERS, "uid-1", POLICY, 5)
        assert handoff.look(ORDERS).ours


@virtual
async def test_nothing_is_deleted_where_there_is_nothing() -> None:
    """A thousand sleeping targets without HPA cost no request."""
    api = MemoryApi()
    async with handing_off(api) as handoff:
        await handoff.remove(ORDERS)
    assert api.asked("DELETE") == []


@pytest.mark.parametrize(
    ("api_version", "kind", "rival"),
    [
        ("apps/v1", "Deployment", "HorizontalPodAutoscaler theirs"),
        ("apps/v1beta2", "Deployment", "HorizontalPodAutoscaler theirs"),
        ("apps/v1", "StatefulSet", None),
        ("argoproj.io/v1alpha1", "Deployment", None),
    ],
)
def test_a_rival_drives_the_same_workload_by_any_version(api_version: str, kind: str, rival: str | None) -> None:
    """By group, kind and name within the namespace."""

    @virtual
    async def look() -> None:
        api = MemoryApi()
        spec = {"scaleTargetRef": {"apiVersion": api_version, "kind": kind, "name": "orders"}}
        for namespace in ("shop", "bank"):
            api.put(
                f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/theirs",
                {"metadata": {"name": "theirs"}, "spec": spec},
            )
        async with handing_off(api) as handoff:
            assert handoff.look(ORDERS).rival == rival

    look()


OF_KEDA = ScaledObject(name="orders", uid="so-1", hpa_name="keda-hpa-orders", labels=(("team", "a"),))
BY_SCALED_OBJECT = replace(POLICY, scaled_object=OF_KEDA)


def path_of(name: str) -> str:
    """Of an HPA beside ours."""
    return f"{PATH.rpartition('/')[0]}/{name}"


def kedas(uid: str = "so-1") -> dict[str, Any]:
    """The HPA that KEDA left behind."""
    return {
        "metadata": {
            "name": "keda-hpa-orders",
            "namespace": "shop",
            "labels": {"app.kubernetes.io/managed-by": "keda-operator"},
            "ownerReferences": [{"kind": "ScaledObject", "name": "orders", "uid": uid}],
        },
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "orders"}},
    }


@virtual
async def test_the_hpa_that_keda_left_behind_becomes_ours() -> None:
    """It belongs to the very ScaledObject; that of another one is a rival, unless it is to be taken over."""
    api = MemoryApi()
    api.put(path_of("keda-hpa-orders"), kedas())
    async with handing_off(api) as handoff:
        assert handoff.look(ORDERS).rival == "HorizontalPodAutoscaler keda-hpa-orders"
        assert handoff.look(ORDERS, OF_KEDA).rival is None
        assert handoff.look(ORDERS, replace(OF_KEDA, uid="so-2")).rival is not None
        assert handoff.look(ORDERS, replace(OF_KEDA, uid="so-2", transfers_hpa=True)).rival is None
        await handoff.ensure(ORDERS, "uid-1", BY_SCALED_OBJECT, 5)
        assert handoff.look(ORDERS, OF_KEDA).ours
    written = api.documents[path_of("keda-hpa-orders")]
    assert written["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "wakegate"
    assert written["metadata"]["labels"]["team"] == "a"
    selector = {"matchLabels": {"scaledobject.keda.sh/name": "orders"}}
    assert [metric["external"]["metric"]["selector"] for metric in written["spec"]["metrics"]] == [selector]


@virtual
async def test_a_watch_that_lags_behind_makes_no_rival_of_what_was_taken_away() -> None:
    """The HPA that KEDA left, shown once more after it was deleted, is still that one; one made anew is another."""
    api = MemoryApi()
    api.put(path_of("keda-hpa-orders"), kedas())
    async with handing_off(api) as handoff:
        before = api.documents[path_of("keda-hpa-orders")]
        await handoff.remove(ORDERS, OF_KEDA)
        assert not handoff.look(ORDERS, OF_KEDA).ours
        handoff.take(before)
        assert handoff.look(ORDERS, OF_KEDA).rival is None
        assert handoff.look(ORDERS, OF_KEDA).ours, "two hands must not move one count"
        api.put(path_of("keda-hpa-orders"), kedas())
        await asyncio.sleep(1)
        assert handoff.look(ORDERS, OF_KEDA).rival == (
            "HorizontalPodAutoscaler keda-hpa-orders "
            "(made again after wakegate had deleted it: does KEDA still watch this namespace?)"
        )


AGES = {
    "long before the takeover": (timedelta(days=-90), True),
    "in the second of the takeover": (timedelta(0), True),
    "made again at once": (timedelta(seconds=1), False),
}


@virtual
@pytest.mark.parametrize(("age", "is_left"), AGES.values(), ids=AGES.keys())
async def test_the_next_process_knows_by_its_age_whether_keda_lives(age: timedelta, is_left: bool) -> None:  # noqa: FBT001 - a row
    """What KEDA left is older than the takeover; what is younger is a rival, not to be deleted again at each start."""
    taken_over_at = datetime(2026, 1, 5, 9, tzinfo=UTC)
    api = MemoryApi()
    hpa = kedas()
    hpa["metadata"]["creationTimestamp"] = (taken_over_at + age).strftime("%Y-%m-%dT%H:%M:%SZ")
    api.put(path_of("keda-hpa-orders"), hpa)
    async with handing_off(api) as handoff:
        handoff.taken_over_at = lambda _: taken_over_at
        assert (handoff.look(ORDERS, OF_KEDA).rival is None) is is_left
        await handoff.remove(ORDERS, OF_KEDA)
        assert (path_of("keda-hpa-orders") not in api.documents) is is_left


@virtual
async def test_an_hpa_that_is_named_otherwise_is_made_anew() -> None:
    """Two of ours would fight; and it is found by its label when it is to be removed."""
    api = MemoryApi()
    async with handing_off(api) as handoff:
        await handoff.ensure(ORDERS, "uid-1", BY_SCALED_OBJECT, 5)
        renamed = replace(BY_SCALED_OBJECT, scaled_object=replace(OF_KEDA, hpa_name="kafka-hpa"))
        await handoff.ensure(ORDERS, "uid-1", renamed, 5)
        assert path_of("keda-hpa-orders") not in api.documents
        assert path_of("kafka-hpa") in api.documents
        await handoff.remove(ORDERS)
        assert path_of("kafka-hpa") not in api.documents


def by_hand(drives: str) -> dict[str, Any]:
    """Somebody else's HPA."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": drives}
    return {"metadata": {"name": "theirs", "namespace": "shop"}, "spec": {"scaleTargetRef": target}}


@virtual
async def test_a_rival_that_comes_moves_or_goes_is_told() -> None:
    """Not its status, which its controller writes every few seconds, and nothing of ours."""
    api = MemoryApi()
    told: list[tuple[str, str]] = []
    async with handing_off(api) as handoff:
        handoff.rivals_changed = lambda namespace, name: told.append((namespace, name))
        await handoff.ensure(ORDERS, "uid-1", POLICY, 5)
        api.put(path_of("theirs"), by_hand("orders"))
        await asyncio.sleep(1)
        assert told == [("shop", "orders")]
        api.put(path_of("theirs"), {**by_hand("orders"), "status": {"currentReplicas": 2}})
        await asyncio.sleep(1)
        assert told == [("shop", "orders")]
        api.put(path_of("theirs"), by_hand("bills"))
        await asyncio.sleep(1)
        assert told[1:] == [("shop", "orders"), ("shop", "bills")]
        api.remove(path_of("theirs"))
        await asyncio.sleep(1)
        assert told[3:] == [("shop", "bills")]
        await handoff.remove(ORDERS)
        await asyncio.sleep(1)
    assert len(told) == 4
