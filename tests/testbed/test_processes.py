"""One child process, from start to end."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from testbed.errors import PartFailedError
from testbed.processes import ManagedProcess
from testbed.state import ProcessIdentity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SLEEPER = [sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)",
]


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something holds, and fail if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.01)


BUSY = [
    sys.executable,
    "-c",
    textwrap.dedent("""
        import hashlib, threading, time
        def work():
            while True: hashlib.sha256(bytes(1 << 20))  # a long stretch without the GIL
        for _ in range(16): threading.Thread(target=work, daemon=True).start()
        print('ready', flush=True); time.sleep(60)
    """),
]


def scheduler_states(process: ManagedProcess) -> set[str]:
    """R, S, T (stopped) ... as the kernel shows it, of all threads."""
    stats = [path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/stat")]
    return {stat.rpartition(")")[2].split()[0] for stat in stats}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., ManagedProcess]]:
    """Make processes that are killed at the end of the test; started ones have printed `ready`."""
    made: list[ManagedProcess] = []

    def start(command: list[str], *, grace_seconds: float = 5.0) -> ManagedProcess:
        process = ManagedProcess("sleeper", command, log=tmp_path / "log", grace_seconds=grace_seconds)
        made.append(process)
        process.start()
        process.wait_ready(lambda: "ready" in process.log_tail(), within_seconds=10)
        return process

    yield start
    for process in made:
        process.kill()


def test_start_and_stop(make: Callable[..., ManagedProcess]) -> None:
    """It runs after start, once however often it is called, and stop ends it with SIGTERM."""
    process = make(SLEEPER)
    pid = process.pid
    process.start()
    assert process.running
    assert process.pid == pid
    assert process.stop() == -signal.SIGTERM
    assert process.stop() == -signal.SIGTERM  # a second time: nothing to do


def test_restart_appends_to_the_log_and_shows_the_last_run(make: Callable[..., ManagedProcess]) -> None:
    """The log keeps every run; the tail shows the last one."""
    process = make(SLEEPER)
    first = process.pid
    process.restart()
    process.wait_ready(lambda: "ready" in process.log_tail(), within_seconds=10)
    assert process.pid != first
    assert process.log.read_text() == "ready\nready\n"
    assert process.log_tail() == "ready"


def test_sigkill_follows_when_sigterm_is_ignored(make: Callable[..., ManagedProcess]) -> None:
    """Who ignores SIGTERM is killed after the grace period."""
    process = make(STUBBORN, grace_seconds=0.2)
    assert process.stop() == -signal.SIGKILL


def test_pause_and_resume(make: Callable[..., ManagedProcess]) -> None:
    """Paused it stands still with all of its threads, and still counts as running; resumed it goes on."""
    process = make(BUSY)
    process.pause()
    assert scheduler_states(process) == {"T"}
    assert process.running
    process.resume()
    until(lambda: "T" not in scheduler_states(process))


def test_a_paused_process_can_be_stopped(make: Callable[..., ManagedProcess]) -> None:
    """Stop wakes a paused process first: else it could not follow SIGTERM."""
    process = make(SLEEPER)
    process.pause()
    assert process.stop() == -signal.SIGTERM


def test_an_early_end_is_told_with_the_log(tmp_path: Path) -> None:
    """Who ends instead of getting ready is reported with the status and the last words."""
    process = ManagedProcess(
        "broker", [sys.executable, "-c", "print('port is taken'); raise SystemExit(3)"], log=tmp_path / "log"
    )
    process.start()
    with pytest.raises(PartFailedError, match=r"(?s)broker ended with status 3; the end of .*port is taken"):
        process.wait_ready(lambda: False, within_seconds=10)


def test_a_late_start_is_told_with_the_log(make: Callable[..., ManagedProcess]) -> None:
    """Who is not ready in time is reported with the last words."""
    process = make(SLEEPER)
    with pytest.raises(PartFailedError, match=r"(?s)sleeper was not ready within 0 s; .*ready"):
        process.wait_ready(lambda: False, within_seconds=0)


def test_a_missing_program_is_told(tmp_path: Path) -> None:
    """A program that does not exist is an early end with a reason."""
    process = ManagedProcess("etcd", ["/no/such/etcd"], log=tmp_path / "log")
    process.start()
    with pytest.raises(PartFailedError, match=r"(?s)status 127.*cannot run /no/such/etcd"):
        process.wait_ready(lambda: False, within_seconds=10)


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    """A process that cannot even be created raises at start."""
    process = ManagedProcess("etcd", ["true"], log=tmp_path / "log", cwd=tmp_path / "none")
    with pytest.raises(PartFailedError, match="etcd could not be started"):
        process.start()
    assert not process.running


def test_it_outlives_the_thread_that_called_start(make: Callable[..., ManagedProcess]) -> None:
    """A worker thread may start it and end: the parent-death signal hangs on a thread of its own."""
    started: list[ManagedProcess] = []
    worker = threading.Thread(target=lambda: started.append(make(SLEEPER)))
    worker.start()
    worker.join()
    assert started[0].wait(0.3) is None
    assert started[0].running


@pytest.mark.parametrize("paused", [False, True], ids=["running", "paused"])
def test_it_ends_when_its_owner_is_killed(tmp_path: Path, *, paused: bool) -> None:
    """SIGKILL of the owner leaves nothing behind, not even a frozen child."""
    program = textwrap.dedent(f"""
        import pathlib, time
        from testbed.processes import ManagedProcess
        child = ManagedProcess("child", {STUBBORN!r}, log=pathlib.Path({str(tmp_path / "log")!r}))
        child.start()
        child.wait_ready(lambda: "ready" in child.log_tail(), within_seconds=10)
        if {paused}:
            child.pause()
        print(child.pid, flush=True)
        time.sleep(60)
    """)
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:  # noqa: S603 - the text above
        assert owner.stdout is not None
        child = ProcessIdentity.of(int(owner.stdout.readline()))
        assert child is not None
        owner.kill()
        owner.wait(10)
    until(lambda: not child.is_alive())
