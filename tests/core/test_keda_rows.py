"""The table of KEDA's decisions, row by row, as a ScaledObject is decided here.

The rows are those of KEDA's executor (pkg/scaling/executor/scale_scaledobjects.go). Where the answer is another one on
purpose, the row names the reason, which docs/decisions/0010-keda-rules.md explains.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from activator.core.decide import decide
from activator.core.model import GroupState, Lag, Memory, Observation, Policy, Reason
from activator.specs.defaults import AnnotationDefaults
from activator.specs.keda.scaled_object import read_scaled_object

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
NO_LAG, SOME, ERROR = 0, 5, None
COOLED, FRESH = timedelta(hours=1), timedelta(seconds=30)


def policy(count: int, **spec: Any) -> Policy:
    """A ScaledObject with so many Kafka triggers and KEDA's defaults."""
    metadata = {"bootstrapServers": "kafka:9092", "consumerGroup": "workers"}
    names = ["orders", "mails"][:count]
    triggers = [{"type": "kafka", "metadata": {**metadata, "topic": name}} for name in names]
    annotations = spec.pop("annotations", {})
    document = {
        "metadata": {"name": "orders", "namespace": "shop", "annotations": annotations},
        "spec": {"scaleTargetRef": {"name": "orders"}, "triggers": triggers, **spec},
    }
    found, problems = read_scaled_object(document, {}, AnnotationDefaults())
    assert found is not None, list(map(str, problems))
    return found


def lag(known: int | None) -> Lag:
    """So much lag of ten partitions, or none that could be read."""
    if known is None:
        return Lag(known=0, complete=False, partitions=10, problems=("no answer",), read_at=NOW - timedelta(hours=1))
    return Lag(
        known=known, complete=True, partitions=10, readable=10, partitions_with_lag=min(known, 10), scalable=known,
        read_at=NOW, group_state=GroupState.STABLE,
    )  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One situation, KEDA's answer and ours."""

    spec: dict[str, Any]
    replicas: int
    lags: tuple[int | None, ...]
    keda: int
    """What KEDA's executor sets, or leaves."""
    ours: int
    reason: Reason
    quiet: timedelta | None = COOLED
    """How long ago it was active last; None: never."""
    taken_over: timedelta = timedelta(days=1)
    silent: timedelta = timedelta(0)
    """For how long nothing could be read."""
    before: int | None = None
    """The count at the look before."""
    why_other: str = ""


ANNOTATED = "autoscaling.keda.sh/"
FALLBACK = {"failureThreshold": 3, "replicas": 3}

