"""What the replicas have said, from their logs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from testbed.soak.scene import Scene

if TYPE_CHECKING:
    from pathlib import Path

LINES = """\
12:00:00 INFO Deployment shop/orders: OffsetsRestored: group orders on orders had no committed offset any more
12:00:01 INFO Deployment shop/orders: applied 0 -> 1 (lag): something about OffsetsRestored
12:00:02 INFO Deployment shop/orders: OffsetsPinned: group orders on orders has never committed there
"""


def test_what_was_told_is_counted_over_all_replicas(tmp_path: Path) -> None:
    """Each line that begins so, whoever of them led."""
    scene = Scene()
    replicas: list[Any] = []
    for name in ("wakegate-a", "wakegate-b"):
        log = tmp_path / f"{name}.log"
        log.write_text(LINES)
        replicas.append(SimpleNamespace(process=SimpleNamespace(log=log)))
    scene.replicas = replicas
    assert [scene.told(reason) for reason in ("OffsetsRestored", "OffsetsPinned", "WokenWithoutOffsets")] == [2, 2, 0]
