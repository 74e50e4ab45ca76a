"""What an operator sets, and what is promised where nothing is set."""

from __future__ import annotations

import argparse
from dataclasses import asdict, fields

import pytest

from activator.errors import SettingsError
from activator.kafka.connection import Address
from gateway.settings import Settings, add_arguments, descriptions, environment_name, read

SERVERS = {"WAKEGATE_GATEWAY_BOOTSTRAP_SERVERS": "kafka:9092"}


def parsed(*argv: str) -> argparse.Namespace:
    """Flags as the command parses them."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(argv)


def test_defaults() -> None:
    """These defaults are promised."""
    assert asdict(read(environment=SERVERS)) == {
        "bootstrap_servers": "kafka:9092",
        "kafka_credentials": "",
        "client_id": "wakegate-gateway",
        "compression_type": "none",
        "listen": ("0.0.0.0", 8080),  # noqa: S104 - the promise
        "tls_cert": "",
        "tls_key": "",
        "management_listen": ("0.0.0.0", 9090),  # noqa: S104 - the promise
        "routes": "",
        "token_file": "",
        "wake_url": "",
        "wake_token_file": "",
        "wake_bootstrap_servers": "",
        "max_in_flight_events": 10_000,
        "max_in_flight_bytes": 64 * 1024 * 1024,
        "max_connections": 10_000,
        "body_timeout": 10.0,
        "shutdown_delay": 5.0,
        "shutdown_grace": 20.0,
        "log_level": "info",
    }


def test_the_flag_wins() -> None:
    """A flag goes before the environment variable of the same name."""
    settings = read(parsed("--listen", "127.0.0.1:1"), {**SERVERS, "WAKEGATE_GATEWAY_LISTEN": "127.0.0.1:2"})
    assert settings.listen == ("127.0.0.1", 1)


def test_a_socket_that_is_handed_over() -> None:
    """It is named by its descriptor, as by gunicorn and uvicorn."""
    settings = read(parsed("--listen", "fd://3"), {**SERVERS, "WAKEGATE_GATEWAY_MANAGEMENT_LISTEN": "fd://4"})
    assert (settings.listen, settings.management_listen) == (3, 4)


def test_each_field_is_described() -> None:
    """Each setting has its docstring, and so its line in --help."""
    assert set(descriptions()) == {field.name for field in fields(Settings)}


def test_bootstrap_addresses() -> None:
    """Several servers, white space and IPv6 are understood."""
    settings = read(parsed("--bootstrap-servers", "kafka-0:9092, kafka-1:9093,[::1]:9094"), {})
    assert settings.bootstrap_servers == "kafka-0:9092,kafka-1:9093,[::1]:9094"
    assert settings.bootstrap_addresses() == (Address("kafka-0", 9092), Address("kafka-1", 9093), Address("::1", 9094))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("bootstrap_servers", ",", "allowed: a comma-separated list of HOST:PORT"),
        ("compression_type", "brotli", "allowed: none, gzip, snappy, lz4, zstd"),
        ("listen", "8080", "allowed: HOST:PORT"),
        ("listen", "a:99999", "allowed: HOST:PORT"),
        ("listen", "fd://", "allowed: HOST:PORT"),
        ("listen", "fd://-1", "allowed: HOST:PORT"),
        ("management_listen", "a:b", "allowed: HOST:PORT"),
        ("max_in_flight_events", "0", "allowed: a whole number from 1"),
        ("max_in_flight_bytes", "64Mi", "allowed: a whole number from 1"),
        ("body_timeout", "-1", "allowed: seconds from 0"),
        ("shutdown_delay", "nan", "allowed: seconds from 0"),
        ("wake_url", "wakegate:8080", "allowed: a URL"),
        ("log_level", "loud", "allowed: debug, info, warning, error"),
    ],
)
def test_wrong_value(name: str, value: str, message: str) -> None:
    """A value that cannot be used is told with where it came from and what is allowed."""
    variable = environment_name(name)
    with pytest.raises(SettingsError) as error:
        read(environment={**SERVERS, variable: value})
    assert f"{variable} is {value!r}; {message}" in str(error.value)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "no Kafka to write to: give --bootstrap-servers or WAKEGATE_GATEWAY_BOOTSTRAP_SERVERS"),
        ({**SERVERS, "WAKEGATE_GATEWAY_TLS_CERT": "/a"}, "--tls-cert and --tls-key belong together"),
        ({**SERVERS, "WAKEGATE_GATEWAY_WAKE_TOKEN_FILE": "/a"}, "--wake-token-file is for --wake-url"),
    ],
)
def test_wrong_together(environment: dict[str, str], message: str) -> None:
    """Settings that make no sense together are told."""
    with pytest.raises(SettingsError, match=message):
        read(environment=environment)
