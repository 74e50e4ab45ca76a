"""Worlds by seed: ten targets, six virtual hours, everything that may break; an oracle knows what is true.

`python -m tests.world --seeds 200` runs more of them, and prints for each failing one the command that replays it.
"""

from __future__ import annotations

import os

import pytest

from tests.world.ablations import run_ablated
from tests.world.plan import plan_of

SEEDS = int(os.environ.get("WAKEGATE_WORLD_SEEDS", "3"))
"""One takes some ten seconds; a release wants many."""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_world_breaks_no_rule(seed: int) -> None:
    """Nothing sleeps with work to do, nothing is lost, and once the faults stop everything becomes normal."""
    result = run_ablated(plan_of(seed, None))
    assert not result.violations, result.plan.command


def test_a_seed_replays_digest_for_digest() -> None:
    """The same plan gives the same events, in the same order."""
    plan = plan_of(1, None).narrowed(targets=[0, 1, 2], strikes=None, until=3600.0)
    assert run_ablated(plan).digest == run_ablated(plan).digest


def test_a_safeguard_that_is_taken_out_is_missed() -> None:
    """Without the cooldown the oracle notices: a safeguard whose absence no seed tells is not tested.

    `python -m tests.world --ablations` takes each of them out in turn.
    """
    results = (run_ablated(plan_of(seed, "cooldown")) for seed in range(20))
    assert any(result.violations for result in results)
