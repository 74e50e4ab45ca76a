"""Jaeger: a real OTLP backend, whose query API tells what arrived.

Built from its Go module alone it has no web UI; the JSON API is all there.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from testbed import builds
from testbed.errors import TestbedError
from testbed.ports import LOOPBACK, ReservedPorts
from testbed.processes import ManagedProcess
from testbed.traces import Trace, parse_trace

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

READY_SECONDS = 30.0
STOP_SECONDS = 5.0
REQUEST_SECONDS = 10.0
HTTP_NOT_FOUND = 404

# Every port that all-in-one opens, so that none is fixed: only the first two are used here.
PORT_FLAGS = (
    "--collector.otlp.http.host-port",
    "--query.http-server.host-port",
    "--query.grpc-server.host-port",
    "--collector.otlp.grpc.host-port",
    "--collector.grpc-server.host-port",
    "--collector.http-server.host-port",
    "--admin.http.host-port",
    "--http-server.host-port",
    "--processor.jaeger-binary.server-host-port",
    "--processor.jaeger-compact.server-host-port",
    "--processor.zipkin-compact.server-host-port",
)


@dataclass
class Jaeger:
    """Jaeger all-in-one with its store in memory.

    Args:
        run_directory: where its log goes.
    """

    run_directory: Path

    def __post_init__(self) -> None:
        """Take the ports, so that the endpoint is known before the start."""
        self._reserved = ReservedPorts(len(PORT_FLAGS))
        self._otlp_port, self._query_port = self._reserved.ports[:2]
        self.process = ManagedProcess("Jaeger", [], log=self.run_directory / "jaeger.log", grace_seconds=STOP_SECONDS)

    @property
    def otlp_endpoint(self) -> str:
        """Value for OTEL_EXPORTER_OTLP_ENDPOINT with the protocol http/protobuf."""
        return f"http://{LOOPBACK}:{self._otlp_port}"

    @property
    def query_url(self) -> str:
        """Where the query API answers."""
        return f"http://{LOOPBACK}:{self._query_port}"

    def start(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            MissingToolError, BuildFailedError: it could not be had.
            PartFailedError: it did not come up; carries the end of its log.
        """
        binary = builds.ensure(builds.JAEGER) / "bin" / "jaeger"
        ports = zip(PORT_FLAGS, self._reserved.ports, strict=True)
        flags = [f"{flag}={LOOPBACK}:{port}" for flag, port in ports]
        self.process.command = [str(binary), *flags]
        self.process.env = {"SPAN_STORAGE_TYPE": "memory", "COLLECTOR_OTLP_ENABLED": "true"}
        self.process.start()
        try:
            self.process.wait_ready(self.is_ready, within_seconds=READY_SECONDS)
        except BaseException:
            self.process.kill()
            raise
        return self

    def stop(self) -> None:
        """Stop it and free the ports; what it stored is gone."""
        self.process.stop()
        self._reserved.close()

    def kill(self) -> None:
        """SIGKILL it."""
        self.process.kill()

    def is_ready(self) -> bool:
        """Whether the query API answers."""
        try:
            self.services()
        except (OSError, TestbedError):
            return False
        return True

    def services(self) -> list[str]:
        """Names of services that have sent spans."""
        return sorted(self._get("/api/services") or [])

    def traces(
        self,
        service: str,
        operation: str | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        limit: int = 200,
    ) -> list[Trace]:
        """Traces with a span of this service, operation and tags, oldest first.

        Args:
            service: `service.name` of the resource.
            operation: span name.
            tags: attributes that one span must have, all of them, as text.
            limit: how many traces at most, the newest.
        """
        query = {"service": service, "limit": str(limit)}
        if operation:
            query["operation"] = operation
        if tags:
            query["tags"] = json.dumps(dict(tags))
        found = self._get(f"/api/traces?{urllib.parse.urlencode(query)}") or []
        return sorted((parse_trace(raw) for raw in found), key=lambda trace: trace.start)

    def trace(self, trace_id: str) -> Trace | None:
        """The trace with this id (hexadecimal), or None if nothing of it has arrived."""
        found = self._get(f"/api/traces/{trace_id}")
        return parse_trace(found[0]) if found else None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _get(self, path: str) -> list[Any] | None:
        """The `data` of an answer; None where there is nothing."""
        try:
            with urllib.request.urlopen(self.query_url + path, timeout=REQUEST_SECONDS) as answer:  # noqa: S310 - our own
                document = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == HTTP_NOT_FOUND:
                    return None
                raise TestbedError(f"Jaeger answered {error.code} to {path}: {error.read()!r}") from None
        data: list[Any] | None = document.get("data")
        return data
