"""What a testbed in the background leaves on disk, so that a later command finds exactly that one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

PROC = Path("/proc")
START_TIME_FIELD = 22  # of /proc/PID/stat, proc(5): clock ticks after boot


def stat_fields(path: Path) -> list[str]:
    """Return the fields of a `stat` file of /proc from the third on, the state; raises OSError where nobody is there.

    The second is the program's name in parentheses, which may contain spaces and parentheses.
    """
    return path.read_text().rpartition(")")[2].split()


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, told apart from a later one with the same pid by when it began.

    Attributes:
        pid: process id.
        started: boot id and clock ticks after that boot: unlike wall time, no clock adjustment moves it.
    """

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int, *, proc: Path = PROC) -> Self | None:
        """Look at a process that exists now; None if there is none."""
        try:
            stat = stat_fields(proc / str(pid) / "stat")
            boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        if stat[0] == "Z":  # ended, only its parent has not asked yet
            return None
        return cls(pid, f"{boot}:{stat[START_TIME_FIELD - 3]}")

    def is_alive(self, *, proc: Path = PROC) -> bool:
        """Whether this very process still exists."""
        return ProcessIdentity.of(self.pid, proc=proc) == self


@dataclass(frozen=True)
class BedState:
    """A testbed that is up.

    Attributes:
        owner: the process that holds all parts; they end when it ends.
        parts: what runs, by name.
        run_directory: configuration, data and logs.
        env: variables that point the product at it.
    """

    owner: ProcessIdentity
    parts: dict[str, ProcessIdentity]
    run_directory: str
    env: dict[str, str]

    def write(self, path: Path) -> None:
        """Write it whole or not at all."""
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(asdict(self), indent=2))
        unfinished.replace(path)


def read(path: Path) -> BedState | None:
    """Read a state; None if there is no file, or its owner is gone (also when its pid belongs to another by now)."""
    try:
        raw = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    parts = {name: ProcessIdentity(**part) for name, part in raw["parts"].items()}
    state = BedState(ProcessIdentity(**raw["owner"]), parts, raw["run_directory"], raw["env"])
    return state if state.owner.is_alive() else None
