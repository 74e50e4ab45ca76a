"""The API server as one seed has it: requests that take time and outlive their sender, watches that err, one Lease."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from activator.core import naming
from activator.errors import ConflictError, UnavailableError, WakegateError
from activator.ports import HandoffView, ManagedWorkload
from activator.specs.annotations import parse
from activator.specs.defaults import AnnotationDefaults
from tests.fakes.api_server import FakeApiServer, StoredHpa, StoredWorkload
from tests.fakes.kubernetes import FakeHandoff, FakeScaler
from tests.world.scheduler import PROCESS, seeded_loop

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from activator.core.model import Policy, Scale, ScaledObject, TargetRef, Workload
    from activator.errors import SpecError
    from activator.ports import CatalogListener
    from tests.world.oracle import Oracle
    from tests.world.scheduler import Process

T = TypeVar("T")

WRITES = frozenset({"scale.set", "hpa.ensure", "hpa.remove", "state.save", "state.forget"})
"""Calls that change something; but the Lease's, which is renewed for ever."""
DEADLINE_SECONDS = 5.0
"""After so long the client gives a request up; it has reached the server by then, or never does."""
LISTED_AGAIN_AFTER_SECONDS = 1.0
DEFAULTS = AnnotationDefaults()
_parsed: dict[tuple[tuple[str, str], ...], tuple[Policy | None, tuple[SpecError, ...]]] = {}


def parsed(annotations: Mapping[str, str]) -> tuple[Policy | None, tuple[SpecError, ...]]:
    """Parse as specs/ does; equal annotations once, because a seed parses the same ones a thousand times."""
    key = tuple(sorted(annotations.items()))
    if key not in _parsed:
        _parsed[key] = parse(annotations, DEFAULTS)
    return _parsed[key]


@dataclass
class Trouble:
    """What requests of some kinds meet, while it lasts."""

    calls: frozenset[str]
    """Kinds of calls; empty: all but the Lease's."""
    meets: str
    """``refused`` (never arrives), ``lost`` (is done, and its answer is lost), or ``slow``."""
    error: Callable[[], WakegateError]
    ref: TargetRef | None = None
    process: str | None = None
    share: float = 1.0
    """How many of them meet it."""
    there_seconds: tuple[float, float] = (0.5, 4.0)
    """How long a ``slow`` one takes to arrive."""
    back_seconds: tuple[float, float] = (0.1, 3.0)
    """And its answer."""

    def concerns(self, call: str, ref: TargetRef | None, by: str) -> bool:
        """Tell whether it is about a call."""
        kinds = call in self.calls if self.calls else call != "lease"
        return kinds and self.ref in {None, ref} and self.process in {None, by}


