"""`wakegate demo` as a newcomer starts it: a process, its exit code, what it prints, and what it leaves behind."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shlex
import signal
import socket
import sys
from typing import TYPE_CHECKING

import aiohttp
import psutil
import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECONDS = 300.0
"""Until a verb that hangs fails its test: the demo takes half a minute alone, and minutes beside a loaded test run."""
FREE = ("--broker-port", "0", "--gateway-port", "0", "--metrics-port", "0", "--dashboard-port", "0")
TOLD = ("after the record was seen", "after the gateway told of the record")
SHORT = (*FREE, "--short", "--orders", "150")


@contextlib.asynccontextmanager
async def wakegate(*arguments: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a verb; it is killed where a test fails to end it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "activator",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    try:
        async with asyncio.timeout(SECONDS):
            yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def output(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a process that ends by itself."""
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def read_until(process: asyncio.subprocess.Process, text: str) -> str:
    """Read standard output until some text has come."""
    assert process.stdout is not None
    read = ""
    while text not in read:
        line = await process.stdout.readline()
        assert line, f"it ended before {text!r} came:\n{read}"
        read += line.decode()
    return read


def descendants(process: asyncio.subprocess.Process) -> list[psutil.Process]:
    """Every process that a process has started, directly or not."""
    return psutil.Process(process.pid).children(recursive=True)


async def order_as_told(told: str) -> None:
    """Send what the curl that the demo names would send, without a curl to send it; 202 is the answer."""
    (command,) = (line.strip() for line in told.splitlines() if line.strip().startswith("curl -i "))
    parser = argparse.ArgumentParser()
    parser.add_argument("-i", action="store_true")
    parser.add_argument("-H", action="append")
    parser.add_argument("-d")
    parser.add_argument("url")
    curl = parser.parse_args(shlex.split(command)[1:])
    headers = dict(header.split(": ", 1) for header in curl.H)
    async with aiohttp.ClientSession() as session, session.post(curl.url, headers=headers, data=curl.d) as answer:
        assert answer.status == 202, await answer.text()


async def assert_gone(started: list[psutil.Process]) -> None:
    """Wait until none of some processes runs."""
    _, alive = await asyncio.to_thread(psutil.wait_procs, started, 10)
    assert not [left for left in alive if left.status() != psutil.STATUS_ZOMBIE]


async def test_the_whole_story() -> None:
    """0 -> 5 -> 0 with the verdict first, every promise kept, three next commands last, and no process left."""
    async with wakegate("demo", *SHORT) as process:
        beginning = await read_until(process, "One order arrives")
        rush = await read_until(process, "-> 5")  # by way of 3 on a slow machine
        started = descendants(process)
        code, rest, errors = await output(process)
    assert "\x1b" not in beginning + rest
    assert "0 -> 1  WOKE" in rush
    # A record that comes by the gateway is told of twice, by the waiting fetch and by POST /wake: the first one wakes.
    assert any(told in rush for told in TOLD)
    lines = rest.splitlines()
    (at,) = (number for number, line in enumerate(lines) if line.startswith(("PASS: ", "MISS: ")))
    wake, *others = lines[at + 2 : at + 7]
    # How long a wake takes is a matter of what else this computer does just now; the verdict must be true of it.
    assert (code, errors) == (0 if wake.split()[0] == "ok" else 1, ""), rest
    assert lines[at].startswith("PASS: " if code == 0 else "MISS: wake p50 (")
    assert "0 -> 5 -> 0 in " in lines[at]
    assert [line.split()[0] for line in others] == ["ok"] * 4, rest
    assert "151, none twice" in others[0]
    assert len(lines[lines.index("Next:") + 1 :]) == 3
    assert len(started) >= 2
    await assert_gone(started)


async def test_it_stays_with_serve_and_ends_by_ctrl_c() -> None:
    """URLs first; after the story it stays with three commands to try, and SIGINT ends it with nothing left."""
    async with wakegate("demo", "--serve", *SHORT) as process:
        beginning = await read_until(process, "N -> M")
        assert "Kafka     127.0.0.1:" in beginning
        assert "gateway   http://127.0.0.1:" in beginning
        assert "dashboard http://127.0.0.1:" in beginning
        told = await read_until(process, "and the dashboard: http")
        assert "It stays until Ctrl-C" in told
        await order_as_told(told)
        await read_until(process, "0 -> 1  WOKE")
        started = descendants(process)
        process.send_signal(signal.SIGINT)
        code, _, errors = await output(process)
    assert (code, errors) == (0 if "PASS: " in told else 1, "")
    await assert_gone(started)


async def test_interrupted_in_the_middle() -> None:
    """Ctrl-C in the middle of the story ends every process and is a failure, because nothing was shown."""
    async with wakegate("demo", *FREE) as process:
        await read_until(process, "0 -> 1")
        started = descendants(process)
        process.send_signal(signal.SIGINT)
        code, out, errors = await output(process)
    assert (code, errors) == (1, "")
    assert out.splitlines()[-1] == "interrupted: every process is ended"
    await assert_gone(started)


@pytest.mark.parametrize("flag", ["--broker-port", "--gateway-port", "--metrics-port", "--dashboard-port"])
async def test_a_port_in_use(flag: str) -> None:
    """A port that is taken is one sentence that names the flag; nothing is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        async with wakegate("demo", *FREE, flag, port) as process:
            code, out, errors = await output(process)
    assert (code, out) == (1, "")
    assert errors.startswith(f"wakegate demo: 127.0.0.1:{port}: ")
    assert flag in errors
    assert errors.count("\n") == 1


async def test_the_yaml_is_what_a_user_would_write() -> None:
    """`--yaml` prints the manifest, which is valid YAML with our annotations."""
    async with wakegate("demo", "--yaml") as process:
        code, out, _ = await output(process)
    assert code == 0
    deployment, topic = yaml.safe_load_all(out)
    assert deployment["metadata"]["annotations"]["wakegate.dev/topic"] == topic["spec"]["topicName"] == "pizzaOrders"


async def test_a_bad_flag() -> None:
    """A flag with a value that cannot be used is exit code 2 and says what is allowed."""
    async with wakegate("demo", "--orders", "none") as process:
        code, _, errors = await output(process)
    assert code == 2
    assert "'none'; allowed: a whole number, at least 1" in errors
