"""Handoff: our HPAs, made and removed; and whose HPAs else there are, from one watch."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from activator.core.naming import FIELD_MANAGER
from activator.errors import UnavailableError
from activator.kubernetes import paths
from activator.kubernetes.client import REQUEST_DEADLINE
from activator.kubernetes.hpa_object import API_VERSION, MANAGED_BY_LABEL, PLURAL, build, says
from activator.kubernetes.reflector import Key, Reflector
from activator.ports import HandoffView

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activator.core.model import Policy, ScaledObject, TargetRef
    from activator.kubernetes.client import Document, KubernetesClient

_log = logging.getLogger(__name__)

_Workload = tuple[str, str, str, str]
"""Namespace, API group, kind and name: an HPA may name another version of the same group."""


@dataclass(frozen=True, slots=True)
class _SeenHpa:
    """What is kept of an HPA: of a foreign one only whom it drives."""

    drives: _Workload
    uid: str
    resource_version: str
    scaling_active: bool | None = None
    message: str = ""
    metadata: Document | None = None
    """Labels and owners, of ours only."""
    spec: Document | None = None
    """Of ours only."""
    owners: frozenset[str] = frozenset()
    """The uids of who owns it."""
    created: datetime | None = None
    """By the API server's clock; None: it does not say."""


_MADE_AGAIN = " (made again after wakegate had deleted it: does KEDA still watch this namespace?)"


