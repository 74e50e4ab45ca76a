"""Loopback ports that stay ours while a part is down."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from testbed.errors import TestbedError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = "127.0.0.1"
# Below Linux' ephemeral range (32768..60999). A port inside it can be taken, while our part is being restarted, by any
# outgoing connection; a client that retries the dead port can even be given it as its source and connect to itself.
FIRST_PORT = 20_000
LAST_PORT = 32_700
ATTEMPTS = 2_000


def is_bindable(port: int) -> bool:
    """Say whether nothing listens on this loopback port, neither TCP nor UDP."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind is socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT does not count as taken
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                return False
    return True


def default_lock_directory() -> Path:
    """One directory per user and machine, because ports are a machine's."""
    return Path(tempfile.gettempdir()) / f"wakegate-testbed-ports-{os.getuid()}"


class ReservedPorts:
    """Ports that no other testbed on this machine takes until `close()`, also while nothing listens on them.

    Each is guarded by an advisory lock on a file, which the kernel drops when the owner ends, however it ends.

    Raises:
        TestbedError: no free port was found.
    """

    def __init__(self, count: int, *, lock_directory: Path | None = None) -> None:
        self._locks: list[IO[bytes]] = []
        self.ports: list[int] = []
        directory = lock_directory or default_lock_directory()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for port in _candidates():
            if len(self.ports) == count:
                return
            lock = _try_lock(directory / str(port))
            if lock is None:
                continue
            if not is_bindable(port):
                lock.close()
                continue
            self._locks.append(lock)
            self.ports.append(port)
        self.close()
        raise TestbedError(f"no {count} free loopback ports between {FIRST_PORT} and {LAST_PORT}")

    def close(self) -> None:
        """Give the ports back."""
        while self._locks:
            self._locks.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _candidates() -> Iterator[int]:
    """Random ports: two testbeds that start together rarely look at the same one."""
    for _ in range(ATTEMPTS):
        yield random.randint(FIRST_PORT, LAST_PORT)  # noqa: S311 - spreads load, guards nothing


def _try_lock(path: Path) -> IO[bytes] | None:
    lock = path.open("wb")
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return lock
    lock.close()
    return None
