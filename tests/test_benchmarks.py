"""How benchmarks are started; what they measure is no part of any test."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["-m", "benchmarks"], 0, "how soon `wakegate --help` ends"),
        (["-m", "benchmarks", "decide", "--help"], 0, "usage: python -m benchmarks decide"),
        (["-m", "benchmarks.decide", "--help"], 2, "run: python -m benchmarks decide\n"),
        (["-mbenchmarks.growth"], 2, "run: python -m benchmarks growth\n"),
        (["-c", "import benchmarks.decide"], 0, ""),
    ],
    ids=["no name", "a name", "a module", "a module, in one word", "an import"],
)
def test_a_benchmark_is_run_by_its_name_alone(arguments: list[str], status: int, said: str) -> None:
    """A module of the package, started by itself, says how it is run, and does not end as if it had measured."""
    command = [sys.executable, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - ourselves
    assert ended.returncode == status
    assert said in ended.stdout + ended.stderr
