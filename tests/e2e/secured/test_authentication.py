"""Credentials out of the target's own namespace: what gets a workload going, what is told, and what never is."""

from __future__ import annotations

import datetime as dt
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from activator.kubernetes.secrets import LOOK_SECONDS
from testbed.certificates import CertificateAuthority
from testbed.stage import until
from tests.e2e.secured.ground import (
    CANARY,
    EXPIRED,
    FIRST,
    LONG_AGO,
    SECOND,
    USER,
    WRONG,
    client_certificate,
    everything_told,
    grant,
    has_replicas,
    login,
    put_secret,
    start,
)
from tests.e2e.test_round import PARTITIONS, check_records
from tests.kafka.key_forms import FORMS, PASSWORD

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.stage import Consumer, Stage, Wakegate

pytestmark = pytest.mark.real

IN_USE_SECONDS = 10
"""What is promised: from the API server's answer to whoever wrote the Secret to a connection that the broker has taken.

A look every `LOOK_SECONDS` leaves five of them for the reads and for the connection.
"""
NEW_CONNECTION = ", lag: connected with the new credentials"
WAIT_SECONDS = 60
"""How long the test waits: so that it is slow on a busy machine, and does not fail for that alone."""
CONSUMER = {"work_milliseconds": 40, "cooldown_period": "4", "polling_interval": "3"}


def secured(stage: Stage, listener: str, name: str = "orders", **annotations: str) -> Consumer:
    """A consumer whose target names a secured listener."""
    servers = stage.bed.kafka.bootstrap_servers_of(listener)
    return stage.consumer(name, bootstrap_servers=servers, **CONSUMER, **annotations)  # type: ignore[arg-type]


def play_round(stage: Stage, *consumers: Consumer) -> None:
    """Side by side 0 -> 1 -> 5 -> 0, and no record skipped."""
    for consumer in consumers:
        until(f"{consumer.name} sleeps", consumer.asleep, 60)
        stage.produce(consumer)
        until(f"one record wakes {consumer.name}", partial(has_replicas, consumer, 1), 5)
        stage.produce(consumer, 500)
    for consumer in consumers:
        until(f"{consumer.name} is taken to five", partial(has_replicas, consumer, PARTITIONS), 60)
    for consumer in consumers:
        until(f"everything of {consumer.name} is consumed", partial(has_consumed, consumer, 501), 90)
        until(f"{consumer.name} sleeps again", partial(has_replicas, consumer, 0), 60)
        check_records(consumer, rounds=1)


def has_consumed(consumer: Consumer, count: int) -> bool:
    """Whether it has read so many different records."""
    return consumer.consumed() == count


def give_variable(stage: Stage, consumer: Consumer, name: str, secret: str, key: str) -> None:
    """Let a consumer's container have a key of a Secret in its environment."""
    path = f"/apis/apps/v1/namespaces/{stage.namespace}/deployments/{consumer.name}"
    (container,) = stage.api.get(path)["spec"]["template"]["spec"]["containers"]
    variable = {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
    container["env"] = [*container.get("env", ()), variable]
    stage.api.patch(path, {"spec": {"template": {"spec": {"containers": [container]}}}})


def encrypted_certificate(stage: Stage) -> dict[str, str]:
    """The keys of a Secret as cert-manager names them, with an encrypted key."""
    make, write, mark = FORMS["RSA, PKCS#8, PBES2"]
    key = make()
    written = write(key)
    assert mark in written
    authority = stage.bed.kafka.authority
    return {
        "tls.crt": authority.certify(USER, key.public_key()),
        "tls.key": written,
        "password": PASSWORD,
        "ca.crt": authority.certificate.read_text(),
    }


def authentication_of_three_sources(stage: Stage) -> tuple[dict[str, Any], dict[str, Any]]:
    """A TriggerAuthentication: certificate and key out of a Secret, `tls` out of a ConfigMap.

    And the key's password from where the consumer's own container has it.
    """
    where = {"namespace": stage.namespace}
    parameters = {"cert": "tls.crt", "key": "tls.key", "ca": "ca.crt"}
    entries = [{"parameter": name, "name": "certificate", "key": source} for name, source in parameters.items()]
    settings = [{"parameter": "tls", "name": "kafka", "key": "tls"}]
    return (
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kafka", **where}, "data": {"tls": "enable"}},
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "TriggerAuthentication",
            "metadata": {"name": "kafka", **where},
            "spec": {
                "secretTargetRef": entries,
                "configMapTargetRef": settings,
                "env": [{"parameter": "keyPassword", "name": "KEY_PASSWORD"}],
            },
        },
    )


