"""What goes wrong with credentials, each trouble at a real listener: its own sentence, and no storm of attempts."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from activator.kafka.client import DENIED_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS
from testbed import workloads
from testbed.certificates import CertificateAuthority
from testbed.ports import LOOPBACK, ReservedPorts
from testbed.soak.proxy import Network, Proxy
from testbed.stage import Stage, until
from tests.e2e.secured.ground import (
    CANARY,
    EXPIRED,
    FIRST,
    LONG_AGO,
    WRONG,
    client_certificate,
    everything_told,
    grant,
    login,
    put_secret,
    start,
    trigger_authentication,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.real

POLLING_SECONDS = 1
"""More often than any back-off ends: without one, each look would be an attempt."""
STORM_SECONDS = 30
"""The time in which a storm would rage: thirty looks at each."""
SOONEST = 0.8
"""A back-off is spread by a fifth to either side."""
NEVER = math.inf
"""What is wrong in itself is known before anybody is connected to."""
REFUSED = SOONEST * DENIED_BACKOFF_SECONDS
"""Who was refused waits long: the broker writes each attempt down, and may lock the user out."""
UNTRUSTED = SOONEST * MAX_BACKOFF_SECONDS
"""A broker that is not trusted may be put right at any moment, which is then seen soon."""
DOUBLINGS = math.ceil(math.log2(MAX_BACKOFF_SECONDS / FIRST_BACKOFF_SECONDS))
"""After so many failures a back-off that begins short is as long as it gets."""


@dataclass(frozen=True)
class Trouble:
    """What differs from what is right, and what comes of it."""

    sentence: str
    """In the Ready condition; {secret} and {name} are its Secret and its TriggerAuthentication."""
    apart: float
    """Seconds between two attempts, at least."""
    listener: str = "MTLS"
    host: str = LOOPBACK
    changes: Callable[[Stage, Path], dict[str, str]] = lambda _stage, _folder: {}
    """Keys of the Secret in place of the right ones; one that is empty is left out, and not asked for."""
    missing: str = ""
    """A key that is asked for and that the Secret has not."""
    has_secret: bool = True

    def right(self, stage: Stage) -> dict[str, str]:
        """What its listener takes."""
        return login(stage, FIRST) if self.listener == "SCRAM" else client_certificate(stage)

    def wrong(self, stage: Stage, folder: Path) -> dict[str, str]:
        """What is wrong, the key that is missing included."""
        return {key: value for key, value in {**self.right(stage), **self.changes(stage, folder)}.items() if value}

    def most(self, seconds: float) -> int:
        """How many attempts may lie in a time: one at its beginning, then one a back-off, the first ones shorter."""
        if self.apart is NEVER:
            return 0
        return 1 + int(seconds / self.apart) + (DOUBLINGS if self.apart is UNTRUSTED else 0)


def _constant(**keys: str) -> Callable[[Stage, Path], dict[str, str]]:
    return lambda _stage, _folder: keys


def _another_ca(_stage: Stage, folder: Path) -> dict[str, str]:
    return {"ca": CertificateAuthority(folder / "another", "another").certificate.read_text()}


def _expired(stage: Stage, _folder: Path) -> dict[str, str]:
    return client_certificate(stage, not_after=LONG_AGO)


def _strangers(stage: Stage, folder: Path) -> dict[str, str]:
    return client_certificate(stage, authority=CertificateAuthority(folder / "stranger", "somebody else"))


TROUBLES = {
    "key-password": Trouble(
        "{secret}, key keyPassword: it does not decrypt the key, or the key is damaged",
        NEVER,
        changes=_constant(keyPassword=WRONG),
    ),
    "no-key-password": Trouble(
        "TriggerAuthentication {name}, parameter keyPassword: it is missing or empty, and the key is encrypted",
        NEVER,
        changes=_constant(keyPassword=""),
    ),
    "no-secret": Trouble("{secret}: it does not exist; TriggerAuthentication {name} names it", NEVER, has_secret=False),
    "no-key": Trouble(
        "{secret}, key key: there is no such key; TriggerAuthentication {name} takes the parameter key from it",
        NEVER,
        missing="key",
    ),
    "no-pem": Trouble("{secret}, key cert: it is no certificate in PEM", NEVER, changes=_constant(cert=CANARY)),
    "ca": Trouble(
        "certificate verify failed: none of the authorities that are trusted (ca) has signed it",
        UNTRUSTED,
        changes=_another_ca,
    ),
    "broker-expired": Trouble("certificate verify failed: it has expired", UNTRUSTED, "EXPIRED"),
    "broker-address": Trouble("certificate verify failed: it is made out to another address", UNTRUSTED, "ELSEWHERE"),
    "broker-host": Trouble(
        "certificate verify failed: it is made out to another host name", UNTRUSTED, "ELSEWHERE", "localhost"
    ),
    "expired": Trouble(f"refused our client certificate in {{secret}}, {EXPIRED}", REFUSED, changes=_expired),
    "stranger": Trouble(
        "refused our client certificate in {secret}, key cert, which is valid until 2", REFUSED, changes=_strangers
    ),
    "no-certificate": Trouble(
        "refused a connection without a client certificate",
        REFUSED,
        changes=_constant(cert="", key="", keyPassword=""),
    ),
    "password": Trouble("refused the credentials", REFUSED, "SCRAM", changes=_constant(password=WRONG)),
    "none": Trouble("", UNTRUSTED),
}
"""By the name of the ScaledObject; the last one is the proof that nothing else is wrong here."""


@pytest.fixture
def proxies(stage: Stage) -> Iterator[dict[str, Proxy]]:
    """A port in front of the listener for each trouble, where its attempts are counted."""
    with ReservedPorts(len(TROUBLES)) as reserved:
        made = {
            name: Proxy(port, int(stage.bed.kafka.bootstrap_servers_of(trouble.listener).rpartition(":")[2]))
            for (name, trouble), port in zip(TROUBLES.items(), reserved.ports, strict=True)
        }
        with Network(made.values()):
            yield made


def scaled_object(stage: Stage, name: str, servers: str) -> dict[str, Any]:
    """A ScaledObject that logs in by the TriggerAuthentication of its name."""
    metadata = {"bootstrapServers": servers, "topic": stage.namespace, "consumerGroup": name, "lagThreshold": "10"}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name, "namespace": stage.namespace},
        "spec": {
            "scaleTargetRef": {"name": name},
            "pollingInterval": POLLING_SECONDS,
            "triggers": [{"type": "kafka", "authenticationRef": {"name": name}, "metadata": metadata}],
        },
    }


def ready(stage: Stage, name: str) -> tuple[str, str]:
    """Status and message of its Ready condition; empty: not set yet."""
    path = stage.scaled_object_path(name)
    conditions = stage.api.get(path).get("status", {}).get("conditions") or []
    return next(((entry["status"], entry["message"]) for entry in conditions if entry["type"] == "Ready"), ("", ""))


def unsaid(stage: Stage, sentences: dict[str, str]) -> dict[str, tuple[str, str]]:
    """What the Ready conditions say that do not say what they should."""
    said = {name: ready(stage, name) for name in sentences}
    return {
        name: (status, message)
        for name, (status, message) in said.items()
        if status != ("False" if sentences[name] else "True") or sentences[name] not in message
    }


def until_said(stage: Stage, sentences: dict[str, str]) -> None:
    """Wait until each says what it should; an empty sentence: it is Ready."""
    try:
        until("each says its sentence", lambda: not unsaid(stage, sentences), 60)
    except AssertionError as error:
        raise AssertionError(f"{error}; others are {unsaid(stage, sentences)}") from None


def test_each_trouble_has_its_sentence_and_none_storms(stage: Stage, proxies: dict[str, Proxy], tmp_path: Path) -> None:
    """Side by side at real listeners: each is told in its condition and tried no oftener than its back-off allows.

    Then what can be mended is, and one only as far as to its next trouble.
    """
    stage.bed.kafka.create_topic(stage.namespace)
    grant(stage, "wakegate-secrets-reader")
    sentences = {}
    for name, trouble in TROUBLES.items():
        place = f"{stage.namespace}/{name}"
        sentences[name] = trouble.sentence.format(secret=f"Secret {place}", name=place)
        secret = trouble.wrong(stage, tmp_path)
        if trouble.has_secret:
            put_secret(stage, name, **{key: value for key, value in secret.items() if key != trouble.missing})
        stage.api.apply(
            workloads.deployment(name, {"image": workloads.PAUSE}, namespace=stage.namespace),
            trigger_authentication(stage, name, *secret),
            scaled_object(stage, name, f"{trouble.host}:{proxies[name].port}"),
        )
    wakegate = start(stage, keda="on")
    began = time.monotonic()
    until_said(stage, sentences)

    before = {name: proxy.taken for name, proxy in proxies.items()}
    storm_began = time.monotonic()
    time.sleep(STORM_SECONDS)
    took = time.monotonic() - storm_began
    attempts = {name: proxy.taken - before[name] for name, proxy in proxies.items()}
    print(f"attempts in {took:.0f} s: {attempts}; before that, in {storm_began - began:.0f} s: {before}")  # noqa: T201
    assert {name: count for name, count in attempts.items() if count > TROUBLES[name].most(took)} == {}
    assert not unsaid(stage, sentences)

    mended = {name: "" for name, trouble in TROUBLES.items() if trouble.listener in {"MTLS", "SCRAM"}}
    for name in mended:
        right = TROUBLES[name].right(stage)
        put_secret(stage, name, **right)
        stage.api.apply(trigger_authentication(stage, name, *right))
    put_secret(stage, "ca", **TROUBLES["expired"].wrong(stage, tmp_path))
    until_said(stage, {**mended, "ca": sentences["expired"].replace("/expired, ", "/ca, ")})
    assert CANARY not in everything_told(stage, wakegate)
