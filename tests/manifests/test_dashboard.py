"""The dashboard is one that Grafana lays out, and asks for documented metrics."""

from __future__ import annotations

import json
import re

from scripts.dashboard import ROWS, dashboard, queries
from tests.manifests.test_prometheus_rule import documented

DOCUMENT = json.loads(dashboard())


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    """Each cell of the grid belongs to one panel at most, and none sticks out."""
    numbers = [panel["id"] for panel in DOCUMENT["panels"]]
    assert len(numbers) == len(set(numbers))
    taken: set[tuple[int, int]] = set()
    for panel in DOCUMENT["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_panel_of_the_table_is_there() -> None:
    """With its queries, asked of the data source that the reader chooses."""
    shown = {panel["title"]: panel for panel in DOCUMENT["panels"] if panel["type"] != "row"}
    panels = [panel for row in ROWS.values() for panel in row]
    assert set(shown) == {panel.title for panel in panels}
    for panel in panels:
        assert [target["expr"] for target in shown[panel.title]["targets"]] == list(panel.queries.values())
        assert shown[panel.title]["datasource"]["uid"] == "${datasource}"


def test_its_series_are_documented() -> None:
    """Those of the activator in docs/metrics.md; the end-to-end suite asks the real processes."""
    for query in queries():
        for name in re.findall(r"\bwakegate_\w+", query):
            assert name.startswith("wakegate_gateway_") or documented(name), name
