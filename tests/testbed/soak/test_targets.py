"""Who is woken, and what is known of what was read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testbed.api import ApiClient
from testbed.kubeconfig import Credentials
from testbed.soak.oracle import Sent
from testbed.soak.targets import Ledger, Observer, Target, choose_sleeper

if TYPE_CHECKING:
    from pathlib import Path

LINE = (
    '{{"at": "2026-01-01T00:00:0{second}+00:00", "event": "record", "pod": "a", "partition": 0, "offset": {offset}}}\n'
)


def test_a_ledger_is_read_on(tmp_path: Path) -> None:
    """Only what is new is parsed, and a line that is still being written waits for its end."""
    path = tmp_path / "orders.ledger"
    found = Ledger(path)
    found.read_on()
    assert found.entries == []
    path.write_text(LINE.format(second=1, offset=0) + LINE.format(second=2, offset=1)[:20])
    found.read_on()
    assert list(found.read_at) == [(0, 0)]
    with path.open("a") as more:
        more.write(LINE.format(second=2, offset=1)[20:] + LINE.format(second=3, offset=0))
    found.read_on()
    assert len(found.entries) == 3
    assert found.read_at[0, 1] - found.read_at[0, 0] == 1, "the first reading of a record counts"


def test_records_that_a_target_has_not_read(tmp_path: Path) -> None:
    """Acknowledged ones that its ledger does not have."""
    path = tmp_path / "orders.ledger"
    path.write_text(LINE.format(second=1, offset=0))
    target = Target("orders", "orders", 1, Ledger(path), sent=[Sent(0, 0, 5.0), Sent(0, 1, 6.0)])
    assert target.unread(2_000_000_000.0) == [Sent(0, 1, 6.0)]


@pytest.fixture
def observer() -> Observer:
    """An observer that has seen some replicas and looks no more."""
    made = Observer(ApiClient(Credentials("https://127.0.0.1:1", "", "")), "case")
    made.replicas = {"awake": 1, "settled": 0, "fresh": 0, "deep": 0}
    made.since = {"awake": 0.0, "settled": 90.0, "fresh": 100.0, "deep": 70.0}
    return made


def target(name: str, *, deep: bool = False) -> Target:
    """A target without a ledger."""
    return Target(name, name, 1, None, deep)


def test_who_is_woken(observer: Observer) -> None:
    """One that has settled; a deep sleeper not before its offsets are forgotten, and then first of all."""
    targets = [target("awake"), target("settled"), target("fresh"), target("deep", deep=True)]
    chosen = [
        choose_sleeper(targets, observer, 0.99, 100.0, settled_seconds=2, expired_seconds=expired)
        for expired in (60, 20)
    ]
    assert [one and one.name for one in chosen] == ["settled", "deep"]
    assert choose_sleeper(targets[:1], observer, 0.0, 100.0, settled_seconds=2, expired_seconds=60) is None
