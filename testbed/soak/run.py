"""One fault after the other until the count or the time is reached, then the last questions."""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed import ledger
from testbed.errors import TestbedError
from testbed.soak import effects, oracle, plan
from testbed.soak.oracle import Violation
from testbed.soak.report import Report, Skip, unproven
from testbed.soak.scene import FORGOTTEN_SECONDS, Scene
from testbed.soak.strike import Strike, VoidError
from testbed.stage import until

if TYPE_CHECKING:
    from pathlib import Path

LAST_RECORDS_SECONDS = 120.0
LAST_SLEEP_SECONDS = 120.0
TOLD_OF_OFFSETS = ("OffsetsRestored", "OffsetsPinned", "WokenWithoutOffsets")
"""What shows that offsets were missing: in a sleep longer than the retention they need not be."""


@dataclass(frozen=True)
class Bounds:
    """How much of it.

    Attributes:
        seed: of the plan.
        faults: at most so many.
        minutes: at most so long, beginning when everything runs; the fault under way is finished.
        normal_seconds: a wake and a fresh reading are late after this.
        kinds: only kinds of fault whose names begin so.
        run_directory: where logs go; default a temporary folder.
    """

    seed: int
    faults: int = 500
    minutes: float = 65.0
    normal_seconds: float = 10.0
    kinds: str = ""
    run_directory: Path | None = None


def say(text: str) -> None:
    """Write a line of progress."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def soak(bounds: Bounds) -> Report:
    """Start everything, strike, and find out what must not have happened."""
    report = Report(bounds.seed)
    say(f"seed {bounds.seed}: at most {bounds.faults} faults in {bounds.minutes:g} minutes; starting the parts")
    with Scene(bounds.run_directory) as scene:
        say(f"everything runs, {len(scene.sleepers)} targets sleep; logs in {scene.bed.run_directory}")
        began = time.monotonic()
        try:
            _strike_all(scene, bounds, report)
        except TestbedError as error:
            # A part that does not come back says nothing about ours: what was found until then is still worth having.
            report.ended_early = str(error)
        report.facts["minutes"] = round((time.monotonic() - began) / 60, 1)
        _end_of_sending(scene)
        if not report.ended_early:  # nobody sleeps while a part that it takes is gone
            report.after += _still_awake(scene)
        sleeps = _sleeps(scene)
        report.after += _last_questions(scene, sleeps)
        sleepers = [target.name for target in scene.sleepers]
        report.unproven = unproven(report, plan.kinds_of(bounds.kinds), sleepers, sleeps)
        _add_facts(report, scene, sleeps)
    return report


def _strike_all(scene: Scene, bounds: Bounds, report: Report) -> None:
    deadline = time.monotonic() + bounds.minutes * 60
    for fault in plan.draw(bounds.seed, bounds.kinds):
        if len(report.outcomes) >= bounds.faults or time.monotonic() > deadline:
            return
        strike = Strike(scene, fault, bounds.normal_seconds)
        try:
            outcome = strike.run()
        except (effects.NotPossibleError, VoidError) as error:
            report.skipped.append(Skip(fault, str(error)))
            report.after += strike.violations
            say(str(report.skipped[-1]))
        except AssertionError as error:
            report.after.append(Violation("stuck-awake", "every target", str(error), fault.number))
            return
        except TestbedError:
            report.after += strike.violations
            raise
        else:
            report.outcomes.append(outcome)
            say(outcome.line())


def _end_of_sending(scene: Scene) -> None:
    """Stop sending and let everything be read."""
    scene.sender.end_flow()
    readers = [target for target in scene.targets if target.ledger is not None]

    def all_is_read() -> bool:
        lacking = [target.unread(time.time()) for target in readers]  # each ledger is read on, whatever another lacks
        return not any(lacking)

    with contextlib.suppress(AssertionError):  # what is still unread after this is told record by record below
        until("all is read", all_is_read, LAST_RECORDS_SECONDS)


def _still_awake(scene: Scene) -> list[Violation]:
    """Wait until each sleeper is at zero once more: during the faults one that never sleeps again is not missed."""
    observer, began = scene.observer, time.time()

    def awake() -> list[str]:
        is_known = observer.seen_at > began
        return [one.name for one in scene.sleepers if not is_known or observer.replicas.get(one.name) != 0]

    with contextlib.suppress(AssertionError):  # who is still awake after this is told one by one below
        until("every target sleeps once more", lambda: not awake(), LAST_SLEEP_SECONDS)
    text = f"not at zero {LAST_SLEEP_SECONDS:g} s after the last record"
    return [Violation("stuck-awake", name, f"{text}: {observer.replicas.get(name)} replicas") for name in awake()]


def _sleeps(scene: Scene) -> dict[str, list[float]]:
    """Return when the API server got which target's PATCHes to zero by ours, from its audit log."""
    sleeps: dict[str, list[float]] = {}
    for event in scene.plane.audit_events():
        ours = event.namespace == scene.stage.namespace and event.user_agent.startswith("wakegate")
        if ours and event.is_scale_write and event.status == 200 and event.requested_replicas == 0:  # noqa: PLR2004
            sleeps.setdefault(event.name, []).append(event.received_at.timestamp())
    return sleeps


def _last_questions(scene: Scene, sleeps: dict[str, list[float]]) -> list[Violation]:
    """Look at every record and every PATCH to zero."""
    found: list[Violation] = []
    for target in scene.targets:
        read_at = target.ledger.read_at if target.ledger is not None else {}
        found += oracle.false_zeros(target.name, target.sent, read_at, sleeps.get(target.name, []))
        if target.ledger is not None:
            found += oracle.reading_faults(target.name, target.ledger.entries, scene.sender.ends(target))
    return found


def _add_facts(report: Report, scene: Scene, sleeps: dict[str, list[float]]) -> None:
    report.facts |= {
        "records produced": sum(len(target.sent) for target in scene.targets),
        "records read": sum(len(target.ledger.read_at) for target in scene.targets if target.ledger),
        "read again within a rebalance or an end of the consumer": sum(
            repeat.explained
            for target in scene.targets
            if target.ledger
            for repeat in ledger.repeats(target.ledger.entries)
        ),
        "sleeps": sum(map(len, sleeps.values())),
        "wakes after a sleep longer than the retention": sum(
            outcome.slept_seconds > FORGOTTEN_SECONDS for outcome in report.outcomes
        ),
        **{f"{reason} told": scene.told(reason) for reason in TOLD_OF_OFFSETS},
        "records that Kafka refused": len(scene.sender.failures),
        "faults that were skipped": len(report.skipped),
        "cores": os.cpu_count(),
        "load average, median": round(statistics.median([outcome.load for outcome in report.outcomes] or [0.0]), 1),
    }
