"""The audit of the lock files: a finding is told from a service that is away, as pip-audit's exit code does not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scripts import audit

TABLE = "Name Version ID Fix Versions\\ndemo 1.0 PYSEC-1 1.1"

CASES = {
    "none is known": ("print('No known vulnerabilities found', file=sys.stderr)", 60, 0, "No known"),
    "one is known": (f"print('{TABLE}'); sys.exit(1)", 60, 1, "PYSEC-1"),
    "the service is away": ("sys.exit('refused')", 60, audit.UNANSWERED, "was not checked: refused"),
    "it ends without a word": ("sys.exit(2)", 60, audit.UNANSWERED, "was not checked: exit code 2"),
    "it hangs": ("threading.Event().wait()", 0.5, audit.UNANSWERED, "was not checked: no answer within 0.5 s"),
}


@pytest.mark.parametrize(("program", "seconds", "code", "said"), CASES.values(), ids=CASES)
def test_what_comes_of_it(
    program: str, seconds: float, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A known vulnerability is told from no answer, and both from none being known."""
    assert audit.audit([sys.executable, "-c", f"import sys, threading; {program}"], seconds) == code
    printed = capsys.readouterr()
    assert said in printed.out + printed.err


def test_both_lock_files_are_asked_about() -> None:
    """Every lock file of what is run or developed with is named, and all of them exist."""
    asked = audit.command(["--ignore-vuln", "PYSEC-1"])
    files = [Path(asked[at + 1]) for at, word in enumerate(asked) if word == "--requirement"]
    assert [file.name for file in files] == list(audit.LOCK_FILES)
    assert all(file.is_file() for file in files)
    assert asked[-2:] == ["--ignore-vuln", "PYSEC-1"]
