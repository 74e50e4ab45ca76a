"""Environment and flags, read once into one frozen dataclass. A docstring under each field: unit, default, why.

A flag and its environment variable have the same name (`--bootstrap-servers`, `WAKEGATE_GATEWAY_BOOTSTRAP_SERVERS`);
the flag wins. Telemetry is set by the standard `OTEL_*` variables only.
"""

from __future__ import annotations

import ast
import inspect
import os
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any

from aiokafka.conn import collect_hosts

from activator.errors import SettingsError
from activator.kafka.connection import Address
from gateway.producer.producer import COMPRESSIONS
from gateway.routes import MEBIBYTE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Collection, Mapping

ENVIRONMENT_PREFIX = "WAKEGATE_GATEWAY_"
_LARGEST_PORT = 65535
_LARGEST_COUNT = 2**31 - 1
_LONGEST_SECONDS = 3600.0


def _servers(text: str) -> str:
    servers = [part.strip() for part in text.split(",") if part.strip()]
    try:
        parsed = collect_hosts(servers, randomize=False)  # type: ignore[no-untyped-call]
    except ValueError:
        parsed = []
    if not parsed:
        raise ValueError("a comma-separated list of HOST:PORT, such as kafka-0:9092,kafka-1:9092")
    return ",".join(servers)


