"""PromQL as Prometheus reads it: its own parser, built like the other parts."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed import builds
from testbed.errors import TestbedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SECONDS = 30


@dataclass(frozen=True)
class Selector:
    """One choice of series in a query.

    Attributes:
        metric: name of the series.
        matchers: label -> value, of those that ask for equality.
        labels: every label that is named: by a matcher, or by an aggregation around it.
    """

    metric: str
    matchers: Mapping[str, str]
    labels: frozenset[str]


def parse(queries: Sequence[str]) -> list[list[Selector]]:
    """Return the selectors of each query. Raises TestbedError where Prometheus would refuse one."""
    binary = builds.ensure(builds.PROMQL) / "bin" / "promql"
    done = subprocess.run(
        [str(binary)], input=json.dumps(list(queries)), capture_output=True, text=True, timeout=SECONDS, check=True
    )
    answers = json.loads(done.stdout)
    for query, answer in zip(queries, answers, strict=True):
        if answer["error"]:
            raise TestbedError(f"{query}: {answer['error']}")
    return [[_selector(found) for found in answer["selectors"]] for answer in answers]


def _selector(found: dict[str, list[dict[str, str]]]) -> Selector:
    matchers = {item["name"]: item["value"] for item in found["matchers"] if item["op"] == "="}
    named = {item["name"] for item in found["matchers"]} | {str(label) for label in found["grouping"]}
    return Selector(str(found["metric"]), matchers, frozenset(named))
