"""How the doctor's results are told: golden outputs, whole, short and as JSON."""

from __future__ import annotations

import re
from pathlib import Path

from activator.doctor import report
from activator.doctor.checks import CHECKS, CHECKS_BEFORE, examine
from activator.doctor.facts import KafkaCluster, Unknown
from tests.doctor.healthy import SERVERS, api_service, deployment, facts, target

DOCS = Path(__file__).resolve().parents[2] / "docs"

SPOILT = facts(
    deployment=deployment(ready=1),
    lease=Unknown("you may not read it"),
    api_service=api_service(namespace="keda", name="keda-metrics-apiserver"),
    clusters=(KafkaCluster(SERVERS, problem="Kafka kafka:9092: Connection refused"),),
    targets=(target(problems=("wakegate.dev/topik: there is no such annotation; did you mean topic?",)),),
)

GOLDEN = """\
Kubernetes
  ok       api-server: the API server answers at https://kubernetes:6443
  ok       kubernetes-version: Kubernetes 1.37
  ok       clock-skew: in step with the API server's: this machine's clock

Installation
  ok       deployment: Deployment wakegate-system/wakegate of image wakegate:0.1.0
  ok       permissions: system:serviceaccount:wakegate-system:wakegate may do all of the 26 things it needs to
  ok       front-proxy: the certificate of the API server's front proxy may be read
  ok       crd: CustomResourceDefinition scaletargets.wakegate.dev is served
  ok       settings: the settings can be read
  warn     pods: 1 of 2 Pods are ready
           fix: kubectl -n wakegate-system describe pods -l app.kubernetes.io/name=wakegate
           see docs/doctor.md#pods
  skipped  leader: Lease wakegate-system/wakegate: you may not read it

Metrics API
  ok       metrics-api-owner: external.metrics.k8s.io belongs to Service keda/keda-metrics-apiserver, which is left \
alone: wakegate itself moves 1..N
  ok       metrics-api-certificate: each replica makes its own
  skipped  metrics-api-service: external.metrics.k8s.io does not lead to wakegate
  skipped  metrics-api-trust: external.metrics.k8s.io does not lead to wakegate
  skipped  metrics-api-reachable: external.metrics.k8s.io does not lead to wakegate

Kafka
  ok       kafka-secrets: no Kafka credentials are in a form that cannot be used
  fail     kafka-reachable: Kafka clusters that do not answer from here: 1 of 1
           Kafka kafka:9092: Connection refused
           fix: see that the address is right and its listener open; where only Pods reach it, ask from one: \
kubectl -n wakegate-system exec deployment/wakegate -- wakegate doctor
           see docs/doctor.md#kafka-reachable
  skipped  kafka-credentials: see kafka-reachable
  skipped  kafka-brokers: see kafka-reachable
  skipped  topic-exists: kafka:9092 could not be asked; nothing is wrong elsewhere
  skipped  topic-describe: kafka:9092 could not be asked; nothing is wrong elsewhere
  skipped  topic-read: kafka:9092 could not be asked; nothing is wrong elsewhere
  skipped  group-exists: kafka:9092 could not be asked; nothing is wrong elsewhere
  skipped  group-describe: kafka:9092 could not be asked; nothing is wrong elsewhere
  skipped  group-read: kafka:9092 could not be asked; nothing is wrong elsewhere
  skipped  topic-consumed: kafka:9092 could not be asked; nothing is wrong elsewhere

Workloads
  fail     annotations: workloads that are annotated wrongly: 1 of 1
           Deployment shop/orders: wakegate.dev/topik: there is no such annotation; did you mean topic?
           fix: correct it (docs/annotations.md); the last valid configuration stays in force meanwhile
           see docs/doctor.md#annotations
  ok       rivals: no workload is driven by another autoscaler
  ok       gitops: nobody else manages spec.replicas

status: fail (13 ok, 1 warn, 2 fail, 13 skipped)"""

