"""Settings: each default is a promise, flags win over the environment, and an error names where it came from."""

from __future__ import annotations

import argparse
from dataclasses import MISSING, fields
from datetime import timedelta
from typing import Any

import pytest

from activator.core.model import Handover
from activator.errors import SettingsError
from activator.settings import Keda, LogFormat, LogLevel, Settings, TraceHeld, add_arguments, descriptions, read

DEFAULTS: dict[str, Any] = {
    "bootstrap_servers": "",
    "allowed_bootstrap_servers": (),
    "kafka_credentials": "",
    "authentication_file_root": "",
    "watch_namespace": (),
    "listen": ("0.0.0.0", 8080),  # noqa: S104 - the promised default: the kubelet probes it
    "dashboard_listen": ("127.0.0.1", 8081),
    "trace_url": "",
    "metrics_api_listen": ("0.0.0.0", 6443),  # noqa: S104 - the promised default: the aggregator calls it
    "metrics_api_tls_cert": "",
    "metrics_api_tls_key": "",
    "metrics_api_shared_certificate": "",
    "metrics_api_certificate_lifetime": timedelta(days=90),
    "metrics_api_service": ("wakegate-system", "wakegate-metrics"),
    "wake_token_file": "",
    "handoff": Handover.AUTO,
    "keda": Keda.AUTO,
    "leader_election": True,
    "lease": ("wakegate-system", "wakegate"),
    "identity": "",
    "dry_run": False,
    "trace_held": TraceHeld.MERGED,
    "log_format": LogFormat.TEXT,
    "log_level": LogLevel.INFO,
}


