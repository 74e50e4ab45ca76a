"""Which seed notices that a safeguard is missing: found by `python -m tests.world --ablations --write`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.world.ablations import ABLATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

FOUND = Path(__file__).with_name("caught.json")
DOCS = Path(__file__).parents[2] / "docs" / "safety.md"
BEGIN, END = "<!-- safeguards: written by python -m tests.world --ablations --write -->\n", "<!-- /safeguards -->\n"


@dataclass(frozen=True, slots=True)
class Catch:
    """How a missing safeguard was noticed."""

    seed: int
    rule: str
    at_seconds: float
    """Of virtual time."""


def caught() -> dict[str, Catch]:
    """Return what was found last, by the safeguard's name."""
    return {name: Catch(**found) for name, found in json.loads(FOUND.read_text()).items()}


def write(found: Mapping[str, Catch]) -> None:
    """Keep what was found, and the table of it in the docs."""
    known = {name: found[name] for name in ABLATIONS if name in found}
    FOUND.write_text(json.dumps({name: asdict(catch) for name, catch in known.items()}, indent=1) + "\n")
    before, _, rest = DOCS.read_text().partition(BEGIN)
    DOCS.write_text(before + BEGIN + table(known) + END + rest.partition(END)[2])


def table(found: Mapping[str, Catch]) -> str:
    """Return every safeguard, what is broken without it, and a seed that shows it, as Markdown."""
    lines = ["", "| without this safeguard | is broken | by seed |", "| --- | --- | --- |"]
    for name, ablation in ABLATIONS.items():
        catch = found.get(name)
        told = (f"`{catch.rule}`", str(catch.seed)) if catch is not None else ("**not yet noticed by any**", "")
        lines.append(f"| {ablation.text} (`{name}`) | {told[0]} | {told[1]} |")
    return "\n".join([*lines, "", ""])
