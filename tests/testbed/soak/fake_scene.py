"""A scene without parts, on a clock that a test moves."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Self

from testbed import ledger
from testbed.api import ApiClient
from testbed.audit import AuditEvent
from testbed.kubeconfig import Credentials
from testbed.soak.oracle import Sent
from testbed.soak.targets import Ledger, Observer, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from testbed.stage import Wakegate


AWAKE_SECONDS = 3.0
NOWHERE = Path("/nowhere")


class Clock:
    """Stands for the module `time`: it passes where it is slept."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self._due: list[tuple[float, Callable[[], None]]] = []

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Have something happen then."""
        self._due.append((when, act))

    def time(self) -> float:
        """Seconds since the epoch."""
        return self.now

    def monotonic(self) -> float:
        """The same."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Be later."""
        self.now += seconds
        due, self._due = self._due, []
        for when, act in due:
            if when <= self.now:
                act()
            else:
                self.at(when, act)


@dataclass
class FakeScene:
    """One sleeper, one target with a standing lag, one replica; what does not work is said.

    Who wakes reads at once, and sleeps again three seconds later.
    """

    clock: Clock
    wakes: bool = True
    reads: bool = True
    sleeps: bool = True
    takes: bool = True
    """Kafka acknowledges records; else they stay under way."""
    refuses: str = ""
    """The target whose records Kafka refuses."""
    sleepers: list[Target] = field(default_factory=lambda: [Target("orders", "orders", 1, Ledger(NOWHERE))])
    steady: Target = field(default_factory=lambda: Target("steady", "steady", 1, None))

    def __post_init__(self) -> None:
        """The sleeper has been put to sleep."""
        self.observer = Observer(ApiClient(Credentials("https://127.0.0.1:1", "", "")), "case")
        self.observer.replicas = {"orders": 0, "steady": 1}
        self.observer.since = {"orders": 0.0, "steady": 0.0}
        self.sender = self
        self.replicas = [SimpleNamespace(process=SimpleNamespace(name="wakegate-a"))]
        self.targets = [*self.sleepers, self.steady]
        self.bed = SimpleNamespace(run_directory=NOWHERE)
        self.stage = SimpleNamespace(namespace="case")
        self.plane = self
        self.failures: list[str] = []
        self.tells: dict[str, int] = {}
        self.audited: list[AuditEvent] = []
        self._sleep()

    def send(self, target: Target, count: int = 1) -> None:
        """Have records acknowledged at once, and the sleeper woken."""
        if not self.takes:
            target.under_way += count
            return
        if self.refuses == target.name:
            target.refused += count
            return
        now = self.clock.now
        target.sent += [Sent(0, len(target.sent) + number, now) for number in range(count)]
        if target.name == "orders" and self.wakes:
            self._wake(target)
        self.observer.seen_at = now + 3600.0

    def see(self, name: str, count: int) -> None:
        """Have a target seen with so many replicas."""
        self.observer.replicas = {**self.observer.replicas, name: count}
        self.observer.since[name] = self.clock.now

    def end_flow(self) -> None:
        """Nothing flows here."""

    def told(self, reason: str) -> int:
        """How often the replicas have said something."""
        return self.tells.get(reason, 0)

    def ends(self, target: Target) -> dict[int, int]:
        """End offsets."""
        return {0: len(target.sent)}

    def audit_events(self) -> Iterator[AuditEvent]:
        """Every PATCH to zero."""
        yield from self.audited

    def _wake(self, target: Target) -> None:
        now = self.clock.now
        self.see("orders", 1)
        self.observer.woke_at["orders"] = now
        assert target.ledger is not None
        for record in target.sent[len(target.ledger.read_at) :]:
            target.ledger.read_at[record.place] = now
            at = datetime.fromtimestamp(now, UTC)
            target.ledger.entries.append(ledger.Entry(at, "record", "a", record.partition, record.offset))
        if self.sleeps:
            self.clock.at(now + AWAKE_SECONDS, self._sleep)

    def _sleep(self) -> None:
        self.see("orders", 0)
        at = datetime.fromtimestamp(self.clock.now, UTC)
        self.audited.append(
            AuditEvent(
                user="wakegate",
                user_agent="wakegate/1",
                verb="patch",
                group="apps",
                resource="deployments",
                subresource="scale",
                namespace="case",
                name="orders",
                status=200,
                received_at=at,
                completed_at=at,
                request={"spec": {}},
                response={},
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def served(self, _: Wakegate) -> int:
        """The lag of the steady target, or one that was read before."""
        return len(self.steady.sent) if self.reads else 0
