"""The command line: one verb a file, each imported only when it is asked for.

Exit codes: 0 done, 1 failed, 2 bad input. What a verb answers goes to stdout, what it has to say besides to stderr.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from typing import TYPE_CHECKING, NoReturn

from activator.errors import SettingsError, WakegateError
from activator.version import version

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILED = 1
BAD_INPUT = 2

VERBS: dict[str, str] = {
    "run": "manage the annotated workloads of a Kubernetes cluster",
    "release": "give every managed workload back, before wakegate is uninstalled",
    "local": "run the annotated workloads of a folder as processes, without a cluster",
    "validate": "find every mistake in YAML before it is applied",
    "status": "see whether wakegate runs, and what it does with every workload",
    "explain": "see why a workload has the replicas it has: record, reading, steps, PATCH, HPA",
    "doctor": "find what is wrong with an installation, or in the way of one",
    "demo": "see 0 -> 5 -> 0 in a minute: embedded Kafka, local processes, no cluster",
}
"""Every verb, in the order of --help; `activator.cli.{verb}` has `configure(parser)` and `execute(arguments)`."""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors name the nearest right word."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message}\nTry '{self.prog} --help'.\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _Parser(
        prog="wakegate",
        description="Scale-to-zero for Kafka consumers on Kubernetes: wakes in milliseconds, explains every decision.",
        epilog="'wakegate VERB --help' shows a verb's flags and an example.",
    )
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=_Parser)
    chosen = next((word for word in given if not word.startswith("-")), None)
    if chosen is not None and chosen not in VERBS:
        near = difflib.get_close_matches(chosen, VERBS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        parser.error(f"{chosen!r} is not a verb; allowed: {', '.join(VERBS)}{hint}")
    for verb, summary in VERBS.items():
        added = verbs.add_parser(
            verb, help=summary, description=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if verb == chosen:  # only the verb that is asked for is imported
            importlib.import_module(f"activator.cli.{verb}").configure(added)
    parsed = parser.parse_args(given)
    if parsed.version:
        print(f"wakegate {version()}")  # noqa: T201 - the answer to --version
        return 0
    if parsed.verb is None:
        parser.print_help()
        return BAD_INPUT
    return _execute(parsed)


def _execute(parsed: argparse.Namespace) -> int:
    module = importlib.import_module(f"activator.cli.{parsed.verb}")
    try:
        return int(module.execute(parsed) or 0)
    except SettingsError as error:
        return _fail(parsed.verb, error, BAD_INPUT)
    except WakegateError as error:
        return _fail(parsed.verb, error, FAILED)
    except BrokenPipeError:  # the reader of a pipe has had enough
        return 0
    except KeyboardInterrupt:
        return FAILED


def _fail(verb: str, error: Exception, code: int) -> int:
    print(f"wakegate {verb}: {error}", file=sys.stderr)  # noqa: T201 - where a command's errors go
    return code