class ApiServer(FakeApiServer):
    """The world of workloads. A request arrives, is done, and is answered: three moments, and things happen between."""

    def __init__(self, dice: random.Random, oracle: Oracle) -> None:
        super().__init__()
        self.dice = dice
        self.oracle = oracle
        self.troubles: list[Trouble] = []
        self.lease = Lease()
        self.on_scaled: Callable[[TargetRef], None] = lambda _: None

    async def answer(
        self, call: str, ref: TargetRef | None, by: str, act: Callable[[], T], *, replicas: int | None = None
    ) -> T:
        """Make one call, and wait for its answer or the client's deadline."""
        loop = seeded_loop()
        answered: asyncio.Future[T | WakegateError] = loop.create_future()
        asked_at = loop.time()
        self.request(call, ref, by, act, partial(_settle, answered), replicas=replicas)
        answer = await answered
        # Who stood still meanwhile finds both his answer and his deadline: either may be looked at first.
        if loop.time() - asked_at > DEADLINE_SECONDS and self.dice.random() < 0.5:
            raise _unanswered(call, ref)
        if isinstance(answer, WakegateError):
            raise answer
        return answer

    def request(
        self,
        call: str,
        ref: TargetRef | None,
        by: str,
        act: Callable[[], T],
        answered: Callable[[T | WakegateError], None],
        *,
        replicas: int | None = None,
    ) -> None:
        """Send one request: it arrives, is done and is answered outside of every process, whoever has sent it."""
        loop = seeded_loop()
        if call in WRITES and ref is not None:
            self.oracle.writes(by, call, ref, replicas)
        there, back = self.dice.uniform(0.001, 0.012), self.dice.uniform(0.001, 0.012)
        trouble = next((t for t in self.troubles if t.concerns(call, ref, by) and self.dice.random() < t.share), None)
        meets = "refused" if self.down else trouble.meets if trouble else ""
        if meets == "slow" and trouble is not None:
            there, back = self.dice.uniform(*trouble.there_seconds), self.dice.uniform(*trouble.back_seconds)
        process = PROCESS.get()  # of the asker

        def arrive() -> None:
            result: T | WakegateError
            try:
                result = self._arrived(process, call, ref, act, trouble, meets)
            except WakegateError as error:
                self.oracle.journal.note("answer", by, call, ref, replicas, type(error).__name__)
                result = error
            else:
                if call != "lease":
                    self.oracle.journal.note("answer", by, call, ref, replicas, "ok")
            if there + back < DEADLINE_SECONDS:
                loop.later(back, answered, result)

        if there + back >= DEADLINE_SECONDS:
            loop.later(DEADLINE_SECONDS, answered, _unanswered(call, ref))
        loop.later(there, arrive)

    def _arrived(
        self,
        process: Process | None,
        call: str,
        ref: TargetRef | None,
        act: Callable[[], T],
        trouble: Trouble | None,
        meets: str,
    ) -> T:
        """Do what a request asks for, or meet its trouble."""
        if meets == "refused" or self.down:
            raise trouble.error() if trouble else UnavailableError("API server", "connection refused")
        before = self.workloads[ref].workload.scale if ref in self.workloads else None
        result = act()
        if call == "scale.set" and process is not None and ref is not None and before is not None:
            self.oracle.patched(process, ref, before, self.workloads[ref].workload.scale)
        if meets == "lost" and trouble is not None:
            raise trouble.error()
        return result

    def _store(self, ref: TargetRef, workload: Workload) -> Workload:
        before = self.workloads[ref].workload.scale.replicas
        stored = super()._store(ref, workload)
        manager = stored.replicas_manager
        if before != stored.scale.replicas:
            self.oracle.journal.note("scaled", ref, before, stored.scale.replicas, manager)
            self.oracle.scaled(ref, before, stored.scale.replicas, str(manager))
            self.on_scaled(ref)
        self.oracle.touch(ref)
        return stored


def _settle(answered: asyncio.Future[T], answer: T) -> None:
    if not answered.done():  # who asked may have given up
        answered.set_result(answer)


def _unanswered(call: str, ref: TargetRef | None) -> WakegateError:
    return UnavailableError(f"API server, {call} of {ref}", f"no answer within {DEADLINE_SECONDS:g} s", maybe_done=True)


@dataclass
class Lease:
    """The one Lease, as stored."""

    holder: str = ""
    version: int = 0
    sent_at: float = 0.0
    """When the renewal that it stands on was sent."""


LEASE_SECONDS = 15.0
RETRY_SECONDS = 4.0
"""Twice as long as there: a third of all events would be renewals."""


