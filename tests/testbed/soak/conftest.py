"""The soak on a clock of its own."""

from __future__ import annotations

import pytest

from tests.testbed.soak.fake_scene import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Let time pass for a strike, a run and what they wait for only where they sleep."""
    made = Clock()
    for module in ("testbed.soak.strike", "testbed.soak.run", "testbed.stage"):
        monkeypatch.setattr(f"{module}.time", made)
    return made
