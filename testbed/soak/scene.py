"""Everything that runs: the parts, the network between, two replicas of ours, and their targets."""

from __future__ import annotations

import contextlib
import json
import ssl
import sys
import urllib.error
import urllib.request
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import psutil
from confluent_kafka import admin

from testbed import kubeconfig
from testbed.bed import Testbed, TestbedOptions
from testbed.control_plane_flags import HpaFlags
from testbed.kafka_config import Listener
from testbed.ports import LOOPBACK, ReservedPorts
from testbed.soak.plan import NODES
from testbed.soak.proxy import Network, Proxy
from testbed.soak.targets import PARTITIONS, Ledger, Observer, Sender, Target
from testbed.stage import Stage, install_crd, until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Self

    from testbed.control_plane import ControlPlane
    from testbed.kafka import KafkaCluster
    from testbed.stage import Wakegate

LISTENER, SECURED_LISTENER = "PROXIED", "SECURED"
USER, FIRST_PASSWORD, SECRET = "soak", "soak-0", "kafka-login"
SCRAM_ITERATIONS = 4096
ADMIN_SECONDS = 15.0
KAFKA_PROPERTIES = {
    "offsets.retention.minutes": "1",
    "offsets.retention.check.interval.ms": "5000",
    # KIP-848's members are put out after 45 s by default: a soak of minutes would wait for each that was killed.
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.session.timeout.ms": "6000",
    "group.consumer.heartbeat.interval.ms": "1000",
    "group.consumer.min.heartbeat.interval.ms": "1000",
}
FORGOTTEN_SECONDS = 68.0
"""Retention, the interval at which it is looked at, and a little more."""
IDENTITIES = ("wakegate-a", "wakegate-b")


class Kind(NamedTuple):
    """A kind of sleeper."""

    protocol: str
    reset: str
    extra: str = ""
    """`deep`: left asleep for longer than the retention of its offsets; `secured`: ours logs in to Kafka for it."""


SLEEPERS = (
    Kind("classic", "earliest"),
    Kind("classic", "latest"),
    Kind("consumer", "earliest"),
    Kind("consumer", "latest"),
    Kind("classic", "latest"),
    Kind("classic", "earliest", "secured"),
    Kind("consumer", "latest", "secured"),
    Kind("classic", "latest", "deep"),
    Kind("consumer", "latest", "deep"),
    Kind("classic", "earliest", "deep"),
)
COOLDOWN, BUSY_COOLDOWN = "3", "10"
STEADY_RECORDS = 5
FALL_ASLEEP_SECONDS = 300.0
REPLICA_SECONDS = 60.0
SERVED_SECONDS = 3.0
CONSUMER_MODULE = "testbed.consumer"


