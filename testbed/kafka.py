"""Apache Kafka in KRaft mode: one or three nodes, each of which can be paused, killed and started again."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from testbed import builds, cache, kafka_config, kafka_probe
from testbed.certificates import CertificateAuthority
from testbed.errors import PartFailedError, TestbedError
from testbed.kafka_config import INTERNAL, Listener, NodeAddress
from testbed.ports import LOOPBACK, ReservedPorts
from testbed.processes import ManagedProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from confluent_kafka import KafkaError
    from confluent_kafka.admin import AdminClient

    from testbed.certificates import KeyPair

READY_SECONDS = 90.0
REQUEST_SECONDS = 30.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.02
COMMIT_SECONDS = 3.0
NOT_READY_TO_COMMIT = {"COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR", "_TIMED_OUT"}
"""What the coordinator answers to the first commit of all, before it has loaded the topic that was made for it."""


class KafkaNode(ManagedProcess):
    """One broker and controller; port and data stay over restarts."""

    def __init__(self, address: NodeAddress, command: Sequence[str | Path], *, log: Path) -> None:
        super().__init__(f"Kafka node {address.node_id}", command, log=log, grace_seconds=STOP_SECONDS)
        self.address = address

    @property
    def bootstrap_server(self) -> str:
        """Its PLAINTEXT address."""
        return f"{LOOPBACK}:{self.address.port_of(INTERNAL)}"

    def answers(self, *, brokers: int = 1) -> bool:
        """Say whether it answers Metadata and sees at least this many brokers."""
        view = kafka_probe.ask(self.address.port_of(INTERNAL))
        return view is not None and view.brokers >= brokers

    def knows(self, topic: str) -> bool:
        """Say whether this node's own view of the cluster has the topic."""
        view = kafka_probe.ask(self.address.port_of(INTERNAL), topic)
        return view is not None and topic in view.topics

    def start_and_wait(self) -> None:
        """Start it and wait until it answers again."""
        self.start()
        self.wait_ready(self.answers, within_seconds=READY_SECONDS)


