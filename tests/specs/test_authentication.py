"""Sources of credentials: what is to be read for each, and what is said where it is not there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.model import Cluster, Policy, TargetRef, Trigger
from activator.specs.authentication import (
    CLUSTER_TRIGGER_AUTHENTICATION,
    CONFIG_MAP,
    FROM_TRIGGER,
    SECRET,
    TRIGGER,
    TRIGGER_AUTHENTICATION,
    AuthenticationSource,
    Plan,
    Reference,
    Variable,
    for_target,
    may_take_variables,
    plan_for_trigger_authentication,
    plan_without_document,
    refusal,
    resolve,
)
from activator.specs.credentials import KafkaCredentials, SaslMechanism

NAMES = st.from_regex(r"[a-z]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)
SECRET_SOURCE = AuthenticationSource(SECRET, "shop", "kafka")
REF_SOURCE = AuthenticationSource(TRIGGER_AUTHENTICATION, "shop", "login")
ORDERS = TargetRef("shop", "Deployment", "orders")
USER = Reference(SECRET, "shop", "user")
SETTINGS = Reference(CONFIG_MAP, "shop", "settings")


@given(
    kind=st.sampled_from([SECRET, TRIGGER, TRIGGER_AUTHENTICATION, CLUSTER_TRIGGER_AUTHENTICATION]),
    namespace=NAMES,
    name=NAMES | st.just(""),
    metadata=st.dictionaries(st.sampled_from(FROM_TRIGGER), st.text(max_size=8)),
)
def test_a_key_leads_back_to_its_source(kind: str, namespace: str, name: str, metadata: dict[str, str]) -> None:
    """What stands in `Cluster.credential` says where to look, whatever a trigger says itself."""
    source = AuthenticationSource(kind, namespace, name, tuple(sorted(metadata.items())))
    assert AuthenticationSource.of_key(source.key()) == source
    worker = TargetRef(namespace, "Worker", "w", "example.com/v1")
    for target, container in ((TargetRef(namespace, "Deployment", "orders"), "app"), (worker, "")):
        of_target = replace(source, target=target, container=container)
        assert AuthenticationSource.of_key(of_target.key()) == of_target
        assert of_target.key() != source.key()


def ref_to(*entries: tuple[str, Reference, str], **more: Any) -> dict[str, Any]:
    """A TriggerAuthentication that takes parameters from keys of objects."""
    spec: dict[str, Any] = {"secretTargetRef": [], "configMapTargetRef": [], **more}
    for parameter, reference, key in entries:
        field = "secretTargetRef" if reference.kind == SECRET else "configMapTargetRef"
        spec[field].append({"parameter": parameter, "name": reference.name, "key": key})
    return {"spec": spec}


def test_every_key_of_a_secret_that_is_named_itself() -> None:
    """Its keys are the parameters."""
    plan = plan_without_document(SECRET_SOURCE)
    assert plan is not None
    (reference,) = plan.references()
    data = {reference: {"sasl": "plaintext", "username": "u", "password": "p"}}
    assert resolve(SECRET_SOURCE, plan, data)[:2] == (KafkaCredentials(SaslMechanism.PLAIN, "u", "p"), ())


def test_a_trigger_that_says_everything_itself() -> None:
    """A ScaledObject whose metadata asks for TLS, and that names no TriggerAuthentication."""
    source = AuthenticationSource(TRIGGER, "shop", "", (("tls", "enable"), ("unsafeSsl", "true")))
    plan = plan_without_document(source)
    assert plan == Plan()
    assert resolve(source, Plan(), {})[:2] == (KafkaCredentials(tls=True, verify=False), ())
    wrong = AuthenticationSource(TRIGGER, "shop", "", (("sasl", "plaintext"),))
    assert str(resolve(wrong, Plan(), {}).problems[0]) == (
        "the trigger, parameter username: it is missing or empty; SASL PLAIN needs a username and a password"
    )


def test_a_trigger_authentication_maps_keys_to_parameters() -> None:
    """From Secrets and ConfigMaps; the Secret's wins over the ConfigMap's, the trigger's own word over both."""
    document = ref_to(
        ("sasl", SETTINGS, "mechanism"),
        ("username", SETTINGS, "u"),
        ("username", USER, "name"),
        ("password", USER, "pw"),
    )
    plan = plan_for_trigger_authentication(REF_SOURCE, document, "shop")
    data = {SETTINGS: {"mechanism": "plaintext", "u": "other"}, USER: {"name": "u", "pw": "p"}}
    assert set(plan.references()) == {SETTINGS, USER}
    assert resolve(REF_SOURCE, plan, data)[:2] == (KafkaCredentials(SaslMechanism.PLAIN, "u", "p"), ())

    says = AuthenticationSource(TRIGGER_AUTHENTICATION, "shop", "login", (("sasl", "scram_sha512"),))
    assert resolve(says, plan, data).credentials == KafkaCredentials(SaslMechanism.SCRAM_SHA_512, "u", "p")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        pytest.param(
            {}, "TriggerAuthentication shop/login: it names no parameters; allowed: env, configMapTargetRef", id="no"
        ),
        pytest.param({"spec": "x"}, "it names no parameters", id="no spec"),
        pytest.param(
            {"spec": {"secretTargetRef": [{"parameter": "password", "name": "user"}]}},
            "TriggerAuthentication shop/login, spec.secretTargetRef[0]: key is missing",
            id="an entry without its key",
        ),
        pytest.param({"spec": {"secretTargetRef": ["x"]}}, "parameter and name and key is missing", id="no entry"),
        pytest.param(
            {"spec": {"hashiCorpVault": {"address": "x"}}},
            "spec.hashiCorpVault: it is not supported; have its values synchronised into a Secret",
            id="vault",
        ),
        pytest.param({"spec": {"podIdentity": {"provider": "aws"}}}, "allowed: provider none", id="pod identity"),
    ],
)
def test_mistakes_in_a_trigger_authentication(document: dict[str, Any], message: str) -> None:
    """Each is told with its path."""
    plan = plan_for_trigger_authentication(REF_SOURCE, document, "shop")
    credentials, problems, _ = resolve(REF_SOURCE, plan, {})
    assert credentials is None
    assert [message in str(problem) for problem in problems] == [True]


