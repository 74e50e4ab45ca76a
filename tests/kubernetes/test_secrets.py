"""Credentials out of Secrets: how often they are looked at, what is taken up, and what is said of what is not there."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import logging
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytest

from activator.core.model import Cluster, Policy, Scale, TargetRef, Trigger, Workload
from activator.errors import DeniedError, SpecError, UnavailableError
from activator.kubernetes.credential_gate import CredentialGate
from activator.kubernetes.secrets import LOOK_SECONDS, UNUSED_SECONDS, SecretStore
from activator.ports import ManagedWorkload
from activator.specs.authentication import (
    CLUSTER_TRIGGER_AUTHENTICATION,
    SECRET,
    TRIGGER_AUTHENTICATION,
    AuthenticationSource,
)
from tests.kubernetes.memory_api import MemoryApi
from tests.virtual_time import virtual

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from activator.kubernetes.client import KubernetesClient
    from activator.specs.credentials import KafkaCredentials

ORDERS, BILLS = TargetRef("shop", "Deployment", "orders"), TargetRef("shop", "Deployment", "bills")
KEY = AuthenticationSource(SECRET, "shop", "kafka").key()
REF = AuthenticationSource(TRIGGER_AUTHENTICATION, "shop", "login").key()
SECRET_PATH = "/api/v1/namespaces/shop/secrets/kafka"
REF_PATH = "/apis/keda.sh/v1alpha1/namespaces/shop/triggerauthentications/login"
CANARY = "c4n4ry"


class Built(NamedTuple):
    """What the tests make of credentials."""

    password: str


def build(credentials: KafkaCredentials, place: Callable[[str], str]) -> Built:
    """Make options, or find that a key cannot be used."""
    if credentials.password == "unforeseen":
        raise TypeError(f"a mistake of ours about {credentials.password}")
    if credentials.key == "broken":
        raise SpecError(place("key"), None, "it is no private key in PEM")
    return Built(credentials.password)


def secret(**data: str) -> dict[str, Any]:
    """A Secret as the API server gives it."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"kind": "Secret", "metadata": {"name": "kafka", "namespace": "shop"}, "data": encoded}


def login(password: str) -> dict[str, Any]:
    """A Secret with a user and a password."""
    return secret(sasl="plaintext", username="orders", password=password)


@contextlib.asynccontextmanager
async def running(api: MemoryApi) -> AsyncIterator[SecretStore[Built]]:
    """Run a store."""
    store = SecretStore(cast("KubernetesClient", api), build, operator_namespace="wakegate-system")
    task = asyncio.create_task(store.run())
    yield store
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def look() -> None:
    """Let what is new be looked at."""
    await asyncio.sleep(0.1)


@virtual
async def test_a_rotated_credential_is_taken_up_and_the_same_one_stays() -> None:
    """Within ten seconds, and only then are connections to be made anew."""
    api = MemoryApi()
    api.put(SECRET_PATH, login("old"))
    async with running(api) as store:
        told: list[TargetRef] = []
        store.changed = told.append
        store.name(ORDERS, [KEY])
        with pytest.raises(UnavailableError, match=r"^Secret shop/kafka: it has not been read yet$"):
            store.options(KEY)
        await look()
        first = store.options(KEY)
        assert first == Built("old")
        assert told == [ORDERS]

        api.put(SECRET_PATH, secret(sasl="plaintext", username="orders", password="old", unrelated="new"))
        await asyncio.sleep(LOOK_SECONDS)
        assert store.options(KEY) is first
        assert told == [ORDERS]

        api.put(SECRET_PATH, login("new"))
        await asyncio.sleep(LOOK_SECONDS)
        assert store.options(KEY) == Built("new")
        assert told == [ORDERS, ORDERS]
    assert LOOK_SECONDS < 10


@virtual
async def test_a_mistake_about_one_ends_no_look_at_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """What is behind it is read and rotated; its text, which may quote a secret, is told nowhere."""
    api = MemoryApi()
    api.put(SECRET_PATH, login("unforeseen"))
    other = AuthenticationSource(SECRET, "shop", "other").key()
    api.put(SECRET_PATH.replace("kafka", "other"), login("good"))
    async with running(api) as store:
        store.name(ORDERS, [KEY])
        store.name(TargetRef("shop", "Deployment", "others"), [other])
        await look()
        assert store.options(other) == Built("good")
        with pytest.raises(UnavailableError, match="a mistake of wakegate's own: TypeError"):
            store.options(KEY)
        await asyncio.sleep(3 * LOOK_SECONDS)
    assert caplog.text.count("a mistake of wakegate's own: TypeError") == 1
    assert "about unforeseen" not in caplog.text


