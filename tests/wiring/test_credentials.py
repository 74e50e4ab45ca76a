"""Which cluster is shown which credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from activator.core.model import Cluster
from activator.errors import DeniedError, UnavailableError
from activator.kafka import credential_folder
from activator.kafka.connection import NOBODY, SecurityOptions
from activator.kafka.credential_folder import CredentialFolder
from activator.wiring.credentials import CredentialLookup

if TYPE_CHECKING:
    from pathlib import Path

THEIRS = SecurityOptions("SASL_PLAINTEXT", sasl_password="theirs")


class Store:
    """Has the credentials of every target."""

    def options(self, _: str) -> SecurityOptions:
        """Return what the target's namespace supplies."""
        return THEIRS


def lookup(folder: Path | None, servers: str = "a:9092,b:9092") -> CredentialLookup:
    """Look up with the operator's own credentials in a folder."""
    return CredentialLookup(cast("Any", Store()), CredentialFolder(folder), servers)


def write(folder: Path, **files: str) -> None:
    """Write files, as a Secret is mounted."""
    for name, text in files.items():
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("cluster", "password"),
    [
        pytest.param(Cluster("a:9092,b:9092"), "ours", id="the operator's servers"),
        pytest.param(Cluster("b:9092"), "ours", id="one of them"),
        pytest.param(Cluster("a:9092,evil:9092"), None, id="one of them, and a stranger"),
        pytest.param(Cluster("a:9093"), None, id="another port"),
        pytest.param(Cluster("evil:9092"), None, id="a stranger"),
        pytest.param(Cluster("a:9092", "Secret shop/kafka"), "theirs", id="the operator's servers, and a Secret"),
        pytest.param(Cluster("evil:9092", "Secret shop/kafka"), "theirs", id="a stranger, and a Secret"),
    ],
)
def test_the_operators_credentials_go_to_the_operators_servers_alone(
    tmp_path: Path, cluster: Cluster, password: str | None
) -> None:
    """Who may annotate a workload chooses the address: it must not be able to have ours sent there."""
    write(tmp_path, sasl="plaintext", username="wakegate", password="ours")
    assert lookup(tmp_path)(cluster).sasl_password == password


def test_a_cluster_trigger_authentication_goes_to_servers_that_the_operator_names(tmp_path: Path) -> None:
    """The gate refuses it already; a policy that outlived a restart has not passed there."""
    looked_up = CredentialLookup(cast("Any", Store()), CredentialFolder(tmp_path), "a:9092", ["c:9092"])
    key = "ClusterTriggerAuthentication shop/login"
    assert looked_up(Cluster("a:9092,c:9092", key)) is THEIRS
    with pytest.raises(DeniedError, match="is 'evil:9092'; allowed: those that the operator names: a:9092, c:9092"):
        looked_up(Cluster("a:9092,evil:9092", key))


def test_without_any_nobody_is_shown_anything(tmp_path: Path) -> None:
    """Plain text and nobody, also where the operator names no servers."""
    assert lookup(None)(Cluster("a:9092")) == NOBODY
    write(tmp_path, sasl="plaintext", username="wakegate", password="ours")
    assert lookup(tmp_path, "")(Cluster("a:9092")) is NOBODY
    assert lookup(tmp_path, "")(Cluster("")) is NOBODY


def test_files_that_become_unusable_leave_what_was_read_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bad rotation is told once and cuts nobody off; with nothing read before there is nothing to go on with."""
    monkeypatch.setattr(credential_folder, "REREAD_SECONDS", 0.0)
    ours = Cluster("a:9092")
    write(tmp_path, sasl="nonsense")
    with pytest.raises(UnavailableError, match=r"^the operator's Kafka credentials: .*file sasl: it has another value"):
        lookup(tmp_path)(ours)
    write(tmp_path, sasl="plaintext", username="wakegate", password="ours")
    looked_up = lookup(tmp_path)
    assert looked_up(ours).sasl_password == "ours"
    write(tmp_path, password="")
    for _ in range(3):
        assert looked_up(ours).sasl_password == "ours"
    assert caplog.text.count("what was read before stays in force") == 1
