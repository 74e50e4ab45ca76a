"""Case 3: killed at any moment and started again, or with a second replica beside it: the same end state."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from testbed import ledger
from testbed.stage import Stage, Wakegate, install_crd, remove_crd, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.stage import Consumer

pytestmark = pytest.mark.real


def killed_and_started(wakegate: Wakegate) -> None:
    """SIGKILL it and start it again."""
    wakegate.process.kill()
    wakegate.start()


def test_killed_while_asleep_while_waking_and_during_cooldown(stage: Stage) -> None:
    """Three times SIGKILL: the same end state, last active kept to 30 s, one HPA, no record skipped."""
    wakegate = stage.wakegate()
    wakegate.start()
    consumer = stage.consumer(cooldown_period="12", polling_interval="5")
    until("it sleeps", consumer.asleep, 60)

    killed_and_started(wakegate)
    stage.produce(consumer)
    until("woken after a restart while asleep", lambda: consumer.replicas() == 1, 5)

    killed_and_started(wakegate)  # while its first Pod comes up
    until("the record is consumed", lambda: consumer.consumed() == 1, 30)
    active = until("it is awake and says when it was active", lambda: consumer.scale_target().get("lastActive"), 30)

    stage.produce(consumer, 5)
    until("they are consumed", lambda: consumer.consumed() == 6, 30)
    killed_and_started(wakegate)  # in the middle of its cooldown
    kept = datetime.fromisoformat(consumer.scale_target()["lastActive"])
    assert kept >= datetime.fromisoformat(active) - timedelta(seconds=1)
    started_again = consumer.entries()[-1].at
    until("it sleeps again", lambda: consumer.replicas() == 0, 60)
    asleep_at = consumer.put_to(0)
    assert asleep_at - started_again < timedelta(seconds=12 + 5 + 2), "a restart began the cooldown again"
    assert len(stage.hpas()) == 1
    assert ledger.missing(consumer.entries(), {0: 2, 1: 1, 2: 1, 3: 1, 4: 1}) == []


@pytest.fixture
def without_crd(stage: Stage) -> Iterator[Stage]:
    """A stage on a cluster without the ScaleTarget CRD."""
    remove_crd(stage.bed)
    yield stage
    install_crd(stage.bed)


def test_without_the_crd_a_restart_begins_a_fresh_cooldown(without_crd: Stage) -> None:
    """Without the CRD it works: one HPA, and a restart in the middle of a cooldown begins another one."""
    stage = without_crd
    wakegate = stage.wakegate()
    wakegate.start()
    consumer = stage.consumer(cooldown_period="8", polling_interval="5")
    until("it sleeps", consumer.asleep, 60)
    killed_and_started(wakegate)
    stage.produce(consumer)
    until("woken after a restart while asleep", lambda: consumer.replicas() == 1, 5)
    until("consumed", lambda: consumer.consumed() == 1, 30)
    before = consumer.entries()[-1].at
    killed_and_started(wakegate)
    until("it sleeps again", lambda: consumer.replicas() == 0, 60)
    asleep_at = consumer.put_to(0)
    assert asleep_at - before >= timedelta(seconds=8)
    assert len(stage.hpas()) == 1


def test_the_leader_is_killed_as_the_record_arrives(stage: Stage) -> None:
    """With two replicas: awake within two seconds, and exactly one 200 to a wake PATCH in the audit log."""
    leader = stage.wakegate("wakegate-a")
    leader.start()
    consumer = stage.consumer(cooldown_period="4", polling_interval="300")
    follower = stage.wakegate("wakegate-b")
    follower.start()
    until("it sleeps", consumer.asleep, 60)
    until("the follower watches its topic", lambda: follower.watched() == 5, 30)
    leader.process.kill()
    stage.produce(consumer)
    until("awake without the leader", lambda: consumer.replicas() == 1, 2)
    until("consumed", lambda: consumer.consumed() == 1, 30)
    assert wakes(consumer) == [200]


def test_two_replicas_send_one_wake(stage: Stage) -> None:
    """With both alive the leader wakes, and the other sends nothing that succeeds."""
    leader = stage.wakegate("wakegate-a")
    leader.start()
    consumer = stage.consumer(cooldown_period="4", polling_interval="300")
    follower = stage.wakegate("wakegate-b")
    follower.start()
    until("it sleeps", consumer.asleep, 60)
    until("the follower watches its topic", lambda: follower.watched() == 5, 30)
    stage.produce(consumer)
    until("consumed", lambda: consumer.consumed() == 1, 30)
    assert wakes(consumer) == [200]


def wakes(consumer: Consumer) -> list[int]:
    """Statuses of the writes to its /scale that asked for one replica and succeeded."""
    return [
        event.status
        for event in consumer.scale_writes()
        if event.requested_replicas == 1 and event.user_agent.startswith("wakegate") and event.status == 200
    ]
