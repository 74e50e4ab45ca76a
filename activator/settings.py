"""Environment and flags, read once into one frozen dataclass. A docstring under each field: unit, default, why.

A flag and its environment variable have the same name (`--bootstrap-servers`, `WAKEGATE_BOOTSTRAP_SERVERS`); the flag
wins, and a blank one means the default. The kubeconfig is found by `KUBECONFIG` as everywhere, telemetry by the
standard `OTEL_*` variables only.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import re
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any

from activator.core.model import Handover
from activator.errors import SettingsError
from activator.specs import values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ENVIRONMENT_PREFIX = "WAKEGATE_"
_LARGEST_PORT = 65535


class TraceHeld(StrEnum):
    """Which evaluations that change nothing get a span."""

    MERGED = "merged"
    ALL = "all"


class LogFormat(StrEnum):
    """How log lines are written."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """From which severity on log lines are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in (part.strip() for part in text.split(",")) if name)


def _addresses(text: str) -> tuple[str, ...]:
    return tuple(values.bootstrap_servers(text).split(","))


def _switch(text: str) -> bool:
    match text.strip().lower():
        case "true" | "1" | "yes" | "on":
            return True
        case "false" | "0" | "no" | "off":
            return False
    raise ValueError("true or false")


def _address(text: str) -> tuple[str, int]:
    host, separator, port = text.strip().rpartition(":")
    if not separator or re.fullmatch("[0-9]{1,5}", port) is None or int(port) > _LARGEST_PORT:
        raise ValueError("HOST:PORT, such as 127.0.0.1:8081 or [::]:8080; port 0 takes a free one")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - what an empty host means everywhere


def namespaced(text: str) -> tuple[str, str]:
    """Return the two halves of NAMESPACE/NAME. Raises ValueError with what is allowed."""
    namespace, separator, name = text.strip().partition("/")
    if not (separator and namespace and name) or "/" in name:
        raise ValueError("NAMESPACE/NAME")
    return namespace, name


def _one_of(choices: type[StrEnum]) -> Callable[[str], Any]:
    def parse(text: str) -> StrEnum:
        try:
            return choices(text.strip().lower())
        except ValueError:
            raise ValueError(" or ".join(choices)) from None

    return parse


def _setting(default: Any, parse: Callable[[str], Any] = str) -> Any:
    return field(default=default, metadata={"parse": parse})


class Keda(StrEnum):
    """Whether ScaledObjects are managed."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything an operator sets for the activator."""

    bootstrap_servers: str = _setting("", values.bootstrap_servers)
    """Kafka's address for targets that name none: comma-separated HOST:PORT. None by default: targets must name it."""
    allowed_bootstrap_servers: tuple[str, ...] = _setting((), _addresses)
    """The only HOST:PORT addresses that targets may name. Empty by default: any, but contacted without the operator's
    credentials."""
    kafka_credentials: str = _setting("")
    """Folder with Kafka credentials: a mounted Secret with KEDA's names as keys (sasl, username, password, tls, ca,
    cert, key, ...), read again when it changes. They go to --bootstrap-servers alone. By default Kafka is contacted in
    plain text and as nobody."""
    authentication_file_root: str = _setting("")
    """Folder below which the files are that ClusterTriggerAuthentications name in `filePath`, one JSON object of
    parameters each, looked at every five seconds. By default none may be named."""
    watch_namespace: tuple[str, ...] = _setting((), _names)
    """The namespaces to manage, comma-separated. Empty by default: all of them."""
    listen: tuple[str, int] = _setting(("0.0.0.0", 8080), _address)  # noqa: S104 - probed by the kubelet
    """Where /healthz, /readyz, /metrics and POST /wake are served, in plain HTTP: HOST:PORT, 0.0.0.0:8080."""
    dashboard_listen: tuple[str, int] = _setting(("127.0.0.1", 8081), _address)
    """Where the dashboard is served: HOST:PORT, 127.0.0.1:8081, because it has no login of its own."""
    trace_url: str = _setting("")
    """Where a trace is looked at, with {trace_id} in it, such as http://jaeger:16686/trace/{trace_id}: the dashboard
    links to it. By default trace ids are plain text."""
    metrics_api_listen: tuple[str, int] = _setting(("0.0.0.0", 6443), _address)  # noqa: S104 - the aggregator calls it
    """Where external.metrics.k8s.io is served over TLS: HOST:PORT, 0.0.0.0:6443."""
    metrics_api_tls_cert: str = _setting("")
    """File with the metrics API's certificate chain (PEM), reread when it changes. By default one is made."""
    metrics_api_tls_key: str = _setting("")
    """File with the private key of that certificate (PEM)."""
    metrics_api_shared_certificate: str = _setting("")
    """Name of the Secret, in the namespace of the Service below, through which all replicas share a certificate that
    the leader makes and renews, with its CA put on the APIService. By default each replica makes one of its own, which
    nobody can verify."""
    metrics_api_certificate_lifetime: timedelta = _setting(timedelta(days=90), values.duration(timedelta(minutes=1)))
    """How long such a certificate holds: a duration, 90d; the next one is made after two thirds of it."""
    metrics_api_service: tuple[str, str] = _setting(("wakegate-system", "wakegate-metrics"), namespaced)
    """The Service in front of the metrics API, NAMESPACE/NAME: how we know that the APIService leads to us."""
    wake_token_file: str = _setting("")
    """File with the token that POST /wake asks for. By default there is none and POST /wake is refused."""
    handoff: Handover = _setting(Handover.AUTO, _one_of(Handover))
    """Who moves targets between 1 and N where they do not say: auto, hpa or direct."""
    keda: Keda = _setting(Keda.AUTO, _one_of(Keda))
    """Whether ScaledObjects are managed: on, off, or auto: unless KEDA or OpenShift's Custom Metrics Autoscaler is
    live here, and even then those with wakegate.dev/adopt: "true"."""
    leader_election: bool = _setting(True, _switch)
    """Whether a Lease decides which replica may put to sleep and write. False is for a single process only."""
    lease: tuple[str, str] = _setting(("wakegate-system", "wakegate"), namespaced)
    """The Lease that decides who leads, NAMESPACE/NAME."""
    identity: str = _setting("")
    """Our name in the Lease. By default POD_NAME, else the host's name, with a random part behind it."""
    dry_run: bool = _setting(False, _switch)
    """Decide and record for all targets, but change nothing."""
    trace_held: TraceHeld = _setting(TraceHeld.MERGED, _one_of(TraceHeld))
    """merged: a hold is one span from its first to its last evaluation; all: each evaluation has a span of its own."""
    log_format: LogFormat = _setting(LogFormat.TEXT, _one_of(LogFormat))
    """text or json; both carry the trace id of the decision."""
    log_level: LogLevel = _setting(LogLevel.INFO, _one_of(LogLevel))
    """debug, info, warning or error; client libraries, which show secrets at debug, are held at info."""


