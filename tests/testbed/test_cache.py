"""Built parts are complete or absent, and made once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from testbed import cache


def test_made_once_and_kept(tmp_path: Path) -> None:
    """The second request finds what the first one made."""
    calls = []

    def make(folder: Path) -> None:
        calls.append(folder)
        (folder / "jar").write_text("x")

    first = cache.ensure(tmp_path, "kafka-1", make)
    second = cache.ensure(tmp_path, "kafka-1", make)
    assert first == second == tmp_path / "kafka-1"
    assert (first / "jar").read_text() == "x"
    assert len(calls) == 1


def test_a_failed_build_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    """After a failure the part is absent, and the next build begins in an empty folder."""

    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise RuntimeError("compiler error")

    with pytest.raises(RuntimeError):
        cache.ensure(tmp_path, "kafka-1", fail)
    assert not (tmp_path / "kafka-1").exists()
    folder = cache.ensure(tmp_path, "kafka-1", lambda folder: (folder / "jar").touch())
    assert [path.name for path in folder.iterdir()] == ["jar"]


def test_two_that_build_at_once_build_once(tmp_path: Path) -> None:
    """The second waits, says so, and finds the first one's work."""
    building = threading.Event()
    waited = threading.Event()

    def make(_folder: Path) -> None:
        building.set()
        assert waited.wait(10)  # ends only when the other one has reported that it waits

    def must_not_make(_folder: Path) -> None:
        raise AssertionError("built twice")

    with ThreadPoolExecutor() as pool:
        first = pool.submit(cache.ensure, tmp_path, "kafka-1", make)
        assert building.wait(10)
        second = pool.submit(cache.ensure, tmp_path, "kafka-1", must_not_make, waiting=lambda _seconds: waited.set())
        assert first.result(10) == second.result(10)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"WAKEGATE_TESTBED_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/wakegate-testbed"),
        ({"HOME": "/home/me"}, "/home/me/.cache/wakegate-testbed"),
    ],
    ids=["own variable", "XDG", "home"],
)
def test_root(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str) -> None:
    """The cache is where the variables say, the nearest one first."""
    for name in ("WAKEGATE_TESTBED_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache.default_root() == Path(expected)
