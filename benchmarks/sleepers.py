"""A stage with many sleeping targets, and one process of wakegate that watches them."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from testbed.bed import Testbed, TestbedOptions
from testbed.control_plane_flags import HpaTimes
from testbed.stage import Stage, install_crd, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.stage import Wakegate


@contextlib.contextmanager
def sleeping(targets: int, *, polling_interval: str = "30") -> Iterator[tuple[Stage, Wakegate]]:
    """Start the real parts and put this many targets to sleep; their Pods are Ready at once and do nothing."""
    sys.stdout.write(f"starting the parts and {targets} targets\n")
    with Testbed(TestbedOptions(hpa=HpaTimes.stock(), jaeger=False)) as bed:
        install_crd(bed)
        stage = Stage.on(bed)
        wakegate = stage.wakegate()
        wakegate.start()
        for number in range(targets):
            stage.quiet_target(f"t{number}", cooldown_period="5", polling_interval=polling_interval)
        path = f"/apis/apps/v1/namespaces/{stage.namespace}/deployments"
        until(
            "all sleep",
            lambda: sum(not item["spec"].get("replicas") for item in stage.api.get(path)["items"]) == targets,
            60 + targets,
        )
        until("all are watched", lambda: wakegate.watched() >= targets, 120)
        yield stage, wakegate
