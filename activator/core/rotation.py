"""When a serving certificate is renewed, and in which order, so that at no moment a client meets one it cannot verify.

A generation is one CA and the one certificate that it ever signed. Several processes show the certificate, clients are
given a bundle of CAs, and neither learns of a change at once. So a new generation is first staged: its CA goes into the
bundle beside the old one. Once everybody has had time to learn that, it is shown. The old CA stays in the bundle until
its certificate has expired, because a process that could not be told may go on showing it for so long.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

_LONGEST_SETTLE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Term:
    """From when until when a generation holds."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Issued:
    """A generation as it is made; all PEM. The CA's own key is kept by nobody."""

    chain: str
    """The certificate, then its CA."""
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says of itself."""

    pem: str
    term: Term
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class RotationTimes:
    """How long a generation holds; everything else follows from it, so that a short one is rotated as a long one is."""

    lifetime: timedelta = timedelta(days=90)

    @property
    def renewal(self) -> timedelta:
        """After so long the next generation is staged: a third of the lifetime is left for outages."""
        return self.lifetime * 2 / 3

    @property
    def settle(self) -> timedelta:
        """How long after a change everybody has learnt of it: several looks, and an API server's own watch."""
        return min(_LONGEST_SETTLE, self.lifetime / 12)

    @property
    def look(self) -> timedelta:
        """How often everybody looks."""
        return self.settle / 3


class Action(StrEnum):
    """What the one who rotates does next."""

    ISSUE = "issue"
    """Make a generation and show it at once: there is none that anybody could verify, so nothing is lost."""
    PUBLISH = "publish"
    """Give clients the bundle."""
    STAGE = "stage"
    """Make the next generation and put its CA into the bundle."""
    SHOW = "show"
    """Show the staged generation."""
    PRUNE = "prune"
    """Take CAs out of the bundle whose certificates have expired."""
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Seen:
    """What is there.

    Attributes:
        shown: the generation that is shown; None: there is none.
        staged: the one that is to follow.
        retired: CAs in the bundle that belong to neither.
        published_since: since when clients have had the whole bundle; None: they have not.
    """

    shown: Term | None
    staged: Term | None = None
    retired: tuple[Term, ...] = ()
    published_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now, and when to look again where nothing else calls for it."""

    action: Action
    look_again_at: datetime


def plan(seen: Seen, times: RotationTimes, now: datetime) -> Plan:
    """Return the one next thing to do; after it, look again at once."""
    action, then = _next(seen, times, now)
    later = now + times.look
    return Plan(action, now if action is not Action.WAIT else min(then, later) if then is not None else later)


def _next(seen: Seen, times: RotationTimes, now: datetime) -> tuple[Action, datetime | None]:
    """Return what to do and, for WAIT, when there will be something."""
    if seen.shown is None or seen.shown.until <= now:
        # Everything expired while nobody led, perhaps the staged one too.
        return (Action.SHOW if seen.staged is not None and now < seen.staged.until else Action.ISSUE), None
    if seen.published_since is None:
        return Action.PUBLISH, None
    if seen.staged is not None:
        settled_at = seen.published_since + times.settle
        return (Action.SHOW, None) if settled_at <= now else (Action.WAIT, settled_at)
    renewal_at = seen.shown.since + times.renewal
    if renewal_at <= now:
        return Action.STAGE, None
    if any(term.until <= now for term in seen.retired):
        return Action.PRUNE, None
    return Action.WAIT, min([renewal_at, *(term.until for term in seen.retired)])
