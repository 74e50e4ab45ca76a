"""Secrets as files, below the kubelet's own folder: here nothing can be mounted where the Pod's spec says.

So a variable or an argument that begins with a mount's path leads to that folder instead. Files are written once, as
the process starts: a Secret that changes later is not followed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from testbed.kubelet.container import CannotRunError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class SecretMount:
    """One Secret in one place.

    Attributes:
        path: where the container looks for it.
        secret: its name.
        optional: whether the place may stay empty.
        items: key -> name of its file; empty: each key is a file of its name.
    """

    path: str
    secret: str
    optional: bool
    items: Mapping[str, str]


def secret_mounts(pod: Mapping[str, Any], container: Mapping[str, Any]) -> list[SecretMount]:
    """The Secrets that a container mounts; volumes of other kinds are not there."""
    secrets = {volume["name"]: volume["secret"] for volume in pod["spec"].get("volumes") or [] if "secret" in volume}
    return [
        SecretMount(
            path=mount["mountPath"],
            secret=secrets[mount["name"]]["secretName"],
            optional=bool(secrets[mount["name"]].get("optional")),
            items={item["key"]: item["path"] for item in secrets[mount["name"]].get("items") or []},
        )
        for mount in container.get("volumeMounts") or []
        if mount["name"] in secrets
    ]


def write(mount: SecretMount, data: Mapping[str, str] | None, folder: Path) -> None:
    """Write a mount's files into a folder. Raises CannotRunError where there is no such Secret and there must be."""
    if data is None and not mount.optional:
        raise CannotRunError(f"volume at {mount.path}: there is no Secret {mount.secret}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for key, text in (data or {}).items():
        name = mount.items.get(key) if mount.items else key
        if name is not None:
            (folder / name).write_text(text, encoding="utf-8")


def relocated(text: str, folders: Mapping[str, Path]) -> str:
    """Replace a mount's path at the start of a text by the folder that stands for it."""
    for path, folder in folders.items():
        if text == path or text.startswith(f"{path.rstrip('/')}/"):
            return f"{folder}{text[len(path.rstrip('/')) :]}"
    return text