def test_rounds_by_an_annotation_and_by_a_trigger_authentication(stage: Stage) -> None:
    """One by SCRAM-SHA-512 over TLS, one by a client certificate with an encrypted key; nothing secret is told."""
    put_secret(stage, "kafka", **login(stage, FIRST))
    certificate = encrypted_certificate(stage)
    put_secret(stage, "certificate", **certificate)
    stage.api.apply(*authentication_of_three_sources(stage))
    grant(stage, "wakegate-secrets-reader")
    wakegate = start(stage)
    by_annotation = secured(stage, "SCRAM", "by-annotation", authentication_secret="kafka")
    by_reference = secured(stage, "MTLS", "by-reference", authentication_ref="kafka")
    give_variable(stage, by_reference, "KEY_PASSWORD", "certificate", "password")
    play_round(stage, by_annotation, by_reference)

    told = everything_told(stage, wakegate)
    assert "Secret" in told
    assert "wakegate.decide" in told
    assert CANARY not in told
    assert certificate["tls.key"].splitlines()[3] not in told


def secret_reads(stage: Stage) -> int:
    """How often wakegate has asked for a Secret of this stage."""
    return sum(
        (event.namespace, event.resource, event.verb) == (stage.namespace, "secrets", "get")
        for event in stage.bed.control_plane.audit_events()
    )


def refusals_at_the_broker(stage: Stage) -> int:
    """How many logins the broker has refused."""
    return stage.bed.kafka.node(1).log.read_text(errors="replace").count("Failed authentication")


def test_one_trouble_after_the_other(stage: Stage, tmp_path: Path) -> None:
    """No grant, no Secret, no key, a wrong CA, a wrong password: each is said in the status; then all is right.

    Side by side, and how often each is tried: `test_troubles.py`.
    """
    began = time.monotonic()
    wakegate = start(stage)
    consumer = secured(stage, "SCRAM", authentication_secret="kafka")
    place = f"Secret {stage.namespace}/kafka"

    def says(sentence: str) -> None:
        until(f"it says {sentence!r}", lambda: sentence in consumer.scale_target().get("message", ""), 45)

    says(f"{place}: it may not be read; bind ClusterRole wakegate-secrets-reader")
    grant(stage, "wakegate-secrets-reader")
    says(f"{place}: it does not exist; make it")
    right = login(stage, FIRST)
    put_secret(stage, "kafka", **{name: value for name, value in right.items() if name != "password"})
    says(f"{place}, key password: it is missing or empty")
    stranger = CertificateAuthority(tmp_path, "somebody else").certificate.read_text()
    put_secret(stage, "kafka", **{**right, "ca": stranger})
    says("certificate verify failed: none of the authorities that are trusted (ca) has signed it")
    put_secret(stage, "kafka", **login(stage, WRONG))
    says("refused the credentials")
    put_secret(stage, "kafka", **right)
    until("it sleeps", lambda: consumer.replicas() == 0, 60)

    elapsed = time.monotonic() - began
    assert secret_reads(stage) <= elapsed / LOOK_SECONDS + 5
    invalid = consumer.told_invalid()
    assert 3 <= sum(event.get("count") or 1 for event in invalid) <= 5
    assert CANARY not in everything_told(stage, wakegate)


def times_taken_up(stage: Stage, wakegate: Wakegate) -> int:
    """How often wakegate has said that it uses what is in the Secret."""
    return wakegate.process.log.read_text().count(f"credentials of Secret {stage.namespace}/kafka are in use")


