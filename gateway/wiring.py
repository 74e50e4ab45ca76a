"""Joins the parts of the gateway, starts them in order, and ends them in order on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from activator.errors import SettingsError
from activator.kafka.credential_folder import CredentialFolder
from gateway import tracing
from gateway.admission import HEAD_BYTES, Admission, Limits
from gateway.app import App
from gateway.listener import Listener
from gateway.management import Management
from gateway.metrics import Metrics
from gateway.producer.producer import Options, Producer
from gateway.routes import OpenRoute, RouteTable, Rules
from gateway.routes_file import read_routes
from gateway.settings import flag
from gateway.tls import Certificate
from gateway.tokens import Tokens
from gateway.tracing import Tracing
from gateway.wake import Waker

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.settings import Settings

log = logging.getLogger(__name__)

_GC_THRESHOLDS: Final = (50_000, 20, 50)


def route_table(settings: Settings) -> RouteTable:
    """Read the routes file, or open every topic where there is none. Raises SettingsError."""
    rules = Rules(token_file=Path(settings.token_file) if settings.token_file else None)
    table = (
        read_routes(Path(settings.routes), rules) if settings.routes else RouteTable(open_route=OpenRoute(rules=rules))
    )
    _refuse_limits_below_a_request(settings, table)
    return table


def _refuse_limits_below_a_request(settings: Settings, routes: RouteTable) -> None:
    """A limit that no request can pass would refuse every one with an answer that says "try again"."""
    ways = routes.all_rules().values()
    body = max(max(way.max_event_bytes, way.max_batch_bytes) for way in ways)
    events = max(way.max_batch_events for way in ways)
    for name, given, least, taken, keys in (
        (
            "max_in_flight_bytes",
            settings.max_in_flight_bytes,
            body + HEAD_BYTES,
            f"bodies of {body} bytes, with {HEAD_BYTES} of headers",
            "maxEventBytes and maxBatchBytes",
        ),
        (
            "max_in_flight_events",
            settings.max_in_flight_events,
            events,
            f"batches of {events} events",
            "maxBatchEvents",
        ),
    ):
        if given < least:
            raise SettingsError(
                f"{flag(name)} is {given}, but a route takes {taken}; allowed: {least} and more, or lower {keys} in "
                "the routes file"
            )


def check(settings: Settings) -> list[str]:
    """Look at every file that the settings name, without Kafka; return what will be taken where, one way in a line.

    Raises:
        SettingsError: a file cannot be used. A token file may come later, as a Secret does: what is wrong with one is
            logged.
    """
    routes = route_table(settings)
    CredentialFolder(Path(settings.kafka_credentials) if settings.kafka_credentials else None).options()
    if settings.tls_cert:
        Certificate(Path(settings.tls_cert), Path(settings.tls_key))
    _look_at_tokens(routes, Tokens())
    return routes.described()


def _look_at_tokens(routes: RouteTable, tokens: Tokens) -> None:
    """Have token files read, which logs what is wrong with them: else a sender learns of it first, by a 403."""
    for path in sorted({way.token_file for way in routes.all_rules().values() if way.token_file is not None}):
        tokens.read(path)


class Gateway:
    """One running gateway.

    Raises:
        SettingsError: from the constructor: a file that a setting names cannot be used.
        UnavailableError: from `run`: an address to listen on cannot be had.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._draining = False
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self.metrics = Metrics()
        tokens = Tokens()
        credentials = CredentialFolder(Path(settings.kafka_credentials) if settings.kafka_credentials else None)
        credentials.options()  # what is wrong with them is told at once, not at the first connect
        self.producer = Producer(
            Options(
                bootstrap=settings.bootstrap_addresses(),
                security=credentials.options,
                client_id=settings.client_id,
                compression=settings.compression_type,
            ),
            self.metrics,
        )
        self._waker = self._make_waker(tokens)
        admission = Admission(Limits(events=settings.max_in_flight_events, size=settings.max_in_flight_bytes))
        self._export = tracing.export()
        routes = route_table(settings)
        _look_at_tokens(routes, tokens)
        self._app = App(
            routes=routes,
            admission=admission,
            producer=self.producer,
            tokens=tokens,
            metrics=self.metrics,
            tracing=Tracing(None if self._export is None else self._export.tracer()),
            wake=_nobody if self._waker is None else self._waker.notify,
            body_seconds=settings.body_timeout,
        )
        self._certificate = Certificate(Path(settings.tls_cert), Path(settings.tls_key)) if settings.tls_cert else None
        self.door = Listener(
            self._app.handle,
            _address("listen", settings.listen),
            ssl_context=None if self._certificate is None else self._certificate.context,
            max_connections=settings.max_connections,
            refused=self._app.refused,
        )
        self.management = Listener(
            Management(self.metrics.registry, self.problems).handle,
            _address("management_listen", settings.management_listen),
        )
        self.metrics.watch(
            kafka_up=lambda: self.producer.problem() is None,
            connections=lambda: self.door.connections,
            admission=admission,
            routes=routes.all_rules(),
        )

    def _make_waker(self, tokens: Tokens) -> Waker | None:
        settings = self._settings
        if not settings.wake_url:
            return None
        return Waker(
            settings.wake_url,
            settings.wake_bootstrap_servers or settings.bootstrap_servers,
            Path(settings.wake_token_file) if settings.wake_token_file else None,
            tokens,
            self.metrics,
        )

    def problems(self) -> list[str]:
        """Say why this gateway should get no events; empty: it should."""
        problem = self.producer.problem()
        return ["the gateway is shutting down"] if self._draining else [] if problem is None else [problem]

    def stop(self, *, patient: bool = True) -> None:
        """Begin to end: readiness first, then the door, then Kafka. Impatient: without waiting for load balancers."""
        self._stop.set()
        if not patient:
            self._hurry.set()

    async def run(self) -> None:
        """Serve until `stop`, then let what is under way end."""
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self.producer.run(), name="producer")]
            if self._waker is not None:
                running.append(tasks.create_task(self._waker.run(), name="waker"))
            if self._certificate is not None:
                running.append(tasks.create_task(self._certificate.watch(), name="certificate"))
            try:
                await self.management.start()
                await self.door.start()
                log.info("events are taken on port %d, probes on port %d", self.door.port, self.management.port)
                await self._stop.wait()
                await self._drain()
            finally:
                await self.door.close()
                await self.management.close()
                for task in running:
                    task.cancel()
                if self._export is not None:
                    await self._export.close()

    async def _drain(self) -> None:
        self._draining = self._app.draining = True
        if not self._hurry.is_set():
            log.info("not ready any more; the door closes in %g s", self._settings.shutdown_delay)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.shutdown_delay):
                    await self._hurry.wait()
        log.info("the door is closed; %d connections are under way", self.door.connections)
        await self.door.close(self._settings.shutdown_grace)


