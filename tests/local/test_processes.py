"""Replicas as real processes: begun, ended with all that they started, begun again, and never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

import psutil
import pytest

from activator.core.model import TargetRef
from activator.errors import ConflictError, NotFoundError, SpecError
from activator.local import process
from activator.local.manifests import ContainerSpec, EnvironmentVariable, WorkloadSpec
from activator.local.process import Reaper
from activator.local.processes import LocalReplicas

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

SECONDS = 20.0
PIZZA = TargetRef("shop", "Deployment", "pizza")
# `$$` is one dollar sign in a manifest, as in Kubernetes.
# Who has told its number is ready for its end: what is to happen at SIGTERM is said before.
WAITS = 'trap "echo $POD bye; exit 0" TERM; echo "$POD pid $$$$"; while :; do sleep 0.02; done'
STUBBORN = 'trap "" TERM; sleep 60 & echo "$POD pid $! $$$$"; wait'


def workload(script: str, *, replicas: int = 1, kind: str = "Deployment", grace: float = 10) -> WorkloadSpec:
    """A workload that runs a shell script, with its replica's name in POD."""
    return WorkloadSpec(
        ref=replace(PIZZA, kind=kind),
        annotations=MappingProxyType({}),
        replicas=replicas,
        container=ContainerSpec("c", ("sh", "-c", script), (EnvironmentVariable("POD", field="metadata.name"),)),
        grace=timedelta(seconds=grace),
        place="f.yaml:1",
        lines=MappingProxyType({}),
    )


async def eventually(holds: Callable[[], bool], news: asyncio.Event | None = None) -> None:
    """Wait until something holds, looking at each piece of news, and now and then for what gives none."""
    news = news or asyncio.Event()
    async with asyncio.timeout(SECONDS):
        while not holds():
            news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), 0.05)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that only waits for init to take note of its end does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass
