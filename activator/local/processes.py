"""Replicas of local workloads as processes: the laptop's stand-in for the controllers of a cluster.

It is the `Scaler` and knows what the catalog delivers: counts, readiness, and who wrote the count.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from activator.core.model import Scale, Workload
from activator.core.naming import FIELD_MANAGER
from activator.errors import ConflictError, NotFoundError, SpecError
from activator.local.manifests import expand
from activator.local.process import Plan, Reaper, Replica

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from activator.core.model import TargetRef
    from activator.local.manifests import WorkloadSpec

FOLDER = "the folder"
"""Field manager of counts that were read from a file."""


@dataclass(slots=True)
class _Running:
    """A replica and the task that keeps it running."""

    replica: Replica
    task: asyncio.Task[None]


@dataclass(slots=True)
class _Held:
    """What is known of one workload."""

    spec: WorkloadSpec
    uid: str
    version: int
    replicas: int
    manager: str = FOLDER
    running: dict[int, _Running] = field(default_factory=dict)
    """By ordinal."""
    ending: dict[int, asyncio.Task[None]] = field(default_factory=dict)

    @property
    def ready(self) -> int:
        return sum(1 for running in self.running.values() if running.replica.ready)


class LocalReplicas:
    """`ports.Scaler` over processes; nothing is started before `run`, and all are ended when it is cancelled.

    Args:
        reaper: ends them if we cannot.
        environment: what every process inherits; a container's `env` goes over it.
        output: takes a replica's name and one line that it wrote.
        say: takes one sentence for a person.
    """

    def __init__(
        self,
        reaper: Reaper,
        environment: Mapping[str, str],
        *,
        output: Callable[[str, str], None],
        say: Callable[[str], None],
    ) -> None:
        self._reaper = reaper
        # Our own interpreter comes last: a laptop may have no `python` on its PATH but that of a virtual environment.
        path = os.pathsep.join(filter(None, (environment.get("PATH"), str(Path(sys.executable).parent))))
        self._environment = {"PYTHONUNBUFFERED": "1", **environment, "PATH": path}
        self._output = output
        self._say = say
        self._held: dict[TargetRef, _Held] = {}
        self._gone: list[_Held] = []
        self._numbers = 0
        self._kick = asyncio.Event()
        self.changed: Callable[[TargetRef], None] = lambda _ref: None
        """Is called after each change of a workload's count or readiness."""

    # ------------------------------------------------------------------------------------------------- the folder says

    def check(self, spec: WorkloadSpec) -> None:
        """Raise SpecError where a workload could not be started: no such command, no such working directory."""
        plan = self._plan(spec, 0, "")
        if plan.working_directory is not None and not Path(plan.working_directory).is_dir():
            where = f"{spec.place}: {spec.ref.kind} {spec.ref.name}: workingDir"
            raise SpecError(where, plan.working_directory, "a directory of this computer")
        if not _is_executable(plan):
            where = f"{spec.place}: {spec.ref.kind} {spec.ref.name}: command"
            raise SpecError(where, plan.command[0], "a program of this computer, by its path or on PATH")

    def apply(self, spec: WorkloadSpec) -> None:
        """Take a workload that is new or changed; a count that the file did not change stays as it is."""
        held = self._held.get(spec.ref)
        if held is None:
            self._held[spec.ref] = _Held(spec, f"local-{self._number()}", self._number(), spec.replicas)
        else:
            before, held.spec, held.version = held.spec, spec, self._number()
            if spec.replicas != before.replicas:
                held.replicas, held.manager = spec.replicas, FOLDER
            if (spec.container, spec.grace) != (before.container, before.grace):
                self._end(held, list(held.running))
        self._note(spec.ref)

    def remove(self, ref: TargetRef) -> None:
        """Take note that a workload is gone."""
        held = self._held.pop(ref, None)
        if held is not None:
            held.replicas = 0
            self._gone.append(held)
            self._kick.set()

    def workload(self, ref: TargetRef) -> Workload | None:
        """Return a workload as it is; None: there is no such one."""
        held = self._held.get(ref)
        if held is None:
            return None
        return Workload(ref=ref, scale=_scale(held), ready_replicas=held.ready, replicas_manager=held.manager)

    @property
    def processes(self) -> int:
        """How many replicas there are just now, those that are ending included."""
        return sum(len(held.running) + len(held.ending) for held in (*self._held.values(), *self._gone))

    # -------------------------------------------------------------------------------------------------------- the port

    async def get(self, ref: TargetRef) -> Scale:
        """Read the count as it is. Raises NotFoundError."""
        return _scale(self._find(ref))

    async def set(self, ref: TargetRef, replicas: int, seen: Scale) -> Scale:
        """Set the count of the very workload that was seen. Raises ConflictError, NotFoundError."""
        held = self._find(ref)
        if held.uid != seen.uid:
            raise NotFoundError(f"{ref} was removed and added again")
        if str(held.version) != seen.resource_version:
            raise ConflictError(f"{ref} has changed since it was read")
        if held.replicas != replicas:
            held.replicas, held.manager, held.version = replicas, FIELD_MANAGER, self._number()
            self._note(ref)
        return _scale(held)

    # --------------------------------------------------------------------------------------------------- the processes

    async def run(self) -> None:
        """Start and end processes as the counts say, until cancelled; then end all."""
        async with asyncio.TaskGroup() as tasks:
            try:
                while True:
                    self._kick.clear()
                    for held in (*self._held.values(), *self._gone):
                        self._reconcile(tasks, held)
                    self._gone = [held for held in self._gone if held.ending]
                    await self._kick.wait()
            finally:
                for held in (*self._held.values(), *self._gone):
                    self._end(held, list(held.running))

    def kill(self) -> None:
        """End every process at once, without the rest of its grace period."""
        for held in (*self._held.values(), *self._gone):
            for task in (*held.ending.values(), *(running.task for running in held.running.values())):
                task.cancel()

    def _reconcile(self, tasks: asyncio.TaskGroup, held: _Held) -> None:
        excess = sorted(held.running)[held.replicas :]
        self._end(held, excess)
        ordinals = iter(range(held.replicas + len(held.running) + len(held.ending)))
        for ordinal in ordinals:
            if len(held.running) >= held.replicas:
                break
            if ordinal in held.running:
                continue
            if ordinal in held.ending:
                if held.spec.ref.kind == "StatefulSet":  # an identity is never there twice
                    break
                continue
            self._begin(tasks, held, ordinal)

    def _begin(self, tasks: asyncio.TaskGroup, held: _Held, ordinal: int) -> None:
        ref = held.spec.ref
        plan = self._plan(held.spec, ordinal, held.uid)
        replica = Replica(
            plan,
            self._reaper,
            output=lambda line: self._output(plan.name, line),
            say=lambda clause: self._say(f"{plan.name} {clause}"),
            changed=lambda: self.changed(ref) if ref in self._held else None,
        )
        task = tasks.create_task(replica.run(), name=f"replica {plan.name}")
        held.running[ordinal] = _Running(replica, task)
        task.add_done_callback(partial(self._ended, held, ordinal))

    def _end(self, held: _Held, ordinals: list[int]) -> None:
        for ordinal in ordinals:
            task = held.running.pop(ordinal).task
            held.ending[ordinal] = task
            task.cancel()

    def _ended(self, held: _Held, ordinal: int, task: asyncio.Task[None]) -> None:
        held.ending.pop(ordinal, None)
        if ordinal in held.running and held.running[ordinal].task is task:
            del held.running[ordinal]
        self._kick.set()

    def _plan(self, spec: WorkloadSpec, ordinal: int, uid: str) -> Plan:
        name = f"{spec.ref.name}-{ordinal}"
        fields = {
            "metadata.name": name,
            "metadata.namespace": spec.ref.namespace,
            "metadata.uid": f"{uid}-{ordinal}",
            "spec.nodeName": socket.gethostname(),
            "status.hostIP": "127.0.0.1",
            "status.podIP": "127.0.0.1",
        }
        command, environment = expand(spec.container, fields)
        return Plan(
            name=name,
            command=command,
            environment={**self._environment, **environment},
            working_directory=spec.container.working_directory,
            grace=spec.grace,
        )

    def _find(self, ref: TargetRef) -> _Held:
        held = self._held.get(ref)
        if held is None:
            raise NotFoundError(f"{ref} is not in the folder")
        return held

    def _note(self, ref: TargetRef) -> None:
        self._kick.set()
        self.changed(ref)

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers


def _scale(held: _Held) -> Scale:
    return Scale(replicas=held.replicas, uid=held.uid, resource_version=str(held.version))


def _is_executable(plan: Plan) -> bool:
    """Tell whether a command is there, looked for as exec does: a name on PATH, a path from the working directory."""
    program = plan.command[0]
    if os.sep in program:
        places = [Path(plan.working_directory or ".") / program]
    else:
        places = [Path(folder) / program for folder in os.get_exec_path(plan.environment)]
    with contextlib.suppress(OSError, ValueError):
        return any(place.is_file() and os.access(place, os.X_OK) for place in places)
    return False
