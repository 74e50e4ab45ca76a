"""How the verbs that answer a question print: text for a person, or one JSON document."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from activator.doctor.report import Line

DASHBOARD = "http://127.0.0.1:8081"
STYLES = {"title": "bold", "ok": "green", "warn": "yellow", "fail": "bold red", "skipped": "dim"}


def add_output(parser: argparse.ArgumentParser, *formats: str) -> None:
    """Add `-o`, with text as the default."""
    parser.add_argument(
        "-o",
        "--output",
        choices=["text", *formats],
        default="text",
        help=f"how to print it: text (default){''.join(f', {name}' for name in formats)}",
    )


def add_namespace(parser: argparse.ArgumentParser) -> None:
    """Add `--namespace`."""
    parser.add_argument(
        "-n",
        "--namespace",
        default="",
        metavar="NAMESPACE",
        help="where wakegate is installed; by default its Deployment is looked for by its labels",
    )


def add_dashboard(parser: argparse.ArgumentParser) -> None:
    """Add `--local` and `--dashboard-url`."""
    parser.add_argument("--local", action="store_true", help="ask `wakegate local` on this computer, and no cluster")
    parser.add_argument(
        "--dashboard-url",
        metavar="URL",
        default="",
        help=f"a dashboard to ask; by default {DASHBOARD} with --local and in a Pod of wakegate, else none",
    )


def print_json(document: Any) -> None:
    """Print a document to stdout."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def print_lines(lines: Iterable[Line]) -> None:
    """Print lines to stdout, coloured by their level where that is a terminal and NO_COLOR is not set."""
    from rich.text import Text  # noqa: PLC0415 - only those who print pay for it

    from activator.local.console import terminal  # noqa: PLC0415

    console = terminal()
    for level, line in lines:
        console.print(Text(line, STYLES.get(level, "")))