@cache
def descriptions() -> Mapping[str, str]:
    """Return the docstring under each field of `Settings`, by field name: the one source of --help and of the docs."""
    body = ast.parse(inspect.getsource(Settings)).body[0]
    if not isinstance(body, ast.ClassDef):  # the source of a class parses to a class
        raise TypeError(type(body))
    found: dict[str, str] = {}
    name = ""
    for statement in body.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name)):
                pass
            case ast.Expr(value=ast.Constant(value=str() as text)) if name:
                found[name] = text
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add one flag a setting to a command's parser."""
    group = parser.add_argument_group("settings", "each may also be given by the environment variable in brackets")
    for setting in fields(Settings):
        group.add_argument(
            f"--{setting.name.replace('_', '-')}",
            dest=f"setting_{setting.name}",
            metavar="VALUE",
            help=f"{descriptions()[setting.name]} [{environment_name(setting.name)}]".replace("%", "%%"),
        )


def environment_name(field_name: str) -> str:
    """Return the environment variable of a setting."""
    return ENVIRONMENT_PREFIX + field_name.upper()


def read(
    arguments: argparse.Namespace | None = None,
    environment: Mapping[str, str] = os.environ,
    defaults: Settings | None = None,
) -> Settings:
    """Build the settings from parsed flags and the environment; a command may have other defaults.

    Raises:
        SettingsError: a value cannot be used; the message names where it came from and what is allowed.
    """
    given: dict[str, Any] = {}
    for setting in fields(Settings):
        flag = getattr(arguments, f"setting_{setting.name}", None)
        text = flag if flag is not None else environment.get(environment_name(setting.name))
        if text is None or not text.strip():  # a chart writes out what it was given, also where that is nothing
            continue
        where = f"--{setting.name.replace('_', '-')}" if flag is not None else environment_name(setting.name)
        try:
            given[setting.name] = setting.metadata["parse"](text)
        except ValueError as error:
            raise SettingsError(f"{where} is {text!r}; allowed: {error}") from None
    settings = replace(defaults or Settings(), **given)
    _check_together(settings)
    return settings


def _check_together(settings: Settings) -> None:
    if settings.kafka_credentials and not settings.bootstrap_servers:
        own = environment_name("bootstrap_servers")
        raise SettingsError(f"{environment_name('kafka_credentials')} is for {own}, which is not given")
    if bool(settings.metrics_api_tls_cert) != bool(settings.metrics_api_tls_key):
        raise SettingsError(
            f"{environment_name('metrics_api_tls_cert')} and {environment_name('metrics_api_tls_key')} "
            "belong together: give both, or neither to have a certificate made"
        )
    if settings.metrics_api_tls_cert and settings.metrics_api_shared_certificate:
        raise SettingsError(
            f"{environment_name('metrics_api_tls_cert')} and {environment_name('metrics_api_shared_certificate')} "
            "are two certificates for one listener: give one of them"
        )
