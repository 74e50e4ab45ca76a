"""An API server in memory, for speed, for faults, for no real time; `kubernetes` has the ports over it.

Tests move it (`scale`, `annotate`, `become_ready`, `delete`, ...), break it (`inject`, `start_outage`) and read what
was asked of it (`requests`).
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from activator.core.model import Scale, Workload
from activator.errors import ConflictError, DeniedError, InvalidError, UnavailableError, WakegateError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from activator.core.model import Policy, TargetRef, TargetState

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
