"""`wakegate run`: manage the annotated workloads of a cluster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from activator import settings

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags: one a setting."""
    parser.epilog = (
        "example:\n"
        "  KUBECONFIG=~/.kube/config wakegate run --bootstrap-servers kafka:9092 --watch-namespace shop\n\n"
        "In a cluster the service account's token is used. Traces go where OTEL_EXPORTER_OTLP_ENDPOINT says."
    )
    settings.add_arguments(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT."""
    read = settings.read(arguments)
    # Imported here, because the Kafka and Kubernetes clients take a second of everybody's `--help`.
    from activator.telemetry.logs import configure_logging  # noqa: PLC0415
    from activator.wiring import run  # noqa: PLC0415

    configure_logging(read.log_format, read.log_level)
    asyncio.run(run.run(read))
    return 0
