"""As whom Kafka is asked: the operator's own credentials, those that workloads name, and what is wrong with either."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, cast

import pytest

from activator.core.model import Cluster, Policy, Trigger
from activator.doctor.needs import of_secret
from activator.settings import Settings
from activator.specs.authentication import SECRET, TRIGGER_AUTHENTICATION, AuthenticationSource
from activator.wiring.installation import Installation
from activator.wiring.kafka_inspection import KafkaInspection
from tests.kubernetes.test_inspection import Reviews

if TYPE_CHECKING:
    from activator.doctor.facts import Permission
    from activator.kubernetes.client import KubernetesClient

NOBODY_LISTENS = "127.0.0.1:1"
READ = of_secret("shop", "kafka")
KEY = AuthenticationSource(SECRET, "shop", "kafka").key()
MOUNTED = {
    "metadata": {"namespace": "ops", "name": "wakegate"},
    "spec": {
        "template": {
            "spec": {
                "containers": [{"volumeMounts": [{"name": "own", "mountPath": "/etc/kafka"}]}],
                "volumes": [{"name": "own", "secret": {"secretName": "own"}}],
            }
        }
    },
}


def api(secrets: dict[str, dict[str, str]], *allowed: Permission) -> Reviews:
    """An API server with Secrets, by namespace/name."""
    made = Reviews(*allowed)
    for place, data in secrets.items():
        namespace, name = place.split("/")
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        path = f"/api/v1/namespaces/{namespace}/secrets/{name}"
        made.put(path, {"kind": "Secret", "metadata": {"name": name}, "data": encoded})
    return made


async def test_what_stands_for_something_else_of_each_target() -> None:
    """A TriggerAuthentication that takes variables is found out first: what it gives is a target's own."""
    server = api({"shop/kafka": {"sasl": "none"}})
    spec = {"env": [{"parameter": "username", "name": "USER"}]}
    path = "/apis/keda.sh/v1alpha1/namespaces/shop/triggerauthentications/login"
    server.put(path, {"metadata": {"name": "login", "namespace": "shop"}, "spec": spec})
    taking = AuthenticationSource(TRIGGER_AUTHENTICATION, "shop", "login").key()
    policies = tuple(Policy(triggers=(Trigger(Cluster("a:1", key), "t", "g"),)) for key in (KEY, taking, ""))
    inspection = KafkaInspection(
        cast("KubernetesClient", server), Installation("ops", None, Settings()), "", in_pod=False
    )
    assert await inspection.taking_variables(policies) == {taking}


async def looked(server: Reviews, settings: Settings, *clusters: Cluster) -> KafkaInspection:
    """What is found out about workloads that read from these clusters."""
    deployment: dict[str, Any] = MOUNTED
    client = cast("KubernetesClient", server)
    installed = Installation("ops", deployment, settings)
    inspection = KafkaInspection(client, installed, installed.account_name, in_pod=False)
    await inspection.look(tuple(Policy(triggers=(Trigger(cluster, "orders", "shop"),)) for cluster in clusters))
    return inspection


@pytest.mark.parametrize(
    ("row", "secrets", "allowed", "says"),
    [
        ("it is good and may be read", {"shop/kafka": {"sasl": "none"}}, (READ,), None),
        ("it may not be read by wakegate", {"shop/kafka": {"sasl": "none"}}, (), "wakegate may not read it"),
        ("it is not there", {}, (READ,), "it does not exist"),
        ("a mechanism that does not exist", {"shop/kafka": {"sasl": "scram"}}, (READ,), "Secret shop/kafka"),
    ],
)
async def test_credentials_of_a_workload(
    row: str, secrets: dict[str, dict[str, str]], allowed: tuple[Permission, ...], says: str | None
) -> None:
    """A cluster is asked with credentials that can be used, and is not asked without them: they are the problem."""
    found = await looked(api(secrets, *allowed), Settings(), Cluster(NOBODY_LISTENS, KEY))
    if says is None:
        assert (found.problems, [cluster.credential for cluster in found.clusters]) == ([], [KEY]), row
    else:
        assert found.clusters == [], row
        assert says in " ".join(found.problems), row


async def test_the_operator_s_own() -> None:
    """They are read where the Deployment mounts them, and what is wrong with them is told by Secret and key."""
    settings = Settings(bootstrap_servers=NOBODY_LISTENS, kafka_credentials="/etc/kafka")
    good = await looked(api({"ops/own": {"sasl": "plaintext", "username": "u", "password": "geheim"}}), settings)
    assert (good.problems, len(good.clusters)) == ([], 1)
    bad = await looked(api({"ops/own": {"sasl": "plaintext", "password": "geheim"}}), settings)
    assert bad.clusters == []
    assert "Secret ops/own, key username" in bad.problems[0]
    assert "geheim" not in bad.problems[0]
    gone = await looked(api({}), settings)
    assert "ops/own: it does not exist" in gone.problems[0]


async def test_nobody_s_address_gets_nobody_s_credentials() -> None:
    """A workload's own address is still asked where the operator's credentials cannot be used."""
    settings = Settings(bootstrap_servers="127.0.0.1:2", kafka_credentials="/etc/kafka")
    found = await looked(api({}), settings, Cluster(NOBODY_LISTENS))
    assert [cluster.bootstrap_servers for cluster in found.clusters] == [NOBODY_LISTENS]
    assert len(found.problems) == 1