class Election:
    """`ports.Leadership` of one process: client-go's protocol, by the same times as `kubernetes/lease.py`."""

    def __init__(self, server: ApiServer, process: Process, now: Callable[[], datetime]) -> None:
        self._server = server
        self._process = process
        self._now = now
        self._loop = seeded_loop()
        self._seen = (-1, 0.0)
        """The Lease's version as last seen, and since when."""
        self._until = 0.0
        self._others_led_until: datetime | None = None

    def remaining(self) -> timedelta:
        """How much of the lease is surely left."""
        return timedelta(seconds=self._until - self._loop.time())

    def others_led_until(self) -> datetime | None:
        """When another process was last seen to take or renew it."""
        return self._others_led_until

    async def run(self) -> None:
        """Take part until cancelled."""
        self._send()
        await asyncio.Event().wait()

    def _send(self) -> None:
        """Renew, or try to take over. By callbacks: of all that happens in six hours, a third is this."""
        sent_at = self._loop.time()

        def answered(won: bool | WakegateError) -> None:  # noqa: FBT001 - an answer
            self._loop.call_soon(self._answered, sent_at, won, context=self._process.context)

        self._server.request("lease", None, self._process.name, partial(self._renew, sent_at), answered)

    def _answered(self, sent_at: float, won: bool | WakegateError) -> None:  # noqa: FBT001 - an answer
        if not isinstance(won, WakegateError):
            self._until = sent_at + LEASE_SECONDS if won else 0.0
        wait = RETRY_SECONDS * self._server.dice.uniform(0.8, 1.0)
        self._loop.call_later(wait, self._send, context=self._process.context)

    def _renew(self, sent_at: float) -> bool:
        lease, now = self._server.lease, seeded_loop().time()
        if lease.holder not in {"", self._process.name}:
            if self._seen[0] != lease.version:
                self._seen = (lease.version, now)
                self._others_led_until = self._now()
            if now - self._seen[1] < LEASE_SECONDS:
                return False
        if lease.holder != self._process.name:
            self._server.oracle.journal.note("leads", self._process.name)
            self._server.oracle.leads_now()
        lease.holder, lease.sent_at = self._process.name, max(sent_at, lease.sent_at)
        lease.version += 1
        return True


class Scaler(FakeScaler):
    """`ports.Scaler` of one process: what it does is seen by the oracle."""

    def __init__(self, server: ApiServer, process: Process) -> None:
        super().__init__(server, process.name)
        self._process = process
        self._oracle = server.oracle

    async def get(self, ref: TargetRef) -> Scale:
        """Read the count as it is."""
        self._oracle.asked_scale(ref)
        scale = await super().get(ref)
        self._oracle.witness.got_scale(self._process, ref)
        return scale

    async def set(self, ref: TargetRef, replicas: int, seen: Scale) -> Scale:
        """Set the count of the very object that was seen."""
        self._oracle.sends(self._process, ref, replicas, seen)
        try:
            scale = await super().set(ref, replicas, seen)
        except WakegateError as error:
            self._oracle.was_answered(self._process, ref, error)
            raise
        self._oracle.was_answered(self._process, ref, None)
        return scale


@dataclass
class Stream:
    """What one watch delivers, in order; and what goes wrong with it, per target."""

    next_at: float = 0.0
    sent: deque[Callable[[], None]] = field(default_factory=deque)
    lost: set[TargetRef] = field(default_factory=set)
    late_seconds: defaultdict[TargetRef, float] = field(default_factory=lambda: defaultdict(float))
    doubled: set[TargetRef] = field(default_factory=set)
    back_in_time: set[TargetRef] = field(default_factory=set)


