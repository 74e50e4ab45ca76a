"""Every query of the dashboard and of the alerts asks for series and labels that the real processes tell.

Parsed by Prometheus' own parser, held against what `/metrics` says after a wake and an event. Nothing evaluates them:
what is told is that no query is empty for want of a name.
"""

from __future__ import annotations

import http.client
import json
import sys
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from activator.core.model import Outcome, Phase, Reason
from scripts.dashboard import queries
from testbed.bed import REPOSITORY
from testbed.promql import parse
from testbed.stage import until

if TYPE_CHECKING:
    from testbed.promql import Selector
    from testbed.stage import Stage

pytestmark = pytest.mark.real

RULE = REPOSITORY / "manifests" / "components" / "prometheusrule" / "prometheusrule.yaml"
ALERTS = [rule["expr"] for group in yaml.safe_load(RULE.read_text())["spec"]["groups"] for rule in group["rules"]]
QUERIES = [*queries(), *ALERTS]

ENUMERATED = {
    "reason": {reason.value for reason in Reason},
    "phase": {phase.value for phase in Phase},
    "outcome": {outcome.value for outcome in Outcome},
}
"""Labels that a query may ask by a value which has not occurred: what values there are is known."""
OTHERS = {"namespace", "exported_namespace"}
"""Prometheus' own: the scrape's, and what a label of ours is called where that has taken its place."""

Series = dict[str, dict[str, set[str]]]
"""Name of a series -> its labels -> their values."""


def series_of(text: str) -> Series:
    """What one /metrics tells."""
    found: Series = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = found.setdefault(sample.name, defaultdict(set))
            for name, value in sample.labels.items():
                labels[name].add(value)
    return found


def ask(port: int, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, str]:
    """One HTTP request to this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.fixture
def told(stage: Stage) -> Series:
    """What activator and gateway tell after an event through the gateway has woken a consumer."""
    wakegate = stage.wakegate()
    wakegate.start()
    consumer = stage.consumer(cooldown_period="20", initial_cooldown_period="5", polling_interval="5")
    until("it sleeps", consumer.asleep, 90)
    events, management = stage.bed.reserve_ports(2)
    servers = stage.bed.kafka.bootstrap_servers
    command = [sys.executable, "-m", "gateway", "--bootstrap-servers", servers, "--shutdown-delay", "0"]
    command += ["--listen", f"127.0.0.1:{events}", "--management-listen", f"127.0.0.1:{management}"]
    gateway = stage.bed.process(f"{stage.namespace}-gateway", command, env={"PYTHONPATH": str(REPOSITORY)})
    gateway.start()
    try:
        gateway.wait_ready(lambda: answers(management), within_seconds=60)
        event = {"specversion": "1.0", "id": "1", "source": "/test", "type": "order", "data": {}}
        kind = {"Content-Type": "application/cloudevents+json"}
        status, said = ask(events, "POST", f"/topics/{stage.topic_of(consumer)}", json.dumps(event), **kind)
        assert status == 202, said
        until("it is awake and has consumed", consumer.consumed, 60)
        asked = "wakegate_external_metric_requests_total"
        until("the HPA has asked", lambda: wakegate.samples(asked), 60)
        committed = 'wakegate_episode_duration_seconds_count{episode="wake",stretch="first_commit"}'
        until("the wake's stretches are told", lambda: committed in wakegate.get("/metrics")[1], 60)
        return series_of(wakegate.get("/metrics")[1]) | series_of(ask(management, "GET", "/metrics")[1])
    finally:
        gateway.stop()


def answers(port: int) -> bool:
    """Whether /readyz says so."""
    try:
        return ask(port, "GET", "/readyz")[0] == 200
    except OSError:
        return False


def missing(selector: Selector, told: Series) -> list[str]:
    """What a selector asks for that nobody tells."""
    labels = told.get(selector.metric)
    if labels is None:
        return [selector.metric]
    absent = [f"{selector.metric}: label {name}" for name in selector.labels - OTHERS if name not in labels]
    for name, value in selector.matchers.items():
        if value not in labels.get(name, set()) | ENUMERATED.get(name, set()):
            absent.append(f'{selector.metric}: {name}="{value}"')
    return absent


def test_every_query_asks_for_what_is_told(told: Series) -> None:
    """Names of series, labels and values, query by query; each asks for something."""
    for query, selectors in zip(QUERIES, parse(QUERIES), strict=True):
        assert selectors, query
        assert [what for selector in selectors for what in missing(selector, told)] == [], query


def test_a_wrong_name_would_be_seen() -> None:
    """The check is not always content: a metric, a label, a value and a broken query are each told."""
    told: Series = {"a": {"phase": {"Asleep"}}}
    ((metric,), (label,), (value,), (known,)) = parse(["b", "sum by (x) (a)", 'a{phase="Gone"}', 'a{phase="Awake"}'])
    assert missing(metric, told) == ["b"]
    assert missing(label, told) == ["a: label x"]
    assert missing(value, told) == ['a: phase="Gone"']
    assert missing(known, told) == []
    with pytest.raises(Exception, match="parse error"):
        parse(["sum by (x"])
