"""Kubernetes label selectors as they stand in `?labelSelector=`: text -> `Selector`.

Grammar and meaning: k8s.io/apimachinery ``pkg/labels`` (equality- and set-based requirements joined by commas).
Its numeric ``>`` and ``<`` are left out: an HPA's selector cannot say them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY = r"(?P<key>[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?)"
_VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
# Not `_VALUE(\s*,\s*_VALUE)*`: around a value that may be empty each space has two places, and of a list that does not
# end every combination is tried, on the event loop.
_VALUES = r"\((?!\s+[A-Za-z0-9])(?P<values>[^()]*)\)"
_LISTED = re.compile(_VALUE)
_UP_TO_PARENTHESIS = re.compile(r"[^()]*[()]?")


class SelectorError(ValueError):
    """A label selector that cannot be read."""


class Operator(Enum):
    """How a requirement compares; a missing key satisfies the negative ones, as in Kubernetes."""

    IN = "in"
    NOT_IN = "notin"
    EXISTS = "exists"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether these labels satisfy it."""
        value = labels.get(self.key)
        match self.operator:
            case Operator.IN:
                return value in self.values
            case Operator.NOT_IN:
                return value not in self.values
            case Operator.EXISTS:
                return value is not None
            case Operator.ABSENT:
                return value is None


@dataclass(frozen=True, slots=True)
class Selector:
    """Requirements that must all hold; none at all matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether these labels satisfy every requirement."""
        return all(requirement.matches(labels) for requirement in self.requirements)


_FORMS = (
    (re.compile(rf"!\s*{_KEY}"), Operator.ABSENT),
    (re.compile(_KEY), Operator.EXISTS),
    (re.compile(rf"{_KEY}\s*==?\s*(?P<values>{_VALUE})"), Operator.IN),
    (re.compile(rf"{_KEY}\s*!=\s*(?P<values>{_VALUE})"), Operator.NOT_IN),
    (re.compile(rf"{_KEY}\s+in\s*{_VALUES}"), Operator.IN),
    (re.compile(rf"{_KEY}\s+notin\s*{_VALUES}"), Operator.NOT_IN),
)


def parse(text: str) -> Selector:
    """Read a selector such as ``app=orders,tier in (a, b),!canary``.

    Raises:
        SelectorError: a term is none of the forms that Kubernetes writes.
    """
    terms = _terms(text) if text.strip() else []
    return Selector(tuple(_requirement(term.strip()) for term in terms))


def _terms(text: str) -> list[str]:
    """Split at the commas that do not stand inside parentheses: the next parenthesis does not close any."""
    terms = [""]
    for piece in _UP_TO_PARENTHESIS.findall(text):
        first, *others = [piece] if piece.endswith(")") else piece.split(",")
        terms[-1] += first
        terms += others
    return terms


def _requirement(term: str) -> Requirement:
    for form, operator in _FORMS:
        if found := form.fullmatch(term):
            listed = found.groupdict().get("values")
            values = frozenset() if listed is None else frozenset(value.strip() for value in listed.split(","))
            if all(map(_LISTED.fullmatch, values)):
                return Requirement(found["key"], operator, values)
    raise SelectorError(
        f"label selector term {term!r} cannot be read; allowed: key, !key, key=value, key!=value, "
        "key in (a,b), key notin (a,b), joined by commas"
    )
