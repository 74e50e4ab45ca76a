"""A leader that is killed in the middle of fifty wakes, and one that is stopped in the middle of a dozen sleeps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from testbed.stage import holds, until

if TYPE_CHECKING:
    from testbed.audit import AuditEvent
    from testbed.stage import Stage

pytestmark = pytest.mark.real

WAKES = 50
AWAKE_WITHIN_SECONDS = 10.0
SLEEPS = 12
LEASE_SECONDS = 15
SERVER_SLACK = timedelta(seconds=2)
"""How late the API server reads a request that was written, and notices that nobody waits for its answer.

On a busy machine it once read eight milliseconds after the kill what the dead leader had written before it.
"""


class Fleet:
    """Quiet targets of one stage: a topic of one partition and one Deployment each."""

    def __init__(self, stage: Stage, count: int, **annotations: str) -> None:
        self.stage = stage
        self.names = [f"quiet-{number:02d}" for number in range(count)]
        for name in self.names:
            stage.quiet_target(name, **annotations)
        self._producer = Producer({"bootstrap.servers": stage.bed.kafka.bootstrap_servers, "linger.ms": 0})

    def produce(self, name: str) -> None:
        """Produce one record for a target and wait until it is acknowledged."""
        failures: list[object] = []
        self._producer.produce(
            f"{self.stage.namespace}-{name}",
            value=b"1",
            on_delivery=lambda error, _: failures.append(error) if error else None,
        )
        assert self._producer.flush(10) == 0
        assert failures == []

    def replicas(self) -> dict[str, int]:
        """spec.replicas of each."""
        path = f"/apis/apps/v1/namespaces/{self.stage.namespace}/deployments"
        found = self.stage.api.get(path)["items"]
        return {item["metadata"]["name"]: int(item["spec"].get("replicas", 0)) for item in found}

    def generations(self) -> dict[str, int]:
        """metadata.generation of each: it counts the changes of its spec."""
        path = f"/apis/apps/v1/namespaces/{self.stage.namespace}/deployments"
        return {item["metadata"]["name"]: item["metadata"]["generation"] for item in self.stage.api.get(path)["items"]}

    def asleep(self) -> bool:
        """Whether all are at zero."""
        return set(self.replicas().values()) == {0}

    def awake(self) -> bool:
        """Whether none is at zero."""
        return 0 not in self.replicas().values()

    def writes(self, count: int, since: datetime) -> list[AuditEvent]:
        """Writes to a /scale of the fleet that asked for a count, received since a moment, however answered."""
        return [
            event
            for event in self.stage.bed.control_plane.audit_events()
            if event.is_scale_write
            and event.namespace == self.stage.namespace
            and event.requested_replicas == count
            and event.received_at >= since
        ]


def test_the_leader_is_killed_during_fifty_wakes(stage: Stage) -> None:
    """All fifty are awake within ten seconds of their record, each changed once, by one PATCH that was answered 200.

    But for those that were on their way as the leader died: the API server has nobody to answer then and logs 504,
    whether or not the change was made. Where it was, the other replica is told 409; where not, its PATCH is the one.
    """
    leader = stage.wakegate("wakegate-a")
    leader.start()
    follower = stage.wakegate("wakegate-b")
    follower.start()
    fleet = Fleet(stage, WAKES, cooldown_period="4", polling_interval="300", initial_cooldown_period="4")
    until("all sleep", fleet.asleep, 120)
    until("the follower watches all topics", lambda: follower.watched() == WAKES, 60)
    before = fleet.generations()
    began = wall_clock()
    killed = None
    for number, name in enumerate(fleet.names):
        fleet.produce(name)
        if number == WAKES // 3:
            leader.process.kill()
            killed = wall_clock()
    assert killed is not None
    until("all are awake", fleet.awake, AWAKE_WITHIN_SECONDS)
    after = fleet.generations()
    assert {name: after[name] - before[name] for name in fleet.names} == dict.fromkeys(fleet.names, 1)
    # A change can be seen before the request that made it is logged.
    until("the log tells of each", lambda: {event.name for event in fleet.writes(1, began)} == set(fleet.names), 10)
    answers: dict[str, list[AuditEvent]] = {name: [] for name in fleet.names}
    for event in fleet.writes(1, began):
        answers[event.name].append(event)
    unanswered = []
    for name, events in answers.items():
        successes = [event for event in events if event.status == HTTPStatus.OK]
        assert len(successes) <= 1, name
        if not successes:
            lost = [event for event in events if event.status == HTTPStatus.GATEWAY_TIMEOUT]
            assert any(was_under_way(event, killed) for event in lost), f"killed {killed:%H:%M:%S.%f}: {shown(events)}"
            unanswered.append(name)
    assert len(unanswered) < WAKES // 2, unanswered


def test_a_leader_that_was_stopped_past_its_lease_puts_nothing_to_sleep(stage: Stage) -> None:
    """Stopped amid a dozen sleeps and continued when another leads: it sends no more sleep PATCH; all stay awake."""
    old = stage.wakegate("wakegate-a")
    old.start()
    until("it leads", lambda: stage.leader() == "wakegate-a", 30)
    new = stage.wakegate("wakegate-b")
    new.start()
    began = wall_clock()
    fleet = Fleet(stage, SLEEPS, cooldown_period="10", polling_interval="5", initial_cooldown_period="10")
    until("the first goes to sleep", lambda: 0 in fleet.replicas().values(), 60)
    old.process.pause()
    for name in fleet.names:
        fleet.produce(name)
    until("another leads", lambda: stage.leader() == "wakegate-b", LEASE_SECONDS + 30)
    until("those that slept are awake", fleet.awake, 30)
    continued = wall_clock()
    old.process.resume()
    holds("all stay awake", fleet.awake, 15)
    assert fleet.writes(0, began), "there was a sleep to be in the middle of"
    assert shown(fleet.writes(0, continued)) == []
    until("it goes on as a follower", old.is_ready, 30)


def was_under_way(event: AuditEvent, killed: datetime) -> bool:
    """Whether a request can have been on its way as its sender was killed."""
    return event.received_at - SERVER_SLACK < killed < event.completed_at + SERVER_SLACK


def wall_clock() -> datetime:
    """What the audit log's times are compared with: the API server is on this machine."""
    return datetime.now(UTC)  # noqa: TID251 - a real clock for a real log


def shown(events: list[AuditEvent]) -> list[str]:
    """Writes as a failed assertion should show them."""
    return [
        f"{event.name} {event.status} {event.received_at:%H:%M:%S.%f} {event.completed_at:%H:%M:%S.%f}"
        for event in events
    ]
