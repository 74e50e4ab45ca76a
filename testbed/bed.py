"""Everything together: one folder, one context manager."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from testbed import builds
from testbed.control_plane import ControlPlane
from testbed.control_plane_flags import CONTROLLERS, HpaFlags
from testbed.errors import ApiError, TestbedError
from testbed.jaeger import Jaeger
from testbed.kafka import KafkaCluster
from testbed.ports import ReservedPorts
from testbed.processes import ManagedProcess

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from testbed.api import ApiClient
    from testbed.builds import Part
    from testbed.kafka_config import Listener

REPOSITORY = Path(__file__).resolve().parents[1]
NODE_NAME = "testbed-node"
KUBELET_READY_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class TestbedOptions:
    """What to start.

    Attributes:
        kafka_nodes: 0 (none), 1 or 3.
        kafka_properties: added to each node's server.properties.
        kafka_listeners: secured listeners beside PLAINTEXT.
        control_plane: whether to start etcd, the API server and the controllers.
        hpa: the HPA controller's times and pace.
        controllers: which controllers run.
        jaeger: whether to start Jaeger.
        kubelet: whether Pods run, as local processes.
        run_directory: where configuration, data and logs go; default a new temporary folder.
        keep: leave the temporary folder behind, for a look at the logs.
    """

    __test__ = False

    kafka_nodes: int = 1
    kafka_properties: Mapping[str, str] = field(default_factory=dict)
    kafka_listeners: Sequence[Listener] = ()
    control_plane: bool = True
    hpa: HpaFlags = field(default_factory=HpaFlags)
    controllers: Sequence[str] = CONTROLLERS
    jaeger: bool = True
    kubelet: bool = True
    run_directory: Path | None = None
    keep: bool = False


class Testbed:
    """The real parts, started at the same time and stopped together, however the owner ends.

    Parts that the options leave out have no attribute.
    """

    __test__ = False

    kafka: KafkaCluster
    control_plane: ControlPlane
    jaeger: Jaeger
    kubelet: ManagedProcess

    def __init__(self, options: TestbedOptions | None = None) -> None:
        self.options = options or TestbedOptions()
        if self.options.kubelet and not self.options.control_plane:
            raise TestbedError("a kubelet needs a control plane: set kubelet=False or control_plane=True")
        self.run_directory = self.options.run_directory or Path(tempfile.mkdtemp(prefix="wakegate-testbed-"))
        self.seconds_to_start: dict[str, float] = {}
        self._exits = contextlib.ExitStack()

    @property
    def env(self) -> dict[str, str]:
        """Environment variables that point the product at these parts."""
        found = {}
        if self.options.control_plane:
            found["KUBECONFIG"] = str(self.control_plane.kubeconfig)
        if self.options.kafka_nodes:
            found["WAKEGATE_BOOTSTRAP_SERVERS"] = self.kafka.bootstrap_servers
        if self.options.jaeger:
            found["OTEL_EXPORTER_OTLP_ENDPOINT"] = self.jaeger.otlp_endpoint
        return found

    def start(self) -> Self:
        """Start all parts and wait until each answers.

        Raises:
            TestbedError: a part could not be had or did not come up; those that did are stopped again.
        """
        # One after the other and before anything runs: two builds at once would only slow each other down.
        for part in parts_needed(self.options):
            builds.ensure(part)
        begin = time.monotonic()
        try:
            self._start_parts()
        except BaseException:
            self.stop()
            raise
        self.seconds_to_start["all"] = time.monotonic() - begin
        return self

    def stop(self) -> None:
        """Stop everything and remove the run folder if it was a temporary one."""
        self._exits.close()
        if self.options.run_directory is None and not self.options.keep:
            shutil.rmtree(self.run_directory, ignore_errors=True)

    def process(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        grace_seconds: float = 10.0,
    ) -> ManagedProcess:
        """Describe one more process, such as the product itself: not started yet, stopped before the parts are.

        Its log is `NAME.log` in the run folder.
        """
        log = self.run_directory / f"{name}.log"
        process = ManagedProcess(name, command, log=log, env=env, cwd=cwd, grace_seconds=grace_seconds)
        self._exits.callback(process.stop)
        return process

    def processes(self) -> list[ManagedProcess]:
        """Every process of the parts, after the start."""
        found: list[ManagedProcess] = []
        if self.options.kafka_nodes:
            found += [self.kafka.node(number + 1) for number in range(self.options.kafka_nodes)]
        if self.options.control_plane:
            plane = self.control_plane
            found += [plane.etcd, plane.api_server, plane.controller_manager]
        if self.options.jaeger:
            found.append(self.jaeger.process)
        if self.options.kubelet:
            found.append(self.kubelet)
        return found

    def reserve_ports(self, count: int) -> list[int]:
        """Loopback ports that nobody else gets while this testbed lives."""
        return self._exits.enter_context(ReservedPorts(count)).ports

    def pod_log(self, namespace: str, name: str) -> str:
        """What a Pod has written to stdout and stderr, over its restarts."""
        path = self.run_directory / "kubelet" / "pods" / f"{namespace}_{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_parts(self) -> None:
        parts: dict[str, KafkaCluster | ControlPlane | Jaeger] = {}
        if self.options.jaeger:
            self.jaeger = parts["jaeger"] = Jaeger(self.run_directory / "jaeger")
        if self.options.kafka_nodes:
            self.kafka = parts["kafka"] = KafkaCluster(
                self.run_directory / "kafka",
                nodes=self.options.kafka_nodes,
                properties=self.options.kafka_properties,
                listeners=self.options.kafka_listeners,
            )
        if self.options.control_plane:
            self.control_plane = parts["control plane"] = ControlPlane(
                self.run_directory / "control-plane", hpa=self.options.hpa, controllers=self.options.controllers
            )
        for part in parts.values():
            # Nothing they hold is wanted any more: an orderly end would only cost each test run some seconds.
            self._exits.callback(part.stop)
            self._exits.callback(part.kill)
        with ThreadPoolExecutor(max_workers=max(1, len(parts))) as pool:
            starts = [pool.submit(self._start_part, name, part) for name, part in parts.items()]
        for start in starts:
            start.result()
        if self.options.kubelet:
            self._start_kubelet()

    def _start_part(self, name: str, part: KafkaCluster | ControlPlane | Jaeger) -> None:
        begin = time.monotonic()
        part.start()
        self.seconds_to_start[name] = time.monotonic() - begin

    def _start_kubelet(self) -> None:
        folder = self.run_directory / "kubelet"
        kubeconfig = self.control_plane.kubeconfig_for_user("kubelet")
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "testbed.kubelet",
            "--kubeconfig",
            kubeconfig,
            "--logs",
            folder / "pods",
        ]
        command += ["--node", NODE_NAME]
        self.kubelet = ManagedProcess(
            "the test kubelet",
            command,
            log=folder / "kubelet.log",
            env={"PYTHONPATH": str(REPOSITORY)},
        )
        self._exits.callback(self.kubelet.stop)
        self.kubelet.start()
        self.kubelet.wait_ready(lambda: _has_node(self.control_plane.api), within_seconds=KUBELET_READY_SECONDS)


def parts_needed(options: TestbedOptions) -> list[Part]:
    """What must have been built for these options."""
    wanted = (
        (options.kafka_nodes > 0, builds.KAFKA),
        (options.jaeger, builds.JAEGER),
        (options.control_plane, builds.CONTROL_PLANE),
    )
    return [part for is_wanted, part in wanted if is_wanted]


def _has_node(api: ApiClient) -> bool:
    try:
        api.get(f"/api/v1/nodes/{NODE_NAME}")
    except (ApiError, OSError):
        return False
    return True
