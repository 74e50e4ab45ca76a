"""Long work says what it is doing."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

from testbed.errors import BuildFailedError, MissingToolError
from testbed.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


def test_plain_output_is_lines() -> None:
    """In CI each report is a line; ticks that come too soon are left out."""
    stream = io.StringIO()
    progress = Progress("kafka 4", stream)
    progress.step("downloading")
    progress.tick("a.jar")
    progress.done()
    assert stream.getvalue() == "kafka 4: downloading (0:00)\nkafka 4: ready (0:00)\n"


def test_terminal_output_is_one_line_rewritten() -> None:
    """On a terminal the line is rewritten, and only the end stays."""
    stream = Terminal()
    progress = Progress("kafka 4", stream)
    progress.step("downloading")
    progress.done()
    assert stream.getvalue() == "\r\x1b[Kkafka 4: downloading (0:00)\r\x1b[Kkafka 4: ready (0:00)\n"


def test_a_failed_command_shows_the_end_of_its_log(tmp_path: Path) -> None:
    """The error carries what the command said last."""
    command = [sys.executable, "-c", "print('cannot find module'); raise SystemExit(3)"]
    with pytest.raises(BuildFailedError, match=r"(?s)compiling failed with status 3.*cannot find module"):
        Progress("tool", io.StringIO()).run("compiling", command, cwd=tmp_path, log=tmp_path / "log")


def test_a_missing_command_is_named(tmp_path: Path) -> None:
    """A program that is not there is said to be not there."""
    with pytest.raises(MissingToolError, match="no-such-compiler is not on PATH"):
        Progress("tool", io.StringIO()).run("compiling", ["no-such-compiler"], cwd=tmp_path, log=tmp_path / "log")
