"""One child process: start, pause, resume, stop, kill, and wait until it answers.

A child never outlives its owner: the kernel kills it when the thread that started it is gone, so each child has a
thread of its own that starts it and then waits for it. (A worker thread of asyncio or of a pool would not do: it ends
when its loop ends, and the kernel would take the child with it.)
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from testbed import leash
from testbed.errors import PartFailedError
from testbed.state import stat_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LEASH = str(Path(leash.__file__).resolve())
PROBE_INTERVAL_SECONDS = 0.05
START_SECONDS = 10.0
KILL_SECONDS = 10.0
PAUSE_SECONDS = 10.0
PAUSE_PROBE_INTERVAL_SECONDS = 0.001


class ManagedProcess:
    """A child process with a log file, in a process group of its own, killed by the kernel when its owner ends.

    Args:
        name: what to call it in errors.
        command: program and arguments.
        log: file that gets stdout and stderr, appended over restarts.
        env: added to the owner's environment.
        cwd: working directory.
        grace_seconds: how long `stop` waits after SIGTERM before SIGKILL.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        grace_seconds: float = 10.0,
    ) -> None:
        self.name = name
        self.command = [str(word) for word in command]
        self.log = log
        self.env = dict(env or {})
        self.cwd = cwd
        self.grace_seconds = grace_seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._exited = threading.Event()
        self._log_start = 0

    def __repr__(self) -> str:
        state = "running" if self.running else f"ended {self.returncode}" if self._child else "not started"
        return f"<{self.name} pid={self.pid} {state}>"

    @property
    def pid(self) -> int | None:
        """Process id of the current or last run."""
        return self._child.pid if self._child else None

    @property
    def returncode(self) -> int | None:
        """Exit status of the last run, negative for a signal; None while it runs or before it was started."""
        return self._child.returncode if self._child and self._exited.is_set() else None

    @property
    def running(self) -> bool:
        """Whether the child exists (paused counts as running)."""
        return self._child is not None and not self._exited.is_set()

    def start(self) -> None:
        """Start the child; does nothing while it runs.

        Raises:
            PartFailedError: the process could not be created.
        """
        if self.running:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._log_start = self.log.stat().st_size if self.log.exists() else 0
        self._exited = threading.Event()
        started = threading.Event()
        failures: list[OSError] = []
        threading.Thread(
            target=self._own, args=(started, self._exited, failures), name=f"owner of {self.name}", daemon=True
        ).start()
        if not started.wait(START_SECONDS) or failures:
            raise PartFailedError(f"{self.name} could not be started: {failures or 'no answer from the system'}")

    def _own(self, started: threading.Event, exited: threading.Event, failures: list[OSError]) -> None:
        """Start the child and stay until it is gone: the parent-death signal hangs on this very thread."""
        # -I: nothing of the child's PYTHONPATH or site folder is loaded before it becomes the program.
        command = [sys.executable, "-I", "-S", LEASH, str(os.getpid()), *self.command]
        try:
            with self.log.open("ab") as output:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **self.env},
                    cwd=self.cwd,
                    start_new_session=True,  # Ctrl-C in the terminal must not reach it before our orderly stop
                )
        except OSError as error:
            failures.append(error)
            exited.set()
            started.set()
            return
        self._child = child
        started.set()
        child.wait()
        exited.set()

    def stop(self) -> int | None:
        """End it with SIGTERM, and with SIGKILL after the grace period; returns the exit status."""
        self.resume()
        self._signal(signal.SIGTERM)
        if self._child is not None and not self._exited.wait(self.grace_seconds):
            self.kill()
        return self.returncode

    def kill(self) -> None:
        """End it with SIGKILL, at once, and return when it is gone."""
        self._signal(signal.SIGKILL)
        if self._child is not None and not self._exited.wait(KILL_SECONDS):
            raise PartFailedError(f"{self.name} (pid {self.pid}) is still there {KILL_SECONDS:.0f} s after SIGKILL")

    def pause(self) -> None:
        """Freeze it with SIGSTOP and return when it stands still: connections stay open and nothing answers.

        Raises:
            PartFailedError: a thread still runs after ten seconds.
        """
        self._signal(signal.SIGSTOP)
        # kill() returns before the threads have stopped: a broker on a busy machine answered one more request.
        deadline = time.monotonic() + PAUSE_SECONDS
        while self.running and not _stands_still(self._child.pid if self._child else 0):
            if time.monotonic() > deadline:
                raise PartFailedError(f"{self.name} (pid {self.pid}) still runs {PAUSE_SECONDS:.0f} s after SIGSTOP")
            time.sleep(PAUSE_PROBE_INTERVAL_SECONDS)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop it in order and start it again."""
        self.stop()
        self.start()

    def wait_ready(self, probe: Callable[[], bool], *, within_seconds: float) -> None:
        """Ask `probe` until it says yes.

        Raises:
            PartFailedError: it ended, or was not ready within the time; carries the end of the log.
        """
        deadline = time.monotonic() + within_seconds
        while not probe():
            if not self.running:
                raise PartFailedError(f"{self.name} ended with status {self.returncode}; {self._evidence()}")
            if time.monotonic() > deadline:
                raise PartFailedError(f"{self.name} was not ready within {within_seconds:.0f} s; {self._evidence()}")
            time.sleep(PROBE_INTERVAL_SECONDS)

    def wait(self, timeout_seconds: float) -> int | None:
        """Wait until it has ended by itself; returns the exit status, or None if it still runs."""
        self._exited.wait(timeout_seconds)
        return self.returncode

    def log_tail(self, lines: int = 30) -> str:
        """Return the last lines that this run has written."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def _evidence(self) -> str:
        return f"the end of {self.log}:\n{self.log_tail() or '(empty)'}"

    def _signal(self, number: signal.Signals) -> None:
        """Signal the whole process group; a child that is gone is no error."""
        if self._child is None or not self.running:
            return
        try:
            os.killpg(self._child.pid, number)
        except ProcessLookupError:
            return

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _stands_still(pid: int) -> bool:
    """Say whether each thread of a process is stopped, state T of proc(5), or has ended."""
    for thread in Path(f"/proc/{pid}/task").glob("*"):
        try:
            state = stat_fields(thread / "stat")[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state not in "TZX":
            return False
    return True
