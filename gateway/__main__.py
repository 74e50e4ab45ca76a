"""The command `wakegate-gateway`: flags, logging and exit codes."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from typing import TYPE_CHECKING

from activator.errors import SettingsError, WakegateError
from gateway import settings as gateway_settings
from gateway import wiring

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_EXAMPLE = """\
example:
  wakegate-gateway --bootstrap-servers localhost:9092 --listen 127.0.0.1:8080
  curl -i localhost:8080/topics/orders -H 'ce-specversion: 1.0' -H 'ce-id: 1' -H 'ce-source: /shop' \\
       -H 'ce-type: order.created' -H 'Content-Type: application/json' -d '{"total": 9.50}'

exit codes: 0 ended by SIGTERM or SIGINT, 1 failed while running, 2 a setting or a file it names is wrong
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the gateway and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="wakegate-gateway",
        description="Takes CloudEvents over HTTP, writes them to Kafka, and wakes the consumers that sleep.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="check the settings and their files, list the ways in, exit",
    )
    gateway_settings.add_arguments(parser)
    arguments = parser.parse_args(argv)
    try:
        settings = gateway_settings.read(arguments)
        _configure_logging(settings.log_level)
        if arguments.check:
            sys.stdout.writelines(f"{line}\n" for line in wiring.check(settings))
            return 0
        return _serve(settings)
    except SettingsError as error:
        sys.stderr.write(f"wakegate-gateway: {error}\n")
        return 2


def _configure_logging(level: str) -> None:
    debug = level == "debug"
    # Client libraries write whole requests at debug, with the secrets in them: only ours goes so far.
    logging.basicConfig(level="INFO" if debug else level.upper(), format=_LOG_FORMAT, stream=sys.stderr)
    for name in ("gateway", "activator"):
        logging.getLogger(name).setLevel(logging.DEBUG if debug else logging.NOTSET)
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # what it warns of comes up here as an error of ours


def _serve(settings: gateway_settings.Settings) -> int:
    code = 0
    try:
        asyncio.run(wiring.serve(settings))
    except* SettingsError as group:
        code = 2
        _tell(group)
    except* WakegateError as group:
        code = 1
        _tell(group)
    return code


def _tell(group: BaseExceptionGroup[WakegateError]) -> None:
    for error in group.exceptions:
        sys.stderr.write(f"wakegate-gateway: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