def environment_ref(*entries: dict[str, str], **more: Any) -> dict[str, Any]:
    """A TriggerAuthentication whose parameters are variables."""
    return {"spec": {"env": list(entries), **more}}


def test_variables_are_the_weakest_source() -> None:
    """As by KEDA, a ConfigMap's and a Secret's key win over them: such a variable need not even be there."""
    document = environment_ref(
        {"parameter": "username", "name": "KAFKA_USER", "containerName": "app"},
        {"parameter": "password", "name": "KAFKA_PASSWORD"},
        {"parameter": "sasl"},
        secretTargetRef=[{"parameter": "password", "name": "user", "key": "pw"}],
    )
    plan = plan_for_trigger_authentication(REF_SOURCE, document, "shop")
    assert plan.variables == (Variable("username", "KAFKA_USER", "app"),)
    assert [str(problem) for problem in plan.problems] == [
        "TriggerAuthentication shop/login, spec.env[2]: name is missing"
    ]


def credentials_of(policy: Policy) -> list[str]:
    """The keys that its triggers have."""
    return [trigger.cluster.credential for trigger in policy.triggers]


def test_a_policy_names_its_target_where_variables_are_taken() -> None:
    """And nowhere else, so that all other targets go on sharing connections."""
    other = AuthenticationSource(TRIGGER_AUTHENTICATION, "shop", "other").key()
    clusters = [Cluster("kafka:9092", key) for key in (REF_SOURCE.key(), other, "")]
    policy = Policy(triggers=tuple(Trigger(cluster, "orders", "orders") for cluster in clusters))
    bound = for_target(policy, ORDERS, "app", {REF_SOURCE.key()}.__contains__)
    assert credentials_of(bound) == [
        "TriggerAuthentication shop/login of apps/v1/Deployment/orders/app",
        other,
        "",
    ]
    assert for_target(policy, ORDERS, "app", lambda _: False) is policy
    unread = for_target(policy, ORDERS, "", may_take_variables)
    assert [key.endswith(" of apps/v1/Deployment/orders/") for key in credentials_of(unread)] == [True, True, False]


