"""The Dockerfile's steps, done in a scratch folder: what comes out runs as any user, read-only, and writes nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest

from tests.image.built import START_SECONDS, as_anybody, command, environment, serving, status
from tests.image.dockerfile import REPOSITORY, all_of, ours

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real


def run(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the image as anybody."""
    return subprocess.run(  # noqa: S603 - what we have just built
        command(root, *words),
        env=environment(root),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
        **as_anybody(),
    )


def test_it_says_its_version(root: Path) -> None:
    """The distribution is installed, not only its files: it knows its version."""
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    done = run(root, "wakegate", "--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"wakegate {version}"), done.stderr


@pytest.mark.parametrize("words", [("wakegate", "run"), ("wakegate-gateway",)], ids=lambda words: words[0])
def test_both_commands_are_there(root: Path, words: tuple[str, ...]) -> None:
    """The activator and the gateway start as any user and tell their flags."""
    done = run(root, *words, "--help")
    assert done.returncode == 0, done.stderr
    assert "--bootstrap-servers" in done.stdout


def test_the_default_command_is_one_of_them(root: Path) -> None:
    """CMD names a command that the image has."""
    (default,) = all_of(ours()[2], "CMD")
    assert os.access(command(root, *json.loads(default))[0], os.X_OK)


def test_there_is_nothing_to_build_with(root: Path) -> None:
    """What is shipped has no pip and no setuptools."""
    shipped = {path.name for path in (root / "opt" / "wakegate").rglob("site-packages/*")}
    assert not [name for name in shipped if re.match(r"(pip|setuptools|wheel)\b", name)]


def test_it_serves_and_ends_without_writing(root: Path) -> None:
    """With the API server away it answers /healthz, is not ready, ends on SIGTERM with 0 - and has left no file."""
    variables = {
        **environment(root),
        "WAKEGATE_LISTEN": "127.0.0.1:0",
        "WAKEGATE_METRICS_API_LISTEN": "127.0.0.1:0",
        "WAKEGATE_DASHBOARD_LISTEN": "127.0.0.1:0",
    }
    with serving(command(root, "wakegate", "run"), variables) as (_, port):
        assert status(port, "/healthz") == 200
        assert status(port, "/readyz") == 503
