"""A recorder that keeps what it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from activator.core.model import BatchRead, EpisodePhase, Evaluation, Notice, Outcome

if TYPE_CHECKING:
    from activator.core.model import Fact, TargetRef


@dataclass
class FakeRecorder:
    """Recorder: a list of facts, in order."""

    facts: list[Fact] = field(default_factory=list)

    def record(self, fact: Fact) -> None:
        """Take one fact."""
        self.facts.append(fact)

    @property
    def evaluations(self) -> list[Evaluation]:
        """Every evaluation, in order."""
        return [fact for fact in self.facts if isinstance(fact, Evaluation)]

    @property
    def applied(self) -> list[Evaluation]:
        """The evaluations that changed a count."""
        return [fact for fact in self.evaluations if fact.outcome is Outcome.APPLIED]

    @property
    def batches(self) -> list[BatchRead]:
        """Every batch read."""
        return [fact for fact in self.facts if isinstance(fact, BatchRead)]

    @property
    def episodes(self) -> list[EpisodePhase]:
        """Every stretch of an episode."""
        return [fact for fact in self.facts if isinstance(fact, EpisodePhase)]

    @property
    def notices(self) -> list[Notice]:
        """Every notice."""
        return [fact for fact in self.facts if isinstance(fact, Notice)]

    def evaluations_of(self, ref: TargetRef) -> list[Evaluation]:
        """The evaluations of one target."""
        return [fact for fact in self.evaluations if fact.ref == ref]
