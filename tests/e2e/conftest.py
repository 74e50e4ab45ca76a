"""The real parts, started once for all cases; each case has a stage of its own on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testbed.bed import Testbed, TestbedOptions
from testbed.control_plane_flags import HpaFlags
from testbed.mongo import Mongo
from testbed.stage import Stage, install_crd, install_keda_crds, remove_keda_crds
from testbed.stage_report import report as stage_report

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say with a failed case what its stage looked like: where the suite runs for real, nobody can look afterwards."""
    made = yield
    if made.failed:
        stages = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, Stage)]
        made.sections.extend((f"the stage {stage.namespace}", stage_report(stage)) for stage in stages)
    return made


@pytest.fixture(scope="package")
def quick_bed() -> Iterator[Testbed]:
    """All parts, with an HPA controller that looks every two seconds."""
    with Testbed(TestbedOptions(hpa=HpaFlags(sync_period="2s", downscale_stabilization="5s"))) as bed:
        install_crd(bed)
        yield bed


@pytest.fixture(scope="module")
def keda_bed(quick_bed: Testbed) -> Iterator[Testbed]:
    """With KEDA's CRDs as they are written here."""
    install_keda_crds(quick_bed)
    yield quick_bed
    remove_keda_crds(quick_bed)


@pytest.fixture(scope="module")
def stock_bed() -> Iterator[Testbed]:
    """All parts, with the HPA controller's own times."""
    with Testbed(TestbedOptions(hpa=HpaFlags.stock())) as bed:
        install_crd(bed)
        yield bed


@pytest.fixture
def bed(quick_bed: Testbed) -> Testbed:
    """The parts that a stage is on: a file or folder that wants others has a fixture of this name."""
    return quick_bed


@pytest.fixture
def stage(bed: Testbed) -> Iterator[Stage]:
    """A stage on them."""
    made = Stage.on(bed)
    yield made
    made.close()


@pytest.fixture
def mongo(bed: Testbed) -> Iterator[Mongo]:
    """Where the pizza-orders example stores what it makes of the orders."""
    with Mongo(bed.run_directory) as running:
        yield running
