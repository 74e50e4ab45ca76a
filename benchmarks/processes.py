"""What a process costs over some time."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from benchmarks.figures import Figures

SAMPLE_SECONDS = 5.0


@dataclass(frozen=True)
class Cost:
    """CPU, memory and connections of one process."""

    cpu_seconds: float
    wall_seconds: float
    rss_bytes: int
    """The most that was seen."""
    connections: int
    """Established TCP connections at the end."""

    @property
    def cores(self) -> float:
        """Mean share of a core."""
        return self.cpu_seconds / self.wall_seconds

    @property
    def mebibytes(self) -> float:
        """Memory."""
        return self.rss_bytes / 2**20

    def add_to(self, figures: Figures, what: str) -> None:
        """Add its rows and its raw figures."""
        figures.add(f"{what}: CPU", f"{self.cpu_seconds:.2f} s in {self.wall_seconds:.0f} s: {self.cores:.4f} core")
        figures.add(f"{what}: RSS", f"{self.mebibytes:.0f} MiB at most")
        figures.add(f"{what}: open connections", str(self.connections))
        figures.raw[what] = asdict(self)


def watch(process_id: int, seconds: float) -> Cost:
    """Look at a process for so long."""
    process = psutil.Process(process_id)
    before, began = process.cpu_times(), time.monotonic()
    most = 0
    while (left := seconds - (time.monotonic() - began)) > 0:
        most = max(most, process.memory_info().rss)
        time.sleep(min(SAMPLE_SECONDS, left))
    after, wall = process.cpu_times(), time.monotonic() - began
    cpu = after.user + after.system - before.user - before.system
    return Cost(cpu, wall, most, len(_established(process_id)))


def connections(client_id: int, server_id: int) -> int:
    """Count the connections that one process has open to another, as the server sees them."""
    local = {local for local, _ in _established(client_id)}
    return sum(remote in local for _, remote in _established(server_id))


def _established(process_id: int) -> list[tuple[int, int]]:
    """Local and remote port of each established connection."""
    known = psutil.Process(process_id).net_connections("tcp")
    return [(one.laddr.port, one.raddr.port) for one in known if one.status == psutil.CONN_ESTABLISHED]
