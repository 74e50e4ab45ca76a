"""One seed -> which faults strike, in which order, for how long."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault.

    Attributes:
        name: PART-WHAT.
        weight: how many times it is in each round.
        holds: how long it may last, in seconds; one of them is drawn.
        reason: what it stands for.
        grace_seconds: how much later than after others all may be normal, because ours looks no more often than that.
    """

    name: str
    weight: int
    holds: tuple[float, ...]
    reason: str
    grace_seconds: float = 0.0


SECRET_SECONDS = 10.0
"""Secrets are looked at every five seconds, and then Kafka is asked again."""

KINDS = (
    Kind("kafka-node-stop", 5, (1, 4, 8), "a node that stalls; past 3 s its partitions get other leaders"),
    Kind("kafka-node-kill", 2, (0.5, 4), "a node that dies and comes back"),
    Kind("kafka-node-replace", 1, (0.5,), "a node that is rolled in order"),
    Kind("kafka-node-delay", 3, (2, 4), "a slow node: every answer late"),
    Kind("kafka-node-cut", 3, (0, 3), "one node out of our reach, told by a reset"),
    Kind("kafka-node-black-hole", 3, (2, 6), "one node out of our reach, told by nobody"),
    Kind("kafka-stop", 2, (2, 5), "all nodes stall"),
    Kind("kafka-kill", 1, (0.5,), "all nodes die and come back"),
    Kind("kafka-delay", 3, (2, 4), "a slow network to Kafka"),
    Kind("kafka-cut", 3, (0, 3), "Kafka out of our reach, told by a reset"),
    Kind("kafka-black-hole", 3, (2, 6), "Kafka out of our reach, told by nobody"),
    Kind("api-stop", 3, (1, 4), "an API server that stalls"),
    Kind("api-kill", 2, (0.5, 3), "an API server that dies and comes back"),
    Kind("api-delay", 3, (2, 4), "a slow network to the API server"),
    Kind("api-cut", 3, (0, 3), "the API server out of reach of both replicas"),
    Kind("api-black-hole", 3, (2, 6), "the same, told by nobody"),
    Kind("leader-api-cut", 2, (2, 18), "the leader alone cannot reach it; past 15 s the other leads"),
    Kind("leader-api-black-hole", 2, (2, 18), "the same, told by nobody"),
    Kind("etcd-stop", 2, (2, 5), "an API server without its storage"),
    Kind("etcd-kill", 1, (0.5,), "storage that dies and comes back"),
    Kind("controllers-stop", 1, (3,), "no HPA controller, no new Pods"),
    Kind("controllers-kill", 1, (0.5,), "the same, and it begins anew"),
    Kind("kubelet-stop", 1, (3,), "no Pod starts or ends"),
    Kind("leader-stop", 3, (2, 6, 18), "a leader that stalls; past 15 s the other leads, and then it wakes up"),
    Kind("leader-kill", 3, (0.5, 4), "a leader that dies"),
    Kind("leader-replace", 2, (0.5,), "a leader that is rolled in order"),
    Kind("leader-clock", 1, (0.5,), "a leader that comes back with its clock an hour off"),
    Kind("follower-stop", 1, (2, 6), "a follower that stalls"),
    Kind("follower-kill", 1, (0.5,), "a follower that dies"),
    Kind("replicas-kill", 2, (0.5,), "both die"),
    Kind("consumer-kill", 3, (0.5,), "a consumer that dies"),
    Kind("consumer-stop", 3, (2, 8), "a consumer that stalls; past 6 s its group puts it out"),
    # For longer than twice the polling interval: a record before the next look is not promised for (docs/safety.md).
    Kind("offsets-delete", 3, (8,), "the committed offsets of a sleeping group are gone"),
    Kind("credentials-roll", 2, (1, 4), "a password is changed at Kafka, and in its Secret only later", SECRET_SECONDS),
)
"""The nodes' and replicas' own ends, the network between, and what they keep."""

DELAYS_SECONDS = (0.1, 0.4, 1.0)
NODES = 3


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault to come.

    Attributes:
        number: from 1.
        kind: its kind's name.
        node: 1..3, for those that strike one Kafka node.
        hold_seconds: how long it lasts.
        grace_seconds: see its kind.
        delay_seconds: how late each piece of data is, for the slow ones.
        hours: how far a clock is off, for those that set one.
        record_meanwhile: the record that must wake a sleeper is produced while it lasts, not after it.
        choice: 0 <= choice < 1, whom else it strikes.
    """

    number: int
    kind: str
    node: int
    hold_seconds: float
    grace_seconds: float
    delay_seconds: float
    hours: int
    record_meanwhile: bool
    choice: float

    def __str__(self) -> str:
        place = f" node {self.node}" if self.kind.startswith("kafka-node") else ""
        extent = f" by {self.delay_seconds:g} s" if self.kind.endswith("delay") else ""
        extent = f" {self.hours:+d} h" if self.kind.endswith("clock") else extent
        return f"{self.kind}{place}{extent} for {self.hold_seconds:g} s"


def kinds_of(prefix: str) -> list[Kind]:
    """The kinds whose names begin so."""
    return [kind for kind in KINDS if kind.name.startswith(prefix)]


def draw(seed: int, prefix: str = "") -> Iterator[Fault]:
    """Draw faults without end, in rounds: each round has every kind as often as its weight says, shuffled.

    Args:
        seed: of all that is drawn.
        prefix: only kinds whose names begin so; there must be one.
    """
    dice = random.Random(seed)  # noqa: S311 - repeatable, nothing secret
    number = 0
    while True:
        round_ = [kind for kind in kinds_of(prefix) for _ in range(kind.weight)]
        dice.shuffle(round_)
        for kind in round_:
            number += 1
            yield Fault(
                number=number,
                kind=kind.name,
                node=dice.randint(1, NODES),
                hold_seconds=dice.choice(kind.holds),
                grace_seconds=kind.grace_seconds,
                delay_seconds=dice.choice(DELAYS_SECONDS),
                hours=dice.choice((-1, 1)),
                record_meanwhile=dice.random() < 0.5,  # noqa: PLR2004 - as often as not
                choice=dice.random(),
            )
