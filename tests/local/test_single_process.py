"""Where one process is all there is."""

from __future__ import annotations

from datetime import timedelta

from activator.local.single_process import SoleLeader


def test_a_single_process_always_leads() -> None:
    """Without an election there is nobody to wait for, and nobody who did anything before."""
    leader = SoleLeader()
    assert leader.remaining() > timedelta(days=1)
    assert leader.others_led_until() is None
