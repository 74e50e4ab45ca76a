"""What every mode is wired with: the clock, ids, recorders, supervision."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from activator.core.model import TraceIds
from activator.settings import TraceHeld
from activator.specs.defaults import AnnotationDefaults
from activator.telemetry import export, holds
from activator.telemetry.fanout import FanOut
from activator.telemetry.logs import LogRecorder
from activator.telemetry.metrics import MetricsRecorder
from activator.version import version
from activator.web.board import Board

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from activator.core.model import Push, TargetRef
    from activator.loop import Activator
    from activator.ports import Recorder
    from activator.settings import Settings

FIRST_RESTART_SECONDS = 0.5
LONGEST_RESTART_SECONDS = 30.0
LONG_RUN_SECONDS = 60.0
"""A task that ran this long before it broke starts again at once, as if it had broken for the first time."""

_log = logging.getLogger(__name__)


class Clock:
    """Aware UTC that never goes back: the wall clock at the start, plus what the monotonic clock has counted since.

    A wall clock that is stepped would move every deadline with it: an hour back, and nothing is due for an hour.
    """

    def __init__(self) -> None:
        self._wall = datetime.now(UTC)
        self._monotonic = time.monotonic()

    def now(self) -> datetime:
        """Return the present moment."""
        return self._wall + timedelta(seconds=time.monotonic() - self._monotonic)


def new_ids(trace_id: str | None) -> TraceIds:
    """Make the ids of a span, in the trace whose id is given or in a new one (W3C Trace Context, section 3.2.2)."""
    # Not by `secrets`: they keep nobody out, and its system calls took a fortieth of our time in a storm of wakes.
    trace_id = trace_id or f"{random.getrandbits(128):032x}"
    return TraceIds(trace_id, f"{random.getrandbits(64):016x}")


def annotation_defaults(settings: Settings) -> AnnotationDefaults:
    """Return what the operator's settings say for what annotations leave out."""
    return AnnotationDefaults(
        bootstrap_servers=settings.bootstrap_servers,
        allowed_bootstrap_servers=frozenset(settings.allowed_bootstrap_servers),
        handoff=settings.handoff,
        dry_run=settings.dry_run,
    )


class Pushes:
    """A push listener that is known before the loop it belongs to, and counts what comes."""

    def __init__(self, metrics: MetricsRecorder) -> None:
        self._metrics = metrics
        self.listener: Activator | None = None

    def push(self, push: Push) -> None:
        """Count a push and hand it on; before the loop is there, nothing is asleep by its knowledge."""
        self._metrics.pushed(push)
        if self.listener is not None:
            self.listener.push(push)


async def supervise(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Keep a task of the process running: one that breaks is told and started again, less and less soon."""
    failures = 0
    while True:
        started = time.monotonic()
        try:
            await run()
        except Exception:  # noqa: BLE001 - whatever broke it, the others go on and it is tried again
            failures = 1 if time.monotonic() - started > LONG_RUN_SECONDS else failures + 1
            wait = min(FIRST_RESTART_SECONDS * 2 ** min(failures - 1, 10), LONGEST_RESTART_SECONDS)
            _log.exception("%s broke in a way nobody foresaw; it starts again in %g s", name, wait)
            await asyncio.sleep(wait)
        else:
            return


@dataclass(frozen=True, slots=True)
class Observability:
    """Everything that is told what happened."""

    recorder: Recorder
    metrics: MetricsRecorder
    registry: CollectorRegistry
    board: Board


async def observability(
    exits: contextlib.AsyncExitStack,
    now: Callable[[], datetime],
    trace_held: TraceHeld,
    *besides: Recorder,
) -> Observability:
    """Make log, metrics, dashboard and, where the environment asks for them, spans; they end with `exits`.

    Raises:
        SettingsError: an ``OTEL_*`` variable cannot be used.
    """
    registry, board = CollectorRegistry(), Board()
    metrics = MetricsRecorder(registry, now, version=version())
    recorders: list[Recorder] = [LogRecorder(), metrics, board, *besides]
    longest_hold = holds.NONE if trace_held is TraceHeld.ALL else holds.LONGEST
    if exporting := export.start(metrics, longest_hold=longest_hold, version=version()):
        exits.push_async_callback(exporting.close)
        recorders.append(exporting.recorder)
    return Observability(FanOut(recorders), metrics, registry, board)


def with_mistakes(activator: Activator) -> dict[TargetRef, bool]:
    """Return every managed target, and whether its configuration has a mistake. Safe in any thread."""
    return {ref: bool(target.problems) for ref, target in list(activator.targets.items())}


@contextlib.asynccontextmanager
async def running(tasks: Mapping[str, Callable[[], Awaitable[None]]]) -> AsyncIterator[None]:
    """Run supervised tasks for the length of a block, and end them with it; what ends the block is raised as it is."""
    started = [asyncio.create_task(supervise(name, run), name=name) for name, run in tasks.items()]
    try:
        yield
    finally:
        for task in started:
            task.cancel()
        await asyncio.gather(*started, return_exceptions=True)
