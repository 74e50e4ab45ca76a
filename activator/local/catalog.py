"""TargetCatalog over a folder of YAML: the files that `kubectl apply -f FOLDER` would read, reread when they change."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from activator.errors import SettingsError, SpecError, UnavailableError
from activator.local import manifests
from activator.local.scaled_objects import driven
from activator.ports import ManagedWorkload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from activator.core.model import Policy, TargetRef, Workload
    from activator.local.manifests import Manifests, TopicSpec, WorkloadSpec
    from activator.local.processes import LocalReplicas
    from activator.ports import CatalogListener

POLL_SECONDS = 0.25
"""How often the folder is looked at; a change counts once two looks agree, so that no half-written file is read."""
VANISHED_SECONDS = 2.0
"""How long a folder may be away, as it is for a moment while a branch is checked out."""
_SUFFIXES = {".yaml", ".yml", ".json"}

_Signature = tuple[int, int, int]
_Parsed = tuple["Policy | None", "tuple[SpecError, ...]"]


@dataclass(frozen=True, slots=True)
class _File:
    """A file as last read, and the last good of what it said."""

    signature: _Signature
    said: Manifests


def _signature(path: Path) -> _Signature | None:
    """Return what changes with a file; None: it has gone since the folder was listed. Raises OSError."""
    try:
        status = path.stat()
    except OSError:
        try:
            status = path.lstat()  # a link that leads nowhere is there, and reading it says what is wrong
        except FileNotFoundError:
            return None
    return status.st_mtime_ns, status.st_size, status.st_ino


class FolderCatalog:
    """Reads a folder, keeps `LocalReplicas` as it says, and delivers what changes of either.

    Args:
        folder: where the files are.
        replicas: the workloads as they run.
        parse: annotations -> policy, or every mistake in them.
        say: takes one sentence for a person.
        translate: changes what was read (to another Kafka's address).
    """

    def __init__(
        self,
        folder: Path,
        replicas: LocalReplicas,
        parse: Callable[[Mapping[str, str]], _Parsed],
        *,
        say: Callable[[str], None],
        translate: Callable[[WorkloadSpec], WorkloadSpec] = lambda spec: spec,
    ) -> None:
        self._folder = folder
        self._replicas = replicas
        self._parse = parse
        self._say = say
        self._translate = translate
        self._said: set[str] = set()
        self._files: dict[Path, _File] = {}
        self._workloads: dict[TargetRef, WorkloadSpec] = {}
        self._parsed: dict[TargetRef, _Parsed] = {}
        self._managed: dict[TargetRef, ManagedWorkload] = {}
        self._listener: CatalogListener | None = None

    def load(self) -> None:
        """Read the folder for the first time.

        Raises:
            SettingsError: there is no such folder, a file in it has a mistake, or nothing in it is for us.
        """
        problems: list[SpecError] = []
        self._take(self._signatures(), problems)
        if not problems:
            problems.extend(problem for spec in self._workloads.values() for problem in self._mistakes(spec))
        if problems:
            raise SettingsError("\n".join(map(str, problems)))
        if not self._workloads:
            passed = ", ".join(name for file in self._files.values() for name in file.said.passed_over)
            why = f"{passed} carry none" if passed else "it has no Deployment or StatefulSet"
            raise SettingsError(f"{self._folder}: nothing to manage: no wakegate.dev annotations, {why}")

    @property
    def workloads(self) -> tuple[WorkloadSpec, ...]:
        """What the folder says now."""
        return tuple(self._workloads.values())

    @property
    def topics(self) -> tuple[TopicSpec, ...]:
        """The topics that the folder asks for."""
        return tuple(topic for file in self._files.values() for topic in file.said.topics)

    async def find(self, ref: TargetRef) -> Workload | None:
        """Read one workload; None: it does not exist."""
        return self._replicas.workload(ref)

    async def run(self, listener: CatalogListener) -> None:
        """Deliver what is there and then every change, until cancelled.

        Raises:
            UnavailableError: the folder has vanished.
        """
        self._listener = listener
        self._replicas.changed = self._deliver
        for spec in self._workloads.values():
            self._deliver(spec.ref)
        listener.synced()
        seen = {path: file.signature for path, file in self._files.items()}
        while True:
            await asyncio.sleep(POLL_SECONDS)
            before, seen = seen, await self._look()
            known = {path: file.signature for path, file in self._files.items()}
            if seen == before and seen != known:
                self._reread(seen)

    async def _look(self) -> dict[Path, _Signature]:
        """List the folder, off the event loop: it may be on a network drive."""
        deadline = asyncio.get_running_loop().time() + VANISHED_SECONDS
        while True:
            try:
                return await asyncio.to_thread(self._signatures)
            except SettingsError:
                if asyncio.get_running_loop().time() > deadline:
                    raise UnavailableError(
                        str(self._folder), "the folder has vanished; all replicas are ended"
                    ) from None
                await asyncio.sleep(POLL_SECONDS)

    def _signatures(self) -> dict[Path, _Signature]:
        try:
            paths = [path for path in sorted(self._folder.iterdir()) if path.suffix in _SUFFIXES]
            signatures = {path: _signature(path) for path in paths if not path.name.startswith(".")}
        except FileNotFoundError:
            raise SettingsError(f"{self._folder}: there is no such folder") from None
        except NotADirectoryError:
            raise SettingsError(f"{self._folder}: this is not a folder") from None
        except OSError as error:
            raise SettingsError(f"{self._folder}: it cannot be read: {error.strerror}") from None
        return {path: signature for path, signature in signatures.items() if signature is not None}

    # ------------------------------------------------------------------------------------------------ what has changed

    def _reread(self, signatures: dict[Path, _Signature]) -> None:
        """Take what has changed; a file with a mistake is told of, and what it said before stays in force."""
        problems: list[SpecError] = []
        self._take(signatures, problems)
        for problem in problems:
            self._say(f"{problem}. What was there before stays in force.")

    def _take(self, signatures: dict[Path, _Signature], problems: list[SpecError]) -> None:
        files: dict[Path, _File] = {}
        for path, signature in signatures.items():
            before = self._files.get(path)
            if before is not None and before.signature == signature:
                files[path] = before
                continue
            said = before.said if before is not None else manifests.Manifests()
            try:
                said = self._read(path)
            except SpecError as error:
                problems.append(error)
            files[path] = _File(signature, said)
        self._files = files
        workloads = self._driven(problems)
        for spec in (spec for file in files.values() for spec in file.said.workloads):
            if spec.ref in workloads and workloads[spec.ref].driver is not None:
                self._say_once(f"{workloads[spec.ref].driver} drives {spec.ref}: its own annotations are not read")
            elif spec.ref in workloads:
                first = workloads[spec.ref].place
                problems.append(SpecError(f"{spec.place}: {spec.ref}", None, f"it stands in {first} already"))
            else:
                try:
                    workloads[spec.ref] = self._translate(spec)
                except SpecError as error:
                    problems.append(error)
                    if spec.ref in self._workloads:
                        workloads[spec.ref] = self._workloads[spec.ref]
        self._put(workloads)

    def _driven(self, problems: list[SpecError]) -> dict[TargetRef, WorkloadSpec]:
        """Return the workloads that ScaledObjects drive; where one has a mistake, what it drove before."""
        found = driven([file.said for file in self._files.values()])
        for sentence in found.not_followed:
            self._say_once(sentence)
        workloads: dict[TargetRef, WorkloadSpec] = {}
        mistaken = list(found.problems)
        for spec in found.workloads:
            try:
                self._replicas.check(spec)
                workloads[spec.ref] = self._translate(spec)
            except SpecError as error:
                if spec.driver is not None:
                    mistaken.append((spec.driver, error))
        problems.extend(error for _, error in mistaken)
        return {**self._kept({scaled_object.key for scaled_object, _ in mistaken}), **workloads}

    def _kept(self, keys: set[tuple[str, str]]) -> dict[TargetRef, WorkloadSpec]:
        """Return what some ScaledObjects drove before, as far as it is still in the folder."""
        there = {candidate.ref for file in self._files.values() for candidate in file.said.candidates}
        return {
            ref: spec
            for ref, spec in self._workloads.items()
            if spec.driver is not None and spec.driver.key in keys and ref in there
        }

    def _say_once(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self._say(sentence)

    def _read(self, path: Path) -> Manifests:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(str(path), None, f"it cannot be read: {error}") from None
        said = manifests.read(text, str(path))
        for spec in said.workloads:
            self._replicas.check(spec)
        return said

    def _put(self, workloads: dict[TargetRef, WorkloadSpec]) -> None:
        before, self._workloads = self._workloads, workloads
        for ref in before.keys() - workloads.keys():
            self._replicas.remove(ref)
            self._managed.pop(ref, None)
            if self._listener is not None:
                self._listener.remove(ref, None)
        for ref, spec in workloads.items():
            if spec != before.get(ref):
                self._parsed[ref] = self._parse(spec.annotations)
                if self._listener is not None:  # at the beginning `load` tells
                    for problem in self._mistakes(spec):
                        self._say(str(problem))
                self._replicas.apply(spec)

    def _mistakes(self, spec: WorkloadSpec) -> list[SpecError]:
        """Return what is wrong with a workload's annotations, each with its file and line."""
        _, problems = self._parsed[spec.ref]
        placed = []
        for problem in problems:
            if spec.driver is not None:
                placed.append(spec.driver.placed(problem))
                continue
            line = spec.lines.get(problem.where)
            place = f"{spec.file}:{line}" if line else f"{spec.place}: {spec.ref.kind} {spec.ref.name}"
            placed.append(SpecError(f"{place}: {problem.where}", problem.got, problem.allowed, problem.did_you_mean))
        return placed

    def _deliver(self, ref: TargetRef) -> None:
        workload, spec = self._replicas.workload(ref), self._workloads.get(ref)
        if self._listener is None or workload is None or spec is None:
            return
        managed = ManagedWorkload(workload, spec.annotations, *self._parsed[ref])
        if managed != self._managed.get(ref):
            self._managed[ref] = managed
            self._listener.upsert(managed)
