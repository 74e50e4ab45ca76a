"""Command line of the test kubelet."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
from pathlib import Path

from testbed import kubeconfig
from testbed.kubelet.agent import Agent
from testbed.kubelet.client import Client


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="python -m testbed.kubelet",
        description="Run every Pod's command as a local process.",
        epilog="example: python -m testbed.kubelet --kubeconfig admin.kubeconfig --logs ./pods",
    )
    parser.add_argument("--kubeconfig", type=Path, required=True, help="with one cluster and one token")
    parser.add_argument("--logs", type=Path, required=True, help="folder for one log file a Pod")
    parser.add_argument("--node", default="testbed-node", help="name of the node to register (default: %(default)s)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    arguments.logs.mkdir(parents=True, exist_ok=True)
    asyncio.run(_run(kubeconfig.read(arguments.kubeconfig), arguments.logs, arguments.node))


async def _run(credentials: kubeconfig.Credentials, logs: Path, node: str) -> None:
    async with Client(credentials) as client:
        work = asyncio.create_task(Agent(client, node=node, logs=logs).run())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, work.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await work


if __name__ == "__main__":
    main()
