"""server.properties and the files beside it, rendered from addresses and listeners."""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from testbed.ports import LOOPBACK

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence
    from pathlib import Path

INTERNAL = "PLAINTEXT"
CONTROLLER = "CONTROLLER"
CLUSTER_ID = "d2FrZWdhdGUtdGVzdGJlZA"  # a cluster id is 16 bytes in URL-safe base64

SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]

# Kafka's default writes files named after its own scripts; here one stream, which the log file gets.
LOG_CONFIGURATION = """\
Configuration:
  status: warn
  Appenders:
    Console:
      name: STDOUT
      PatternLayout: {pattern: "[%d] %p %m (%c)%n"}
  Loggers:
    Root:
      level: INFO
      AppenderRef: {ref: STDOUT}
    Logger:
      - {name: org.apache.kafka.clients, level: WARN}
      - {name: org.apache.kafka.common.config.AbstractConfig, level: WARN}
      - {name: kafka.server.KafkaConfig, level: WARN}
"""


@dataclass(frozen=True)
class Listener:
    """A listener beside PLAINTEXT.

    Attributes:
        security_protocol: SASL_PLAINTEXT, SASL_SSL, SSL (or PLAINTEXT).
        sasl_mechanism: for the SASL protocols.
        users: user name -> password, for the SASL protocols.
        require_client_certificate: mutual TLS, for SSL and SASL_SSL.
        name: how the listener is called, default the protocol's name.
        advertised_ports: node id -> the port that clients are told, where something stands between (a proxy).
        certificate_hosts: whom the brokers' certificate is made out to here, where not to loopback.
        certificate_not_after: its end here, where it is another one.
    """

    security_protocol: Literal["PLAINTEXT", "SASL_PLAINTEXT", "SASL_SSL", "SSL"]
    sasl_mechanism: SaslMechanism = "SCRAM-SHA-512"
    users: Mapping[str, str] = field(default_factory=dict)
    require_client_certificate: bool = False
    name: str = ""
    advertised_ports: Mapping[int, int] = field(default_factory=dict)
    certificate_hosts: Sequence[str] = ()
    certificate_not_after: dt.datetime | None = None

    def __post_init__(self) -> None:
        """Default the name."""
        if not self.name:
            object.__setattr__(self, "name", self.security_protocol)

    @property
    def uses_tls(self) -> bool:
        """Whether brokers need a certificate for it."""
        return self.security_protocol in ("SSL", "SASL_SSL")

    @property
    def has_own_certificate(self) -> bool:
        """Whether brokers show another certificate here than on their other listeners."""
        return bool(self.certificate_hosts or self.certificate_not_after)

    @property
    def uses_sasl(self) -> bool:
        """Whether users log in."""
        return self.security_protocol.startswith("SASL_")


@dataclass(frozen=True)
class NodeAddress:
    """A node's id and its port for each listener name."""

    node_id: int
    ports: Mapping[str, int]

    def port_of(self, listener: str) -> int:
        """The port of a listener.

        Raises:
            KeyError: there is no listener of this name.
        """
        return self.ports[listener]


@dataclass(frozen=True)
class BrokerTls:
    """Files of a broker's PEM stores."""

    key_store: Path
    trust_store: Path
    own_key_stores: Mapping[str, Path] = field(default_factory=dict)
    """Of the listeners that have a certificate of their own, by name."""


