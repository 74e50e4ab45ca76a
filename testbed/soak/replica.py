"""`wakegate`, started as on a machine whose clock is off: SOAK_CLOCK_OFFSET_SECONDS is added to what it reads.

The machine's own clock is left alone. Ours reads the wall clock once, at its start (`activator.wiring.parts.Clock`):
a clock that is stepped later cannot be seen by it, one that was wrong at the start can.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta

from activator.cli import main
from activator.wiring import parts, run


class OffClock(parts.Clock):
    """A clock that is off."""

    def __init__(self) -> None:
        super().__init__()
        self._wall += timedelta(seconds=float(os.environ.get("SOAK_CLOCK_OFFSET_SECONDS", "0")))


if __name__ == "__main__":
    # The one seam that needs no machine whose clock may be set.
    vars(run)["Clock"] = OffClock
    sys.exit(main())
