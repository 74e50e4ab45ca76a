"""Credentials that targets name: the referenced objects, looked at by name every few seconds, and what is in them now.

A GET by name needs no more than a RoleBinding in the namespace that holds the Secret: nothing is listed or watched,
and nothing is read that no target names. What was read last stays in force while it cannot be read, or not used; a
problem is known by its sentence and never by a value.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from activator.errors import DeniedError, NotFoundError, SpecError, UnavailableError, WakegateError
from activator.kubernetes import paths
from activator.kubernetes.credential_file import read_credential_file
from activator.kubernetes.referenced_objects import FILE_PREFIX, data_of, path_of, unreadable
from activator.kubernetes.target_environments import (
    TargetEnvironments,
    failures_of,
    given_by,
    has_variables,
    objects_of,
)
from activator.specs.authentication import (
    CLUSTER_TRIGGER_AUTHENTICATION,
    SERVICE_ACCOUNT,
    AuthenticationSource,
    Plan,
    Reference,
    plan_for_trigger_authentication,
    plan_without_document,
    resolve,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from activator.core.model import TargetRef
    from activator.kubernetes.client import Document, KubernetesClient
    from activator.kubernetes.target_environments import Found, Workloads
    from activator.specs.credentials import KafkaCredentials


LOOK_SECONDS = 5.0
"""How often every object is looked at: a rotated credential is in use within ten seconds. The other five are for the
reads, and for the request that its targets are looked at by at once and whose connection is the first to show it."""
UNUSED_SECONDS = 600.0
"""Credentials that nobody names and nobody has asked for so long are looked at no more."""
LOOKS_AT_ONCE = 8
_KEDA = "keda.sh/v1alpha1"
_TOKEN_SECONDS = 3600
_TOKEN_FRESH_SECONDS = 0.8 * _TOKEN_SECONDS
"""A token is asked for anew before its end, and not at every look."""

Options = TypeVar("Options")

_log = logging.getLogger(__name__)


@dataclass
class _Entry(Generic[Options]):
    """One set of credentials."""

    source: AuthenticationSource
    named_by: set[TargetRef] = field(default_factory=set)
    asked_at: float = 0.0
    credentials: KafkaCredentials | None = None
    """The last that could be used."""
    options: Options | None = None
    """Made of them."""
    problems: tuple[SpecError, ...] = ()
    unread: str = "it has not been read yet"
    """Why nothing is known of it, while that is so."""
    looked_at: bool = False
    takes_variables: bool = False
    """It takes parameters from the environment of a target, and none is named: there is one entry a target as well."""


class SecretStore(Generic[Options]):
    """The credentials of all targets.

    Args:
        client: to the API server.
        build: makes of credentials what connections need; raises SpecError.
        operator_namespace: where the Secrets of a ClusterTriggerAuthentication are.
        file_root: below which its files are; None: none may be read.
    """

    def __init__(
        self,
        client: KubernetesClient,
        build: Callable[[KafkaCredentials, Callable[[str], str]], Options],
        operator_namespace: str,
        file_root: Path | None = None,
    ) -> None:
        self._client = client
        self._build = build
        self._operator_namespace = operator_namespace
        self._file_root = file_root
        self._entries: dict[str, _Entry[Options]] = {}
        self._named: dict[TargetRef, frozenset[str]] = {}
        self._new = asyncio.Event()
        self._tokens: dict[str, tuple[float, Document]] = {}
        """Of ServiceAccounts, by path, and until when they are fresh."""
        self._at_once = asyncio.Semaphore(LOOKS_AT_ONCE)
        self.environments = TargetEnvironments(client)
        """Of the targets whose environment holds credentials."""
        self.changed: Callable[[TargetRef], None] = lambda _: None
        """Called for each target whose credentials have changed, or what is wrong with them."""

    def name(self, ref: TargetRef, keys: Iterable[str]) -> None:
        """Take note of the credentials that a target names now."""
        wanted, before = frozenset(keys), self._named.pop(ref, frozenset())
        for key in before - wanted:
            self._entry(key).named_by.discard(ref)
        for key in wanted - before:
            self._entry(key).named_by.add(ref)
        if wanted:
            self._named[ref] = wanted

    def expect(self, keys: Iterable[str]) -> None:
        """Take note of credentials that will be asked for."""
        for key in keys:
            self._entry(key)

    def takes_variables(self, key: str) -> bool:
        """Tell whether credentials are another target's own, as far as is known: see `authentication.for_target`."""
        return self._entry(key).takes_variables

    def problems(self, key: str) -> tuple[SpecError, ...]:
        """Return what is wrong with credentials, as far as is known."""
        return self._entry(key).problems

    def options(self, key: str) -> Options:
        """Return what connections need. Raises UnavailableError, DeniedError: there is nothing that can be used."""
        entry = self._entry(key)
        entry.asked_at = asyncio.get_running_loop().time()
        if entry.options is not None:
            return entry.options
        if entry.problems:
            raise DeniedError(f"no credentials: {entry.problems[0]}")
        raise UnavailableError(str(entry.source), entry.unread)

    async def run(self) -> None:
        """Look again and again until cancelled, and at once at what is new, and only at that."""
        clock = asyncio.get_running_loop().time
        next_look = clock()
        while True:
            self._new.clear()
            if clock() >= next_look:
                began = clock()
                self._drop_unused()
                await self.look()
                # Where there are so many that a look takes long, half of the time is left to everything else.
                next_look = max(began + LOOK_SECONDS, clock() + min(clock() - began, LOOK_SECONDS))
            else:
                await self._look_at([entry for entry in self._entries.values() if not entry.looked_at])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next_look):
                    await self._new.wait()

    def _entry(self, key: str) -> _Entry[Options]:
        if key not in self._entries:
            made: _Entry[Options] = _Entry(AuthenticationSource.of_key(key))
            made.asked_at = asyncio.get_running_loop().time()
            self._entries[key] = made
            self._new.set()
        return self._entries[key]

    def _drop_unused(self) -> None:
        oldest = asyncio.get_running_loop().time() - UNUSED_SECONDS
        for key in [key for key, entry in self._entries.items() if not entry.named_by and entry.asked_at < oldest]:
            del self._entries[key]
        self.environments.keep({entry.source.target for entry in self._entries.values()})

    # ------------------------------------------------------------------------------------------------------ one look

    async def look(self) -> None:
        """Read every object that some credentials need, once, and take in what came of it."""
        await self._look_at(list(self._entries.values()))

    async def _look_at(self, entries: Sequence[_Entry[Options]]) -> None:
        told = await self._read({path for entry in entries if (path := _source_path(entry.source))})
        plans = {id(entry): self._plan(entry.source, told) for entry in entries}
        workloads = await self.environments.read(
            entry.source.target
            for entry in entries
            if entry.source.target is not None and has_variables(plans[id(entry)])
        )
        references = {
            reference
            for entry in entries
            for reference in (*_references(plans[id(entry)]), *objects_of(entry.source, plans[id(entry)], workloads))
        }
        found = await self._read({path_of(reference) for reference in references})
        for entry in entries:
            before, entry.looked_at = _known(entry), True
            self._take(entry, plans[id(entry)], workloads, found)
            if _known(entry) != before:
                self._tell(entry)

    async def _read(self, wanted: set[str]) -> Found:
        async def read(path: str) -> Document | WakegateError | None:
            async with self._at_once:
                if path.startswith(FILE_PREFIX):
                    return await asyncio.to_thread(
                        read_credential_file, self._file_root, path.removeprefix(FILE_PREFIX)
                    )
                try:
                    return await (self._token(path) if path.endswith("/token") else self._client.get(path))
                except NotFoundError:
                    return None
                except WakegateError as error:
                    return error

        ordered = sorted(wanted)
        return dict(zip(ordered, await asyncio.gather(*map(read, ordered)), strict=True))

    async def _token(self, path: str) -> Document:
        """Ask for a token of a ServiceAccount, where the last one is not fresh any more."""
        now = asyncio.get_running_loop().time()
        fresh_until, answer = self._tokens.get(path, (0.0, {}))
        if now >= fresh_until:
            spec = {"expirationSeconds": _TOKEN_SECONDS}
            answer = await self._client.create(
                path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
            )
            self._tokens[path] = (now + _TOKEN_FRESH_SECONDS, answer)
        return answer

    def _plan(
        self, source: AuthenticationSource, told: Mapping[str, Document | WakegateError | None]
    ) -> Plan | WakegateError:
        if (plan := plan_without_document(source)) is not None:
            return plan
        document = told[_source_path(source)]
        if isinstance(document, DeniedError):
            return _denied(source)
        if isinstance(document, WakegateError):
            return document
        if document is None:
            return SpecError(str(source), None, "it does not exist")
        return plan_for_trigger_authentication(source, document, self._namespace(source))

    def _namespace(self, source: AuthenticationSource) -> str:
        return self._operator_namespace if source.kind == CLUSTER_TRIGGER_AUTHENTICATION else source.namespace

    def _take(
        self,
        entry: _Entry[Options],
        plan: Plan | WakegateError,
        workloads: Workloads,
        found: Found,
    ) -> None:
        """Take in what was read; what is in force stays so unless something that can be used takes its place."""
        if isinstance(plan, Plan):
            entry.takes_variables = has_variables(plan) and entry.source.target is None
        if entry.takes_variables:
            entry.problems, entry.unread = (), "it says something else of each target, and none is named"
            return
        answers = {reference: found[path_of(reference)] for reference in _references(plan)}
        failures = [_failure(reference, answer) for reference, answer in answers.items()]
        failures += [plan] if isinstance(plan, WakegateError) else []
        failures += failures_of(entry.source, plan, workloads, found)
        if problems := tuple(failure for failure in failures if isinstance(failure, SpecError)):
            entry.problems = problems
            return
        outage = next((failure for failure in failures if failure is not None), None)
        if outage is not None or isinstance(plan, WakegateError):
            entry.unread = f"it could not be read: {outage}"
            return
        given = given_by(entry.source, plan, workloads, found)
        resolution = resolve(entry.source, plan, {at: data_of(answer) for at, answer in answers.items()}, given)
        entry.problems = resolution.problems
        if resolution.credentials is None or resolution.credentials == entry.credentials:
            return
        try:
            entry.options = self._build(resolution.credentials, resolution.place)
        except SpecError as error:
            entry.problems = (error,)
        except Exception as error:  # noqa: BLE001 - a mistake of ours about one must not end the look at all others
            told = f"a mistake of wakegate's own: {type(error).__name__}"  # not its text: it may quote a secret
            if entry.unread != told:
                _log.error("%s: %s; what was there before stays in force", entry.source, told)
            entry.unread = told
        else:
            entry.credentials = resolution.credentials

    def _tell(self, entry: _Entry[Options]) -> None:
        if entry.takes_variables:
            _log.debug("%s takes parameters from the environment of each target", entry.source)
        elif entry.problems:
            _log.warning("credentials cannot be used: %s", "; ".join(map(str, entry.problems)))
        else:
            _log.info("credentials of %s are in use", entry.source)
        for ref in list(entry.named_by):
            self.changed(ref)


