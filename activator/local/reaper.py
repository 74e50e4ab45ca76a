"""A small program that ends the process groups of local replicas when the process that started them is gone.

It reads ``+PGID`` and ``-PGID`` lines from its standard input and, when that ends, kills what is left: however its
parent ended, also by SIGKILL, nothing is left running. (Linux' PR_SET_PDEATHSIG would reach only the direct child, so
not what a shell has started, and other systems have nothing like it.)
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main() -> None:
    """Follow the list of groups until the input ends, then kill what is on it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal that closes must not take it away first
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        (groups.add if line[0] == "+" else groups.discard)(group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