def given(*flags: str, **environment: str) -> Settings:
    """Read settings as a command does that was called with these flags in this environment."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return read(parser.parse_args(flags), environment)


def test_every_default_is_pinned() -> None:
    """A default is a promise to whoever has not set it: changing one must be seen here."""
    assert {field.name: getattr(given(), field.name) for field in fields(Settings)} == DEFAULTS
    assert read(environment={}) == Settings()


TAKEN: dict[str, tuple[str, str, Any]] = {
    "kafka's address": ("bootstrap_servers", " a:9092, b:9092", "a:9092,b:9092"),
    "allowed addresses": ("allowed_bootstrap_servers", "a:9092,b:9092", ("a:9092", "b:9092")),
    "namespaces": ("watch_namespace", "shop, billing,", ("shop", "billing")),
    "an address": ("listen", "10.0.0.1:80", ("10.0.0.1", 80)),
    "an IPv6 address": ("listen", "[::]:8080", ("::", 8080)),
    "a port alone": ("dashboard_listen", ":9000", ("0.0.0.0", 9000)),  # noqa: S104 - what it means everywhere
    "any free port": ("metrics_api_listen", "127.0.0.1:0", ("127.0.0.1", 0)),
    "a Service": ("metrics_api_service", "ops/metrics", ("ops", "metrics")),
    "a Lease": ("lease", "ops/wakegate-2", ("ops", "wakegate-2")),
    "a token's file": ("wake_token_file", "/run/token", "/run/token"),
    "a name": ("identity", "pod-1", "pod-1"),
    "who moves 1..N": ("handoff", "HPA", Handover.HPA),
    "ScaledObjects left alone": ("keda", "off", Keda.OFF),
    "no leader": ("leader_election", "false", False),
    "a switch as charts write it": ("dry_run", "True", True),
    "a switch as shells write it": ("dry_run", "1", True),
    "every hold": ("trace_held", "all", TraceHeld.ALL),
    "log lines for machines": ("log_format", "json", LogFormat.JSON),
    "all log lines": ("log_level", "DEBUG", LogLevel.DEBUG),
}


@pytest.mark.parametrize(("name", "written", "expected"), TAKEN.values(), ids=TAKEN)
def test_flag_and_environment_have_one_name(name: str, written: str, expected: object) -> None:
    """What is given as a flag or as a variable means the same."""
    assert getattr(given(f"--{name.replace('_', '-')}={written}"), name) == expected
    assert getattr(given(**{f"WAKEGATE_{name.upper()}": written}), name) == expected


def test_the_flag_wins() -> None:
    """A flag beats the environment, also where it asks for the default."""
    assert given("--listen=:1", WAKEGATE_LISTEN=":2").listen[1] == 1
    assert given("--leader-election=true", WAKEGATE_LEADER_ELECTION="false").leader_election is True
    assert given("--watch-namespace=", WAKEGATE_WATCH_NAMESPACE="shop").watch_namespace == ()


@pytest.mark.parametrize("name", DEFAULTS)
def test_blank_means_the_default(name: str) -> None:
    """A chart that writes an empty value out has set nothing: least of all has it switched leader election off."""
    assert getattr(given(**{f"WAKEGATE_{name.upper()}": " "}), name) == DEFAULTS[name]


ADDRESS = "HOST:PORT, such as 127.0.0.1:8081 or [::]:8080; port 0 takes a free one"
SERVERS = "a comma-separated list of HOST:PORT, without a protocol in front"

REFUSED: dict[str, tuple[str, str, str]] = {
    "a server without a port": ("bootstrap_servers", "kafka", SERVERS),
    "an allowed server with a protocol": ("allowed_bootstrap_servers", "SSL://kafka:9093", SERVERS),
    "an address without a port": ("listen", "localhost", ADDRESS),
    "a port that is too large": ("listen", ":65536", ADDRESS),
    "a port in another script's digits": ("listen", ":٨٠", ADDRESS),
    "a Service without a namespace": ("metrics_api_service", "metrics", "NAMESPACE/NAME"),
    "a Lease with three parts": ("lease", "a/b/c", "NAMESPACE/NAME"),
    "an unknown hand-off": ("handoff", "keda", "auto or hpa or direct"),
    "no such mode": ("keda", "maybe", "auto or on or off"),
    "a misspelt switch": ("leader_election", "flase", "true or false"),
    "an unknown log level": ("log_level", "loud", "debug or info or warning or error"),
    "an unknown log format": ("log_format", "xml", "text or json"),
    "an unknown choice of traces": ("trace_held", "none", "merged or all"),
}


@pytest.mark.parametrize(("name", "written", "allowed"), REFUSED.values(), ids=REFUSED)
def test_an_error_names_where_it_came_from(name: str, written: str, allowed: str) -> None:
    """The flag or the variable, its value, and what is allowed: enough to correct it without the source."""
    flag, variable = f"--{name.replace('_', '-')}", f"WAKEGATE_{name.upper()}"
    with pytest.raises(SettingsError) as by_flag:
        given(f"{flag}={written}")
    assert str(by_flag.value) == f"{flag} is {written!r}; allowed: {allowed}"
    with pytest.raises(SettingsError) as by_variable:
        given(**{variable: written})
    assert str(by_variable.value) == f"{variable} is {written!r}; allowed: {allowed}"


@pytest.mark.parametrize("half", ["cert", "key"])
def test_a_certificate_comes_with_its_key(half: str) -> None:
    """Half a key pair is a mistake that is told at the start."""
    with pytest.raises(SettingsError, match=r"WAKEGATE_METRICS_API_TLS_CERT and WAKEGATE_METRICS_API_TLS_KEY"):
        given(f"--metrics-api-tls-{half}=/file.pem")
    both = given("--metrics-api-tls-cert=/c.pem", "--metrics-api-tls-key=/k.pem")
    assert (both.metrics_api_tls_cert, both.metrics_api_tls_key) == ("/c.pem", "/k.pem")


def test_one_listener_has_one_certificate() -> None:
    """Files of one's own and a shared Secret exclude each other; how long the latter holds is at least a minute."""
    with pytest.raises(SettingsError, match=r"two certificates for one listener"):
        given(
            "--metrics-api-tls-cert=/c.pem", "--metrics-api-tls-key=/k.pem", "--metrics-api-shared-certificate=shared"
        )
    with pytest.raises(SettingsError, match=r"at least 60 s"):
        given("--metrics-api-certificate-lifetime=59s")
    assert given("--metrics-api-certificate-lifetime=30d").metrics_api_certificate_lifetime == timedelta(days=30)


def test_every_setting_is_described() -> None:
    """--help and the reference are made of the docstring under each field; every field has a default."""
    assert set(descriptions()) == set(DEFAULTS)
    assert all(text.endswith(".") for text in descriptions().values())
    assert all(field.default is not MISSING for field in fields(Settings))


def test_help_shows_every_flag_with_its_variable() -> None:
    """Whoever reads --help learns both names of a setting."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    shown = parser.format_help()
    for name in DEFAULTS:
        assert f"--{name.replace('_', '-')} VALUE" in shown
        assert f"WAKEGATE_{name.upper()}]" in shown


def test_no_setting_holds_a_secret() -> None:
    """A secret comes as a file or a folder of files, so that printing all settings gives nothing away."""
    folders = {"kafka_credentials"}
    for name in DEFAULTS:
        names_secret = any(word in name for word in ("token", "password", "secret", "credential"))
        assert not names_secret or name.endswith("_file") or name in folders


def test_credentials_without_servers_to_show_them_to() -> None:
    """They go to the default servers alone, so without those nobody would ever see them."""
    with pytest.raises(SettingsError, match=r"^WAKEGATE_KAFKA_CREDENTIALS is for WAKEGATE_BOOTSTRAP_SERVERS"):
        given("--kafka-credentials", "/etc/wakegate/kafka")
    assert given("--kafka-credentials", "/c", "--bootstrap-servers", "kafka:9092").kafka_credentials == "/c"