class KubernetesHandoff:
    """Follows the HPAs of some namespaces (none named: of all) and keeps ours as the policies ask."""

    def __init__(self, client: KubernetesClient, namespaces: Sequence[str] = ()) -> None:
        self._client = client
        self.rivals_changed: Callable[[str, str], None] = lambda _namespace, _name: None
        """Called with a workload that somebody else's HPA drives from now on, or drives no more."""
        self.taken_over_at: Callable[[TargetRef], datetime | None] = lambda _: None
        """Since when a target is managed, also by earlier processes; None: not known."""
        self._seen: dict[Key, _SeenHpa] = {}
        self._drivers: dict[_Workload, set[Key]] = {}
        self._applied: dict[Key, tuple[Document, Document | None]] = {}
        self._asked: dict[TargetRef, Key] = {}
        """The HPA that was applied last for each target."""
        self._taken_away: dict[TargetRef, str] = {}
        """The uid of the HPA that KEDA had left for each target, and that this process has deleted."""
        followed = paths.followed(API_VERSION, PLURAL, namespaces)
        self._unlisted = set(followed)
        self._listed = asyncio.Event()
        self._reflectors = [Reflector(client, path, _Follower(self, path)) for path in followed]

    async def run(self) -> None:
        """Follow all HPAs until cancelled; survives outages by itself."""
        async with asyncio.TaskGroup() as group:
            for reflector in self._reflectors:
                group.create_task(reflector.run(), name="reflector of HPAs")

    async def listed(self) -> None:
        """Wait until every HPA has been seen once: before that, `look` knows of no rival."""
        await self._listed.wait()

    def look(self, ref: TargetRef, scaled_object: ScaledObject | None = None) -> HandoffView:
        """Tell what is known now, without leaving the process.

        Ours is known by its label, not by its name, which a ScaledObject chooses. One that KEDA made for the very
        ScaledObject that we follow, or that it is to take over, is no rival: the next apply makes it ours, or the next
        removal takes it away. One that is made after that is: a KEDA that lives would do so for ever. It is known by
        its age too, since the process that deleted the first may be another.
        """
        drivers = self._drivers.get(_workload(ref), set())
        our_keys = self._ours(ref)
        ours = self._seen[our_keys[0]] if our_keys else None
        left = self._left_by_keda(ref, scaled_object)
        rivals = sorted(
            f"{key[1]}{_MADE_AGAIN if self._belongs(key, scaled_object) else ''}"
            for key in drivers.difference(our_keys, left)
        )
        return HandoffView(
            rival=f"HorizontalPodAutoscaler {rivals[0]}" if rivals else None,
            ours=ours is not None or bool(left),
            scaling_active=ours.scaling_active if ours else None,
            message=ours.message if ours else "",
        )

    async def ensure(self, ref: TargetRef, uid: str, policy: Policy, partitions: int | None) -> None:
        """Make the HPA what the policy asks for; nothing is sent where it is so already.

        Raises InvalidError, DeniedError, UnavailableError (also while HPAs have not been listed yet), ConflictError.
        """
        await self._until_listed()
        wanted = build(ref, uid, policy, partitions)
        key = ref.namespace, wanted["metadata"]["name"]
        for other in self._ours(ref):
            if other != key:  # it was named otherwise before: two would fight
                await self._delete(other)
        if self._is_there(key, wanted):
            return
        self._asked[ref] = key
        self.take(await self._client.apply(_path(key), wanted))
        self._applied[key] = wanted, self._seen[key].spec

    async def remove(self, ref: TargetRef, scaled_object: ScaledObject | None = None) -> None:
        """Delete our HPA where there is one, and the one that KEDA left for `scaled_object`.

        That one is known to no other: without KEDA nobody else would change its bounds, or stop it from following cpu
        and memory beside us. Raises DeniedError, UnavailableError.
        """
        await self._until_listed()
        asked = self._asked.get(ref)
        for key in dict.fromkeys([*self._ours(ref), *([asked] if asked else [])]):
            await self._delete(key)
        self._asked.pop(ref, None)
        if scaled_object is None:  # it is given back: whoever comes next begins anew
            self._taken_away.pop(ref, None)
        for key in self._left_by_keda(ref, scaled_object):
            self._taken_away[ref] = self._seen[key].uid
            _log.info("%s: the HorizontalPodAutoscaler %s that KEDA left is deleted: no HPA moves it now", ref, key[1])
            await self._delete(key)

    async def _delete(self, key: Key) -> None:
        await self._client.delete(_path(key))
        self._applied.pop(key, None)
        self.lose(key)

    def _ours(self, ref: TargetRef) -> list[Key]:
        """Name our HPAs of a target: none or one, but for a moment while its name changes."""
        return sorted(key for key in self._drivers.get(_workload(ref), ()) if self._seen[key].spec is not None)

    def _left_by_keda(self, ref: TargetRef, scaled_object: ScaledObject | None) -> list[Key]:
        """Name the HPAs that are to become ours, or to go: those of the ScaledObject that were not made again."""
        gone, since = self._taken_away.get(ref), self.taken_over_at(ref)
        return sorted(
            key
            for key in self._drivers.get(_workload(ref), ())
            if self._seen[key].spec is None
            and self._belongs(key, scaled_object)
            and gone in {None, self._seen[key].uid}  # a watch that lags behind may still show the one that was deleted
            and not _was_made_after(self._seen[key], since)
        )

    def _belongs(self, key: Key, scaled_object: ScaledObject | None) -> bool:
        if scaled_object is None:
            return False
        is_named = scaled_object.transfers_hpa and key[1] == scaled_object.hpa_name
        return is_named or scaled_object.uid in self._seen[key].owners

    def take(self, document: Document) -> None:
        """Keep what is needed of an HPA, unless a later version of it is known already (from our own apply)."""
        key = document["metadata"]["namespace"], document["metadata"]["name"]
        hpa = _decode(document)
        before = self._seen.get(key)
        if before and _is_later(before.resource_version, hpa.resource_version):
            return
        self._forget(key)
        self._seen[key] = hpa
        self._drivers.setdefault(hpa.drives, set()).add(key)
        self._tell_rivals(before, hpa)

    def lose(self, key: Key) -> None:
        """Forget an HPA that is gone."""
        self._tell_rivals(self._forget(key), None)

    def _forget(self, key: Key) -> _SeenHpa | None:
        hpa = self._seen.pop(key, None)
        if hpa is not None:
            drivers = self._drivers[hpa.drives]
            drivers.discard(key)
            if not drivers:
                del self._drivers[hpa.drives]
        return hpa

    def _tell_rivals(self, before: _SeenHpa | None, after: _SeenHpa | None) -> None:
        """Tell of a foreign HPA that comes, goes or moves; not of its status, which changes every few seconds."""
        driven = [hpa.drives if hpa is not None and hpa.spec is None else None for hpa in (before, after)]
        if driven[0] != driven[1]:
            for namespace, _, _, name in filter(None, driven):
                self.rivals_changed(namespace, name)

    def took_all(self, path: str) -> None:
        """Take note that one collection has been seen whole."""
        self._unlisted.discard(path)
        if not self._unlisted:
            self._listed.set()

    def _is_there(self, key: Key, wanted: Document) -> bool:
        there = self._seen.get(key)
        if there is None:
            return False
        if says(there.metadata, {"labels": wanted["metadata"]["labels"]}) and _owned(there, wanted):
            # A server that does not know a field drops it (tolerance, before 1.33): what it made of our very words is
            # as good as it gets, and applying them again every cycle would change nothing.
            return says(there.spec, wanted["spec"]) or self._applied.get(key) == (wanted, there.spec)
        return False

    async def _until_listed(self) -> None:
        try:
            async with asyncio.timeout(REQUEST_DEADLINE.total_seconds()):
                await self._listed.wait()
        except TimeoutError:
            raise UnavailableError(f"API server {self._client.server}", "its HPAs could not be listed yet") from None


