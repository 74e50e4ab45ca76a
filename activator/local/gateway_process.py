"""The event gateway as a process of its own beside the demo: started, waited for, ended. They meet on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from typing import TYPE_CHECKING

import aiohttp

from activator.errors import UnavailableError
from activator.local.process import Reaper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

HOST = "127.0.0.1"
_START_SECONDS = 30.0
_END_SECONDS = 5.0
_SETTINGS_PREFIX = "WAKEGATE_GATEWAY_"
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
    """Run `python -m gateway` for the length of a block; yield its URL once it answers.

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
        sys.executable, "-m", "gateway", "--bootstrap-servers", bootstrap_servers,
        "--management-listen", f"{HOST}:0", "--wake-url", wake_url, "--wake-token-file", str(wake_token_file),
    )  # fmt: skip
    reaper = Reaper()
    await reaper.start()
    try:
        # The socket is ours to make: so its port is known before there is a gateway, and a port that is taken is told
        # at once. It is the gateway's alone from then on: with the gateway gone nobody waits there in vain.
        with _listening(port, port_flag) as handed_over:
            url = f"http://{HOST}:{handed_over.getsockname()[1]}"
            # A session of its own: Ctrl-C in the terminal reaches us alone, and we end it after the last order.
            process = await asyncio.create_subprocess_exec(
                *command, "--listen", f"fd://{handed_over.fileno()}",
                pass_fds=(handed_over.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env={name: value for name, value in environment.items() if not name.startswith(_SETTINGS_PREFIX)},
                start_new_session=True,
            )  # fmt: skip
        reaper.add(process.pid)
        following = asyncio.create_task(_follow(process, say), name="gateway output")
        try:
            if why := await _until_it_answers(url, following):
                raise UnavailableError(url.removeprefix("http://"), f"the gateway did not start: {why}")
            yield url
        finally:
            following.cancel()
            await _end(process)
            reaper.remove(process.pid)
    finally:
        await reaper.close()


def _listening(port: int, port_flag: str) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        why = f"the gateway: cannot listen there: {os.strerror(error.errno or 0)}; choose another port with {port_flag}"
        raise UnavailableError(f"{HOST}:{port}", why) from error


async def _until_it_answers(url: str, following: asyncio.Task[str]) -> str:
    """Wait until it has started; return why it has not, empty where it has."""
    asking = asyncio.create_task(_ask(url))
    try:
        await asyncio.wait({asking, following}, timeout=_START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if asking.done() and asking.exception() is None:
            return ""
        ended, _ = await asyncio.wait({following}, timeout=_END_SECONDS if asking.done() else 0)
        if ended:
            return following.result().removeprefix("wakegate-gateway: ") or "it ended and said nothing"
        return f"no answer within {_START_SECONDS:.0f} s"
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def _ask(url: str) -> None:
    """Ask for anything: whoever asks before it has started waits in the socket's queue."""
    async with aiohttp.ClientSession() as session, session.get(url):
        pass


async def _follow(process: asyncio.subprocess.Process, say: Callable[[str], None]) -> str:
    """Read what it says until its end, and hand on what a person should know; return the last of it."""
    last = ""
    if process.stderr is not None:
        async for line in process.stderr:
            last = line.decode(errors="replace").rstrip()
            if found := _TROUBLE.search(last):
                say(f"the gateway: {last[found.end() :]}")
    return last


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
