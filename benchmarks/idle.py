"""What it costs to watch sleepers: CPU seconds and memory of the process over some idle minutes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil

from benchmarks.figures import Figures
from benchmarks.sleepers import sleeping

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> None:
    """Let it idle, and look at its process before and after."""
    figures = Figures("idle")
    with sleeping(arguments.targets) as (_, wakegate):
        process = psutil.Process(wakegate.process.pid)
        before, begin = process.cpu_times(), time.monotonic()
        most = 0
        while time.monotonic() - begin < arguments.minutes * 60:
            most = max(most, process.memory_info().rss)
            time.sleep(5)
        after, wall = process.cpu_times(), time.monotonic() - begin
        connections = len([c for c in process.net_connections() if c.status == psutil.CONN_ESTABLISHED])
    cpu = after.user + after.system - before.user - before.system
    figures.add("targets", str(arguments.targets))
    figures.add("CPU", f"{cpu:.2f} s in {wall:.0f} s: {cpu / wall:.4f} core")
    figures.add("RSS", f"{most / 2**20:.0f} MiB at most")
    figures.add("open connections", str(connections))
    figures.raw |= {"cpu_seconds": cpu, "wall_seconds": wall, "rss_bytes": most, "connections": connections}
    figures.tell()
