"""One replica as a local process: started, started again when it ends, its output handed on, ended with its group."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from activator.local import reaper

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

READY_AFTER_SECONDS = 1.0
"""A process that has run this long counts as ready; probes are not read."""
FIRST_RESTART_SECONDS = 1.0
LONGEST_RESTART_SECONDS = 60.0
"""A process that ends is started again (restartPolicy Always) after 1 s, 2 s, 4 s, ... at most a minute."""
STEADY_SECONDS = 10.0
"""One that ran this long begins again with the shortest wait."""
_LOOK_SECONDS = 0.1
_KILLED_SECONDS = 2.0
_DRAIN_SECONDS = 0.5
_LONGEST_LINE_BYTES = 16_384
_CHUNK_BYTES = 65_536


class Reaper:
    """The program that ends our replicas if we cannot: see `local.reaper`."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it in a session of its own, so that a terminal's Ctrl-C does not reach it."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            str(Path(reaper.__file__)),
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,
        )

    def add(self, group: int) -> None:
        """Put a process group on its list."""
        self._write(f"+{group}\n")

    def remove(self, group: int) -> None:
        """Take a process group that has ended off its list."""
        self._write(f"-{group}\n")

    async def close(self) -> None:
        """Let it end, and with it whatever is still on its list."""
        if self._process is None or self._process.stdin is None:
            return
        self._process.stdin.close()
        await self._process.wait()

    def _write(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(line.encode())


@dataclass(frozen=True, slots=True)
class Plan:
    """What one replica runs."""

    name: str
    """The replica's name, as a Pod's."""
    command: tuple[str, ...]
    environment: Mapping[str, str]
    """All of it."""
    working_directory: str | None
    grace: timedelta
    """From SIGTERM to SIGKILL."""


class Replica:
    """A process that is kept running until `run` is cancelled.

    Args:
        plan: what to run.
        reaper: ends it if we cannot.
        output: takes each line of its standard output and error, without the line end.
        say: takes what a person should know of it, in one clause.
        changed: is called whenever `ready` may have changed.
    """

    def __init__(
        self,
        plan: Plan,
        reaper: Reaper,
        *,
        output: Callable[[str], None],
        say: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self._plan = plan
        self._reaper = reaper
        self._output = output
        self._say = say
        self._changed = changed
        self.ready = False

    async def run(self) -> None:
        """Keep it running until cancelled: then SIGTERM, and SIGKILL after the grace period or another cancellation."""
        failures = 0
        clock = asyncio.get_running_loop().time
        while True:
            started = clock()
            how = await self._run_once()
            failures = 1 if clock() - started >= STEADY_SECONDS else failures + 1
            wait = min(FIRST_RESTART_SECONDS * 2 ** min(failures - 1, 10), LONGEST_RESTART_SECONDS)
            self._say(f"{how}; it starts again in {wait:g} s")
            await asyncio.sleep(wait)

    async def _run_once(self) -> str:
        """Run it once and tell how it ended."""
        plan = self._plan
        # A pipe of our own: with asyncio's, Python 3.11 does not tell that a process has ended while something that
        # it has started still holds the other end.
        ours, theirs = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *plan.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=theirs,
                stderr=asyncio.subprocess.STDOUT,
                env=plan.environment,
                cwd=plan.working_directory,
                start_new_session=True,
            )
        except BaseException as error:
            os.close(ours)
            if isinstance(error, OSError):
                return f"{plan.command[0]!r} cannot be started: {error.strerror or error}"
            raise
        finally:
            os.close(theirs)
        self._reaper.add(process.pid)
        timer = asyncio.get_running_loop().call_later(READY_AFTER_SECONDS, self._note_ready, process)
        reading = asyncio.create_task(self._read(ours))
        try:
            code = await process.wait()
        finally:
            timer.cancel()
            self._note_ready(None)
            try:
                await self._end(process)
            finally:
                self._reaper.remove(process.pid)  # its number may be another's from now on
            with contextlib.suppress(TimeoutError):  # who has left the process group may hold the pipe open
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await reading
        return f"ended with exit code {code}" if code >= 0 else f"ended by {signal.Signals(-code).name}"

    def _note_ready(self, process: asyncio.subprocess.Process | None) -> None:
        ready = process is not None and process.returncode is None
        if ready != self.ready:
            self.ready = ready
            self._changed()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """End the process and whatever it has started, however often this is cancelled meanwhile."""
        try:
            if process.returncode is None:
                _signal(process.pid, signal.SIGTERM)
                async with asyncio.timeout(self._plan.grace.total_seconds()):
                    await process.wait()
                    # A shell ends at once; what it runs may have to commit yet.
                    while _is_alive(process.pid):  # noqa: ASYNC110 - nobody tells of the end of a child's child
                        await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            self._say(f"did not end within {self._plan.grace.total_seconds():g} s of SIGTERM: SIGKILL")
        finally:
            _signal(process.pid, signal.SIGKILL)
            # Also where the wait above was cancelled: who is not waited for is still there. Who may not be killed, such
            # as a program that runs as another user, is waited for in vain.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_KILLED_SECONDS):
                    await process.wait()

    async def _read(self, pipe: int) -> None:
        """Hand on what it writes, line by line; a line without end is cut into pieces."""
        stream = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(pipe, "rb", buffering=0)
        )
        rest = b""
        try:
            while chunk := await stream.read(_CHUNK_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > _LONGEST_LINE_BYTES:
                    lines, rest = [*lines, rest], b""
                for line in lines:
                    self._output(line.decode(errors="replace").rstrip("\r"))
            if rest:
                self._output(rest.decode(errors="replace"))
        finally:
            transport.close()


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended; macOS says it the second way
        os.killpg(group, number)


def _is_alive(group: int) -> bool:
    """Tell whether anybody of a process group still runs; a zombie has ended, though its parent took no note of it."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):  # macOS says the second of a group of zombies
        return False
    states = _states(group)
    return not states or bool(states - {"Z", "X"})


def _states(group: int) -> set[str]:
    """The states of the processes of a group, by Linux' letters; none where there is no /proc."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            # In front stands the program's name in brackets, which may hold anything.
            state, _, its_group = stat.read_bytes().decode(errors="replace").rpartition(")")[2].split()[:3]
            if int(its_group) == group:
                found.add(state)
    return found
