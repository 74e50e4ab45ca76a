"""What ScaledObjects say beside the usual, on the real parts: mistakes, other triggers and kinds, KEDA, outages."""

from __future__ import annotations

import copy
import datetime as dt
import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from confluent_kafka import Producer

from activator.kubernetes.scaled_objects import FINALIZER
from testbed import workloads
from testbed.errors import ApiError
from testbed.stage import Consumer, Stage, holds, is_served, until
from tests.keda_documents import FIRST
from tests.specs.keda.test_scaled_object import MISTAKES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.bed import Testbed

pytestmark = pytest.mark.real

WORKERS: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "workers.wakegate.test"},
    "spec": {
        "group": "wakegate.test",
        "scope": "Namespaced",
        "names": {"kind": "Worker", "plural": "workers"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".status.selector",
                    },
                },
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
            }
        ],
    },
}
"""A kind that nobody has heard of, with /scale."""
LEASE = "/apis/coordination.k8s.io/v1/namespaces/keda/leases"


@pytest.fixture
def bed(keda_bed: Testbed) -> Testbed:
    """With KEDA's CRDs."""
    return keda_bed


def scaled_object(consumer: Consumer, *triggers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """A hasty ScaledObject of a consumer, by default with its topic as the only trigger."""
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": consumer.name, "namespace": consumer.stage.namespace},
        "spec": {
            "scaleTargetRef": {"name": consumer.name},
            "pollingInterval": 3,
            "cooldownPeriod": 4,
            "idleReplicaCount": 0,
            "minReplicaCount": 1,
            "maxReplicaCount": 5,
            "triggers": [kafka_trigger(consumer), *triggers],
            **spec,
        },
    }


def kafka_trigger(consumer: Consumer) -> dict[str, Any]:
    """Of a consumer's topic."""
    topic = consumer.stage.topic_of(consumer)
    metadata = {
        "bootstrapServers": consumer.stage.bed.kafka.bootstrap_servers,
        "topic": topic,
        "consumerGroup": topic,
        "offsetResetPolicy": "earliest",
    }
    return {"type": "kafka", "metadata": metadata}


def condition(stage: Stage, name: str, kind: str) -> dict[str, str]:
    """One condition of a ScaledObject; empty: not set yet."""
    conditions = stage.api.get(stage.scaled_object_path(name)).get("status", {}).get("conditions") or []
    return next((entry for entry in conditions if entry["type"] == kind), {})


def path_of(consumer: Consumer) -> str:
    """Of its ScaledObject."""
    return consumer.stage.scaled_object_path(consumer.name)


def finalizers(consumer: Consumer) -> list[str]:
    """Of its ScaledObject."""
    return list(consumer.stage.api.get(path_of(consumer))["metadata"].get("finalizers", []))


def quiet(stage: Stage, name: str) -> dict[str, Any]:
    """A Deployment without any Pod, for a ScaledObject to name."""
    return workloads.deployment(name, {"image": workloads.PAUSE}, namespace=stage.namespace, replicas=0)


def applied(stage: Stage, name: str, mistake: dict[str, Any]) -> str:
    """Apply a document with a mistake under a name of its own; answers what the API server says where it refuses."""
    document = copy.deepcopy(mistake)
    document["metadata"] |= {"name": name, "namespace": stage.namespace}
    if document["spec"]["scaleTargetRef"].get("name"):
        document["spec"]["scaleTargetRef"]["name"] = name
    try:
        stage.api.apply(document)
    except ApiError as error:
        return str(error)
    return ""


def test_each_mistake_is_named_and_touches_no_other(stage: Stage) -> None:
    """The API server refuses it by the schema, or its Ready condition says place, value and fix; others go on."""
    stage.wakegate().start()
    consumer = stage.bare_consumer()
    stage.api.apply(scaled_object(consumer))
    until("the right one sleeps", lambda: consumer.replicas() == 0, 60)

    names = {f"mistake-{number}": title for number, title in enumerate(MISTAKES)}
    stage.api.apply(*(quiet(stage, name) for name in names))
    refused = {name: applied(stage, name, MISTAKES[title][0]) for name, title in names.items()}
    taken = [name for name in names if not refused[name]]
    assert len(names) >= 20

    def unnamed() -> list[str]:
        return [
            title
            for name, title in names.items()
            if name in taken and MISTAKES[title][1] not in condition(stage, name, "Ready").get("message", "")
        ]

    until(f"each of {len(taken)} has its sentence", lambda: not unnamed(), 60)
    for name, title in names.items():
        place = MISTAKES[title][1].partition(":")[0].partition(" is ")[0]
        if refused[name]:
            assert place.removeprefix("spec.").split(".")[0] in refused[name], (title, refused[name])
    stage.produce(consumer)
    until("the right one wakes", lambda: consumer.replicas() == 1, 10)


