"""Policies, lags and observations by the words that differ, for the tests of `core.decide`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from activator.core.model import (
    Cluster,
    GroupState,
    Lag,
    Memory,
    Observation,
    OffsetReset,
    Policy,
    Push,
    PushSource,
    Trigger,
)

NINE = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
KAFKA = Cluster("kafka:9092")
ORDERS = Trigger(KAFKA, "orders", "workers", offset_reset=OffsetReset.EARLIEST)
MAILS = Trigger(KAFKA, "mails", "workers", index=1, offset_reset=OffsetReset.EARLIEST)
IDLE_CONSUMERS = replace(ORDERS, allow_idle_consumers=True)
NEVER_READ = Lag(known=0, complete=False, partitions=None)


def at(seconds: float) -> datetime:
    """Name a moment by its distance from nine o'clock."""
    return NINE + timedelta(seconds=seconds)


def policy(*triggers: Trigger, **changes: Any) -> Policy:
    """Build a policy with a cooldown of one minute, and the defaults for what is not given."""
    given: dict[str, Any] = {
        "cooldown": timedelta(seconds=60),
        "initial_cooldown": timedelta(0),
        "max_replicas": 20,
    } | changes
    return Policy(**({"triggers": triggers or (ORDERS,)} | given))


def lag(known: int, **changes: Any) -> Lag:
    """Build a complete lag of five partitions."""
    given: dict[str, Any] = {
        "complete": True,
        "partitions": 5,
        "readable": 5,
        "partitions_with_lag": min(known, 5),
        "scalable": known,
        "read_at": NINE,
        "group_state": GroupState.STABLE,
    }
    return Lag(known=known, **(given | changes))


def partial(known: int, **changes: Any) -> Lag:
    """Build a lag of which one partition of five could not be read."""
    given: dict[str, Any] = {"complete": False, "readable": 4, "problems": ("orders-4: LEADER_NOT_AVAILABLE",)}
    return lag(known, **(given | changes))


OUTAGE = Lag(known=0, complete=False, partitions=5, problems=("Kafka kafka:9092: no answer",), read_at=at(-30))


def seen(replicas: int, *lags: Lag, **changes: Any) -> Observation:
    """Build an observation of a target whose replicas are ready, with an HPA on it."""
    given: dict[str, Any] = {"ready_replicas": replicas, "handed_off": True} | changes
    base: dict[str, Any] = {"replicas": replicas, "lags": lags or (lag(0),)}
    return Observation(**(base | given))


def remembered(**changes: Any) -> Memory:
    """Build the memory of a target that was taken over an hour ago and last active ten minutes ago."""
    return Memory(**({"taken_over_at": at(-3600), "last_active": at(-600)} | changes))


TAIL = Push("kafka:9092", "orders", PushSource.TAIL, NINE, 3, 17)
GATEWAY = Push("kafka:9092", "orders", PushSource.GATEWAY, NINE)