ROWS: dict[str, Row] = {
    "1": Row({}, 0, (SOME,), 1, 1, Reason.LAG),
    "2": Row({"minReplicaCount": 5}, 0, (SOME,), 5, 5, Reason.LAG),
    "3": Row(
        {"idleReplicaCount": 0, "minReplicaCount": 5}, 2, (SOME,), 5, 2, Reason.LAG,
        why_other="above zero the HPA moves it, to its minimum at the next sync",
    ),
    "4": Row({"minReplicaCount": 5}, 2, (SOME,), 2, 2, Reason.LAG),
    "5": Row({}, 7, (SOME,), 7, 7, Reason.LAG),
    "6": Row(
        {}, 10, (NO_LAG,), 0, 10, Reason.INITIAL_COOLDOWN, quiet=None, taken_over=timedelta(0),
        why_other="a target is looked at for one cooldownPeriod before it sleeps for the first time",
    ),
    "7": Row(
        {"initialCooldownPeriod": 120, "cooldownPeriod": 60}, 10, (NO_LAG,), 10, 10, Reason.INITIAL_COOLDOWN,
        quiet=None, taken_over=timedelta(seconds=100),
    ),
    "7, passed": Row(
        {"initialCooldownPeriod": 120, "cooldownPeriod": 60}, 10, (NO_LAG,), 0, 0, Reason.QUIET, quiet=None,
        taken_over=timedelta(seconds=121),
    ),
    "8": Row({}, 10, (NO_LAG,), 0, 0, Reason.QUIET),
    "9": Row({}, 10, (NO_LAG,), 10, 10, Reason.COOLING_DOWN, quiet=FRESH),
    "10": Row({"minReplicaCount": 5, "idleReplicaCount": 0}, 10, (NO_LAG,), 0, 0, Reason.QUIET),
    "11": Row({"minReplicaCount": 5}, 10, (NO_LAG,), 10, 10, Reason.LEFT_TO_HPA),
    "12": Row(
        {"minReplicaCount": 5}, 1, (NO_LAG,), 5, 1, Reason.LEFT_TO_HPA,
        why_other="the HPA raises it to its minimum at its next sync: two hands on one count would conflict",
    ),
    "13": Row({"minReplicaCount": 5}, 0, (ERROR,), 0, 0, Reason.UNREADABLE),
    "14": Row({}, 0, (ERROR,), 0, 0, Reason.UNREADABLE),
    "15": Row({}, 7, (ERROR,), 7, 7, Reason.UNREADABLE),
    "16": Row({"fallback": FALLBACK}, 7, (ERROR,), 7, 7, Reason.UNREADABLE, silent=timedelta(seconds=119)),
    "17": Row(
        {"fallback": FALLBACK}, 0, (ERROR,), 1, 3, Reason.FALLBACK, silent=timedelta(seconds=120),
        why_other="it wakes to the fallback count itself, which KEDA's HPA reaches a sync later",
    ),
    "18": Row({}, 7, (SOME, ERROR), 7, 7, Reason.UNREADABLE),
    "19": Row({"annotations": {f"{ANNOTATED}paused-scale-out": "true"}}, 0, (SOME,), 0, 0, Reason.SCALE_OUT_PAUSED),
    "20": Row({"annotations": {f"{ANNOTATED}paused-scale-in": "true"}}, 10, (NO_LAG,), 10, 10, Reason.SCALE_IN_PAUSED),
    "21": Row({"annotations": {f"{ANNOTATED}force-activation": "true"}}, 0, (NO_LAG,), 1, 1, Reason.FORCED),
    "22": Row(
        {}, 3, (NO_LAG,), 0, 3, Reason.COOLING_DOWN, before=0,
        why_other="whoever raised it by hand is left one cooldownPeriod: going back to 0 at once is a fight",
    ),
    "23": Row({}, 4, (ERROR,), 4, 4, Reason.UNREADABLE, quiet=None, taken_over=timedelta(0)),
    "paused": Row({"annotations": {f"{ANNOTATED}paused": "true"}}, 4, (NO_LAG,), 4, 4, Reason.PAUSED),
    "paused-replicas": Row({"annotations": {f"{ANNOTATED}paused-replicas": "2"}}, 4, (SOME,), 2, 2, Reason.PAUSED),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_row(row: Row) -> None:
    """One poll of a target with an HPA on it."""
    memory = Memory(
        taken_over_at=NOW - row.taken_over,
        last_active=None if row.quiet is None else NOW - row.quiet,
        replicas=row.replicas if row.before is None else row.before,
        readable_at=NOW - row.silent,
    )
    seen = Observation(
        replicas=row.replicas,
        ready_replicas=row.replicas,
        lags=tuple(map(lag, row.lags)),
        handed_off=True,
    )
    decision, _ = decide(policy(len(row.lags), **dict(row.spec)), memory, seen, NOW)
    assert (decision.replicas, decision.reason) == (row.ours, row.reason)
    assert (row.keda != row.ours) is bool(row.why_other), "another answer than KEDA's has a reason, and no reason else"


def test_every_row_is_there() -> None:
    """Rows 1 to 23."""
    assert {str(number) for number in range(1, 24)} <= set(ROWS)


def test_row_18_begins_the_quiet_period_again() -> None:
    """KEDA's clock stands while a trigger cannot be read; here the target is not dropped when both are clear again."""
    memory = Memory(taken_over_at=NOW - timedelta(days=1), last_active=NOW - COOLED, replicas=7, readable_at=NOW)
    seen = Observation(replicas=7, ready_replicas=7, lags=(lag(NO_LAG), lag(ERROR)), handed_off=True)
    _, after = decide(policy(2), memory, seen, NOW)
    assert after.last_active == NOW
