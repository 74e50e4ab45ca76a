"""Say what long work is doing: one live line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, TextIO

from testbed.errors import BuildFailedError, MissingToolError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TERMINAL_INTERVAL_SECONDS = 0.5
PLAIN_INTERVAL_SECONDS = 15.0
LINE_WIDTH = 110
TAIL_LINES = 30
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Progress:
    """Reports steps of one piece of work with the time since it began.

    Args:
        title: what is being had, such as `kafka 4.1.2`.
        stream: where to write; stderr, so that stdout stays for results.
    """

    def __init__(self, title: str, stream: TextIO | None = None) -> None:
        self._title = title
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._begin = time.monotonic()
        self._last_write = float("-inf")

    def step(self, text: str) -> None:
        """Begin a step: always written."""
        self._write(text)

    def tick(self, text: str) -> None:
        """Report within a step: written only when the last report is old enough."""
        interval = TERMINAL_INTERVAL_SECONDS if self._terminal else PLAIN_INTERVAL_SECONDS
        if time.monotonic() - self._last_write >= interval:
            self._write(text)

    def done(self, text: str = "ready") -> None:
        """End the work with a line that stays."""
        self._write(text)
        if self._terminal:
            self._stream.write("\n")

    def _write(self, text: str) -> None:
        self._last_write = time.monotonic()
        elapsed = int(self._last_write - self._begin)
        line = f"{self._title}: {text} ({elapsed // 60}:{elapsed % 60:02d})"
        if self._terminal:
            self._stream.write(f"\r\x1b[K{line[:LINE_WIDTH]}")
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def run(self, what: str, command: list[str], *, cwd: Path, log: Path, env: Mapping[str, str] | None = None) -> None:
        """Run one command of a build, its output in `log`, reporting the latest line.

        Raises:
            MissingToolError: the program is not there.
            BuildFailedError: it ended with an error.
        """
        self.step(what)
        with log.open("ab") as output:
            output.write(f"$ {' '.join(command)}\n".encode())
            output.flush()
            try:
                child = subprocess.Popen(command, cwd=cwd, stdout=output, stderr=output, env=env)
            except FileNotFoundError as error:
                raise MissingToolError(f"{command[0]} is not on PATH") from error
            with child:
                try:
                    while child.poll() is None:
                        time.sleep(0.1)
                        self.tick(f"{what}: {_last_line(log)}")
                except BaseException:
                    child.kill()
                    raise
        if child.returncode:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-TAIL_LINES:])
            raise BuildFailedError(
                f"{self._title}: {what} failed with status {child.returncode}; the end of its log:\n{tail}"
            )


def _last_line(log: Path) -> str:
    with log.open("rb") as lines:
        lines.seek(0, 2)
        lines.seek(max(0, lines.tell() - 400))
        found = lines.read().decode(errors="replace").split("\n")
    words = (COLOUR.sub("", line).strip() for line in reversed(found))
    return next((line for line in words if line), "")