class _Follower:
    """Hands what one reflector sees to the handoff."""

    def __init__(self, handoff: KubernetesHandoff, path: str) -> None:
        self._handoff = handoff
        self._path = path

    def seen(self, document: Document) -> bool:
        self._handoff.take(document)
        return True

    def gone(self, key: Key) -> None:
        self._handoff.lose(key)

    def listed(self) -> None:
        self._handoff.took_all(self._path)


def _decode(document: Document) -> _SeenHpa:
    metadata, spec = document["metadata"], document["spec"]
    target = spec["scaleTargetRef"]
    drives = metadata["namespace"], _group(target.get("apiVersion", "")), target["kind"], target["name"]
    owners = frozenset(owner["uid"] for owner in metadata.get("ownerReferences") or ())
    if (metadata.get("labels") or {}).get(MANAGED_BY_LABEL) != FIELD_MANAGER:
        stamp = metadata.get("creationTimestamp")
        created = datetime.fromisoformat(stamp) if stamp else None
        return _SeenHpa(drives, metadata["uid"], metadata["resourceVersion"], owners=owners, created=created)
    active = _condition(document, "ScalingActive")
    return _SeenHpa(
        drives=drives,
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        scaling_active={"True": True, "False": False}.get(active.get("status", "")),
        message=active.get("message", ""),
        metadata={"labels": metadata["labels"], "ownerReferences": metadata.get("ownerReferences") or []},
        spec=spec,
    )


def _was_made_after(hpa: _SeenHpa, since: datetime | None) -> bool:
    """Tell whether an HPA is younger than a takeover.

    No allowance is made for clocks that differ: a KEDA that lives makes it again within a second or two, and one that
    is gone has made it long before.
    """
    return hpa.created is not None and since is not None and hpa.created > since


def _condition(document: Document, kind: str) -> dict[str, str]:
    conditions: list[dict[str, str]] = (document.get("status") or {}).get("conditions") or []
    return next((condition for condition in conditions if condition["type"] == kind), {})


def _owned(there: _SeenHpa, wanted: Document) -> bool:
    owners: list[Any] = (there.metadata or {}).get("ownerReferences", [])
    return any(says(owner, wanted["metadata"]["ownerReferences"][0]) for owner in owners)


def _is_later(one: str, other: str) -> bool:
    """Tell whether a resourceVersion is later than another; those of one object are integers in practice (KEP-5504)."""
    return one.isdecimal() and other.isdecimal() and int(one) > int(other)


def _path(key: Key) -> str:
    return paths.member(API_VERSION, PLURAL, *key)


def _workload(ref: TargetRef) -> _Workload:
    return ref.namespace, _group(ref.api_version), ref.kind, ref.name


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]
