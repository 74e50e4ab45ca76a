"""`wakegate local` as an application developer starts it: real annotations, a real consumer, clear mistakes."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

import pytest
import yaml

from activator.cli import local
from activator.local.broker.server import EmbeddedBroker
from activator.local.sample_producer import send
from activator.wiring import Clock
from tests.cli.test_demo import assert_gone, descendants, output, read_until, wakegate

FREE = ("--broker-port", "0", "--listen", "127.0.0.1:0", "--dashboard-listen", "127.0.0.1:0")


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """Return a folder with the YAML of the demo."""
    async with wakegate("demo", "--yaml") as process:
        _, manifest, _ = await output(process)
    (tmp_path / "pizza.yaml").write_text(manifest)
    return tmp_path


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `python` be the one that has what the sample consumer needs, as in an activated virtual environment."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


async def test_wakes_and_sleeps_and_follows_the_folder(folder: Path) -> None:
    """A record wakes the consumer; the folder's Kafka address is ours here; a removed file ends its processes."""
    async with wakegate("local", str(folder), *FREE) as process:
        told = await read_until(process, "pizza: stays at 0")
        servers = told.partition("embedded Kafka ")[2].split()[0]
        await send(servers, "pizzaOrders", 3)
        await read_until(process, "pizza: 0 -> 1")
        await read_until(process, "done pizzaOrders")
        await read_until(process, "pizza: 1 -> 0")
        (folder / "pizza.yaml").write_text("a: [")
        await read_until(process, "this is not YAML")
        started = descendants(process)
        process.send_signal(signal.SIGINT)
        code, out, errors = await output(process)
    assert (code, errors) == (0, "")
    assert "ending: replicas get SIGTERM" in out
    await assert_gone(started)


async def test_a_topic_that_the_embedded_kafka_refuses(folder: Path) -> None:
    """A name that collides with another topic's is a mistake of the folder, told with its file."""
    manifest = (folder / "pizza.yaml").read_text()
    for file, topic in (("a.yaml", "orders_new"), ("b.yaml", "orders.new")):
        text = manifest.replace("pizzaOrders", topic).replace("name: pizza", f"name: {file[0]}-pizza")
        (folder / file).write_text(text)
    async with wakegate("local", str(folder), *FREE) as process:
        code, _, errors = await output(process)
    assert code == 2
    assert "b.yaml:" in errors
    assert "the embedded Kafka cannot create topic orders.new" in errors


async def test_a_kafka_that_is_there_already(folder: Path) -> None:
    """With --bootstrap-servers no Kafka is started; annotation and env both lead to the one that is named."""
    async with EmbeddedBroker(now=Clock().now) as broker:
        broker.create_topic("pizzaOrders", 5)
        await send(broker.bootstrap_servers, "pizzaOrders", 1)
        flags = ("--bootstrap-servers", broker.bootstrap_servers, *FREE)
        async with wakegate("local", str(folder), *flags) as process:
            told = await read_until(process, "done pizzaOrders")
            process.send_signal(signal.SIGTERM)
            code, _, _ = await output(process)
    assert f"Kafka {broker.bootstrap_servers}" in told
    assert "embedded" not in told
    assert code == 0


SCALED_OBJECT = """
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: pizza}
spec:
  scaleTargetRef: {name: pizza}
  cooldownPeriod: 3
  pollingInterval: 1
  advanced: {horizontalPodAutoscalerConfig: {name: kafka-hpa}}
  triggers:
    - type: kafka
      authenticationRef: {name: kafka}
      metadata: {bootstrapServers: "kafka:9092", consumerGroup: pizza, topic: pizzaOrders, sasl: plaintext}
"""


async def test_a_scaled_object_wakes_and_sleeps(folder: Path) -> None:
    """As it is applied to a cluster; what means nothing here is said by name."""
    documents = list(yaml.safe_load_all((folder / "pizza.yaml").read_text()))
    for document in documents:
        document["metadata"].pop("annotations", None)
    (folder / "pizza.yaml").write_text(yaml.safe_dump_all(documents) + SCALED_OBJECT)
    async with wakegate("local", str(folder), *FREE) as process:
        told = await read_until(process, "authentication and TLS have no effect here")
        assert "horizontalPodAutoscalerConfig.name has no effect here" in told
        servers = told.partition("embedded Kafka ")[2].split()[0]
        await send(servers, "pizzaOrders", 3)
        await read_until(process, "pizza: 0 -> 1")
        await read_until(process, "done pizzaOrders")
        await read_until(process, "pizza: 1 -> 0")
        process.send_signal(signal.SIGINT)
        code, _, errors = await output(process)
    assert (code, errors) == (0, "")


