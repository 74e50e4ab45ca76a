"""Bearer tokens in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.tokens import Tokens, Verdict

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        ("Bearer first", Verdict.ALLOWED),
        ("bearer second", Verdict.ALLOWED),
        ("Bearer  first ", Verdict.ALLOWED),
        ("Bearer fir", Verdict.WRONG),
        ("Bearer", Verdict.WRONG),
        ("Bearer ", Verdict.WRONG),
        ("Basic first", Verdict.WRONG),
        ("first", Verdict.WRONG),
        ("Bearer # note", Verdict.WRONG),
        ("Bearer \udcff", Verdict.WRONG),
        ("", Verdict.WRONG),
        (None, Verdict.WRONG),
    ],
)
def test_check(tmp_path: Path, given: str | None, verdict: Verdict) -> None:
    """Any line of the file is a token; nothing else is."""
    path = tmp_path / "tokens"
    path.write_text("first\n# note\n\n  second  \n")
    assert Tokens().check(path, given) is verdict


def test_rotation(tmp_path: Path) -> None:
    """A changed file counts at once, also one that is put in its place; a file without tokens closes the door."""
    path, tokens = tmp_path / "tokens", Tokens()
    assert tokens.check(path, "Bearer a") is Verdict.CLOSED
    path.write_text("a\n")
    assert tokens.check(path, "Bearer a") is Verdict.ALLOWED
    (tmp_path / "new").write_text("b\n")
    (tmp_path / "new").replace(path)
    assert tokens.check(path, "Bearer a") is Verdict.WRONG
    assert tokens.check(path, "Bearer b") is Verdict.ALLOWED
    path.unlink()
    assert tokens.check(path, "Bearer b") is Verdict.CLOSED