class Watch:
    """Local replicas at work, and what they have told."""

    replicas: LocalReplicas
    lines: list[str]
    said: list[str]
    news: asyncio.Event
    runs: list[asyncio.Task[None]] = field(default_factory=list)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds."""
        await eventually(holds, self.news)

    def pids(self) -> list[int]:
        """Every process that has told its number."""
        return [int(word) for line in self.lines for word in line.partition(" pid ")[2].split()]

    async def set(self, count: int, ref: TargetRef = PIZZA) -> None:
        """Set the count as the loop does."""
        await self.replicas.set(ref, count, await self.replicas.get(ref))

    def ready(self, ref: TargetRef = PIZZA) -> int:
        """Ready replicas."""
        found = self.replicas.workload(ref)
        return found.ready_replicas if found else 0

    async def end(self) -> None:
        """End all."""
        for run in self.runs:
            run.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await run


@pytest.fixture
async def watch(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watch]:
    """Yield replicas that are run; none may be left afterwards."""
    monkeypatch.setattr(process, "READY_AFTER_SECONDS", 0.05)
    monkeypatch.setattr(process, "FIRST_RESTART_SECONDS", 0.05)
    lines: list[str] = []
    said: list[str] = []
    news = asyncio.Event()

    def note(into: list[str], text: str) -> None:
        into.append(text)
        news.set()

    reaper = Reaper()
    replicas = LocalReplicas(
        reaper, os.environ, output=lambda _, line: note(lines, line), say=lambda text: note(said, text)
    )
    replicas.changed = lambda _ref: news.set()
    await reaper.start()
    watched = Watch(replicas, lines, said, news)
    watched.runs.append(asyncio.create_task(replicas.run()))
    yield watched
    await watched.end()
    await reaper.close()
    # SIGKILL is sent, not done, when kill() returns: what a process of ours has started ends a moment later.
    await eventually(lambda: not any(is_alive(pid) for pid in watched.pids()))


async def test_begins_as_many_as_asked_for_with_names_of_their_own(watch: Watch) -> None:
    """Each replica is a process with its own name, ready once it has run for a moment."""
    watch.replicas.apply(workload(WAITS, replicas=2))
    await watch.until(lambda: watch.ready() == 2 == len(watch.pids()))
    assert sorted(line.split()[0] for line in watch.lines) == ["pizza-0", "pizza-1"]
    assert len(set(watch.pids())) == 2
    assert watch.replicas.processes == 2


async def test_ends_the_last_ones_by_sigterm(watch: Watch) -> None:
    """Fewer replicas: the highest ordinals are told to end and end in good order."""
    watch.replicas.apply(workload(WAITS, replicas=3))
    await watch.until(lambda: len(watch.pids()) == 3)
    await watch.set(1)
    await watch.until(lambda: watch.replicas.processes == 1)
    assert sorted(line for line in watch.lines if line.endswith("bye")) == ["pizza-1 bye", "pizza-2 bye"]
    await watch.set(0)
    await watch.until(lambda: watch.replicas.processes == 0)
    assert watch.ready() == 0


async def test_what_does_not_listen_is_killed_with_all_that_it_started(watch: Watch) -> None:
    """After the grace period SIGKILL goes to the whole process group."""
    watch.replicas.apply(workload(STUBBORN, grace=0.1))
    await watch.until(lambda: len(watch.pids()) == 2)
    await watch.set(0)
    await watch.until(lambda: watch.replicas.processes == 0)
    assert watch.said == ["pizza-0 did not end within 0.1 s of SIGTERM: SIGKILL"]


async def test_who_outlives_the_first_process_has_the_rest_of_the_grace_period(watch: Watch, tmp_path: Path) -> None:
    """SIGTERM ends a shell at once; the consumer that it runs, as in a pipeline, ends in good order."""
    over, committed = tmp_path / "over", tmp_path / "committed"
    slowly = f'trap "until test -e {over}; do sleep 0.02; done; touch {committed}; exit 0" TERM; echo ready'
    watch.replicas.apply(workload(f'({slowly}; while :; do sleep 0.02; done) & echo "$POD pid $$$$ $!"; wait'))
    await watch.until(lambda: len(watch.pids()) == 2 and "ready" in watch.lines)
    shell = watch.pids()[0]
    await watch.set(0)
    await watch.until(lambda: not psutil.pid_exists(shell))
    over.touch()
    await watch.until(lambda: watch.replicas.processes == 0)
    assert committed.exists()
    assert watch.said == []


async def test_who_outlives_the_first_process_and_the_grace_period_is_killed(watch: Watch) -> None:
    """As the first process would be."""
    stubborn = 'trap "" TERM; echo ready; while :; do sleep 0.02; done'
    watch.replicas.apply(workload(f'({stubborn}) & echo "$POD pid $$$$ $!"; wait', grace=0.5))
    await watch.until(lambda: len(watch.pids()) == 2 and "ready" in watch.lines)
    await watch.set(0)
    await watch.until(lambda: watch.replicas.processes == 0)
    assert watch.said == ["pizza-0 did not end within 0.5 s of SIGTERM: SIGKILL"]


async def test_who_has_ended_and_whose_parent_takes_no_note_is_not_waited_for(watch: Watch) -> None:
    """A zombie keeps its process group in being, here until its parent ends, which has left the group."""
    parent = "import os, signal; os.setsid(); print('- pid', os.getpid(), flush=True); signal.pause()"
    watch.replicas.apply(workload(f'(sleep 60 & exec {sys.executable} -c "{parent}") & wait', grace=300))
    await watch.until(lambda: len(watch.pids()) == 1)
    await watch.set(0)
    try:
        await watch.until(lambda: watch.replicas.processes == 0)
    finally:
        os.kill(watch.pids()[0], signal.SIGKILL)
    assert watch.said == []


async def test_what_a_process_leaves_behind_is_ended_too(watch: Watch) -> None:
    """A process that ends by itself takes what it has started in the background with it."""
    watch.replicas.apply(workload('sleep 60 & echo "$POD pid $!"; exit 3'))
    await watch.until(lambda: bool(watch.said))
    assert watch.said[0] == "pizza-0 ended with exit code 3; it starts again in 0.05 s"
    first = watch.pids()[0]
    await watch.until(lambda: not is_alive(first))


async def test_a_process_that_ends_begins_again_less_and_less_soon(watch: Watch) -> None:
    """Restarts wait twice as long each time, and say how it ended."""
    watch.replicas.apply(workload("kill -9 $$$$"))
    await watch.until(lambda: len(watch.said) == 3)
    assert [text.rpartition(" in ")[2] for text in watch.said[:3]] == ["0.05 s", "0.1 s", "0.2 s"]
    assert watch.said[0].startswith("pizza-0 ended by SIGKILL")
    assert watch.ready() == 0


async def test_output_comes_line_by_line(watch: Watch, tmp_path: Path) -> None:
    """Standard output and error, split at line ends, with the rest at the end; what is not UTF-8 is shown as such."""
    written = tmp_path / "written"
    script = f"printf 'one\\ntwo\\r\\n\\377'; echo three >&2; printf four; touch {written}; sleep 60"
    watch.replicas.apply(workload(script, grace=0.1))
    await watch.until(lambda: written.exists() and len(watch.lines) >= 3)
    await watch.set(0)
    await watch.until(lambda: watch.replicas.processes == 0)
    assert watch.lines == ["one", "two", "\ufffdthree", "four"]


async def test_a_changed_command_replaces_the_processes(watch: Watch) -> None:
    """A new template ends the old processes and begins new ones; the count stays as it was set meanwhile."""
    watch.replicas.apply(workload(WAITS))
    await watch.set(2)
    await watch.until(lambda: watch.ready() == 2 == len(watch.pids()))
    old = watch.pids()
    watch.replicas.apply(workload(f"echo new; {WAITS}"))
    await watch.until(lambda: watch.lines.count("new") == 2 and watch.replicas.processes == 2)
    assert not any(is_alive(pid) for pid in old)


async def test_a_changed_count_in_the_file_counts(watch: Watch) -> None:
    """As with kubectl apply: a changed `replicas` is written, an unchanged one leaves what was set."""
    watch.replicas.apply(workload(WAITS, replicas=1))
    await watch.set(3)
    watch.replicas.apply(workload(WAITS, replicas=1, grace=9))
    assert (await watch.replicas.get(PIZZA)).replicas == 3
    watch.replicas.apply(workload(WAITS, replicas=2, grace=9))
    found = watch.replicas.workload(PIZZA)
    assert found is not None
    assert (found.scale.replicas, found.replicas_manager) == (2, "the folder")


async def test_who_writes_must_have_seen_it(watch: Watch) -> None:
    """A stale count is refused, so is another workload of the same name; who wrote last is told."""
    watch.replicas.apply(workload(WAITS, replicas=0))
    seen = await watch.replicas.get(PIZZA)
    after = await watch.replicas.set(PIZZA, 1, seen)
    with pytest.raises(ConflictError):
        await watch.replicas.set(PIZZA, 2, seen)
    found = watch.replicas.workload(PIZZA)
    assert found is not None
    assert found.replicas_manager == "wakegate"
    watch.replicas.remove(PIZZA)
    with pytest.raises(NotFoundError):
        await watch.replicas.get(PIZZA)
    watch.replicas.apply(workload(WAITS, replicas=0))
    with pytest.raises(NotFoundError):
        await watch.replicas.set(PIZZA, 2, after)


@pytest.mark.parametrize(("kind", "expected"), [("Deployment", "pizza-1"), ("StatefulSet", "pizza-0")])
async def test_an_identity_is_never_there_twice(watch: Watch, tmp_path: Path, kind: str, expected: str) -> None:
    """While a replica ends slowly, a Deployment begins another one; a StatefulSet waits for its name to be free."""
    ref = replace(PIZZA, kind=kind)
    over = tmp_path / "over"
    slowly = f'trap "until test -e {over}; do sleep 0.02; done; exit 0" TERM; echo "$POD pid $$$$"'
    watch.replicas.apply(workload(f"{slowly}; while :; do sleep 0.02; done", kind=kind))
    await watch.until(lambda: len(watch.pids()) == watch.ready(ref) == 1)
    await watch.set(0, ref)
    await watch.until(lambda: watch.ready(ref) == 0)
    await watch.set(1, ref)
    if kind == "StatefulSet":
        over.touch()
    await watch.until(lambda: len(watch.pids()) == 2)
    over.touch()
    assert watch.lines[-1].split()[0] == expected


async def test_cancelled_it_ends_all_and_asked_again_at_once(watch: Watch) -> None:
    """Ending waits for the grace period of each; `kill` ends the waiting, and each has been waited for at the end."""
    watch.replicas.apply(workload(STUBBORN, replicas=2, grace=300))
    await watch.until(lambda: len(watch.pids()) == 4)
    watch.runs[0].cancel()
    done, _ = await asyncio.wait(watch.runs, timeout=0.2)
    assert not done
    watch.replicas.kill()
    async with asyncio.timeout(SECONDS):
        await watch.end()
    shells = [int(line.split()[-1]) for line in watch.lines]
    assert not any(psutil.pid_exists(pid) for pid in shells)


@pytest.mark.parametrize(
    ("row", "command", "directory", "sentence"),
    [
        ("no such program", ("no-such-program-here",), None, "command is 'no-such-program-here'; allowed: a program"),
        ("no such path", ("/no/such/program",), None, "command is '/no/such/program'; allowed: a program"),
        ("a folder", ("/",), None, "command is '/'; allowed: a program"),
        ("no such directory", ("sh",), "/no/such/folder", "workingDir is '/no/such/folder'; allowed: a directory"),
    ],
)
async def test_what_cannot_be_started(
    watch: Watch, row: str, command: tuple[str, ...], directory: str | None, sentence: str
) -> None:
    """A command or directory that is not there is one sentence with file and line, before anything is started."""
    spec = workload("")
    spec = replace(spec, container=replace(spec.container, command=command, working_directory=directory))
    with pytest.raises(SpecError) as caught:
        watch.replicas.check(spec)
    assert str(caught.value).startswith(f"f.yaml:1: Deployment pizza: {sentence}"), row


async def test_a_program_that_goes_away_is_said_and_tried_again(watch: Watch) -> None:
    """What cannot be started any more is told, and nothing breaks."""
    spec = workload("")
    watch.replicas.apply(replace(spec, container=replace(spec.container, command=("/no/such/program",))))
    await watch.until(lambda: bool(watch.said))
    assert watch.said[0] == (
        "pizza-0 '/no/such/program' cannot be started: No such file or directory; it starts again in 0.05 s"
    )


PARENT = """
import asyncio, os, sys
from tests.local.test_processes import STUBBORN, workload
from activator.local.process import Reaper
from activator.local.processes import LocalReplicas

async def main():
    reaper = Reaper()
    await reaper.start()
    replicas = LocalReplicas(reaper, os.environ, output=lambda _, line: print(line, flush=True), say=print)
    replicas.apply(workload(STUBBORN, replicas=2, grace=300))
    await replicas.run()

asyncio.run(main())
"""


async def test_nothing_outlives_us_however_we_end() -> None:
    """Killed without a chance to clean up, we leave no process behind, nor one that a process of ours has started."""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE)
    pids: list[int] = []
    try:
        assert parent.stdout is not None
        async with asyncio.timeout(SECONDS):
            while len(pids) < 4:
                line = (await parent.stdout.readline()).decode()
                pids += [int(word) for word in line.partition(" pid ")[2].split()]
    finally:
        parent.send_signal(signal.SIGKILL)
        await parent.wait()
    await eventually(lambda: not any(is_alive(pid) for pid in pids))
