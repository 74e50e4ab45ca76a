"""KEDA's authentication parameters: what they mean, and the sentence of each mistake."""

from __future__ import annotations

import pytest

from activator.specs.credentials import KafkaCredentials, SaslMechanism, read_credentials

CANARY = "c4n4ry"
"""Stands for every secret: no message may show it."""


def read(**parameters: str) -> tuple[KafkaCredentials | None, list[str]]:
    """Read parameters of a Secret; the mistakes as sentences."""
    credentials, problems = read_credentials(parameters, lambda name: f"Secret shop/kafka, key {name}")
    return credentials, [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        pytest.param({}, KafkaCredentials(), id="nothing: plain text and nobody"),
        pytest.param({"sasl": "none", "password": "p"}, KafkaCredentials(), id="sasl none leaves a password alone"),
        pytest.param(
            {"sasl": "plaintext\n", "username": " shop ", "password": "p\n"},
            KafkaCredentials(SaslMechanism.PLAIN, "shop", "p"),
            id="white space around a value is no part of it",
        ),
        pytest.param(
            {"sasl": "scram_sha256", "username": "u", "password": "p"},
            KafkaCredentials(SaslMechanism.SCRAM_SHA_256, "u", "p"),
            id="SCRAM-SHA-256",
        ),
        pytest.param(
            {"sasl": "scram_sha512", "username": "u", "password": "p", "tls": "enable", "ca": "PEM"},
            KafkaCredentials(SaslMechanism.SCRAM_SHA_512, "u", "p", tls=True, ca="PEM"),
            id="SCRAM-SHA-512 over TLS",
        ),
        pytest.param(
            {
                "sasl": "oauthbearer",
                "username": "id",
                "password": "s",
                "oauthTokenEndpointUri": "https://sso/token",
                "scopes": "kafka, openid",
                "oauthExtensions": "logicalCluster=lkc-1, identityPoolId=pool",
            },
            KafkaCredentials(
                SaslMechanism.OAUTHBEARER,
                "id",
                "s",
                token_endpoint="https://sso/token",
                scopes=("kafka", "openid"),
                extensions=(("identityPoolId", "pool"), ("logicalCluster", "lkc-1")),
            ),
            id="OAUTHBEARER",
        ),
        pytest.param(
            {"tls": "enable", "cert": "C", "key": "K", "keyPassword": "P"},
            KafkaCredentials(tls=True, certificate="C", key="K", key_password="P"),
            id="mutual TLS",
        ),
        pytest.param({"tls": "enable", "unsafeSsl": "true"}, KafkaCredentials(tls=True, verify=False), id="unverified"),
        pytest.param({"tls": "disable", "ca": "PEM"}, KafkaCredentials(), id="TLS that is switched off on purpose"),
        pytest.param({"user.crt": "x", "truststore": "y"}, KafkaCredentials(), id="other keys are somebody else's"),
    ],
)
def test_what_parameters_mean(parameters: dict[str, str], expected: KafkaCredentials) -> None:
    """By KEDA's names and values."""
    assert read(**parameters) == (expected, [])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        pytest.param({"sasl": CANARY}, "it has another value than is allowed: none, plaintext", id="mechanism"),
        pytest.param({"sasl": "SCRAM-SHA-512"}, "did you mean scram_sha512?", id="Kafka's own spelling"),
        pytest.param({"sasl": "PLAIN"}, "did you mean plaintext?", id="Kafka's own spelling of PLAIN"),
        pytest.param({"sasl": "gssapi"}, "key sasl: GSSAPI (Kerberos) is not supported; allowed", id="GSSAPI"),
        pytest.param(
            {"sasl": "oauthbearer", "saslTokenProvider": "aws_msk_iam"}, "AWS MSK IAM are not supported", id="MSK IAM"
        ),
        pytest.param(
            {"sasl": "plaintext", "username": "u"},
            "key password: it is missing or empty; SASL PLAIN needs a username and a password",
            id="no password",
        ),
        pytest.param(
            {"sasl": "plaintext", "username": "u", "pasword": CANARY},
            "it is missing or empty (there is 'pasword', which is not read)",
            id="a misspelt key",
        ),
        pytest.param({"username": "u", "password": CANARY}, "key sasl: it is missing although password", id="no sasl"),
        pytest.param({"ca": CANARY}, "key tls: it is missing although ca are given", id="no tls"),
        pytest.param({"tls": CANARY}, "key tls: it has another value than is allowed: enable, disable", id="tls"),
        pytest.param({"tls": "enable", "unsafeSsl": CANARY}, "key unsafeSsl: it has another value", id="unsafeSsl"),
        pytest.param({"tls": "enable", "cert": CANARY}, "key key: it is missing or empty, and cert is given", id="key"),
        pytest.param({"tls": "enable", "key": CANARY}, "key cert: it is missing or empty, and key is given", id="cert"),
        pytest.param(
            {"sasl": "oauthbearer", "username": "u", "password": CANARY},
            "key oauthTokenEndpointUri: it is missing or empty",
            id="no token endpoint",
        ),
        pytest.param(
            {"sasl": "oauthbearer", "username": "u", "password": CANARY, "oauthTokenEndpointUri": "sso/token"},
            "it is no http:// or https:// URL",
            id="a token endpoint that is none",
        ),
        pytest.param(
            {
                "sasl": "oauthbearer",
                "username": "u",
                "password": CANARY,
                "oauthTokenEndpointUri": "https://sso",
                "oauthExtensions": CANARY,
            },
            "key oauthExtensions: it is not of the form name=value",
            id="extensions",
        ),
    ],
)
def test_each_mistake_has_its_sentence_and_shows_nothing(parameters: dict[str, str], message: str) -> None:
    """The place, what is wrong and what is allowed; never what was written, which came out of a Secret."""
    credentials, problems = read(**parameters)
    assert credentials is None
    (problem,) = problems
    assert problem.startswith("Secret shop/kafka, key ")
    assert message in problem
    assert CANARY not in problem


def test_all_mistakes_are_told_at_once() -> None:
    """A user corrects a Secret once."""
    _, problems = read(sasl="plaintext", tls="yes")
    assert len(problems) == 3


def test_repr_shows_no_secret() -> None:
    """Not in a log by accident either."""
    shown = repr(KafkaCredentials(SaslMechanism.PLAIN, CANARY, CANARY, key=CANARY, key_password=CANARY, ca=CANARY))
    assert CANARY not in shown
