"""Secrets as files, in the folder that stands for where the container looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from testbed.kubelet.container import CannotRunError
from testbed.kubelet.volumes import SecretMount, relocated, secret_mounts, write

POD: dict[str, Any] = {
    "spec": {
        "volumes": [
            {
                "name": "token",
                "secret": {"secretName": "wake", "optional": True, "items": [{"key": "t", "path": "token"}]},
            },
            {"name": "tls", "secret": {"secretName": "served"}},
            {"name": "scratch", "emptyDir": {}},
        ]
    }
}
MOUNTS = [
    {"name": "token", "mountPath": "/etc/wake"},
    {"name": "scratch", "mountPath": "/scratch"},
    {"name": "tls", "mountPath": "/etc/tls"},
]


def test_the_mounts_of_a_container() -> None:
    """Those of Secrets, in the container's order; volumes of other kinds are passed over."""
    assert secret_mounts(POD, {"volumeMounts": MOUNTS}) == [
        SecretMount("/etc/wake", "wake", optional=True, items={"t": "token"}),
        SecretMount("/etc/tls", "served", optional=False, items={}),
    ]
    assert secret_mounts({"spec": {}}, {}) == []


def test_files(tmp_path: Path) -> None:
    """Each key is a file, or those that are asked for are, by the name that is asked for."""
    write(SecretMount("/a", "s", optional=False, items={}), {"x": "1", "y": "2"}, tmp_path / "a")
    write(SecretMount("/b", "s", optional=False, items={"x": "renamed"}), {"x": "1", "y": "2"}, tmp_path / "b")
    write(SecretMount("/c", "none", optional=True, items={}), None, tmp_path / "c")
    found = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"a/x": "1", "a/y": "2", "b/renamed": "1"}
    with pytest.raises(CannotRunError, match="there is no Secret none"):
        write(SecretMount("/d", "none", optional=False, items={}), None, tmp_path / "d")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/etc/wake", "/run/0"),
        ("/etc/wake/token", "/run/0/token"),
        ("/etc/wakeful", "/etc/wakeful"),
        ("at /etc/wake/token", "at /etc/wake/token"),
        ("kafka:9092", "kafka:9092"),
    ],
)
def test_relocated(text: str, expected: str) -> None:
    """A text that is a path below a mount leads to its folder; any other stays as it is."""
    assert relocated(text, {"/etc/wake": Path("/run/0")}) == expected