async def test_a_folder_that_vanishes(folder: Path) -> None:
    """While it runs: one sentence, exit code 1, nothing left running."""
    async with wakegate("local", str(folder), *FREE) as process:
        await read_until(process, "pizza: stays at 0")
        started = descendants(process)
        shutil.rmtree(folder)
        code, _, errors = await output(process)
    assert (code, errors) == (1, f"wakegate local: {folder}: the folder has vanished; all replicas are ended\n")
    await assert_gone(started)


@pytest.mark.parametrize(
    ("row", "old", "new", "sentence"),
    [
        ("YAML that does not parse", "  replicas: 0", "  replicas: [0", "this is not YAML: "),
        (
            "a command that does not exist",
            '"python"',
            '"pythn-that-is-not-there"',
            "'pythn-that-is-not-there'; allowed",
        ),
        ("a typo", "wakegate.dev/topic", "wakegate.dev/topik", "wakegate.dev/topik: there is no such annotation; did"),
    ],
)
async def test_mistakes_in_the_folder(folder: Path, row: str, old: str, new: str, sentence: str) -> None:
    """A mistake at the beginning is exit code 2, and names the file, the line and what is allowed."""
    path = folder / "pizza.yaml"
    path.write_text(path.read_text().replace(old, new))
    async with wakegate("local", str(folder), *FREE) as process:
        code, out, errors = await output(process)
    assert (code, out) == (2, ""), row
    assert errors.startswith(f"wakegate local: {path}:"), row
    assert sentence in errors, row
    assert "Traceback" not in errors


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A folder that does not exist is exit code 2 in one sentence."""
    async with wakegate("local", str(tmp_path / "none"), *FREE) as process:
        code, _, errors = await output(process)
    assert (code, errors) == (2, f"wakegate local: {tmp_path}/none: there is no such folder\n")


@pytest.mark.parametrize("flag", ["--broker-port", "--listen", "--dashboard-listen"])
async def test_a_port_in_use(folder: Path, flag: str) -> None:
    """A port that is taken is exit code 1 in one sentence, with the flag that chooses another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        chosen = str(port) if flag == "--broker-port" else f"127.0.0.1:{port}"
        async with wakegate("local", str(folder), *FREE, flag, chosen) as process:
            code, _, errors = await output(process)
    assert code == 1
    told = f"wakegate local: 127.0.0.1:{port}: the port is in use; choose another with {flag}"
    assert errors.startswith(told)
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "variable", "expected"),
    [
        pytest.param([], None, ("127.0.0.1", 8080), id="not given"),
        pytest.param(["--listen", " "], "", ("127.0.0.1", 8080), id="blank"),
        pytest.param(["--listen", "0.0.0.0:8080"], None, ("0.0.0.0", 8080), id="flag"),  # noqa: S104 - asked for
        pytest.param([], ":8080", ("0.0.0.0", 8080), id="variable"),  # noqa: S104 - asked for
    ],
)
def test_listens_where_it_is_told(
    flags: list[str], variable: str | None, expected: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where that is what `wakegate run` does when it is told nothing; untold, on this computer alone."""
    monkeypatch.delenv("WAKEGATE_LISTEN", raising=False)
    if variable is not None:
        monkeypatch.setenv("WAKEGATE_LISTEN", variable)
    parser = argparse.ArgumentParser()
    local.configure(parser)
    assert local.read_settings(parser.parse_args(["folder", *flags])).listen == expected


async def test_help_has_an_example() -> None:
    """`--help` shows how it is used, without importing Kafka."""
    async with wakegate("local", "--help") as process:
        code, out, _ = await output(process)
    assert code == 0
    assert "wakegate local k8s/" in out
    await asyncio.sleep(0)