def _known(entry: _Entry[Any]) -> tuple[object, ...]:
    """Return what of an entry others go by."""
    return entry.credentials, entry.problems, entry.takes_variables


def _references(plan: Plan | WakegateError) -> tuple[Reference, ...]:
    return plan.references() if isinstance(plan, Plan) else ()


def _failure(reference: Reference, answer: Document | WakegateError | None) -> WakegateError | None:
    if isinstance(answer, DeniedError):
        if reference.kind == SERVICE_ACCOUNT:
            grant = f"grant create of serviceaccounts/token, by its name, in namespace {reference.namespace}"
            return SpecError(str(reference), None, f"its token may not be asked for; {grant}")
        return unreadable(str(reference), reference.namespace)
    return answer if isinstance(answer, WakegateError) else None


def _denied(source: AuthenticationSource) -> SpecError:
    if source.kind != CLUSTER_TRIGGER_AUTHENTICATION:
        return unreadable(str(source), source.namespace)
    grant = "grant get of clustertriggerauthentications.keda.sh to wakegate's ServiceAccount by a ClusterRoleBinding"
    return SpecError(str(source), None, f"it may not be read; {grant}")


def _source_path(source: AuthenticationSource) -> str:
    """Path of the object that says where the parameters are; empty: there is none."""
    if plan_without_document(source) is not None:
        return ""
    if source.kind == CLUSTER_TRIGGER_AUTHENTICATION:
        return f"{paths.collection(_KEDA, 'clustertriggerauthentications')}/{source.name}"
    return paths.member(_KEDA, "triggerauthentications", source.namespace, source.name)
