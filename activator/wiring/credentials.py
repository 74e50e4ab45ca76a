"""Which cluster is shown which credentials: the rule that whoever chooses an address cannot have ours sent there."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from activator.errors import DeniedError, SettingsError, UnavailableError
from activator.kafka.connection import NOBODY
from activator.specs.authentication import refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from activator.core.model import Cluster
    from activator.kafka.connection import SecurityOptions
    from activator.kubernetes.secrets import SecretStore

_log = logging.getLogger(__name__)


class OwnCredentials(Protocol):
    """The operator's own credentials, wherever they were read."""

    def options(self) -> SecurityOptions:
        """Return what they say now. Raises SettingsError: they cannot be used."""


class CredentialLookup:
    """Looks up the security options of a cluster, as `kafka.connection.Credentials`.

    Args:
        store: what targets name, out of their own namespaces.
        folder: the operator's own.
        bootstrap_servers: the operator's default, and so the only addresses that `folder` is shown to.
        allowed_bootstrap_servers: what else the operator names: a ClusterTriggerAuthentication may be shown there.
    """

    def __init__(
        self,
        store: SecretStore[SecurityOptions],
        folder: OwnCredentials,
        bootstrap_servers: str,
        allowed_bootstrap_servers: Iterable[str] = (),
    ) -> None:
        self._store = store
        self._folder = folder
        self._own = frozenset(filter(None, bootstrap_servers.split(",")))
        self.trusted_servers = self._own | frozenset(allowed_bootstrap_servers)
        self._last: SecurityOptions | None = None
        self._problem = ""

    def __call__(self, cluster: Cluster) -> SecurityOptions:
        """Return the options of a cluster. Raises UnavailableError, DeniedError: they are not to be had."""
        if (refused := refusal(cluster, self.trusted_servers)) is not None:
            raise DeniedError(str(refused))
        if cluster.credential:
            return self._store.options(cluster.credential)
        if self.is_own(cluster):
            return self._of_folder()
        return NOBODY

    def is_own(self, cluster: Cluster) -> bool:
        """Whether a cluster is shown the operator's own."""
        return not cluster.credential and self._own.issuperset(cluster.bootstrap_servers.split(","))

    def _of_folder(self) -> SecurityOptions:
        """Return the operator's own; where the files have become unusable, those that were read last stay in force."""
        try:
            self._last, self._problem = self._folder.options(), ""
        except SettingsError as error:
            if self._last is None:
                raise UnavailableError("the operator's Kafka credentials", str(error)) from error
            if self._problem != str(error):
                self._problem = str(error)
                _log.warning("%s; what was read before stays in force", error)
        return self._last
