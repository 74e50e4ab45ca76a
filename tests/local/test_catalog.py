"""A folder as the source of truth: read, reread when it changes, and never worse off for a mistake in it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from activator.core.model import TargetRef
from activator.errors import SettingsError, SpecError, UnavailableError
from activator.local import catalog
from activator.local.catalog import FolderCatalog
from activator.local.process import Reaper
from activator.local.processes import LocalReplicas
from activator.specs.annotations import parse
from activator.specs.defaults import AnnotationDefaults
from activator.specs.keda.scaled_object import is_packed, parse_packed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from activator.core.model import Workload
    from activator.local.manifests import WorkloadSpec
    from activator.ports import ManagedWorkload

SECONDS = 20.0
PIZZA = TargetRef("default", "Deployment", "pizza")


def manifest(name: str = "pizza", *, replicas: int = 1, command: str = "sh", annotation: str = "topic: orders") -> str:
    """YAML of an annotated Deployment."""
    return textwrap.dedent(
        f"""\
        apiVersion: apps/v1
        kind: Deployment
        metadata:
          name: {name}
          annotations:
            wakegate.dev/{annotation}
            wakegate.dev/consumer-group: {name}
            wakegate.dev/bootstrap-servers: kafka:9092
        spec:
          replicas: {replicas}
          template: {{spec: {{containers: [{{name: c, command: ["{command}"]}}]}}}}
        """
    )


class Listener:
    """Keeps what a catalog delivers."""

    def __init__(self) -> None:
        self.upserts: list[ManagedWorkload] = []
        self.removals: list[tuple[TargetRef, Workload | None]] = []
        self.syncs = 0
        self.news = asyncio.Event()

    def upsert(self, managed: ManagedWorkload) -> None:
        """Keep a workload."""
        self.upserts.append(managed)
        self.news.set()

    def remove(self, ref: TargetRef, workload: Workload | None) -> None:
        """Keep a removal."""
        self.removals.append((ref, workload))
        self.news.set()

    def synced(self) -> None:
        """Count."""
        self.syncs += 1
        self.news.set()


class Bed:
    """A folder, its catalog, and replicas that are never started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.listener = Listener()
        self.replicas = LocalReplicas(Reaper(), os.environ, output=lambda *_: None, say=self.say)
        self.catalog = FolderCatalog(
            folder,
            self.replicas,
            lambda found: (parse_packed if is_packed(found) else parse)(found, AnnotationDefaults()),
            say=self.say,
            translate=self.translate,
        )
        self.refused = ""
        """A topic that the embedded Kafka does not create."""

    def translate(self, spec: WorkloadSpec) -> WorkloadSpec:
        """Change nothing."""
        if spec.annotations.get("wakegate.dev/topic", "") == self.refused != "":
            raise SpecError(spec.place, None, "refused")
        return spec

    def say(self, sentence: str) -> None:
        """Keep a sentence."""
        self.said.append(sentence)
        self.listener.news.set()

    def write(self, text: str, name: str = "pizza.yaml") -> None:
        """Write a file as editors do: anew, and then in the place of the old one."""
        draft = self.folder / f".{name}.swp"
        draft.write_text(text, encoding="utf-8")
        draft.replace(self.folder / name)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(SECONDS):
            while not holds():
                self.listener.news.clear()
                await self.listener.news.wait()


@pytest.fixture
def bed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bed:
    """Return a bed over an empty folder that is looked at often."""
    monkeypatch.setattr(catalog, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(catalog, "VANISHED_SECONDS", 0.05)
    folder = tmp_path / "k8s"
    folder.mkdir()
    return Bed(folder)


@contextlib.asynccontextmanager
async def running(bed: Bed) -> AsyncIterator[asyncio.Task[None]]:
    """Load and run a bed's catalog for the length of a block."""
    bed.catalog.load()
    task = asyncio.create_task(bed.catalog.run(bed.listener))
    await bed.until(lambda: bed.listener.syncs == 1)
    yield task
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, UnavailableError):
        await task


async def test_delivers_what_is_there_and_then_that_it_is_all(bed: Bed) -> None:
    """Every annotated workload of every file, files in other formats and hidden ones left alone."""
    bed.write(manifest("a") + "---\n" + manifest("b", replicas=3))
    bed.write(manifest("c"), "c.yml")
    bed.write("not: [yaml", ".hidden.yaml")
    bed.write("not: [yaml", "notes.txt")
    (bed.folder / "below").mkdir()
    async with running(bed):
        delivered = {managed.workload.ref.name: managed for managed in bed.listener.upserts}
        assert sorted(delivered) == ["a", "b", "c"]
        assert delivered["b"].workload.scale.replicas == 3
        assert delivered["a"].policy is not None
        found = await bed.catalog.find(PIZZA)
        assert found is None


