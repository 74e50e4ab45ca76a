"""A Kubernetes world in memory, and fakes of the ports that share it: for speed, for faults, for no real time.

`FakeApiServer` is the world: tests move it (`scale`, `annotate`, `become_ready`, `delete`, ...), break it (`inject`,
`start_outage`) and read what was asked of it (`requests`). The fakes behave towards their callers as the adapters in
`activator.kubernetes` do; `tests/contracts/` holds both to it.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from activator.core import naming
from activator.core.model import BatchRead, EpisodePhase, Evaluation, Notice, Outcome, Scale, Workload
from activator.errors import (
    ConflictError,
    DeniedError,
    InvalidError,
    NotFoundError,
    UnavailableError,
    WakegateError,
)
from activator.ports import HandoffView, ManagedWorkload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from activator.core.model import Fact, Policy, ScaledObject, TargetRef, TargetState
    from activator.errors import SpecError
    from activator.ports import CatalogListener

    ParsedSpec = tuple[Policy | None, tuple[SpecError, ...]]
    Parse = Callable[[Mapping[str, str], TargetRef], ParsedSpec]

T = TypeVar("T")

HPA_CONTROLLER = "kube-controller-manager"


# ------------------------------------------------------------------------------------------------------ faults


def conflict() -> WakegateError:
    """HTTP 409."""
    return ConflictError("the object has been modified")


def too_many_requests(retry_after: timedelta = timedelta(seconds=1)) -> WakegateError:
    """HTTP 429 with Retry-After."""
    return UnavailableError("API server", "429 Too Many Requests", retry_after=retry_after)


def server_error() -> WakegateError:
    """HTTP 500."""
    return UnavailableError("API server", "500 Internal Server Error", maybe_done=True)


def denied() -> WakegateError:
    """HTTP 403."""
    return DeniedError("403 Forbidden")


def invalid() -> WakegateError:
    """HTTP 422."""
    return InvalidError("422 Unprocessable Entity")


def unreachable() -> WakegateError:
    """Nobody there: nothing was done."""
    return UnavailableError("API server", "connection refused")


def unanswered() -> WakegateError:
    """No answer in time: it may have been done all the same."""
    return UnavailableError("API server", "no answer within 5 s", maybe_done=True)


def conflict_with_ourselves() -> WakegateError:
    """HTTP 409 to a request that was sent before and had no answer then."""
    return ConflictError("the object has been modified", maybe_by_us=True)


@dataclass(slots=True)
class Fault:
    """What the next calls of one kind meet."""

    call: str
    error: WakegateError
    times: int
    ref: TargetRef | None
    applied: bool
    """The change was made and only its answer was lost."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call that reached, or should have reached, the API server."""

    call: str
    ref: TargetRef | None
    by: str
    replicas: int | None = None
    error: str = ""
    """Empty: it succeeded (200)."""


# ------------------------------------------------------------------------------------------------------- world


@dataclass(frozen=True, slots=True)
class StoredWorkload:
    """A Deployment or StatefulSet as far as anyone here looks at it."""

    workload: Workload
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StoredHpa:
    """A HorizontalPodAutoscaler as far as anyone here looks at it."""

    namespace: str
    name: str
    target: TargetRef
    min_replicas: int
    max_replicas: int
    owner_uid: str | None = None
    policy: Policy | None = None
    scaling_active: bool | None = None
    message: str = ""


