"""A server that speaks MongoDB's wire protocol, for what writes into one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from testbed import builds
from testbed.kafka import java_command
from testbed.ports import LOOPBACK, ReservedPorts
from testbed.processes import ManagedProcess

if TYPE_CHECKING:
    from pathlib import Path

READY_SECONDS = 60.0
HEAP_MEGABYTES = 128
ANSWER_MILLISECONDS = 2000


class Mongo:
    """mongo-java-server with its data in memory.

    Args:
        run_directory: where its log goes.
    """

    def __init__(self, run_directory: Path) -> None:
        self._reserved = ReservedPorts(1)
        self._log = run_directory / "mongo.log"
        self.process: ManagedProcess | None = None
        self.client: MongoClient[dict[str, Any]] = MongoClient(
            LOOPBACK, self._reserved.ports[0], serverSelectionTimeoutMS=ANSWER_MILLISECONDS
        )

    @property
    def uri(self) -> str:
        """Its address, as drivers take it."""
        return f"mongodb://{LOOPBACK}:{self._reserved.ports[0]}"

    def start(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            MissingToolError, BuildFailedError: it could not be had.
            PartFailedError: it did not come up; carries the end of its log.
        """
        jars = builds.ensure(builds.MONGO) / "lib"
        command = java_command(f"{jars}:{jars}/*", heap_megabytes=HEAP_MEGABYTES)
        self.process = ManagedProcess("MongoDB", [*command, "MongoServer", str(self._reserved.ports[0])], log=self._log)
        self.process.start()
        try:
            self.process.wait_ready(self._answers, within_seconds=READY_SECONDS)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop it and free its port."""
        self.client.close()
        if self.process is not None:
            self.process.kill()
        self._reserved.close()

    def _answers(self) -> bool:
        try:
            self.client.admin.command("ping")
        except PyMongoError:
            return False
        return True

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
