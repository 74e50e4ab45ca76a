"""Profiles: five ways in which load comes, each a set of defaults that any annotation overrides."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from activator.core.model import Policy, WakeTo
from activator.core.naming import ANNOTATION_PREFIX
from activator.specs.annotations import TABLE, parse
from activator.specs.defaults import AnnotationDefaults
from activator.specs.profiles import MEANINGS, PROFILES, Profile

DEFAULTS = AnnotationDefaults(bootstrap_servers="kafka:9092")


def policy(**written: str) -> Policy:
    """Read the annotations of a workload, given with underscores, without a mistake."""
    names = {"topic": "orders", "consumer-group": "workers", **{k.replace("_", "-"): v for k, v in written.items()}}
    read, problems = parse({ANNOTATION_PREFIX + name: value for name, value in names.items()}, DEFAULTS)
    assert [str(problem) for problem in problems] == []
    assert read is not None
    return read


def numbers(read: Policy) -> dict[str, Any]:
    """Return the columns of the scenario table."""
    return {
        "up": read.behavior.scale_up.stabilization.total_seconds(),
        "down": read.behavior.scale_down.stabilization.total_seconds(),
        "cooldown": read.cooldown.total_seconds(),
        "min": read.min_replicas,
        "max": read.max_replicas,
        "idle": read.idle_replicas,
        "polling": read.polling_interval.total_seconds(),
    }


ROWS: dict[Profile, dict[str, Any]] = {
    Profile.FAST: {"up": 0, "down": 30, "cooldown": 30, "min": 1, "max": 100, "idle": 0, "polling": 5},
    Profile.STEADY: {"up": 120, "down": 600, "cooldown": 900, "min": 2, "max": 20, "idle": 0, "polling": 60},
    Profile.PEAKS: {"up": 30, "down": 600, "cooldown": 300, "min": 2, "max": 100, "idle": 0, "polling": 30},
    Profile.BOOTSTRAP: {"up": 0, "down": 60, "cooldown": 60, "min": 3, "max": 100, "idle": 0, "polling": 5},
    Profile.CONSTANT: {"up": 60, "down": 300, "cooldown": 300, "min": 3, "max": 500, "idle": None, "polling": 45},
}


@pytest.mark.parametrize("profile", Profile)
def test_a_profile_is_what_the_reference_says(profile: Profile) -> None:
    """Each number of the scenario table, in the policy."""
    assert numbers(policy(profile=profile)) == ROWS[profile]


def test_a_backlog_wakes_to_what_it_asks_for() -> None:
    """Under `bootstrap` alone."""
    ways = {profile: policy(profile=profile).wake_to for profile in Profile}
    assert {profile for profile, way in ways.items() if way is WakeTo.LAG} == {Profile.BOOTSTRAP}


COMPARISONS = [
    ("down", (Profile.FAST, Profile.BOOTSTRAP, Profile.CONSTANT, Profile.STEADY)),
    ("cooldown", (Profile.FAST, Profile.BOOTSTRAP, Profile.PEAKS, Profile.STEADY)),
    ("max", (Profile.STEADY, Profile.FAST, Profile.CONSTANT)),
    ("min", (Profile.FAST, Profile.STEADY, Profile.CONSTANT)),
    ("polling", (Profile.FAST, Profile.PEAKS, Profile.CONSTANT, Profile.STEADY)),
]


@pytest.mark.parametrize(("column", "profiles"), COMPARISONS, ids=lambda value: str(value)[:20])
def test_low_is_lower_than_high(column: str, profiles: tuple[Profile, ...]) -> None:
    """The words of the scenario table, in their order."""
    values = [numbers(policy(profile=profile))[column] for profile in profiles]
    assert values == sorted(set(values))


@pytest.mark.parametrize("profile", Profile)
def test_every_number_has_its_reason_and_a_row_of_the_table(profile: Profile) -> None:
    """No profile names an annotation that there is not, and none leaves a bound to a default that it may contradict."""
    names = [entry.annotation for entry in PROFILES[profile]]
    assert set(names) <= {row.name for row in TABLE}
    assert {"min-replica-count", "max-replica-count"} <= set(names)
    assert all(entry.why.endswith(".") for entry in PROFILES[profile])
    assert MEANINGS[profile]


WRITTEN = {
    "polling-interval": ("7", "polling", 7),
    "cooldown-period": ("8", "cooldown", 8),
    "min-replica-count": ("4", "min", 4),
    "max-replica-count": ("5", "max", 5),
    "behavior": ("scaleDown: {stabilizationWindowSeconds: 9}", "down", 9),
}


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_wins(profile: Profile, name: str) -> None:
    """Over the profile's, and nothing else of it changes."""
    value, column, expected = WRITTEN[name]
    changed = numbers(policy(profile=profile, **{name.replace("-", "_"): value}))
    assert changed[column] == expected
    beside = {"up"} if name == "behavior" else set()
    assert {key: number for key, number in changed.items() if key not in {column, *beside}} == {
        key: number for key, number in ROWS[profile].items() if key not in {column, *beside}
    }


GIVING_WAY: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "a lower maximum": ({"profile": "steady", "max_replica_count": "1"}, {"min": 1, "max": 1}),
    "a higher minimum": ({"profile": "steady", "min_replica_count": "30"}, {"min": 30, "max": 30}),
    "a minimum of 0 is one that sleeps": ({"profile": "constant", "min_replica_count": "0"}, {"min": 1, "idle": 0}),
}


@pytest.mark.parametrize(("written", "expected"), GIVING_WAY.values(), ids=GIVING_WAY)
def test_a_profile_gives_way(written: dict[str, str], expected: dict[str, Any]) -> None:
    """Nobody is told to correct a number that they never wrote."""
    read = numbers(policy(**written))
    assert {name: read[name] for name in expected} == expected


def test_two_written_bounds_are_still_held_against_each_other() -> None:
    """A profile excuses no mistake."""
    written = {"topic": "t", "consumer-group": "g", "profile": "fast", "min-replica-count": "3"}
    names = {ANNOTATION_PREFIX + name: value for name, value in {**written, "max-replica-count": "2"}.items()}
    _, problems = parse(names, DEFAULTS)
    assert [str(problem) for problem in problems] == [
        "wakegate.dev/min-replica-count is '3'; allowed: no more than max-replica-count, which is 2"
    ]


def test_without_a_profile_the_defaults_are_those_of_the_table() -> None:
    """And the initial cooldown follows the profile's cooldown, as it follows a written one."""
    assert policy().cooldown == timedelta(seconds=300)
    assert policy(profile="fast").initial_cooldown == timedelta(seconds=30)
