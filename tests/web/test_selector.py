"""Label selectors as Kubernetes writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.web import selector

LABELS = {"app": "orders", "tier": "back", "wakegate.dev/target": "deployment-orders"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=orders", True),
        ("app == orders", True),
        ("app=mail", False),
        ("app!=mail", True),
        ("app!=orders", False),
        ("colour!=red", True),  # a missing key satisfies the negative ones
        ("app in (mail, orders)", True),
        ("app in (mail)", False),
        ("app notin (mail,news)", True),
        ("colour notin (red)", True),
        ("colour in (red)", False),
        ("app", True),
        ("colour", False),
        ("!colour", True),
        ("!app", False),
        ("app=", False),
        ("wakegate.dev/target=deployment-orders", True),
        ("app in (orders,mail),tier=back,!canary", True),
        ("app in (orders,mail),tier=front", False),
        ("in=orders", False),
    ],
)
def test_selectors_match_as_in_kubernetes(text: str, *, matches: bool) -> None:
    """Equality- and set-based requirements, alone and joined, mean what the API server means by them."""
    assert selector.parse(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    "text", ["app=orders,", ",", "app in orders", "app in (a", "a b", "app>1", "=x", "app=a=b", "!"]
)
def test_what_cannot_be_read_is_refused_with_the_term(text: str) -> None:
    """A selector that is not understood must not match everything."""
    with pytest.raises(selector.SelectorError, match="label selector term"):
        selector.parse(text)


@pytest.mark.parametrize("opened", ["a in (", "a notin (", "a=b", ""])
@pytest.mark.parametrize("ended", [" x y)", " x y", ")", ""])
def test_a_long_text_is_refused_without_trying_all_its_readings(opened: str, ended: str) -> None:
    """Who may read a metric may send any text, and everybody waits while it is read: this one simply ends."""
    spaced = opened + ",     " * 10_000 + ended
    if opened.endswith("(") and ended == ")":
        assert selector.parse(spaced).requirements[0].values == {""}
    else:
        with pytest.raises(selector.SelectorError, match="label selector term"):
            selector.parse(spaced)


NAMES = st.from_regex(r"[a-z]([a-z0-9.-]{0,10}[a-z0-9])?", fullmatch=True)


@given(key=NAMES, values=st.lists(NAMES, min_size=1, max_size=4), labels=st.dictionaries(NAMES, NAMES, max_size=4))
def test_in_and_notin_are_opposites(key: str, values: list[str], labels: dict[str, str]) -> None:
    """Whatever the labels, exactly one of the two matches."""
    listed = ",".join(values)
    inside = selector.parse(f"{key} in ({listed})").matches(labels)
    outside = selector.parse(f"{key} notin ({listed})").matches(labels)
    assert inside is not outside
