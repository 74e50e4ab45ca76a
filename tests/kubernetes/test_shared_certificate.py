"""Replicas that share a certificate through a Secret: made by one, shown by all, and never one that is not trusted."""

from __future__ import annotations

import asyncio
import base64
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from activator.core.rotation import RotationTimes
from activator.errors import ConflictError, DeniedError
from activator.kubernetes.api_service import PATH as API_SERVICE
from activator.kubernetes.shared_certificate import SharedCertificate
from activator.web import issuing
from tests.kubernetes.memory_api import MemoryApi, unreachable
from tests.virtual_time import now, virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.kubernetes.client import KubernetesClient

SERVICE = ("system", "wakegate-metrics")
NAMES = ["wakegate-metrics.system.svc"]
SECRET = "/api/v1/namespaces/system/secrets/certificate"
LIFETIME = timedelta(hours=3)
"""Everybody looks every 20 s, as with 90 days; the next one is made after two hours and shown a minute later."""


class Replica:
    """One replica and what it shows."""

    def __init__(self, api: MemoryApi, *, leads: bool) -> None:
        self.leads = leads
        self.shown: list[str] = []
        self.certificate = SharedCertificate(
            cast("KubernetesClient", api),
            SERVICE,
            "certificate",
            names=NAMES,
            leads=lambda: self.leads,
            now=now,
            times=RotationTimes(LIFETIME),
            issuer=issuing,
            show=self._show,
        )

    def _show(self, chain: str, key: str) -> None:
        assert "PRIVATE KEY" in key
        if self.shown[-1:] != [chain]:
            self.shown.append(chain)

    def verified_by(self, bundle: str) -> bool:
        """Whether the CA of what it shows is in a bundle."""
        return issuing.read(self.shown[-1])[1] in issuing.read(bundle)


def cluster(owner: tuple[str, str] = SERVICE) -> MemoryApi:
    """An empty Secret, as it is installed, and the APIService."""
    api = MemoryApi()
    api.put(SECRET, {"kind": "Secret", "metadata": {"name": "certificate", "labels": {"kept": "yes"}}})
    namespace, name = owner
    service = {"namespace": namespace, "name": name, "port": 443}
    api.put(API_SERVICE, {"metadata": {"name": "v1beta1"}, "spec": {"service": service, "insecureSkipTLSVerify": True}})
    return api


def trusted(api: MemoryApi) -> str:
    """What the API server verifies us by."""
    return base64.b64decode(api.documents[API_SERVICE]["spec"].get("caBundle", "")).decode()


def writes(api: MemoryApi) -> list[tuple[str, str]]:
    """What was changed, in order."""
    return [(method, path) for method, path in api.log if method in {"PUT", "PATCH"}]


