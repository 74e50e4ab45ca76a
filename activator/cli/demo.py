"""`wakegate demo`: 0 -> 5 -> 0 within a minute, with the reasons, on nothing but Python."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from activator.wiring.local import LocalMode, LocalOptions

RUSH = 900
MANIFEST = "pizza-orders.yaml"
HOST = "127.0.0.1"
_EVENT = (
    "-H 'ce-specversion: 1.0' -H 'ce-id: 1' -H 'ce-source: /me' -H 'ce-type: pizza.ordered' "
    "-H 'Content-Type: text/plain'"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.epilog = (
        "example:\n"
        "  wakegate demo\n"
        "  wakegate demo --serve            # stays, to be tried out\n"
        "  wakegate demo --yaml             # the YAML that it runs\n\n"
        "Exit code 0: every promise of the summary was kept; 1: one was missed."
    )
    parser.add_argument("--serve", action="store_true", help="stay after the story, until Ctrl-C")
    parser.add_argument("--yaml", action="store_true", help="print the YAML that is run, and exit")
    parser.add_argument("--short", action="store_true", help="a single order and the rush only")
    parser.add_argument("--orders", type=_count, default=RUSH, metavar="N", help=f"orders in the rush (default {RUSH})")
    parser.add_argument(
        "--broker-port", type=_port, default=9092, metavar="PORT", help="port of the embedded Kafka (default 9092)"
    )
    parser.add_argument(
        "--gateway-port", type=_port, default=8082, metavar="PORT", help="port of the event gateway (default 8082)"
    )
    parser.add_argument(
        "--metrics-port", type=_port, default=8080, metavar="PORT", help="port of /metrics (default 8080)"
    )
    parser.add_argument(
        "--dashboard-port", type=_port, default=8081, metavar="PORT", help="port of the dashboard (default 8081)"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Tell the story; return 0 where every promise was kept."""
    manifest = resources.files("activator.local").joinpath(MANIFEST).read_text(encoding="utf-8")
    if arguments.yaml:
        sys.stdout.write(manifest)
        return 0
    # Imported here, because the Kafka client takes a moment of everybody's `--help`.
    from activator.telemetry.logs import configure_logging  # noqa: PLC0415
    from activator.wiring.local import LocalOptions  # noqa: PLC0415

    configure_logging("text", "warning")
    logging.getLogger("wakegate").setLevel(logging.ERROR)  # what it tells is on the screen already
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # a process whose end is seen after the last loop is no news
    with tempfile.TemporaryDirectory(prefix="wakegate-demo-") as folder:
        # The interpreter that runs this has what the consumer needs; the first `python` on PATH may not.
        runnable = manifest.replace('"python"', json.dumps(sys.executable))
        manifests, token_file = Path(folder, "manifests"), Path(folder, "wake-token")
        manifests.mkdir()
        Path(manifests, MANIFEST).write_text(runnable, encoding="utf-8")
        token_file.write_text(secrets.token_urlsafe(), encoding="ascii")  # the folder is its owner's alone
        options = LocalOptions(
            folder=manifests,
            environment=os.environ,
            broker_port=arguments.broker_port,
            listen=(HOST, arguments.metrics_port),
            listen_flag="--metrics-port",
            dashboard_listen=(HOST, arguments.dashboard_port),
            dashboard_flag="--dashboard-port",
            wake_token_file=token_file,
        )
        return asyncio.run(_demo(options, arguments, token_file))


