"""What a row of the tables says, how one value is read, and how a document is read by a table."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from activator.errors import SpecError
from activator.specs.values import LARGEST_INTEGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class Treatment(StrEnum):
    """What becomes of a field here."""

    SAME = "same"
    BETTER = "better"
    NO_EFFECT = "no effect"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Field:
    """One row: a field of the spec, an annotation or a trigger's parameter."""

    path: str
    parse: Callable[[Any, str], Any]
    """The value and its place, for messages; raises SpecError."""
    default: str
    allowed: str
    treatment: Treatment
    doc: str
    from_environment: bool = False
    """A parameter that may be given as ``...FromEnv``, too."""


# ------------------------------------------------------------------------------------------------------ single values


def shown(value: Any) -> str:
    """Return a value as a user would write it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def integer(least: int, most: int = LARGEST_INTEGER) -> Callable[[Any, str], int]:
    """Return a reader of whole numbers."""

    def parse(value: Any, where: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise SpecError(where, shown(value), f"a whole number from {least} to {most}, without quotes")
        return value

    return parse


def boolean(value: Any, where: str) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise SpecError(where, shown(value), "true or false, without quotes")
    return value


def text(value: Any, where: str) -> str:
    """Read a text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise SpecError(where, shown(value), "a text that is not empty")
    return value.strip()


def one_of(*choices: str) -> Callable[[Any, str], str]:
    """Return a reader of one of some words."""

    def parse(value: Any, where: str) -> str:
        if value not in list(choices):  # a list, because what stands there may not be hashable
            raise SpecError(where, shown(value), " or ".join(choices), nearest(shown(value), choices))
        return str(value)

    return parse


def whole(value: Any, _where: str) -> Any:
    """Take what is there; it is read elsewhere."""
    return value


def refused(why: str) -> Callable[[Any, str], Any]:
    """Return a reader that refuses any value."""

    def parse(_value: Any, where: str) -> Any:
        raise SpecError(where, None, why)

    return parse


def written(parse: Callable[[str], Any]) -> Callable[[Any, str], Any]:
    """Return a reader of texts (parameters, annotations) by a parser that raises ValueError with what is allowed."""

    def read(value: Any, where: str) -> Any:
        if not isinstance(value, str):
            raise SpecError(where, shown(value), f'a string: write "{shown(value)}" in quotes')
        try:
            return parse(value)
        except ValueError as error:
            raise SpecError(where, value, str(error)) from None

    return read


# ---------------------------------------------------------------------------------------------------------- documents


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the name that was meant, where one is close enough; capitals do not count."""
    by_lower = {other.lower(): other for other in names}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[near[0]] if near else None


def read_fields(document: Any, table: Sequence[Field], where: str) -> tuple[dict[str, Any], list[SpecError]]:
    """Read a mapping by a table of dotted paths.

    Returns:
        The values by path, of what is there and right; and every mistake, fields that are not in the table included.
    """
    leaves = {row.path: row for row in table}
    inner = {path[:at] for path in leaves for at, letter in enumerate(path) if letter == "."}
    values: dict[str, Any] = {}
    problems: list[SpecError] = []

    def walk(node: Any, path: str) -> None:
        place = f"{where}.{path}" if path else where
        names = sorted({_child(known, path) for known in (*leaves, *inner) if _is_below(known, path)})
        if not isinstance(node, Mapping):
            problems.append(SpecError(place, shown(node), f"a mapping with {', '.join(names)}"))
            return
        for key, value in node.items():
            here = f"{path}.{key}" if path else str(key)
            if value is None:
                continue
            if here in leaves:
                try:
                    values[here] = leaves[here].parse(value, f"{where}.{here}")
                except SpecError as error:
                    problems.append(error)
            elif here in inner:
                walk(value, here)
            else:
                problems.append(_unknown(f"{where}.{here}", str(key), names, leaves, inner))

    walk(document, "")
    return values, problems


def _unknown(where: str, key: str, names: Sequence[str], leaves: Mapping[str, Field], inner: set[str]) -> SpecError:
    """Name the field that was meant, or where one of this name belongs: lost indentation moves fields out of theirs."""
    near = nearest(key, names)
    elsewhere = [path for path in (*leaves, *inner) if path.rpartition(".")[2] == key and "." in path]
    if near is None and elsewhere:
        return SpecError(where, None, f"there is no such field here; it belongs to {elsewhere[0]}")
    return SpecError(where, None, f"there is no such field, only {', '.join(names)}", near)


def _is_below(known: str, path: str) -> bool:
    return known.startswith(f"{path}.") if path else True


def _child(known: str, path: str) -> str:
    below = known[len(path) + 1 :] if path else known
    return below.partition(".")[0]