@asynccontextmanager
async def running(*replicas: Replica) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Let replicas look for the block."""
    tasks = [asyncio.create_task(replica.certificate.run()) for replica in replicas]
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@virtual
async def test_the_leader_makes_it_and_everybody_shows_it() -> None:
    """From an empty Secret: two writes, both replicas ready within seconds, and verification is switched on."""
    api = cluster()
    leader, other = Replica(api, leads=True), Replica(api, leads=False)
    assert leader.certificate.problems()
    assert other.certificate.problems()
    async with running(leader, other):
        await asyncio.sleep(5)
    assert leader.shown == other.shown
    assert len(leader.shown) == 1
    assert leader.verified_by(trusted(api))
    assert api.documents[API_SERVICE]["spec"]["insecureSkipTLSVerify"] is False
    assert writes(api) == [("PUT", SECRET), ("PATCH", API_SERVICE)]
    assert not leader.certificate.problems()
    assert not other.certificate.problems()
    assert api.documents[SECRET]["metadata"]["labels"] == {"kept": "yes"}


@virtual
async def test_rotations_without_a_gap() -> None:
    """Every replica that shows something is verified by what the API server has at that very moment."""
    api = cluster()
    leader, other = Replica(api, leads=True), Replica(api, leads=False)
    async with running(leader, other):
        await asyncio.sleep(5)
        for _ in range(500):
            await asyncio.sleep(61)
            assert leader.verified_by(trusted(api))
            assert other.verified_by(trusted(api))
            assert len(issuing.read(trusted(api))) <= 2
    assert leader.shown == other.shown
    assert len(leader.shown) == 5, "one every two hours, and the first"


@virtual
async def test_the_old_ca_stays_while_one_replica_hears_nothing() -> None:
    """A replica that went deaf before a rotation goes on showing the old one, and is verified until that expires."""
    api = cluster()
    leader, deaf = Replica(api, leads=True), Replica(api, leads=False)
    async with running(leader):
        async with running(deaf):
            await asyncio.sleep(5)
        await asyncio.sleep(timedelta(hours=2.9).total_seconds())
        assert deaf.shown != leader.shown
        assert deaf.verified_by(trusted(api))
        await asyncio.sleep(timedelta(hours=0.2).total_seconds())
        assert not deaf.verified_by(trusted(api))
        assert deaf.certificate.problems(), "what it shows has expired"


@virtual
async def test_a_new_leader_goes_on_where_the_old_one_stopped() -> None:
    """The lease changes hands between staging and showing: one rotation, and the new leader counts the time anew."""
    api = cluster()
    first, second = Replica(api, leads=True), Replica(api, leads=False)
    async with running(first, second):
        await asyncio.sleep(timedelta(hours=2, seconds=25).total_seconds())
        assert "next.crt" in api.documents[SECRET]["data"]
        first.leads, second.leads = False, True
        await asyncio.sleep(300)
        assert first.shown == second.shown
        assert len(first.shown) == 2
        assert "next.crt" not in api.documents[SECRET]["data"]


@virtual
async def test_two_that_believe_they_lead_make_one_certificate() -> None:
    """The resourceVersion decides: who comes second reads what the first has made."""
    api = cluster()
    api.latency = lambda: 0.01
    both = [Replica(api, leads=True), Replica(api, leads=True)]
    async with running(*both):
        await asyncio.sleep(10)
    assert both[0].shown == both[1].shown
    assert len(both[0].shown) == 1
    assert both[0].verified_by(trusted(api))


@virtual
async def test_another_s_api_service_is_left_alone() -> None:
    """Where external metrics belong to KEDA the Secret is kept all the same, and the APIService is not touched."""
    api = cluster(owner=("keda", "keda-operator-metrics-apiserver"))
    leader = Replica(api, leads=True)
    async with running(leader):
        await asyncio.sleep(timedelta(hours=2.1).total_seconds())
    assert len(leader.shown) == 2
    assert {path for _, path in writes(api)} == {SECRET}


@virtual
async def test_without_an_api_service_there_is_nobody_to_tell() -> None:
    """It comes later: then it gets the bundle at the next look."""
    api = cluster()
    claim = api.documents[API_SERVICE]
    api.remove(API_SERVICE)
    leader = Replica(api, leads=True)
    async with running(leader):
        await asyncio.sleep(60)
        assert not leader.certificate.problems()
        api.put(API_SERVICE, claim)
        await asyncio.sleep(60)
        assert leader.verified_by(trusted(api))


@virtual
async def test_who_changes_the_bundle_is_put_right() -> None:
    """`kubectl apply` of something older, or a person: the next look puts the CAs back."""
    api = cluster()
    leader = Replica(api, leads=True)
    async with running(leader):
        await asyncio.sleep(60)
        document: dict[str, Any] = api.documents[API_SERVICE]
        api.put(API_SERVICE, {**document, "spec": {**document["spec"], "caBundle": "", "insecureSkipTLSVerify": True}})
        await asyncio.sleep(60)
        assert leader.verified_by(trusted(api))
        assert api.documents[API_SERVICE]["spec"]["insecureSkipTLSVerify"] is False


@virtual
async def test_an_emptied_secret_is_a_rotation_at_once() -> None:
    """The way out when a key has leaked: nothing of before is trusted any more."""
    api = cluster()
    leader, other = Replica(api, leads=True), Replica(api, leads=False)
    async with running(leader, other):
        await asyncio.sleep(60)
        before = trusted(api)
        api.put(SECRET, {"kind": "Secret", "metadata": {"name": "certificate"}})
        await asyncio.sleep(60)
    assert leader.shown == other.shown
    assert len(leader.shown) == 2
    assert trusted(api) != before
    assert len(issuing.read(trusted(api))) == 1


@virtual
async def test_what_is_not_ours_in_the_secret_counts_as_not_there() -> None:
    """Garbage, or a certificate for other names: made anew."""
    for chain in ("garbage", issuing.issue(["other.svc"], now(), LIFETIME).chain):
        api = cluster()
        data = {"tls.crt": chain, "tls.key": "key", "ca.crt": "garbage"}
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
        api.put(SECRET, {"kind": "Secret", "metadata": {"name": "certificate"}, "data": encoded})
        leader = Replica(api, leads=True)
        async with running(leader):
            await asyncio.sleep(5)
        assert leader.verified_by(trusted(api))


@virtual
async def test_trouble_is_said_once_and_nothing_is_lost() -> None:
    """An outage, a conflict and a missing permission: what was shown stays shown; without any, the reason is told."""
    api = cluster()
    leader = Replica(api, leads=True)
    api.down = DeniedError("GET secret: 403")
    async with running(leader):
        await asyncio.sleep(5)
        assert "403" in leader.certificate.problems()[0]
        api.down = None
        api.faults.append(("PUT", ConflictError("changed"), False))
        await asyncio.sleep(5)
        assert not leader.certificate.problems()
        api.down = unreachable()
        await asyncio.sleep(3600)
        assert not leader.certificate.problems()
    assert len(leader.shown) == 1
