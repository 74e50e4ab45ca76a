"""What `doctor`, `status` and `explain` look at, gathered from the cluster, from Kafka and from our own Pod."""

from __future__ import annotations

import asyncio
import base64
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from activator.core.model import Cluster, TargetRef
from activator.doctor.facts import Certificate, Facts, InstalledSettings, Unknown
from activator.doctor.needs import API_SERVICE_NAME, of_installer
from activator.errors import NotFoundError, UnavailableError, WakegateError
from activator.kubernetes import inspection, paths, scale_target_object
from activator.kubernetes.client import KubernetesClient
from activator.kubernetes.lookup import Lookup
from activator.specs.annotations import parse
from activator.specs.authentication import for_target, refusal
from activator.specs.keda.scaled_object import container_of_packed, is_packed, parse_packed
from activator.views import status
from activator.views.explain import Explanation
from activator.web import certificate_facts
from activator.wiring.installation import (
    Installation,
    environment_of,
    installation_of,
    installed_settings,
    needs,
    secret_of,
    takes_config,
)
from activator.wiring.kafka_inspection import KafkaInspection, look_at_kafka, nobody
from activator.wiring.parts import Clock, annotation_defaults

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from activator.core.model import Policy
    from activator.doctor.facts import Document, Target
    from activator.errors import SpecError
    from activator.settings import Settings
    from activator.web.dashboard_client import DashboardClient

DEFAULT_NAMESPACE = "wakegate-system"
_CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/scaletargets.wakegate.dev"
_API_SERVICE = f"/apis/apiregistration.k8s.io/v1/apiservices/{API_SERVICE_NAME}"