@virtual
async def test_no_storm() -> None:
    """A thousand targets with one Secret, missing or not, cost one GET a look."""
    api = MemoryApi()
    async with running(api) as store:
        for number in range(1000):
            store.name(TargetRef("shop", "Deployment", f"d{number}"), [KEY])
        await asyncio.sleep(5 * LOOK_SECONDS + 1)
    assert api.asked("GET") == [SECRET_PATH] * 6


@virtual
async def test_a_look_that_takes_long_leaves_half_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many Secrets, or an API server that does not answer, must not have it read without a pause."""
    api, began = MemoryApi(), list[float]()
    clock = asyncio.get_running_loop().time

    async with running(api) as store:

        async def look() -> None:
            began.append(clock())
            await asyncio.sleep(taken)

        monkeypatch.setattr(store, "look", look)
        for taken, pause in ((1.0, LOOK_SECONDS), (4.0, 8.0), (40.0, 40.0 + LOOK_SECONDS)):
            await asyncio.sleep(200)
            assert began[-1] - began[-2] == pytest.approx(pause), taken


@virtual
async def test_what_is_new_is_looked_at_at_once_and_alone() -> None:
    """A storm of new workloads does not have every other Secret read again for each of them."""
    api = MemoryApi()
    async with running(api) as store:
        store.name(ORDERS, [KEY])
        await look()
        for number in range(20):
            new = AuthenticationSource(SECRET, "shop", f"s{number}").key()
            store.name(TargetRef("shop", "Deployment", f"d{number}"), [new])
            await look()
            assert store.problems(new)
    assert api.asked("GET") == [SECRET_PATH, *(f"/api/v1/namespaces/shop/secrets/s{number}" for number in range(20))]


@virtual
async def test_what_is_missing_is_a_sentence_and_what_was_there_stays_in_force() -> None:
    """A Secret that is deleted, or loses a key, is told; connections go on with what was read last."""
    api = MemoryApi()
    async with running(api) as store:
        store.name(ORDERS, [KEY])
        await look()
        missing = "Secret shop/kafka: it does not exist; make it, with KEDA's parameter names as keys"
        assert [str(problem) for problem in store.problems(KEY)] == [missing]
        with pytest.raises(DeniedError, match=r"^no credentials: Secret shop/kafka: it does not exist"):
            store.options(KEY)

        api.put(SECRET_PATH, login("right"))
        await asyncio.sleep(LOOK_SECONDS)
        assert store.problems(KEY) == ()
        assert store.options(KEY) == Built("right")

        api.put(SECRET_PATH, secret(sasl="plaintext", username="orders"))
        await asyncio.sleep(LOOK_SECONDS)
        assert "key password: it is missing or empty" in str(store.problems(KEY)[0])
        assert store.options(KEY) == Built("right")

        api.remove(SECRET_PATH)
        await asyncio.sleep(LOOK_SECONDS)
        assert str(store.problems(KEY)[0]) == missing
        assert store.options(KEY) == Built("right")


@virtual
async def test_an_outage_changes_nothing() -> None:
    """Unknown is not missing: no problem is told, and what was read last is in use."""
    api = MemoryApi()
    api.put(SECRET_PATH, login("right"))
    async with running(api) as store:
        store.name(ORDERS, [KEY])
        await look()
        api.down = UnavailableError("API server", "no answer within 5 s")
        store.name(BILLS, [REF])
        await asyncio.sleep(LOOK_SECONDS)
        assert store.options(KEY) == Built("right")
        assert store.problems(KEY) == store.problems(REF) == ()
        with pytest.raises(
            UnavailableError, match=r"^TriggerAuthentication shop/login: it could not be read: API server"
        ):
            store.options(REF)


@virtual
async def test_what_may_not_be_read_is_told_with_what_to_grant() -> None:
    """The commonest trouble: nobody has granted the namespace's Secrets yet."""
    api = MemoryApi()
    api.down = DeniedError("API server: secrets is forbidden")
    async with running(api) as store:
        everybodys = AuthenticationSource(CLUSTER_TRIGGER_AUTHENTICATION, "shop", "login").key()
        store.name(ORDERS, [KEY, REF, everybodys])
        await look()
        assert "grant get of clustertriggerauthentications.keda.sh" in str(store.problems(everybodys)[0])
        grant = (
            "bind ClusterRole wakegate-secrets-reader to wakegate's ServiceAccount by a RoleBinding in namespace shop"
        )
        assert str(store.problems(KEY)[0]) == f"Secret shop/kafka: it may not be read; {grant}"
        assert str(store.problems(REF)[0]) == f"TriggerAuthentication shop/login: it may not be read; {grant}"