async def serve(settings: Settings, started: Callable[[Gateway], None] = lambda _gateway: None) -> None:
    """Run a gateway until SIGTERM (patient) or SIGINT (at once). Raises as `Gateway` does."""
    gateway = Gateway(settings)
    # What was imported and built stays, and a request leaves no cycles behind: looking for some so often that it takes
    # a tenth of the time, as the default does, finds nothing.
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, gateway.stop)
    loop.add_signal_handler(signal.SIGINT, lambda: gateway.stop(patient=False))
    started(gateway)
    with contextlib.suppress(asyncio.CancelledError):
        await gateway.run()


def _address(setting: str, listen: tuple[str, int] | int) -> tuple[str, int] | socket.socket:
    """Return where to listen. Raises SettingsError: what was handed over is no listening socket."""
    if not isinstance(listen, int):
        return listen
    try:
        handed_over = socket.socket(fileno=listen)
        if handed_over.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return handed_over
        handed_over.detach()  # it is not ours to close
        why = "it does not listen"
    except OSError as error:
        why = error.strerror or str(error)
    where = f"{flag(setting)} is 'fd://{listen}'"
    raise SettingsError(f"{where}: {why}; allowed: a listening socket that the process has inherited")


def _nobody(_topic: str, _traceparent: str | None) -> None:
    """Tell nobody."""
