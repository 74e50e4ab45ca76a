"""The admission policy is made of the annotation table: every annotation is known, and nearly every value judged."""

from __future__ import annotations

import pytest

from activator.specs import admission
from activator.specs.annotations import TABLE

POLICY, BINDING = admission.documents()


def test_every_annotation_is_known() -> None:
    """The first validation lists all of them, and nothing else."""
    listed = POLICY["spec"]["validations"][0]["expression"]
    assert listed.count("wakegate.dev/") == len(TABLE)
    assert all(f"'wakegate.dev/{row.name}'" in listed for row in TABLE)


def test_only_yaml_is_not_judged() -> None:
    """Whatever else has a parser has an expression: a new parser without one is seen here."""
    assert [row.name for row in TABLE if admission.expression(row) is None] == ["triggers", "behavior"]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_message_names_the_annotation_and_what_is_allowed(row: object) -> None:
    """A mistake is told by the annotation's name; the expressions' placeholder is gone."""
    name = getattr(row, "name", "")
    about = [item for item in POLICY["spec"]["validations"][1:] if f"'wakegate.dev/{name}'" in item["expression"]]
    assert about or name in {"triggers", "behavior"}
    for item in about:
        assert "allowed" in item.get("messageExpression", item.get("message", "")) or "only without" in item["message"]
        assert "VALUE" not in item["expression"]


def test_the_binding_puts_it_in_force() -> None:
    """By name, and by denying."""
    assert BINDING["spec"] == {"policyName": POLICY["metadata"]["name"], "validationActions": ["Deny"]}


def test_a_wake_is_never_judged() -> None:
    """Only the workloads themselves are matched, not their /scale nor their status."""
    (rule,) = POLICY["spec"]["matchConstraints"]["resourceRules"]
    assert rule["resources"] == ["deployments", "statefulsets"]