async def test_delivers_every_change_of_count(bed: Bed) -> None:
    """A count that is set is delivered with its new version, and by whom it was written."""
    bed.write(manifest())
    async with running(bed):
        before = await bed.replicas.get(PIZZA)
        await bed.replicas.set(PIZZA, 4, before)
        workload = bed.listener.upserts[-1].workload
        assert (workload.scale.replicas, workload.replicas_manager) == (4, "wakegate")
        assert int(workload.scale.resource_version) > int(before.resource_version)


async def test_a_changed_file_counts_at_once(bed: Bed) -> None:
    """Another annotation is another policy, and a changed count is a count written by the folder."""
    bed.write(manifest())
    async with running(bed):
        bed.write(manifest(replicas=2, annotation="topic: other"))
        await bed.until(lambda: len(bed.listener.upserts) == 2)
        managed = bed.listener.upserts[-1]
        assert managed.policy is not None
        assert (managed.policy.triggers[0].topic, managed.workload.scale.replicas) == ("other", 2)


async def test_a_file_that_goes_takes_its_workloads_with_it(bed: Bed) -> None:
    """A workload that is not in the folder any more does not exist any more; added again it is another one."""
    bed.write(manifest("a"), "a.yaml")
    bed.write(manifest("b"), "b.yaml")
    async with running(bed):
        first = bed.listener.upserts[0].workload.scale.uid
        (bed.folder / "a.yaml").unlink()
        gone = TargetRef("default", "Deployment", "a")
        await bed.until(lambda: bed.listener.removals == [(gone, None)])
        assert await bed.catalog.find(gone) is None
        bed.write(manifest("a"), "a.yaml")
        await bed.until(lambda: bed.listener.upserts[-1].workload.ref == gone)
        assert bed.listener.upserts[-1].workload.scale.uid != first


async def test_a_mistake_leaves_what_was_there(bed: Bed) -> None:
    """A file that cannot be read any more is told of once, with its line; what it said stays until it is corrected."""
    bed.write(manifest())
    async with running(bed):
        bed.write(manifest(replicas=2) + "  oops: [")
        await bed.until(lambda: bool(bed.said))
        place = f"{bed.folder}/pizza.yaml:12"
        assert bed.said[0].startswith(f"{place}: this is not YAML: ")
        assert bed.said[0].endswith(". What was there before stays in force.")
        assert (await bed.replicas.get(PIZZA)).replicas == 1
        bed.write(manifest(replicas=2))
        await bed.until(lambda: bed.listener.upserts[-1].workload.scale.replicas == 2)
        assert len(bed.said) == 1
        assert not bed.listener.removals


async def test_a_command_that_goes_wrong_leaves_what_was_there(bed: Bed) -> None:
    """A changed command that does not exist is told of, and the old one stays in force."""
    bed.write(manifest())
    async with running(bed):
        bed.write(manifest(command="no-such-program-here"))
        await bed.until(lambda: bool(bed.said))
        assert "command is 'no-such-program-here'; allowed: a program" in bed.said[0]
        assert bed.catalog.workloads[0].container.command == ("sh",)


async def test_a_topic_that_is_refused_leaves_what_was_there(bed: Bed) -> None:
    """A topic that the embedded Kafka does not create is told of, and the workload stays with the old one."""
    bed.write(manifest())
    bed.refused = "bad"
    async with running(bed):
        bed.write(manifest(annotation="topic: bad"))
        await bed.until(lambda: bool(bed.said))
        assert bed.said == [f"{bed.folder}/pizza.yaml:1: refused. What was there before stays in force."]
        assert bed.catalog.workloads[0].annotations["wakegate.dev/topic"] == "orders"


async def test_a_link_that_leads_nowhere_leaves_the_others(bed: Bed) -> None:
    """A broken link is told of as a file that cannot be read, and the other files stay in force."""
    bed.write(manifest())
    bed.catalog.load()
    async with running(bed):
        (bed.folder / "broken.yaml").symlink_to(bed.folder / "nowhere")
        await bed.until(lambda: any("broken.yaml: it cannot be read" in sentence for sentence in bed.said))
        assert [spec.ref for spec in bed.catalog.workloads] == [PIZZA]
        assert not bed.listener.removals