class Catalog:
    """`ports.TargetCatalog` of one process, and the watch of HPAs that its hand-off looks at."""

    def __init__(self, server: ApiServer, process: Process, dice: random.Random) -> None:
        self._server = server
        self._process = process
        self._dice = dice
        self._listener: CatalogListener | None = None
        self._workloads: dict[TargetRef, StoredWorkload] = {}
        self._hpas: dict[tuple[str, str], StoredHpa] = {}
        self._managed: set[TargetRef] = set()
        """Delivered as managed."""
        self._last: dict[TargetRef, ManagedWorkload] = {}
        self.views: dict[TargetRef, HandoffView] = {}
        self.rivals_changed: Callable[[TargetRef], None] = lambda _: None
        self.stream = Stream()

    async def run(self, listener: CatalogListener) -> None:
        """List, then watch until the process ends."""
        self._listener = listener
        while True:
            try:
                await self._server.answer("list", None, self._process.name, lambda: None)
            except UnavailableError:
                await asyncio.sleep(LISTED_AGAIN_AFTER_SECONDS)
            else:
                break
        lost, self.stream.lost = self.stream.lost, set()
        self._look()
        self.stream.lost = lost  # a list is complete: only what comes after it can be lost (seed 2537)
        self._at(0.0, listener.synced)
        unsubscribe = self._server.subscribe(self._look)
        try:
            await asyncio.Event().wait()
        finally:
            unsubscribe()

    async def find(self, ref: TargetRef) -> Workload | None:
        """Read one workload, managed or not."""

        def act() -> Workload | None:
            stored = self._server.workloads.get(ref)
            return stored.workload if stored else None

        return await self._server.answer("workload.get", ref, self._process.name, act)

    def relist(self, ref: TargetRef) -> None:
        """Deliver a target as it is now: the watch has expired and was begun again."""
        if self._listener is not None and self._process.alive:
            self._workloads.pop(ref, None)
            self._look()

    def _look(self) -> None:
        """Deliver what differs from what this watch has seen."""
        if not self._process.alive or self._server.down:
            return
        for ref, stored in self._server.workloads.items():
            if self._workloads.get(ref) is not stored:
                self._workloads[ref] = stored
                if ref not in self.stream.lost:
                    self._emit(ref, stored)
        for ref in [ref for ref in self._workloads if ref not in self._server.workloads]:
            del self._workloads[ref]
            self._remove(ref, None)
        if self._hpas != self._server.hpas:
            changed = {
                hpa.target: None
                for key in (self._hpas.keys() | self._server.hpas.keys())
                for hpa in (self._server.hpas.get(key, self._hpas.get(key)),)
                if hpa is not None and self._hpas.get(key) != self._server.hpas.get(key)
            }
            self._hpas = dict(self._server.hpas)
            for ref in sorted(changed):
                self._at(self.stream.late_seconds[ref], self._see, ref, view_of(self._server, ref))

    def _see(self, ref: TargetRef, view: HandoffView) -> None:
        before = self.views.get(ref, HandoffView())
        self.views[ref] = view
        if before.rival != view.rival:
            self.rivals_changed(ref)

    def _emit(self, ref: TargetRef, stored: StoredWorkload) -> None:
        annotations = {k: v for k, v in stored.annotations.items() if k.startswith(naming.ANNOTATION_PREFIX)}
        if not annotations:
            self._remove(ref, stored.workload)
            return
        policy, problems = parsed(annotations)
        managed = ManagedWorkload(stored.workload, annotations, policy, problems)
        self._managed.add(ref)
        late = self.stream.late_seconds[ref]
        assert self._listener is not None
        self._at(late, self._listener.upsert, managed)
        if ref in self.stream.doubled:
            self._at(late, self._listener.upsert, managed)
        if ref in self.stream.back_in_time and ref in self._last:
            self._at(late, self._listener.upsert, self._last[ref])
        self._last[ref] = managed

    def _remove(self, ref: TargetRef, workload: Workload | None) -> None:
        if ref in self._managed and self._listener is not None:
            self._managed.remove(ref)
            self._at(self.stream.late_seconds[ref], self._listener.remove, ref, workload)

    def _at(self, late_seconds: float, call: Callable[..., None], *args: object) -> None:
        """Deliver after everything that was sent before."""
        loop = seeded_loop()
        at = max(loop.time() + self._dice.uniform(0.001, 0.03) + late_seconds, self.stream.next_at + 1e-6)
        self.stream.next_at = at
        self.stream.sent.append(partial(call, *args))
        loop.call_at(at, self._deliver, context=self._process.context)

    def _deliver(self) -> None:
        """Deliver the next event, whichever moment this is: after a stall all that have come are drawn in any order."""
        self.stream.sent.popleft()()


def view_of(server: ApiServer, ref: TargetRef) -> HandoffView:
    """Return what a watch of all HPAs knows of a target."""
    return FakeHandoff(server).look(ref)


class Handoff(FakeHandoff):
    """`ports.Handoff` of one process: what it looks at is what the watch has brought."""

    def __init__(self, server: ApiServer, process: Process, catalog: Catalog) -> None:
        super().__init__(server, process.name)
        self._catalog = catalog

    def look(self, ref: TargetRef, _scaled_object: ScaledObject | None = None) -> HandoffView:
        """Tell what is known."""
        return self._catalog.views.get(ref, HandoffView())


def conflict_of(ref: TargetRef) -> WakegateError:
    """HTTP 409."""
    return ConflictError(f"{ref} has been modified")
