"""One fault, from the choice of the sleeper that has to wake to the moment when all is normal."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from testbed.errors import TestbedError
from testbed.soak import effects
from testbed.soak.oracle import Violation
from testbed.soak.report import Outcome
from testbed.soak.scene import FORGOTTEN_SECONDS
from testbed.soak.targets import choose_sleeper
from testbed.stage import until

if TYPE_CHECKING:
    from testbed.soak.plan import Fault
    from testbed.soak.scene import Scene
    from testbed.soak.targets import Target

SETTLED_SECONDS = 2.0
SLEEPER_SECONDS = 120.0
"""A sleeper is waited for so long: an election after the leader's end takes 17 s, a cooldown 3 s."""
TAKEN_SECONDS = 120.0
"""Kafka that takes no record for so long, though each node has answered, is broken: the run ends."""
NEVER_SECONDS = 60.0
LOOK_SECONDS = 0.2
ONE_REPLICA = ("leader-", "follower-")
"""Faults that leave one replica of ours and everything around it untouched: they must not delay a wake."""


class VoidError(Exception):
    """It struck, and nothing can be said of what came of it: it does not count."""


class Strike:
    """One fault, from the choice of the sleeper that has to wake to the moment when all is normal."""

    def __init__(self, scene: Scene, fault: Fault, normal_seconds: float) -> None:
        self._scene = scene
        self._fault = fault
        self._limit = normal_seconds + fault.grace_seconds
        self.violations: list[Violation] = []
        """So far: they hold also where it ends with an error."""
        self._struck_at = 0.0
        self._probe: Target

    def run(self) -> Outcome:
        """Strike.

        Raises:
            NotPossibleError: there is nothing it could strike just now.
            VoidError: Kafka refused a record that was to show what ours does.
            TestbedError: Kafka, or another part, does not come back.
        """
        scene, fault = self._scene, self._fault
        self._probe = self._sleeper()
        self._refused = {target.name: target.refused for target in (self._probe, scene.steady)}
        self._struck_at = time.time()
        slept = scene.observer.asleep_seconds(self._probe.name, self._struck_at)
        undo = effects.strike(scene, fault, self._probe)
        self._hold()
        undone_at = time.time()
        try:
            undo()
        except AssertionError as error:
            self._violate("not-restored", self._probe.name, str(error))
        answered_at = time.time()
        if not fault.record_meanwhile:
            scene.sender.send(self._probe)
        scene.sender.send(scene.steady)
        due_from = self._until_taken(answered_at)
        normal_at = self._until_normal(answered_at, due_from)
        woken_at = self._woken_at()
        return Outcome(
            fault=fault,
            probe=self._probe.name,
            slept_seconds=slept,
            struck_at=self._struck_at,
            answered_seconds=answered_at - undone_at,
            woken_seconds=None if woken_at is None else max(0.0, woken_at - due_from),
            normal_seconds=None if normal_at is None else normal_at - answered_at,
            load=os.getloadavg()[0],
            violations=tuple(self.violations),
        )

    def _sleeper(self) -> Target:
        targets = self._scene.sleepers
        if self._fault.kind.startswith("credentials-"):
            targets = [target for target in targets if target.secured]
        return until(
            f"a target sleeps before {self._fault}",
            lambda: choose_sleeper(
                targets,
                self._scene.observer,
                self._fault.choice,
                time.time(),
                settled_seconds=SETTLED_SECONDS,
                expired_seconds=FORGOTTEN_SECONDS,
            ),
            SLEEPER_SECONDS,
        )

    def _hold(self) -> None:
        """Let it last, and have the record come in the middle of it where the plan says so."""
        if not self._fault.record_meanwhile:
            time.sleep(self._fault.hold_seconds)
            return
        time.sleep(self._fault.hold_seconds / 2)
        self._scene.sender.send(self._probe)
        time.sleep(self._fault.hold_seconds / 2)

    def _until_taken(self, answered_at: float) -> float:
        """Wait until Kafka has the records; says from when the limit counts.

        That is the return of what was struck, or a record's acknowledgement if that is later: a broker that answers may
        still be without leaders for its partitions. Ours is not on the way from here to Kafka: a record that does not
        get there is no violation.
        """
        targets = (self._probe, self._scene.steady)
        deadline = time.monotonic() + TAKEN_SECONDS
        while any(target.under_way for target in targets):
            if time.monotonic() > deadline:
                raise TestbedError(f"Kafka takes no record: none for {TAKEN_SECONDS:g} s after {self._fault} had ended")
            time.sleep(LOOK_SECONDS)
        for target in targets:
            if target.refused > self._refused[target.name]:
                raise VoidError(f"Kafka refused a record for {target.name}")
        return max(answered_at, *(target.sent[-1].acked_at for target in targets))

    def _until_normal(self, answered_at: float, due_from: float) -> float | None:
        """Wait until all is normal; says when that was, and notes what was late."""
        deadline = time.monotonic() + NEVER_SECONDS
        told: set[str] = set()
        while (missing := self._missing()) and time.monotonic() < deadline:
            if time.time() - due_from > self._limit:
                for name, (what, text) in missing.items():
                    if name not in told:
                        told.add(name)
                        self._violate(
                            what, name, f"{text} {time.time() - answered_at:.1f} s after {self._fault} had ended"
                        )
            time.sleep(LOOK_SECONDS)
        normal_at = None if missing else time.time()
        # With a limit beyond the time that is waited nothing is late: it has not become normal all the same.
        for name, (_, text) in missing.items():
            if name not in told:
                self._violate("never-normal", name, f"{text} {NEVER_SECONDS:g} s after {self._fault} had ended")
        self._judge_one_replica()
        return normal_at

    def _missing(self) -> dict[str, tuple[str, str]]:
        """What is not normal: by whom, the kind of violation if it lasts, and in words."""
        scene, now = self._scene, time.time()
        found: dict[str, tuple[str, str]] = {}
        if scene.observer.seen_at < self._probe.sent[-1].acked_at:
            found["observer"] = ("late", "the API server has not said who is awake since the record was acknowledged")
        for target in scene.targets:
            # A record that was acknowledged after the last look cannot have been seen to wake anybody.
            waiting = [record for record in target.unread(now) if record.acked_at < scene.observer.seen_at]
            if waiting and scene.observer.replicas.get(target.name) == 0:
                found[target.name] = ("missed-wake", f"at zero with {len(waiting)} unread records")
        expected = len(scene.steady.sent)
        for replica in scene.replicas:
            served = scene.served(replica)
            if served is None or served < expected:
                found[replica.process.name] = ("late", f"serves lag {served}, not {expected}, for the steady target")
        return found

    def _woken_at(self) -> float | None:
        """When the probe was seen to wake; it may be asleep again by now. None: it was not."""
        woke_at = self._scene.observer.woke_at.get(self._probe.name, 0.0)
        return woke_at if woke_at >= self._struck_at else None

    def _judge_one_replica(self) -> None:
        """One of two replicas is enough: no fault of the other delays a wake."""
        woken_at = self._woken_at()
        if not self._fault.kind.startswith(ONE_REPLICA) or woken_at is None:
            return
        took = woken_at - self._probe.sent[-1].acked_at
        if took > self._limit:
            self._violate(
                "missed-wake", self._probe.name, f"woken {took:.1f} s after its record, by one replica of two"
            )

    def _violate(self, what: str, target: str, text: str) -> None:
        self.violations.append(Violation(what, target, text, self._fault.number))
