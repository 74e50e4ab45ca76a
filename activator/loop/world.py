"""What the loop is given: the ports, the clock and the maker of ids."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from activator.core.model import Handover

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from activator.core.model import Policy, TargetRef, TraceIds
    from activator.errors import SpecError
    from activator.ports import (
        GroupOffsets,
        Handoff,
        LagReader,
        Leadership,
        MetricStore,
        Recorder,
        Scaler,
        StateStore,
        TargetCatalog,
        WakeSource,
    )

WRITE_DEADLINE = timedelta(seconds=5)
"""What a write may take at most. A leader writes only while its lease has more left than this: a write that is sent
later could still be on its way when somebody else leads."""


@dataclass(frozen=True, slots=True)
class World:
    """Every port, once."""

    catalog: TargetCatalog
    reader: LagReader
    wakes: WakeSource
    scaler: Scaler
    handoff: Handoff
    leadership: Leadership
    metrics: MetricStore
    states: StateStore
    recorder: Recorder
    now: Callable[[], datetime]
    """Aware UTC that never goes back."""
    new_ids: Callable[[str | None], TraceIds]
    """Ids of a new span, in the trace whose id is given or in a new one."""
    parse: Callable[[Mapping[str, str], TargetRef], tuple[Policy | None, tuple[SpecError, ...]]]
    """Annotations of a workload -> policy, with the operator's defaults: for the last valid ones that were kept."""
    group_offsets: GroupOffsets | None = None
    """None: nobody commits for groups without members, as if every target had `offset-guard: off`."""
    background_offsets: GroupOffsets | None = None
    """The same, over connections of their own: no lag read and no wake stands behind what is asked here."""
    auto_handoff: Callable[[], Handover | None] = lambda: Handover.HPA
    """Who moves 1..N of targets with hand-off `auto`: HPA where the cluster's external metrics API leads to us, else
    DIRECT; None: not known yet, so what was settled before stays."""

    def leads(self) -> bool:
        """Tell whether this replica may put to sleep and write, for as long as one write can take."""
        return self.leadership.remaining() > WRITE_DEADLINE
