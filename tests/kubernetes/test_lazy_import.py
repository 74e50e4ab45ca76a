"""kubernetes_asyncio is imported without its thousand generated modules, and works all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

CONFIG_AND_REST = """
import sys
from activator.kubernetes.lazy_import import import_lazily
import_lazily()
from kubernetes_asyncio.client import ApiClient, Configuration
from kubernetes_asyncio.config import load_kube_config
print(sum(name.startswith("kubernetes_asyncio") for name in sys.modules))
"""


def run(script: str) -> str:
    """Run a script in a process of its own: imports cannot be undone in this one."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_few_modules_are_imported() -> None:
    """The plain import takes some 860 of them; a new layout of the library would show here first."""
    assert int(run(CONFIG_AND_REST)) < 40


def test_what_is_asked_for_is_there() -> None:
    """APIs, models, submodules and the version, by the names that the library documents; nothing else is invented."""
    assert run(
        CONFIG_AND_REST
        + """
import kubernetes_asyncio
from kubernetes_asyncio import client, watch
print(client.AppsV1Api.__name__, client.V1Deployment().__class__.__name__, watch.Watch.__name__)
print(client.models.V1Scale.__module__, kubernetes_asyncio.__version__ == client.__version__)
print(hasattr(client, "V1Nothing"))
"""
    ).splitlines()[1:] == ["AppsV1Api V1Deployment Watch", "kubernetes_asyncio.client.models.v1_scale True", "False"]


@pytest.mark.parametrize(
    "before",
    [
        pytest.param("import kubernetes_asyncio", id="imported already"),
        pytest.param(
            "from activator.kubernetes import lazy_import; lazy_import._SUBPACKAGES = ('', '.moved')",
            id="another layout",
        ),
    ],
)
def test_where_it_cannot_be_lazy_the_plain_import_holds(before: str) -> None:
    """Slow and right."""
    assert int(run(f"{before}\n{CONFIG_AND_REST}").splitlines()[-1]) > 500


def test_a_help_text_does_not_pay_for_it() -> None:
    """Nothing imports the library before a configuration is loaded."""
    script = "import activator.kubernetes.client, sys; print('kubernetes_asyncio' in sys.modules)"
    assert run(script) == "False"
