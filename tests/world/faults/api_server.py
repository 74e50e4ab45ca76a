"""What goes wrong with the API server: requests, their answers, and watches."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tests.fakes.api_server import server_error, too_many_requests, unanswered
from tests.world.faults.table import End, Scope, fault, nothing
from tests.world.kubernetes import Trouble, conflict_of
from tests.world.scheduler import seeded_loop

if TYPE_CHECKING:
    from tests.world.strikes import Hit


@fault("api", Scope.ALL, lasts=(5, 120))
def _api_server_is_away(hit: Hit) -> End:
    """No request is answered, no watch delivers, no lease is renewed."""
    hit.world.server.start_outage()
    return hit.world.server.end_outage


@fault("api", Scope.ALL, lasts=(5, 60))
def _api_server_errors(hit: Hit) -> End:
    """Half of the requests are answered 500."""
    return hit.trouble(Trouble(frozenset(), "refused", server_error, share=0.5))


@fault("api", Scope.ALL, lasts=(5, 60))
def _api_server_throttles(hit: Hit) -> End:
    """Requests are answered 429 with Retry-After."""
    return hit.trouble(Trouble(frozenset(), "refused", lambda: too_many_requests(timedelta(seconds=2)), share=0.7))


@fault("api", Scope.ALL, lasts=(5, 60))
def _api_server_is_slow(hit: Hit) -> End:
    """Requests take seconds, and the slowest are given up before their answer."""
    return hit.trouble(Trouble(frozenset(), "slow", unanswered))


@fault("api", Scope.TARGET, lasts=(2, 60))
def _answers_are_lost(hit: Hit) -> End:
    """A PATCH is made, and its answer never comes."""
    return hit.trouble(Trouble(frozenset({"scale.set"}), "lost", unanswered, hit.ref))


@fault("api", Scope.TARGET, lasts=(2, 60))
def _conflicts(hit: Hit) -> End:
    """A PATCH of the scale meets 409 most of the time: others write the object's status."""
    return hit.trouble(Trouble(frozenset({"scale.set"}), "refused", lambda: conflict_of(hit.ref), hit.ref, share=0.7))


@fault("api", Scope.TARGET, lasts=(5, 60))
def _status_is_busy(hit: Hit) -> End:
    """Something writes the object a few times a second: only its resourceVersion moves."""
    over = False

    def again() -> None:
        if not over and hit.ref in hit.world.server.workloads:
            hit.world.server.touch(hit.ref)
            seeded_loop().later(hit.dice.uniform(0.05, 0.5), again)

    again()

    def end() -> None:
        nonlocal over
        over = True

    return end


@fault("api", Scope.TARGET, lasts=(5, 120))
def _states_are_not_kept(hit: Hit) -> End:
    """ScaleTargets cannot be written; that they cannot be read either, as a process starts, is part of an outage."""
    if not hit.world.server.crd_installed:
        return nothing
    over = hit.trouble(Trouble(frozenset({"state.save"}), "refused", server_error))
    hit.world.oracle.states_are_refused(+1)

    def end() -> None:
        over()
        hit.world.oracle.states_are_refused(-1)

    return end


@fault("api", Scope.TARGET, lasts=(2, 60))
def _watch_event_is_lost(hit: Hit) -> End:
    """What changes is not told, until the watch expires and begins again."""
    truth = hit.world.oracle.truths[hit.ref]
    truth.is_not_told(seeded_loop().time())
    for process in hit.world.running():
        process.catalog.stream.lost.add(hit.ref)

    def end() -> None:
        for process in hit.world.processes:
            process.catalog.stream.lost.discard(hit.ref)
            process.catalog.relist(hit.ref)
        truth.is_told_again(seeded_loop().time())

    return end


@fault("api", Scope.ALL, lasts=(2, 60))
def _watch_event_is_late(hit: Hit) -> End:
    """A change is told many seconds later, and everything that comes after it, too."""
    seconds = hit.dice.uniform(1.0, 20.0)
    struck = hit.world.running()
    truth = hit.world.oracle.truths[hit.ref]
    truth.is_not_told(seeded_loop().time())
    for process in struck:
        process.catalog.stream.late_seconds[hit.ref] = seconds

    def end() -> None:
        truth.is_told_again(seeded_loop().time())
        for process in struck:
            process.catalog.stream.late_seconds.pop(hit.ref, None)
            process.catalog.stream.next_at = min(process.catalog.stream.next_at, seeded_loop().time())

    return end


@fault("api", Scope.NOBODY, lasts=(2, 120))
def _watch_event_is_doubled(hit: Hit) -> End:
    """Every change is told twice; that excuses nothing."""
    struck = hit.world.running()
    for process in struck:
        process.catalog.stream.doubled.add(hit.ref)

    def over() -> None:
        for process in struck:
            process.catalog.stream.doubled.discard(hit.ref)

    return over


@fault("api", Scope.NOBODY, lasts=(2, 120))
def _watch_goes_back_in_time(hit: Hit) -> End:
    """After each change the state before it is told again, as from an old cache; that excuses nothing."""
    return back_in_time(hit)


def back_in_time(hit: Hit) -> End:
    """Let watches tell the state before each change again; returns how to end it."""
    struck = hit.world.running()
    for process in struck:
        process.catalog.stream.back_in_time.add(hit.ref)

    def end() -> None:
        for process in struck:
            process.catalog.stream.back_in_time.discard(hit.ref)
            process.catalog.relist(hit.ref)

    return end
