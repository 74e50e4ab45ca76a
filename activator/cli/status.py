"""`wakegate status`: whether wakegate runs, what it does with every workload, and what is wrong, last."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from typing import TYPE_CHECKING

from activator.cli import FAILED
from activator.cli.output import DASHBOARD, add_dashboard, add_namespace, add_output, print_json, print_lines
from activator.errors import UnavailableError

if TYPE_CHECKING:
    from activator.views.status import Status

WAIT_SECONDS = 120.0
LOOK_SECONDS = 2.0
_CLEAR = "\x1b[H\x1b[2J"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.epilog = (
        "example:\n"
        "  wakegate status\n"
        "  wakegate status --wait               # until nothing is wrong, two minutes at most; after an installation\n"
        "  wakegate status --watch              # again every two seconds, until Ctrl-C\n"
        "  wakegate status --local              # of `wakegate local` or `wakegate demo` on this computer\n\n"
        "Exit code 0: nothing is wrong; 1: an error is listed."
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument(
        "--wait",
        nargs="?",
        type=_seconds,
        const=WAIT_SECONDS,
        metavar="SECONDS",
        help=f"look again until nothing is wrong, this long at most (default {WAIT_SECONDS:.0f})",
    )
    again.add_argument("--watch", action="store_true", help="show it again every two seconds, until Ctrl-C")
    add_namespace(parser)
    add_dashboard(parser)
    add_output(parser, "json")


def execute(arguments: argparse.Namespace) -> int:
    """Show the status; return 0 where nothing is wrong."""
    if arguments.watch:
        return _watch(arguments)
    status = asyncio.run(_look(arguments) if arguments.wait is None else _wait(arguments))
    _show(status, arguments.output)
    return 0 if status.well else FAILED


def _watch(arguments: argparse.Namespace) -> int:
    """Show it again and again; what cannot be asked just now is said on stderr, and asked again."""
    # A shell that starts a job in the background without job control has it ignore SIGINT: a watch would never end.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        while True:
            try:
                status = asyncio.run(_look(arguments))
            except UnavailableError as error:
                _say(str(error))
            else:
                if sys.stdout.isatty():
                    sys.stdout.write(_CLEAR)
                _show(status, arguments.output)
                sys.stdout.flush()
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:  # how a watch ends
        return 0


async def _wait(arguments: argparse.Namespace) -> Status:
    """Look again and again until all is well or the time is over; what is missing meanwhile goes to stderr, once."""
    loop = asyncio.get_running_loop()
    end, told = loop.time() + arguments.wait, ""
    while True:
        late = loop.time() >= end
        try:
            status = await _look(arguments)
            if status.well or late:
                return status
            wanting = [part.name for part in status.components if part.level == "fail"]
            waiting = f"waiting for {', '.join(wanting) or 'workloads'}"
        except UnavailableError as error:
            if late:
                raise
            waiting = str(error)
        if waiting != told:
            _say(waiting)
            told = waiting
        await asyncio.sleep(min(LOOK_SECONDS, max(0.0, end - loop.time())))


def _say(sentence: str) -> None:
    sys.stderr.write(f"wakegate status: {sentence}\n")


async def _look(arguments: argparse.Namespace) -> Status:
    from activator.views import status  # noqa: PLC0415 - see activator.cli
    from activator.web.dashboard_client import DashboardClient  # noqa: PLC0415
    from activator.wiring.inspection import Clock, Inspection, open_client  # noqa: PLC0415

    now = Clock().now
    if arguments.local:
        return status.of_dashboard(await DashboardClient(arguments.dashboard_url or DASHBOARD).overview(), now())
    client = await open_client()
    try:
        return await Inspection(client, now, namespace=arguments.namespace).status()
    finally:
        await client.close()


def _show(status: Status, output: str) -> None:
    from activator.views import status as views  # noqa: PLC0415 - see activator.cli

    if output == "json":
        print_json(views.document(status))
    else:
        print_lines(views.lines(status))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: a number of seconds, such as 120")
    return seconds
