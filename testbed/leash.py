"""Become a program that the kernel kills as soon as its owner is gone.

Run as a script: `python leash.py OWNER_PID PROGRAM ARGUMENT...`. It keeps its pid: it only sets the parent-death
signal, which survives exec, and becomes the program. Imports are kept to what starts within milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
EXIT_NOT_FOUND = 127


def main(owner_pid: int, command: list[str]) -> None:
    """Tie this process to its owner and exec the command; ends at once where the owner is gone already."""
    if sys.platform == "linux":  # elsewhere only an orderly stop ends the children
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # The owner may have died between its fork and our prctl: then no signal is ever sent.
        if os.getppid() != owner_pid:
            sys.exit(1)
    try:
        os.execvp(command[0], command)  # noqa: S606 - replacing itself is this file's purpose
    except OSError as error:
        print(f"cannot run {command[0]}: {error}", file=sys.stderr)
        sys.exit(EXIT_NOT_FOUND)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
