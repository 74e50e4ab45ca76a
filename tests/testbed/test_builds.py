"""How parts are had: the files that are written for the compilers, and what is said when a tool is missing."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from testbed import builds
from testbed.builds import Part
from testbed.errors import BuildFailedError, MissingToolError

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.progress import Progress

UPSTREAM_GO_MOD = """\
module k8s.io/kubernetes

go 1.26.0

require (
	github.com/stretchr/testify v1.11.1
	k8s.io/api v0.0.0
)

replace (
	k8s.io/api => ./staging/src/k8s.io/api
	k8s.io/client-go => ./staging/src/k8s.io/client-go
)
"""


def test_go_mod_replaces_each_staging_module_by_its_published_version() -> None:
    """Kubernetes 1.37.2 publishes its staging modules as 0.37.2."""
    assert builds.render_go_mod(UPSTREAM_GO_MOD, "1.37.2", "3.6.8") == (
        "module testbed\n\ngo 1.26.0\n\n"
        "require (\n\tgo.etcd.io/etcd/server/v3 v3.6.8\n\tk8s.io/kubernetes v1.37.2\n)\n\n"
        "replace (\n\tk8s.io/api => k8s.io/api v0.37.2\n\tk8s.io/client-go => k8s.io/client-go v0.37.2\n)\n"
    )


def test_go_mod_single_line_replacements() -> None:
    """A replacement may also stand on a line of its own."""
    upstream = "go 1.26\nreplace k8s.io/api => ./staging/src/k8s.io/api\n"
    assert "\tk8s.io/api => k8s.io/api v0.37.2\n" in builds.render_go_mod(upstream, "1.37.2", "3.6.8")


def test_go_mod_of_another_layout_is_refused() -> None:
    """With no staging modules the build would fail much later, for a reason nobody would understand."""
    with pytest.raises(BuildFailedError, match="layout has changed"):
        builds.render_go_mod("module x\n\ngo 1.30\n", "1.99.0", "3.6.8")


def test_missing_tool_is_told_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence names the part, the program and the package."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError, match=r"kafka needs `java`.*install a Java runtime 17 or newer"):
        builds.ensure(builds.KAFKA, root=tmp_path)


def test_a_built_part_needs_no_build_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has the cache can run without compilers."""
    (tmp_path / builds.JAEGER.key).mkdir()
    monkeypatch.setenv("PATH", "")
    assert builds.ensure(builds.JAEGER, root=tmp_path) == tmp_path / builds.JAEGER.key


def test_the_example_is_built_anew_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its key in the cache follows what Maven reads, whatever else lies beside it."""
    shutil.copytree(builds.PIZZA_ORDERS_SOURCE, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(builds, "PIZZA_ORDERS_SOURCE", tmp_path)
    assert builds.pizza_orders_version() == builds.PIZZA_ORDERS.version
    (tmp_path / "README.md").write_text("another text")
    assert builds.pizza_orders_version() == builds.PIZZA_ORDERS.version
    source = next((tmp_path / "src").rglob("*.java"))
    source.write_text(source.read_text() + "\n")
    assert builds.pizza_orders_version() != builds.PIZZA_ORDERS.version


def test_build_fills_the_part_s_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A part is built into the folder of its name and version, and where it is gets told."""

    def build(folder: Path, progress: Progress) -> None:
        progress.step("compiling")
        (folder / "binary").touch()

    folder = builds.ensure(Part("tool", "1.2", (), (), build), root=tmp_path)
    assert folder == tmp_path / "tool-1.2"
    assert (folder / "binary").exists()
    assert capsys.readouterr().err == f"tool 1.2: compiling (0:00)\ntool 1.2: ready in {folder} (0:00)\n"
