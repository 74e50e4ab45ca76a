"""external.metrics.k8s.io/v1beta1, as the API server's aggregator asks for it: the last readings, never a guess.

Source: k8s.io/metrics ``pkg/apis/external_metrics/v1beta1`` and Kubernetes' "Configure the Aggregation Layer". The
API server has authenticated and authorized a caller before it proxies; what is checked here is that the caller is
the API server.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from aiohttp import web

from activator.web import selector
from activator.web.aggregated_tls import AggregatedTls
from activator.web.listener import BODY_BYTES, Listener, guard

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from activator.ports import MetricSample
    from activator.web.certificates import CertificateSource
    from activator.web.front_proxy import RequestHeaderAuthority
    from activator.web.listener import Handler
    from activator.web.metric_store import InMemoryMetricStore

log = logging.getLogger(__name__)

GROUP = "external.metrics.k8s.io"
VERSION = "v1beta1"
_GROUP_VERSION = f"{GROUP}/{VERSION}"
MAX_AGE = timedelta(seconds=60)
"""An older reading is served as an error, which holds the HPA where it is."""
_REFRESH_SECONDS = 10.0
"""How often certificate and front proxy are looked at while no handshake does."""


class Served(StrEnum):
    """How a question for a metric ended."""

    OK = "ok"
    UNKNOWN = "unknown"
    UNREADABLE = "unreadable"
    STALE = "stale"
    BAD_REQUEST = "bad-request"


class ExternalMetricsServer:
    """Serves a `MetricStore` to the HPA controller over TLS, to the API server's front proxy alone.

    Args:
        address: host and port; port 0 takes a free one.
        store: where the samples are.
        certificate: what the listener shows.
        authority: what the API server says of its front proxy; read at each handshake and every ten seconds.
        now: the clock against which a sample's age counts.
        served: told how each question for a metric ended.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        store: InMemoryMetricStore,
        certificate: CertificateSource,
        authority: RequestHeaderAuthority,
        now: Callable[[], datetime],
        served: Callable[[Served], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._now = now
        self._served = served
        self._tls = AggregatedTls(certificate, authority, self._drop_connections)
        self._listener = Listener(self._application(), address, ssl_context=self._tls.listening_context)
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._listener.port

    def problems(self) -> Sequence[str]:
        """Say why the API server cannot be served just now, for /readyz; empty: it can."""
        self._tls.refresh()
        if self._tls.front_proxy is None:
            return ("the front proxy's CA has not been read from kube-system/extension-apiserver-authentication",)
        return ()

    async def start(self) -> None:
        """Listen. Raises UnavailableError where the address cannot be had."""
        await self._listener.start()
        self._refreshing = asyncio.create_task(self._refresh(), name="external-metrics-tls")

    async def close(self) -> None:
        """End open requests within two seconds and close."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            with suppress(asyncio.CancelledError):
                await self._refreshing
        await self._listener.close()

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[guard(_problem), self._front_proxy_only], client_max_size=BODY_BYTES)
        app.add_routes(
            [
                web.get("/", _document({"paths": ["/apis", f"/apis/{_GROUP_VERSION}", "/healthz"]})),
                web.get("/healthz", _healthy),
                web.get("/livez", _healthy),
                web.get("/readyz", _healthy),
                web.get("/apis", _document(_GROUP_LIST)),
                web.get(f"/apis/{GROUP}", _document(_API_GROUP)),
                web.get(f"/apis/{_GROUP_VERSION}", _document(_RESOURCES)),
                web.get(f"/apis/{_GROUP_VERSION}/namespaces/{{namespace}}/{{metric}}", self._metric),
            ]
        )
        return app

    @web.middleware
    async def _front_proxy_only(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        trusted = self._tls.front_proxy
        name = _common_name(request)
        if trusted is None or not trusted.admits(name):
            log.warning("refused a certificate named %r: it is none of requestheader-allowed-names", name)
            return _problem(401, f"the certificate's common name {name!r} is not one of the front proxy's")
        if trusted.user(request.headers) is None:
            return _problem(401, f"none of the headers {', '.join(trusted.username_headers)} names a user")
        return await handler(request)

    async def _metric(self, request: web.Request) -> web.Response:
        served, response = self._answer(
            request.match_info["namespace"], request.match_info["metric"], request.query.get("labelSelector", "")
        )
        self._served(served)
        return response

    def _answer(self, namespace: str, metric: str, label_selector: str) -> tuple[Served, web.Response]:
        try:
            wanted = selector.parse(label_selector)
        except selector.SelectorError as error:
            return Served.BAD_REQUEST, _problem(400, str(error))
        samples = self._store.lookup(namespace, metric, wanted)
        if not samples:
            said = f"no external metric {metric!r} in namespace {namespace!r} for selector {label_selector!r}"
            return Served.UNKNOWN, _problem(404, said)
        items = []
        for sample in samples:
            # One value of several being unknown makes their sum unknown: the HPA adds up what it is given.
            if sample.value is None:
                return Served.UNREADABLE, _problem(503, f"{sample.name} cannot be read: {sample.problem}")
            age = self._now() - sample.read_at
            if age > MAX_AGE:
                said = f"{sample.name} was last read {age.total_seconds():.0f} s ago, more than {MAX_AGE.seconds} s"
                return Served.STALE, _problem(503, said)
            items.append(_value(sample, sample.value))
        return Served.OK, web.json_response(
            {"kind": "ExternalMetricValueList", "apiVersion": _GROUP_VERSION, "metadata": {}, "items": items}
        )

    async def _refresh(self) -> None:
        while True:
            self._tls.refresh()
            await asyncio.sleep(_REFRESH_SECONDS)

    def _drop_connections(self) -> None:
        self._listener.drop_connections()


_GROUP_VERSION_ENTRY = {"groupVersion": _GROUP_VERSION, "version": VERSION}
_GROUP_FIELDS = {"name": GROUP, "versions": [_GROUP_VERSION_ENTRY], "preferredVersion": _GROUP_VERSION_ENTRY}
_API_GROUP = {"kind": "APIGroup", "apiVersion": "v1", **_GROUP_FIELDS}
_GROUP_LIST = {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_GROUP_FIELDS]}
_RESOURCES = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": _GROUP_VERSION,
    # Metrics come and go with the targets: like others, we name one resource that stands for all of them.
    "resources": [
        {
            "name": "externalmetrics",
            "singularName": "",
            "namespaced": True,
            "kind": "ExternalMetricValueList",
            "verbs": ["get"],
        }
    ],
}


def _document(content: dict[str, Any]) -> Handler:
    """Answer a discovery question. A wish for the aggregated form gets the plain one, which the aggregator accepts."""

    async def handler(_request: web.Request) -> web.Response:
        return web.json_response(content)

    return handler


async def _healthy(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


def _value(sample: MetricSample, value: int) -> dict[str, Any]:
    return {
        "metricName": sample.name,
        "metricLabels": dict(sample.selector),
        "timestamp": sample.read_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "value": str(value),
    }


_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    404: "NotFound",
    405: "MethodNotAllowed",
    408: "Timeout",
    413: "RequestEntityTooLarge",
    503: "ServiceUnavailable",
}


def _problem(status: int, message: str) -> web.Response:
    """Say it as a ``v1.Status``. Without Retry-After: client-go would repeat at once and hold up the HPA's worker."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": _REASONS[status],
        "code": status,
    }
    return web.json_response(body, status=status)


def _common_name(request: web.Request) -> str | None:
    certificate = request.transport.get_extra_info("peercert") if request.transport is not None else None
    subject = certificate.get("subject", ()) if certificate else ()
    return next((value for part in subject for key, value in part if key == "commonName"), None)
