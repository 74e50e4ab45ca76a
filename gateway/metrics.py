"""What Prometheus sees of the gateway. Labels are route names, statuses and reasons: never a topic out of a URL."""

from __future__ import annotations

from collections import Counter as Tally
from functools import cache
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client.metrics_core import Metric

    from gateway.admission import Admission

_PREFIX = "wakegate_gateway_"
_PRODUCE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The gateway's metrics; also the observer of the producer and of the waker."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._requests = self._counter("requests", "Requests by route and status of the answer.", "route", "status")
        self._events = self._counter(
            "events", "Events by route and what became of them: accepted, failed or unknown.", "route", "outcome"
        )
        self._bytes = self._counter("request_body_bytes", "Bytes of request bodies that were read.", "route")
        self._rejections = self._counter("rejections", "Requests that were refused, by reason.", "route", "reason")
        self._retries = self._counter("batches_retried", "Batches that Kafka did not take at once.", "reason")
        self._renewals = self._counter(
            "producer_ids_renewed", "Times a partition had to go on under a new producer id, by reason.", "reason"
        )
        self._wakes = self._counter("wakes", "Topics that the activator was told of, or was not.", "outcome")
        self._produce = Histogram(
            f"{_PREFIX}produce_seconds",
            "From a request's events being valid to Kafka's word on all of them.",
            ["route"],
            buckets=_PRODUCE_BUCKETS,
            registry=self.registry,
        )
        # Looking a child up by its labels costs more than counting does.
        self._request = cache(self._requests.labels)
        self._event = cache(self._events.labels)
        self._body = cache(self._bytes.labels)
        self._latency = cache(self._produce.labels)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{_PREFIX}{name}", text, labels, registry=self.registry)

    def watch(
        self,
        *,
        kafka_up: Callable[[], bool],
        connections: Callable[[], int],
        admission: Admission,
        routes: Iterable[str],
    ) -> None:
        """Take what is read only when it is asked for."""
        up = Gauge(f"{_PREFIX}kafka_up", "1 while Kafka answers, else 0.", registry=self.registry)
        up.set_function(lambda: float(kafka_up()))
        opened = Gauge(f"{_PREFIX}connections", "Open connections at the door.", registry=self.registry)
        opened.set_function(lambda: float(connections()))
        self.registry.register(_InFlight(admission, tuple(routes)))

    def answered(self, route: str, status: int) -> None:
        """Count a request by its answer."""
        self._request(route, str(status)).inc()

    def rejected(self, route: str, reason: str) -> None:
        """Count a refused request."""
        self._rejections.labels(route, reason).inc()

    def body_read(self, route: str, size: int) -> None:
        """Count the bytes of a body."""
        self._body(route).inc(size)

    def delivered(self, route: str, seconds: float, accepted: int, failed: int, unknown: int) -> None:
        """Count events by what became of them, and note how long it took."""
        self._latency(route).observe(seconds)
        for outcome, count in (("accepted", accepted), ("failed", failed), ("unknown", unknown)):
            if count:
                self._event(route, outcome).inc(count)

    def batch_retried(self, reason: str) -> None:
        """See `producer.Observer`."""
        self._retries.labels(reason).inc()

    def identity_renewed(self, reason: str) -> None:
        """See `producer.Observer`."""
        self._renewals.labels(reason).inc()

    def wakes_sent(self, topics: int) -> None:
        """See `wake.WakeObserver`."""
        self._wakes.labels("sent").inc(topics)

    def wakes_lost(self, topics: int) -> None:
        """See `wake.WakeObserver`."""
        self._wakes.labels("lost").inc(topics)


class _InFlight(Collector):
    """What admission holds just now, per route; the topics of the open route are one."""

    def __init__(self, admission: Admission, routes: Sequence[str]) -> None:
        self._admission = admission
        self._routes = routes

    def collect(self) -> Iterator[Metric]:
        events, sizes = (Tally(dict.fromkeys(self._routes, 0)) for _ in range(2))
        for share, usage in self._admission.shares():
            events[share.route] += usage.events
            sizes[share.route] += usage.size
        for name, text, tally in (
            ("in_flight_events", "Events under way.", events),
            ("in_flight_bytes", "Bytes of headers and bodies under way.", sizes),
        ):
            family = GaugeMetricFamily(f"{_PREFIX}{name}", text, labels=["route"])
            for route, value in tally.items():
                family.add_metric([route], value)
            yield family
