"""What a fault has done whose answer was lost."""

from __future__ import annotations

from concurrent.futures import Future
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from confluent_kafka import KafkaException

from testbed.errors import TestbedError
from testbed.soak import effects
from testbed.soak.effects import NotPossibleError
from testbed.soak.plan import Fault
from testbed.soak.targets import Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from testbed.soak.scene import Scene
    from tests.testbed.soak.fake_scene import Clock

PROBE = Target("orders", "orders", 1, None)


class FakeKafka:
    """Offsets of one group, an admin client, a user's password, and a network that the Secret is written over.

    Attributes:
        offsets: that the group has; None: there is no such group.
        silent: how many of the next changes have no answer.
        done: whether those are made all the same.
    """

    def __init__(self, *, silent: int = 0, done: bool = True) -> None:
        self.offsets: dict[int, int] | None = {0: 5}
        self.silent = silent
        self.done = done
        self.password = self.secret = "soak-0"
        self.kafka = self.network = self
        self.secured_proxies: list[object] = []

    def admin(self) -> FakeKafka:
        """Return what asks Kafka."""
        return self

    def list_consumer_group_offsets(self, _: object, **__: object) -> dict[str, Future[Any]]:
        """Tell what is committed."""
        if self.offsets is None:
            return {"orders": failing(KafkaException("GROUP_ID_NOT_FOUND"))}
        places = [SimpleNamespace(partition=number, offset=offset) for number, offset in self.offsets.items()]
        return {"orders": answered(SimpleNamespace(topic_partitions=places))}

    def delete_consumer_groups(self, _: object, **__: object) -> dict[str, Future[Any]]:
        """Delete the group."""
        return {"orders": self._change(lambda: setattr(self, "offsets", None))}

    def change_password(self, password: str) -> None:
        """Let the user in with this one only."""
        self._change(lambda: setattr(self, "password", password)).result()

    def write_secret(self, password: str) -> None:
        """What ours logs in with."""
        self.secret = password

    def turn(self, *_: object) -> None:
        """The network is as it was."""

    def _change(self, act: Callable[[], None]) -> Future[Any]:
        if not self.silent:
            act()
            return answered(None)
        self.silent -= 1
        if self.done:
            act()
        return failing(TimeoutError())


def answered(value: object) -> Future[Any]:
    """Return an answer that is there."""
    future: Future[Any] = Future()
    future.set_result(value)
    return future


def failing(error: Exception) -> Future[Any]:
    """Return an error that is there."""
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def strike(kafka: FakeKafka, kind: str) -> Callable[[], None]:
    """Strike with one kind; returns what undoes it."""
    fault = Fault(7, kind, 1, 1.0, 0.0, 0.1, 1, record_meanwhile=False, choice=0.0)
    return effects.strike(cast("Scene", kafka), fault, PROBE)


def test_a_group_that_is_deleted(clock: Clock) -> None:
    """Its offsets must be there again before the fault is over."""
    kafka = FakeKafka()
    undo = strike(kafka, "offsets-delete")
    clock.at(clock.now + 3.0, lambda: setattr(kafka, "offsets", {0: 5}))
    undo()
    strike(kafka, "offsets-delete")
    with pytest.raises(AssertionError, match="are there again"):
        undo()


@pytest.mark.usefixtures("clock")
def test_a_group_that_was_deleted_without_an_answer_is_struck() -> None:
    """Whether ours has its offsets again is asked all the same."""
    undo = strike(FakeKafka(silent=1), "offsets-delete")
    with pytest.raises(AssertionError, match="are there again"):
        undo()


@pytest.mark.parametrize("offsets", [{}, None])
def test_a_group_without_offsets_has_nothing_to_strike(offsets: dict[int, int] | None) -> None:
    """Nothing could be missed of it afterwards."""
    kafka = FakeKafka()
    kafka.offsets = offsets
    with pytest.raises(NotPossibleError):
        strike(kafka, "offsets-delete")


def test_a_group_that_was_not_deleted_was_not_struck() -> None:
    """Refused, or lost on its way there: it has what it had."""
    with pytest.raises(NotPossibleError, match="TimeoutError"):
        strike(FakeKafka(silent=1, done=False), "offsets-delete")


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("done", [True, False])
def test_a_password_whose_change_has_no_answer_is_changed_again(*, done: bool) -> None:
    """Until it has one: else ours would be locked out for good, or be given a password that Kafka does not know."""
    kafka = FakeKafka(silent=2, done=done)
    undo = strike(kafka, "credentials-roll")
    assert (kafka.password, kafka.secret) == ("soak-7", "soak-0")
    undo()
    assert kafka.secret == "soak-7"


@pytest.mark.usefixtures("clock")
def test_a_kafka_that_never_says_whether_the_password_is_changed() -> None:
    """Nobody knows with which one to log in: no fault after it would say anything of ours."""
    with pytest.raises(TestbedError, match="Kafka has changed the password"):
        strike(FakeKafka(silent=1_000_000), "credentials-roll")
