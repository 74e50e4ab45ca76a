"""How soon a process is of use: `wakegate --help` until it ends, `wakegate run` until it is ready with 100 targets.

The floor: a Python that does nothing, and one that imports the libraries that `run` needs and does nothing.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.crowd import crowd
from benchmarks.figures import Figures

if TYPE_CHECKING:
    import argparse

LIBRARIES = "import aiohttp.web, aiokafka.conn, kubernetes_asyncio.config, prometheus_client, tenacity"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--targets", type=int, default=100, help="sleeping targets (100)")
    parser.add_argument("--times", type=int, default=9, help="how often each is started (9)")


def run(arguments: argparse.Namespace) -> None:
    """Start each again and again."""
    figures = Figures("start")
    commands = {
        "floor: python that does nothing": ["-c", "pass"],
        "wakegate --help": ["-m", "activator", "--help"],
        "floor: python with run's libraries": ["-c", LIBRARIES],
    }
    for name, command in commands.items():
        figures.add_latencies(name, [_seconds(command) for _ in range(arguments.times)])
    with crowd() as made:
        made.add(arguments.targets)
        ready = []
        for number in range(arguments.times):
            wakegate = made.stage.wakegate(f"wakegate-{number}")
            began = time.monotonic()
            wakegate.start()
            ready.append(time.monotonic() - began)
            wakegate.process.stop()
        figures.add_latencies(f"wakegate run, ready with {arguments.targets} targets", ready)
    figures.tell()


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - ourselves
    return time.perf_counter() - began
