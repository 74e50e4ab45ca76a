"""What a sample consumer is told by its environment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class ConsumerSettings:
    """The environment that `testbed.consumer` names, parsed."""

    bootstrap_servers: str
    topic: str
    group: str
    ledger: Path
    pod: str
    auto_offset_reset: str
    work_seconds: float
    commit_seconds: float
    group_protocol: str = "classic"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Read the variables.

        Raises:
            KeyError: a required one is missing.
        """
        return cls(
            bootstrap_servers=environment["BOOTSTRAP_SERVERS"],
            topic=environment["TOPIC"],
            group=environment["GROUP"],
            ledger=Path(environment["LEDGER"]),
            pod=environment.get("POD_NAME") or environment.get("HOSTNAME", "local"),
            auto_offset_reset=environment.get("AUTO_OFFSET_RESET", "earliest"),
            work_seconds=int(environment.get("WORK_MS", "0")) / 1000,
            commit_seconds=int(environment.get("COMMIT_MS", "200")) / 1000,
            group_protocol=environment.get("GROUP_PROTOCOL", "classic"),
        )
