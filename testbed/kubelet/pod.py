"""The life of one Pod: bind, run, restart, stop, remove."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testbed import leash
from testbed.kubelet import container as containers
from testbed.kubelet import images, probe, services, status, token, volumes
from testbed.kubelet.client import MERGE_PATCH, RefusedError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from testbed.kubelet.client import Client

log = logging.getLogger(__name__)

DEFAULT_GRACE_SECONDS = 30
REPOSITORY = Path(__file__).resolve().parents[2]
LEASH = str(Path(leash.__file__).resolve())
FINISHED = ("Succeeded", "Failed")


class PodWorker:
    """Runs one Pod (one uid) from the first sight of it until it is gone.

    The agent tells it what it sees through `observe` and `vanished`; everything else it does by itself.
    """

    def __init__(self, pod: dict[str, Any], client: Client, *, node: str, logs: Path) -> None:
        self._pod = pod
        self._client = client
        self._node = node
        metadata = pod["metadata"]
        self.name = f"{metadata['namespace']}/{metadata['name']}"
        self._path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        self._log_file = logs / f"{metadata['namespace']}_{metadata['name']}.log"
        self._deleting = asyncio.Event()
        self._vanished = False
        self._unsent: status.Status | None = None
        self._status_changed = asyncio.Event()
        self._restarts = _restart_count(pod)
        self.observe(pod)

    def observe(self, pod: dict[str, Any]) -> None:
        """Take in the Pod's newest state."""
        self._pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            self._deleting.set()

    def vanished(self) -> None:
        """The Pod is no longer in the API: it was deleted without grace."""
        self._vanished = True
        self._deleting.set()

    async def run(self) -> None:
        """Live the Pod's life; returns when nothing of it is left."""
        writer = asyncio.create_task(self._write_statuses())
        try:
            await self._live()
            if not self._vanished:
                await self._deleting.wait()
            if not self._vanished:
                await self._remove()
        except RefusedError as error:
            # 404: gone meanwhile; 409: another Pod has the name by now; 403: its namespace is being deleted.
            log.info("%s: %s", self.name, error)
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer

    async def _live(self) -> None:
        if not self._pod["spec"].get("nodeName"):
            await self._bind()
        if self._pod.get("status", {}).get("phase") in FINISHED:
            return
        image = self._pod["spec"]["containers"][0].get("image")
        if image == images.NEVER_READY:
            self._report(self._waiting("ImagePullBackOff", "this image never becomes ready"))
        elif image == images.PAUSE:
            self._report(status.running(self._pod, _now(), restarts=0))
        else:
            await self._run_container()

    async def _bind(self) -> None:
        metadata = self._pod["metadata"]
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": self._node},
        }
        try:
            await self._client.request("POST", f"{self._path}/binding", binding)
        except RefusedError as error:
            # The answer to an earlier try was lost with the connection: the Pod is bound, and to us alone.
            if "already assigned" not in str(error):
                raise

    async def _run_container(self) -> None:
        """Run the container's process until it has ended for good or the Pod is deleted."""
        while not self._deleting.is_set():
            try:
                process = await self._start_process()
            except (containers.CannotRunError, OSError) as error:
                self._report(self._waiting("CreateContainerConfigError", str(error)))
                return
            started = _now()
            if not await self._wait_probed(process, started):
                await self._terminate(process)
            code = status.exit_code_of(await process.wait())
            _kill_group(process)  # what the command may have left behind
            log.info("%s: its process ended with %d", self.name, code)
            if self._deleting.is_set() or not _restarts_after(self._pod, code):
                self._report(
                    status.terminated(self._pod, _now(), started=started, exit_code=code, restarts=self._restarts)
                )
                return
            pause = containers.back_off_seconds(self._restarts)
            self._restarts += 1
            self._report(self._waiting("CrashLoopBackOff", f"exit code {code}, restart in {pause:.0f} s"))
            await self._first_of(asyncio.sleep(pause))

    async def _wait_probed(self, process: asyncio.subprocess.Process, started: dt.datetime) -> bool:
        """Report that the container runs, and whether it is ready, until it ends or the Pod is deleted; it ended?"""
        container = self._pod["spec"]["containers"][0]
        url = probe.readiness_url(self._pod, container)

        def report(ready: bool) -> None:  # noqa: FBT001 - the probe's verdict is a boolean
            self._report(status.running(self._pod, _now(), restarts=self._restarts, ready=ready, started=started))

        report(url is None)
        if url is None:
            return await self._first_of(process.wait())
        probing = asyncio.create_task(probe.watch(url, container["readinessProbe"], report))
        try:
            return await self._first_of(process.wait())
        finally:
            probing.cancel()

    async def _start_process(self) -> asyncio.subprocess.Process:
        container = self._pod["spec"]["containers"][0]
        sources: containers.Sources = {}
        for kind, name in containers.referenced_sources(container):
            sources[kind, name] = await self._read_source(kind, name)
        environment = {**_base_environment(), **containers.environment_of(self._pod, container, sources)}
        words = containers.command_line(container, environment)
        folders = await self._mount(container)
        known = await services.addresses([*environment.values(), *words], self._client)

        def local(text: str) -> str:
            return services.resolved(volumes.relocated(text, folders), known)

        environment = {name: local(value) for name, value in environment.items()}
        command = images.local_command(container.get("image", ""), [local(word) for word in words])
        if token.wants_token(self._pod):
            kubeconfig = self._log_file.with_suffix(".kubeconfig")
            environment["KUBECONFIG"] = str(await token.write_kubeconfig(self._pod, self._client, kubeconfig))
        with self._log_file.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                LEASH,
                str(os.getpid()),
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=container.get("workingDir"),
                start_new_session=True,
            )

    async def _mount(self, container: Mapping[str, Any]) -> dict[str, Path]:
        folders: dict[str, Path] = {}
        for number, mount in enumerate(volumes.secret_mounts(self._pod, container)):
            folders[mount.path] = self._log_file.with_suffix(".volumes") / str(number)
            volumes.write(mount, await self._read_source("Secret", mount.secret), folders[mount.path])
        return folders

    async def _read_source(self, kind: str, name: str) -> dict[str, str] | None:
        namespace = self._pod["metadata"]["namespace"]
        try:
            manifest = await self._client.request("GET", f"/api/v1/namespaces/{namespace}/{kind.lower()}s/{name}")
        except RefusedError:
            return None
        return containers.decode_source(kind, manifest)

    async def _terminate(self, process: asyncio.subprocess.Process) -> None:
        """SIGTERM to the command (as the first process of a container gets it), SIGKILL to all after the grace."""
        if self._vanished:
            _kill_group(process)
            return
        grace = self._pod["metadata"].get("deletionGracePeriodSeconds", DEFAULT_GRACE_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), grace)
        except TimeoutError:
            log.info("%s: still there after %s s of grace, SIGKILL", self.name, grace)
            _kill_group(process)

    async def _remove(self) -> None:
        """Send the last status, then let the API server forget the Pod."""
        if self._unsent is not None:
            await self._send(self._unsent)
        uid = self._pod["metadata"]["uid"]
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
        await self._client.request("DELETE", self._path, options)

    async def _first_of(self, work: Coroutine[Any, Any, object]) -> bool:
        """Do some work until the Pod is deleted; says whether the work came to its end."""
        task = asyncio.ensure_future(work)
        deleted = asyncio.ensure_future(self._deleting.wait())
        try:
            await asyncio.wait((task, deleted), return_when=asyncio.FIRST_COMPLETED)
            return task.done()
        finally:
            task.cancel()
            deleted.cancel()

    def _waiting(self, reason: str, message: str) -> status.Status:
        return status.pending(self._pod, _now(), reason=reason, message=message, restarts=self._restarts)

    def _report(self, new: status.Status) -> None:
        """Have a status sent: apart from the Pod's life, because processes go on while the API server is away."""
        self._unsent = new
        self._status_changed.set()

    async def _write_statuses(self) -> None:
        while True:
            await self._status_changed.wait()
            self._status_changed.clear()
            sending = self._unsent
            if sending is None:
                continue
            try:
                await self._send(sending)
            except RefusedError as error:
                log.info("%s: status not taken: %s", self.name, error)
            if self._unsent is sending:
                self._unsent = None

    async def _send(self, new: status.Status) -> None:
        body = {"metadata": {"uid": self._pod["metadata"]["uid"]}, "status": new}
        await self._client.request("PATCH", f"{self._path}/status", body, content_type=MERGE_PATCH)


def _restart_count(pod: Mapping[str, Any]) -> int:
    """Restarts so far; one more where an earlier kubelet ran it, because its process ended with that kubelet."""
    statuses = pod.get("status", {}).get("containerStatuses") or []
    if not statuses:
        return 0
    return int(statuses[0].get("restartCount", 0)) + ("running" in statuses[0].get("state", {}))


def _restarts_after(pod: Mapping[str, Any], exit_code: int) -> bool:
    policy = pod["spec"].get("restartPolicy", "Always")
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def _base_environment() -> dict[str, str]:
    """What a process on this machine needs: our Python first on PATH, and the sample consumer importable."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {"PATH": path, "HOME": os.environ.get("HOME", "/"), "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}


def _kill_group(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
