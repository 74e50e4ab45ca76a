"""What `wakegate doctor` sees of Kafka: every cluster, as the principal that the installation is there."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from activator.core.model import Cluster
from activator.doctor.facts import KafkaCluster, Unknown
from activator.doctor.needs import of_secret
from activator.errors import SettingsError, SpecError
from activator.kafka import access
from activator.kafka.client import Connections
from activator.kafka.connection import NOBODY
from activator.kafka.credential_folder import CredentialFolder
from activator.kafka.security import security_options
from activator.kubernetes import inspection, paths
from activator.kubernetes.secrets import SecretStore
from activator.specs.authentication import SECRET, AuthenticationSource
from activator.specs.credentials import read_credentials
from activator.wiring.credentials import CredentialLookup
from activator.wiring.installation import secret_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.core.model import Policy
    from activator.kafka.connection import Credentials, SecurityOptions
    from activator.kubernetes.client import KubernetesClient
    from activator.wiring.credentials import OwnCredentials
    from activator.wiring.installation import Installation

    Wanted = tuple[set[str], set[str]]
    """Topics and groups to look at."""

_CLUSTERS_AT_ONCE = 8


@dataclass(slots=True)
class KafkaInspection:
    """Looks at every Kafka cluster that an installation reads from, as the principal that it is there."""

    client: KubernetesClient
    installed: Installation
    account: str
    """The account that has to be able to read the Secrets; empty: we ourselves."""
    in_pod: bool
    problems: list[str] = field(default_factory=list)
    """Credentials that cannot be used."""
    clusters: list[KafkaCluster] = field(default_factory=list)
    _store: SecretStore[SecurityOptions] = field(init=False)

    def __post_init__(self) -> None:
        settings = self.installed.settings
        # What is mounted is there in a Pod of wakegate alone.
        root = Path(settings.authentication_file_root) if self.in_pod and settings.authentication_file_root else None
        self._store = SecretStore(self.client, security_options, operator_namespace=settings.lease[0], file_root=root)

    async def taking_variables(self, policies: tuple[Policy, ...]) -> frozenset[str]:
        """Read what workloads name, and return the keys that stand for something else in each of their containers."""
        keys = {trigger.cluster.credential for policy in policies for trigger in policy.triggers} - {""}
        self._store.expect(keys)
        await self._store.look()
        return frozenset(filter(self._store.takes_variables, keys))

    async def look(self, policies: tuple[Policy, ...]) -> None:
        """Find out everything."""
        settings = self.installed.settings
        wanted: dict[Cluster, Wanted] = {}
        if settings.bootstrap_servers:
            wanted[Cluster(settings.bootstrap_servers)] = set(), set()
        for trigger in (trigger for policy in policies for trigger in policy.triggers):
            topics, groups = wanted.setdefault(trigger.cluster, (set(), set()))
            topics |= {trigger.topic} - {""}
            groups.add(trigger.group)
        unusable = await self._problems_of_targets({cluster.credential for cluster in wanted} - {""})
        own = await self._own()
        lookup = CredentialLookup(self._store, own, settings.bootstrap_servers, settings.allowed_bootstrap_servers)
        usable = {cluster: what for cluster, what in wanted.items() if cluster.credential not in unusable}
        if isinstance(own, _Unusable):
            self.problems.append(own.problem)
            usable = {cluster: what for cluster, what in usable.items() if not lookup.is_own(cluster)}
        self.clusters = list(await look_at_kafka(usable, lookup))

    async def _problems_of_targets(self, keys: set[str]) -> set[str]:
        """Read what workloads name, note what is wrong with it, and return the keys that cannot be used."""
        self._store.expect(keys)
        await self._store.look()
        found = {key: list(map(str, self._store.problems(key))) for key in sorted(keys)}
        secrets = {key: of_secret(source.namespace, source.name) for key in keys if (source := _secret_source(key))}
        allowed = await inspection.allowed(self.client, secrets.values(), self.account)
        for key, permission in secrets.items():
            if not isinstance(allowed, Unknown) and not allowed[permission] and not found[key]:
                found[key].append(f"Secret {permission.namespace}/{permission.name}: wakegate may not read it")
        self.problems += [problem for problems in found.values() for problem in problems]
        return {key for key, problems in found.items() if problems}

    async def _own(self) -> OwnCredentials:
        """Read the operator's own: the files of this Pod, or the Secret that the Deployment mounts there."""
        folder, namespace = self.installed.settings.kafka_credentials, self.installed.namespace
        if not folder:
            return CredentialFolder(None)
        try:
            if self.in_pod:
                own = CredentialFolder(Path(folder))
                await asyncio.to_thread(own.options)
                return own
            name = secret_of(self.installed.deployment, f"{folder}/")
            secret = await inspection.read(self.client, paths.member("v1", "secrets", namespace, name or "-"))
            if not isinstance(secret, dict):
                why = secret.reason if isinstance(secret, Unknown) else "it does not exist"
                return _Unusable(f"the operator's Secret {namespace}/{name or folder}: {why}")
            data = {
                key: base64.b64decode(value).decode(errors="replace")
                for key, value in (secret.get("data") or {}).items()
            }
            credentials, wrong = read_credentials(data, lambda key: f"Secret {namespace}/{name}, key {key}")
            if credentials is None:
                return _Unusable("; ".join(map(str, wrong)))
            return _Read(security_options(credentials, lambda key: f"Secret {namespace}/{name}, key {key}"))
        except (SettingsError, SpecError) as error:
            return _Unusable(str(error))


@dataclass(frozen=True, slots=True)
class _Read:
    """Credentials that were read once."""

    security: SecurityOptions

    def options(self) -> SecurityOptions:
        return self.security


@dataclass(frozen=True, slots=True)
class _Unusable:
    """Credentials that cannot be used."""

    problem: str

    def options(self) -> SecurityOptions:
        raise SettingsError(self.problem)


def nobody(_cluster: Cluster) -> SecurityOptions:
    """Contact a cluster in plain text and as nobody."""
    return NOBODY


async def look_at_kafka(wanted: Mapping[Cluster, Wanted], credentials: Credentials) -> tuple[KafkaCluster, ...]:
    """Look at some topics and groups of each cluster."""
    connections = Connections(credentials=credentials, client_id="wakegate-doctor")
    limit = asyncio.Semaphore(_CLUSTERS_AT_ONCE)

    async def look(cluster: Cluster) -> KafkaCluster:
        async with limit:
            return await access.look(connections.client(cluster), *wanted[cluster])

    try:
        return tuple(await asyncio.gather(*map(look, wanted)))
    finally:
        await connections.close()


def _secret_source(key: str) -> AuthenticationSource | None:
    source = AuthenticationSource.of_key(key)
    return source if source.kind == SECRET else None
