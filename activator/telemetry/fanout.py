"""One fact, many recorders: each gets it, and none can hurt another or the caller."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from activator.core.model import Fact
    from activator.ports import Recorder

log = logging.getLogger(__name__)


class FanOut:
    """`ports.Recorder` that hands each fact to others, in their order."""

    def __init__(self, recorders: Iterable[Recorder]) -> None:
        self._recorders = tuple(recorders)
        self._failed: set[tuple[type, type]] = set()

    def record(self, fact: Fact) -> None:
        """Hand on one fact; a recorder that fails is told of once for each kind of error, and keeps being asked."""
        for recorder in self._recorders:
            try:
                recorder.record(fact)
            except Exception as error:
                kind = (type(recorder), type(error))
                if kind not in self._failed:
                    self._failed.add(kind)
                    log.exception(
                        "%s could not record a %s; decisions go on, further errors of this kind are not logged",
                        type(recorder).__name__,
                        type(fact).__name__,
                    )
