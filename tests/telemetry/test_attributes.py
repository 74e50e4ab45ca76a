"""The table of attributes."""

from __future__ import annotations

import pytest

from activator.core.model import Policy, PushSource, Reason, TargetRef, Trigger
from activator.telemetry import attributes
from activator.telemetry.attributes import ATTRIBUTES, attributes_markdown, values, wake_source
from activator.telemetry.holds import Stretch
from tests.fakes.facts import KAFKA, batch_read, evaluation, lag, new_ids, push, stretch, wake

PYTHON_TYPES = {"string": str, "int": int, "double": float, "boolean": bool, "string[]": tuple}
EVERYTHING = {
    "wakegate.decide": Stretch(
        wake(1), wake(1, lags=(lag(3, problems=("no leader",)),), episode_id="e" * 32, reason=Reason.DRY_RUN)
    ),
    "wakegate.apply": wake(1),
    "wakegate.read_lag": batch_read(problem="refused"),
    "wakegate.wake": stretch("", 5, whole=new_ids(), missing=("ready",)),
    "wakegate.sleep": stretch("", 5, whole=new_ids(), missing=("stopped",)),
    "Link to a waking record": push(),
}


@pytest.mark.parametrize("span", ATTRIBUTES, ids=[span.name for span in ATTRIBUTES])
def test_every_attribute_can_appear_with_the_type_that_is_documented(span: attributes.Documented) -> None:
    """A row that no span ever carries, or carries as something else, is a wrong sentence in the reference."""
    found = values(span.attributes, EVERYTHING[span.name])
    expected = {row.name for row in span.attributes} - {"k8s.statefulset.name"}
    assert set(found) == expected
    for row in span.attributes:
        if row.name in found:
            assert type(found[row.name]) is PYTHON_TYPES[row.type], row.name


def test_a_statefulset_is_named_by_its_own_convention() -> None:
    """A kind without a convention is found by wakegate.target."""
    ledger = evaluation(0, ref=TargetRef("bank", "StatefulSet", "ledger"))
    found = values(attributes.DECIDE, Stretch(ledger, ledger))
    assert found["k8s.statefulset.name"] == "ledger"
    assert "k8s.deployment.name" not in found
    assert found["wakegate.target"] == "StatefulSet bank/ledger"


def test_several_topics_have_no_single_name() -> None:
    """An attribute that is true of one trigger only would be found for the wrong one."""
    policy = Policy(triggers=(Trigger(KAFKA, "pizza", "orders"), Trigger(KAFKA, "pasta", "orders", index=1)))
    look = evaluation(0, policy=policy)
    found = values(attributes.DECIDE, Stretch(look, look))
    assert "messaging.destination.name" not in found
    assert found["messaging.consumer.group.name"] == "orders"


@pytest.mark.parametrize(
    ("changes", "source"),
    [
        ({"pushed": push(PushSource.TAIL)}, "tail"),
        ({"pushed": push(PushSource.GATEWAY)}, "gateway"),
        ({"pushed": None}, "poll"),
        ({"pushed": None, "replicas": (1, 2)}, None),
        ({"pushed": None, "replicas": (0, 0)}, None),
    ],
)
def test_the_source_of_a_wake(changes: dict[str, object], source: str | None) -> None:
    """A due look that wakes is a poll; one that does not has no source at all."""
    assert wake_source(wake(1, **changes)) == source


def test_unknown_lag_is_absent() -> None:
    """Zero would say that all is well."""
    assert evaluation(0, lags=(lag(0, problems=("no leader",)),)).seen.known_lag is None
    assert evaluation(0, lags=()).seen.known_lag is None
    assert evaluation(0, lags=(lag(0, problems=("no leader",)), lag(4))).seen.known_lag == 4


def test_the_reference_lists_every_attribute() -> None:
    """docs/attributes.md is made from the table."""
    text = attributes_markdown()
    for span in ATTRIBUTES:
        assert f"## {span.name}" in text
        for row in span.attributes:
            assert f"| `{row.name}` | {row.type} | {row.doc} |" in text
