"""What many consumer groups have committed and what state they are in, in few requests.

Both ask each group's coordinator, 200 groups a request, and once more where a coordinator has moved.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from activator.core.model import GroupState
from activator.kafka.error_codes import COORDINATOR_MOVED, error_name, explain_group
from activator.kafka.requests import (
    NO_OFFSET,
    CommitRow,
    ConsumerGroupDescribe,
    DescribeGroups,
    GroupRow,
    OffsetFetch,
    OffsetFetchGroups,
)
from activator.kafka.topology import GROUPS_PER_REQUEST, KAFKA_FAILURES, REQUESTS_AT_ONCE, Failure, batched

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

    from activator.kafka.client import ClusterClient
    from activator.kafka.topology import Topology
    from activator.ports import TopicPartition

    Commits = dict[TopicPartition, int | Failure | None]
    """Committed offset by partition; None: the group has none there."""

Answer = TypeVar("Answer")

RETRY_SECONDS = 0.1
"""A coordinator that has just moved needs a moment to load its groups."""


class GroupView(NamedTuple):
    """A group's state as described."""

    state: GroupState
    members: int | None
    """None: unknown."""
    topics: frozenset[str] | None = None
    """What its members are subscribed to or assigned; None: unknown."""


UNKNOWN_GROUP = GroupView(GroupState.UNKNOWN, None)


class Groups:
    """Reads groups of one cluster."""

    def __init__(self, client: ClusterClient, topology: Topology) -> None:
        self._client = client
        self._topology = topology

    async def committed(self, wanted: Mapping[str, Mapping[str, Sequence[int]] | None]) -> dict[str, Commits | Failure]:
        """Read committed offsets: None where a group has none, a Failure for a partition or for a whole group.

        Args:
            wanted: partitions by topic, by group; None: wherever it has committed.
        """

        async def ask(node: int, groups: Sequence[str]) -> dict[str, Commits | Failure]:
            return await self._fetch(node, {group: wanted[group] for group in groups})

        return await self._by_coordinator(list(wanted), ask)

    async def described(self, groups: Collection[str]) -> dict[str, GroupView]:
        """Read states and numbers of members; what cannot be read is unknown.

        Classic groups are asked for first. A KIP-848 group is answered as Dead there: those are asked for again by
        the new protocol's request where the broker offers it. Dead tells nothing about members: groups of other kinds
        (share, streams) look the same.
        """
        found = await self._by_coordinator(list(groups), self._describe)
        return {group: UNKNOWN_GROUP if isinstance(view, Failure) else view for group, view in found.items()}

    async def _by_coordinator(
        self,
        groups: Sequence[str],
        ask: Callable[[int, Sequence[str]], Awaitable[dict[str, Answer | Failure]]],
    ) -> dict[str, Answer | Failure]:
        found = await self._ask_once(groups, ask)
        again = [group for group, answer in found.items() if isinstance(answer, Failure) and _may_have_moved(answer)]
        if again:
            self._topology.forget_coordinators(again)
            await asyncio.sleep(RETRY_SECONDS)
            found |= await self._ask_once(again, ask)
        return found

    async def _ask_once(
        self,
        groups: Sequence[str],
        ask: Callable[[int, Sequence[str]], Awaitable[dict[str, Answer | Failure]]],
    ) -> dict[str, Answer | Failure]:
        found: dict[str, Answer | Failure] = {}
        by_node: dict[int, list[str]] = defaultdict(list)
        for group, node in (await self._topology.coordinators(groups)).items():
            if isinstance(node, Failure):
                found[group] = node
            else:
                by_node[node].append(group)
        asked = [ask(node, batch) for node, named in by_node.items() for batch in batched(named, GROUPS_PER_REQUEST)]
        for answer in await asyncio.gather(*asked):
            found |= answer
        return found

    async def _fetch(
        self, node: int, wanted: Mapping[str, Mapping[str, Sequence[int]] | None]
    ) -> dict[str, Commits | Failure]:
        try:
            if await self._client.offers(node, OffsetFetchGroups):
                return await self._fetch_rows(node, OffsetFetchGroups(wanted))
            return await self._fetch_one_by_one(node, wanted)
        except KAFKA_FAILURES as error:
            return dict.fromkeys(wanted, Failure(str(error)))

    async def _fetch_one_by_one(
        self, node: int, wanted: Mapping[str, Mapping[str, Sequence[int]] | None]
    ) -> dict[str, Commits | Failure]:
        limit = asyncio.Semaphore(REQUESTS_AT_ONCE)

        async def ask(group: str, partitions: Mapping[str, Sequence[int]] | None) -> dict[str, Commits | Failure]:
            async with limit:
                try:
                    return await self._fetch_rows(node, OffsetFetch(group, partitions))
                except KAFKA_FAILURES as error:
                    return {group: Failure(str(error))}

        found: dict[str, Commits | Failure] = {}
        for answer in await asyncio.gather(*(ask(group, partitions) for group, partitions in wanted.items())):
            found |= answer
        return found

    async def _fetch_rows(self, node: int, request: OffsetFetchGroups | OffsetFetch) -> dict[str, Commits | Failure]:
        where = self._client.place(node)
        commits: dict[str, Commits] = defaultdict(dict)
        found: dict[str, Commits | Failure] = {}
        for row in await self._client.rows(node, request):
            if isinstance(row, CommitRow):
                offset = None if row.offset == NO_OFFSET else row.offset
                failure = Failure(error_name(row.error), row.error)
                commits[row.group][row.topic, row.partition] = failure if row.error else offset
            elif row.error:
                found[row.group] = Failure(explain_group(row.error, row.group, where), row.error)
            else:
                found[row.group] = commits[row.group]
        return found

    async def _describe(self, node: int, groups: Sequence[str]) -> dict[str, GroupView | Failure]:
        try:
            found = await self._describe_rows(node, DescribeGroups(groups))
            dead = [group for group, view in found.items() if view == _DEAD]
            if dead and await self._client.offers(node, ConsumerGroupDescribe):
                new = await self._describe_rows(node, ConsumerGroupDescribe(dead))
                found |= {group: view for group, view in new.items() if not isinstance(view, Failure)}
        except KAFKA_FAILURES as error:
            return dict.fromkeys(groups, Failure(str(error)))
        return found

    async def _describe_rows(
        self, node: int, request: DescribeGroups | ConsumerGroupDescribe
    ) -> dict[str, GroupView | Failure]:
        found: dict[str, GroupView | Failure] = {}
        for row in await self._client.rows(node, request):
            found[row.group] = Failure(error_name(row.error), row.error) if row.error else _view(row)
        return found


_DEAD = GroupView(GroupState.DEAD, None)


def _view(row: GroupRow) -> GroupView:
    try:
        state = GroupState(row.state)
    except ValueError:
        return UNKNOWN_GROUP
    return _DEAD if state is GroupState.DEAD else GroupView(state, row.members, row.topics)


def _may_have_moved(failure: Failure) -> bool:
    return failure.code in COORDINATOR_MOVED or not failure.code
