"""Leading begins with what the last leader kept."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from activator.errors import WakegateError
from activator.loop.world import WRITE_DEADLINE

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from activator.core.model import TargetRef
    from activator.loop.releasing import Releasing
    from activator.loop.roster import Roster
    from activator.ports import Leadership

LOOK_SECONDS = 1.0
"""How often it is seen whether the lease is held, and what only its holder does is done."""
KEPT_AGAIN_SECONDS = 2.0
"""How often who does not hold it asks for what outlived the last process, where that could not be read."""

_log = logging.getLogger(__name__)


class InformedLeadership:
    """`ports.Leadership` of the loop: the lease counts once what its last holder kept has been read.

    Who acts on less puts to sleep within a cooldown that it knows nothing of, and writes its own idea of where a group
    stands, and of how many replicas a target came with, over what was kept.
    """

    def __init__(self, lease: Leadership) -> None:
        self._lease = lease
        self.informed_at: datetime | None = None
        """When what was kept was last begun to be read with the lease; None: not since it was last seen to be lost."""

    @property
    def is_informed(self) -> bool:
        """Whether nobody else has led since then: it may have been lost and won again between two looks at it."""
        others = self._lease.others_led_until()
        return self.informed_at is not None and (others is None or others <= self.informed_at)

    def holds_lease(self) -> bool:
        """Tell whether the lease is held for as long as a write can take, whatever has been read."""
        return self._lease.remaining() > WRITE_DEADLINE

    def remaining(self) -> timedelta:
        """How much of the lease is surely left; nothing before what was kept has been read."""
        return self._lease.remaining() if self.is_informed else timedelta(0)

    def others_led_until(self) -> datetime | None:
        """When another replica was last seen to hold the lease; None: none ever was."""
        return self._lease.others_led_until()


class Loop(Protocol):
    """What leading asks of the loop."""

    async def restore(self) -> bool:
        """Read what was kept, and tell whether anything can be. Raises DeniedError, UnavailableError."""

    def look(self, ref: TargetRef) -> None:
        """Look at a target now."""


class Leading:
    """Takes up what only a leader does, whenever this replica has become one."""

    def __init__(
        self,
        leadership: InformedLeadership,
        roster: Roster,
        releasing: Releasing,
        loop: Loop,
        now: Callable[[], datetime],
    ) -> None:
        self._leadership = leadership
        self._roster = roster
        self._releasing = releasing
        self._loop = loop
        self._now = now

    async def run(self) -> None:
        """Lead while the lease is held, until cancelled."""
        while True:
            if not self._leadership.holds_lease():
                self._leadership.informed_at = None
            elif not self._leadership.is_informed:
                await self._begin()
            if self._leadership.remaining() > WRITE_DEADLINE:
                await self._releasing.run_due()
            await asyncio.sleep(LOOK_SECONDS)

    async def catch_up(self) -> None:
        """Read what outlived the last process where that failed before, however long it takes, also without the lease.

        Targets that lack a commit cannot be woken by this replica before.
        """
        while True:
            await asyncio.sleep(KEPT_AGAIN_SECONDS)
            if self._roster.is_restored:
                return
            if self._leadership.holds_lease():  # who holds it reads the same to begin to lead
                continue
            try:
                await self._loop.restore()
            except WakegateError as error:
                _log.warning("what outlived the last process cannot be read yet, trying again: %s", error)

    async def _begin(self) -> None:
        """Read what the last leader kept, then do at every target what was the leader's to do."""
        began = self._now()
        try:
            is_kept = await self._loop.restore()
        except WakegateError as error:
            _log.warning("the lease is held, but what was kept could not be read yet, trying again: %s", error)
            return
        # What is still to be given back is what is still kept. Where nothing can be, it is what has come up since
        # another has led: what came up before that he has seen to, and its owner may have scaled it down meanwhile.
        self._releasing.leave_to_others(began if is_kept else self._leadership.others_led_until())
        self._leadership.informed_at = began
        self._roster.mark_refused()
        for ref in self._roster.targets:
            self._loop.look(ref)
