"""Worlds by seed: ten targets, six virtual hours, everything that may break; an oracle knows what is true.

`make world` runs more of them, and prints for each failing one the command that replays it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from activator.loop import unanswered
from tests.world.__main__ import main
from tests.world.ablations import ABLATIONS, catch, run_ablated
from tests.world.caught import BEGIN, DOCS, END, caught, table
from tests.world.faults import FAULTS, Phase
from tests.world.plan import AIMED_STRIKES, STRIKES, Strike, plan_of
from tests.world.shrink import shrink

if TYPE_CHECKING:
    from tests.world.plan import Plan
    from tests.world.run import Result

SEEDS = int(os.environ.get("WAKEGATE_WORLD_SEEDS", "8"))
"""Some thirty seconds of a processor; `.ci/run` has two hundred, a release ten thousand."""
SOON_SECONDS = 1000.0
"""Safeguards whose absence is noticed so soon are taken out here; `--ablations` takes out all of them."""


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_world_breaks_no_rule(seed: int) -> None:
    """Nothing sleeps with work to do, nothing is lost, and once the faults stop everything becomes normal."""
    result = run_ablated(plan_of(seed))
    assert not result.violations, result.plan.command


@pytest.mark.parametrize("seed", range(max(1, SEEDS // 4)))
def test_a_world_whose_triggers_name_no_topic_breaks_no_rule(seed: int) -> None:
    """The same workloads, traffic and strikes; which topic each group reads, its commits and members tell."""
    named, plan = plan_of(seed), plan_of(seed, topicless=True)
    assert plan.strikes == named.strikes
    assert [target.bursts for target in plan.targets] == [target.bursts for target in named.targets]
    result = run_ablated(plan)
    assert not result.violations, plan.command


@pytest.mark.parametrize("name", [name for name, found in caught().items() if found.at_seconds < SOON_SECONDS])
def test_a_safeguard_that_is_taken_out_is_missed(name: str) -> None:
    """What no seed notices the want of is not tested; this seed has noticed it."""
    violation = catch(name, caught()[name].seed)
    assert violation is not None
    assert violation.rule in ABLATIONS[name].rules


def test_the_table_of_safeguards_is_what_was_found() -> None:
    """The docs name each safeguard, the rule that is broken without it and a seed that shows it."""
    assert all(found.seed < 200 and found.rule in ABLATIONS[name].rules for name, found in caught().items())
    assert DOCS.read_text().partition(BEGIN)[2].partition(END)[0] == table(caught())


def _failing() -> Plan:
    return plan_of(0, "cooldown").narrowed(until=400.0)


def test_a_failing_seed_replays_digest_for_digest() -> None:
    """The same events in the same order, again here and in a process that hashes strings in another way."""
    plan = _failing()
    digests = {run_ablated(plan).digest for _ in range(2)}
    hashed = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, *plan.command.split()[1:]]
    replayed = subprocess.run(  # noqa: S603 - ourselves
        command, capture_output=True, text=True, env=hashed, check=False, timeout=120
    )
    assert replayed.returncode == 1, replayed.stderr
    assert {replayed.stdout.split()[-1]} == digests


def test_a_failing_seed_is_shrunk_to_what_breaks_the_rule(capsys: pytest.CaptureFixture[str]) -> None:
    """One target, no more strikes or seconds than it takes; the command that is printed breaks the same rule."""
    whole = run_ablated(_failing())
    rule = whole.violations[0].rule
    small = shrink(whole, run_ablated)
    assert (len(small.plan.targets), len(small.plan.strikes)) == (1, 0)
    assert small.plan.until <= whole.violations[0].at + 2.0
    assert main(small.plan.command.split()[3:]) == 1
    replayed = capsys.readouterr().out
    assert rule in replayed
    assert small.digest in replayed


def test_a_strike_that_it_takes_is_kept() -> None:
    """Without the strike nothing is broken, so that shrinking leaves it there."""
    seed, rules = caught()["dry-run"].seed, ABLATIONS["dry-run"].rules
    small = shrink(run_ablated(plan_of(seed, "dry-run"), stops_at=rules), run_ablated)
    assert [strike.fault for strike in small.plan.strikes] == ["dry-run"]
    assert len(small.plan.targets) == 1
    assert small.violations[0].rule in rules


@pytest.mark.parametrize("fault", ["kept-awake", "paused", "dry-run", "rival"])
def test_of_two_strikes_that_write_the_same_the_last_one_ends_it(fault: str) -> None:
    """The second does not put back for good what the first wrote for a while, nor does the first end the second's."""
    strikes = tuple(
        Strike(number, fault, target=0, phase=phase, at=at, delay_seconds=0.0, lasts_seconds=lasts)
        for number, (phase, at, lasts) in enumerate(
            (phase, at, lasts) for phase in sorted(Phase) for at, lasts in ((100.0, 200.0), (200.0, 200.0))
        )
    )
    plan = replace(plan_of(0).narrowed(targets=[0], until=2000.0), strikes=strikes)
    result = run_ablated(plan)
    assert sum(result.strikes.values()) >= 2
    assert not result.violations


