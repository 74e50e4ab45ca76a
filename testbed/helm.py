"""Helm, built like the other parts: templates, and releases on a testbed's cluster."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from testbed import builds
from testbed.errors import TestbedError

if TYPE_CHECKING:
    from collections.abc import Mapping

REPOSITORY = Path(__file__).resolve().parents[1]
CHART = REPOSITORY / "charts" / "wakegate"
SECONDS = 420
"""A deletion waits five minutes for its hook."""


def helm(*arguments: str, kubeconfig: Path | None = None) -> str:
    """Run helm and return what it prints. Raises TestbedError with its words."""
    binary = builds.ensure(builds.HELM) / "bin" / "helm"
    with tempfile.TemporaryDirectory(prefix="wakegate-helm-") as home:
        places = {f"HELM_{name}_HOME": f"{home}/{name}" for name in ("CACHE", "CONFIG", "DATA")}
        environment = {**os.environ, **places, "KUBECONFIG": str(kubeconfig or "/dev/null")}
        done = subprocess.run(
            [str(binary), *arguments], capture_output=True, text=True, timeout=SECONDS, check=False, env=environment
        )
    if done.returncode:
        raise TestbedError(f"helm {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def template(values: Mapping[str, Any], namespace: str, *, chart: Path = CHART) -> list[dict[str, Any]]:
    """Return every object of the chart with these values, CRDs and hooks included. Raises TestbedError."""
    given = [f"--set-json={name}={json.dumps(value)}" for name, value in values.items()]
    place = ["--namespace", namespace, "--include-crds", "--kube-version", builds.KUBERNETES_VERSION]
    rendered = helm("template", "wakegate", str(chart), *place, *given)
    return [document for document in yaml.safe_load_all(rendered) if document]
