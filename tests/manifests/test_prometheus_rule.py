"""Alerts ask for series that there are, and lead to a paragraph that there is."""

from __future__ import annotations

import re

import pytest
import yaml

from activator.core.model import Outcome, Phase, Reason
from tests.manifests.support import MANIFESTS, Object

REPOSITORY = MANIFESTS.parent
METRICS = (REPOSITORY / "docs" / "metrics.md").read_text()
RULE = MANIFESTS / "components" / "prometheusrule" / "prometheusrule.yaml"
ALERTS = [rule for group in yaml.safe_load(RULE.read_text())["spec"]["groups"] for rule in group["rules"]]
each = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])

OTHERS = {"le", "exported_namespace"}
"""Prometheus' own: of a histogram's series, and of a label that the scrape's has taken the place of."""


def documented(series: str) -> bool:
    """Whether a series is one of a documented metric."""
    return f"`{series.removesuffix('_bucket')}`" in METRICS


@each
def test_its_series_exist(alert: Object) -> None:
    """Every wakegate_* name in the expression is a documented metric."""
    series = re.findall(r"\bwakegate_\w+", alert["expr"])
    assert series
    assert [name for name in series if not documented(name)] == []


@each
def test_its_labels_exist(alert: Object) -> None:
    """A label that it selects or groups by is documented, and has a value that there is."""
    values = {
        "reason": {reason.value for reason in Reason},
        "phase": {phase.value for phase in Phase},
        "outcome": {outcome.value for outcome in Outcome},
    }
    for label, value in re.findall(r'(\w+)="([^"]+)"', alert["expr"]):
        assert value in values[label]
    for labels in re.findall(r"\bby \(([^)]*)\)", alert["expr"]):
        assert all(label in OTHERS or f"`{label}`" in METRICS for label in labels.split(", "))


@each
def test_its_runbook_exists(alert: Object) -> None:
    """The runbook is a heading of a page of ours."""
    page, anchor = alert["annotations"]["runbook"].split("#")
    headings = re.findall(r"^#+ (.+)$", (REPOSITORY / page).read_text(), re.MULTILINE)
    assert anchor in {heading.lower().replace(" ", "-") for heading in headings}
