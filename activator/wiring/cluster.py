"""What there is of a process in a cluster, made and joined but not started: to run, or to give everything back."""

from __future__ import annotations

import os
import secrets
import socket
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from activator.core.rotation import RotationTimes
from activator.kafka.commits import KafkaGroupOffsets
from activator.kafka.credential_folder import CredentialFolder
from activator.kafka.lag import KafkaLagReader
from activator.kafka.security import security_options
from activator.kubernetes.api_service import MetricsApiOwner
from activator.kubernetes.catalog import KubernetesCatalog
from activator.kubernetes.credential_gate import CredentialGate
from activator.kubernetes.environment_objects import EnvironmentObjects
from activator.kubernetes.events import EventRecorder
from activator.kubernetes.front_proxy import FrontProxyConfigMap
from activator.kubernetes.hpa import KubernetesHandoff
from activator.kubernetes.keda_presence import KedaPresence
from activator.kubernetes.lease import LeaseElection
from activator.kubernetes.resources import Resources
from activator.kubernetes.scale import KubernetesScaler
from activator.kubernetes.scale_targets import ScaleTargetStore
from activator.kubernetes.scaled_object_status import Remembered
from activator.kubernetes.scaled_object_writer import ScaledObjectWriter
from activator.kubernetes.scaled_objects import ScaledObjects
from activator.kubernetes.secrets import SecretStore
from activator.kubernetes.shared_certificate import SharedCertificate
from activator.local.single_process import SoleLeader
from activator.loop import Activator, World
from activator.settings import Keda
from activator.specs.annotations import parse
from activator.specs.authentication import for_target, may_take_variables
from activator.specs.keda.scaled_object import container_of_packed, is_packed, objects_needed_by, pack, parse_packed
from activator.web import issuing
from activator.web.certificates import FromFiles, HandedOver, SelfSigned
from activator.web.metric_store import InMemoryMetricStore
from activator.wiring.credentials import CredentialLookup
from activator.wiring.parts import Clock, annotation_defaults, new_ids

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from activator.core.model import Policy, TargetRef
    from activator.errors import SpecError
    from activator.kafka.client import Connections
    from activator.kafka.tail import KafkaTail
    from activator.kubernetes.client import KubernetesClient
    from activator.ports import Recorder
    from activator.settings import Settings
    from activator.web.certificates import CertificateSource
    from activator.wiring.parts import Observability

WAKE_CONNECTIONS = 64
"""As many as targets are acted upon at the same time, and all of them kept ready: where each wake of a storm had to
agree on TLS first, a hundred took half as long again."""


