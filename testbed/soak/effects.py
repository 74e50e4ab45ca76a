"""How each kind of fault is done, and how it is undone: undoing returns when what was struck answers again."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING, cast

import psutil
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException

from testbed.errors import TestbedError
from testbed.soak.plan import NODES
from testbed.soak.scene import REPLICA_SECONDS
from testbed.stage import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from testbed.processes import ManagedProcess
    from testbed.soak.plan import Fault
    from testbed.soak.proxy import Proxy, Way
    from testbed.soak.scene import Scene
    from testbed.soak.targets import Target
    from testbed.stage import Wakegate

RESTORED_SECONDS = 10.0
KAFKA_SECONDS = 300.0
ADMIN_SECONDS = 15.0
NOT_ANSWERED = (KafkaException, TimeoutError)
"""What an admin client raises: the client's own time may be over before that of its request is."""


class NotPossibleError(Exception):
    """There is nothing just now that this fault could strike: it does not count."""


def _stop(processes: Iterable[ManagedProcess], wait: Callable[[], None]) -> Callable[[], None]:
    stopped = list(processes)
    for process in stopped:
        process.pause()

    def undo() -> None:
        for process in stopped:
            process.resume()
        wait()

    return undo


def _end(processes: Iterable[ManagedProcess], wait: Callable[[], None], *, orderly: bool = False) -> Callable[[], None]:
    ended = list(processes)
    for process in ended:
        if orderly:
            process.stop()
        else:
            process.kill()

    def undo() -> None:
        for process in ended:
            process.start()
        wait()

    return undo


def _network(scene: Scene, proxies: list[Proxy], way: Way, delay_seconds: float) -> Callable[[], None]:
    scene.network.turn(proxies, way, delay_seconds)
    return partial(scene.network.turn, proxies, "pass")


def _kafka(scene: Scene, fault: Fault, _: Target) -> Callable[[], None]:
    """kafka-WHAT strikes every node, kafka-node-WHAT one."""
    one = fault.kind.startswith("kafka-node-")
    numbers = [fault.node] if one else [1, 2, 3]
    what = fault.kind.removeprefix("kafka-node-" if one else "kafka-")
    nodes = [scene.kafka.node(number) for number in numbers]
    if what == "stop":
        return _stop(nodes, partial(_until_whole, scene))
    if what in {"kill", "replace"}:
        return _end(nodes, partial(_until_whole, scene), orderly=what == "replace")
    return _network(scene, scene.proxies_of(numbers), _way(what), fault.delay_seconds)


def _api(scene: Scene, fault: Fault, _: Target) -> Callable[[], None]:
    what = fault.kind.removeprefix("api-")
    server = [scene.plane.api_server]
    if what == "stop":
        return _stop(server, scene.plane.wait_ready)
    if what == "kill":
        return _end(server, scene.plane.wait_ready)
    return _network(scene, scene.api_proxies, _way(what), fault.delay_seconds)


def _leader_api(scene: Scene, fault: Fault, _: Target) -> Callable[[], None]:
    proxy = scene.api_proxies[scene.leader()]
    return _network(scene, [proxy], _way(fault.kind.removeprefix("leader-api-")), fault.delay_seconds)


def _etcd(scene: Scene, fault: Fault, _: Target) -> Callable[[], None]:
    strike = _stop if fault.kind == "etcd-stop" else _end
    return strike([scene.plane.etcd], scene.plane.wait_ready)


def _controllers(scene: Scene, fault: Fault, _: Target) -> Callable[[], None]:
    strike = _stop if fault.kind == "controllers-stop" else _end
    return strike([scene.plane.controller_manager], _nothing)


def _kubelet(scene: Scene, _: Fault, __: Target) -> Callable[[], None]:
    # Its own process alone: its children are the Pods.
    kubelet = scene.bed.kubelet
    return _stop([kubelet], _nothing)


def _replica(scene: Scene, fault: Fault, _: Target) -> Callable[[], None]:
    """leader-, follower- or replicas-WHAT."""
    whom, _dash, what = fault.kind.partition("-")
    leader = scene.leader()
    struck = {
        "leader": [scene.replicas[leader]],
        "follower": [scene.replicas[1 - leader]],
        "replicas": list(scene.replicas),
    }[whom]
    wait = partial(_until_ready, struck)
    processes = [replica.process for replica in struck]
    if what == "stop":
        return _stop(processes, wait)
    for replica in struck:
        scene.set_clock(replica, fault.hours if what == "clock" else 0)
    return _end(processes, wait, orderly=what in {"replace", "clock"})