def seconds_until_in_use(stage: Stage, wakegate: Wakegate, rotations: int) -> float:
    """Wait until so many rotations are over, and return what the last one took.

    Both moments are told by the parts: the API server's audit log has when the Secret was changed, and wakegate's log
    when the broker had answered on a connection with the new credential. So neither the test's own polling nor that it
    is kept from the processor counts; that wakegate is, does.
    """

    def connected() -> list[str]:
        return [line for line in wakegate.process.log.read_text().splitlines() if line.endswith(NEW_CONNECTION)]

    until("a connection has shown the new credential", lambda: len(connected()) == rotations, WAIT_SECONDS)
    changed = [
        event.completed_at
        for event in stage.bed.control_plane.audit_events()
        if (event.namespace, event.resource, event.name) == (stage.namespace, "secrets", "kafka")
        and event.verb in {"patch", "update"}
    ]
    taken = (dt.datetime.fromisoformat(connected()[-1].split(" ", 1)[0]) - changed[-1]).total_seconds()
    print(f"in use after {taken:.1f} s")  # noqa: T201 - the measurement itself
    return taken


def change_password(stage: Stage, password: str) -> None:
    """Change a user's password at the broker."""
    from confluent_kafka import admin  # noqa: PLC0415 - a development dependency, only needed here

    mechanism = admin.ScramMechanism.SCRAM_SHA_512  # type: ignore[attr-defined]  # exported, but not by its stubs
    info = admin.ScramCredentialInfo(mechanism, 4096)  # type: ignore[attr-defined]  # the same
    change = admin.UserScramCredentialUpsertion(USER, info, password.encode())  # type: ignore[attr-defined]  # the same
    client = stage.bed.kafka.admin()  # held: what is under way ends with it
    client.alter_user_scram_credentials([change])[USER].result(30)


def wake(stage: Stage, consumer: Consumer, produced: int) -> int:
    """Let one record wake a sleeper; answers how many were produced now."""
    until("it sleeps", consumer.asleep, 60)
    stage.produce(consumer)
    until("one record wakes it", lambda: consumer.replicas() == 1, 5)
    return produced + 1


def test_a_password_is_rotated_under_load(stage: Stage) -> None:
    """Changed at the broker, then in the Secret: every record wakes, and the new one is in use within seconds."""
    put_secret(stage, "kafka", **login(stage, FIRST))
    grant(stage, "wakegate-secrets-reader")
    wakegate = start(stage)
    consumer = secured(stage, "SCRAM", authentication_secret="kafka")
    refused = refusals_at_the_broker(stage)
    produced = wake(stage, consumer, 0)
    try:
        change_password(stage, SECOND)
        produced = wake(stage, consumer, produced)
        put_secret(stage, "kafka", **login(stage, SECOND))
        assert 0 <= seconds_until_in_use(stage, wakegate, 1) <= IN_USE_SECONDS
        assert times_taken_up(stage, wakegate) == 2
        produced = wake(stage, consumer, produced)
        produced = wake(stage, consumer, produced)
        until("everything is consumed", lambda: consumer.consumed() == produced, 60)
        # Not after the password is put back: whoever connects then is refused, and rightly.
        assert refusals_at_the_broker(stage) == refused
    finally:
        change_password(stage, FIRST)
    assert CANARY not in everything_told(stage, wakegate)


def test_a_client_certificate_is_rotated_under_load(stage: Stage) -> None:
    """As cert-manager does it: another one in the Secret, and every record wakes; one that has expired is named."""
    put_secret(stage, "kafka", **client_certificate(stage))
    grant(stage, "wakegate-secrets-reader")
    wakegate = start(stage)
    consumer = secured(stage, "MTLS", authentication_secret="kafka")
    refused = refusals_at_the_broker(stage)
    produced = wake(stage, consumer, 0)
    put_secret(stage, "kafka", **client_certificate(stage))
    assert 0 <= seconds_until_in_use(stage, wakegate, 1) <= IN_USE_SECONDS
    assert times_taken_up(stage, wakegate) == 2
    produced = wake(stage, consumer, produced)
    until("everything is consumed", lambda: consumer.consumed() == produced, 60)
    assert refusals_at_the_broker(stage) == refused

    put_secret(stage, "kafka", **client_certificate(stage, not_after=LONG_AGO))
    until("its end is named", lambda: EXPIRED in consumer.scale_target().get("message", ""), 45)
    assert CANARY not in everything_told(stage, wakegate)