@dataclass(slots=True)
class Inspection:
    """Looks at one cluster.

    Args:
        client: the API server.
        now: our clock.
        environment: of this process: in a Pod of wakegate it has the settings.
        namespace: where wakegate is installed; empty: it is looked for.
    """

    client: KubernetesClient
    now: Callable[[], datetime]
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    namespace: str = ""

    @property
    def in_pod(self) -> bool:
        """Whether this is a process beside an installed wakegate, with its settings and its account."""
        return bool(self.environment.get("POD_NAMESPACE") and self.environment.get("POD_NAME"))

    async def installation(self) -> Installation:
        """Find the Deployment and read its settings."""
        if self.in_pod:
            namespace = self.namespace or self.environment["POD_NAMESPACE"]
            deployment = await self._find((namespace,))
            return installation_of(namespace, deployment, self.environment)
        deployment = await self._find((self.namespace,) if self.namespace else ())
        if isinstance(deployment, Unknown):
            namespace = self.namespace or DEFAULT_NAMESPACE
            return installation_of(namespace, deployment, {}, f"Deployment {namespace}/wakegate: {deployment.reason}")
        if deployment is None:
            return installation_of(self.namespace or DEFAULT_NAMESPACE, None, self.environment)
        namespace = deployment["metadata"]["namespace"]
        config = await self._config(deployment)
        if isinstance(config, Unknown):
            known, unread = environment_of(deployment, {}), f"ConfigMap {namespace}/wakegate: {config.reason}"
            return installation_of(namespace, deployment, known, unread)
        return installation_of(namespace, deployment, environment_of(deployment, config))

    async def facts(self) -> Facts:
        """Gather everything about an installation."""
        try:
            date = await self.client.date()
        except UnavailableError as error:
            return self._unreachable(error)
        ahead = self.now() - date
        installed = await self.installation()
        settings = installed.settings
        ours = await inspection.user_name(self.client) == installed.account_name
        account = "" if ours else installed.account_name
        targets, policies = await self._targets(settings)
        kafka = KafkaInspection(self.client, installed, account, in_pod=self.in_pod)
        if taking := await kafka.taking_variables(policies):
            targets, policies = await self._targets(settings, taking)
        await kafka.look(policies)
        return Facts(
            server=self.client.server,
            version=await self._version(),
            now=self.now() - ahead,
            ahead=ahead,
            namespace=installed.namespace,
            account=installed.account_name,
            settings=installed_settings(installed),
            permissions=await inspection.allowed(self.client, needs(settings), account),
            crd=await self._crd(),
            deployment=installed.deployment,
            pods=await inspection.items(self.client, "v1", "pods", (installed.namespace,), inspection.SELECTOR),
            lease=await self._member("coordination.k8s.io/v1", "leases", settings.lease),
            api_service=await inspection.read(self.client, _API_SERVICE),
            service=await self._member("v1", "services", settings.metrics_api_service),
            certificate=await self._certificate(installed),
            credential_problems=tuple(kafka.problems),
            clusters=tuple(kafka.clusters),
            targets=targets,
        )

    async def components(self) -> Facts:
        """Gather what `wakegate status` shows of the installation itself."""
        try:
            date = await self.client.date()
        except UnavailableError as error:
            return self._unreachable(error)
        installed = await self.installation()
        settings = installed.settings
        return replace(
            self._unreachable(UnavailableError("", "")),
            unreachable="",
            now=date,
            namespace=installed.namespace,
            account=installed.account_name,
            settings=installed_settings(installed),
            crd=await self._crd(),
            deployment=installed.deployment,
            pods=await inspection.items(self.client, "v1", "pods", (installed.namespace,), inspection.SELECTOR),
            lease=await self._member("coordination.k8s.io/v1", "leases", settings.lease),
            api_service=await inspection.read(self.client, _API_SERVICE),
            service=await self._member("v1", "services", settings.metrics_api_service),
        )

    async def status(self) -> status.Status:
        """Gather everything that `wakegate status` shows."""
        facts = await self.components()
        if facts.unreachable:
            return status.of(facts, None, "they were not read")
        namespaces = facts.settings.watch_namespace
        found = await inspection.items(
            self.client, scale_target_object.API_VERSION, scale_target_object.PLURAL, namespaces
        )
        return status.of(facts, None, found.reason) if isinstance(found, Unknown) else status.of(facts, found)

    async def explanation(self, namespace: str, kind: str, name: str, dashboard: DashboardClient | None) -> Explanation:
        """Gather everything about one workload, by its own name or that of a Pod, of its HPA or ScaledObject.

        Raises NotFoundError, SettingsError, UnavailableError.
        """
        lookup = Lookup(self.client, namespace)
        ref, workload = await lookup.find(name, kind)
        scaled_object = await lookup.scaled_object(ref)
        memory, problem = await _memory(dashboard, ref) if dashboard else (None, "")
        return Explanation(
            ref=ref,
            now=await self.client.date(),
            workload=workload,
            scale_target=await lookup.scale_target(ref),
            hpa=await lookup.hpa(ref, scaled_object),
            events=await lookup.events(ref, scaled_object),
            memory=memory,
            memory_problem=problem,
        )

    async def facts_before(self, bootstrap_servers: str) -> Facts:
        """Gather what matters before an installation."""
        clusters = await look_at_kafka(
            {Cluster(bootstrap_servers): (set(), set())} if bootstrap_servers else {}, nobody
        )
        try:
            date = await self.client.date()
        except UnavailableError as error:
            return replace(self._unreachable(error), clusters=clusters)
        return replace(
            self._unreachable(UnavailableError("", "")),
            unreachable="",
            version=await self._version(),
            ahead=self.now() - date,
            now=date,
            permissions=await inspection.allowed(self.client, of_installer()),
            api_service=await inspection.read(self.client, _API_SERVICE),
            clusters=clusters,
        )

    def _unreachable(self, error: UnavailableError) -> Facts:
        nothing = Unknown("the API server was not asked")
        return Facts(
            server=self.client.server,
            unreachable=str(error),
            version=nothing,
            now=self.now(),
            ahead=nothing,
            namespace=self.namespace or DEFAULT_NAMESPACE,
            account="",
            settings=InstalledSettings(),
            permissions=nothing,
            crd=nothing,
            deployment=nothing,
            pods=nothing,
            lease=nothing,
            api_service=nothing,
            service=nothing,
            certificate=nothing,
            clusters=(),
            targets=nothing,
        )

    async def _find(self, namespaces: tuple[str, ...]) -> Document | Unknown | None:
        found = await inspection.items(self.client, inspection.APPS, "deployments", namespaces, inspection.SELECTOR)
        if isinstance(found, Unknown):
            return found
        return found[0] if found else None

    async def _config(self, deployment: Document) -> Mapping[str, str] | Unknown:
        """Read the settings that stand beside a Deployment, where it takes any from there."""
        if not takes_config(deployment):
            return {}
        found = await self._member("v1", "configmaps", (deployment["metadata"]["namespace"], "wakegate"))
        return found if isinstance(found, Unknown) else (found or {}).get("data") or {}

    async def _version(self) -> tuple[int, int] | Unknown:
        found = await inspection.read(self.client, "/version")
        if not isinstance(found, dict):
            return found or Unknown("/version is not served")
        digits = [re.match(r"\d+", str(found.get(key, ""))) for key in ("major", "minor")]  # "27+" on some clouds
        if digits[0] is None or digits[1] is None:
            return Unknown(f"/version says {found.get('gitVersion')!r}")
        return int(digits[0][0]), int(digits[1][0])

    async def _crd(self) -> Document | Unknown | None:
        """Read the CRD; the account itself may not, and learns from discovery whether it is there at all."""
        found = await inspection.read(self.client, _CRD)
        if isinstance(found, Unknown) and await inspection.read(self.client, "/apis/wakegate.dev/v1alpha1") is None:
            return None
        return found

    async def _member(self, api_version: str, plural: str, place: tuple[str, str]) -> Document | Unknown | None:
        return await inspection.read(self.client, paths.member(api_version, plural, *place))

    async def _certificate(self, installed: Installation) -> Certificate | Unknown | None:
        chain, key = installed.settings.metrics_api_tls_cert, installed.settings.metrics_api_tls_key
        if not chain or not key:
            return Unknown(installed.unread) if installed.unread else None
        if self.in_pod:
            return await asyncio.to_thread(_certificate_in_files, Path(chain), Path(key))
        name = secret_of(installed.deployment, chain)
        if name is None:
            return Unknown(f"{chain} is in no Secret that the Deployment mounts; ask from a Pod")
        source = f"Secret {installed.namespace}/{name}"
        secret = await self._member("v1", "secrets", (installed.namespace, name))
        if isinstance(secret, Unknown):
            return Unknown(f"{source}: {secret.reason}")
        if secret is None:
            return Certificate(source, problem="it does not exist")
        data = secret.get("data") or {}
        contents = [base64.b64decode(data.get(Path(path).name, "")) for path in (chain, key)]
        return certificate_facts.examine(source, *contents)

    async def _targets(
        self, settings: Settings, taking_variables: frozenset[str] = frozenset()
    ) -> tuple[tuple[Target, ...] | Unknown, tuple[Policy, ...]]:
        defaults = annotation_defaults(settings)
        trusted = frozenset({*settings.bootstrap_servers.split(","), *settings.allowed_bootstrap_servers} - {""})

        def read(annotations: Mapping[str, str], ref: TargetRef) -> tuple[Policy | None, tuple[SpecError, ...]]:
            if is_packed(annotations):
                policy, problems = parse_packed(annotations, defaults)
            else:
                policy, problems = parse(annotations, defaults, ref.namespace)
            if policy is None:
                return None, problems
            policy = for_target(policy, ref, container_of_packed(annotations), taking_variables.__contains__)
            refused = (refusal(trigger.cluster, trusted) for trigger in policy.triggers)
            return policy, (*problems, *filter(None, refused))

        found = await inspection.targets(self.client, settings.watch_namespace, read)
        return (found, ()) if isinstance(found, Unknown) else found


