"""`python -m benchmarks [NAME ...]`."""

from __future__ import annotations

import argparse
import importlib
import sys

BENCHMARKS = {
    "wake": "one record on one of 100 sleeping topics: producer's ack -> the API server's 200 to the PATCH",
    "cycles": "sleeps longer than Kafka's retention of offsets: records skipped, records read again",
    "idle": "CPU and memory of a process that watches 100 sleeping targets",
}


def main() -> int:
    """Run the benchmarks that are named; without a name, list them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Benchmarks on the real parts.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="; ".join(f"{k}: {v}" for k, v in BENCHMARKS.items()))
    parser.add_argument("--targets", type=int, default=100, help="sleeping targets (100)")
    parser.add_argument("--cycles", type=int, default=10, help="sleeps of each target that outlast the retention (10)")
    parser.add_argument("--wakes", type=int, default=100, help="wakes to measure (100)")
    parser.add_argument("--minutes", type=float, default=10.0, help="idle minutes to measure (10)")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown or not arguments.names:
        for name, what in BENCHMARKS.items():
            sys.stdout.write(f"{name:<8} {what}\n")
        return 2 if unknown else 0
    for name in arguments.names:
        importlib.import_module(f"benchmarks.{name}").run(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
