"""Everything that may go wrong, as one table: a room for each of those it happens to."""

from __future__ import annotations

from tests.world.faults import aimed, api_server, kafka, processes, workloads
from tests.world.faults.table import FAULTS, Fault, Phase, Scope, nothing

__all__ = ["FAULTS", "Fault", "Phase", "Scope", "aimed", "api_server", "kafka", "nothing", "processes", "workloads"]