def test_a_file_that_cannot_be_looked_at_is_not_taken_for_deleted(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network drive that is away for a moment."""
    bed.write(manifest())
    bed.catalog.load()

    def away(path: Path, **_options: bool) -> os.stat_result:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))

    monkeypatch.setattr(Path, "stat", away)
    monkeypatch.setattr(Path, "lstat", away)
    with pytest.raises(SettingsError, match="it cannot be read: Stale file handle"):
        bed.catalog.load()
    assert [spec.ref for spec in bed.catalog.workloads] == [PIZZA]


async def test_a_typo_is_told_with_its_line_and_delivered_as_such(bed: Bed) -> None:
    """An annotation that does not exist is told with file, line and the right name; the loop gets the mistake."""
    bed.write(manifest())
    async with running(bed):
        bed.write(manifest(annotation="topik: orders"))
        await bed.until(lambda: len(bed.listener.upserts) == 2)
        assert bed.listener.upserts[-1].policy is None
        told = f"{bed.folder}/pizza.yaml:6: wakegate.dev/topik: there is no such annotation; did you mean "
        assert bed.said[0].startswith(told)


async def test_the_same_workload_twice(bed: Bed) -> None:
    """Of two files with one workload the first holds, and the other is told of."""
    bed.write(manifest(), "a.yaml")
    async with running(bed):
        bed.write(manifest(replicas=9), "b.yaml")
        await bed.until(lambda: bool(bed.said))
        assert f"it stands in {bed.folder}/a.yaml:1 already" in bed.said[0]
        assert (await bed.replicas.get(PIZZA)).replicas == 1


async def test_a_folder_that_vanishes(bed: Bed) -> None:
    """A folder that is away for a moment is waited for; one that stays away ends it, in one sentence."""
    bed.write(manifest())
    async with running(bed) as task:
        away = bed.folder.with_name("away")
        bed.folder.rename(away)
        await asyncio.sleep(0)
        away.rename(bed.folder)
        bed.write(manifest(replicas=2))
        await bed.until(lambda: bed.listener.upserts[-1].workload.scale.replicas == 2)
        shutil.rmtree(bed.folder)
        with pytest.raises(UnavailableError) as caught:
            async with asyncio.timeout(SECONDS):
                await task
        assert str(caught.value) == f"{bed.folder}: the folder has vanished; all replicas are ended"


@pytest.mark.parametrize(
    ("row", "files", "sentence"),
    [
        ("empty", {}, "{folder}: nothing to manage: no wakegate.dev annotations, it has no Deployment or StatefulSet"),
        (
            "nothing annotated",
            {"a.yaml": "kind: Deployment\nmetadata: {name: web}\n"},
            "{folder}: nothing to manage: no wakegate.dev annotations, Deployment web carry none",
        ),
        ("not YAML", {"a.yaml": "a: [1\nb: 2"}, "{folder}/a.yaml:2: this is not YAML: "),
        ("not text", {"a.yaml": "\udcff"}, "{folder}/a.yaml: it cannot be read: "),
        (
            "no such command",
            {"a.yaml": manifest(command="no-such-program-here")},
            "{folder}/a.yaml:1: Deployment pizza: command is 'no-such-program-here'; allowed: a program",
        ),
        (
            "a value that is not allowed",
            {"a.yaml": manifest(annotation="lag-threshold: 'many'")},
            "{folder}/a.yaml:6: wakegate.dev/lag-threshold is 'many'; allowed: a whole number",
        ),
    ],
)
async def test_what_cannot_be_begun_with(bed: Bed, row: str, files: dict[str, str], sentence: str) -> None:
    """At the beginning there is nothing to fall back to: the mistake is the answer."""
    for name, text in files.items():
        (bed.folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingsError) as caught:
        bed.catalog.load()
    assert str(caught.value).startswith(sentence.format(folder=bed.folder)), row


@pytest.mark.parametrize(("name", "sentence"), [("none", "there is no such folder"), ("file", "this is not a folder")])
async def test_what_is_no_folder(tmp_path: Path, name: str, sentence: str) -> None:
    """A folder that is not there, or is none, is one sentence."""
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=sentence):
        Bed(tmp_path / name).catalog.load()


def scaled_object(name: str = "orders", *, target: str = "name: web", extra: str = "") -> str:
    """YAML of a ScaledObject, as a document after another one."""
    return textwrap.dedent(
        f"""\
        ---
        kind: ScaledObject
        metadata: {{name: {name}}}
        spec:
          scaleTargetRef: {{{target}}}
          cooldownPeriod: 10
          {extra or "minReplicaCount: 0"}
          triggers:
            - type: kafka
              metadata: {{bootstrapServers: "kafka:9092", consumerGroup: g, topicFromEnv: TOPIC}}
        """
    )


WEB = textwrap.dedent(
    """\
    kind: Deployment
    metadata: {name: web}
    spec:
      template: {spec: {containers: [{name: c, command: [sh], env: [{name: TOPIC, value: mails}]}]}}
    """
)
WEB_REF = TargetRef("default", "Deployment", "web")


@pytest.mark.parametrize(
    ("web", "target"),
    [("command: [no-such-program-here]", "name: web"), ("command: [5]", "name: web"), ("command: [sh]", "nmae: x")],
)
async def test_a_mistake_leaves_what_a_scaled_object_drove(bed: Bed, web: str, target: str) -> None:
    """A mistake in a ScaledObject's target, or in its workload, leaves the workload as it was."""
    bed.write(WEB + scaled_object())
    bed.catalog.load()
    async with running(bed):
        before = bed.catalog.workloads
        bed.write(WEB.replace("command: [sh]", web) + scaled_object(target=target))
        await bed.until(lambda: bool(bed.said))
        assert bed.said[0].endswith("What was there before stays in force.")
        assert bed.catalog.workloads == before
        assert not bed.listener.removals


async def test_a_scaled_object_drives_its_workload(bed: Bed) -> None:
    """Also one in another file, with the target's env; a changed ScaledObject is another policy."""
    (bed.folder / "a.yaml").write_text(scaled_object())
    (bed.folder / "b.yaml").write_text(WEB)
    async with running(bed):
        (managed,) = bed.listener.upserts
        assert managed.workload.ref == WEB_REF
        assert managed.policy is not None
        assert managed.policy.triggers[0].topic == "mails"
        (bed.folder / "a.yaml").write_text(scaled_object(extra="maxReplicaCount: 7"))
        await bed.until(lambda: len(bed.listener.upserts) > 1)
        assert bed.listener.upserts[-1].policy is not None
        assert bed.listener.upserts[-1].policy.max_replicas == 7
        (bed.folder / "a.yaml").unlink()
        (bed.folder / "c.yaml").write_text(manifest("pizza"))
        await bed.until(lambda: bool(bed.listener.removals))
        assert [ref for ref, _ in bed.listener.removals] == [WEB_REF]
    assert bed.said == []


async def test_a_mistake_in_a_scaled_object_is_told_with_its_line(bed: Bed) -> None:
    """With the ScaledObject's own file and path."""
    (bed.folder / "a.yaml").write_text(WEB + scaled_object(extra="poolingInterval: 5"))
    with pytest.raises(SettingsError) as caught:
        bed.catalog.load()
    assert str(caught.value).startswith(
        f"{bed.folder}/a.yaml:11: ScaledObject orders: spec.poolingInterval: there is no such field"
    )
    assert str(caught.value).endswith("did you mean pollingInterval?")


NOT_FOLLOWED = {
    "a target that is not there": (scaled_object(target="name: none"), "Deployment default/none is not in the folder"),
    "a kind that is not run": (
        scaled_object(target="kind: Rollout, name: web, apiVersion: argoproj.io/v1alpha1"),
        "local mode runs Deployments and StatefulSets, not Rollout default/web",
    ),
    "a second one": (
        scaled_object() + scaled_object("late"),
        "ScaledObject orders drives Deployment default/web already",
    ),
}


@pytest.mark.parametrize(("documents", "why"), NOT_FOLLOWED.values(), ids=NOT_FOLLOWED)
async def test_a_scaled_object_that_drives_nothing_here_is_named(bed: Bed, documents: str, why: str) -> None:
    """Once, with its place; what else is in the folder is run all the same."""
    (bed.folder / "a.yaml").write_text(manifest("pizza") + "---\n" + WEB + documents)
    async with running(bed):
        assert PIZZA in {managed.workload.ref for managed in bed.listener.upserts}
        (said,) = bed.said
        assert "is not followed" in said
        assert why in said
        (bed.folder / "b.yaml").write_text(manifest("other"))
        await bed.until(lambda: any(managed.workload.ref.name == "other" for managed in bed.listener.upserts))
        assert bed.said == [said]


async def test_a_scaled_object_wins_over_annotations(bed: Bed) -> None:
    """As in a cluster, and it is said."""
    driven = manifest("web").replace('command: ["sh"]', 'command: ["sh"], env: [{name: TOPIC, value: mails}]')
    bed.write(driven + scaled_object())
    async with running(bed):
        (managed,) = bed.listener.upserts
        assert managed.policy is not None
        assert managed.policy.scaled_object is not None
        (said,) = bed.said
        assert said.endswith("ScaledObject orders drives Deployment default/web: its own annotations are not read")
