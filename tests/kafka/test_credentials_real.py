"""Every way to log in, at a real Kafka: what gets in, and the sentence of what does not."""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from activator.core.model import Cluster
from activator.errors import DeniedError, UnavailableError
from activator.kafka.connection import bootstrap_addresses, open_connection
from activator.kafka.security import security_options
from activator.specs.credentials import KafkaCredentials, SaslMechanism
from testbed.certificates import CertificateAuthority
from testbed.kafka import KafkaCluster
from testbed.kafka_config import Listener
from tests.kafka.key_forms import FORMS, PASSWORD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("patient")]

USERS = {"orders": "c4n4ry-right"}
LISTENERS = (
    Listener("SSL", require_client_certificate=True, name="MTLS"),
    Listener("SASL_SSL", sasl_mechanism="PLAIN", users=USERS, name="PLAIN"),
    Listener("SASL_SSL", sasl_mechanism="SCRAM-SHA-256", users=USERS, name="SCRAM256"),
    Listener("SASL_SSL", sasl_mechanism="SCRAM-SHA-512", users=USERS, name="SCRAM512"),
    Listener("SASL_PLAINTEXT", sasl_mechanism="OAUTHBEARER", name="OAUTH"),
)


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """A Kafka with a listener for each way to log in."""
    with KafkaCluster(tmp_path_factory.mktemp("kafka"), listeners=LISTENERS) as running:
        yield running


async def connect(kafka: KafkaCluster, listener: str, credentials: KafkaCredentials) -> None:
    """Connect and be gone."""
    (address,) = bootstrap_addresses(Cluster(kafka.bootstrap_servers_of(listener)))
    options = security_options(credentials, lambda name: f"Secret shop/kafka, key {name}")
    connection = await open_connection(address, options, client_id="test")
    assert connection.is_open()
    if (closed := connection.close()) is not None:
        await closed


def ca(kafka: KafkaCluster) -> str:
    """The CA that has signed the brokers' certificates."""
    return kafka.authority.certificate.read_text()


@pytest.mark.parametrize("form", FORMS)
async def test_mutual_tls_with_every_form_of_key(kafka: KafkaCluster, form: str) -> None:
    """All eleven connect."""
    make, write, _ = FORMS[form]
    key = make()
    certificate = kafka.authority.certify("orders", key.public_key())
    await connect(
        kafka,
        "MTLS",
        KafkaCredentials(tls=True, ca=ca(kafka), certificate=certificate, key=write(key), key_password=PASSWORD),
    )


async def test_client_certificates_that_are_refused(kafka: KafkaCluster, tmp_path: Path) -> None:
    """None at all, one by somebody else, one that has expired: denied, so that it is not tried all the time."""
    make, write, _ = FORMS["EC, PKCS#8"]
    key = make()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    stranger = CertificateAuthority(tmp_path, "somebody else").certify("orders", key.public_key())
    long_ago = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    expired = kafka.authority.certify("orders", key.public_key(), not_after=long_ago)
    ours = "our client certificate in Secret shop/kafka, key cert, which is valid until 2"
    for certificate, refused in (
        ("", "a connection without a client certificate"),
        (stranger, ours),
        (expired, f"{ours}020-01-01T00:00:00Z"),
    ):
        credentials = KafkaCredentials(
            tls=True, ca=ca(kafka), certificate=certificate, key=write(key) if certificate else ""
        )
        with pytest.raises(DeniedError, match=rf"refused {refused}.* \(TLS alert: "):
            await connect(kafka, "MTLS", credentials)


@pytest.mark.parametrize(
    ("listener", "mechanism"),
    [
        ("PLAIN", SaslMechanism.PLAIN),
        ("SCRAM256", SaslMechanism.SCRAM_SHA_256),
        ("SCRAM512", SaslMechanism.SCRAM_SHA_512),
    ],
)
async def test_a_user_and_a_password_over_tls(kafka: KafkaCluster, listener: str, mechanism: SaslMechanism) -> None:
    """The right one gets in; the wrong one is denied in the broker's words, which show no password."""
    await connect(kafka, listener, KafkaCredentials(mechanism, "orders", "c4n4ry-right", tls=True, ca=ca(kafka)))
    with pytest.raises(DeniedError, match="refused the credentials") as caught:
        await connect(kafka, listener, KafkaCredentials(mechanism, "orders", "c4n4ry-wrong", tls=True, ca=ca(kafka)))
    assert "c4n4ry" not in str(caught.value)


async def test_an_authority_that_nobody_gave(kafka: KafkaCluster) -> None:
    """Without the CA the broker is not believed, unless that is asked for."""
    credentials = KafkaCredentials(SaslMechanism.PLAIN, "orders", "c4n4ry-right", tls=True)
    with pytest.raises(UnavailableError, match=r"certificate verify failed: none of the authorities .* has signed it"):
        await connect(kafka, "PLAIN", credentials)
    unsafe = KafkaCredentials(SaslMechanism.PLAIN, "orders", "c4n4ry-right", tls=True, verify=False)
    await connect(kafka, "PLAIN", unsafe)


def jwt(subject: str, life_seconds: int) -> str:
    """A token of 1970 without a signature, as the broker's validator for development takes it."""
    said = ({"alg": "none"}, {"sub": subject, "iat": 0, "exp": life_seconds})
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in said)
    return f"{'.'.join(parts)}."


@pytest.fixture
async def endpoint() -> AsyncIterator[str]:
    """A token endpoint that knows one client."""

    async def give(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Basic {base64.b64encode(b'orders:c4n4ry-right').decode()}":
            return web.json_response({"error": "invalid_client"}, status=401)
        return web.json_response({"access_token": jwt("orders", life_seconds=2**32), "expires_in": 300})

    app = web.Application()
    app.router.add_post("/token", give)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/token"
    await runner.cleanup()


async def test_oauthbearer(kafka: KafkaCluster, endpoint: str) -> None:
    """A token by client credentials gets in; a wrong secret is denied by the endpoint, and said so."""
    right = KafkaCredentials(SaslMechanism.OAUTHBEARER, "orders", "c4n4ry-right", token_endpoint=endpoint)
    await connect(kafka, "OAUTH", right)
    wrong = KafkaCredentials(SaslMechanism.OAUTHBEARER, "orders", "c4n4ry-wrong", token_endpoint=endpoint)
    with pytest.raises(DeniedError, match=f"^token endpoint {endpoint} gives no token: HTTP 401, invalid_client$"):
        await connect(kafka, "OAUTH", wrong)
