"""Seeded faults of a real installation: `wakegate doctor` names each, with the fix, and nothing else.

A case spoils one thing (`installation_faults.py`), waits until the doctor names it, mends it, and the next case begins
when the doctor finds nothing wrong any more.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from activator.doctor.checks import CHECKS, CHECKS_BEFORE, problems
from testbed.bed import REPOSITORY, Testbed, TestbedOptions
from testbed.control_plane_flags import HpaFlags
from testbed.install import NAMESPACE, Installation
from testbed.stage import Stage, until
from tests.e2e.installation_faults import FAULTS
from tests.e2e.installation_ground import ACLS, APISERVICE, Ground

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from activator.doctor.checks import Result

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    """The overlay for Kubernetes on a Kafka with ACLs, and a consumer that has consumed and sleeps."""
    options = TestbedOptions(
        jaeger=False, kafka_properties=ACLS, hpa=HpaFlags(sync_period="2s", downscale_stabilization="5s")
    )
    with Testbed(options) as bed, pytest.MonkeyPatch.context() as environment:
        environment.setenv("KUBECONFIG", str(bed.control_plane.kubeconfig))
        installation = Installation(bed)
        installation.apply()
        until("both Pods are ready", lambda: len(installation.ready_pods()) == 2, 90)
        installation.route_metrics_api()
        until("the metrics API is available", installation.metrics_api_is_available, 60)
        stage = Stage.on(bed)
        consumer = stage.consumer(cooldown_period="6", polling_interval="5")
        stage.produce(consumer)
        until("it has consumed", lambda: consumer.consumed() == 1, 60)
        until("it sleeps", lambda: consumer.replicas() == 0, 90)
        made = Ground(installation, stage, consumer, closed_port=bed.reserve_ports(1)[0])
        until("nothing is wrong", lambda: not made.named(), 30)
        yield made


@pytest.mark.parametrize(("spoil", "check", "fix"), FAULTS, ids=lambda value: getattr(value, "__name__", None))
def test_each_fault_is_named_and_nothing_else(
    ground: Ground, spoil: Callable[[Ground], None], check: str, fix: str
) -> None:
    """The one check that is about it says so, with the fix; once it is mended nothing is wrong."""
    found: list[str] = []

    def named() -> tuple[Result, ...]:
        told = problems(ground.results())
        found[:] = [result.check.id for result in told]
        return told if found == [check] else ()

    try:
        spoil(ground)
        try:
            (told,) = until(f"{check} is named alone", named, 45)
        except AssertionError:
            pytest.fail(f"expected {check} alone, the doctor named {found}")
        assert fix in told.verdict.fix
    finally:
        ground.mend()
    until("nothing is wrong any more", lambda: not ground.named(), 60)


def test_a_metrics_api_of_another_is_no_fault(ground: Ground) -> None:
    """Where the APIService is KEDA's, nothing is wrong: the doctor says what was chosen, and why; the HPA is gone."""

    def chosen() -> str:
        results = ground.results()
        (owner,) = [result.verdict.text for result in results if result.check.id == "metrics-api-owner"]
        return owner if "keda" in owner and not problems(results) else ""

    try:
        ground.patches(APISERVICE, {"spec": {"service": {"namespace": "keda", "name": "keda-metrics-apiserver"}}})
        told = until("the doctor says whose it is", chosen, 45)
        assert told == (
            "external.metrics.k8s.io belongs to Service keda/keda-metrics-apiserver, which is left alone: "
            "wakegate itself moves 1..N"
        )
        until("wakegate moves it itself", lambda: not ground.stage.hpas(), 60)
    finally:
        ground.mend()
    until("nothing is wrong any more", lambda: not ground.named(), 60)
    # The owner of the API is looked at every ten seconds: what comes next is told of an HPA.
    until("it has its HPA again", ground.stage.hpas, 60)


