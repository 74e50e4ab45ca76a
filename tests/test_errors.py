"""Errors: the sentences that people read."""

from __future__ import annotations

from datetime import timedelta

import pytest

from activator.errors import SpecError, UnavailableError, WakegateError

SENTENCES: dict[str, tuple[SpecError, str]] = {
    "a wrong value": (
        SpecError("wakegate.dev/lag-threshold", "ten", "a whole number from 1 to 2147483647"),
        "wakegate.dev/lag-threshold is 'ten'; allowed: a whole number from 1 to 2147483647",
    ),
    "an empty value": (
        SpecError("wakegate.dev/paused", "", "true or false"),
        "wakegate.dev/paused is ''; allowed: true or false",
    ),
    "something missing": (
        SpecError("wakegate.dev/topic", None, "it is required"),
        "wakegate.dev/topic: it is required",
    ),
    "a misspelt name": (
        SpecError("wakegate.dev/topik", None, "there is no such annotation", "wakegate.dev/topic"),
        "wakegate.dev/topik: there is no such annotation; did you mean wakegate.dev/topic?",
    ),
    "a wrong value with a right one near": (
        SpecError("spec.triggers[0].type", "kafak", "kafka or apache-kafka", "kafka"),
        "spec.triggers[0].type is 'kafak'; allowed: kafka or apache-kafka; did you mean kafka?",
    ),
    "a value of many lines is cut and stays on one": (
        SpecError("wakegate.dev/behavior", "a:\n" * 100, "YAML"),
        "wakegate.dev/behavior is '" + "a:\\n" * 26 + "a:...'; allowed: YAML",
    ),
}


@pytest.mark.parametrize(("error", "sentence"), SENTENCES.values(), ids=SENTENCES)
def test_a_mistake_reads_as_a_sentence(error: SpecError, sentence: str) -> None:
    """It names the place, the value, what is allowed and the nearest right name."""
    assert str(error) == sentence
    assert "\n" not in sentence


def test_a_mistake_is_a_value() -> None:
    """Equal mistakes are equal, so that a set of them is told once; and one may be raised as it is."""
    one, same = (SpecError("a", "b", "c") for _ in range(2))
    assert {one} == {same}
    assert one != SpecError("a", "b", "c", "d")
    with pytest.raises(WakegateError, match="a is 'b'; allowed: c"):
        raise one


def test_an_outage_names_the_place_and_the_wait() -> None:
    """What did not answer stands in front; how long it asked us to wait is kept as a value."""
    error = UnavailableError("API server, PATCH scale of shop/orders", "HTTP 429", retry_after=timedelta(seconds=3))
    assert str(error) == "API server, PATCH scale of shop/orders: HTTP 429"
    assert (error.where, error.what, error.retry_after) == (
        "API server, PATCH scale of shop/orders",
        "HTTP 429",
        timedelta(seconds=3),
    )
    assert UnavailableError("Kafka kafka:9092", "no answer").retry_after is None
