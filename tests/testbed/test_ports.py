"""Ports that stay ours while a part is down."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

from testbed.ports import FIRST_PORT, LAST_PORT, LOOPBACK, ReservedPorts, _try_lock, is_bindable

if TYPE_CHECKING:
    from pathlib import Path


def test_two_reservations_share_no_port(tmp_path: Path) -> None:
    """Ports of two testbeds are all different and lie below the ephemeral range."""
    with ReservedPorts(20, lock_directory=tmp_path) as first, ReservedPorts(20, lock_directory=tmp_path) as second:
        assert len({*first.ports, *second.ports}) == 40
        assert all(FIRST_PORT <= port <= LAST_PORT for port in first.ports)


def test_reserved_while_nothing_listens(tmp_path: Path) -> None:
    """A reserved port stays taken until it is given back, though nothing listens on it."""
    reserved = ReservedPorts(1, lock_directory=tmp_path)
    (port,) = reserved.ports
    assert _try_lock(tmp_path / str(port)) is None
    reserved.close()
    lock = _try_lock(tmp_path / str(port))
    assert lock is not None
    lock.close()


def test_given_back_when_the_owner_is_killed(tmp_path: Path) -> None:
    """A crashed testbed leaves no port reserved."""
    program = (
        "import sys, time, pathlib; from testbed.ports import ReservedPorts; "
        "reserved = ReservedPorts(1, lock_directory=pathlib.Path(sys.argv[1])); "
        "print(reserved.ports[0], flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:  # noqa: S603 - the text above
        assert owner.stdout is not None
        port = owner.stdout.readline().strip()
        assert _try_lock(tmp_path / port) is None
        owner.send_signal(signal.SIGKILL)
        owner.wait(10)
    lock = _try_lock(tmp_path / port)
    assert lock is not None
    lock.close()


def test_a_listening_port_is_not_bindable() -> None:
    """A port that any program listens on is not handed out."""
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        assert not is_bindable(port)
    assert is_bindable(port)