class Cluster:
    """Every part of one process in a cluster, made but not started."""

    def __init__(self, settings: Settings, clock: Clock, identity: str, client: KubernetesClient) -> None:
        self.settings = settings
        self.clock = clock
        self.client = client
        self.defaults = annotation_defaults(settings)
        namespaces = settings.watch_namespace
        self.resources = Resources(client)
        self.scale_client = client.with_own_connections(WAKE_CONNECTIONS)
        self.election = LeaseElection(client, settings.lease, identity, clock.now) if settings.leader_election else None
        self.leadership = self.election or SoleLeader()
        self.keda = KedaPresence(client, clock.now)
        self.scaled_objects = self._followed_scaled_objects(client)
        self.environment = EnvironmentObjects(client, objects_needed_by)
        self.catalog = KubernetesCatalog(
            client,
            self.resources,
            self.parse,
            namespaces,
            self.scaled_objects,
            pack=lambda scaled_object, workload: pack(scaled_object, workload, self.environment.data),
            environment=self.environment,
        )
        # The Lease is in our own namespace, wherever that is.
        root = Path(settings.authentication_file_root) if settings.authentication_file_root else None
        self.secrets = SecretStore(client, security_options, operator_namespace=settings.lease[0], file_root=root)
        self.handoff = KubernetesHandoff(client, namespaces)
        self.states = ScaleTargetStore(client, namespaces, leads=self.leads)
        self.events = EventRecorder(client, identity, uid_of=self.catalog.uid, leads=self.leads)
        self.scaled_object_writer = (
            ScaledObjectWriter(client, self.scaled_objects, self.events, self.leads, clock.now)
            if self.scaled_objects is not None
            else None
        )
        self.front_proxy = FrontProxyConfigMap(client)
        self.metrics_api_owner = MetricsApiOwner(client, settings.metrics_api_service)
        self.store = InMemoryMetricStore()
        self.certificate, self.shared_certificate = self._certificates()

    def parse(self, annotations: Mapping[str, str], ref: TargetRef) -> tuple[Policy | None, tuple[SpecError, ...]]:
        """Read a workload's annotations with the operator's defaults."""
        if is_packed(annotations):
            return parse_packed(annotations, self.defaults)
        return parse(annotations, self.defaults, ref.namespace)

    def parse_kept(self, kept: Mapping[str, str], ref: TargetRef) -> tuple[Policy | None, tuple[SpecError, ...]]:
        """Read what was valid last, which no gate sees: its target is named to whoever may ask for its environment."""
        policy, problems = self.parse(kept, ref)
        if policy is not None:
            policy = for_target(policy, ref, container_of_packed(kept), may_take_variables)
        return policy, problems

    def _followed_scaled_objects(self, client: KubernetesClient) -> ScaledObjects | None:
        """Return who follows ScaledObjects; None: nobody is to."""
        if self.settings.keda is Keda.OFF:
            return None
        live = self.keda.is_live if self.settings.keda is Keda.AUTO else lambda: False
        return ScaledObjects(client, self.settings.watch_namespace, live)

    def recorders(self) -> tuple[Recorder, ...]:
        """Return who writes to the API server what happened."""
        return (self.events, *([self.scaled_object_writer] if self.scaled_object_writer is not None else []))

    def join(self, activator: Activator) -> None:
        """Let the loop know of rivals that come and go, and those who write about ScaledObjects what the loop knows."""

        def look(namespace: str, name: str) -> None:
            for ref in activator.targets:
                if (ref.namespace, ref.name) == (namespace, name):
                    activator.look(ref)

        def taken_over_at(ref: TargetRef) -> datetime | None:
            target = activator.targets.get(ref)
            return None if target is None else target.memory.taken_over_at

        self.handoff.rivals_changed, self.handoff.taken_over_at = look, taken_over_at
        if self.scaled_objects is None or self.scaled_object_writer is None:
            return
        self.scaled_objects.holds, self.scaled_objects.leads = activator.holds, self.leads
        self.catalog.refused = self.scaled_object_writer.refuse

        def remembered(ref: TargetRef) -> Remembered | None:
            target = activator.targets.get(ref)
            if target is None:
                return None
            view = self.handoff.look(ref, target.policy.scaled_object)
            problems = tuple(map(str, target.problems))
            warnings = target.warnings(self.clock.now())
            return Remembered(target.original_replicas, target.memory.last_active, view, problems, warnings)

        self.scaled_object_writer.remembered = remembered

    def credentials(self) -> CredentialLookup:
        """Return who is shown what. Raises SettingsError: the operator's own credentials cannot be used."""
        settings = self.settings
        folder = CredentialFolder(Path(settings.kafka_credentials) if settings.kafka_credentials else None)
        folder.options()  # what is wrong with them is told at once, not at the first connect
        return CredentialLookup(self.secrets, folder, settings.bootstrap_servers, settings.allowed_bootstrap_servers)

    def gate(self, activator: Activator, lookup: CredentialLookup) -> CredentialGate:
        """Return what the catalog delivers to."""
        return CredentialGate(self.secrets, activator, lookup.trusted_servers, activator.look)

    def leads(self) -> bool:
        """Tell whether this replica holds the lease."""
        return self.leadership.remaining() > timedelta(0)

    def _certificates(self) -> tuple[CertificateSource, SharedCertificate | None]:
        """Return what the metrics API shows, and who keeps it where all replicas share one."""
        settings = self.settings
        if settings.metrics_api_tls_cert:
            return FromFiles(Path(settings.metrics_api_tls_cert), Path(settings.metrics_api_tls_key)), None
        namespace, name = settings.metrics_api_service
        names = [f"{name}.{namespace}.svc", f"{name}.{namespace}", "localhost"]
        own = SelfSigned(names, self.clock.now())
        if not settings.metrics_api_shared_certificate:
            return own, None
        shown = HandedOver(until_then=own)
        return shown, SharedCertificate(
            self.client,
            settings.metrics_api_service,
            settings.metrics_api_shared_certificate,
            names=names,
            leads=self.leads,
            now=self.clock.now,
            times=RotationTimes(settings.metrics_api_certificate_lifetime),
            issuer=issuing,
            show=shown.take,
        )

    def world(self, connections: Connections, tail: KafkaTail, observed: Observability) -> World:
        """Return what the loop is given."""
        return World(
            catalog=self.catalog,
            reader=KafkaLagReader(connections),
            wakes=tail,
            scaler=KubernetesScaler(self.scale_client, self.resources),
            handoff=self.handoff,
            leadership=self.leadership,
            metrics=self.store,
            states=self.states,
            recorder=observed.recorder,
            now=self.clock.now,
            new_ids=new_ids,
            parse=self.parse_kept,
            group_offsets=KafkaGroupOffsets(connections),
            background_offsets=KafkaGroupOffsets(connections, purpose="background"),
            auto_handoff=self.metrics_api_owner.handoff,
        )


def scaled_object_tasks(cluster: Cluster) -> dict[str, Callable[[], Awaitable[None]]]:
    """Name the tasks without which the catalog does not know which ScaledObjects there are, and whose."""
    if cluster.scaled_objects is None or cluster.scaled_object_writer is None:
        return {}
    return {
        "KEDA's presence": cluster.keda.run,
        "ScaledObjects": cluster.scaled_objects.run,
        "status of ScaledObjects": cluster.scaled_object_writer.run,
    }


def process_identity() -> str:
    """Name this process: its Pod, else its host, and a random part, because a restarted container is another one."""
    return f"{os.environ.get('POD_NAME') or socket.gethostname()}_{secrets.token_hex(4)}"