def _consumer(scene: Scene, fault: Fault, _: Target) -> Callable[[], None]:
    running = scene.consumer_processes()
    if not running:
        raise NotPossibleError("no consumer runs")
    process = running[int(fault.choice * len(running))]
    with contextlib.suppress(psutil.NoSuchProcess):
        if fault.kind == "consumer-kill":
            process.kill()
            return _nothing
        process.suspend()

    def undo() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()

    return undo


def _offsets(scene: Scene, _: Fault, probe: Target) -> Callable[[], None]:
    """Delete the group, as its retention does; ours must have committed all of it again before it is woken."""
    admin = scene.kafka.admin()

    def committed() -> dict[int, int]:
        asked = [ConsumerGroupTopicPartitions(probe.topic)]
        futures = admin.list_consumer_group_offsets(asked, request_timeout=ADMIN_SECONDS)
        places = futures[probe.topic].result(ADMIN_SECONDS).topic_partitions
        return {place.partition: place.offset for place in places if place.offset >= 0}

    try:
        before = committed()
    except NOT_ANSWERED as error:
        raise NotPossibleError(repr(error)) from None
    if not before:
        raise NotPossibleError(f"{probe.name}: its group has no offsets")

    def restored() -> bool:
        try:
            now = committed()
        except NOT_ANSWERED:  # there is no such group (yet)
            return False
        # At least: who was woken meanwhile has gone on from there. Had it begun elsewhere, its ledger would tell.
        return all(now.get(partition, -1) >= offset for partition, offset in before.items())

    try:
        admin.delete_consumer_groups([probe.topic], request_timeout=ADMIN_SECONDS)[probe.topic].result(ADMIN_SECONDS)
    except NOT_ANSWERED as error:
        # Perhaps only the answer is lost: offsets that are gone now were struck, and ours must have them again.
        if restored():
            raise NotPossibleError(repr(error)) from None

    def undo() -> None:
        until(f"{probe.name}: its offsets {before} are there again", restored, RESTORED_SECONDS)

    return undo


def _credentials(scene: Scene, fault: Fault, _: Target) -> Callable[[], None]:
    """Change the password at Kafka and break what was let in with the old one; undone, the Secret has it too."""
    password = f"soak-{fault.number}"

    def changed() -> bool:
        try:
            scene.change_password(password)
        except NOT_ANSWERED:
            return False
        return True

    # A change without an answer may have been made, and ours be locked out from then on: it is asked for until it has
    # one, so that what is written to the Secret afterwards fits.
    try:
        until("Kafka has changed the password", changed, KAFKA_SECONDS)
    except AssertionError as error:
        raise TestbedError(str(error)) from None
    scene.network.turn(scene.secured_proxies, "cut")
    scene.network.turn(scene.secured_proxies, "pass")
    return partial(scene.write_secret, password)


def _until_whole(scene: Scene) -> None:
    """Wait until each Kafka node sees the others; on a busy machine a JVM takes minutes to start."""
    nodes = [scene.kafka.node(number) for number in range(1, NODES + 1)]
    for node in nodes:
        node.wait_ready(lambda node=node: node.answers(brokers=NODES), within_seconds=KAFKA_SECONDS)  # type: ignore[misc]


def _until_ready(replicas: list[Wakegate]) -> None:
    for replica in replicas:
        until(f"{replica.process.name} is ready", replica.is_ready, REPLICA_SECONDS)


def _nothing() -> None:
    """What was struck needs no waiting for."""


def _way(what: str) -> Way:
    return cast("Way", what)


EFFECTS: tuple[tuple[str, Callable[[Scene, Fault, Target], Callable[[], None]]], ...] = (
    ("kafka-", _kafka),
    ("api-", _api),
    ("leader-api-", _leader_api),
    ("leader-", _replica),
    ("follower-", _replica),
    ("replicas-", _replica),
    ("etcd-", _etcd),
    ("controllers-", _controllers),
    ("kubelet-", _kubelet),
    ("consumer-", _consumer),
    ("offsets-", _offsets),
    ("credentials-", _credentials),
)
"""The first prefix that fits decides."""


def strike(scene: Scene, fault: Fault, probe: Target) -> Callable[[], None]:
    """Do it, and return what undoes it.

    Raises:
        NotPossibleError: there is nothing it could strike just now.
    """
    effect = next(effect for prefix, effect in EFFECTS if fault.kind.startswith(prefix))
    return effect(scene, fault, probe)