def window_now(replicas: int) -> dict[str, Any]:
    """A cron trigger whose window is open for hours."""
    hour = dt.datetime.now(dt.UTC).hour  # noqa: TID251 - the HPA controller's clock is the real one
    window = {"start": f"0 {(hour - 2) % 24} * * *", "end": f"0 {(hour + 4) % 24} * * *"}
    return {"type": "cron", "metadata": {"timezone": "UTC", **window, "desiredReplicas": str(replicas)}}


def test_cron_and_memory_beside_kafka(stage: Stage) -> None:
    """A window wakes and the real HPA holds its count; memory stands on the HPA as a resource metric."""
    stage.wakegate().start()
    consumer = stage.bare_consumer()
    stage.api.apply(scaled_object(consumer))
    until("it sleeps", lambda: consumer.replicas() == 0, 60)
    memory = {"type": "memory", "metricType": "AverageValue", "metadata": {"value": "100Mi"}}
    stage.api.apply(scaled_object(consumer, window_now(3), memory))
    until("the window's count", lambda: consumer.replicas() == 3, 60)

    (hpa,) = stage.hpas()
    metrics = hpa["spec"]["metrics"]
    named = [entry[entry["type"].lower()].get("name") or entry["external"]["metric"]["name"] for entry in metrics]
    assert len([name for name in named if name.startswith("s")]) == 2
    assert "memory" in named
    able = {entry["type"]: entry["status"] for entry in hpa["status"]["conditions"]}
    assert able["AbleToScale"] == "True"
    holds("the window holds it, though nobody measures memory here", lambda: consumer.replicas() == 3, 6)
    stage.api.apply(scaled_object(consumer))
    until("without the window it sleeps", lambda: consumer.replicas() == 0, 60)


def test_a_kind_of_its_own(stage: Stage) -> None:
    """Whatever has /scale: 0 -> N -> 0, N by the HPA, which is told the kind."""
    stage.api.apply(WORKERS)
    served = f"/apis/wakegate.test/v1/namespaces/{stage.namespace}/workers"
    until("its kind is served", lambda: is_served(stage.bed, served), 15)
    topic = f"{stage.namespace}-worker"
    stage.bed.kafka.create_topic(topic)
    stage.bed.kafka.commit(topic, {(topic, 0): 0})
    where = {"name": "worker", "namespace": stage.namespace}
    stage.api.apply({"apiVersion": "wakegate.test/v1", "kind": "Worker", "metadata": where, "spec": {"replicas": 1}})
    path = f"{served}/worker"
    stage.api.patch(f"{path}/status", {"status": {"replicas": 1, "selector": "app=worker"}})
    stage.wakegate().start()
    document = yaml.safe_load(FIRST)
    document["metadata"] = where
    document["spec"] |= {"cooldownPeriod": 4, "pollingInterval": 3}
    document["spec"]["scaleTargetRef"] = {"apiVersion": "wakegate.test/v1", "kind": "Worker", "name": "worker"}
    servers = stage.bed.kafka.bootstrap_servers
    document["spec"]["triggers"][0]["metadata"] |= {
        "bootstrapServers": servers,
        "topic": topic,
        "consumerGroup": topic,
        "allowIdleConsumers": "true",
    }
    stage.api.apply(document)

    def replicas() -> int:
        return int(stage.api.get(path)["spec"].get("replicas", 0))

    until("it sleeps", lambda: replicas() == 0, 60)
    stage.api.patch(f"{path}/status", {"status": {"replicas": 0}})
    stage.produce(Consumer(stage, "worker", stage.bed.run_directory / "worker"), 25, partitions=1)
    until("it wakes", lambda: replicas() >= 1, 10)
    stage.api.patch(f"{path}/status", {"status": {"replicas": 1}})
    until("the HPA takes it to three", lambda: replicas() == 3, 60)
    stage.bed.kafka.commit(topic, {(topic, 0): 25})
    until("it sleeps again", lambda: replicas() == 0, 60)


