"""`wakegate release`: what it takes, and what it says of what it does not."""

from __future__ import annotations

import pytest

from activator.cli import BAD_INPUT, main


def ends(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line that argparse itself ends."""
    with pytest.raises(SystemExit) as exited:
        main(["release", *arguments])
    said = capsys.readouterr()
    return int(exited.value.code or 0), said.out, said.err


def test_its_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    """And says what becomes of the annotations."""
    code, said, _ = ends(capsys, "--help")
    assert code == 0
    assert "wakegate release --deployment wakegate-system/wakegate" in said
    assert "annotations stay" in said


WRONG = {
    "a Deployment without its namespace": (("--deployment", "wakegate"), "allowed: NAMESPACE/NAME"),
    "no duration": (("--within", "soon"), "a duration such as 30, 30s, 5m or 1h"),
}


@pytest.mark.parametrize(("arguments", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_flag_is_told(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str) -> None:
    """With the value and what is allowed, before anything is asked of a cluster."""
    code, _, error = ends(capsys, *arguments)
    assert code == BAD_INPUT
    assert arguments[1] in error
    assert said in error