class Scene:
    """Made and ended as a context manager."""

    def __init__(self, run_directory: Path | None = None) -> None:
        self._exits = contextlib.ExitStack()
        self._run_directory = run_directory
        self.bed: Testbed
        self.stage: Stage
        self.network: Network
        self.kafka_proxies: list[Proxy] = []
        self.secured_proxies: list[Proxy] = []
        self.api_proxies: list[Proxy] = []
        self.replicas: list[Wakegate] = []
        self.sleepers: list[Target] = []
        self.steady: Target
        """Always has lag: it must never be at zero, and what is served for it tells how fresh a reading is."""
        self.busy: Target
        """Gets a record a second."""
        self.sender: Sender
        self.observer: Observer

    @property
    def kafka(self) -> KafkaCluster:
        """Three nodes."""
        return self.bed.kafka

    @property
    def plane(self) -> ControlPlane:
        """API server, etcd and controllers."""
        return self.bed.control_plane

    @property
    def targets(self) -> list[Target]:
        """All of them."""
        return [*self.sleepers, self.busy, self.steady]

    def __enter__(self) -> Self:
        try:
            self._start_parts()
            self._start_replicas()
            self._deploy()
            asleep = "every target sleeps for the first time"
            until(asleep, self._all_asleep, FALL_ASLEEP_SECONDS)
        except BaseException:
            self._exits.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def leader(self) -> int:
        """Which of the two replicas holds the Lease, 0 or 1; the first where nobody does."""
        holder = self.stage.leader()
        return IDENTITIES.index(holder) if holder in IDENTITIES else 0

    def served(self, replica: Wakegate) -> int | None:
        """Which lag of the steady target a replica would give the HPA now; None: it gives none."""
        url = (
            f"https://{LOOPBACK}:{replica.metrics_api_port}/apis/external.metrics.k8s.io/v1beta1/namespaces/"
            f"{self.stage.namespace}/s0-kafka-{self.steady.topic}"
            f"?labelSelector=wakegate.dev%2Ftarget%3Ddeployment-{self.steady.name}"
        )
        request = urllib.request.Request(url, headers={"X-Remote-User": "soak"})
        try:
            with urllib.request.urlopen(  # noqa: S310 - the same
                request, timeout=SERVED_SECONDS, context=self._front_proxy
            ) as answer:
                items = json.loads(answer.read())["items"]
        except (OSError, ValueError):
            return None
        return int(items[0]["value"]) if items else None

    def told(self, reason: str) -> int:
        """How often the replicas have said this in their logs: an Event is gone after an hour, as long as a soak."""
        logs = [replica.process.log for replica in self.replicas]
        return sum(f": {reason}: " in line for log in logs for line in log.read_text(errors="replace").splitlines())

    def consumer_processes(self) -> list[psutil.Process]:
        """Every consumer that runs just now, oldest first."""
        if self.bed.kubelet.pid is None:
            return []
        found = []
        for child in psutil.Process(self.bed.kubelet.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if CONSUMER_MODULE in child.cmdline():
                    found.append((child.create_time(), child.pid, child))
        return [child for _, _, child in sorted(found)]

    def proxies_of(self, nodes: Iterable[int]) -> list[Proxy]:
        """What stands before these Kafka nodes, 1..3, on either listener."""
        return [proxies[number - 1] for number in nodes for proxies in (self.kafka_proxies, self.secured_proxies)]

    def change_password(self, password: str) -> None:
        """Have Kafka let the user in with this password only."""
        mechanism = admin.ScramMechanism.SCRAM_SHA_512  # type: ignore[attr-defined]  # exported, but not by its stubs
        info = admin.ScramCredentialInfo(mechanism, SCRAM_ITERATIONS)  # type: ignore[attr-defined]
        change = admin.UserScramCredentialUpsertion(USER, info, password.encode())  # type: ignore[attr-defined]  # too
        client = self.kafka.admin()  # held until it has answered: one that nobody holds ends its requests
        client.alter_user_scram_credentials([change])[USER].result(ADMIN_SECONDS)

    def write_secret(self, password: str) -> None:
        """Write what ours logs in with."""
        data = {"sasl": "scram_sha512", "username": USER, "password": password, "tls": "disable"}
        metadata = {"name": SECRET, "namespace": self.stage.namespace}
        self.stage.api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})

    def set_clock(self, replica: Wakegate, hours: int) -> None:
        """Say how far its clock is off from its next start on."""
        replica.process.env["SOAK_CLOCK_OFFSET_SECONDS"] = str(hours * 3600)

    def _start_parts(self) -> None:
        ports = iter(self._exits.enter_context(ReservedPorts(2 * NODES + len(IDENTITIES))).ports)
        nodes = range(1, NODES + 1)
        listeners = (
            Listener("PLAINTEXT", name=LISTENER, advertised_ports={node: next(ports) for node in nodes}),
            Listener(
                "SASL_PLAINTEXT",
                name=SECURED_LISTENER,
                users={USER: FIRST_PASSWORD},
                advertised_ports={node: next(ports) for node in nodes},
            ),
        )
        options = TestbedOptions(
            kafka_nodes=NODES,
            kafka_properties=KAFKA_PROPERTIES,
            kafka_listeners=listeners,
            hpa=HpaFlags.stock(),
            jaeger=False,
            run_directory=self._run_directory,
        )
        self.bed = self._exits.enter_context(Testbed(options))
        install_crd(self.bed)
        self.kafka_proxies, self.secured_proxies = (self._before(listener) for listener in listeners)
        api_port = int(self.plane.url.rsplit(":")[-1])
        self.api_proxies = [Proxy(port, api_port) for port in ports]
        self.network = self._exits.enter_context(
            Network([*self.kafka_proxies, *self.secured_proxies, *self.api_proxies])
        )

    def _before(self, listener: Listener) -> list[Proxy]:
        behind = [int(address.rsplit(":")[-1]) for address in self.kafka.bootstrap_servers_of(listener.name).split(",")]
        return [Proxy(port, behind[node - 1]) for node, port in listener.advertised_ports.items()]

    def _start_replicas(self) -> None:
        self.stage = Stage.on(self.bed)
        self._exits.callback(self.stage.close)
        known = kubeconfig.read(self.plane.kubeconfig)
        for identity, proxy in zip(IDENTITIES, self.api_proxies, strict=True):
            through = kubeconfig.Credentials(f"https://{LOOPBACK}:{proxy.port}", known.ca_pem, known.token)
            replica = self.stage.wakegate(identity, bootstrap_servers=_addresses(self.kafka_proxies))
            replica.process.env["KUBECONFIG"] = str(through.write(self.bed.run_directory / f"{identity}.kubeconfig"))
            replica.process.command = [sys.executable, "-m", "testbed.soak.replica", "run"]
            self.replicas.append(replica)
        for replica in self.replicas:
            replica.process.start()
        for replica in self.replicas:
            replica.process.wait_ready(replica.is_ready, within_seconds=REPLICA_SECONDS)

    def _deploy(self) -> None:
        self.write_secret(FIRST_PASSWORD)
        for number, kind in enumerate(SLEEPERS):
            name = f"{kind.extra or 'plain'}-{number}-{kind.protocol}-{kind.reset}"
            self.sleepers.append(self._consumer(name, kind, COOLDOWN))
        self.busy = self._consumer("busy", Kind("classic", "earliest"), BUSY_COOLDOWN)
        self.stage.quiet_target(
            "steady",
            bootstrap_servers=_addresses(self.kafka_proxies),
            cooldown_period="3",
            polling_interval="2",
            lag_threshold="1000000",
            max_replica_count="1",
        )
        self.steady = Target("steady", f"{self.stage.namespace}-steady", 1, None)
        self.sender = self._exits.enter_context(Sender(self.kafka.bootstrap_servers, self.busy))
        self.observer = self._exits.enter_context(Observer(self.plane.api, self.stage.namespace))
        self.sender.send(self.steady, STEADY_RECORDS)

    def _consumer(self, name: str, kind: Kind, cooldown: str) -> Target:
        secured = kind.extra == "secured"
        proxies = self.secured_proxies if secured else self.kafka_proxies
        consumer = self.stage.consumer(
            name,
            partitions=PARTITIONS,
            auto_offset_reset=kind.reset,
            group_protocol=kind.protocol,
            bootstrap_servers=_addresses(proxies),
            cooldown_period=cooldown,
            polling_interval="3",
        )
        if secured:
            consumer.annotate(authentication_secret=SECRET)
        ledger = Ledger(consumer.ledger_path)
        return Target(name, self.stage.topic_of(consumer), PARTITIONS, ledger, kind.extra == "deep", secured)

    def _all_asleep(self) -> bool:
        return all(self.observer.replicas.get(target.name) == 0 for target in self.sleepers)

    @cached_property
    def _front_proxy(self) -> ssl.SSLContext:
        """Show what the aggregator shows; whom we talk to is known by the port."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        pair = self.plane.front_proxy_client
        context.load_cert_chain(pair.certificate, pair.key)
        return context


def _addresses(proxies: Iterable[Proxy]) -> str:
    return ",".join(f"{LOOPBACK}:{proxy.port}" for proxy in proxies)
