"""Credentials out of the target's own namespace: what gets a workload going, what is told, and what never is."""

from __future__ import annotations

import base64
import datetime as dt
import time
import urllib.request
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from activator.kubernetes.secrets import LOOK_SECONDS
from testbed.bed import REPOSITORY, Testbed, TestbedOptions
from testbed.certificates import CertificateAuthority
from testbed.control_plane_flags import HpaTimes
from testbed.kafka_config import Listener
from testbed.stage import Stage, Wakegate, install_crd, install_keda_crds, until
from tests import keda_documents
from tests.e2e.test_round import PARTITIONS, check_records
from tests.kafka.key_forms import FORMS, PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.stage import Consumer

pytestmark = pytest.mark.real

USER = "orders"
CANARY = "c4n4ry"
"""In every secret value, so that one search through all that is told finds any of them."""
FIRST, SECOND, WRONG = f"{CANARY}-first", f"{CANARY}-second", f"{CANARY}-wrong"
EXPIRED = "key cert, which is valid until 2020-01-01T00:00:00Z (TLS alert: "
LISTENERS = (
    Listener("SASL_SSL", users={USER: FIRST}, name="SCRAM"),
    Listener("SSL", require_client_certificate=True, name="MTLS"),
)
IN_USE_SECONDS = 20
"""How long a rotated credential is waited for, on a busy machine too.

Ten are promised. A look every `LOOK_SECONDS` leaves two of them for the reads; twelve rotations, each at another moment
between two looks, took 0.2 to 7.4 s. `tests/kubernetes/test_secrets.py` holds it to ten in virtual time.
"""
CONSUMER = {"work_milliseconds": 40, "cooldown_period": "4", "polling_interval": "3"}


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    """All parts, with a Kafka that asks who one is."""
    options = TestbedOptions(hpa=HpaTimes(sync_period="2s", downscale_stabilization="5s"), kafka_listeners=LISTENERS)
    with Testbed(options) as made:
        install_crd(made)
        install_keda_crds(made)
        made.control_plane.api.apply(*_roles())
        yield made


@pytest.fixture
def stage(bed: Testbed) -> Iterator[Stage]:
    """A stage whose wakegate has the rights that are shipped, and none to Secrets yet."""
    made = Stage.on(bed)
    yield made
    made.close()


def _roles() -> list[dict[str, Any]]:
    found = []
    for file in ("base/rbac.yaml", "base/rbac-cluster.yaml", "components/secrets-reader/rbac.yaml"):
        documents = yaml.safe_load_all((REPOSITORY / "manifests" / file).read_text())
        found += [document for document in documents if document["kind"] == "ClusterRole"]
    return found


def grant(stage: Stage, role: str) -> None:
    """Bind a ClusterRole to the stage's wakegate, in the stage's namespace alone."""
    stage.api.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": role, "namespace": stage.namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": "wakegate", "namespace": stage.namespace}],
        }
    )


def start(stage: Stage, keda: str = "auto") -> Wakegate:
    """Start wakegate under its own account, managing its own namespace by itself."""
    kubeconfig = stage.bed.control_plane.kubeconfig_for(stage.namespace, "wakegate")
    grant(stage, "wakegate")
    account = {"kind": "ServiceAccount", "name": "wakegate", "namespace": stage.namespace}
    group = {"apiGroup": "rbac.authorization.k8s.io"}
    stage.api.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": stage.namespace, "namespace": "kube-system"},
            "roleRef": {**group, "kind": "Role", "name": "extension-apiserver-authentication-reader"},
            "subjects": [account],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": stage.namespace},
            "roleRef": {**group, "kind": "ClusterRole", "name": "wakegate-metrics-api-owner"},
            "subjects": [account],
        },
    )
    wakegate = stage.wakegate(leader_election="false", keda=keda)
    wakegate.process.env["KUBECONFIG"] = str(kubeconfig)
    wakegate.start()
    return wakegate