def _certificate_in_files(chain: Path, key: Path) -> Certificate:
    try:
        return certificate_facts.examine(str(chain), chain.read_bytes(), key.read_bytes())
    except OSError as error:
        return Certificate(str(chain), problem=str(error))


async def local_explanation(
    dashboard: DashboardClient, namespace: str, kind: str, name: str, now: datetime
) -> Explanation:
    """Ask the dashboard of local mode alone. Raises NotFoundError, UnavailableError."""
    rows = (await dashboard.overview(name))["rows"]
    wanted = [
        row
        for row in rows
        if (row["namespace"], row["name"]) == (namespace, name) and kind.lower() in {"", row["kind"].lower()}
    ]
    if not wanted:
        known = ", ".join(f"{row['namespace']}/{row['name']}" for row in (await dashboard.overview())["rows"])
        raise NotFoundError(f"{namespace}/{name} is not managed here; managed: {known or 'nothing yet'}")
    ref = TargetRef(namespace, wanted[0]["kind"], name)
    return Explanation(ref=ref, now=now, memory=await dashboard.target(ref))


async def _memory(dashboard: DashboardClient, ref: TargetRef) -> tuple[Document | None, str]:
    try:
        return await dashboard.target(ref), ""
    except WakegateError as error:
        return None, str(error)


async def open_client() -> KubernetesClient:
    """Connect to the cluster of the kubeconfig or the service account. Raises SettingsError."""
    return await KubernetesClient.from_environment()


__all__ = ["Clock", "Inspection", "local_explanation", "open_client"]
