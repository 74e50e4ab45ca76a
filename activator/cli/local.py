"""`wakegate local`: run the annotated workloads of a folder as local processes, without a cluster."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from activator import settings

if TYPE_CHECKING:
    from activator.wiring.local import LocalOptions

_DEFAULTS = settings.Settings(listen=("127.0.0.1", 8080))
_SETTINGS = {
    "bootstrap_servers": "a Kafka that is there already, for every target, in place of the embedded one",
    "listen": "where /metrics and POST /wake are served (default 127.0.0.1:8080)",
    "dashboard_listen": "where the dashboard is served (default 127.0.0.1:8081)",
    "trace_url": "where a trace is looked at, with {trace_id} in it: the dashboard links there",
    "wake_token_file": "file with the token that POST /wake asks for; by default it is refused",
    "log_level": "debug, info, warning or error",
}
_LARGEST_PORT = 65535


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the folder and the flags."""
    parser.epilog = (
        "example:\n"
        "  wakegate local k8s/\n"
        "  wakegate local k8s/ --bootstrap-servers localhost:9094   # a Kafka that runs already\n\n"
        "The folder holds the YAML that kubectl apply would get. Every annotated Deployment and StatefulSet is run\n"
        "as processes of its container's command, and scaled by HPA's own rules. A changed file counts at once."
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="where the YAML is; folders below it are not read")
    parser.add_argument(
        "--broker-port", type=_port, default=9092, metavar="PORT", help="port of the embedded Kafka (default 9092)"
    )
    parser.add_argument(
        "--partitions",
        type=_at_least_one,
        default=5,
        metavar="N",
        help="partitions of annotated topics in the embedded Kafka (default 5); a KafkaTopic in the folder wins",
    )
    for name, meaning in _SETTINGS.items():
        flag, variable = f"--{name.replace('_', '-')}", settings.environment_name(name)
        parser.add_argument(flag, dest=f"setting_{name}", metavar="VALUE", help=f"{meaning} [{variable}]")


def execute(arguments: argparse.Namespace) -> int:
    """Run until SIGINT or SIGTERM."""
    read = read_settings(arguments)
    # Imported here, because the Kafka client takes a moment of everybody's `--help`.
    from activator.telemetry.logs import configure_logging  # noqa: PLC0415
    from activator.wiring.local import LocalOptions  # noqa: PLC0415

    configure_logging(read.log_format, "warning" if read.log_level == "info" else read.log_level)
    if read.log_level == "info":
        logging.getLogger("wakegate").setLevel(logging.ERROR)  # what it tells is on the screen already
    asyncio.run(
        _run(
            LocalOptions(
                folder=arguments.folder,
                environment=os.environ,
                bootstrap_servers=read.bootstrap_servers,
                broker_port=arguments.broker_port,
                partitions=arguments.partitions,
                listen=read.listen,
                broker_flag="--broker-port, or use the Kafka that is there with --bootstrap-servers",
                dashboard_listen=read.dashboard_listen,
                trace_url=read.trace_url,
                wake_token_file=Path(read.wake_token_file) if read.wake_token_file else None,
            )
        )
    )
    return 0


def read_settings(arguments: argparse.Namespace) -> settings.Settings:
    """Read the settings; nothing here is served to other computers unless that is asked for. Raises SettingsError."""
    return settings.read(arguments, defaults=_DEFAULTS)


async def _run(options: LocalOptions) -> None:
    from activator.local.console import Lines, terminal  # noqa: PLC0415
    from activator.wiring import Clock, local  # noqa: PLC0415

    clock = Clock()
    lines = Lines(terminal(), clock.now)
    stop = asyncio.Event()
    asked = 0
    async with local.start(options, clock, local.Terminal(lines.output, lines.say, lines)) as mode:

        def end() -> None:
            nonlocal asked
            asked += 1
            stop.set()
            if asked > 1:
                mode.replicas.kill()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, end)
        kafka = "embedded Kafka" if mode.broker else "Kafka"
        lines.say(f"{kafka} {mode.bootstrap_servers}")
        lines.say(f"dashboard http://{options.dashboard_listen[0]}:{mode.dashboard.port}/")
        lines.say(f"metrics http://{options.listen[0]}:{mode.server.port}/metrics")
        for spec in mode.catalog.workloads:
            lines.say(f"{spec.ref} ({spec.place}) runs: {shlex.join(spec.container.command)}")
        await mode.wait(stop)
        lines.say("ending: replicas get SIGTERM, and SIGKILL after their grace period (Ctrl-C again: at once)")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _LARGEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: a port from 0 (a free one) to {_LARGEST_PORT}")
    return int(text)


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: a whole number, at least 1")
    return int(text)
