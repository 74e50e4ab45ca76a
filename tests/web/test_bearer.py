"""Bearer tokens in a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from activator.web.bearer import TokenFile, Verdict

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("authorization", "verdict"),
    [
        ("Bearer one", Verdict.ALLOWED),
        ("bearer  one ", Verdict.ALLOWED),
        ("Bearer two", Verdict.ALLOWED),
        ("Bearer three", Verdict.REFUSED),
        ("Bearer on", Verdict.REFUSED),
        ("Bearer ", Verdict.REFUSED),
        ("Bearer öne", Verdict.REFUSED),
        ("Bearer \udcff", Verdict.REFUSED),  # a byte that is no text, as aiohttp reads it
        ("Basic one", Verdict.REFUSED),
        ("one", Verdict.REFUSED),
        ("", Verdict.REFUSED),
        (None, Verdict.REFUSED),
    ],
)
def test_each_line_is_a_token(tmp_path: Path, authorization: str | None, verdict: Verdict) -> None:
    """Two tokens at once make a rotation without a gap; empty lines are none."""
    path = tmp_path / "token"
    path.write_text("one\n\n  two  \n", encoding="utf-8")
    assert TokenFile(path).check(authorization) is verdict


def test_a_changed_file_is_reread(tmp_path: Path) -> None:
    """A rotated Secret takes effect without a restart, in both directions."""
    path = tmp_path / "token"
    path.write_text("old\n", encoding="utf-8")
    tokens = TokenFile(path)
    assert tokens.check("Bearer old") is Verdict.ALLOWED
    path.write_text("brand-new\n", encoding="utf-8")
    assert tokens.check("Bearer old") is Verdict.REFUSED
    assert tokens.check("Bearer brand-new") is Verdict.ALLOWED


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_an_empty_file_holds_no_token(tmp_path: Path, content: str) -> None:
    """An empty token must never be the right one."""
    path = tmp_path / "token"
    path.write_text(content, encoding="utf-8")
    assert TokenFile(path).check("Bearer ") is Verdict.NO_TOKEN_CONFIGURED


def test_no_file_and_a_vanished_file_hold_no_token(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without its tokens a listener opens to nobody, and says so once."""
    assert TokenFile(None).check("Bearer x") is Verdict.NO_TOKEN_CONFIGURED
    path = tmp_path / "token"
    path.write_text("one", encoding="utf-8")
    tokens = TokenFile(path)
    assert tokens.check("Bearer one") is Verdict.ALLOWED
    path.unlink()
    assert {tokens.check("Bearer one") for _ in range(3)} == {Verdict.NO_TOKEN_CONFIGURED}
    assert len(caplog.records) == 1
