"""What a container's environment says, of those variables that somebody asks for.

A trigger's parameter may be read from the target's environment (``topicFromEnv``). Variables of `env` and `envFrom` may
come from a Secret or a ConfigMap: which of these is to be read is told, and only those that bear on what was asked for.

Sources: Kubernetes API reference, Container and EnvVar (dependent variables); KEDA's resolution of a container's
environment, which passes over what only a running Pod knows (fieldRef, resourceFieldRef).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from activator.specs.authentication import CONFIG_MAP, SECRET, Reference

if TYPE_CHECKING:
    from collections.abc import Iterable

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
UNKNOWN = "\0"
"""What stands in front of why a value cannot be told; no value of an environment can hold it."""
_DEEPEST = 100
"""Variables that name one another in a row."""
_LONGEST = 32_768
"""Letters of a value: each variable may name the one before it twice, and thirty of them are a billion."""
_KEYS = (("secretKeyRef", SECRET), ("configMapKeyRef", CONFIG_MAP))
_OBJECTS = (("secretRef", SECRET), ("configMapRef", CONFIG_MAP))

Data = Callable[[Reference], "Mapping[str, str] | str | None"]
"""What is in a Secret or ConfigMap; None: there is none; a text: why it is not known."""


def unread(reference: Reference) -> str:
    """Say of any object that it was not read: there may be nobody who could."""
    return f"its value comes from {reference}, which is not read here"


def environment_of(
    workload: Mapping[str, Any], container: str = "", *, wanted: Iterable[str] = (), data: Data = unread
) -> dict[str, str]:
    """Return the variables of a workload's container, as Kubernetes expands them.

    Args:
        workload: anything with a Pod template in its spec.
        container: its name; empty: the first.
        wanted: those that are asked for, as `env` does not tell which ones `envFrom` gives.
        data: what is in the objects that they come from.
    """
    variables = _variables_of(workload, container, data)
    found = {name: variables.value(name) for name in (*variables.names(), *wanted)}
    return {name: value for name, value in found.items() if value is not None}


def container_names(workload: Mapping[str, Any]) -> list[str]:
    """Return the names of a workload's containers, in order."""
    return [str(container.get("name", "")) for container in _containers(workload)]


def objects_needed(workload: Mapping[str, Any], container: str, wanted: Iterable[str]) -> frozenset[Reference]:
    """Return each Secret and ConfigMap that bears on some variables, and no other: it may hold what is not for us."""
    needed: set[Reference] = set()

    def note(reference: Reference) -> Mapping[str, str]:
        needed.add(reference)
        return {}  # with nothing in it, so that those that it would hide are looked at as well

    variables = _variables_of(workload, container, note)
    for name in wanted:
        variables.value(name)
    return frozenset(needed)


@dataclass(slots=True)
class _Variables:
    """Of one container."""

    namespace: str
    env: list[Mapping[str, Any]]
    env_from: list[Mapping[str, Any]]
    data: Data
    _places: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    """Where in `env` a name stands."""
    _values: dict[int, str | None] = field(default_factory=dict)
    """By place in `env`, what was told already."""

    def __post_init__(self) -> None:
        for index, entry in enumerate(self.env):
            self._places[str(entry.get("name", ""))].append(index)

    def names(self) -> Iterable[str]:
        """Return each name of `env`, once."""
        return list(self._places)

    def value(self, name: str, before: int | None = None, depth: int = 0) -> str | None:
        """Return a variable as the entry at `before` sees it, else as the process does; None: there is none."""
        for index in reversed(self._places.get(name, ())):
            if before is not None and index >= before:
                continue
            if index not in self._values:
                self._values[index] = self._of_entry(index, depth)
            if (value := self._values[index]) is not None:  # optional and not there: an earlier one holds
                return value
        return self._from_whole_objects(name)

    def _of_entry(self, index: int, depth: int) -> str | None:
        entry = self.env[index]
        value, source = entry.get("value"), _mapping(entry.get("valueFrom"))
        if isinstance(value, str):
            return self._expand(value, index, depth + 1)
        for key, kind in _KEYS:
            if key in source:
                return self._of_key(kind, _mapping(source[key]))
        return f"{UNKNOWN}its value is known to the running Pod alone" if source else ""

    def _of_key(self, kind: str, chosen: Mapping[str, Any]) -> str | None:
        reference, key = self._reference(kind, chosen), str(chosen.get("key", ""))
        there = self.data(reference)
        if isinstance(there, str):
            return f"{UNKNOWN}{there}"
        if there is not None and key in there:
            return _checked(there[key], f"{reference}, key {key}")
        if chosen.get("optional") is True:
            return None
        what = "there is no such key" if there is not None else "it does not exist"
        return f"{UNKNOWN}its value comes from {reference}, key {key}: {what}"

    def _from_whole_objects(self, name: str) -> str | None:
        for entry in reversed(self.env_from):
            prefix = str(entry.get("prefix") or "")
            chosen = [(kind, _mapping(entry[key])) for key, kind in _OBJECTS if key in entry]
            if not chosen or not name.startswith(prefix):
                continue
            reference = self._reference(*chosen[0])
            there = self.data(reference)
            if isinstance(there, str):
                return f"{UNKNOWN}{there}"
            if there is None and chosen[0][1].get("optional") is not True:
                return f"{UNKNOWN}its value may come from {reference}: it does not exist"
            if there is not None and (key := name[len(prefix) :]) in there:
                return _checked(there[key], f"{reference}, key {key}")
        return None

    def _reference(self, kind: str, chosen: Mapping[str, Any]) -> Reference:
        return Reference(kind, self.namespace, str(chosen.get("name", "")))

    def _expand(self, value: str, index: int, depth: int) -> str:
        if depth > _DEEPEST:
            return f"{UNKNOWN}more than {_DEEPEST} variables name one another in a row"
        unknown: list[str] = []

        def replacement(match: re.Match[str]) -> str:
            if match[1] is None:
                return "$"
            known = self.value(match[1], index, depth)
            if known is not None and known.startswith(UNKNOWN):
                unknown.append(f"{UNKNOWN}{match[1]}: {known.removeprefix(UNKNOWN)}")
            return match[0] if known is None else known

        expanded = _REFERENCE.sub(replacement, value)
        return unknown[-1] if unknown else _checked(expanded, "expanded")


def _checked(value: str, place: str) -> str:
    if len(value) > _LONGEST:
        return f"{UNKNOWN}{place}: it is longer than {_LONGEST} letters"
    return f"{UNKNOWN}{place}: it holds a NUL" if UNKNOWN in value else value


def _variables_of(workload: Mapping[str, Any], container: str, data: Data) -> _Variables:
    chosen = next((entry for entry in _containers(workload) if not container or entry.get("name") == container), {})
    namespace = str(_mapping(workload.get("metadata")).get("namespace") or "default")
    env, env_from = ([_mapping(entry) for entry in _list(chosen.get(key))] for key in ("env", "envFrom"))
    return _Variables(namespace, env, env_from, data)


def _containers(workload: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    pod = _mapping(_mapping(_mapping(workload.get("spec")).get("template")).get("spec"))
    return [_mapping(entry) for entry in _list(pod.get("containers"))]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
