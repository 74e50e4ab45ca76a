"""Image names with a meaning; any other is only a name beside its command."""

from __future__ import annotations

NEVER_READY = "wakegate.test/never-ready"
"""The Pod is bound and stays Pending, as with an image that cannot be pulled."""

PAUSE = "wakegate.test/pause"
"""The Pod is Running and Ready without a process: for a hundred targets on two cores."""
