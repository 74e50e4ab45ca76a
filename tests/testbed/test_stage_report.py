"""The report of a stage: what is there in words, and what cannot be had by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from testbed.errors import ApiError
from testbed.stage import Stage, Wakegate
from testbed.stage_report import LEDGER_LINES, report

if TYPE_CHECKING:
    from pathlib import Path


class Api:
    """Answers each path that ends like this."""

    def __init__(self, answers: dict[str, list[dict[str, Any]]]) -> None:
        self._answers = answers

    def get(self, path: str) -> dict[str, Any]:
        """The items of the path; refused where there are none."""
        for end, items in self._answers.items():
            if path.endswith(end):
                return {"items": items}
        raise ApiError(404, "NotFound", path)


class Bed:
    """A run folder and an API server."""

    def __init__(self, run_directory: Path, api: Api) -> None:
        self.run_directory = run_directory
        self.control_plane = self
        self.api = api


class Process:
    """A process that has written a log."""

    def __init__(self, log: Path) -> None:
        self.log = log


def stage_on(folder: Path, answers: dict[str, list[dict[str, Any]]]) -> Stage:
    """A stage of one wakegate whose log holds one line."""
    log = folder / "wakegate-0.log"
    log.write_text("the lease is lost\n")
    return Stage(cast("Any", Bed(folder, Api(answers))), "case-1", [Wakegate(cast("Any", Process(log)), 1, 2)])


def test_a_report_tells_of_everything_that_is_there(tmp_path: Path) -> None:
    """Workload, status, Events in the order of their last time, the log, and the end of the ledger."""
    about = {"name": "orders"}
    stage = stage_on(
        tmp_path,
        {
            "/deployments": [{"metadata": about, "spec": {"replicas": 3}, "status": {"readyReplicas": 2}}],
            "/scaletargets": [{"metadata": about, "status": {"phase": "Asleep"}}],
            "/horizontalpodautoscalers": [],
            "/events": [
                {"reason": reason, "involvedObject": about, "message": "said", "lastTimestamp": f"2026-01-01T0{hour}"}
                for reason, hour in (("Later", 2), ("Earlier", 1))
            ],
        },
    )
    (tmp_path / "case-1-orders.ledger").write_text("".join(f"line {number}\n" for number in range(LEDGER_LINES + 1)))
    (tmp_path / "case-11-orders.ledger").write_text("of another stage\n")
    told = report(stage)
    for fragment in ("Deployment orders: replicas 3", "readyReplicas: 2", "phase: Asleep", "the lease is lost"):
        assert fragment in told
    assert told.index("Earlier orders") < told.index("Later orders")
    assert "line 0\n" not in told
    assert f"line {LEDGER_LINES}" in told
    assert "of another stage" not in told


def test_a_report_names_what_cannot_be_had(tmp_path: Path) -> None:
    """An API server that is gone hides neither the log nor itself."""
    told = report(stage_on(tmp_path, {}))
    assert "workloads: " in told
    assert "404" in told
    assert "the lease is lost" in told
