"""Run worlds: `python -m tests.world --seeds 200`, or replay one with the command that a failing seed prints."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TYPE_CHECKING

from tests.world.ablations import ABLATIONS, catching_seed, plan_without, run_ablated
from tests.world.caught import Catch, caught, write
from tests.world.coverage import Coverage
from tests.world.plan import plan_of
from tests.world.shrink import shrink

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.world.plan import Plan
    from tests.world.run import Result


SEEDS_THAT_SEE_ALL = 200
"""So many strike with every fault in each of its phases, and give every reason: what they leave out is not tested."""
FAILING_SEEDS = 20
RERUN_SECONDS = 200.0
"""Of virtual time, for failing seeds that are run again and again."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and report; 1 where a rule was broken, or where 200 seeds have not seen all that there is to see."""
    asked = _parser().parse_args(arguments)
    if asked.reruns:
        return _rerun(asked)
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
    parser.add_argument("--topicless", action="store_true", help="the same worlds, with triggers that name no topic")
    parser.add_argument("--coverage", action="store_true", help="list every fault x phase pair and reason not seen")
    parser.add_argument("--ablate", choices=sorted(ABLATIONS), help="take one safeguard out")
    parser.add_argument("--ablations", action="store_true", help="take each safeguard out in turn until a seed tells")
    parser.add_argument("--only", default="", help="with --ablations: these, separated by commas")
    parser.add_argument("--write", action="store_true", help="with --ablations: keep what is found, also in the docs")
    parser.add_argument("--reruns", type=int, default=0, help="run 20 failing seeds so many times: equal digests?")
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
    plan = plan_of(asked.seed, asked.ablate, topicless=asked.topicless).narrowed(
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
    seeds = range(asked.start, asked.start + asked.seeds)
    plans = [plan_of(seed, asked.ablate, topicless=asked.topicless) for seed in seeds]
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
    unseen = coverage.unseen if len(plans) >= SEEDS_THAT_SEE_ALL and asked.ablate is None else []
    if unseen:
        print(f"too little for {len(plans)} seeds, not seen: {', '.join(unseen)}")
    return 1 if failing or unseen else 0


def _tell_failing(result: Result, *, whole: bool) -> None:
    found = result if whole else shrink(result, run_ablated)
    print(f"seed {result.plan.seed}: {found.violations[0]}")
    if len(result.violations) > 1:
        print(f"  and {len(result.violations) - 1} more")
    print(f"  replay: {found.plan.command}  (digest {found.digest})", flush=True)


def _ablations(asked: argparse.Namespace) -> int:
    only = asked.only.split(",") if asked.only else list(ABLATIONS)
    found = caught()
    missed = []
    with ProcessPoolExecutor(asked.jobs) as pool:
        looking = {pool.submit(catching_seed, name, asked.start, asked.seeds): name for name in only}
        for done in as_completed(looking):
            name, catch = looking[done], done.result()
            if catch is None:
                missed.append(name)
                print(f"{name}: not within {asked.seeds} seeds", flush=True)
                continue
            seed, violation = catch
            found[name] = Catch(seed, violation.rule, round(violation.at, 3))
            print(f"{name}: seed {seed}: {violation}", flush=True)
            if asked.write:
                write(found)
    print(f"{len(only) - len(missed)} of {len(only)} safeguards are missed when they are taken out")
    return 1 if missed else 0


def _rerun(asked: argparse.Namespace) -> int:
    """Run failing seeds again and again, in processes with different hash seeds."""
    early = [name for name, found in caught().items() if found.at_seconds < RERUN_SECONDS]
    tried = (plan_without(name, seed).narrowed(until=RERUN_SECONDS) for seed in itertools.count() for name in early)
    plans = list(itertools.islice((plan for plan in tried if _run(plan).violations), FAILING_SEEDS))
    with ProcessPoolExecutor(max(2, asked.jobs), mp_context=get_context("spawn")) as pool:
        results = list(pool.map(run_ablated, [plan for plan in plans for _ in range(asked.reruns)]))
    differ = 0
    for number, plan in enumerate(plans):
        runs = results[number * asked.reruns : (number + 1) * asked.reruns]
        digests = {run.digest for run in runs}
        differ += len(digests) > 1 or not all(run.violations for run in runs)
        print(f"{plan.command}: {len(runs)} runs, {', '.join(sorted(digests))}")
    print(f"{len(plans) - differ} of {len(plans)} failing seeds gave one digest in {asked.reruns} runs each")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
