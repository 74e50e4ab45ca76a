"""A testbed that outlives the command that started it: one per cache folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from testbed import state
from testbed.bed import REPOSITORY, Testbed, TestbedOptions
from testbed.errors import PartFailedError, TestbedError
from testbed.state import BedState, ProcessIdentity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from testbed.progress import Progress

START_SECONDS = 180.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.1
LOG_LINES = 40


class BackgroundPlace:
    """The files of the background testbed below a cache folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.run_directory = root / "up"
        self.state = root / "up.json"
        self.lock = root / "up.lock"
        self.log = root / "up.log"


def up(place: BackgroundPlace, arguments: Sequence[str], progress: Progress) -> BedState:
    """Start an owner process that serves a testbed, unless one does already, and wait until it is ready.

    Args:
        place: where its files are.
        arguments: options for `python -m testbed serve`.
        progress: told while waiting.

    Raises:
        PartFailedError: it did not come up; carries the end of its log.
    """
    if running := state.read(place.state):
        return running
    place.root.mkdir(parents=True, exist_ok=True)
    with place.log.open("wb") as log:
        owner = subprocess.Popen(
            [sys.executable, "-m", "testbed", "serve", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=REPOSITORY,
            env={**os.environ, "WAKEGATE_TESTBED_CACHE": str(place.root)},
            start_new_session=True,  # it stays when this terminal closes
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if running := state.read(place.state):
            owner.returncode = 0  # it is meant to outlive us: no warning about a child that nobody waited for
            return running
        if owner.poll() is not None:
            raise PartFailedError(f"the testbed did not start; the end of {place.log}:\n{_tail(place.log)}")
        progress.tick("starting")
        time.sleep(POLL_SECONDS)
    owner.terminate()
    owner.wait(STOP_SECONDS)
    raise PartFailedError(f"the testbed was not ready within {START_SECONDS:.0f} s; see {place.log}")


def down(place: BackgroundPlace) -> bool:
    """End the background testbed; says whether there was one.

    Raises:
        TestbedError: it would not end, not even by SIGKILL.
    """
    running = state.read(place.state)
    if running is None:
        place.state.unlink(missing_ok=True)
        return False
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        # Between this look and the signal the owner could end and its pid be given away: a pidfd cannot be fooled.
        with _pidfd(running.owner) as descriptor:
            if descriptor is not None:
                signal.pidfd_send_signal(descriptor, number)
        if _ended(running, seconds):
            place.state.unlink(missing_ok=True)
            return True
    raise TestbedError(f"the testbed's owner (pid {running.owner.pid}) or a part of it is still there after SIGKILL")


def serve(place: BackgroundPlace, options: TestbedOptions) -> None:
    """Own a testbed until SIGTERM or SIGINT. Runs in the process that `up` starts.

    Raises:
        TestbedError: another process owns the place, or a part did not come up.
    """
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    with place.lock.open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TestbedError(f"another testbed is being started or served in {place.root}") from None
        shutil.rmtree(place.run_directory, ignore_errors=True)  # the logs of the last one were kept until now
        place.run_directory.mkdir(parents=True)
        try:
            with Testbed(replace(options, run_directory=place.run_directory)) as bed:
                describe(bed).write(place.state)
                ending.wait()
        finally:
            place.state.unlink(missing_ok=True)


def describe(bed: Testbed) -> BedState:
    """The state of a testbed that this process owns."""
    owner = ProcessIdentity.of(os.getpid())
    if owner is None:
        raise TestbedError("cannot read /proc: a testbed in the background needs Linux")
    identities = ((process.name, ProcessIdentity.of(process.pid or 0)) for process in bed.processes())
    parts = {name: identity for name, identity in identities if identity}
    return BedState(owner, parts, str(bed.run_directory), bed.env)


@contextlib.contextmanager
def _pidfd(process: ProcessIdentity) -> Iterator[int | None]:
    """A handle on this very process; None if it is gone."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield descriptor if process.is_alive() else None
    finally:
        os.close(descriptor)


def _ended(running: BedState, within_seconds: float) -> bool:
    """Wait until owner and parts are gone."""
    deadline = time.monotonic() + within_seconds
    while any(process.is_alive() for process in (running.owner, *running.parts.values())):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