@dataclass
class KafkaCluster:
    """A Kafka cluster on loopback.

    There is always a PLAINTEXT listener; `listeners` adds more. Topics are not created by being named.

    Args:
        run_directory: where configuration, data and logs go.
        nodes: 1 or 3.
        properties: added to each node's server.properties, last word.
        listeners: secured listeners beside PLAINTEXT.
    """

    run_directory: Path
    nodes: int = 1
    properties: Mapping[str, str] = field(default_factory=dict)
    listeners: Sequence[Listener] = ()

    def __post_init__(self) -> None:
        """Take the ports, so that addresses are known before the start.

        Raises:
            TestbedError: the number of nodes is neither 1 nor 3.
        """
        if self.nodes not in (1, 3):
            raise TestbedError(f"a Kafka cluster has 1 or 3 nodes here, not {self.nodes}")
        per_node = 2 + len(self.listeners)
        self._ports = ReservedPorts(self.nodes * per_node)
        names = (INTERNAL, kafka_config.CONTROLLER, *(listener.name for listener in self.listeners))
        self._addresses = [
            NodeAddress(number + 1, dict(zip(names, self._ports.ports[number * per_node :], strict=False)))
            for number in range(self.nodes)
        ]
        self._authority: CertificateAuthority | None = None
        self._node_list: list[KafkaNode] = []

    @property
    def bootstrap_servers(self) -> str:
        """PLAINTEXT addresses of all nodes, joined by commas."""
        return self.bootstrap_servers_of(INTERNAL)

    def bootstrap_servers_of(self, listener: str) -> str:
        """Addresses of the listener with this name, joined by commas."""
        return ",".join(f"{LOOPBACK}:{address.port_of(listener)}" for address in self._addresses)

    @property
    def authority(self) -> CertificateAuthority:
        """Who signed the brokers' certificates; issue clients' certificates with it."""
        if self._authority is None:
            self._authority = CertificateAuthority(self.run_directory / "certificates", "testbed Kafka CA")
        return self._authority

    def node(self, node_id: int) -> KafkaNode:
        """The node with this id (1, 2, 3), to pause, resume, kill, stop or start."""
        return self._node_list[node_id - 1]

    def start(self) -> Self:
        """Start all nodes and wait until every one of them sees all the others.

        Raises:
            MissingToolError, BuildFailedError: Kafka could not be had.
            PartFailedError: a node did not come up; carries the end of its log.
        """
        jars = builds.ensure(builds.KAFKA) / "lib"
        bootstrap = self._bootstrap_checkpoint(jars)
        self._node_list = [self._prepare(address, jars, bootstrap) for address in self._addresses]
        try:
            for node in self._node_list:
                node.start()
            self.wait_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Stop all nodes in order, at the same time (a lone controller waits for its quorum), and free the ports."""
        with ThreadPoolExecutor(max_workers=self.nodes) as pool:
            list(pool.map(ManagedProcess.stop, self._node_list))
        self._ports.close()

    def kill(self) -> None:
        """SIGKILL all nodes."""
        for node in self._node_list:
            node.kill()

    def pause(self) -> None:
        """SIGSTOP all nodes: the cluster accepts connections and answers nothing."""
        for node in self._node_list:
            node.pause()

    def resume(self) -> None:
        """SIGCONT all nodes."""
        for node in self._node_list:
            node.resume()

    def restart(self) -> None:
        """Start nodes that are down and wait until the cluster is whole."""
        for node in self._node_list:
            node.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until every node answers and sees all the others."""
        for node in self._node_list:
            node.wait_ready(lambda node=node: node.answers(brokers=self.nodes), within_seconds=READY_SECONDS)  # type: ignore[misc]

    def admin(self) -> AdminClient:
        """An admin client of librdkafka, independent of the client that the product uses."""
        from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - a development dependency, only needed here

        return AdminClient({"bootstrap.servers": self.bootstrap_servers})

    def create_topic(
        self,
        name: str,
        *,
        partitions: int = 1,
        replication: int | None = None,
        config: Mapping[str, str] | None = None,
    ) -> None:
        """Create a topic and wait until every node knows it.

        Args:
            name: topic name.
            partitions: number of partitions.
            replication: number of replicas, default one on each node.
            config: topic configuration, such as `{"retention.ms": "1000"}`.
        """
        from confluent_kafka.cimpl import NewTopic  # noqa: PLC0415 - see admin()

        topic = NewTopic(name, partitions, replication or self.nodes, config=dict(config or {}))
        admin = self.admin()
        admin.create_topics([topic], request_timeout=REQUEST_SECONDS)[name].result(REQUEST_SECONDS)
        self._wait_for_topic(name, known=True)

    def delete_topic(self, name: str) -> None:
        """Delete a topic and wait until no node knows it."""
        admin = self.admin()
        admin.delete_topics([name], request_timeout=REQUEST_SECONDS)[name].result(REQUEST_SECONDS)
        self._wait_for_topic(name, known=False)

    def commit(self, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        """Commit offsets for a group without members, as an operator does.

        Args:
            group: the group.
            offsets: next offset to read, by topic and partition.

        Raises:
            PartFailedError: a partition's commit was refused; carries each refusal.
        """
        deadline = time.monotonic() + REQUEST_SECONDS
        while refusals := self._commit_once(group, offsets):
            if time.monotonic() > deadline or not {error.name() for error in refusals.values()} <= NOT_READY_TO_COMMIT:
                raise PartFailedError(f"offsets of group {group} were not committed: {refusals}")
            time.sleep(POLL_SECONDS)

    def _commit_once(self, group: str, offsets: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], KafkaError]:
        """Commit and return what was refused: the request succeeds even where no partition of it does."""
        from confluent_kafka import (  # noqa: PLC0415 - see admin()
            ConsumerGroupTopicPartitions,
            KafkaException,
            TopicPartition,
        )

        places = [TopicPartition(topic, number, offset) for (topic, number), offset in offsets.items()]
        request = ConsumerGroupTopicPartitions(group, places)
        admin = self.admin()
        try:
            # librdkafka may wait for a coordinator that was not there yet until this runs out: few seconds, and again.
            answer = admin.alter_consumer_group_offsets([request], request_timeout=COMMIT_SECONDS)[group]
            committed = answer.result(REQUEST_SECONDS).topic_partitions or []
        except KafkaException as error:
            return dict.fromkeys(offsets, error.args[0])
        return {(place.topic, place.partition): place.error for place in committed if place.error}

    def _wait_for_topic(self, name: str, *, known: bool) -> None:
        """Wait until every node that runs agrees: the controller answers before the brokers have heard of it."""
        deadline = time.monotonic() + REQUEST_SECONDS
        for node in self._node_list:
            while node.running and node.knows(name) is not known:
                if time.monotonic() > deadline:
                    raise PartFailedError(f"{node.name}: topic {name} is still {'un' if known else ''}known")
                time.sleep(POLL_SECONDS)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _prepare(self, address: NodeAddress, jars: Path, bootstrap: Path) -> KafkaNode:
        """Write one node's configuration and a data folder as `kafka-storage format` would."""
        folder = self.run_directory / f"node-{address.node_id}"
        data = folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        properties = kafka_config.node_properties(
            address, self._addresses, data=data, listeners=self.listeners, tls=self._tls(address)
        )
        rendered = kafka_config.render_properties({**properties, **self.properties})
        (folder / "server.properties").write_text(rendered)
        (folder / "log4j2.yaml").write_text(kafka_config.LOG_CONFIGURATION)
        if not (data / "meta.properties").exists():
            (data / "meta.properties").write_text(kafka_config.meta_properties(address.node_id))
            shutil.copy(bootstrap, data / bootstrap.name)
        command: list[str | Path] = [
            *java_command(f"{jars}/*", heap_megabytes=512 if self.nodes == 1 else 384),
            f"-Dlog4j2.configurationFile={folder / 'log4j2.yaml'}",
            "kafka.Kafka",
            folder / "server.properties",
        ]
        return KafkaNode(address, command, log=folder / "kafka.log")

    def _tls(self, address: NodeAddress) -> kafka_config.BrokerTls | None:
        if not any(listener.uses_tls for listener in self.listeners):
            return None
        name = f"broker-{address.node_id}"
        return kafka_config.BrokerTls(
            key_store=self._key_store(self.authority.issue(name), name),
            trust_store=self.authority.certificate,
            own_key_stores={
                listener.name: self._key_store(
                    self.authority.issue(
                        own := f"{name}-{listener.name.lower()}",
                        hosts=listener.certificate_hosts or None,
                        not_after=listener.certificate_not_after,
                    ),
                    own,
                )
                for listener in self.listeners
                if listener.has_own_certificate
            },
        )

    def _key_store(self, pair: KeyPair, name: str) -> Path:
        path = self.run_directory / "certificates" / f"{name}.pem"
        path.touch(mode=0o600)
        path.write_text(pair.bundle())
        return path

    def _bootstrap_checkpoint(self, jars: Path) -> Path:
        """Return the `bootstrap.checkpoint` with which a new cluster begins.

        Without SCRAM users it is the same for every cluster of one Kafka version, so it is made once and kept: that
        saves each start a JVM of two seconds.
        """
        users = [user for listener in self.listeners for user in kafka_config.scram_arguments(listener)]
        if users:
            folder = self.run_directory / "format"
            folder.mkdir(parents=True, exist_ok=True)
            return _format(jars, folder, users)

        def make(folder: Path) -> None:
            _format(jars, folder, [])

        folder = cache.ensure(cache.default_root(), f"{builds.KAFKA.key}-bootstrap", make)
        return folder / "data" / "bootstrap.checkpoint"