def put_secret(stage: Stage, name: str, **data: str) -> None:
    """Make a Secret of these keys and no other, or put it in the place of what is there."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    metadata = {"name": name, "namespace": stage.namespace}
    stage.api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded})


def login(stage: Stage, password: str) -> dict[str, str]:
    """The keys of a Secret for SCRAM-SHA-512 over TLS."""
    ca = stage.bed.kafka.authority.certificate.read_text()
    return {"sasl": "scram_sha512", "username": USER, "password": password, "tls": "enable", "ca": ca}


def secured(stage: Stage, listener: str, **annotations: str) -> Consumer:
    """A consumer whose target names a secured listener."""
    servers = stage.bed.kafka.bootstrap_servers_of(listener)
    return stage.consumer(bootstrap_servers=servers, **CONSUMER, **annotations)  # type: ignore[arg-type]


def play_round(stage: Stage, consumer: Consumer) -> None:
    """0 -> 1 -> 5 -> 0, and no record skipped."""
    until("it sleeps", lambda: consumer.replicas() == 0, 60)
    stage.produce(consumer)
    until("one record wakes it", lambda: consumer.replicas() == 1, 5)
    stage.produce(consumer, 500)
    until("it is taken to five", lambda: consumer.replicas() == PARTITIONS, 60)
    until("everything is consumed", lambda: consumer.consumed() == 501, 90)
    until("it sleeps again", lambda: consumer.replicas() == 0, 60)
    check_records(consumer, rounds=1)


def everything_told(stage: Stage, wakegate: Wakegate) -> str:
    """Log, Events, status, metrics, dashboard and spans of a stage."""
    log = wakegate.process.log.read_text()
    port = next(line.rsplit(" ", 1)[1] for line in log.splitlines() if "dashboard on port" in line)
    told = [log, wakegate.get("/metrics")[1]]
    for page in ("/", "/api/targets"):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=5) as answer:
            told.append(answer.read().decode())
    told.append(str(stage.api.get(f"/api/v1/namespaces/{stage.namespace}/events")))
    told.append(str(stage.api.get(f"/apis/wakegate.dev/v1alpha1/namespaces/{stage.namespace}/scaletargets")))
    told.append(str(stage.bed.jaeger.traces(stage.namespace)))
    return "\n".join(told)


def test_scram_over_tls_by_an_annotation(stage: Stage) -> None:
    """A whole round with SCRAM-SHA-512 over TLS; the password is in nothing that is told."""
    put_secret(stage, "kafka", **login(stage, FIRST))
    grant(stage, "wakegate-secrets-reader")
    wakegate = start(stage)
    consumer = secured(stage, "SCRAM", authentication_secret="kafka")
    play_round(stage, consumer)

    told = everything_told(stage, wakegate)
    assert "Secret" in told
    assert "wakegate.decide" in told
    assert CANARY not in told


def test_mutual_tls_by_a_trigger_authentication(stage: Stage) -> None:
    """A whole round with a client certificate whose key is encrypted PKCS#8, named by a TriggerAuthentication."""
    make, write, mark = FORMS["RSA, PKCS#8, PBES2"]
    key = make()
    authority = stage.bed.kafka.authority
    written = write(key)
    assert mark in written
    data = {
        "tls.crt": authority.certify(USER, key.public_key()),
        "tls.key": written,
        "password": PASSWORD,
        "ca.crt": authority.certificate.read_text(),
    }
    put_secret(stage, "certificate", **data)
    where = {"namespace": stage.namespace}
    parameters = {"cert": "tls.crt", "key": "tls.key", "keyPassword": "password", "ca": "ca.crt"}
    entries = [{"parameter": name, "name": "certificate", "key": source} for name, source in parameters.items()]
    settings = [{"parameter": "tls", "name": "kafka", "key": "tls"}]
    stage.api.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kafka", **where}, "data": {"tls": "enable"}},
        {
            "apiVersion": "keda.sh/v1alpha1",
            "kind": "TriggerAuthentication",
            "metadata": {"name": "kafka", **where},
            "spec": {"secretTargetRef": entries, "configMapTargetRef": settings},
        },
    )
    grant(stage, "wakegate-secrets-reader")
    wakegate = start(stage)
    consumer = secured(stage, "MTLS", authentication_ref="kafka")
    play_round(stage, consumer)

    told = everything_told(stage, wakegate)
    assert CANARY not in told
    assert written.splitlines()[3] not in told