SHORT = """\
  warn     pods: 1 of 2 Pods are ready
           fix: kubectl -n wakegate-system describe pods -l app.kubernetes.io/name=wakegate
           see docs/doctor.md#pods
  fail     kafka-reachable: Kafka clusters that do not answer from here: 1 of 1
           Kafka kafka:9092: Connection refused
           fix: see that the address is right and its listener open; where only Pods reach it, ask from one: \
kubectl -n wakegate-system exec deployment/wakegate -- wakegate doctor
           see docs/doctor.md#kafka-reachable
  fail     annotations: workloads that are annotated wrongly: 1 of 1
           Deployment shop/orders: wakegate.dev/topik: there is no such annotation; did you mean topic?
           fix: correct it (docs/annotations.md); the last valid configuration stays in force meanwhile
           see docs/doctor.md#annotations"""

BEFORE = """\
Kubernetes
  ok       api-server: the API server answers at https://kubernetes:6443
  ok       kubernetes-version: Kubernetes 1.37
  ok       clock-skew: in step with the API server's: this machine's clock
  ok       installer: you may make everything that an installation needs

Metrics API
  ok       overlay: nobody serves external.metrics.k8s.io: use the overlay `kubernetes` (or `openshift`)

Kafka
  skipped  kafka-reachable: no Kafka cluster is named: neither by WAKEGATE_BOOTSTRAP_SERVERS nor by a workload
  skipped  kafka-credentials: no Kafka cluster is named: neither by WAKEGATE_BOOTSTRAP_SERVERS nor by a workload
  skipped  kafka-brokers: no Kafka cluster is named: neither by WAKEGATE_BOOTSTRAP_SERVERS nor by a workload

all is well (5 ok, 3 skipped)"""


def told(lines: object) -> str:
    """The lines as they are printed, without colours."""
    assert isinstance(lines, object)
    return "\n".join(line for _, line in lines)  # type: ignore[attr-defined]


def test_everything_in_sections() -> None:
    """One line a check; a problem has its causes, a fix and a place in the docs below it; the verdict is last."""
    assert told(report.lines(examine(SPOILT))) == GOLDEN


def test_short_tells_problems_only() -> None:
    """With -o short nothing is printed but problems, and nothing at all where there is none."""
    assert told(report.short_lines(examine(SPOILT))) == SHORT
    assert told(report.short_lines(examine(facts()))) == ""


def test_before_an_installation() -> None:
    """With --pre it says which overlay fits, and needs no installation."""
    nothing = facts(deployment=None, lease=None, api_service=None, clusters=(), targets=())
    assert told(report.lines(examine(nothing, CHECKS_BEFORE))) == BEFORE


def test_json_has_the_shape_of_linkerd_check() -> None:
    """Success, categories, and in each its checks with result, and for a problem error, fix and hint."""
    document = report.document(examine(SPOILT))
    assert document["success"] is False
    sections = [category["categoryName"] for category in document["categories"]]
    assert sections == ["Kubernetes", "Installation", "Metrics API", "Kafka", "Workloads"]
    checks = {check["id"]: check for category in document["categories"] for check in category["checks"]}
    assert checks["pods"]["result"] == "warn"
    assert checks["api-server"] == {
        "id": "api-server",
        "description": "the API server answers at https://kubernetes:6443",
        "result": "ok",
    }
    assert checks["kafka-reachable"]["error"] == ["Kafka kafka:9092: Connection refused"]
    assert checks["kafka-reachable"]["hint"] == "docs/doctor.md#kafka-reachable"
    assert "exec" in checks["kafka-reachable"]["fix"]


def test_every_check_has_its_anchor_in_the_docs() -> None:
    """docs/doctor.md has one heading a check, named as the check, and none besides."""
    headings = re.findall(r"^### (\S+)$", (DOCS / "doctor.md").read_text(), re.MULTILINE)
    ids = list(dict.fromkeys(check.id for check in (*CHECKS, *CHECKS_BEFORE)))
    assert sorted(headings) == sorted(ids)
    assert len(headings) == len(set(headings))
