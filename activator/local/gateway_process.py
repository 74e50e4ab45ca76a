"""The event gateway as a process of its own beside the demo: started, waited for, ended. They meet on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from typing import TYPE_CHECKING

from activator.errors import UnavailableError
from activator.local.process import Reaper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

HOST = "127.0.0.1"
_START_SECONDS = 30.0
_END_SECONDS = 5.0
_SETTINGS_PREFIX = "WAKEGATE_GATEWAY_"
_LISTENS = re.compile(r"events are taken on port (\d+)")
_TROUBLE = re.compile(r" (?:WARNING|ERROR) \S+: ")


@contextlib.asynccontextmanager
async def gateway(
    *,
    port: int,
    port_flag: str,
    bootstrap_servers: str,
    wake_url: str,
    wake_token_file: Path,
    environment: Mapping[str, str],
    say: Callable[[str], None],
) -> AsyncIterator[str]:
    """Run `python -m gateway` for the length of a block; yield its URL once it listens.

    Args:
        port: where it takes events; 0 takes a free one.
        port_flag: the flag that chooses the port, for the sentence that says that it cannot be had.
        bootstrap_servers: the Kafka that it writes to.
        wake_url: the activator's POST /wake.
        wake_token_file: holds the token that both share.
        environment: what it inherits, settings of another gateway apart.
        say: takes what it warns of.

    Raises:
        UnavailableError: it did not start, in one sentence of its own.
    """
    # The interpreter's -m looks into the working directory first: a checkout needs no installed package.
    command = (
        sys.executable, "-m", "gateway", "--bootstrap-servers", bootstrap_servers, "--listen", f"{HOST}:{port}",
        "--management-listen", f"{HOST}:0", "--wake-url", wake_url, "--wake-token-file", str(wake_token_file),
    )  # fmt: skip
    reaper = Reaper()
    await reaper.start()
    try:
        # A session of its own: Ctrl-C in the terminal reaches us alone, and we end it after the last order.
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={name: value for name, value in environment.items() if not name.startswith(_SETTINGS_PREFIX)},
            start_new_session=True,
        )
        reaper.add(process.pid)
        try:
            listens_on = await _port(process, (HOST, port), port_flag)
            following = asyncio.create_task(_follow(process, say), name="gateway output")
            try:
                yield f"http://{HOST}:{listens_on}"
            finally:
                following.cancel()
        finally:
            await _end(process)
            reaper.remove(process.pid)
    finally:
        await reaper.close()


async def _port(process: asyncio.subprocess.Process, wanted: tuple[str, int], port_flag: str) -> int:
    """Read what it says until it names its port."""
    said: list[str] = []
    try:
        async with asyncio.timeout(_START_SECONDS):
            async for line in _lines(process):
                if found := _LISTENS.search(line):
                    return int(found[1])
                said.append(line)
    except TimeoutError:
        said.append(f"it did not listen within {_START_SECONDS:.0f} s")
    raise _not_started(said, wanted, port_flag)


def _not_started(said: Sequence[str], wanted: tuple[str, int], port_flag: str) -> UnavailableError:
    where = f"{wanted[0]}:{wanted[1]}"
    last = said[-1] if said else "it ended and said nothing"
    why = last.removeprefix("wakegate-gateway: ").removeprefix(f"listener {where}: ")
    return UnavailableError(where, f"the gateway: {why}; choose another port with {port_flag}")


async def _follow(process: asyncio.subprocess.Process, say: Callable[[str], None]) -> None:
    """Read on, so that its output never blocks it; hand on what a person should know."""
    async for line in _lines(process):
        if found := _TROUBLE.search(line):
            say(f"the gateway: {line[found.end() :]}")


async def _lines(process: asyncio.subprocess.Process) -> AsyncIterator[str]:
    if process.stderr is not None:
        async for line in process.stderr:
            yield line.decode(errors="replace").rstrip()


async def _end(process: asyncio.subprocess.Process) -> None:
    """End it at once: whoever sends to it ends with us."""
    # Not by the process's own methods: they would first collect one that has ended, and asyncio then misses its end.
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGINT)
    try:
        async with asyncio.timeout(_END_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()
