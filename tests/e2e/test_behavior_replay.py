"""`core.behavior` beside the real HPA controller: the same metric, the same count, the same answer, sync by sync.

Every look of the controller at a metric marks a sync. What it then wrote (or did not write) to /scale is what
`recommend` must answer, given the /scale that the controller had just read and the memory that the syncs before left.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from activator.core.behavior import Bounds, Metric, recommend
from activator.core.model import (
    Behavior,
    BehaviorMemory,
    Cluster,
    Policy,
    ScalingPolicy,
    ScalingRules,
    SelectPolicy,
    TargetRef,
    Trigger,
)
from activator.kubernetes import configuration, hpa_object
from activator.kubernetes.client import KubernetesClient
from activator.kubernetes.front_proxy import FrontProxyConfigMap
from activator.ports import MetricSample
from activator.web.certificates import SelfSigned
from activator.web.external_metrics import ExternalMetricsServer
from activator.wiring import Clock
from testbed import workloads
from testbed.control_plane import ControlPlane
from testbed.control_plane_flags import HpaFlags

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.audit import AuditEvent

pytestmark = pytest.mark.real

NAMESPACE = "replay"
HPA_CONTROLLER = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
SYNC_SECONDS = 0.7
"""Not a part of a whole second, so that few syncs fall on the end of a window."""
LENGTH_SECONDS = 50.0
FEWEST_SYNCS = 40
UNCERTAINTY = tuple(timedelta(milliseconds=beside) for beside in (0, -40, 40, -150, 150))
"""The controller reads its clock some milliseconds
beside the moments that are seen from here, and more on a busy machine."""
THRESHOLD = 3
BOUNDS = Bounds(2, 14)


def rules(window: float, *policies: tuple[str, int, float], **others: str) -> ScalingRules:
    """Rules in seconds."""
    return ScalingRules(
        timedelta(seconds=window),
        tuple(ScalingPolicy(kind, value, timedelta(seconds=period)) for kind, value, period in policies),
        SelectPolicy(others.get("select", "Max")),
        others.get("tolerance"),
    )


ALL_AT_ONCE = ("Percent", 100, 15.0)
BEHAVIORS: dict[str, Behavior] = {
    "defaults": Behavior(),
    "short-window": Behavior(scale_down=rules(3, ALL_AT_ONCE)),
    "both-windows": Behavior(rules(2, ("Pods", 4, 2)), rules(4, ALL_AT_ONCE)),
    "slow-up": Behavior(rules(0, ("Pods", 1, 3)), rules(0, ALL_AT_ONCE)),
    "slow-down": Behavior(scale_down=rules(0, ("Pods", 1, 2), ("Percent", 20, 4))),
    "percent": Behavior(rules(0, ("Percent", 50, 3)), rules(0, ("Percent", 10, 3))),
    "min-of-two": Behavior(
        rules(0, ("Pods", 3, 2), ("Percent", 100, 5), select="Min"),
        rules(1, ("Pods", 2, 3), ("Percent", 50, 2), select="Min"),
    ),
    "long-periods": Behavior(rules(0, ("Pods", 5, 8), ("Pods", 2, 2)), rules(0, ("Pods", 4, 9))),
    "never-down": Behavior(scale_down=rules(0, ALL_AT_ONCE, select="Disabled")),
    "no-tolerance": Behavior(rules(0, ("Pods", 9, 1), tolerance="0"), rules(0, ALL_AT_ONCE, tolerance="0.3")),
}


@dataclass
class Script:
    """A metric store whose values walk at random, one step a look; it keeps what it served when."""

    clock: Clock
    seeds: random.Random
    served: dict[str, list[tuple[datetime, int]]] = field(default_factory=dict)
    all_looked_at: asyncio.Event = field(default_factory=asyncio.Event)

    def lookup(self, namespace: str, name: str, selector: object) -> tuple[MetricSample, ...]:
        """Answer one look at a metric."""
        looks = self.served.setdefault(name, [])
        value = looks[-1][1] if looks else 10
        if self.seeds.random() < 0.4:  # mostly near what it was, now and then far off
            far = self.seeds.random() < 0.35
            value = self.seeds.randrange(0, 50) if far else max(0, value + self.seeds.randrange(-4, 5))
        looks.append((self.clock.now(), value))
        if len(self.served) == len(BEHAVIORS):
            self.all_looked_at.set()
        return (MetricSample(namespace, name, {}, value, "", self.clock.now()),) if selector else ()


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """Yield a control plane whose HPA controller looks often; Pods stay Pending, which is all that is needed."""
    with ControlPlane(tmp_path, hpa=HpaFlags(sync_period=f"{SYNC_SECONDS * 1000:.0f}ms")) as started:
        yield started


async def test_the_controller_and_we_agree_at_every_sync(plane: ControlPlane) -> None:
    """Ten behaviors, fifty seconds, a random metric each: at no sync do we differ."""
    clock = Clock()
    script = Script(clock, random.Random(7))  # noqa: S311 - a repeatable walk
    client = KubernetesClient(await configuration.load({"KUBECONFIG": str(plane.kubeconfig)}))
    front_proxy = FrontProxyConfigMap(client)
    reading = asyncio.create_task(front_proxy.run())
    server = ExternalMetricsServer(
        ("127.0.0.1", 0),
        store=script,  # type: ignore[arg-type]  # it answers the one question that is asked
        certificate=SelfSigned(["localhost"], clock.now()),
        authority=front_proxy,
        now=clock.now,
    )
    try:
        await server.start()
        await asyncio.to_thread(plane.aggregate, "metrics", "metrics", server.port)
        await asyncio.to_thread(create, plane)
        async with asyncio.timeout(60):
            await script.all_looked_at.wait()
        await asyncio.sleep(LENGTH_SECONDS)
        events = await asyncio.to_thread(lambda: list(plane.audit_events()))
    finally:
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
        await server.close()
        await client.close()
    changes = 0
    for name, behavior in BEHAVIORS.items():
        changes += replay(name, behavior, script.served[metric_of(name)], events)
    assert changes >= 5 * len(BEHAVIORS), "too little has happened for a proof"


def create(plane: ControlPlane) -> None:
    """Make a Deployment and an HPA of ours for each behavior."""
    plane.api.create_namespaces([NAMESPACE])
    for name, behavior in BEHAVIORS.items():
        (made,) = plane.api.apply(
            workloads.deployment(name, {"image": workloads.PAUSE}, namespace=NAMESPACE, replicas=BOUNDS.least)
        )
        ref = TargetRef(NAMESPACE, "Deployment", name)
        plane.api.apply(hpa_object.build(ref, made["metadata"]["uid"], policy_of(name, behavior), None))


def policy_of(name: str, behavior: Behavior) -> Policy:
    """Return what a user would have asked for."""
    trigger = Trigger(Cluster("kafka:9092"), topic=name, group=name, lag_threshold=THRESHOLD)
    return Policy((trigger,), min_replicas=BOUNDS.least, max_replicas=BOUNDS.most, behavior=behavior)


def metric_of(name: str) -> str:
    """Return the name by which the controller asks."""
    return f"s0-kafka-{name}"


def replay(name: str, behavior: Behavior, syncs: list[tuple[datetime, int]], events: list[AuditEvent]) -> int:
    """Answer each sync of one HPA as we would, and hold it against what the controller wrote; count the changes."""
    mine = [event for event in events if event.subresource == "scale" and event.name == name]
    ours = [event for event in mine if event.user == HPA_CONTROLLER and event.status == 200]
    reads = [event for event in ours if event.verb == "get"]
    writes = [event for event in ours if event.is_scale_write]
    complete = syncs[:-1]  # what came of the last one is not known
    assert len(complete) >= FEWEST_SYNCS, name
    memory = BehaviorMemory()
    for (at, value), (following, _) in zip(complete, syncs[1:], strict=True):
        seen = [event.response for event in reads if event.completed_at <= at][-1]
        current, running = seen["spec"]["replicas"], seen["status"]["replicas"]
        written = [event for event in writes if at <= event.received_at < following]
        changed_at, actual = (written[-1].completed_at, written[-1].requested_replicas) if written else (at, current)
        moments = [at + beside for beside in UNCERTAINTY]
        if written:  # it read its clock before that, however busy the machine was
            moments.append(written[-1].received_at)
        answers = [
            recommend(behavior, BOUNDS, [Metric(value, THRESHOLD)], memory, current, moment, running=running)
            for moment in moments
        ]
        agreed = [answer for answer in answers if answer.replicas == actual]
        since = (at - syncs[0][0]).total_seconds()
        assert agreed, (
            f"{name} after {since:.2f} s: {value} at {current} ({running} running): the controller set {actual}, "
            f"we {answers[0].replicas} ({answers[0].text}); {memory}"
        )
        memory = agreed[0].memory
        if memory.last is not None:  # the controller counts a change from when the write was answered
            memory = replace(memory, last=replace(memory.last, at=changed_at))
    return len(writes)
