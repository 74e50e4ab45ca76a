"""An event loop whose time is virtual, whose order is drawn from a seed, and whose processes can die at every await.

asyncio runs what is ready in the order in which it became ready. Nothing in a program may rely on that between two
tasks, so here the next one is drawn: one seed, one order, always the same. Everything that a simulated process of
wakegate does is tagged with it (a context variable that tasks and timers inherit), so that

- a crash is what a crash is: from one callback to the next nothing of the process runs any more, no `finally`, no
  farewell, and what it has sent is still on its way;
- a stall stops the process and nothing else: its timers and answers wait until it goes on, and time does not.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine, Iterable

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
"""What a right clock shows at loop time zero."""
_WAKE_SLEEPER = asyncio.futures._set_result_unless_cancelled  # type: ignore[attr-defined]
"""What ends an asyncio.sleep: by far the most frequent timer."""


@dataclass(eq=False, slots=True)
class Process:
    """One process of wakegate, as the scheduler sees it."""

    name: str
    clock_offset: timedelta = timedelta(0)
    """How wrong its wall clock is."""
    on_death: Callable[[], None] = lambda: None
    alive: bool = True
    stalled: bool = False
    started_at: float = 0.0
    went_on_at: float = 0.0
    """When it last went on after a stall."""
    fuse: int | None = None
    """It dies before its so-manieth callback from now; None: it does not."""
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    parked: list[_Handle] = field(default_factory=list)
    """What became ready while it was stalled or dead."""

    def __post_init__(self) -> None:
        self.context.run(PROCESS.set, self)

    def dies(self) -> None:
        """End it here and now."""
        if self.alive:
            self.alive = False
            self.on_death()

    def may_run(self, handle: _Handle) -> bool:
        """Tell whether a callback of it runs now; what must not run is kept."""
        if self.fuse is not None and self.alive:
            self.fuse -= 1
            if self.fuse < 0:
                self.dies()
        if self.alive and not self.stalled:
            return True
        self.parked.append(handle)
        return False


PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class DeadlockError(RuntimeError):
    """Nothing is ready and no timer is set: nobody will ever run again."""


class _NumberedTask(asyncio.Task[Any]):
    """A task whose place in a set is the same in every run: asyncio cancels the tasks of a group in set order."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], *, number: int, **kwargs: Any) -> None:
        self._number = number
        super().__init__(coroutine, **kwargs)

    def __hash__(self) -> int:
        return self._number


class _Handle:
    """A callback that waits for its turn. asyncio's own does more than is needed here, four times as slowly."""

    __slots__ = ("args", "callback", "context", "is_cancelled", "moment")

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context, moment: float
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.moment = moment
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return self.moment


class SeededLoop(asyncio.SelectorEventLoop):
    """An event loop on a virtual clock, with a drawn order; it never asks the operating system for anything."""

    # The base class only clears it.
    _ready: list[_Handle]
    _stopping: bool

    def __init__(self, order: random.Random) -> None:
        super().__init__()
        self.on_error: Callable[[Exception], None] | None = None
        """Told of what a callback raises; None: that ends the run."""
        self._elapsed = 0.0
        self._draw = order.random
        self._ready = []
        self._timers: list[tuple[float, int, _Handle]] = []
        self._made = 0
        self._tasks_made = 0
        self._seeded = True
        self.set_task_factory(self._number)
        self.outside = contextvars.copy_context()
        """The context of everything that is no process of wakegate."""

    def time(self) -> float:
        """Seconds since the loop was made, in virtual time."""
        return self._elapsed

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> _Handle:
        """Call when it is drawn."""
        handle = _Handle(callback, args, contextvars.copy_context() if context is None else context, self._elapsed)
        self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> _Handle:
        """Call at a moment; of equal moments in the order of asking."""
        timer = _Handle(callback, args, contextvars.copy_context() if context is None else context, when)
        self._made += 1
        heapq.heappush(self._timers, (when, self._made, timer))
        return timer

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> _Handle:
        """Call after a while."""
        return self.call_at(self._elapsed + delay, callback, *args, context=context)

    def later(self, seconds: float, call: Callable[..., object], *args: Any) -> _Handle:
        """Call outside of every process, whoever asks for it: a request on its way outlives who sent it."""
        return self.call_at(self._elapsed + seconds, call, *args, context=self.outside)

    def start(self, process: Process, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin a process."""
        process.started_at = self._elapsed
        return self.create_task(work, context=process.context)

    def stall(self, process: Process, seconds: float) -> None:
        """Stop a process for a while, as a node that swaps or a debugger does."""
        process.stalled = True
        self.later(seconds, self._go_on, process)

    def finish(self, processes: Iterable[Process]) -> None:
        """End the seeded order, and let the dead run again, so that every task can be cancelled and closed."""
        self._seeded = False
        for process in processes:
            self._go_on(process)

    def _run_once(self) -> None:
        ready = self._ready
        while not self._stopping:
            self._take_timers()
            if not ready:
                continue  # a sleeper was cancelled in the moment that it would have woken
            handle = self._take()
            if handle.is_cancelled:
                continue
            process = handle.context.get(PROCESS)
            if process is None or not self._seeded or process.may_run(handle):
                try:
                    handle.context.run(handle.callback, *handle.args)
                except Exception as error:
                    if self.on_error is None:
                        raise
                    self.on_error(error)

    def _take_timers(self) -> None:
        """Move what is due to what is ready, and the clock to the next timer where nothing is."""
        ready, timers = self._ready, self._timers
        if not ready:
            while timers and timers[0][2].is_cancelled:
                heapq.heappop(timers)
            if not timers:
                raise DeadlockError
            self._elapsed = max(self._elapsed, timers[0][0])
        while timers and timers[0][0] <= self._elapsed:
            timer = heapq.heappop(timers)[2]
            if timer.callback is _WAKE_SLEEPER and not timer.is_cancelled:
                # The end of an asyncio.sleep. Who slept is ready now: it is him who is drawn, and who may be dead.
                timer.callback(*timer.args)
            else:
                ready.append(timer)

    def _take(self) -> _Handle:
        ready = self._ready
        count = len(ready)
        if count == 1 or not self._seeded:
            return ready.pop(0)
        chosen = int(self._draw() * count)
        handle = ready[chosen]
        ready[chosen] = ready[-1]
        ready.pop()
        return handle

    def _go_on(self, process: Process) -> None:
        process.stalled, process.went_on_at = False, self._elapsed
        self._ready.extend(process.parked)
        process.parked.clear()

    def _number(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **kwargs: Any) -> asyncio.Task[Any]:
        self._tasks_made += 1
        return _NumberedTask(coroutine, number=self._tasks_made, loop=loop, **kwargs)


def seeded_loop() -> SeededLoop:
    """Return the running loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SeededLoop)
    return loop
