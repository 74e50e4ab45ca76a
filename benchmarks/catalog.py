"""How soon what stands in the catalog is in force: many managed Deployments among more that are not.

Three things: from the start of the process until every sleeper's topic is watched; from the API server's answer to an
edited annotation until what it asks for is done; and from the last of many new targets until each has its HPA.

The floors, on the same parts in the same run: a bare list of all Deployments, page by page, and a bare PATCH of /scale.
"""

from __future__ import annotations

import random
import statistics
import time
from typing import TYPE_CHECKING, Any

from benchmarks import processes
from benchmarks.crowd import crowd, watch
from benchmarks.figures import Figures
from benchmarks.wake import bare_patches
from testbed.stage import until

if TYPE_CHECKING:
    import argparse
    from datetime import datetime

    from benchmarks.crowd import Crowd

PAGE = 500
SETTLE_SECONDS = 45.0
"""Looks double in distance after a start, up to the polling interval."""
PAUSE_SECONDS = (0.2, 1.0)
"""Between two edits: at any moment of whatever has a period."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this benchmark's options."""
    parser.add_argument("--targets", type=int, default=3000, help="managed Deployments, all asleep (3000)")
    parser.add_argument("--others", type=int, default=7000, help="Deployments that are not managed (7000)")
    parser.add_argument("--edits", type=int, default=100, help="annotations that are edited, one by one (100)")
    parser.add_argument("--new", type=int, default=400, help="awake targets that come at once (400)")


def run(arguments: argparse.Namespace) -> None:
    """Start it, edit annotations, add targets."""
    figures, dice = Figures("catalog"), random.Random(1)  # noqa: S311 - a repeatable order, nothing secret
    with crowd() as made:
        names = made.add(arguments.targets)
        others = made.bystanders(arguments.others)
        listed = [_bare_list(made) for _ in range(3)]
        figures.add(f"floor: a bare list of {len(names) + len(others)} Deployments", _shown(listed))
        _start(figures, made, len(names))
        time.sleep(SETTLE_SECONDS)
        edited = _edits(made, dice.sample(names, min(arguments.edits, len(names))), dice)
        figures.add_latencies("an edited annotation: the edit's 200 -> the 200 to what it asks for", edited)
        bare = bare_patches(made, others[: len(edited)])
        figures.add_latencies("floor: a bare PATCH of /scale", bare)
        figures.add("p50 / floor", f"{statistics.median(edited) / statistics.median(bare):.2f}")
        before = len(made.stage.hpas())
        took = _hpas(made, arguments.new, before)
        figures.add(f"{arguments.new} new targets", f"all HPAs are there {took:.1f} s after the last one was made")
    figures.tell()


def _start(figures: Figures, made: Crowd, sleepers: int) -> None:
    wakegate = made.stage.wakegate()
    began = time.monotonic()
    wakegate.start()
    ready = time.monotonic() - began
    watch(made, wakegate, sleepers)
    figures.add("start: ready, every target in force", f"{ready:.1f} s, {time.monotonic() - began:.1f} s")
    processes.watch(wakegate.process.pid or 0, 1.0).add_to(figures, "then")


def _bare_list(made: Crowd) -> float:
    """Read all Deployments a page at a time, and decode them."""
    began, more = time.monotonic(), ""
    while True:
        page: dict[str, Any] = made.stage.api.get(f"/apis/apps/v1/deployments?limit={PAGE}{more}")
        if not (token := page["metadata"].get("continue")):
            return time.monotonic() - began
        more = f"&continue={token}"


def _edits(made: Crowd, names: list[str], dice: random.Random) -> list[float]:
    """Have sleepers kept awake one by one, and time each PATCH that follows from it, by the API server's own clock."""
    edit = {"metadata": {"annotations": {"wakegate.dev/keep-awake": "true"}}}
    for name in names:
        time.sleep(dice.uniform(*PAUSE_SECONDS))
        made.stage.api.request("PATCH", f"{made.deployments}/{name}", edit)
    until("all are awake", lambda: all(made.answered(names).values()), 60)
    edited, answered = _edited_at(made, names), made.answered(names)
    return [(answered[name][0].completed_at - edited[name]).total_seconds() for name in names]


def _edited_at(made: Crowd, names: list[str]) -> dict[str, datetime]:
    """When the API server had answered each edit."""
    wanted = set(names)
    return {
        event.name: event.completed_at
        for event in made.stage.bed.control_plane.audit_events()
        if event.verb == "patch" and event.resource == "deployments" and not event.subresource and event.name in wanted
    }


def _hpas(made: Crowd, count: int, before: int) -> float:
    """Make awake targets at once, and time their HPAs."""
    made.add(count, replicas=1, prefix="new", cooldown_period="86400")
    began = time.monotonic()
    until(f"{count} more HPAs are there", lambda: len(made.stage.hpas()) >= before + count, 60 + count)
    return time.monotonic() - began


def _shown(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f})"
