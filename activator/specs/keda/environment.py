"""What a container's `env` says, as far as it can be told from the workload alone.

A trigger's parameter may be read from the target's environment (``topicFromEnv``). What comes from a Secret or a
ConfigMap is not read: the name is kept with why there is no value, so that the message can say so.

Source: Kubernetes API reference, Container and EnvVar (dependent variables).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
FROM_ELSEWHERE = "\0"
"""What stands for a value that is not written in the workload; no value of an environment can hold it."""


def environment_of(workload: Mapping[str, Any], container: str = "") -> dict[str, str]:
    """Return the variables of a workload's container.

    Args:
        workload: anything with a Pod template in its spec.
        container: its name; empty: the first.
    """
    pod = _mapping(_mapping(_mapping(workload.get("spec")).get("template")).get("spec"))
    containers = [_mapping(entry) for entry in _list(pod.get("containers"))]
    chosen = [entry for entry in containers if not container or entry.get("name") == container][:1]
    found: dict[str, str] = {}
    for entry in (_mapping(entry) for found_in in chosen for entry in _list(found_in.get("env"))):
        name, value = str(entry.get("name", "")), entry.get("value")
        if isinstance(value, str):
            found[name] = _expand(value, found)
        elif entry.get("valueFrom"):
            found[name] = FROM_ELSEWHERE
        else:
            found[name] = ""
    return found


def _expand(value: str, known: Mapping[str, str]) -> str:
    def replacement(match: re.Match[str]) -> str:
        return "$" if match[1] is None else known.get(match[1], match[0])

    expanded = _REFERENCE.sub(replacement, value)
    return FROM_ELSEWHERE if FROM_ELSEWHERE in expanded else expanded


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
