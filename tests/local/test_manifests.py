"""YAML as people write it -> what local mode runs of it; each mistake in one sentence with file and line."""

from __future__ import annotations

import textwrap
from datetime import timedelta

import pytest

from activator.core.model import TargetRef
from activator.errors import SpecError
from activator.local.manifests import ContainerSpec, EnvironmentVariable, expand, read, with_bootstrap_servers

WORKLOAD = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: pizza
  namespace: shop
  annotations:
    wakegate.dev/topic: orders
    wakegate.dev/consumer-group: pizza
    wakegate.dev/bootstrap-servers: kafka:9092
    other.dev/thing: left alone
spec:
  replicas: 2
  template:
    spec:
      terminationGracePeriodSeconds: 5
      containers:
        - name: consumer
          command: [python, -m]
          args: [consumer, "--broker=$(KAFKA)"]
          env:
            - {name: KAFKA, value: "kafka:9092"}
            - name: POD
              valueFrom: {fieldRef: {fieldPath: metadata.name}}
"""


def test_a_deployment() -> None:
    """Coordinates, our annotations with their lines, count, command with args, env, grace and place."""
    (spec,) = read(WORKLOAD, "k8s/pizza.yaml").workloads
    assert spec.ref == TargetRef("shop", "Deployment", "pizza")
    assert dict(spec.annotations) == {
        "wakegate.dev/topic": "orders",
        "wakegate.dev/consumer-group": "pizza",
        "wakegate.dev/bootstrap-servers": "kafka:9092",
    }
    assert spec.lines["wakegate.dev/consumer-group"] == 9
    assert (spec.replicas, spec.grace, spec.place) == (2, timedelta(seconds=5), "k8s/pizza.yaml:2")
    assert spec.container.command == ("python", "-m", "consumer", "--broker=$(KAFKA)")
    assert spec.container.environment[1] == EnvironmentVariable("POD", field="metadata.name")


def test_many_documents_of_many_kinds() -> None:
    """Other kinds are passed over, workloads without our annotations too, and a KafkaTopic says its partitions."""
    text = (
        "kind: Service\nmetadata: {name: web}\n---\n"
        "kind: StatefulSet\nmetadata: {name: db}\n---\n---\n"
        "kind: KafkaTopic\nmetadata: {name: orders}\nspec: {topicName: pizzaOrders, partitions: 7}\n---\n"
    )
    said = read(text + WORKLOAD, "all.yaml")
    assert [spec.ref.name for spec in said.workloads] == ["pizza"]
    assert said.passed_over == ("StatefulSet db",)
    assert [(topic.name, topic.partitions) for topic in said.topics] == [("pizzaOrders", 7)]


def test_defaults() -> None:
    """Without namespace, replicas and grace period: Kubernetes' own."""
    text = WORKLOAD.replace("  namespace: shop\n", "").replace("  replicas: 2\n", "")
    (spec,) = read(text.replace("      terminationGracePeriodSeconds: 5\n", ""), "f").workloads
    assert (spec.ref.namespace, spec.replicas, spec.grace) == ("default", 1, timedelta(seconds=30))


def test_the_default_container_is_run() -> None:
    """Of several containers the one that kubectl would take is run."""
    text = WORKLOAD.replace(
        "  template:\n    spec:\n",
        "  template:\n    metadata: {annotations: {kubectl.kubernetes.io/default-container: worker}}\n    spec:\n",
    ).replace(
        "      containers:\n", "      containers:\n        - {name: sidecar}\n", 1
    ).replace("name: consumer\n", "name: worker\n")  # fmt: skip
    (spec,) = read(text, "f").workloads
    assert spec.container.name == "worker"


