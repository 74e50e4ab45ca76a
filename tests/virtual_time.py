"""An event loop whose time passes only when nothing else is left to do: a simulated day is a fast test.

`time()` stands still while callbacks run and jumps to the next timer when none is ready. Nothing here touches the
network: a loop with no timer left and nothing ready is a deadlock, and says so instead of hanging.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ParamSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Parameters = ParamSpec("Parameters")

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
"""What a virtual clock shows at loop time zero."""


class _VirtualSelector(selectors.SelectSelector):
    """Waits no real time: what would be waited is added to the virtual clock."""

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("deadlock: no timer is set and nothing is ready")
            self.elapsed += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A selector event loop on a virtual clock."""

    def __init__(self) -> None:
        self._virtual = _VirtualSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Seconds since the loop was made, in virtual time."""
        return self._virtual.elapsed


def virtual(test: Callable[Parameters, Coroutine[Any, Any, None]]) -> Callable[Parameters, None]:
    """Run an async test on a loop of its own, in virtual time."""

    @functools.wraps(test)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


def now() -> datetime:
    """The wall clock of the running virtual loop."""
    return START + timedelta(seconds=asyncio.get_running_loop().time())