def _listen(text: str) -> tuple[str, int] | int:
    scheme, _, descriptor = text.strip().rpartition("//")
    if scheme == "fd:" and descriptor.isdecimal() and int(descriptor[:20]) <= _LARGEST_COUNT:
        return int(descriptor)
    host, separator, port = text.strip().rpartition(":")
    if not separator or not port.isdecimal() or int(port) > _LARGEST_PORT:
        raise ValueError(
            "HOST:PORT, such as 0.0.0.0:8080 or [::]:8080 (port 0 takes a free one), or fd://N, such as fd://3"
        )
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - what an empty host means everywhere


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text[:20]) <= _LARGEST_COUNT:
        raise ValueError(f"a whole number from 1 to {_LARGEST_COUNT}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text.strip().removesuffix("s"))
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _LONGEST_SECONDS:
        raise ValueError(f"seconds from 0 to {_LONGEST_SECONDS:g}, such as 5 or 5s")
    return seconds


def _url(text: str) -> str:
    if text and not text.startswith(("http://", "https://")):
        raise ValueError("a URL, such as http://wakegate.wakegate-system:8080/wake")
    return text


def _one_of(choices: Collection[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(", ".join(choices))
        return text.lower()

    return parse


def _setting(default: Any, parse: Callable[[str], Any] = str) -> Any:
    return field(default=default, metadata={"parse": parse})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything an operator sets for the gateway."""

    bootstrap_servers: str = _setting("", _servers)
    """Kafka's address: comma-separated HOST:PORT. Required."""
    kafka_credentials: str = _setting("")
    """Folder with Kafka credentials: a mounted Secret with KEDA's names as keys (sasl, username, password, tls, ca,
    cert, key, ...), read again at each connect. By default Kafka is contacted in plain text and as nobody."""
    client_id: str = _setting("wakegate-gateway")
    """Our client.id in the brokers' logs, metrics and quotas."""
    compression_type: str = _setting("none", _one_of(COMPRESSIONS))
    """How record batches are compressed: none, gzip, snappy, lz4 or zstd."""
    listen: tuple[str, int] | int = _setting(("0.0.0.0", 8080), _listen)  # noqa: S104 - a server's default
    """Where events are taken: HOST:PORT, 0.0.0.0:8080; or fd://N, a listening socket that is inherited as descriptor N,
    for whoever starts the gateway on a free port and must know which."""
    tls_cert: str = _setting("")
    """File with the certificate chain (PEM) shown there, reread when it changes. By default plain HTTP is served."""
    tls_key: str = _setting("")
    """File with the private key of that certificate (PEM)."""
    management_listen: tuple[str, int] | int = _setting(("0.0.0.0", 9090), _listen)  # noqa: S104 - probed by the kubelet
    """Where /healthz, /readyz and /metrics are served, in plain HTTP: HOST:PORT, 0.0.0.0:9090, or fd://N. A port of
    their own, so that probes get through when the other one is full."""
    routes: str = _setting("")
    """Routes file (YAML). By default POST /topics/{topic} takes events for any topic that exists."""
    token_file: str = _setting("")
    """File with bearer tokens, one a line, of which every request must carry one where its route says nothing else.
    Reread when it changes. By default anyone may send."""
    wake_url: str = _setting("", _url)
    """The activator's POST /wake, such as http://wakegate.wakegate-system:8080/wake. By default nobody is told of new
    records, and the activator finds them by its own look at Kafka."""
    wake_token_file: str = _setting("")
    """File with the token that POST /wake asks for; where it holds several the first is sent."""
    wake_bootstrap_servers: str = _setting("", _servers)
    """Kafka's address as the scale targets name it. By default it is that of --bootstrap-servers."""
    max_in_flight_events: int = _setting(10_000, _count)
    """Most events under way over all routes; more are answered 429."""
    max_in_flight_bytes: int = _setting(64 * MEBIBYTE, _count)
    """Most bytes of headers and bodies under way over all routes; more are answered 429. Memory grows by five times as
    much."""
    max_connections: int = _setting(10_000, _count)
    """Most open connections; more are closed at once."""
    body_timeout: float = _setting(10.0, _seconds)
    """Seconds that a body may take to arrive; a slower one is answered 408."""
    shutdown_delay: float = _setting(5.0, _seconds)
    """Seconds between /readyz turning 503 and the door closing: load balancers need them to take notice."""
    shutdown_grace: float = _setting(20.0, _seconds)
    """Seconds that requests under way get to end after the door has closed. Both together should stay below the pod's
    terminationGracePeriodSeconds."""
    log_level: str = _setting("info", _one_of(("debug", "info", "warning", "error")))
    """debug, info, warning or error; client libraries, which show secrets at debug, are held at info."""

    def bootstrap_addresses(self) -> tuple[Address, ...]:
        """Return Kafka's addresses."""
        hosts = collect_hosts(self.bootstrap_servers, randomize=False)  # type: ignore[no-untyped-call]
        return tuple(Address(host, port) for host, port, _ in hosts)


@cache
def descriptions() -> Mapping[str, str]:
    """Return the docstring under each field of `Settings`, by field name: the one source of --help and of the docs."""
    body = ast.parse(inspect.getsource(Settings)).body[0]
    if not isinstance(body, ast.ClassDef):  # the source of a class parses to a class
        raise TypeError(type(body))
    found: dict[str, str] = {}
    for statement, following in zip(body.body, body.body[1:], strict=False):
        match statement, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as text)):
                found[name] = " ".join(text.split())
    return found


def environment_name(field_name: str) -> str:
    """Return the environment variable of a setting."""
    return ENVIRONMENT_PREFIX + field_name.upper()


def flag(field_name: str) -> str:
    """Return the flag of a setting."""
    return f"--{field_name.replace('_', '-')}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one flag a setting to a parser."""
    group = parser.add_argument_group("settings", "each may also be given by the environment variable in brackets")
    for setting in fields(Settings):
        text = f"{descriptions()[setting.name]} [{environment_name(setting.name)}]"
        group.add_argument(flag(setting.name), dest=setting.name, metavar="VALUE", help=text.replace("%", "%%"))


def read(arguments: argparse.Namespace | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Build the settings from parsed flags and the environment.

    Raises:
        SettingsError: a value cannot be used; the message names where it came from and what is allowed.
    """
    values: dict[str, Any] = {}
    for setting in fields(Settings):
        given = getattr(arguments, setting.name, None)
        text = given if given is not None else environment.get(environment_name(setting.name))
        if text is None:
            continue
        where = flag(setting.name) if given is not None else environment_name(setting.name)
        try:
            values[setting.name] = setting.metadata["parse"](text)
        except ValueError as error:
            raise SettingsError(f"{where} is {text!r}; allowed: {error}") from None
    settings = Settings(**values)
    _check_together(settings)
    return settings


def _check_together(settings: Settings) -> None:
    if not settings.bootstrap_servers:
        raise SettingsError(
            f"no Kafka to write to: give {flag('bootstrap_servers')} or {environment_name('bootstrap_servers')}"
        )
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise SettingsError(
            f"{flag('tls_cert')} and {flag('tls_key')} belong together: give both, or neither to serve plain HTTP"
        )
    if settings.wake_token_file and not settings.wake_url:
        raise SettingsError(f"{flag('wake_token_file')} is for {flag('wake_url')}, which is not given")
