"""Where built parts are kept: one folder per part and version, outside the repository, complete or absent."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOCK_POLL_SECONDS = 0.2


def default_root() -> Path:
    """`$WAKEGATE_TESTBED_CACHE`, else `wakegate-testbed` in the user's cache folder (XDG)."""
    if chosen := os.environ.get("WAKEGATE_TESTBED_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "wakegate-testbed"


@contextlib.contextmanager
def locked(path: Path, waiting: Callable[[float], None] = lambda _seconds: None) -> Iterator[None]:
    """Hold an advisory lock on a file; the kernel frees it if this process dies.

    Args:
        path: the lock file, made when missing.
        waiting: called again and again with the seconds waited while another process holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    with path.open("wb") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waiting(time.monotonic() - begin)
                time.sleep(LOCK_POLL_SECONDS)
        yield


def ensure(
    root: Path,
    key: str,
    make: Callable[[Path], None],
    *,
    waiting: Callable[[float], None] = lambda _seconds: None,
) -> Path:
    """Return the folder for `key`, made by `make(empty folder)` if it is not there yet.

    Two processes never make the same key at once, and a folder that exists is whole: it is made under another name and
    renamed at the end. What a killed process left half done is removed by the next one.
    """
    final = root / key
    if final.is_dir():
        return final
    with locked(root / f"{key}.lock", waiting):
        if final.is_dir():
            return final
        unfinished = root / f"{key}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        make(unfinished)
        unfinished.rename(final)
    return final
