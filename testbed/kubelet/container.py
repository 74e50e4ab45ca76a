"""What to run for a container: command line and environment, after Kubernetes' rules."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

from testbed.kubelet.address import pod_ip

if TYPE_CHECKING:
    from collections.abc import Mapping

REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
FIRST_BACK_OFF_SECONDS = 1.0
LAST_BACK_OFF_SECONDS = 30.0

Sources = dict[tuple[str, str], "dict[str, str] | None"]
"""(`Secret` or `ConfigMap`, name) -> its decoded data, or None where there is no such object."""


class CannotRunError(Exception):
    """The container cannot be run; the message goes into the Pod's status."""


def command_line(container: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    """`command` and `args`, with `$(NAME)` replaced.

    Raises:
        CannotRunError: there is no command, and images are only names here.
    """
    words = [*(container.get("command") or []), *(container.get("args") or [])]
    if not container.get("command"):
        raise CannotRunError(
            f"container {container['name']} has no command: the test kubelet runs commands, not images"
        )
    return [expand(word, environment) for word in words]


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by its value; an unknown name stays as it is, and `$$` is an escaped `$`."""

    def replace(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return "$"
        return environment.get(name, match[0])

    return REFERENCE.sub(replace, text)


def referenced_sources(container: Mapping[str, Any]) -> set[tuple[str, str]]:
    """The Secrets and ConfigMaps that the environment needs."""
    found = set()
    for variable in container.get("env") or []:
        for kind, reference in _key_references(variable.get("valueFrom") or {}):
            found.add((kind, str(reference["name"])))
    for source in container.get("envFrom") or []:
        for kind, reference in _whole_references(source):
            found.add((kind, str(reference["name"])))
    return found


def decode_source(kind: str, manifest: Mapping[str, Any]) -> dict[str, str]:
    """The data of a Secret (base64) or a ConfigMap."""
    data: dict[str, str] = manifest.get("data") or {}
    if kind == "ConfigMap":
        return data
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def environment_of(pod: Mapping[str, Any], container: Mapping[str, Any], sources: Sources) -> dict[str, str]:
    """The variables of a container: those of whole objects, then its own in order, each able to use those before it.

    Raises:
        CannotRunError: a value comes from something that is missing or that this kubelet does not know.
    """
    result: dict[str, str] = {"HOSTNAME": pod["metadata"]["name"]}
    for source in container.get("envFrom") or []:
        for kind, reference in _whole_references(source):
            data = sources.get((kind, reference["name"]))
            if data is None and not reference.get("optional"):
                raise CannotRunError(f"envFrom: there is no {kind} {reference['name']}")
            result |= {source.get("prefix", "") + name: value for name, value in (data or {}).items()}
    for variable in container.get("env") or []:
        name = variable["name"]
        if "valueFrom" in variable:
            value = _value_from(name, variable["valueFrom"], pod, sources)
            if value is not None:
                result[name] = value
        else:
            result[name] = expand(variable.get("value", ""), result)
    return result


def back_off_seconds(restarts: int) -> float:
    """How long to wait before a restart: the first at once, then 1, 2, 4 ... 30 s (a real kubelet: 10 s to 5 min)."""
    if restarts == 0:
        return 0.0
    return min(FIRST_BACK_OFF_SECONDS * 2.0 ** min(restarts - 1, 10), LAST_BACK_OFF_SECONDS)


def _value_from(name: str, source: Mapping[str, Any], pod: Mapping[str, Any], sources: Sources) -> str | None:
    if path := (source.get("fieldRef") or {}).get("fieldPath"):
        return _field(name, path, pod)
    for kind, reference in _key_references(source):
        data = sources.get((kind, reference["name"]))
        value = (data or {}).get(reference["key"])
        if value is None and not reference.get("optional"):
            raise CannotRunError(f"env {name}: {kind} {reference['name']} has no key {reference['key']}")
        return value
    raise CannotRunError(f"env {name}: the test kubelet does not know {', '.join(source)}")


def _key_references(source: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    kinds = (("Secret", "secretKeyRef"), ("ConfigMap", "configMapKeyRef"))
    return [(kind, source[field]) for kind, field in kinds if field in source]


def _whole_references(source: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    kinds = (("Secret", "secretRef"), ("ConfigMap", "configMapRef"))
    return [(kind, source[field]) for kind, field in kinds if field in source]


def _field(name: str, path: str, pod: Mapping[str, Any]) -> str:
    fields = {
        "metadata.name": pod["metadata"]["name"],
        "metadata.namespace": pod["metadata"]["namespace"],
        "metadata.uid": pod["metadata"]["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", "default"),
        "status.podIP": pod_ip(pod),
        "status.hostIP": "127.0.0.1",
    }
    if path not in fields:
        raise CannotRunError(f"env {name}: fieldPath {path} is not one of {', '.join(fields)}")
    return str(fields[path])
