"""`python -m testbed.soak`: faults on real parts; exit status 1 for a violation, an early end, or too little seen."""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from testbed.soak import plan
from testbed.soak.run import Bounds, say, soak

ARTIFACTS = Path(__file__).resolve().parents[2] / "artifacts" / "soak"


def main() -> int:
    """Run it, print the table, write the file."""
    bounds = Bounds(seed=0)
    parser = argparse.ArgumentParser(prog="python -m testbed.soak", description=__doc__)
    parser.add_argument("--seed", type=int, help="of the plan of faults (default: a new one, printed)")
    parser.add_argument("--faults", type=int, default=bounds.faults, help="at most so many (%(default)s)")
    parser.add_argument("--minutes", type=float, default=bounds.minutes, help="at most so long (%(default)s)")
    text = "a wake or a fresh reading is late after this (%(default)s)"
    parser.add_argument("--normal-seconds", type=float, default=bounds.normal_seconds, help=text)
    parser.add_argument("--logs", type=Path, help="keep the parts' logs in this new folder (default: a temporary one)")
    parser.add_argument("--kinds", default="", metavar="PREFIX", help="only kinds of fault whose names begin so")
    arguments = parser.parse_args()
    if not plan.kinds_of(arguments.kinds):
        parser.error(
            f"no kind begins with {arguments.kinds!r}: there are {', '.join(kind.name for kind in plan.KINDS)}"
        )
    seed = random.SystemRandom().randrange(1_000_000) if arguments.seed is None else arguments.seed
    report = soak(
        Bounds(
            seed=seed,
            faults=arguments.faults,
            minutes=arguments.minutes,
            normal_seconds=arguments.normal_seconds,
            kinds=arguments.kinds,
            run_directory=arguments.logs,
        )
    )
    path = ARTIFACTS / f"seed-{seed}.json"
    report.write(path)
    say(f"\n{report.table()}\nwritten: artifacts/soak/{path.name}")
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