async def _demo(options: LocalOptions, arguments: argparse.Namespace, token_file: Path) -> int:
    from activator.local import demo, verdict  # noqa: PLC0415
    from activator.local.console import terminal  # noqa: PLC0415
    from activator.local.gateway_process import gateway  # noqa: PLC0415
    from activator.local.timeline import Timeline  # noqa: PLC0415
    from activator.wiring import Clock, local  # noqa: PLC0415

    clock, console = Clock(), terminal()
    timeline = Timeline(console, clock.now, full=arguments.orders, most=demo.MOST_REPLICAS)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    shown = local.Terminal(timeline.output, timeline.say, timeline)
    async with contextlib.AsyncExitStack() as exits:
        console.quiet = True  # what cannot start is one sentence, and the beginning comes first
        mode = await exits.enter_async_context(local.start(options, clock, shown))
        gateway_url = await exits.enter_async_context(
            gateway(
                port=arguments.gateway_port,
                port_flag="--gateway-port",
                bootstrap_servers=mode.bootstrap_servers,
                wake_url=f"http://{HOST}:{mode.server.port}/wake",
                wake_token_file=token_file,
                environment=os.environ,
                say=timeline.say,
            )
        )
        console.quiet = False
        for line in _beginning(mode, gateway_url, timeline.legend):
            console.print(line)
        story = demo.Story(
            timeline=timeline,
            gateway=gateway_url,
            now=clock.now,
            processes=lambda: mode.replicas.processes,
            rush=arguments.orders,
            short=arguments.short,
        )
        telling = asyncio.create_task(story.tell())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({telling, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not telling.done():
            telling.cancel()
            console.print("interrupted: every process is ended")
            return 1
        measured = telling.result()
        checks = verdict.judge(measured, most=demo.MOST_REPLICAS)
        timeline.verdict(verdict.headline(checks, measured), checks)
        for line in _end(mode, gateway_url, serve=arguments.serve):
            console.print(line)
        if arguments.serve:
            await mode.wait(stop)
    return 0 if not measured.interrupted and all(check.kept for check in checks) else 1


def _beginning(mode: LocalMode, gateway: str, legend: str) -> list[str]:
    """Say what runs where, before anything happens."""
    return [
        "A consumer that costs nothing while nobody orders: it sleeps at 0 replicas,",
        "wakes for a single record, grows with the work and goes back to 0.",
        "All of it runs on this computer and ends with this command.",
        "",
        f"  dashboard http://{HOST}:{mode.dashboard.port}/",
        f"  gateway   {gateway}/topics/pizzaOrders, takes CloudEvents and wakes the consumer",
        f"  Kafka     {mode.bootstrap_servers}, in memory; topic pizzaOrders, 5 partitions",
        f"  metrics   http://{HOST}:{mode.server.port}/metrics",
        "  consumer  Deployment pizza, 0 to 5 replicas, each a process",
        "",
        "  lag       records that wait for a consumer",
        f"  replicas  {legend}",
        "  N -> M    a decision, and its reason",
        "",
    ]


def _end(mode: LocalMode, gateway: str, *, serve: bool) -> list[str]:
    """Say what to do next: three commands."""
    wakegate = "wakegate" if shutil.which("wakegate") else f"{_shown(sys.executable)} -m activator"
    if not serve:
        return [
            "",
            "Next:",
            f"  {wakegate} demo --serve    stay, and send orders yourself",
            f"  {wakegate} demo --yaml     what was run: annotations are all it takes",
            f"  {wakegate} local FOLDER    the same with your own YAML and consumer",
        ]
    return [
        "",
        "It stays until Ctrl-C. In another terminal:",
        f"  curl -i {gateway}/topics/pizzaOrders {_EVENT} -d margherita",
        f"  curl -s http://{HOST}:{mode.server.port}/metrics | grep ^wakegate_",
        f"  {wakegate} demo --yaml",
        "",
        f"and the dashboard: http://{HOST}:{mode.dashboard.port}/",
    ]


def _shown(path: str) -> str:
    """Return a path as one would type it here."""
    with_parents = Path(path)
    return str(with_parents.relative_to(Path.cwd())) if with_parents.is_relative_to(Path.cwd()) else path


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:  # noqa: PLR2004 - the largest TCP port
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: a port from 0 (a free one) to 65535")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: a whole number, at least 1")
    return int(text)