def test_what_is_written_beside_a_mistake_is_not_in_force() -> None:
    """While annotations hold a typo the last valid ones count: a pause that was saved with it freezes nothing."""
    typo = Strike(0, "typo", 5, Phase.BUSY, at=60.0, delay_seconds=0.0, lasts_seconds=1500.0)
    paused = replace(typo, index=1, fault="paused", at=61.0, lasts_seconds=1200.0)
    result = run_ablated(replace(plan_of(0).narrowed(targets=[5], until=1800.0), strikes=(typo, paused)))
    assert sum(result.strikes.values()) == 2
    assert not result.violations


def test_a_fault_that_is_aimed_moves_no_other_strike() -> None:
    """What strikes by chance is drawn without the faults that are aimed at a situation, and those have their share."""
    for seed in range(20):
        aimed = [FAULTS[strike.fault].aimed_at is not None for strike in plan_of(seed).strikes]
        assert aimed == [False] * STRIKES + [True] * AIMED_STRIKES


def test_a_strike_that_finds_nothing_to_strike_does_not_count() -> None:
    """No transaction is open for who reads uncommitted records: nothing of it was tested."""
    plan, uncommitted = plan_of(0), ("wakegate.dev/isolation-level", "read_uncommitted")
    index = next(target.index for target in plan.targets if uncommitted in target.annotations)
    plan = plan.narrowed(targets=[index], until=500.0)
    strikes = tuple(
        Strike(0, "transaction-is-open", index, phase, at=100.0, delay_seconds=0.0, lasts_seconds=20.0)
        for phase in Phase
    )
    result = run_ablated(replace(plan, strikes=strikes), keep=True)
    assert any(" strikes 0 transaction-is-open " in line for line in result.lines)
    assert not result.strikes


def test_a_fault_of_some_targets_strikes_one_of_those() -> None:
    """A transaction is opened where somebody waits for its end, in each seed that has such a target."""
    for seed in range(20):
        plan = plan_of(seed)
        fits = FAULTS["transaction-is-open"].fits
        assert fits is not None
        fitting = {target.index for target in plan.targets if fits(target)}
        struck = {strike.target for strike in plan.strikes if strike.fault == "transaction-is-open"}
        assert struck <= fitting or not fitting


