"""What goes wrong with processes of wakegate: they die, stand still, lose the Lease, have a wrong clock."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tests.fakes.api_server import unreachable
from tests.world.faults.table import End, Scope, fault
from tests.world.kubernetes import Trouble
from tests.world.scheduler import seeded_loop

if TYPE_CHECKING:
    from tests.world.strikes import Hit


@fault("process", Scope.ALL, lasts=(1, 40))
def _crashes(hit: Hit) -> End:
    """A process dies at some await, and another one is started in its place."""
    victim = hit.dice.choice(hit.world.running() or hit.world.processes)
    hit.world.light_fuse(victim, hit.dice.choice((0, 1, 2, 5, 10, 30, 100)))
    return lambda: hit.world.replace(victim)


@fault("process", Scope.ALL, lasts=(1, 20))
def _clock_is_ahead(hit: Hit) -> End:
    """A process is replaced by one whose clock is an hour ahead."""
    return _wrong_clock(hit, timedelta(hours=1))


@fault("process", Scope.ALL, lasts=(1, 20))
def _clock_is_behind(hit: Hit) -> End:
    """A process is replaced by one whose clock is an hour behind."""
    return _wrong_clock(hit, timedelta(hours=-1))


def _wrong_clock(hit: Hit, offset: timedelta) -> End:
    victim = hit.dice.choice(hit.world.running() or hit.world.processes)
    hit.world.light_fuse(victim, 0)
    return lambda: hit.world.replace(victim, clock_offset=offset)


@fault("process", Scope.ALL, lasts=(5, 40))
def _stalls(hit: Hit) -> End:
    """A process stands still for up to 40 s, and goes on as if nothing had been."""
    victim = hit.dice.choice(hit.world.running() or hit.world.processes)
    seeded_loop().stall(victim.process, hit.strike.lasts_seconds)
    return lambda: None


@fault("process", Scope.LEASE, lasts=(10, 60))
def _lease_is_lost(hit: Hit) -> End:
    """The holder cannot renew its Lease, while everything else goes through, and a record comes for a sleeper."""
    holder = hit.world.server.lease.holder or hit.world.processes[0].process.name
    seeded_loop().later(0.8 * hit.strike.lasts_seconds, hit.tempt_a_sleeper)
    return hit.trouble(Trouble(frozenset({"lease"}), "refused", unreachable, process=holder))


@fault("process", Scope.ALL, lasts=(20, 90))
def _second_leader(hit: Hit) -> End:
    """The holder cannot renew its Lease and another replica is there to take it; the old one runs on beside it."""
    holder = hit.world.server.lease.holder or hit.world.processes[0].process.name
    made = hit.world.start_process()
    over = hit.trouble(Trouble(frozenset({"lease"}), "refused", unreachable, process=holder))

    def end() -> None:
        over()
        old = [found for found in hit.world.running() if found.process.name == holder]
        hit.world.light_fuse(hit.dice.choice([made, *old]), 0)

    return end


@fault("process", Scope.ALL, lasts=(10, 120))
def _replica_joins(hit: Hit) -> End:
    """A rolling update: for a while there is one process more."""
    made = hit.world.start_process()
    return lambda: hit.world.light_fuse(made, 0)