@pytest.fixture
def live_keda(stage: Stage) -> Iterator[None]:
    """The Lease of an operator that has just renewed it."""
    stage.api.create_namespaces(["keda"])
    now = f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%M:%S.%fZ}"  # noqa: TID251 - as the operator writes it
    lease = {"holderIdentity": "keda-operator", "leaseDurationSeconds": 15, "renewTime": now}
    metadata = {"name": "operator.keda.sh", "namespace": "keda"}
    stage.api.apply({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": lease})
    yield
    stage.api.delete(f"{LEASE}/operator.keda.sh")


@pytest.mark.usefixtures("live_keda")
def test_beside_a_live_keda(stage: Stage) -> None:
    """`auto` leaves its ScaledObjects alone and says so once; one that asks for wakegate is managed, and let go of.

    `wakegate release` runs here as from a checkout, before an uninstall without the chart.
    """
    left, adopted = stage.bare_consumer("left"), stage.bare_consumer("adopted")
    document = scaled_object(adopted)
    document["metadata"]["annotations"] = {"wakegate.dev/adopt": "true"}
    stage.api.apply(scaled_object(left), document)
    wakegate = stage.wakegate(keda="auto")
    wakegate.start()
    until("the adopted one sleeps", lambda: adopted.replicas() == 0, 60)
    assert left.replicas() == 1
    assert not condition(stage, "left", "Ready")
    assert [hpa["spec"]["scaleTargetRef"]["name"] for hpa in stage.hpas()] == ["adopted"]
    assert wakegate.process.log.read_text().count("KEDA is live here: ScaledObjects are left to it") == 1

    stage.api.patch(path_of(left), {"metadata": {"finalizers": [FINALIZER]}})  # KEDA's own
    assert finalizers(adopted) == [FINALIZER]
    wakegate.process.stop()
    command = [sys.executable, "-m", "activator", "release", "--within", "60s"]
    with stage.bed.process(f"{stage.namespace}-release", command, env=wakegate.process.env) as release:
        assert release.wait(90) == 0, release.log_tail()
    assert (adopted.replicas(), finalizers(adopted), stage.hpas()) == (1, [], [])
    assert (left.replicas(), finalizers(left)) == (1, [FINALIZER])
    stage.api.patch(path_of(left), {"metadata": {"finalizers": None}})


@pytest.mark.usefixtures("live_keda")
def test_the_hpa_that_keda_left_and_one_that_it_makes_again(stage: Stage) -> None:
    """Where wakegate moves 1..N itself it deletes the first, and leaves the target to the second while it is there.

    The process that is told of the second is not the one that has deleted the first.
    """
    consumer = stage.bare_consumer("moved")
    document = scaled_object(consumer)
    document["metadata"]["annotations"] = {"wakegate.dev/adopt": "true", "wakegate.dev/handoff": "direct"}
    stage.api.apply(document)
    path = stage.scaled_object_path("moved")
    owner = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "moved"}
    hpa = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": "keda-hpa-moved",
            "namespace": stage.namespace,
            "ownerReferences": [{**owner, "uid": stage.api.get(path)["metadata"]["uid"]}],
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "moved"},
            "maxReplicas": 3,
        },
    }
    stage.api.apply(hpa)
    wakegate = stage.wakegate(keda="auto")
    wakegate.start()
    until("what KEDA left is gone", lambda: not stage.hpas(), 60)
    until("since when it is managed is kept", lambda: consumer.scale_target().get("takenOverAt"), 30)
    wakegate.process.stop()
    stage.api.apply(hpa)
    wakegate.start()
    said = "keda-hpa-moved (made again after wakegate had deleted it"
    until("the second is told", lambda: said in condition(stage, "moved", "Ready").get("message", ""), 30)
    holds("the second is left alone", lambda: len(stage.hpas()) == 1, 5)
    stage.api.delete(f"/apis/autoscaling/v2/namespaces/{stage.namespace}/horizontalpodautoscalers/keda-hpa-moved")
    until("it sleeps", lambda: consumer.replicas() == 0, 60)


def never_ready(consumer: Consumer) -> Consumer:
    """Let no Pod of a consumer ever run from now on, so that its lag stays what it is."""
    path = f"/apis/apps/v1/namespaces/{consumer.stage.namespace}/deployments/{consumer.name}"
    (container,) = consumer.stage.api.get(path)["spec"]["template"]["spec"]["containers"]
    container["image"] = workloads.NEVER_READY
    consumer.stage.api.patch(path, {"spec": {"template": {"spec": {"containers": [container]}}}})
    return consumer


def has_condition(stage: Stage, name: str, kind: str, status: str) -> bool:
    """Whether a condition of a ScaledObject has a status."""
    return condition(stage, name, kind).get("status") == status


def has_replicas(consumer: Consumer, count: int) -> bool:
    """Whether it is to have so many."""
    return consumer.replicas() == count


