"""The manifests as parsed objects. The rendered files are in the tree, so that most tests need no kubectl."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"
OVERLAYS = ("beside", "kubernetes", "namespaced", "openshift")

Object = dict[str, Any]


def rendered(overlay: str) -> list[Object]:
    """Every object of an overlay."""
    return deepcopy(_parsed(overlay))


@cache
def _parsed(overlay: str) -> list[Object]:
    return list(yaml.safe_load_all((MANIFESTS / "rendered" / f"{overlay}.yaml").read_text()))


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    """The objects of some kinds."""
    return [item for item in objects if item["kind"] in kinds]


def the(objects: list[Object], kind: str, name: str) -> Object:
    """The one object of a kind and name."""
    (found,) = [item for item in objects if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return found


def pod_spec(objects: list[Object]) -> Object:
    """What the Deployment says of its Pods."""
    (deployment,) = of_kind(objects, "Deployment")
    spec: Object = deployment["spec"]["template"]["spec"]
    return spec


def container(objects: list[Object]) -> Object:
    """The one container of the Deployment."""
    (found,) = pod_spec(objects)["containers"]
    return dict(found)


def environment(objects: list[Object], namespace: str) -> dict[str, str]:
    """The container's environment as a Pod in a namespace would have it."""
    fields = {"metadata.name": "wakegate-0", "metadata.namespace": namespace}
    result: dict[str, str] = {}
    for variable in container(objects)["env"]:
        if "valueFrom" in variable:
            result[variable["name"]] = fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        else:
            value = variable["value"]
            for name, known in result.items():
                value = value.replace(f"$({name})", known)
            result[variable["name"]] = value
    return result


def namespace_of(objects: list[Object]) -> str:
    """Where the Deployment goes."""
    (deployment,) = of_kind(objects, "Deployment")
    return str(deployment["metadata"]["namespace"])


def default_namespace(overlay: str) -> Path:
    """The component that puts what is added to an overlay into the overlay's namespace."""
    place = MANIFESTS / "overlays" / overlay if overlay == "namespaced" else MANIFESTS / "components"
    return place / "default-namespace"
