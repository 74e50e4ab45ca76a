"""The image without a container engine: the Dockerfile's steps below a folder, and its commands run as any user."""

from __future__ import annotations

import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.image.dockerfile import REPOSITORY, all_of, ours

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ANYBODY = 1_000_000_000 + 10_000 * random.randrange(100_000)  # noqa: S311 - a number, not a secret
"""The first user ID of a range such as OpenShift gives a namespace: another one in each run."""
STEP_SECONDS = 600
START_SECONDS = 30
KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "away", "cluster": {"server": "http://127.0.0.1:9"}}],
    "contexts": [{"name": "away", "context": {"cluster": "away", "user": "nobody"}}],
    "users": [{"name": "nobody", "user": {"token": "none"}}],
    "current-context": "away",
}


def as_anybody() -> dict[str, Any]:
    """Another user with group 0, where we may become one; else we ourselves, who may write as little here."""
    return {"user": ANYBODY, "group": 0, "extra_groups": []} if os.geteuid() == 0 else {}


def interpreter() -> Path:
    """A Python that any user of this machine may run, as the base image has one."""
    for candidate in (Path(sys.base_prefix) / "bin" / "python3", Path("/usr/bin/python3")):
        probe = [str(candidate), "-c", "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"]
        try:
            done = subprocess.run(probe, check=False, capture_output=True, env={}, cwd="/", **as_anybody())  # noqa: S603 - a Python
        except OSError:
            continue
        if done.returncode == 0:
            return candidate
    pytest.fail("no Python 3.11 with venv that any user may run: neither this one nor /usr/bin/python3")


def build(folder: Path) -> None:
    """Do the build stage's COPY and RUN below a folder; /opt and /src are the only absolute paths in it."""
    source = folder / "src"
    source.mkdir()
    python = folder / "base"
    python.mkdir()
    (python / "python3").symlink_to(interpreter())
    variables = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    variables["PATH"] = f"{python}{os.pathsep}{os.defpath}"
    for instruction in ours()[1]:
        if instruction.word == "COPY":
            *names, target = instruction.text.split()
            for name in names:
                copy(REPOSITORY / name, source / (name if target == "./" else target))
        elif instruction.word == "RUN":
            script = instruction.text.replace("/opt/", f"{folder}/opt/")
            done = subprocess.run(  # noqa: S603 - our own Dockerfile
                ["/bin/sh", "-ec", script],
                cwd=source,
                env=variables,
                capture_output=True,
                text=True,
                timeout=STEP_SECONDS,
                check=False,
            )
            assert done.returncode == 0, f"RUN {instruction.text}\n{done.stdout}\n{done.stderr}"


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder, leaving out what .dockerignore does."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def command(root: Path, *words: str) -> list[str]:
    """A command as the container runs it: found on the PATH that ENV sets."""
    return [str(root / "opt" / "wakegate" / "bin" / words[0]), *words[1:]]


def environment(root: Path) -> dict[str, str]:
    """What ENV sets, and nothing else."""
    (text,) = all_of(ours()[2], "ENV")
    values = dict(word.split("=", 1) for word in shlex.split(text))
    return values | {"PATH": values["PATH"].replace("/opt/", f"{root}/opt/").replace("$PATH", os.defpath)}


@contextmanager
def serving(
    words: list[str],
    variables: Mapping[str, str],
    *,
    told: str = r"health and metrics on port (\d+)",
    identity: Mapping[str, Any] | None = None,
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A command that serves, with the API server away: the process, and the port of /healthz by its log.

    At the end of the block it is to end on SIGTERM with 0, and to have left no file.
    """
    with (
        tempfile.NamedTemporaryFile("w") as output,
        tempfile.NamedTemporaryFile("w", suffix=".kubeconfig") as kubeconfig,
    ):
        yaml.safe_dump(KUBECONFIG, kubeconfig)
        kubeconfig.flush()
        Path(kubeconfig.name).chmod(0o644)
        process = subprocess.Popen(  # noqa: S603 - what we have just built
            words,
            env={**variables, "KUBECONFIG": kubeconfig.name},
            cwd="/",
            stdout=output,
            stderr=output,
            **(as_anybody() if identity is None else identity),
        )
        try:
            yield process, listening_port(Path(output.name), process, told)
            process.send_signal(signal.SIGTERM)
            assert process.wait(START_SECONDS) == 0
        finally:
            process.kill()
            process.wait()
    assert left_behind() == ""


def listening_port(output: Path, process: subprocess.Popen[bytes], told: str) -> int:
    """The port of /healthz, from the log, which is opened anew: the process writes where its own file stands."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(f"{told}\\D", output.read_text()):  # a line that is being written may lack digits
            return int(found[1])
        time.sleep(0.1)
    pytest.fail(f"it does not listen:\n{output.read_text()}")


def status(port: int, path: str) -> int:
    """How a path is answered."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def left_behind() -> str:
    """Files that belong to anybody where one could have been left, where we may become somebody; else none."""
    if not as_anybody():
        return ""
    folders = ["/tmp", "/var/tmp", "/dev/shm"]  # noqa: S108 - where a file could have been left
    command = ["/usr/bin/find", *folders, "-user", str(ANYBODY)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 - a look