def java_command(class_path: str, *, heap_megabytes: int) -> list[str]:
    """Begin the command line of a JVM that starts quickly and stays small."""
    return [
        "java",
        f"-Xmx{heap_megabytes}m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",  # two cores: the optimizing compiler costs more than it brings in a short life
        "-Xshare:auto",
        "-cp",
        class_path,
    ]


def _format(jars: Path, folder: Path, users: Sequence[str]) -> Path:
    """Let Kafka's own tool write the bootstrap checkpoint, into `folder/data`."""
    address = NodeAddress(1, {INTERNAL: 1, kafka_config.CONTROLLER: 2})  # not kept in what is written
    properties = kafka_config.node_properties(address, [address], data=folder / "data")
    (folder / "format.properties").write_text(kafka_config.render_properties(properties))
    command: list[str | Path] = [
        *java_command(f"{jars}/*", heap_megabytes=256),
        "kafka.tools.StorageTool",
        "format",
        "--cluster-id",
        kafka_config.CLUSTER_ID,
        "--config",
        folder / "format.properties",
    ]
    for user in users:
        command += ["--add-scram", user]
    tool = ManagedProcess("Kafka's storage tool", command, log=folder / "format.log")
    tool.start()
    if tool.wait(READY_SECONDS) != 0:
        tool.kill()
        raise PartFailedError(f"{tool.name} ended with status {tool.returncode}:\n{tool.log_tail()}")
    return folder / "data" / "bootstrap.checkpoint"
