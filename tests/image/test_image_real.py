"""The Dockerfile's steps, done in a scratch folder: what comes out runs as any user, read-only, and writes nothing."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.image.dockerfile import REPOSITORY, all_of, ours

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real

ANYBODY = 1_000_680_000
"""Such as OpenShift gives."""
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


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """The root of the image: /opt as the build stage makes it, for all to read and nobody to write."""
    folder = Path(tempfile.mkdtemp(prefix="wakegate-image-"))
    folder.chmod(0o755)
    try:
        build(folder)
        subprocess.run(["/bin/chmod", "-R", "a-w,a+rX", str(folder)], check=True)  # noqa: S603 - our own folder
        yield folder
    finally:
        subprocess.run(["/bin/chmod", "-R", "u+w", str(folder)], check=True)  # noqa: S603 - our own folder
        shutil.rmtree(folder)


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
    kubeconfig = root.parent / f"{root.name}.kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(KUBECONFIG))
    kubeconfig.chmod(0o644)
    variables = {
        **environment(root),
        "KUBECONFIG": str(kubeconfig),
        "WAKEGATE_LISTEN": "127.0.0.1:0",
        "WAKEGATE_METRICS_API_LISTEN": "127.0.0.1:0",
        "WAKEGATE_DASHBOARD_LISTEN": "127.0.0.1:0",
    }
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(  # noqa: S603 - what we have just built
            command(root, "wakegate", "run"), env=variables, cwd="/", stdout=output, stderr=output, **as_anybody()
        )
        try:
            port = listening_port(output, process)
            assert status(port, "/healthz") == 200
            assert status(port, "/readyz") == 503
            process.send_signal(signal.SIGTERM)
            assert process.wait(START_SECONDS) == 0
        finally:
            process.kill()
            process.wait()
            kubeconfig.unlink()
    if as_anybody():
        folders = ["/tmp", "/var/tmp", "/dev/shm"]  # noqa: S108 - where a file could have been left
        found = subprocess.run(  # noqa: S603 - a look
            ["/usr/bin/find", *folders, "-user", str(ANYBODY)], capture_output=True, text=True, check=False
        )
        assert found.stdout == ""


def listening_port(output: Any, process: subprocess.Popen[bytes]) -> int:
    """The port of /healthz, from the log."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        output.seek(0)
        if found := re.search(r"health and metrics on port (\d+)", output.read()):
            return int(found[1])
        time.sleep(0.1)
    output.seek(0)
    pytest.fail(f"it does not listen:\n{output.read()}")


def status(port: int, path: str) -> int:
    """How a path is answered."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
