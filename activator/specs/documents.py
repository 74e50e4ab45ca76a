"""YAML of several documents with the place of everything in it. Pure: text in, values out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from activator.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

_STEP = re.compile(r"\[([^\]]+)\]|([^.\[\]]+)")


def documents(text: str, file: str) -> Iterator[tuple[yaml.Node, Any]]:
    """Yield each document of a file as it is written and as values. Raises SpecError with file and line.

    Of a List, as `kubectl get -o yaml` writes one, each item is a document.
    """
    loader: yaml.SafeLoader | None = None
    try:
        loader = yaml.SafeLoader(text)
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                yield from _items(node, loader.construct_document(node))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{file}:{mark.line + 1}" if mark else file
        raise SpecError(place, None, f"this is not YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"the character {chr(error.character)!r} is not allowed"
        raise SpecError(f"{file}:{line}", None, f"this is not YAML: {what}") from None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise SpecError(file, None, f"this is not YAML: {str(error).splitlines()[0]}") from None
    finally:
        if loader is not None:
            loader.dispose()


def _items(node: yaml.Node, value: Any) -> Iterator[tuple[yaml.Node, Any]]:
    if isinstance(value, dict) and value.get("kind") == "List" and isinstance(value.get("items"), list):
        items = [written for key, written in pairs(node) if key.value == "items"][-1]
        yield from zip(items.value, value["items"], strict=True)
    else:
        yield node, value


def pairs(node: yaml.Node) -> list[tuple[yaml.Node, yaml.Node]]:
    """Return the entries of a mapping; none of anything else."""
    return list(node.value) if isinstance(node, yaml.MappingNode) else []


def line_of(node: yaml.Node, path: str) -> int:
    """Return the line of what a path leads to, or of the last step on the way that is there.

    Steps are names, indices in brackets and, in brackets, keys that hold dots: ``spec.triggers[0].type``,
    ``metadata.annotations[wakegate.dev/topic]``.
    """
    line = node.start_mark.line
    for bracketed, plain in _STEP.findall(path):
        step = bracketed or plain
        if isinstance(node, yaml.SequenceNode) and step.isdecimal() and int(step) < len(node.value):
            node = node.value[int(step)]
            line = node.start_mark.line
            continue
        found = [(key, value) for key, value in pairs(node) if key.value == step]
        if not found:
            break
        line, node = found[0][0].start_mark.line, found[0][1]
    return int(line) + 1
