"""The standard ``OTEL_*`` variables -> whether and how spans are exported.

Without an endpoint nothing of OpenTelemetry is imported and nothing is spent.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from activator.telemetry.counts import SpanCounts
    from activator.telemetry.sdk import SpanExport

log = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_KNOWN = ("otlp", "console", "none")


def wanted(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Tell which exporters the environment asks for: ``otlp``, ``console``; what it asks for in vain is logged."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ()
    default = "otlp" if any(environment.get(name) for name in _ENDPOINTS) else "none"
    listed = environment.get("OTEL_TRACES_EXPORTER", "").strip() or default
    names = [name.strip().lower() for name in listed.split(",") if name.strip()]
    for name in names:
        if name not in _KNOWN:
            log.warning("OTEL_TRACES_EXPORTER names %r; allowed: %s; it is left out", name, ", ".join(_KNOWN))
    asked = next((name for name in _PROTOCOLS if environment.get(name)), None)
    if asked is not None and "otlp" in names and environment[asked] != _PROTOCOL:
        said = "%s is %r; allowed: %s, which backends take on port 4318; no spans are exported over OTLP"
        log.warning(said, asked, environment[asked], _PROTOCOL)
        names.remove("otlp")
    return tuple(name for name in dict.fromkeys(names) if name in _KNOWN and name != "none")


def start(counts: SpanCounts, *, longest_hold: timedelta, version: str) -> SpanExport | None:
    """Start exporting spans as the process's environment says; None: it asks for none.

    The SDK reads the rest of ``OTEL_*`` by itself: endpoint, headers, compression, certificates, sampler, batch sizes.

    Args:
        counts: told what became of spans.
        longest_hold: `holds.LONGEST`, or `holds.NONE` for a span of its own for each evaluation.
        version: wakegate's.

    Raises:
        SettingsError: a variable has a value that the SDK refuses.
    """
    names = wanted(os.environ)
    if not names:
        return None
    from activator.telemetry import sdk  # noqa: PLC0415 - nobody pays for what is not exported

    return sdk.start(names, counts, longest_hold=longest_hold, version=version)
