"""Run worlds: `python -m tests.world --seeds 200`, or replay one with the command that a failing seed prints."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from tests.world.ablations import ABLATIONS, catching_seed, run_ablated
from tests.world.coverage import Coverage
from tests.world.plan import plan_of
from tests.world.shrink import shrink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.world.journal import Violation
    from tests.world.plan import Plan
    from tests.world.run import Result


def main() -> int:
    """Run and report; 1 where a rule was broken."""
    asked = _parser().parse_args()
    if asked.ablations:
        return _ablations(asked)
    if asked.seed is not None:
        return _replay(asked)
    return _many(asked)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.world", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="how many (20)")
    parser.add_argument("--start", type=int, default=0, help="the first one (0)")
    parser.add_argument("--jobs", type=int, default=1, help="processes side by side (1)")
    parser.add_argument("--no-shrink", action="store_true", help="print failing seeds as they are")
    parser.add_argument("--coverage", action="store_true", help="list every fault x phase pair and reason not seen")
    parser.add_argument("--ablate", choices=sorted(ABLATIONS), help="take one safeguard out")
    parser.add_argument("--ablations", action="store_true", help="take each safeguard out in turn until a seed tells")
    parser.add_argument("--only", default="", help="with --ablations: these, separated by commas")
    replay = parser.add_argument_group("replay")
    replay.add_argument("--seed", type=int, help="run this one")
    replay.add_argument("--targets", help="only these, separated by commas")
    replay.add_argument("--strikes", help="only these, separated by commas; none")
    replay.add_argument("--until", type=float, help="seconds of virtual time")
    replay.add_argument("--show", metavar="TEXT", nargs="?", const="", help="print every event (that holds TEXT)")
    return parser


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    return [] if text == "none" else [int(number) for number in text.split(",")]


def _replay(asked: argparse.Namespace) -> int:
    plan = plan_of(asked.seed, asked.ablate).narrowed(
        targets=_numbers(asked.targets), strikes=_numbers(asked.strikes), until=asked.until
    )
    result = run_ablated(plan, keep=asked.show is not None)
    for line in result.lines:
        if asked.show in line:
            print(line)
    for violation in result.violations:
        print(violation)
    print(f"{result.events} events, digest {result.digest}")
    return 1 if result.violations else 0


def _run(plan: Plan) -> Result:
    return run_ablated(plan)


def _results(plans: list[Plan], jobs: int) -> Iterator[Result]:
    if jobs == 1:
        yield from map(_run, plans)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(_run, plans)


def _many(asked: argparse.Namespace) -> int:
    started, failing, broken = time.perf_counter(), [], Counter[str]()
    coverage = Coverage()
    plans = [plan_of(seed, asked.ablate) for seed in range(asked.start, asked.start + asked.seeds)]
    for number, result in enumerate(_results(plans, asked.jobs), 1):
        coverage.add(result)
        if result.violations:
            failing.append(result)
            broken.update({violation.rule for violation in result.violations})
            _tell_failing(result, whole=asked.no_shrink)
        if sys.stderr.isatty() or number % 10 == 0:
            rate = number / (time.perf_counter() - started)
            print(f"{number}/{len(plans)} seeds, {rate:.2f} a second, {len(failing)} failing", file=sys.stderr)
    rate = len(plans) / (time.perf_counter() - started)
    print(f"{len(plans)} seeds from {asked.start}, {rate:.2f} a second, {len(failing)} with violations")
    for rule, count in broken.most_common():
        print(f"  {rule}: {count}")
    print(coverage.report(every=asked.coverage))
    return 1 if failing else 0


def _tell_failing(result: Result, *, whole: bool) -> None:
    found = result if whole else shrink(result, _run)
    print(f"seed {result.plan.seed}: {found.violations[0]}")
    if len(result.violations) > 1:
        print(f"  and {len(result.violations) - 1} more")
    print(f"  replay: {found.plan.command}  (digest {found.digest})", flush=True)


def _ablations(asked: argparse.Namespace) -> int:
    only = asked.only.split(",") if asked.only else list(ABLATIONS)
    missed = 0
    with ProcessPoolExecutor(asked.jobs) as pool:
        for name, found in zip(only, pool.map(partial(_catching_seed, asked), only), strict=True):
            missed += found is None
            if found is None:
                print(f"| {name} | not within {asked.seeds} seeds | |", flush=True)
            else:
                _, seed, violation = found
                print(f"| {name} | {seed} | {violation} |", flush=True)
    return 1 if missed else 0


def _catching_seed(asked: argparse.Namespace, name: str) -> tuple[str, int, Violation] | None:
    return catching_seed(name, asked.start, asked.seeds)


if __name__ == "__main__":
    sys.exit(main())
