"""Whether spans are exported, as the standard variables say."""

from __future__ import annotations

import subprocess
import sys

import pytest

from activator.errors import SettingsError
from activator.telemetry import export
from activator.telemetry.export import wanted
from activator.telemetry.holds import LONGEST

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


class NoCounts:
    """Takes no note."""

    def spans_exported(self, spans: int) -> None:
        """Forget it."""

    def spans_dropped(self, spans: int, why: str) -> None:
        """Forget it."""


@pytest.fixture(autouse=True)
def _no_inherited_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own environment says nothing about telemetry."""
    for name in ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environment", "exporters"),
    [
        ({}, ()),
        (ENDPOINT, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, ("otlp",)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, ()),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ("otlp",)),
        ({"OTEL_TRACES_EXPORTER": "console"}, ("console",)),
        ({"OTEL_TRACES_EXPORTER": "OTLP, console, otlp"}, ("otlp", "console")),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, ()),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "true"}, ()),
        (ENDPOINT | {"OTEL_SDK_DISABLED": " TRUE "}, ()),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "false"}, ("otlp",)),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, ("otlp",)),
    ],
)
def test_the_standard_variables_decide(
    environment: dict[str, str], exporters: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """An endpoint or an exporter switches it on; none and OTEL_SDK_DISABLED switch it off; nothing is complained of."""
    assert wanted(environment) == exporters
    assert caplog.records == []


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER names 'zipkin'; allowed: otlp, console, none"),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'"),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is"),
    ],
)
def test_what_is_asked_for_in_vain_is_told(
    environment: dict[str, str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No traces and no word about it would be the worst of both."""
    assert wanted(environment) == ()
    assert said in caplog.text


def test_without_export_nothing_of_the_sdk_is_imported() -> None:
    """Neither time nor memory is spent on what is not used."""
    program = (
        "import os, sys\n"
        "for name in [name for name in os.environ if name.startswith('OTEL_')]: del os.environ[name]\n"
        "from activator.telemetry import export, fanout, logs, metrics\n"
        "from activator.telemetry.holds import LONGEST\n"
        "assert export.start(None, longest_hold=LONGEST, version='1') is None\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)  # noqa: S603 - our own interpreter and program
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),  # smaller than the default batch
    ],
)
def test_a_value_that_the_sdk_refuses_is_a_settings_error(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """One sentence and exit code 2, not a traceback of somebody else's."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match="OTEL_"):
        export.start(NoCounts(), longest_hold=LONGEST, version="1")
