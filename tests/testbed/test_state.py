"""A background testbed is found again, and nothing else is mistaken for it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from testbed import state
from testbed.state import BedState, ProcessIdentity

if TYPE_CHECKING:
    from pathlib import Path


def write_process(proc: Path, pid: int, *, name: str = "java", status: str = "S", ticks: int = 4711) -> None:
    """Write what /proc shows of a process: fields 4 to 21 do not matter here."""
    fields = " ".join(["0"] * 18)
    (proc / "sys/kernel/random").mkdir(parents=True, exist_ok=True)
    (proc / "sys/kernel/random/boot_id").write_text("boot-1\n")
    (proc / str(pid)).mkdir(exist_ok=True)
    (proc / str(pid) / "stat").write_text(f"{pid} ({name}) {status} {fields} {ticks} 0 0\n")


@pytest.mark.parametrize("name", ["java", "kube apiserver", "odd) S 1 (name"])
def test_identity_reads_the_start_time(tmp_path: Path, name: str) -> None:
    """The start time is found whatever the program is called."""
    write_process(tmp_path, 7, name=name, ticks=123)
    assert ProcessIdentity.of(7, proc=tmp_path) == ProcessIdentity(7, "boot-1:123")


def test_a_recycled_pid_is_another_process(tmp_path: Path) -> None:
    """Alive as long as the same process has the pid, gone once another has it."""
    write_process(tmp_path, 7, ticks=100)
    identity = ProcessIdentity.of(7, proc=tmp_path)
    assert identity is not None
    assert identity.is_alive(proc=tmp_path)
    write_process(tmp_path, 7, ticks=200)
    assert not identity.is_alive(proc=tmp_path)


def test_same_ticks_after_a_reboot_are_another_process(tmp_path: Path) -> None:
    """Ticks count from the boot, so the boot is part of the identity."""
    write_process(tmp_path, 7)
    identity = ProcessIdentity.of(7, proc=tmp_path)
    assert identity is not None
    (tmp_path / "sys/kernel/random/boot_id").write_text("boot-2\n")
    assert not identity.is_alive(proc=tmp_path)


@pytest.mark.parametrize("present", [True, False], ids=["zombie", "absent"])
def test_ended_processes_have_no_identity(tmp_path: Path, *, present: bool) -> None:
    """A process that is gone, or ended and not yet waited for, is not alive."""
    if present:
        write_process(tmp_path, 7, status="Z")
    assert ProcessIdentity.of(7, proc=tmp_path) is None


def test_state_is_read_back_while_its_owner_lives(tmp_path: Path) -> None:
    """What is written is read back, as long as the owner lives."""
    me = ProcessIdentity.of(os.getpid())
    assert me is not None
    written = BedState(me, {"etcd": me}, "/run", {"KUBECONFIG": "/run/admin"})
    written.write(tmp_path / "up.json")
    assert state.read(tmp_path / "up.json") == written


def test_state_of_a_dead_owner_is_no_state(tmp_path: Path) -> None:
    """After a crash the file is still there and means nothing; nor does a missing one."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as owner:
        identity = ProcessIdentity.of(owner.pid)
        assert identity is not None
        BedState(identity, {}, "/run", {}).write(tmp_path / "up.json")
        assert state.read(tmp_path / "up.json") is not None
    assert state.read(tmp_path / "up.json") is None
    assert state.read(tmp_path / "never.json") is None