def test_so_many_seeds_must_see_everything(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What 200 seeds have not struck, or not been given for a reason, is named and is a failure like any other."""
    monkeypatch.setattr("tests.world.__main__._run", lambda plan: run_ablated(plan.narrowed(until=1.0)))
    assert main(["--seeds", "1"]) == 0
    monkeypatch.setattr("tests.world.__main__.SEEDS_THAT_SEE_ALL", 1)
    assert main(["--seeds", "1"]) == 1
    assert "record-arrives x asleep" in capsys.readouterr().out


def test_no_target_need_sleep_while_nothing_can_be_kept() -> None:
    """What must outlive us is written before a sleep, whichever target the strike is for: the others wait as well."""
    strike = Strike(0, "states-are-not-kept", 0, Phase.QUIET, at=60.0, delay_seconds=0.0, lasts_seconds=900.0)
    plan = plan_of(0).narrowed(targets=[0, 3], until=1500.0)
    result = run_ablated(replace(plan, strikes=(replace(strike, phase=Phase.ASLEEP), strike)))
    assert result.strikes["states-are-not-kept", Phase.ASLEEP]
    assert not result.violations


def test_an_hpa_that_steps_down_keeps_its_target_from_being_quiet() -> None:
    """One replica each half minute, and with each the group rebalances: the quiet period begins after the last."""
    plan = plan_of(3995).narrowed(targets=range(1, 10), strikes=[25], until=2600.0)
    result = run_ablated(plan, keep=True)
    steps = [line for line in result.lines if "scaled Deployment shop/t1" in line and "kube-controller-manager" in line]
    assert len(steps) > 5
    assert any("scaled Deployment shop/t1 1 0 wakegate" in line for line in result.lines)
    assert not result.violations


def test_what_was_kept_awake_without_work_sleeps_as_soon_as_it_may() -> None:
    """It had slept eight seconds when its user wanted it awake for two minutes: its quiet period was over before."""
    # By the dice of seed 5125 no look sees the group rebalance, after which a new quiet period would begin.
    result = run_ablated(replace(plan_of(5114).narrowed(targets=[7], until=18000.0), seed=5125), keep=True)
    wakes = [line for line in result.lines if "scaled Deployment shop/t7" in line and float(line.split()[0]) > 17800]
    assert [line.split()[4:6] for line in wakes] == [["1", "0"], ["0", "1"], ["1", "0"]]
    assert not result.violations


@pytest.mark.parametrize(
    ("seed", "targets", "until", "what"),
    [
        pytest.param(5523, None, 7700.0, "strikes 10 paused", id="a-pause-of-which-no-watch-tells"),
        pytest.param(5538, None, 1300.0, "leads", id="a-wake-that-waits-for-a-commit-while-nobody-leads"),
        pytest.param(5539, None, 15100.0, "committed-for missing t5", id="the-same-for-one-that-retention-has-passed"),
        pytest.param(6576, [3], 7400.0, "strikes 30 offsets-expire", id="offsets-of-one-that-was-made-anew-awake"),
        pytest.param(6148, [8], 16600.0, "strikes 27 rival", id="a-rival-of-which-the-watch-tells-late"),
        pytest.param(6046, None, 9120.0, "t2 0 1 failed", id="which-of-two-equal-patches-was-refused"),
        pytest.param(2495, [6], 11230.0, "starts wakegate-2 1:00:00", id="the-last-work-of-who-was-there-by-a-moment"),
        pytest.param(7699, [2, 5], 2900.0, "leads wakegate-2", id="work-that-came-before-anything-could-be-listed"),
        pytest.param(8903, [2], 4200.0, "fall back", id="partitions-of-a-target-that-was-not-managed-for-a-while"),
    ],
)
def test_what_nobody_can_do_is_not_asked_for(seed: int, targets: list[int] | None, until: float, what: str) -> None:
    """Each of these was taken for a violation."""
    result = run_ablated(plan_of(seed).narrowed(targets=targets, until=until), keep=True)
    assert any(what in line for line in result.lines)
    assert not result.violations


def test_offsets_that_are_committed_again_are_no_work_any_more() -> None:
    """At zero by another hand its records are work only as long as its group has no offsets: one look of ours."""
    strike = Strike(0, "offsets-expire", 8, Phase.ASLEEP, at=1800.0, delay_seconds=0.0, lasts_seconds=0.0)
    result = run_ablated(replace(plan_of(174).narrowed(targets=[8], until=2300.0), strikes=(strike,)), keep=True)
    assert any("committed-for missing t8" in line for line in result.lines)
    assert not result.violations


def test_of_a_recreated_topic_nothing_has_been_read() -> None:
    """It sleeps with a commit of the topic before, from past the new end: records there are news, not read again."""
    silent = Strike(0, "consumers-never-commit", 8, Phase.QUIET, at=200.0, delay_seconds=0.0, lasts_seconds=200.0)
    recreated = replace(silent, index=1, fault="topic-is-recreated", lasts_seconds=20.0)
    plan = replace(plan_of(2939).narrowed(targets=[8], until=1700.0), strikes=(silent, recreated))
    result = run_ablated(plan, keep=True)
    assert sum(result.strikes.values()) == 2
    assert any("commit t8 0 3" in line for line in result.lines)
    assert not result.violations


def test_a_commit_beyond_the_end_of_its_log_is_nowhere_to_go_on() -> None:
    """The log loses its end while the PATCH of a sleep is on its way: its consumer begins anew, by its reset policy."""
    undisturbed = run_ablated(plan_of(129).narrowed(targets=[7], strikes=[], until=3000.0), keep=True)
    *_, sent_at = (float(line.split()[0]) for line in undisturbed.lines if line.endswith("Deployment shop/t7 1 0"))
    truncated = Strike(0, "log-is-truncated", 7, Phase.FALLING, at=sent_at, delay_seconds=0.05, lasts_seconds=0.0)
    removed = replace(truncated, index=1, fault="annotations-are-removed", phase=Phase.ASLEEP, delay_seconds=0.0)
    result = run_ablated(replace(undisturbed.plan, strikes=(truncated, removed)), keep=True)
    assert sum(result.strikes.values()) == 2
    assert any("commit t7 0 20" in line for line in result.lines)  # read from the start, as nobody can help
    assert not result.violations


def test_what_was_committed_since_the_last_look_is_not_known_to_be_missing() -> None:
    """The look that found offsets gone had them committed; gone again before the next one, no wake waits for them."""
    expire = Strike(0, "offsets-expire", 1, Phase.ASLEEP, at=2000.0, delay_seconds=0.0, lasts_seconds=0.0)
    again = replace(expire, index=1, fault="offsets-expire-and-a-record-arrives", at=2300.0)
    result = run_ablated(replace(plan_of(1595).narrowed(targets=[1], until=2310.0), strikes=(expire, again)), keep=True)
    assert sum(result.strikes.values()) == 2
    assert any("committed-for missing t1" in line for line in result.lines)
    assert not result.violations


def _sleep_lost_with_the_lease() -> Result:
    """Of a sleep the answer is lost with the Lease; who takes that dies in time, and its sender leads again."""
    second = Strike(0, "second-leader", 1, Phase.QUIET, at=1377.68, delay_seconds=0.0, lasts_seconds=40.0)
    slow = Strike(1, "api-server-is-slow", 1, Phase.FALLING, at=1370.0, delay_seconds=1.2, lasts_seconds=12.0)
    plan = plan_of(1595).narrowed(targets=[1], until=1600.0)
    # By the dice of seed 166 the PATCH arrives and its answer does not, and of the two it is the second that dies.
    result = run_ablated(replace(plan, seed=166, strikes=(second, slow)), keep=True)
    since = replace(result, lines=tuple(line for line in result.lines if float(line.split()[0]) > second.at))
    assert [line.split()[2] for line in since.lines if " leads " in line] == ["wakegate-2", "wakegate-1"]
    return since


def _told_and_led_again(result: Result) -> tuple[float, float]:
    """When the one PATCH was told as applied, and when its sender led again."""
    (told,) = [line for line in result.lines if " applied " in line]
    (led_again,) = [line for line in result.lines if " leads wakegate-1" in line]
    return float(told.split()[0]), float(led_again.split()[0])


def test_a_sleep_that_was_lost_with_the_lease_is_told_by_its_sender_at_once() -> None:
    """Nobody else is known to have led."""
    result = _sleep_lost_with_the_lease()
    told, led_again = _told_and_led_again(result)
    assert told < led_again
    assert not result.violations


def test_what_was_another_leader_s_to_tell_is_told_by_its_sender_who_leads_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sender takes it for another's as long as it does not lead, as where it has seen that one lead."""
    monkeypatch.setattr(unanswered, "_is_nobody_elses", lambda *_: False)
    result = _sleep_lost_with_the_lease()
    told, led_again = _told_and_led_again(result)
    assert told > led_again
    assert not result.violations


def test_the_first_list_of_a_process_is_complete() -> None:
    """Whose events are lost as another replica starts is in its list all the same: it is given back by nobody."""
    second = Strike(0, "second-leader", 9, Phase.ASLEEP, at=300.0, delay_seconds=0.0, lasts_seconds=120.0)
    lost = replace(second, index=1, fault="watch-event-is-lost", at=300.001, lasts_seconds=60.0)
    result = run_ablated(replace(plan_of(2537).narrowed(targets=[9], until=600.0), strikes=(second, lost)), keep=True)
    assert sum(result.strikes.values()) == 2
    assert not any("release: unmanaged" in line for line in result.lines)
    assert not result.violations


def test_who_stood_still_has_time_to_find_out() -> None:
    """The answer to a sleep is lost in a stall of nearly as long as it may take to be told: the next look tells it."""
    stall = Strike(0, "stalls", 4, Phase.FALLING, at=1370.0, delay_seconds=0.9, lasts_seconds=14.9)
    plan = plan_of(5617).narrowed(targets=[4], until=1500.0)
    # By the dice of seed 5619 it strikes as the PATCH is on its way back, and who goes on looks at his deadline first.
    result = run_ablated(replace(plan, seed=5619, strikes=(stall,)), keep=True)
    assert any("answered" in line and "UnavailableError" in line for line in result.lines)
    assert not result.violations