@virtual
async def test_a_trigger_authentication_and_what_it_names() -> None:
    """It is read first, then each object that it names, once."""
    api = MemoryApi()
    api.put(SECRET_PATH, secret(pw="p"))
    api.put(
        "/api/v1/namespaces/shop/configmaps/settings",
        {"kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "shop"}, "data": {"sasl": "plaintext"}},
    )
    spec = {
        "secretTargetRef": [
            {"parameter": "username", "name": "kafka", "key": "pw"},
            {"parameter": "password", "name": "kafka", "key": "pw"},
        ],
        "configMapTargetRef": [{"parameter": "sasl", "name": "settings", "key": "sasl"}],
    }
    api.put(REF_PATH, {"metadata": {"name": "login", "namespace": "shop"}, "spec": spec})
    async with running(api) as store:
        store.name(ORDERS, [REF])
        await look()
        assert store.options(REF) == Built("p")
        api.remove(REF_PATH)
        await asyncio.sleep(LOOK_SECONDS)
        assert str(store.problems(REF)[0]) == "TriggerAuthentication shop/login: it does not exist"
    assert api.asked("GET").count(SECRET_PATH) == 1


@virtual
async def test_the_secrets_of_a_cluster_trigger_authentication_are_the_operators() -> None:
    """It stands in no namespace; what it names is in the operator's."""
    api = MemoryApi()
    api.put("/api/v1/namespaces/wakegate-system/secrets/kafka", login("ours"))
    names = ("sasl", "username", "password")
    entries = [{"parameter": name, "name": "kafka", "key": name} for name in names]
    path = "/apis/keda.sh/v1alpha1/clustertriggerauthentications/login"
    api.put(path, {"metadata": {"name": "login"}, "spec": {"secretTargetRef": entries}})
    key = AuthenticationSource(CLUSTER_TRIGGER_AUTHENTICATION, "shop", "login").key()
    async with running(api) as store:
        store.name(ORDERS, [key])
        await look()
        assert store.options(key) == Built("ours")


FILE_PATH = "/apis/keda.sh/v1alpha1/clustertriggerauthentications/login"
FILE_KEY = AuthenticationSource(CLUSTER_TRIGGER_AUTHENTICATION, "shop", "login").key()


async def file_of(tmp_path: Path, name: str, content: str | None) -> tuple[SecretStore[Built], Path]:
    """A store whose root is a folder, and a ClusterTriggerAuthentication that names a file in it, looked at once."""
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside.json").write_text(json.dumps(FILE_LOGIN))
    (root / "link.json").symlink_to(tmp_path / "outside.json")
    if content is not None:
        (root / "login.json").write_text(content)
    api = MemoryApi()
    api.put(FILE_PATH, {"metadata": {"name": "login"}, "spec": {"filePath": name}})
    store = SecretStore(cast("KubernetesClient", api), build, "wakegate-system", root)
    store.name(ORDERS, [FILE_KEY])
    await store.look()
    return store, root


FILE_LOGIN = {"sasl": "plaintext", "username": "orders", "password": CANARY}


async def test_a_mounted_file_and_its_rotation(tmp_path: Path) -> None:
    """All of its parameters, and what it says at the next look is used."""
    store, root = await file_of(tmp_path, "login.json", json.dumps(FILE_LOGIN))
    assert store.options(FILE_KEY) == Built(CANARY)
    (root / "login.json").write_text(json.dumps({**FILE_LOGIN, "password": "new"}))
    await store.look()
    assert store.options(FILE_KEY) == Built("new")
    (root / "login.json").unlink()
    await store.look()
    assert store.options(FILE_KEY) == Built("new"), "what was read last stays in force"
    assert [str(problem) for problem in store.problems(FILE_KEY)] == [
        "File login.json: it does not exist; ClusterTriggerAuthentication shop/login names it"
    ]


NO_FILES = {
    "out of the root": ("../outside.json", None, "it is not below WAKEGATE_AUTHENTICATION_FILE_ROOT"),
    "a link out of it": ("link.json", None, "it is not below WAKEGATE_AUTHENTICATION_FILE_ROOT"),
    "an absolute path": ("/etc/hostname", None, "it is not below WAKEGATE_AUTHENTICATION_FILE_ROOT"),
    "the root itself": (".", None, "it does not exist"),
    "no JSON": ("login.json", f"password: {CANARY}", "it is no JSON object of strings"),
    "no texts": ("login.json", f'{{"{CANARY}": 1}}', "it is no JSON object of strings"),
    "too large": ("login.json", f'{{"{CANARY}": "{"x" * 2**20}"}}', "it is no JSON object of strings"),
    "a parameter that is missing": ("login.json", '{"sasl": "plaintext"}', "File login.json, key username: it is"),
}


@pytest.mark.parametrize(("name", "content", "said"), NO_FILES.values(), ids=NO_FILES)
async def test_a_file_that_gives_nothing(tmp_path: Path, name: str, content: str | None, said: str) -> None:
    """Its name and what is wrong are told, and nothing of what is in it."""
    store, _ = await file_of(tmp_path, name, content)
    told = "; ".join(map(str, store.problems(FILE_KEY)))
    assert said in told
    assert CANARY not in told
    with pytest.raises(DeniedError):
        store.options(FILE_KEY)


async def test_without_a_root_no_file_is_read(tmp_path: Path) -> None:
    """The operator says which folder it is."""
    (tmp_path / "login.json").write_text(json.dumps(FILE_LOGIN))
    api = MemoryApi()
    api.put(FILE_PATH, {"metadata": {"name": "login"}, "spec": {"filePath": str(tmp_path / "login.json")}})
    async with running(api) as store:
        store.name(ORDERS, [FILE_KEY])
        await store.look()
        (problem,) = store.problems(FILE_KEY)
        assert "the operator has set no WAKEGATE_AUTHENTICATION_FILE_ROOT" in str(problem)


@virtual
async def test_a_service_accounts_token_is_asked_for_and_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once in most of its hour, not at every look; where that is not granted, what to grant is told."""
    path = "/api/v1/namespaces/shop/serviceaccounts/orders/token"
    api, tokens = MemoryApi(), itertools.count(1)
    asked: list[dict[str, Any]] = []

    async def create(at: str, body: dict[str, Any]) -> dict[str, Any]:
        assert at == path
        asked.append(body)
        if len(asked) == 1:
            raise DeniedError("API server: serviceaccounts/token is forbidden")
        return {**body, "status": {"token": f"t{next(tokens)}"}}

    monkeypatch.setattr(api, "create", create)
    api.put(SECRET_PATH, secret(sasl="plaintext", user="orders"))
    named = [
        {"parameter": "sasl", "name": "kafka", "key": "sasl"},
        {"parameter": "username", "name": "kafka", "key": "user"},
    ]
    bound = [{"parameter": "password", "serviceAccountName": "orders"}]
    spec = {"secretTargetRef": named, "boundServiceAccountToken": bound}
    api.put(REF_PATH, {"metadata": {"name": "login", "namespace": "shop"}, "spec": spec})
    async with running(api) as store:
        store.name(ORDERS, [REF])
        await look()
        assert str(store.problems(REF)[0]) == (
            "ServiceAccount shop/orders: its token may not be asked for; grant create of serviceaccounts/token, by its "
            "name, in namespace shop"
        )
        await asyncio.sleep(LOOK_SECONDS)
        assert store.options(REF) == Built("t1")
        await asyncio.sleep(40 * 60)
        assert store.options(REF) == Built("t1")
        await asyncio.sleep(10 * 60)
        assert store.options(REF) == Built("t2")
    assert [body["spec"] for body in asked] == [{"expirationSeconds": 3600}] * 3


@virtual
async def test_no_value_is_ever_told(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is wrong with a Secret full of canaries, none of them sings in a log or a message."""
    caplog.set_level(logging.DEBUG)
    api = MemoryApi()
    names = ("sasl", "username", "password", "tls", "ca", "cert", "key", "keyPassword", "unsafeSsl", "scopes")
    async with running(api) as store:
        store.name(ORDERS, [KEY])
        for data in (dict.fromkeys(names, CANARY), {"tls": "enable", "cert": CANARY, "key": "broken"}):
            api.put(SECRET_PATH, secret(**data))
            await asyncio.sleep(LOOK_SECONDS)
            assert store.problems(KEY)
            with pytest.raises(DeniedError) as caught:
                store.options(KEY)
            assert CANARY not in f"{store.problems(KEY)} {caught.value!r} {store!r} {vars(store)}"
    assert CANARY not in caplog.text


@virtual
async def test_what_nobody_names_is_looked_at_no_more() -> None:
    """Once no target names it, and no policy that is still in force asks for it."""
    api = MemoryApi()
    api.put(SECRET_PATH, login("p"))
    async with running(api) as store:
        store.name(ORDERS, [KEY])
        await look()
        store.name(ORDERS, [])
        await asyncio.sleep(UNUSED_SECONDS / 2)
        assert store.options(KEY) == Built("p")
        await asyncio.sleep(UNUSED_SECONDS + 2 * LOOK_SECONDS)
        asked = len(api.log)
        await asyncio.sleep(UNUSED_SECONDS)
        assert len(api.log) == asked


# ------------------------------------------------------------------------------------------------------- the gate


class Listener:
    """Keeps what is delivered."""

    def __init__(self) -> None:
        self.delivered: list[tuple[TargetRef, list[str] | None]] = []
        self.removed: list[TargetRef] = []
        self.synced_times = 0
        self.looked_at: list[TargetRef] = []

    def upsert(self, managed: ManagedWorkload) -> None:
        """Take a workload: None where its policy is valid, else its problems."""
        problems = None if managed.policy is not None else [str(problem) for problem in managed.problems]
        self.delivered.append((managed.workload.ref, problems))

    def remove(self, ref: TargetRef, workload: Workload | None) -> None:
        """Lose a workload."""
        del workload
        self.removed.append(ref)

    def synced(self) -> None:
        """All has been delivered."""
        self.synced_times += 1


def managed(credential: str, servers: str = "kafka:9092") -> ManagedWorkload:
    """A workload with one trigger."""
    policy = Policy(triggers=(Trigger(Cluster(servers, credential), "orders", "orders"),))
    return ManagedWorkload(Workload(ORDERS, Scale(0, "u", "1"), 0), {}, policy)


@virtual
async def test_a_policy_is_as_valid_as_its_credentials() -> None:
    """Delivered at once, again as invalid when the Secret turns out to be missing, and valid when it is there."""
    api, listener = MemoryApi(), Listener()
    async with running(api) as store:
        gate = CredentialGate(store, listener, frozenset(), listener.looked_at.append)
        gate.upsert(managed(KEY))
        gate.synced()
        await look()
        api.put(SECRET_PATH, login("p"))
        await asyncio.sleep(LOOK_SECONDS)
        missing = "Secret shop/kafka: it does not exist; make it, with KEDA's parameter names as keys"
        assert listener.delivered == [(ORDERS, None), (ORDERS, [missing]), (ORDERS, None)]
        assert listener.looked_at == [ORDERS, ORDERS]
        assert listener.synced_times == 1

        gate.remove(ORDERS, None)
        api.remove(SECRET_PATH)
        await asyncio.sleep(LOOK_SECONDS)
        assert listener.removed == [ORDERS]
        assert len(listener.delivered) == 3


@virtual
async def test_the_operators_credentials_are_not_sent_to_strangers() -> None:
    """A ClusterTriggerAuthentication and an address that the operator has not named: refused, never connected."""
    api, listener = MemoryApi(), Listener()
    key = AuthenticationSource(CLUSTER_TRIGGER_AUTHENTICATION, "shop", "login").key()
    async with running(api) as store:
        gate = CredentialGate(store, listener, frozenset({"kafka:9092"}), listener.looked_at.append)
        gate.upsert(managed(key, "evil:9092"))
        gate.upsert(managed(key, "kafka:9092"))
    ((_, refused), (_, taken)) = listener.delivered
    assert refused is not None
    assert "is 'evil:9092'; allowed: those that the operator names: kafka:9092" in refused[0]
    assert taken is None
