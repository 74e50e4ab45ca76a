"""`python -m benchmarks NAME [options]`, or `all`."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys

BENCHMARKS = {
    "decide": "evaluations a second of the pure decision",
    "start": "how soon `wakegate --help` ends and `wakegate run` is ready",
    "wake": "one record on one of 1,000 sleeping topics: producer's ack -> the API server's 200 to the PATCH",
    "storm": "100, 400 and 1,000 sleepers hit at once: until the last PATCH, and whether only they were woken",
    "growth": "CPU and memory of an idle process at 100, 1,000 and 3,000 sleeping targets",
    "idle": "CPU, memory and connections with 3,000 targets, half of them asleep, with real HPAs and traces",
    "lateness": "how late the loop looks with 3,000 targets at a polling interval of 5 s, beside bare timers",
    "catalog": "3,000 managed among 10,000 Deployments: until all are in force, until an edit is, until 400 have HPAs",
    "hpas": "how late the stock controller manager syncs 50, 300 and 1,000 HPAs",
    "broker_vs_kafka": "the embedded broker beside a real Kafka, by the same clients",
    "gateway_ingress": "events a second of the gateway beside a bare pass-through",
    "cycles": "sleeps longer than Kafka's retention of offsets: records skipped, records read again",
}


def main() -> int:
    """Run the benchmark that is named; without a name, list them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Benchmarks on the real parts.")
    names = parser.add_subparsers(metavar="NAME", dest="name", title="benchmarks")
    named = sys.argv[1:2]
    for name, what in BENCHMARKS.items():
        command = names.add_parser(name, help=what, description=what)
        if [name] == named:  # the others need not be imported
            module = importlib.import_module(f"benchmarks.{name}")
            command.description = module.__doc__
            command.formatter_class = argparse.RawDescriptionHelpFormatter
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    names.add_parser("all", help="each of these, one after the other, as it is without options")
    arguments = parser.parse_args()
    if arguments.name is None:
        parser.print_help()
        return 0
    if arguments.name == "all":
        return max(_in_its_own_process(name) for name in BENCHMARKS)
    return arguments.run(arguments) or 0


def _in_its_own_process(name: str) -> int:
    """Run one as it is without options; what it leaves behind is no part of the next one's figures."""
    return subprocess.run([sys.executable, "-m", "benchmarks", name], check=False).returncode  # noqa: S603 - ourselves


if __name__ == "__main__":
    sys.exit(main())
