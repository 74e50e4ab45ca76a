"""Files are checked as they are written: every mistake with its line, in workloads and ScaledObjects alike."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from activator import cli
from activator.specs.defaults import AnnotationDefaults
from activator.specs.files import check

if TYPE_CHECKING:
    from pathlib import Path

FILE = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: orders
  annotations:
    wakegate.dev/topic: orders
    wakegate.dev/consumer-group: orders
    wakegate.dev/lag-threshold: "10"
    wakegate.dev/cooldown-period: 5m
    wakegate.dev/min-replica-count: "1"
spec:
  template:
    spec:
      containers:
        - name: main
          env: [{name: TOPIC, value: mails}]
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: mails
  annotations:
    autoscaling.keda.sh/paused-scale-in: "false"
spec:
  scaleTargetRef:
    name: orders
  pollingInterval: 5
  cooldownPeriod: 10
  idleReplicaCount: 0
  minReplicaCount: 1
  maxReplicaCount: 5
  fallback:
    failureThreshold: 3
    replicas: 2
  triggers:
    - type: kafka
      metricType: AverageValue
      metadata:
        bootstrapServers: kafka:9092
        consumerGroup: mails
        topicFromEnv: TOPIC
        lagThreshold: '10'
        offsetResetPolicy: latest
---
apiVersion: v1
kind: Service
metadata:
  name: orders
"""

SEEDED: dict[str, tuple[str, str, int, str]] = {
    "1 a misspelt annotation": ("lag-threshold", "lag-treshold", 8, "did you mean wakegate.dev/lag-threshold?"),
    "2 a threshold of 0": ('lag-threshold: "10"', 'lag-threshold: "0"', 8, "a whole number from 1"),
    "3 an annotation without quotes": ('count: "1"', "count: 1", 10, 'write "1" in quotes'),
    "4 a duration": ("5m", "5 minutes", 9, "a duration such as 30, 30s, 5m"),
    "5 a topic that cannot be": ("topic: orders\n", 'topic: "a b"\n', 6, "a Kafka topic name"),
    "6 no group": ("    wakegate.dev/consumer-group: orders\n", "", 5, "it is required"),
    "7 a misspelt field": ("pollingInterval", "poolingInterval", 27, "did you mean pollingInterval?"),
    "8 a capital": ("  triggers:", "  Triggers:", 35, "did you mean triggers?"),
    "9 a count in quotes": ("maxReplicaCount: 5", 'maxReplicaCount: "5"', 31, "without quotes"),
    "10 min above max": ("minReplicaCount: 1", "minReplicaCount: 6", 30, "no more than maxReplicaCount, which is 5"),
    "11 an idle count": ("idleReplicaCount: 0", "idleReplicaCount: 1", 29, "0: any other idle count"),
    "12 a trigger's type": ("type: kafka", "type: kafak", 36, "did you mean kafka?"),
    "13 a type that is not supported": ("type: kafka", "type: aws-sqs-queue", 36, "other triggers are not supported"),
    "14 a parameter without quotes": ("lagThreshold: '10'", "lagThreshold: 10", 42, 'write "10" in quotes'),
    "15 a misspelt parameter": ("consumerGroup: mails", "consumergroup: mails", 40, "did you mean consumerGroup?"),
    "16 a policy": ("Policy: latest", "Policy: newest", 43, "earliest or latest"),
    "17 an address": ("kafka:9092", "kafka", 39, "HOST:PORT"),
    "18 a variable that is not there": ("topicFromEnv: TOPIC", "topicFromEnv: TOPIK", 41, "did you mean TOPIC?"),
    "19 half a fallback": ("    failureThreshold: 3\n", "", 32, "it is required"),
    "20 a metric type": ("AverageValue", "Average", 37, "did you mean AverageValue?"),
    "21 an annotation of KEDA": ("paused-scale-in", "paused-scale-inn", 23, "paused-scale-in?"),
    "22 a target": ("    name: orders\n  polling", "    nam: orders\n  polling", 26, "did you mean name?"),
    "23 a profile": ("cooldown-period: 5m", "profile: fats", 9, "did you mean fast?"),
    "24 a trigger's parameter in an annotation": (
        "topic: orders\n", "triggers: '[{type: kafka, metadata: {topic: a b}}]'\n", 6, "triggers[0].metadata.topic is",
    ),
    "25 no YAML": ("  maxReplicaCount: 5", "  maxReplicaCount: 5: 6", 31, "this is not YAML"),
}  # fmt: skip


def test_a_file_without_mistakes() -> None:
    """What is not for us is passed over."""
    checked = check({"orders.yaml": FILE}, AnnotationDefaults("kafka:9092"))
    assert checked.objects == ("Deployment orders", "ScaledObject mails")
    assert [str(mistake) for mistake in checked.mistakes] == []


@pytest.mark.parametrize(("right", "wrong", "line", "said"), SEEDED.values(), ids=SEEDED)
def test_a_seeded_mistake(right: str, wrong: str, line: int, said: str) -> None:
    """It is the only one that is told, at its line, with what is allowed."""
    assert FILE.count(right) >= 1
    mistakes = check({"orders.yaml": FILE.replace(right, wrong, 1)}, AnnotationDefaults("kafka:9092")).mistakes
    assert len(mistakes) == 1, list(map(str, mistakes))
    assert str(mistakes[0]).startswith(f"orders.yaml:{line}: ")
    assert said in str(mistakes[0])


def test_a_list_of_objects() -> None:
    """Of what `kubectl get -o yaml` writes each item is checked, and a mistake has its line."""
    indented = (f"- {part.strip()}".replace("\n", "\n  ") for part in FILE.split("---\n"))
    text = "apiVersion: v1\nkind: List\nitems:\n" + "\n".join(indented) + "\n"
    defaults = AnnotationDefaults("kafka:9092")
    assert check({"all.yaml": text}, defaults) == check({"all.yaml": FILE}, defaults)
    wrong = text.replace('lag-threshold: "10"', "lag-threshold: many")
    (mistake,) = check({"all.yaml": wrong}, defaults).mistakes
    assert wrong.splitlines()[mistake.line - 1].strip() == "wakegate.dev/lag-threshold: many"


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0 where nothing is wrong; 2 and one line a mistake, or one JSON document."""
    file = tmp_path / "orders.yaml"
    file.write_text(FILE)
    assert cli.main(["validate", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "2 objects checked, 0 mistakes\n"
    file.write_text(FILE.replace("type: kafka", "type: kafak"))
    assert cli.main(["validate", str(file)]) == cli.BAD_INPUT
    assert capsys.readouterr().err.startswith(f"{file}:36: ScaledObject mails: spec.triggers[0].type is 'kafak'")
    assert cli.main(["validate", str(file), "--output", "json"]) == cli.BAD_INPUT
    (mistake,) = json.loads(capsys.readouterr().out)["mistakes"]
    assert (mistake["line"], mistake["value"], mistake["didYouMean"]) == (36, "kafak", "kafka")
    assert cli.main(["validate", str(tmp_path / "none.yaml")]) == cli.BAD_INPUT


def test_nothing_checked_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tree of folders is no mistake, and must not pass for one without mistakes."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "deployment.yaml").write_text(FILE)
    assert cli.main(["validate", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert said.out == "0 objects checked, 0 mistakes\n"
    assert (
        f"nothing was checked: no annotated Deployment or StatefulSet and no ScaledObject is in {tmp_path}" in said.err
    )
    assert cli.main(["validate", str(tmp_path / "base")]) == 0
    assert capsys.readouterr().err == ""
