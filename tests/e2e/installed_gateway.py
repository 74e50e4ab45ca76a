"""An installed gateway: what it needs beside it, an event sent to it by token, and what became of that."""

from __future__ import annotations

import secrets
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.stage import until

if TYPE_CHECKING:
    from testbed.bed import Testbed
    from testbed.install import Installation
    from testbed.stage import Consumer

PUSHES = 'wakegate_pushes_total{source="gateway"}'
SECRETS = {
    "wakegate-gateway-tokens": {"tokens": secrets.token_hex(16)},
    "wakegate-wake-token": {"token": secrets.token_hex(16)},
}
"""Who may send, and what `POST /wake` asks for: the user's, as docs/install.md says."""


@dataclass
class Sent:
    """What became of an event that was sent to the installed gateway for a sleeping consumer."""

    answers: dict[str, int]
    consumer: Consumer
    pushes: float


def create_secrets(bed: Testbed, namespace: str) -> None:
    """Create the two tokens."""
    for name, data in SECRETS.items():
        metadata = {"name": name, "namespace": namespace}
        bed.control_plane.api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})


def send(installation: Installation, consumer: Consumer) -> Sent:
    """Send one event by a Pod of the gateway's for a consumer that sleeps, and wait until it sleeps again."""
    until("it sleeps", consumer.asleep, 120)
    # Pods of the gateway that began before one of the activator's was ready know none to tell.
    installation.kubectl("-n", installation.namespace, "rollout", "restart", "deployment/wakegate-gateway")
    installation.kubectl(
        "-n", installation.namespace, "rollout", "status", "deployment/wakegate-gateway", "--timeout=100s"
    )
    pod = installation.ready_pods("gateway")[0]
    url = f"http://{pod['status']['podIP']}:{installation.gateway_port}/topics/{consumer.stage.topic_of(consumer)}"
    token = SECRETS["wakegate-gateway-tokens"]["tokens"]
    answers = {
        "nobody": _post(url, ""),
        "a stranger": _post(url, "Bearer guessed"),
        "shop": _post(url, f"Bearer {token}"),
    }
    until("the event wakes it", lambda: consumer.replicas() == 1, 15)
    told = until("the activator was told of it", lambda: _pushes(installation), 30)
    until("it is consumed", lambda: consumer.consumed() == 1, 60)
    until("it sleeps again", lambda: consumer.replicas() == 0, 120)
    return Sent(answers, consumer, told)


def _post(url: str, authorization: str) -> int:
    """Send a CloudEvent and return the status."""
    event = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/shop", "ce-type": "order.created"}
    headers = {**event, "Content-Type": "text/plain", "Authorization": authorization}
    request = urllib.request.Request(url, b"two boxes", headers)  # noqa: S310 - our own gateway on loopback
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the same
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def _pushes(installation: Installation) -> float:
    """How many wakes all replicas together have had of the gateway."""
    total = 0.0
    for pod in installation.ready_pods():
        url = f"http://{pod['status']['podIP']}:{installation.http_port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        total += sum(float(line.split()[-1]) for line in lines if line.startswith(PUSHES))
    return total