def test_a_fallback_over_an_outage(stage: Stage) -> None:
    """A broker that is away lifts a target from any state, also when wakegate starts meanwhile; all come back with it.

    Asleep, in the middle of a wake, awake at the minimum, awake below the fallback and above it, where KEDA's behavior
    says that it stays; and one at zero that a process finds which has never read it.
    """
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 0}}
    hasty = partial(
        stage.consumer, fallback_after="10s", cooldown_period="4", polling_interval="3", behavior=json.dumps(behavior)
    )
    sleeper = hasty("sleeper", fallback_replicas="3")
    waking = never_ready(hasty("waking", replicas=0, fallback_replicas="3"))
    between = never_ready(hasty("between", replicas=0, fallback_replicas="4"))
    late = never_ready(hasty("late", replicas=0, fallback_replicas="3", paused="true"))
    awake, above = stage.bare_consumer("awake"), never_ready(stage.bare_consumer("above"))
    at_once = {"horizontalPodAutoscalerConfig": {"behavior": behavior}}
    document = scaled_object(awake, fallback={"failureThreshold": 2, "replicas": 4}, advanced=at_once)
    del document["spec"]["idleReplicaCount"]
    fallback = {"failureThreshold": 2, "replicas": 3, "behavior": "currentReplicasIfHigher"}
    stage.api.apply(document, scaled_object(above, fallback=fallback, advanced=at_once))
    wakegate = stage.wakegate()
    wakegate.start()
    until("one sleeps", lambda: sleeper.replicas() == 0, 60)
    until("one is awake", lambda: condition(stage, "awake", "Ready").get("status") == "True", 30)
    assert awake.replicas() == 1
    for consumer, records, count in ((waking, 1, 1), (between, 15, 2), (above, 50, 5)):
        stage.produce(consumer, records)
        until(f"{consumer.name} is at {count}", partial(has_replicas, consumer, count), 60)
    assert waking.ready() == 0
    stage.bed.kafka.kill()
    try:
        for consumer, count in ((sleeper, 3), (waking, 3), (between, 4), (awake, 4)):
            until(f"{consumer.name} is lifted", partial(has_replicas, consumer, count), 120)
        for name in ("awake", "above"):
            until(f"it is said of {name}", partial(has_condition, stage, name, "Fallback", "True"), 30)
        holds("the one above stays there", partial(has_replicas, above, 5), 5)
        assert late.replicas() == 0
        wakegate.process.stop()
        late.annotate(paused=None)
        wakegate.start()
        until("what it finds at zero is lifted", partial(has_replicas, late, 3), 120)
        counts = [consumer.replicas() for consumer in (sleeper, waking, between, awake, above)]
        assert counts == [3, 3, 4, 4, 5]
    finally:
        stage.bed.kafka.restart()
    for consumer, count in ((sleeper, 0), (late, 0), (waking, 1), (between, 2), (awake, 1), (above, 5)):
        until(f"{consumer.name} is back at {count}", partial(has_replicas, consumer, count), 150)
    for name in ("awake", "above"):
        until(f"that is said of {name}", partial(has_condition, stage, name, "Fallback", "False"), 30)


def test_two_topics_named_by_the_environment(stage: Stage) -> None:
    """A list of topics out of a ConfigMap of the target's environment: the second alone wakes it, the HPA asks once."""
    consumer = stage.bare_consumer()
    group = stage.topic_of(consumer)
    other = f"{group}-other"
    stage.bed.kafka.create_topic(other, partitions=1)
    where = {"namespace": stage.namespace}
    data = {"topics": f"{group},{other}"}
    stage.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kafka", **where}, "data": data})
    path = f"/apis/apps/v1/namespaces/{stage.namespace}/deployments/{consumer.name}"
    (container,) = stage.api.get(path)["spec"]["template"]["spec"]["containers"]
    topics = {"name": "TOPICS", "valueFrom": {"configMapKeyRef": {"name": "kafka", "key": "topics"}}}
    container["env"] = [*container.get("env", ()), topics, {"name": "GROUP", "value": group}]
    stage.api.patch(path, {"spec": {"template": {"spec": {"containers": [container]}}}})
    document = scaled_object(consumer)
    (trigger,) = document["spec"]["triggers"]
    trigger["type"] = "apache-kafka"
    for name in ("topic", "consumerGroup"):
        del trigger["metadata"][name]
    trigger["metadata"] |= {"topicFromEnv": "TOPICS", "consumerGroupFromEnv": "GROUP"}
    stage.wakegate().start()
    stage.api.apply(document)
    until("it sleeps", lambda: consumer.replicas() == 0, 60)
    (hpa,) = stage.hpas()
    assert [metric["type"] for metric in hpa["spec"]["metrics"]] == ["External"]
    producer = Producer({"bootstrap.servers": stage.bed.kafka.bootstrap_servers})
    producer.produce(other, value=b"one", partition=0)
    assert producer.flush(30) == 0
    until("a record in the second wakes it", lambda: consumer.replicas() == 1, 10)
