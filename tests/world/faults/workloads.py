"""What happens to workloads: pods that fail, other hands on the count, and what users write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.core.naming import ANNOTATION_PREFIX
from tests.fakes.api_server import HPA_CONTROLLER
from tests.world.faults.table import AWAKE, End, Phase, Scope, fault, nothing
from tests.world.scheduler import seeded_loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.world.strikes import Hit


@fault("world", Scope.TARGET, frozenset({Phase.ASLEEP, Phase.WAKING}), lasts=(60, 450))
def _pods_never_become_ready(hit: Hit) -> End:
    """Quota, image, scheduling: nothing starts."""
    hit.consumers.never_ready = True
    return hit.consumers.heal


@fault("world", Scope.TARGET, AWAKE, lasts=(20, 200))
def _pods_crash(hit: Hit) -> End:
    """A crash loop: ready, gone, ready, gone."""
    over = False

    def again() -> None:
        if not over:
            hit.consumers.crash()
            seeded_loop().later(hit.dice.uniform(5.0, 30.0), again)

    again()

    def end() -> None:
        nonlocal over
        over = True
        hit.consumers.heal()

    return end


@fault("world", Scope.TARGET, lasts=(60, 450))
def _consumers_never_commit(hit: Hit) -> End:
    """They read, and commit nothing: the lag stands."""
    hit.consumers.never_commits = True
    return hit.consumers.heal


@fault("world", Scope.TARGET, frozenset({Phase.QUIET, Phase.BUSY, Phase.FALLING}), lasts=(5, 120))
def _members_linger(hit: Hit) -> End:
    """Pods are killed and not stopped: the group counts their members until the session times out."""
    hit.consumers.leaves_late_seconds = 45.0
    return hit.consumers.heal


@fault("world", Scope.TARGET, frozenset({Phase.FALLING, Phase.ASLEEP}))
def _hpa_writes_a_stale_count(hit: Hit) -> End | None:
    """The HPA controller retries a conflict with the count that it read before the sleep."""
    return None if hit.write(hit.dice.randint(1, 3), HPA_CONTROLLER) else nothing


@fault("world", Scope.TARGET, lasts=(30, 400))
def _gitops_writes_replicas_back(hit: Hit) -> End:
    """A GitOps tool that owns spec.replicas writes its own count back, again and again."""
    over, count = False, hit.dice.randint(1, 3)

    def again() -> None:
        if not over:
            hit.write(count, "argocd-controller")
            seeded_loop().later(hit.dice.uniform(5.0, 60.0), again)

    again()

    def end() -> None:
        nonlocal over
        over = True

    return end


@fault("world", Scope.TARGET)
def _somebody_scales(hit: Hit) -> End | None:
    """A person sets a count by hand, also to zero."""
    return None if hit.write(hit.dice.choice((0, 1, 4)), "kubectl") else nothing


@fault("world", Scope.TARGET)
def _workload_is_recreated(hit: Hit) -> None:
    """Deleted and applied again: another uid, and no memory."""
    hit.world.recreate(hit.ref)


def _annotation(hit: Hit, name: str, value: str | None) -> Callable[[], bool]:
    return hit.world.author.annotate_for_a_while(hit.ref, ANNOTATION_PREFIX + name, value)


def _user_edit(hit: Hit, name: str, value: str) -> End:
    over = _annotation(hit, name, value)

    def end() -> None:
        over()

    return end


def _frozen(hit: Hit, name: str) -> End:
    truth = hit.world.oracle.truths[hit.ref]
    truth.freeze(name, seeded_loop().time())
    over = _annotation(hit, name, "true")
    hit.tempt(0.8)

    def end() -> None:
        truth.thaw(name)
        over()

    return end


@fault("user", Scope.TARGET, lasts=(20, 200))
def _paused(hit: Hit) -> End:
    """Somebody pauses the target for a while."""
    return _frozen(hit, "paused")


@fault("user", Scope.TARGET, lasts=(20, 200))
def _dry_run(hit: Hit) -> End:
    """Somebody sets a dry run for a while."""
    return _frozen(hit, "dry-run")


@fault("user", Scope.TARGET, lasts=(20, 400))
def _kept_awake(hit: Hit) -> End:
    """Somebody keeps the target awake for a while."""
    over = _annotation(hit, "keep-awake", "true")
    truth = hit.world.oracle.truths[hit.ref]
    if truth.kept_awake_at is None:
        truth.kept_awake_at = seeded_loop().time()

    def end() -> None:
        if over():
            truth.kept_awake_at = None

    return end


@fault("user", Scope.TARGET, lasts=(20, 200))
def _typo(hit: Hit) -> End:
    """Somebody saves a wrong annotation, and corrects it."""
    truth, over = hit.world.oracle.truths[hit.ref], _user_edit(hit, "lag-treshold", "5")
    truth.mistake(+1, seeded_loop().time())

    def end() -> None:
        over()
        truth.mistake(-1, seeded_loop().time())

    return end


@fault("user", Scope.TARGET, lasts=(20, 400))
def _configuration_changes(hit: Hit) -> End:
    """Somebody changes a figure that is part of the trigger: what was read under the other one does not count."""
    return _user_edit(hit, "lag-threshold", "7")


@fault("user", Scope.TARGET, lasts=(100, 500))
def _rival(hit: Hit) -> End:
    """Somebody else's HPA targets the same workload, for longer than most cooldowns."""
    server, name = hit.world.server, f"theirs-{hit.ref.name}-{hit.strike.index}"
    truth = hit.world.oracle.truths[hit.ref]
    server.add_hpa(name, hit.ref)
    truth.freeze("rival", seeded_loop().time())
    hit.tempt(0.1)
    hit.tempt(0.8)

    def end() -> None:
        truth.thaw("rival")
        if (hit.ref.namespace, name) in server.hpas:
            server.delete_hpa(hit.ref.namespace, name)

    return end


@fault("user", Scope.TARGET, lasts=(5, 240))
def _annotations_are_removed(hit: Hit) -> End | None:
    """The target is managed no more, and then again."""
    return hit.world.author.unmanage(hit.ref) or nothing


@fault("user", Scope.ALL, frozenset({Phase.ASLEEP}), lasts=(60, 240))
def _annotations_are_removed_after_an_upgrade(hit: Hit) -> End | None:
    """Every process is another one by now: what the target came with is known only from what was kept."""
    for wakegate in hit.world.running():
        hit.world.replace(wakegate)
    back: list[End | None] = []
    seeded_loop().later(20.0, lambda: back.append(hit.world.author.unmanage(hit.ref)))

    def end() -> None:
        for over in back:
            if over is not None:
                over()

    return end
