"""`wakegate doctor`: what is wrong with an installation, one line a check, each problem with its fix."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from activator.cli import FAILED
from activator.cli.output import add_namespace, add_output, print_json, print_lines

if TYPE_CHECKING:
    import argparse

    from activator.doctor.facts import Facts


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.epilog = (
        "example:\n"
        "  wakegate doctor                                                     # the installation of this cluster\n"
        "  wakegate doctor --pre --bootstrap-servers kafka:9092                # before an installation\n"
        "  kubectl -n wakegate-system exec deploy/wakegate -- wakegate doctor  # where only Pods reach Kafka\n\n"
        "It changes nothing. Each check is explained in docs/doctor.md.\n"
        "Exit code 0: nothing fails (there may be warnings); 1: something does."
    )
    parser.add_argument("--pre", action="store_true", help="check what an installation needs, before there is one")
    parser.add_argument(
        "--bootstrap-servers",
        default="",
        metavar="HOST:PORT,...",
        help="with --pre: the Kafka that will be named, to see whether it is reached from here",
    )
    add_namespace(parser)
    add_output(parser, "short", "json")


def execute(arguments: argparse.Namespace) -> int:
    """Check everything; return 0 where nothing fails."""
    from activator.doctor import report  # noqa: PLC0415 - see activator.cli
    from activator.doctor.checks import CHECKS, CHECKS_BEFORE, examine, succeeded  # noqa: PLC0415

    facts = asyncio.run(_gather(arguments))
    results = examine(facts, CHECKS_BEFORE if arguments.pre else CHECKS)
    if arguments.output == "json":
        print_json(report.document(results))
    else:
        print_lines(report.short_lines(results) if arguments.output == "short" else report.lines(results))
    return 0 if succeeded(results) else FAILED


async def _gather(arguments: argparse.Namespace) -> Facts:
    from activator.wiring.inspection import Clock, Inspection, open_client  # noqa: PLC0415

    client = await open_client()
    try:
        inspection = Inspection(client, Clock().now, namespace=arguments.namespace)
        if arguments.pre:
            return await inspection.facts_before(arguments.bootstrap_servers)
        return await inspection.facts()
    finally:
        await client.close()
