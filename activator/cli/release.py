"""`wakegate release`: give every managed workload back, before wakegate is uninstalled."""

from __future__ import annotations

import argparse
import asyncio
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from activator import settings
from activator.specs import values

if TYPE_CHECKING:
    from collections.abc import Callable

_WITHIN = "5m"
TERMINATED = 128 + signal.SIGTERM
"""As a shell says it of a process that SIGTERM has ended."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags: two of its own, and one a setting."""
    parser.epilog = (
        "example:\n"
        "  wakegate release --deployment wakegate-system/wakegate --lease wakegate-system/wakegate\n\n"
        "Each workload gets no fewer replicas than it had before its takeover and loses its HPA; annotations stay,\n"
        "ScaledObjects stay and lose wakegate's finalizer. The chart runs it as a Job when it is uninstalled."
    )
    parser.add_argument(
        "--deployment",
        type=_argument(settings.namespaced),
        metavar="NAMESPACE/NAME",
        help="the Deployment that runs wakegate: it is put to zero first, or it would take everything over again",
    )
    parser.add_argument(
        "--within",
        type=_argument(values.duration(timedelta(seconds=1))),
        default=values.duration(timedelta(seconds=1))(_WITHIN),
        metavar="DURATION",
        help=f"how long all of it may take before it fails and names the rest (default: {_WITHIN})",
    )
    settings.add_arguments(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Give everything back."""
    read = settings.read(arguments)
    # Imported here, because the Kafka and Kubernetes clients take a second of everybody's `--help`.
    from activator.telemetry.logs import configure_logging  # noqa: PLC0415
    from activator.wiring.release import release  # noqa: PLC0415

    configure_logging(read.log_format, read.log_level)
    try:
        asyncio.run(release(read, arguments.deployment, arguments.within))
    except asyncio.CancelledError:
        return TERMINATED
    return 0


def _argument(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Tell argparse what is allowed, in the words of the parser."""

    def parsed(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r}; allowed: {error}") from None

    return parsed