def trigger_authentication(stage: Stage, name: str, *parameters: str) -> dict[str, Any]:
    """Every parameter out of the Secret of the same name, under its own name as key: as the second document has it."""
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "TriggerAuthentication",
        "metadata": {"name": name, "namespace": stage.namespace},
        "spec": {"secretTargetRef": [{"parameter": key, "name": name, "key": key} for key in parameters]},
    }


def second_document(stage: Stage, consumer: Consumer, listener: str) -> dict[str, Any]:
    """The second document's ScaledObject of a consumer, on a listener, with shorter times and otherwise as it is."""
    document: dict[str, Any] = yaml.safe_load(keda_documents.SECOND)
    document["metadata"] = {"name": consumer.name, "namespace": stage.namespace}
    spec = document["spec"]
    spec |= {"cooldownPeriod": 5, "pollingInterval": 3}
    spec["scaleTargetRef"]["name"] = consumer.name
    autoscaler = spec["advanced"]["horizontalPodAutoscalerConfig"]
    autoscaler["name"] = f"kafka-hpa-{consumer.name}"
    autoscaler["behavior"]["scaleUp"]["stabilizationWindowSeconds"] = 3
    spec["triggers"][0]["authenticationRef"]["name"] = consumer.name
    topic = stage.topic_of(consumer)
    servers = stage.bed.kafka.bootstrap_servers_of(listener)
    spec["triggers"][0]["metadata"] |= {"bootstrapServers": servers, "topic": topic, "consumerGroup": topic}
    return document


def test_the_second_document_by_scram_and_by_an_encrypted_key(stage: Stage) -> None:
    """0 -> 5 -> 0 and restored, by SCRAM-SHA-512 over TLS and by a client certificate with an encrypted PKCS#8 key."""
    certificate = client_certificate(stage)
    assert "BEGIN ENCRYPTED PRIVATE KEY" in certificate["key"]
    ways = {"scram": ("SCRAM", login(stage, FIRST)), "mtls": ("MTLS", certificate)}
    grant(stage, "wakegate-secrets-reader")
    wakegate = start(stage, keda="on")
    consumers = {}
    for name, (listener, secret) in ways.items():
        put_secret(stage, name, **secret)
        consumers[name] = consumer = stage.bare_consumer(name, work_milliseconds=40, auto_offset_reset="latest")
        stage.api.apply(trigger_authentication(stage, name, *secret), second_document(stage, consumer, listener))
    for name, consumer in consumers.items():
        until(f"{name} sleeps", partial(has_replicas, consumer, 0), 60)
        stage.produce(consumer)
        until(f"one record wakes {name}", partial(has_replicas, consumer, 1), 5)
        stage.produce(consumer, 800)
        until(f"{name} is taken to five", partial(has_replicas, consumer, PARTITIONS), 60)
    for name, consumer in consumers.items():
        until(f"{name} has consumed all", partial(has_consumed, consumer, 801), 90)
        until(f"{name} sleeps again", partial(has_replicas, consumer, 0), 60)
    assert {hpa["metadata"]["name"] for hpa in stage.hpas()} == {"kafka-hpa-scram", "kafka-hpa-mtls"}

    told = everything_told(stage, wakegate)
    assert CANARY not in told
    assert certificate["key"].splitlines()[3] not in told
    for name, consumer in consumers.items():
        stage.api.delete(f"/apis/keda.sh/v1alpha1/namespaces/{stage.namespace}/scaledobjects/{name}")
        until(f"{name} is put back", partial(has_replicas, consumer, 1), 30)


def has_replicas(consumer: Consumer, count: int) -> bool:
    """Whether it is to have so many."""
    return consumer.replicas() == count


def has_consumed(consumer: Consumer, count: int) -> bool:
    """Whether it has read so many different records."""
    return consumer.consumed() == count


