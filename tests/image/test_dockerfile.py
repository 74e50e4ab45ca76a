"""The Dockerfile keeps its promises: one base, locked packages, nothing run or left over in what is shipped."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.image.dockerfile import REPOSITORY, all_of, ours, stages

ARGUMENTS, BUILD, SHIPPED = ours()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def test_both_stages_have_the_base_that_was_asked_for() -> None:
    """One argument exchanges the base of both stages, UBI's for example."""
    assert [text.split("=")[0] for text in all_of(ARGUMENTS, "ARG")] == ["PYTHON_IMAGE"]
    assert all_of(BUILD, "FROM") == ["${PYTHON_IMAGE} AS build"]
    assert all_of(SHIPPED, "FROM") == ["${PYTHON_IMAGE}"]


def test_every_package_is_locked_by_its_hash() -> None:
    """Each install takes a lock file with hashes, but that of our own wheel, which takes nothing else along."""
    installs = [part for text in all_of(BUILD, "RUN") for part in text.split("&&") if " install " in part]
    assert len(installs) == 3
    assert [("--require-hashes" in part) or ("--no-deps" in part) for part in installs] == [True] * 3


def test_what_is_shipped_is_copied_not_made() -> None:
    """The last stage runs nothing and takes two things from the build: the environment and the licence."""
    assert all_of(SHIPPED, "RUN") == []
    assert all_of(SHIPPED, "COPY") == [
        "--from=build /opt/wakegate /opt/wakegate",
        "--from=build /src/LICENSE /licenses/LICENSE",
    ]


def test_the_user_is_a_number_and_its_group_is_root() -> None:
    """A number, or runAsNonRoot cannot be checked; group 0, as OpenShift runs any user."""
    (user,) = all_of(SHIPPED, "USER")
    assert re.fullmatch(r"[1-9][0-9]+:0", user)


def test_the_version_is_the_projects() -> None:
    """The label's default is the version of the distribution."""
    assert f"VERSION={PROJECT['version']}" in all_of(SHIPPED, "ARG")


def test_the_context_holds_what_is_copied_and_no_more() -> None:
    """.dockerignore lets through exactly the sources of the COPY instructions, and each exists."""
    copied = {source for text in all_of(BUILD, "COPY") for source in text.split()[:-1]}
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied
    assert [name for name in copied if not (REPOSITORY / name).exists()] == []


def test_an_unknown_instruction_is_told() -> None:
    """A word that is none of Docker's is an error, as it is for Docker."""
    with pytest.raises(ValueError, match="'RNU' is no instruction"):
        stages("FROM base\nRNU true\n")
