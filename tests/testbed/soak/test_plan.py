"""One seed, one plan of faults."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from testbed.soak import effects, plan

ROUND = sum(kind.weight for kind in plan.KINDS)


def test_a_seed_is_a_plan() -> None:
    """The same seed draws the same faults, another one draws others."""
    first, again, other = (list(islice(plan.draw(seed), ROUND)) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_each_round_has_every_kind_as_often_as_its_weight() -> None:
    """No kind waits for its luck."""
    faults = list(islice(plan.draw(3), 2 * ROUND))
    for round_ in (faults[:ROUND], faults[ROUND:]):
        assert Counter(fault.kind for fault in round_) == {kind.name: kind.weight for kind in plan.KINDS}
    assert [fault.number for fault in faults] == list(range(1, 2 * ROUND + 1))


def test_only_some_kinds() -> None:
    """By the beginning of their names."""
    drawn = {fault.kind for fault in islice(plan.draw(3, "etcd-"), 20)}
    assert drawn == {"etcd-stop", "etcd-kill"} == {kind.name for kind in plan.kinds_of("etcd-")}


def test_what_is_drawn_is_within_its_kind() -> None:
    """A fault lasts as long as its kind may, and strikes a node that there is."""
    holds = {kind.name: kind.holds for kind in plan.KINDS}
    for fault in islice(plan.draw(11), 5 * ROUND):
        assert fault.hold_seconds in holds[fault.kind]
        assert 1 <= fault.node <= plan.NODES
        assert 0 <= fault.choice < 1


def test_every_kind_can_be_done() -> None:
    """Each kind has one effect, and each effect a kind."""
    found = {
        kind.name: next((prefix for prefix, _ in effects.EFFECTS if kind.name.startswith(prefix)), None)
        for kind in plan.KINDS
    }
    assert set(found.values()) == {prefix for prefix, _ in effects.EFFECTS}


def test_a_fault_in_words() -> None:
    """Kind, place and extent, as in a line of progress."""
    fault = plan.Fault(1, "kafka-node-delay", 2, 4.0, 0.0, 0.4, 1, record_meanwhile=False, choice=0.0)
    assert str(fault) == "kafka-node-delay node 2 by 0.4 s for 4 s"
    clock = plan.Fault(2, "leader-clock", 2, 0.5, 0.0, 0.4, -1, record_meanwhile=False, choice=0.0)
    assert str(clock) == "leader-clock -1 h for 0.5 s"