def node_properties(
    address: NodeAddress,
    cluster: Sequence[NodeAddress],
    *,
    data: Path,
    listeners: Sequence[Listener] = (),
    tls: BrokerTls | None = None,
) -> dict[str, str]:
    """Compose one node's properties: broker and controller in one, a static quorum, small and quick for tests."""
    replication = str(min(len(cluster), 3))
    addresses = {name: f"{name}://{LOOPBACK}:{port}" for name, port in address.ports.items()}
    advertised = {name: url for name, url in addresses.items() if name != CONTROLLER}
    advertised |= {
        listener.name: f"{listener.name}://{LOOPBACK}:{listener.advertised_ports[address.node_id]}"
        for listener in listeners
        if address.node_id in listener.advertised_ports
    }
    protocols = {INTERNAL: "PLAINTEXT", CONTROLLER: "PLAINTEXT"}
    protocols |= {listener.name: listener.security_protocol for listener in listeners}
    properties = {
        "process.roles": "broker,controller",
        "node.id": str(address.node_id),
        "controller.quorum.voters": ",".join(
            f"{node.node_id}@{LOOPBACK}:{node.port_of(CONTROLLER)}" for node in cluster
        ),
        "listeners": ",".join(addresses.values()),
        "advertised.listeners": ",".join(advertised.values()),
        "controller.listener.names": CONTROLLER,
        "inter.broker.listener.name": INTERNAL,
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        # Few partitions: a fresh cluster has its internal topics at once.
        "offsets.topic.num.partitions": "6",
        "offsets.topic.replication.factor": replication,
        "transaction.state.log.num.partitions": "3",
        "transaction.state.log.replication.factor": replication,
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": replication,
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        # A killed broker that comes back is let in when its old session has ended (9 s by default).
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "num.network.threads": "2",
        "num.io.threads": "4",
        # The log cleaner looks for work every 15 s by default, which is most of what a test waits for it.
        "log.cleaner.backoff.ms": "500",
        "log.cleaner.dedupe.buffer.size": "16777216",  # its default of 128 MiB does not fit the small heap well
    }
    if tls:
        properties |= {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(tls.key_store),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(tls.trust_store),
        }
        properties |= {
            f"listener.name.{name.lower()}.ssl.keystore.location": str(path)
            for name, path in tls.own_key_stores.items()
        }
    for listener in listeners:
        properties |= _listener_properties(listener)
    return properties


def _listener_properties(listener: Listener) -> dict[str, str]:
    prefix = f"listener.name.{listener.name.lower()}"
    properties = {}
    if listener.uses_tls:
        properties[f"{prefix}.ssl.client.auth"] = "required" if listener.require_client_certificate else "none"
    if listener.uses_sasl:
        mechanism = listener.sasl_mechanism
        properties[f"{prefix}.sasl.enabled.mechanisms"] = mechanism
        properties[f"{prefix}.{mechanism.lower()}.sasl.jaas.config"] = _jaas(listener)
    return properties


def _jaas(listener: Listener) -> str:
    """The broker's login module; PLAIN keeps its users here, SCRAM in the cluster's metadata.

    OAUTHBEARER takes any token that is a JWT without a signature (Kafka's own validator for development).
    """
    if listener.sasl_mechanism == "OAUTHBEARER":
        module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"
        return f'{module} required unsecuredLoginStringClaim_sub="broker";'
    if listener.sasl_mechanism != "PLAIN":
        return "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    users = " ".join(f'user_{name}="{password}"' for name, password in listener.users.items())
    return f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"


def scram_arguments(listener: Listener) -> list[str]:
    """Values for `kafka-storage format --add-scram`, one per user of a SCRAM listener."""
    if not listener.uses_sasl or not listener.sasl_mechanism.startswith("SCRAM-"):
        return []
    return [f"{listener.sasl_mechanism}=[name={user},password={word}]" for user, word in listener.users.items()]


def meta_properties(node_id: int) -> str:
    """The file that marks a data folder as belonging to this cluster and node (version 1: KRaft)."""
    directory_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    return render_properties(
        {"version": "1", "cluster.id": CLUSTER_ID, "node.id": str(node_id), "directory.id": directory_id}
    )


def render_properties(properties: Mapping[str, str]) -> str:
    """Render Java properties; a backslash would be read as an escape and is doubled, the end of a line is one."""
    written = {key: value.replace("\\", "\\\\").replace("\n", "\\n") for key, value in properties.items()}
    return "".join(f"{key}={value}\n" for key, value in written.items())