def wakegate(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run a verb as a person does; return exit code, stdout and stderr."""
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "activator", *arguments],
        env={"PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_as_a_person_asks(ground: Ground) -> None:
    """Well: exit code 0, nothing with -o short, success in JSON; without colours, and without a word on stderr."""
    kubeconfig = str(ground.stage.bed.control_plane.kubeconfig)
    code, out, errors = wakegate("doctor", KUBECONFIG=kubeconfig)
    assert (code, errors) == (0, "")
    assert out.endswith(f"all is well ({len(CHECKS)} ok)\n")
    assert "\x1b" not in out
    assert wakegate("doctor", "-o", "short", KUBECONFIG=kubeconfig) == (0, "", "")
    document = json.loads(wakegate("doctor", "-o", "json", KUBECONFIG=kubeconfig)[1])
    assert document["success"] is True


def test_before_an_installation(ground: Ground) -> None:
    """With --pre the installer's rights, the owner of the metrics API and Kafka are looked at."""
    kubeconfig = str(ground.stage.bed.control_plane.kubeconfig)
    servers = ground.stage.bed.kafka.bootstrap_servers
    code, out, _ = wakegate("doctor", "--pre", "--bootstrap-servers", servers, KUBECONFIG=kubeconfig)
    assert (code, f"({len(CHECKS_BEFORE)} ok)" in out) == (0, True), out


def test_an_api_server_that_is_away(ground: Ground) -> None:
    """It is the only failure, the exit code is 1, and nothing else is pretended to be known."""
    kubeconfig = yaml.safe_load(ground.stage.bed.control_plane.kubeconfig.read_text())
    kubeconfig["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{ground.closed_port}"
    path = ground.stage.bed.run_directory / "nowhere.yaml"
    path.write_text(yaml.safe_dump(kubeconfig))
    code, out, _ = wakegate("doctor", "-o", "json", KUBECONFIG=str(path))
    checks = [check for category in json.loads(out)["categories"] for check in category["checks"]]
    assert code == 1
    assert [check["id"] for check in checks if check["result"] == "fail"] == ["api-server"]
    assert [check["id"] for check in checks if check["result"] == "ok"] == []


def test_in_a_pod_it_looks_as_the_account_itself(ground: Ground) -> None:
    """With the Pod's own token and settings nothing is wrong; what it may not read is skipped, and nothing else is."""
    pod = ground.installation.ready_pods()[0]["metadata"]["name"]
    token = ground.installation.kubectl("-n", NAMESPACE, "create", "token", "wakegate").strip()
    kubeconfig = yaml.safe_load(ground.stage.bed.control_plane.kubeconfig.read_text())
    kubeconfig["users"][0]["user"] = {"token": token}
    path = ground.stage.bed.run_directory / "as-the-account.yaml"
    path.write_text(yaml.safe_dump(kubeconfig))
    environment = {
        "POD_NAME": pod,
        "POD_NAMESPACE": NAMESPACE,
        "WAKEGATE_LEASE": f"{NAMESPACE}/wakegate",
        "WAKEGATE_METRICS_API_SERVICE": f"{NAMESPACE}/wakegate-metrics",
    }
    code, out, _ = wakegate("doctor", "-o", "json", KUBECONFIG=str(path), **environment)
    checks = [check for category in json.loads(out)["categories"] for check in category["checks"]]
    assert code == 0
    assert [check["id"] for check in checks if check["result"] == "skipped"] == ["crd"]
    workload = f"{ground.stage.namespace}/orders"
    code, out, errors = wakegate("explain", workload, "-o", "json", KUBECONFIG=str(path), **environment)
    assert code == 0, errors  # it may list workloads, and get none by name
    assert json.loads(out)["target"]["name"] == "orders"


def test_status_and_explain(ground: Ground) -> None:
    """Status is well and counts the sleeper; explain tells of its sleep, by workload and by HPA."""
    kubeconfig = str(ground.stage.bed.control_plane.kubeconfig)
    code, out, errors = wakegate("status", "--wait", "30", "-o", "json", KUBECONFIG=kubeconfig)
    status = json.loads(out)
    assert (code, errors) == (0, "")
    assert (status["success"], status["workloads"]["phases"]["Asleep"]) == (True, 1)
    assert {part["result"] for part in status["components"]} == {"ok"}
    namespace = ground.stage.namespace
    for name in ("orders", "wakegate-deployment-orders"):
        code, out, errors = wakegate("explain", f"{namespace}/{name}", "-o", "json", KUBECONFIG=kubeconfig)
        told = json.loads(out)
        assert (code, errors) == (0, "")
        assert (told["target"]["name"], told["phase"], told["replicas"]) == ("orders", "Asleep", 0)
        assert "sleeps at 0" in told["patchEvent"]
        assert len(told["changeTraceId"]) == 32
        assert told["hpa"]["max"] == 5
    code, out, errors = wakegate("explain", f"{namespace}/ordres", KUBECONFIG=kubeconfig)
    assert (code, out) == (1, "")
    assert "did you mean orders?" in errors
