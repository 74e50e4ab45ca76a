"""One fault, from the choice of the sleeper that has to wake to the moment when all is normal."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

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
NEVER_SECONDS = 60.0
LOOK_SECONDS = 0.2
ONE_REPLICA = ("leader-", "follower-")
"""Faults that leave one replica of ours and everything around it untouched: they must not delay a wake."""


class Strike:
    """One fault, from the choice of the sleeper that has to wake to the moment when all is normal."""

    def __init__(self, scene: Scene, fault: Fault, normal_seconds: float) -> None:
        self._scene = scene
        self._fault = fault
        self._limit = normal_seconds + fault.grace_seconds
        self._violations: list[Violation] = []
        self._struck_at = 0.0
        self._probe: Target

    def run(self) -> Outcome:
        """Strike.

        Raises:
            NotPossibleError: there is nothing it could strike just now.
        """
        scene, fault = self._scene, self._fault
        self._probe = self._sleeper()
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
        normal_at = self._until_normal(answered_at)
        woken_at = self._woken_at()
        return Outcome(
            fault=fault,
            probe=self._probe.name,
            slept_seconds=slept,
            struck_at=self._struck_at,
            answered_seconds=answered_at - undone_at,
            woken_seconds=None if woken_at is None else max(0.0, woken_at - self._due_from(answered_at)),
            normal_seconds=None if normal_at is None else normal_at - answered_at,
            load=os.getloadavg()[0],
            violations=tuple(self._violations),
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

    def _until_normal(self, answered_at: float) -> float | None:
        """Wait until all is normal; says when that was, and notes what was late."""
        normal_at = None
        deadline = time.monotonic() + NEVER_SECONDS
        told: set[str] = set()
        while normal_at is None and time.monotonic() < deadline:
            missing = self._missing()
            now = time.time()
            if not missing:
                normal_at = now
            elif now - self._due_from(answered_at) > self._limit and self._probe.sent:
                for name, (what, text) in missing.items():
                    if name not in told:
                        told.add(name)
                        self._violate(what, name, f"{text} {now - answered_at:.1f} s after {self._fault} had ended")
            if normal_at is None:
                time.sleep(LOOK_SECONDS)
        self._judge_one_replica()
        return normal_at

    def _due_from(self, answered_at: float) -> float:
        """From when the limit counts: the return of what was struck, or the record's acknowledgement if that is later.

        A broker that answers may still be without leaders for its partitions: until it takes a record there is none.
        """
        if self._probe.under_way or self._scene.steady.under_way:
            return time.time()
        return max(answered_at, self._probe.sent[-1].acked_at, self._scene.steady.sent[-1].acked_at)

    def _missing(self) -> dict[str, tuple[str, str]]:
        """What is not normal: by whom, the kind of violation if it lasts, and in words."""
        scene, now = self._scene, time.time()
        found: dict[str, tuple[str, str]] = {}
        if self._probe.under_way or scene.steady.under_way:
            found["records"] = ("late", "records have not been acknowledged")
        elif scene.observer.seen_at < self._probe.sent[-1].acked_at:
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
        if not self._fault.kind.startswith(ONE_REPLICA) or woken_at is None or not self._probe.sent:
            return
        took = woken_at - self._probe.sent[-1].acked_at
        if took > self._limit:
            self._violate(
                "missed-wake", self._probe.name, f"woken {took:.1f} s after its record, by one replica of two"
            )

    def _violate(self, what: str, target: str, text: str) -> None:
        self._violations.append(Violation(what, target, text, self._fault.number))