def test_what_is_missing_is_told_by_name() -> None:
    """A missing object and a missing key are different sentences, and both name who asked for them."""
    plan = plan_for_trigger_authentication(
        REF_SOURCE, ref_to(("sasl", SETTINGS, "mechanism"), ("password", USER, "pw")), "shop"
    )
    found = resolve(REF_SOURCE, plan, {SETTINGS: None, USER: {}})
    assert [str(problem) for problem in found.problems] == [
        "ConfigMap shop/settings: it does not exist; TriggerAuthentication shop/login names it",
        (
            "Secret shop/user, key pw: there is no such key; "
            "TriggerAuthentication shop/login takes the parameter password from it"
        ),
    ]
    whole = Plan(whole=Reference(SECRET, "shop", "kafka"))
    (problem,) = resolve(SECRET_SOURCE, whole, {Reference(SECRET, "shop", "kafka"): None})[1]
    assert str(problem) == "Secret shop/kafka: it does not exist; make it, with KEDA's parameter names as keys"


@pytest.mark.parametrize(
    ("kind", "servers", "trusted", "message"),
    [
        pytest.param(SECRET, "evil:9092", "kafka:9092", None, id="the namespace's own may go anywhere"),
        pytest.param(TRIGGER_AUTHENTICATION, "evil:9092", "", None, id="and so may a TriggerAuthentication's"),
        pytest.param(CLUSTER_TRIGGER_AUTHENTICATION, "a:1,b:2", "b:2 a:1 c:3", None, id="the operator's to its own"),
        pytest.param(
            CLUSTER_TRIGGER_AUTHENTICATION,
            "kafka:9092,evil:9092",
            "kafka:9092",
            "bootstrap servers for ClusterTriggerAuthentication login is 'evil:9092'; allowed: those that the operator "
            "names: kafka:9092",
            id="the operator's to a stranger",
        ),
    ],
)
def test_the_operators_credentials_go_to_the_operators_servers(
    kind: str, servers: str, trusted: str, message: str | None
) -> None:
    """Who may write a trigger chooses the address: it must not be able to have them sent to one of its own."""
    cluster = Cluster(servers, AuthenticationSource(kind, "shop", "login").key())
    problem = refusal(cluster, frozenset(trusted.split()))
    assert (problem and str(problem)) == message


FILE_MISTAKES = {
    "in a namespace": (
        REF_SOURCE,
        {"filePath": "a.json"},
        (
            "TriggerAuthentication shop/login, spec.filePath: only in a ClusterTriggerAuthentication; name the "
            "Secret in secretTargetRef"
        ),
    ),
    "beside another source": (
        AuthenticationSource(CLUSTER_TRIGGER_AUTHENTICATION, "shop", "login"),
        {"filePath": "a.json", "secretTargetRef": [{"parameter": "ca", "name": "a", "key": "b"}]},
        "ClusterTriggerAuthentication shop/login, spec.filePath: only alone, without secretTargetRef",
    ),
}


@pytest.mark.parametrize(("source", "spec", "said"), FILE_MISTAKES.values(), ids=FILE_MISTAKES)
def test_who_may_name_a_file(source: AuthenticationSource, spec: dict[str, Any], said: str) -> None:
    """Only what the operator writes, and alone; nothing is read otherwise."""
    plan = plan_for_trigger_authentication(source, {"spec": spec}, "wakegate-system")
    assert [str(problem) for problem in plan.problems] == [said]
    assert plan.references() == ()
