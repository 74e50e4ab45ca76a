"""As much of a Dockerfile as ours uses: its stages, and in each the instructions in order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
KNOWN = {"ARG", "FROM", "USER", "WORKDIR", "RUN", "COPY", "LABEL", "ENV", "EXPOSE", "ENTRYPOINT", "CMD"}


@dataclass(frozen=True)
class Instruction:
    """One instruction, its continuation lines joined.

    Attributes:
        word: in upper case.
        text: what follows it.
    """

    word: str
    text: str


Stage = list[Instruction]


def stages(text: str) -> list[Stage]:
    """The instructions of each stage, its FROM first; what stands before the first FROM is a stage of its own.

    Raises:
        ValueError: a line begins with a word that Docker does not know, or that is not known here.
    """
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    found: list[Stage] = [[]]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        word, _, rest = line.partition(" ")
        if word not in KNOWN:
            raise ValueError(f"{line!r}: {word!r} is no instruction known here; allowed: {', '.join(sorted(KNOWN))}")
        if word == "FROM":
            found.append([])
        found[-1].append(Instruction(word, rest.strip()))
    return found


def ours() -> list[Stage]:
    """The stages of our Dockerfile: arguments, build, and what is shipped."""
    return stages((REPOSITORY / "Dockerfile").read_text())


def all_of(stage: Stage, word: str) -> list[str]:
    """What follows each instruction of a kind."""
    return [instruction.text for instruction in stage if instruction.word == word]
