"""server.properties, rendered."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from testbed import kafka_config
from testbed.kafka_config import BrokerTls, Listener, NodeAddress

DATA = Path("/run/data")
NODES = [NodeAddress(number, {"PLAINTEXT": 9090 + number, "CONTROLLER": 9190 + number}) for number in (1, 2, 3)]


def test_one_node() -> None:
    """A lone node replicates nothing and is its own quorum."""
    properties = kafka_config.node_properties(NODES[0], NODES[:1], data=DATA)
    assert properties["controller.quorum.voters"] == "1@127.0.0.1:9191"
    assert properties["listeners"] == "PLAINTEXT://127.0.0.1:9091,CONTROLLER://127.0.0.1:9191"
    assert properties["advertised.listeners"] == "PLAINTEXT://127.0.0.1:9091"
    assert properties["offsets.topic.replication.factor"] == "1"
    assert properties["auto.create.topics.enable"] == "false"
    assert properties["log.dirs"] == "/run/data"


def test_three_nodes() -> None:
    """Each of three nodes knows all voters and keeps a replica of the internal topics."""
    properties = kafka_config.node_properties(NODES[2], NODES, data=DATA)
    assert properties["node.id"] == "3"
    assert properties["controller.quorum.voters"] == "1@127.0.0.1:9191,2@127.0.0.1:9192,3@127.0.0.1:9193"
    assert properties["offsets.topic.replication.factor"] == "3"


@pytest.mark.parametrize(
    ("listener", "expected"),
    [
        (
            Listener("SASL_SSL", users={"alice": "secret"}),
            {
                "listener.name.sasl_ssl.ssl.client.auth": "none",
                "listener.name.sasl_ssl.sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                ),
            },
        ),
        (
            Listener("SASL_PLAINTEXT", sasl_mechanism="PLAIN", users={"alice": "secret"}),
            {
                "listener.name.sasl_plaintext.sasl.enabled.mechanisms": "PLAIN",
                "listener.name.sasl_plaintext.plain.sasl.jaas.config": (
                    'org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="secret";'
                ),
            },
        ),
        (
            Listener("SSL", require_client_certificate=True, name="MTLS"),
            {"listener.name.mtls.ssl.client.auth": "required"},
        ),
        (
            Listener("SSL", name="ELSEWHERE", certificate_hosts=("kafka.elsewhere.svc",)),
            {
                "listener.name.elsewhere.ssl.client.auth": "none",
                "listener.name.elsewhere.ssl.keystore.location": "/own.pem",
            },
        ),
    ],
    ids=["SCRAM over TLS", "PLAIN", "mutual TLS", "a certificate of its own"],
)
def test_secured_listeners(listener: Listener, expected: dict[str, str]) -> None:
    """Each kind of listener gets exactly its own properties."""
    address = NodeAddress(1, {"PLAINTEXT": 1, "CONTROLLER": 2, listener.name: 3})
    own = {listener.name: Path("/own.pem")} if listener.has_own_certificate else {}
    tls = BrokerTls(Path("/k.pem"), Path("/ca.pem"), own) if listener.uses_tls else None
    properties = kafka_config.node_properties(address, [address], data=DATA, listeners=[listener], tls=tls)
    assert {key: value for key, value in properties.items() if key.startswith("listener.name.")} == expected
    assert f"{listener.name}:{listener.security_protocol}" in properties["listener.security.protocol.map"]
    assert properties["advertised.listeners"].endswith(f"{listener.name}://127.0.0.1:3")
    assert ("ssl.keystore.location" in properties) is listener.uses_tls


def test_scram_users_are_created_when_formatting() -> None:
    """SCRAM users are part of the first metadata; PLAIN ones are in the listener's login module."""
    scram = Listener("SASL_SSL", sasl_mechanism="SCRAM-SHA-256", users={"alice": "a", "bob": "b"})
    plain = Listener("SASL_SSL", sasl_mechanism="PLAIN", users={"alice": "a"})
    assert kafka_config.scram_arguments(scram) == [
        "SCRAM-SHA-256=[name=alice,password=a]",
        "SCRAM-SHA-256=[name=bob,password=b]",
    ]
    assert kafka_config.scram_arguments(plain) == []
    assert kafka_config.scram_arguments(Listener("SSL", users={"alice": "a"})) == []


def test_backslashes_and_ends_of_lines_are_escaped() -> None:
    """Java reads a backslash in properties as an escape, and an end of a line as that of the value."""
    assert kafka_config.render_properties({"a": r"x\y"}) == "a=x\\\\y\n"
    assert kafka_config.render_properties({"a": "x\ny\n"}) == "a=x\\ny\\n\n"


def test_meta_properties() -> None:
    """Kafka accepts a folder of version 1 whose ids are 16 bytes in URL-safe base64."""
    lines = dict(line.split("=", 1) for line in kafka_config.meta_properties(2).splitlines())
    assert lines["version"] == "1"
    assert lines["node.id"] == "2"
    for name in ("cluster.id", "directory.id"):
        assert len(base64.urlsafe_b64decode(lines[name] + "==")) == 16
