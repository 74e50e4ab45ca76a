"""List and watch all Pods, and keep one worker for each that is ours or nobody's."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from typing import TYPE_CHECKING, Any

import aiohttp

from testbed.kubelet import status
from testbed.kubelet.client import RefusedError
from testbed.kubelet.pod import PodWorker

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.kubelet.client import Client

log = logging.getLogger(__name__)

PODS = "/api/v1/pods"
RETRY_SECONDS = 0.5
END_SECONDS = 2.0
CONFLICT = 409


class Agent:
    """The kubelet's loop.

    Args:
        client: a started client with all rights.
        node: name of the node to register.
        logs: folder for one log file a Pod.
    """

    def __init__(self, client: Client, *, node: str, logs: Path) -> None:
        self._client = client
        self._node = node
        self._logs = logs
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Work until cancelled; then every process is ended, without touching the Pods in the API."""
        try:
            await self._register_node()
            while True:
                await self._list_and_watch()
        finally:
            await self._end_workers()

    async def _register_node(self) -> None:
        node = status.node(self._node, dt.datetime.now(dt.UTC))
        try:
            await self._client.request("POST", "/api/v1/nodes", node)
        except RefusedError as error:
            if error.status != CONFLICT:  # registered before: this is a restart
                raise
        log.info("node %s is registered", self._node)

    async def _list_and_watch(self) -> None:
        """One list and the watch after it. A new list at each break costs little here and cannot miss a deletion."""
        listing = await self._client.request("GET", PODS)
        pods = {pod["metadata"]["uid"]: pod for pod in listing.get("items") or []}
        for uid in self._workers.keys() - pods.keys():
            self._workers[uid].vanished()
        for pod in pods.values():
            self._see(pod)
        try:
            async for kind, pod in self._client.watch(PODS, listing["metadata"]["resourceVersion"]):
                if kind == "ERROR":
                    log.info("watch ended: %s", pod.get("message"))
                    return
                if kind == "DELETED":
                    self._forget(pod)
                else:
                    self._see(pod)
        except (aiohttp.ClientError, TimeoutError) as error:
            log.warning("watch broke: %r", error)
            await asyncio.sleep(RETRY_SECONDS)

    def _see(self, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        if worker := self._workers.get(uid):
            worker.observe(pod)
            return
        if pod["spec"].get("nodeName", self._node) != self._node:
            return
        worker = PodWorker(pod, self._client, node=self._node, logs=self._logs)
        self._workers[uid] = worker
        self._tasks[uid] = asyncio.create_task(self._run_worker(uid, worker), name=worker.name)

    def _forget(self, pod: dict[str, Any]) -> None:
        if worker := self._workers.get(pod["metadata"]["uid"]):
            worker.vanished()

    async def _run_worker(self, uid: str, worker: PodWorker) -> None:
        """Let a worker live; whatever happens to it, the others go on."""
        try:
            await worker.run()
        except Exception:
            log.exception("%s: worker failed", worker.name)
        finally:
            self._workers.pop(uid, None)
            self._tasks.pop(uid, None)

    async def _end_workers(self) -> None:
        tasks = list(self._tasks.values())
        for worker in list(self._workers.values()):
            worker.vanished()
        if tasks:
            # One that waits for an API server that is away is left behind: its process ends with this one.
            await asyncio.wait(tasks, timeout=END_SECONDS)