@dataclass
class FakeApiServer:
    """The world that the fakes share. Every change bumps a resourceVersion and is delivered before it returns."""

    pods_become_ready: bool = False
    """Ready replicas follow spec.replicas at once; else a test calls `become_ready`."""
    crd_installed: bool = True
    latency: timedelta = timedelta(0)
    """How long each call takes on the loop's clock; zero still yields to other tasks once."""
    watch_lag: timedelta = timedelta(0)
    """How much later than it happened a change of a workload is delivered: as it was then, so out of date by now."""
    workloads: dict[TargetRef, StoredWorkload] = field(default_factory=dict)
    hpas: dict[tuple[str, str], StoredHpa] = field(default_factory=dict)
    scale_targets: dict[TargetRef, tuple[str, TargetState]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    lease_holder: str | None = None
    lease_transitions: int = 0
    down: bool = False
    _faults: list[Fault] = field(default_factory=list)
    _delays: dict[str, timedelta] = field(default_factory=dict)
    _watchers: list[Callable[[], None]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    # ------------------------------------------------------------------------------- what users and controllers do

    def add(
        self,
        ref: TargetRef,
        *,
        replicas: int = 1,
        ready: int | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> Workload:
        """Create a workload with a new uid; `ready` defaults to all of its replicas."""
        workload = Workload(
            ref=ref,
            scale=Scale(replicas=replicas, uid=f"uid-{next(self._numbers)}", resource_version=self._next_version()),
            ready_replicas=replicas if ready is None else ready,
            replicas_manager="kubectl",
        )
        self.workloads[ref] = StoredWorkload(workload, dict(annotations or {}))
        self.changed()
        return workload

    def delete(self, ref: TargetRef) -> None:
        """Delete a workload and, as the garbage collector does, what it owns."""
        uid = self.workloads.pop(ref).workload.scale.uid
        self.hpas = {key: hpa for key, hpa in self.hpas.items() if hpa.owner_uid != uid}
        self.scale_targets = {key: kept for key, kept in self.scale_targets.items() if kept[0] != uid}
        self.changed()

    def scale(self, ref: TargetRef, replicas: int, *, manager: str | None = "kubectl") -> Workload:
        """Write spec.replicas as somebody (a person, the HPA controller, a GitOps tool); None: nobody can tell who."""
        stored = self.workloads[ref]
        ready = replicas if self.pods_become_ready else min(stored.workload.ready_replicas, replicas)
        return self._store(
            ref,
            replace(
                stored.workload,
                scale=replace(stored.workload.scale, replicas=replicas),
                ready_replicas=ready,
                replicas_manager=manager,
            ),
        )

    def become_ready(self, ref: TargetRef, ready: int | None = None) -> Workload:
        """Let pods become ready; all of them by default."""
        workload = self.workloads[ref].workload
        return self._store(ref, replace(workload, ready_replicas=workload.scale.replicas if ready is None else ready))

    def annotate(self, ref: TargetRef, changes: Mapping[str, str | None]) -> None:
        """Set annotations; None removes one."""
        stored = self.workloads[ref]
        merged = {**stored.annotations, **changes}
        kept = {key: value for key, value in merged.items() if value is not None}
        self.workloads[ref] = replace(stored, annotations=kept)
        self._store(ref, stored.workload)

    def unannotate(self, ref: TargetRef) -> None:
        """Remove all of its annotations."""
        self.annotate(ref, dict.fromkeys(self.workloads[ref].annotations))

    def touch(self, ref: TargetRef) -> Workload:
        """Change something that nobody here looks at: only the resourceVersion moves."""
        return self._store(ref, self.workloads[ref].workload)

    def add_hpa(
        self,
        name: str,
        target: TargetRef,
        *,
        min_replicas: int = 1,
        max_replicas: int = 10,
        owner_uid: str | None = None,
    ) -> None:
        """Create an HPA that is not ours."""
        hpa = StoredHpa(target.namespace, name, target, min_replicas, max_replicas, owner_uid)
        self.hpas[hpa.namespace, name] = hpa
        self.changed()

    def delete_hpa(self, namespace: str, name: str) -> None:
        """Delete any HPA."""
        del self.hpas[namespace, name]
        self.changed()

    def hpa_of(self, ref: TargetRef) -> StoredHpa | None:
        """Our HPA of a target, whatever its name."""
        for hpa in self.hpas.values():
            if hpa.target.name == ref.name and hpa.target == ref and hpa.policy is not None:
                return hpa
        return None

    def hpa_condition(self, ref: TargetRef, *, active: bool, message: str = "") -> None:
        """Let the HPA controller set ScalingActive on our HPA of a target."""
        ours = self.hpa_of(ref)
        assert ours is not None, ref
        key = (ref.namespace, ours.name)
        self.hpas[key] = replace(self.hpas[key], scaling_active=active, message=message)
        self.changed()

    def replicas(self, ref: TargetRef) -> int:
        """spec.replicas as it is."""
        return self.workloads[ref].workload.scale.replicas

    # ------------------------------------------------------------------------------------------------ what breaks

    def inject(
        self, call: str, error: WakegateError, *, times: int = 1, ref: TargetRef | None = None, applied: bool = False
    ) -> None:
        """Let the next `times` calls of a kind fail; with `applied` the change is made and only the answer is lost.

        Kinds: workload.get, scale.get, scale.set, hpa.ensure, hpa.remove, state.load, state.save, state.forget.
        """
        self._faults.append(Fault(call, error, times, ref, applied))

    def delay_next(self, call: str, seconds: float) -> None:
        """Let the next call of a kind take so much longer on its way here; those after it overtake it."""
        self._delays[call] = timedelta(seconds=seconds)

    def heal(self) -> None:
        """Let no call meet any more what was injected."""
        self._faults.clear()

    def start_outage(self) -> None:
        """Stop answering: every call raises UnavailableError, nothing is delivered, no lease is renewed."""
        self.down = True

    def end_outage(self) -> None:
        """Answer again: what changed meanwhile is delivered as a relist would."""
        self.down = False
        self.changed()

    def sent(self, call: str, ref: TargetRef | None = None) -> list[Request]:
        """Every request of a kind, successful or not; of one target where it is given."""
        return [made for made in self.requests if made.call == call and ref in {None, made.ref}]

    # ------------------------------------------------------------------------------------------- used by the fakes

    async def answer(
        self, call: str, ref: TargetRef | None, by: str, act: Callable[[], T], *, replicas: int | None = None
    ) -> T:
        """Make one call: wait its latency, meet the faults injected for it, act, and note it."""
        await asyncio.sleep((self.latency + self._delays.pop(call, timedelta(0))).total_seconds())
        fault = self._take_fault(call, ref)
        request = Request(call, ref, by, replicas)
        try:
            if self.down:
                raise unreachable()
            if fault and not fault.applied:
                raise fault.error
            result = act()
            if fault:
                raise fault.error
        except WakegateError as error:
            self.requests.append(replace(request, error=str(error)))
            raise
        self.requests.append(request)
        return result

    def subscribe(self, watcher: Callable[[], None]) -> Callable[[], None]:
        """Call `watcher` after every change while the server is up; returns how to end that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def changed(self) -> None:
        """Deliver the world as it is to every watcher; nothing is delivered during an outage."""
        if not self.down:
            for watcher in list(self._watchers):
                watcher()

    def _take_fault(self, call: str, ref: TargetRef | None) -> Fault | None:
        for fault in self._faults:
            if fault.call == call and fault.ref in {None, ref} and fault.times > 0:
                fault.times -= 1
                return fault
        return None

    def _store(self, ref: TargetRef, workload: Workload) -> Workload:
        versioned = replace(workload, scale=replace(workload.scale, resource_version=self._next_version()))
        self.workloads[ref] = replace(self.workloads[ref], workload=versioned)
        self.changed()
        return versioned

    def _next_version(self) -> str:
        return str(next(self._numbers))


# ------------------------------------------------------------------------------------------------------- ports


class FakeCatalog:
    """TargetCatalog: delivers the difference between the world and what it has delivered, as it changes."""

    def __init__(self, server: FakeApiServer, parse: Parse) -> None:
        self._server = server
        self._parse = parse
        self._delivered: dict[TargetRef, ManagedWorkload | None] = {}

    async def run(self, listener: CatalogListener) -> None:
        """Deliver until cancelled; the first list waits for the end of an outage."""
        first_list = asyncio.Event()
        self._delivered = dict.fromkeys(self._delivered)  # a second run repeats everything, and still tells removals

        def look() -> None:
            seen = dict(self._server.workloads)
            if self._server.watch_lag and first_list.is_set():
                lag = self._server.watch_lag.total_seconds()
                asyncio.get_running_loop().call_later(lag, self._deliver, listener, seen)
                return
            self._deliver(listener, seen)
            if not first_list.is_set():
                first_list.set()
                listener.synced()

        unsubscribe = self._server.subscribe(look)
        try:
            if not self._server.down:
                look()
            await asyncio.Event().wait()
        finally:
            unsubscribe()

    async def find(self, ref: TargetRef) -> Workload | None:
        """Read one workload, managed or not."""

        def act() -> Workload | None:
            stored = self._server.workloads.get(ref)
            return stored.workload if stored else None

        return await self._server.answer("workload.get", ref, "catalog", act)

    def uid(self, ref: TargetRef) -> str | None:
        """The uid of a managed workload as last delivered."""
        managed = self._delivered.get(ref)
        return managed.workload.scale.uid if managed else None

    def delivered(self, ref: TargetRef) -> ManagedWorkload:
        """What was last delivered of a workload that is managed."""
        managed = self._delivered[ref]
        assert managed is not None
        return managed

    def _deliver(self, listener: CatalogListener, seen: Mapping[TargetRef, StoredWorkload]) -> None:
        for ref, stored in seen.items():
            annotations = {k: v for k, v in stored.annotations.items() if k.startswith(naming.ANNOTATION_PREFIX)}
            if not annotations:
                continue
            policy, problems = self._parse(annotations, ref)
            managed = ManagedWorkload(stored.workload, annotations, policy, problems)
            if self._delivered.get(ref) != managed:
                self._delivered[ref] = managed
                listener.upsert(managed)
        for ref in [ref for ref in self._delivered if not _is_managed(seen.get(ref))]:
            del self._delivered[ref]
            gone = seen.get(ref)
            listener.remove(ref, gone.workload if gone else None)


def _is_managed(stored: StoredWorkload | None) -> bool:
    return stored is not None and any(key.startswith(naming.ANNOTATION_PREFIX) for key in stored.annotations)


class FakeScaler:
    """Scaler: optimistic concurrency as the API server has it."""

    def __init__(self, server: FakeApiServer, identity: str = "wakegate-0") -> None:
        self._server = server
        self._identity = identity

    async def get(self, ref: TargetRef) -> Scale:
        """Read the count as it is."""
        return await self._server.answer("scale.get", ref, self._identity, lambda: self._stored(ref).scale)

    async def set(self, ref: TargetRef, replicas: int, seen: Scale) -> Scale:
        """Set the count of the very object that was seen."""

        def act() -> Scale:
            scale = self._stored(ref).scale
            if scale.uid != seen.uid:
                raise NotFoundError(f"{ref} has been recreated")
            if scale.resource_version != seen.resource_version:
                raise ConflictError(f"{ref} has been modified")
            if scale.replicas == replicas:  # a no-op PATCH leaves the resourceVersion as it is
                return scale
            return self._server.scale(ref, replicas, manager=naming.FIELD_MANAGER).scale

        return await self._server.answer("scale.set", ref, self._identity, act, replicas=replicas)

    def _stored(self, ref: TargetRef) -> Workload:
        if ref not in self._server.workloads:
            raise NotFoundError(f"{ref} does not exist")
        return self._server.workloads[ref].workload


class FakeHandoff:
    """Handoff: HPAs that exist; what they would do a test does through `FakeApiServer.scale`."""

    def __init__(self, server: FakeApiServer, identity: str = "wakegate-0") -> None:
        self._server = server
        self._identity = identity
        self._taken_away: set[TargetRef] = set()

    def look(self, ref: TargetRef, scaled_object: ScaledObject | None = None) -> HandoffView:
        """Tell what exists now."""
        ours = self._server.hpa_of(ref)
        left = self._left_by_keda(ref, scaled_object)
        rivals = sorted(
            hpa.name
            for hpa in self._server.hpas.values()
            if hpa.target == ref and hpa.policy is None and hpa is not left
        )
        return HandoffView(
            rival=f"HorizontalPodAutoscaler {rivals[0]}" if rivals else None,
            ours=ours is not None or left is not None,
            scaling_active=ours.scaling_active if ours else None,
            message=ours.message if ours else "",
        )

    async def ensure(self, ref: TargetRef, uid: str, policy: Policy, partitions: int | None) -> None:
        """Make the HPA what the policy asks for; no request where it is so already."""
        before = self._server.hpa_of(ref)
        cap = policy.max_replicas if partitions is None else min(policy.max_replicas, partitions)
        wanted = StoredHpa(
            namespace=ref.namespace,
            name=naming.hpa_name_of(ref, policy),
            target=ref,
            min_replicas=max(1, policy.min_replicas),
            max_replicas=max(policy.min_replicas, 1, cap),
            owner_uid=uid,
            policy=policy,
            scaling_active=before.scaling_active if before else None,
            message=before.message if before else "",
        )
        if before == wanted:
            return

        def act() -> None:
            self._server.hpas[wanted.namespace, wanted.name] = wanted
            self._server.changed()

        await self._server.answer("hpa.ensure", ref, self._identity, act)

    async def remove(self, ref: TargetRef, scaled_object: ScaledObject | None = None) -> None:
        """Delete our HPA where there is one, and the one that KEDA left."""
        if scaled_object is None:
            self._taken_away.discard(ref)
        left = self._left_by_keda(ref, scaled_object)
        if self._server.hpa_of(ref) is None and left is None:
            return

        def act() -> None:
            for gone in (self._server.hpa_of(ref), left):
                if gone is not None:
                    del self._server.hpas[gone.namespace, gone.name]
                    self._server.changed()

        await self._server.answer("hpa.remove", ref, self._identity, act)
        if left is not None:
            self._taken_away.add(ref)

    def _left_by_keda(self, ref: TargetRef, scaled_object: ScaledObject | None) -> StoredHpa | None:
        if scaled_object is None or ref in self._taken_away:
            return None
        found = (hpa for hpa in self._server.hpas.values() if hpa.target == ref and hpa.policy is None)
        return next((hpa for hpa in found if hpa.owner_uid == scaled_object.uid), None)


class FakeLeadership:
    """Leadership: one holder in the world at a time; a test may also hand it over with `FakeApiServer.lease_holder`."""

    def __init__(self, server: FakeApiServer, now: Callable[[], datetime], identity: str = "wakegate-0") -> None:
        self._server = server
        self._identity = identity
        self._now = now
        self._others_led_until: datetime | None = None
        self.left = timedelta(seconds=15)
        """What `remaining` tells while this one holds the lease."""

    def remaining(self) -> timedelta:
        """All of `left` while this one holds the lease, else nothing."""
        return self.left if self._server.lease_holder == self._identity else timedelta(0)

    def others_led_until(self) -> datetime | None:
        """When another was last seen to hold the lease: who holds it here is seen at every change in the world."""
        return self._others_led_until

    async def run(self) -> None:
        """Take the lease when it is free and give it back when cancelled."""
        free = asyncio.Event()
        unsubscribe = self._server.subscribe(free.set)
        try:
            while True:
                free.clear()
                if self._server.lease_holder not in {None, self._identity}:
                    self._others_led_until = self._now()
                if self._server.lease_holder is None and not self._server.down:
                    self._server.lease_holder = self._identity
                    self._server.lease_transitions += 1
                await free.wait()
        finally:
            unsubscribe()
            if self._server.lease_holder == self._identity:
                self._server.lease_holder = None
                self._server.changed()


class FakeStateStore:
    """StateStore: keeps states by reference, or nothing without the CRD."""

    def __init__(self, server: FakeApiServer, identity: str = "wakegate-0") -> None:
        self._server = server
        self._identity = identity

    async def load(self) -> Mapping[TargetRef, TargetState] | None:
        """Read all that was kept; None without the CRD."""

        def act() -> dict[TargetRef, TargetState] | None:
            if not self._server.crd_installed:
                return None
            return {ref: state for ref, (_, state) in self._server.scale_targets.items()}

        return await self._server.answer("state.load", None, self._identity, act)

    async def save(self, ref: TargetRef, uid: str, state: TargetState) -> None:
        """Keep a target's state; nothing is sent where it is kept so already, or without the CRD."""
        if not self._server.crd_installed or self._server.scale_targets.get(ref) == (uid, state):
            return

        def act() -> None:
            self._server.scale_targets[ref] = (uid, state)

        await self._server.answer("state.save", ref, self._identity, act)

    async def forget(self, ref: TargetRef) -> None:
        """Delete what was kept of a target."""
        if ref not in self._server.scale_targets:
            return
        await self._server.answer(
            "state.forget", ref, self._identity, lambda: self._server.scale_targets.pop(ref, None) and None
        )


@dataclass
class FakeRecorder:
    """Recorder: a list of facts, in order."""

    facts: list[Fact] = field(default_factory=list)

    def record(self, fact: Fact) -> None:
        """Take one fact."""
        self.facts.append(fact)

    @property
    def evaluations(self) -> list[Evaluation]:
        """Every evaluation, in order."""
        return [fact for fact in self.facts if isinstance(fact, Evaluation)]

    @property
    def applied(self) -> list[Evaluation]:
        """The evaluations that changed a count."""
        return [fact for fact in self.evaluations if fact.outcome is Outcome.APPLIED]

    @property
    def batches(self) -> list[BatchRead]:
        """Every batch read."""
        return [fact for fact in self.facts if isinstance(fact, BatchRead)]

    @property
    def episodes(self) -> list[EpisodePhase]:
        """Every stretch of an episode."""
        return [fact for fact in self.facts if isinstance(fact, EpisodePhase)]

    @property
    def notices(self) -> list[Notice]:
        """Every notice."""
        return [fact for fact in self.facts if isinstance(fact, Notice)]

    def evaluations_of(self, ref: TargetRef) -> list[Evaluation]:
        """The evaluations of one target."""
        return [fact for fact in self.evaluations if fact.ref == ref]
