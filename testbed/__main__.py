"""Command line: `python -m testbed build|up|down|status|env|demo`."""

from __future__ import annotations

import argparse
import shlex
import sys
from typing import TYPE_CHECKING

from testbed import background, builds, cache, state
from testbed.background import BackgroundPlace
from testbed.bed import TestbedOptions, parts_needed
from testbed.control_plane_flags import HpaFlags
from testbed.errors import TestbedError
from testbed.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_USAGE = 2  # as argparse ends on what it finds itself

EXAMPLES = """\
examples:
  python -m testbed build                 get and build every part (about ten minutes on two cores, once)
  eval "$(python -m testbed up)"          start everything, point kubectl and wakegate at it
  python -m testbed up --kafka-nodes 3 --hpa-sync-period 15s
  python -m testbed status                what runs, and where
  python -m testbed down                  end it
  python -m testbed demo                  a workload going 0 -> 1 -> 5 -> 0, live, with its own parts

Builds are kept in $WAKEGATE_TESTBED_CACHE, default ~/.cache/wakegate-testbed; `up` keeps its logs there too.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; exit status 0, 1 for a failure (also: `env` or `status` with nothing up), 2 for bad usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser().parse_args(words)
    try:
        return VERBS[arguments.verb](BackgroundPlace(cache.default_root()), arguments, words[1:])
    except TestbedError as error:
        print(f"testbed: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m testbed",
        description="Real Kafka, Kubernetes control plane and Jaeger on free loopback ports, for tests and trying out.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Without metavar, the hidden verb `serve` would be listed.
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="build|up|down|status|env|demo")
    build = verbs.add_parser("build", help="get and build the parts, without starting any")
    build.add_argument("part", nargs="*", help=f"{', '.join(part.name for part in builds.PARTS)} (default: all)")
    _add_options(verbs.add_parser("up", help="start it in the background and print the exports; again: only print"))
    _add_options(verbs.add_parser("serve"))
    verbs.add_parser("down", help="end what `up` started")
    verbs.add_parser("status", help="show what runs")
    verbs.add_parser("env", help="print the exports again")
    verbs.add_parser("demo", help="show a workload going 0 -> 1 -> 5 -> 0 on the real parts, live (about a minute)")
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    defaults = TestbedOptions()
    text = "default: %(default)s"
    parser.add_argument("--kafka-nodes", type=int, choices=(0, 1, 3), default=defaults.kafka_nodes, help=text)
    parser.add_argument("--hpa-sync-period", default=defaults.hpa.sync_period, help=f"of the HPA controller, {text}")
    parser.add_argument(
        "--hpa-downscale-stabilization",
        default=defaults.hpa.downscale_stabilization,
        help=f"for HPAs without behavior, {text}",
    )
    parser.add_argument("--no-jaeger", action="store_true", help="without a tracing backend")
    parser.add_argument("--no-kubelet", action="store_true", help="pods stay Pending")


def _options(arguments: argparse.Namespace) -> TestbedOptions:
    return TestbedOptions(
        kafka_nodes=arguments.kafka_nodes,
        hpa=HpaFlags(arguments.hpa_sync_period, arguments.hpa_downscale_stabilization),
        jaeger=not arguments.no_jaeger,
        kubelet=not arguments.no_kubelet,
    )


def _build(_place: BackgroundPlace, arguments: argparse.Namespace, _words: Sequence[str]) -> int:
    known = {part.name: part for part in builds.PARTS}
    unknown = [name for name in arguments.part if name not in known]
    if unknown:
        print(f"testbed: no part is called {', '.join(unknown)}: there are {', '.join(known)}", file=sys.stderr)
        return EXIT_USAGE
    for name in arguments.part or known:
        print(builds.ensure(known[name]))
    return 0


def _up(place: BackgroundPlace, arguments: argparse.Namespace, words: Sequence[str]) -> int:
    if state.read(place.state):
        print("already up; its options stay as they were", file=sys.stderr)
        return _env(place, arguments, words)
    # Here and not in the owner: so that the progress is seen.
    for part in parts_needed(_options(arguments)):
        builds.ensure(part)
    progress = Progress("testbed")
    running = background.up(place, words, progress)
    progress.done(f"up, logs in {running.run_directory}")
    return _env(place, arguments, words)


def _serve(place: BackgroundPlace, arguments: argparse.Namespace, _words: Sequence[str]) -> int:
    background.serve(place, _options(arguments))
    return 0


def _down(place: BackgroundPlace, _arguments: argparse.Namespace, _words: Sequence[str]) -> int:
    print("stopped" if background.down(place) else "nothing was up", file=sys.stderr)
    return 0


def _status(place: BackgroundPlace, arguments: argparse.Namespace, words: Sequence[str]) -> int:
    running = state.read(place.state)
    if running is None:
        print("nothing is up", file=sys.stderr)
        return 1
    width = max(map(len, running.parts))
    for name, process in running.parts.items():
        print(f"{name:{width}}  pid {process.pid:<8} {'running' if process.is_alive() else 'GONE'}")
    print(f"\nlogs: {running.run_directory}")
    return _env(place, arguments, words)


def _env(place: BackgroundPlace, _arguments: argparse.Namespace, _words: Sequence[str]) -> int:
    running = state.read(place.state)
    if running is None:
        print("nothing is up: start it with `python -m testbed up`", file=sys.stderr)
        return 1
    for name, value in running.env.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _demo(_place: BackgroundPlace, _arguments: argparse.Namespace, _words: Sequence[str]) -> int:
    from testbed import demo  # noqa: PLC0415 - it needs Kafka clients, which no other verb does

    return demo.run()


VERBS = {"build": _build, "up": _up, "serve": _serve, "down": _down, "status": _status, "env": _env, "demo": _demo}


if __name__ == "__main__":
    sys.exit(main())
