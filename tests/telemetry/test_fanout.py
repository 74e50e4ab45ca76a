"""One fact reaches every recorder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.telemetry.fanout import FanOut
from tests.fakes.facts import evaluation

if TYPE_CHECKING:
    import pytest

    from activator.core.model import Fact


class Remembering:
    """A recorder that keeps what it gets."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []

    def record(self, fact: Fact) -> None:
        """Keep it."""
        self.facts.append(fact)


class Broken:
    """A recorder that always fails."""

    def record(self, fact: Fact) -> None:
        """Fail."""
        raise RuntimeError(f"no room for a {type(fact).__name__}")


def test_a_broken_recorder_hurts_nobody_and_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the others nor the loop that records may suffer, however often it fails."""
    before, after = Remembering(), Remembering()
    fan_out = FanOut([before, Broken(), after])
    facts: list[Fact] = [evaluation(second) for second in range(3)]
    for fact in facts:
        fan_out.record(fact)
    assert before.facts == after.facts == facts
    assert len(caplog.records) == 1
    assert "Broken could not record a Evaluation" in caplog.text