CONTAINER = "f.yaml:2: Deployment pizza: spec.template.spec.containers[0]"
MISTAKES = (
    ("not YAML", "  replicas: 2", "  replicas: [2", "f.yaml:14: this is not YAML: "),
    ("a tab", "  replicas: 2", "\treplicas: 2", "f.yaml:13: this is not YAML: found character '\\t'"),
    ("no name", "  name: pizza\n", "", "f.yaml:2: metadata.name: it is required"),
    ("no template", "  template:", "  other:", "f.yaml:2: Deployment pizza: spec.template: a mapping"),
    (
        "a count in words",
        "replicas: 2",
        "replicas: two",
        "f.yaml:2: Deployment pizza: spec.replicas is 'two'; allowed: a whole number, at least 0",
    ),
    (
        "no command",
        "command: [python, -m]",
        "image: pizza:1",
        f"{CONTAINER}.command: it is required here: local mode starts processes, not images",
    ),
    (
        "a command as text",
        "command: [python, -m]",
        "command: python",
        f"{CONTAINER}.command is 'python'; allowed: a list of strings",
    ),
    (
        "a number as an annotation",
        "topic: orders",
        "topic: 7",
        "f.yaml:2: Deployment pizza: metadata.annotations[wakegate.dev/topic] is '7'; allowed: a string: write",
    ),
    (
        "a Secret",
        "fieldRef: {fieldPath: metadata.name}",
        "secretKeyRef: {name: s, key: k}",
        f"{CONTAINER}.env[1].valueFrom is 'secretKeyRef'; allowed: fieldRef in local mode; write the value itself",
    ),
    (
        "a field that is not there",
        "metadata.name}",
        "spec.nodename}",
        f"{CONTAINER}.env[1].valueFrom.fieldRef.fieldPath is 'spec.nodename'; allowed: metadata.name",
    ),
    (
        "a number as a value",
        'value: "kafka:9092"',
        "value: 9092",
        f"{CONTAINER}.env[0].value is '9092'; allowed: a string",
    ),
    (
        "zero as a value",
        'value: "kafka:9092"',
        "value: 0",
        f"{CONTAINER}.env[0].value is '0'; allowed: a string: write \"0\" in quotes",
    ),
    (
        "no as a value",
        'value: "kafka:9092"',
        "value: false",
        f"{CONTAINER}.env[0].value is 'false'; allowed: a string: write \"false\" in quotes",
    ),
    (
        "a number as a directory",
        "[python, -m]",
        "[python, -m]\n          workingDir: 5",
        f"{CONTAINER}.workingDir is '5'; allowed: a string",
    ),
    (
        "a Pod's metadata as text",
        "  template:\n",
        "  template:\n    metadata: abc\n",
        "f.yaml:2: Deployment pizza: spec.template.metadata is 'abc'; allowed: a mapping",
    ),
)


@pytest.mark.parametrize(("row", "old", "new", "sentence"), MISTAKES)
def test_mistakes(row: str, old: str, new: str, sentence: str) -> None:
    """A mistake is one sentence that begins with file and line."""
    text = WORKLOAD.replace(old, new, 1)
    assert text != WORKLOAD, row
    with pytest.raises(SpecError) as caught:
        read(text, "f.yaml")
    assert str(caught.value).startswith(sentence), row


@pytest.mark.parametrize(
    ("row", "value", "expected"),
    [
        ("a reference", "$(HOST):9092", "kafka:9092"),
        ("one that is not there stays", "$(NOWHERE)/x", "$(NOWHERE)/x"),
        ("one that stands after it stays", "$(LATER)", "$(LATER)"),
        ("an escaped one stays, without the escape", "$$(HOST)", "$(HOST)"),
        ("a dollar sign for the shell", "echo $HOME", "echo $HOME"),
    ],
)
def test_references_in_env(row: str, value: str, expected: str) -> None:
    """Values refer to what stands before them, as in Kubernetes."""
    container = ContainerSpec(
        "c",
        ("run", "$(LATER)"),
        (
            EnvironmentVariable("HOST", "kafka"),
            EnvironmentVariable("V", value),
            EnvironmentVariable("LATER", field="metadata.name"),
        ),
    )
    command, environment = expand(container, {"metadata.name": "pizza-0"})
    assert environment["V"] == expected, row
    assert command == ("run", "pizza-0")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "kind: Deployment\nmetadata: {name: a, annotations: 5}",
            "f.yaml:1: Deployment a: metadata.annotations is '5'",
        ),
        (
            (
                "kind: Deployment\nmetadata: {name: a, annotations: {wakegate.dev/topic: t}}\n"
                "spec:\n  template:\n    metadata: {annotations: {kubectl.kubernetes.io/default-container: c}}\n"
                "    spec: {containers: [x]}"
            ),
            "f.yaml:1: Deployment a: spec.template.spec.containers[0] is 'x'",
        ),
        ("a: 1\nb: \x1b", "f.yaml:2: this is not YAML: the character '\\x1b' is not allowed"),
        ("a: 1\nb: \0", "f.yaml:2: this is not YAML: the character '\\x00' is not allowed"),
    ],
)
def test_a_file_that_is_wrong_in_its_form(text: str, said: str) -> None:
    """What is no mapping, or no YAML at all, is told with its file and line."""
    with pytest.raises(SpecError) as caught:
        read(text, "f.yaml")
    assert str(caught.value).startswith(said)


def test_another_kafka() -> None:
    """Taken to another Kafka, the annotation and every equal value of env follow, and nothing else."""
    (spec,) = read(WORKLOAD, "f").workloads
    moved = with_bootstrap_servers(spec, "127.0.0.1:9092")
    assert moved.annotations["wakegate.dev/bootstrap-servers"] == "127.0.0.1:9092"
    assert [variable.value for variable in moved.container.environment] == ["127.0.0.1:9092", ""]
    assert moved.container.environment[1].field == "metadata.name"
    assert moved.container.command == spec.container.command


def test_json_is_yaml() -> None:
    """A file of JSON, as `kubectl get -o json` writes it, is read as well."""
    text = textwrap.dedent(
        """{"kind": "Deployment", "metadata": {"name": "a", "annotations": {"wakegate.dev/topic": "t"}},
        "spec": {"template": {"spec": {"containers": [{"command": ["true"]}]}}}}"""
    )
    assert read(text, "f.json").workloads[0].container.command == ("true",)