def secret_reads(stage: Stage) -> int:
    """How often wakegate has asked for a Secret of this stage."""
    return sum(
        (event.namespace, event.resource, event.verb) == (stage.namespace, "secrets", "get")
        for event in stage.bed.control_plane.audit_events()
    )


def refusals_at_the_broker(stage: Stage) -> int:
    """How many logins the broker has refused."""
    return stage.bed.kafka.node(1).log.read_text(errors="replace").count("Failed authentication")


def test_each_trouble_has_its_sentence_and_none_storms(stage: Stage, tmp_path: Path) -> None:
    """No grant, no Secret, no key, a wrong CA, a wrong password: each is said in the status; then all is right."""
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
    before = refusals_at_the_broker(stage)
    put_secret(stage, "kafka", **login(stage, WRONG))
    says("refused the credentials")
    time.sleep(10)  # the time in which a storm would rage
    assert refusals_at_the_broker(stage) - before <= 6
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


def change_password(stage: Stage, password: str) -> None:
    """Change a user's password at the broker."""
    from confluent_kafka import admin  # noqa: PLC0415 - a development dependency, only needed here

    mechanism = admin.ScramMechanism.SCRAM_SHA_512  # type: ignore[attr-defined]  # exported, but not by its stubs
    info = admin.ScramCredentialInfo(mechanism, 4096)  # type: ignore[attr-defined]
    change = admin.UserScramCredentialUpsertion(USER, info, password.encode())  # type: ignore[attr-defined]
    client = stage.bed.kafka.admin()  # held: what is under way ends with it
    client.alter_user_scram_credentials([change])[USER].result(30)


def wake(stage: Stage, consumer: Consumer, produced: int) -> int:
    """Let one record wake a sleeper; answers how many were produced now."""
    until("it sleeps", lambda: consumer.replicas() == 0, 60)
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
        changed_at = time.monotonic()
        until("the new password is in use", lambda: times_taken_up(stage, wakegate) == 2, IN_USE_SECONDS)
        print(f"in use after {time.monotonic() - changed_at:.1f} s")  # noqa: T201 - the measurement itself
        produced = wake(stage, consumer, produced)
        produced = wake(stage, consumer, produced)
    finally:
        change_password(stage, FIRST)
    until("everything is consumed", lambda: consumer.consumed() == produced, 60)
    assert refusals_at_the_broker(stage) == refused
    assert CANARY not in everything_told(stage, wakegate)


def client_certificate(stage: Stage, *, not_after: dt.datetime | None = None) -> dict[str, str]:
    """The keys of a Secret for mutual TLS, with a new key each time."""
    make, write, _ = FORMS["EC, PKCS#8, PBES2"]
    key = make()
    authority = stage.bed.kafka.authority
    return {
        "tls": "enable",
        "ca": authority.certificate.read_text(),
        "cert": authority.certify(USER, key.public_key(), not_after=not_after),
        "key": write(key),
        "keyPassword": PASSWORD,
    }


def test_a_client_certificate_is_rotated_under_load(stage: Stage) -> None:
    """As cert-manager does it: another one in the Secret, and every record wakes; one that has expired is named."""
    put_secret(stage, "kafka", **client_certificate(stage))
    grant(stage, "wakegate-secrets-reader")
    wakegate = start(stage)
    consumer = secured(stage, "MTLS", authentication_secret="kafka")
    refused = refusals_at_the_broker(stage)
    produced = wake(stage, consumer, 0)
    put_secret(stage, "kafka", **client_certificate(stage))
    until("the new certificate is in use", lambda: times_taken_up(stage, wakegate) == 2, IN_USE_SECONDS)
    produced = wake(stage, consumer, produced)
    until("everything is consumed", lambda: consumer.consumed() == produced, 60)
    assert refusals_at_the_broker(stage) == refused

    put_secret(stage, "kafka", **client_certificate(stage, not_after=dt.datetime(2020, 1, 1, tzinfo=dt.UTC)))
    until("its end is named", lambda: EXPIRED in consumer.scale_target().get("message", ""), 45)
    assert CANARY not in everything_told(stage, wakegate)
