"""What a cluster lets us see and do, for `wakegate doctor`: brokers at their own addresses, topics, groups, rights.

Rights are asked for and not tried out (KIP-430, authorized operations): nothing is read and nothing is committed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from activator.doctor.facts import Access, BrokerReach, KafkaCluster
from activator.errors import DeniedError, UnavailableError
from activator.kafka.error_codes import ErrorCode
from activator.kafka.requests import BrokerRow, DescribeGroups, ListGroups, Metadata, TopicRow
from activator.kafka.topology import Failure, Topology, batched

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from activator.kafka.client import ClusterClient

_READ = 1 << 3
"""AclOperation READ, as bit of the authorized operations."""
_PER_REQUEST = 200
_INTERNAL = "__"


async def look(client: ClusterClient, topics: Collection[str], groups: Collection[str]) -> KafkaCluster:
    """Find out everything about these topics and groups; what goes wrong is part of the answer."""
    servers, credential = client.cluster.bootstrap_servers, client.cluster.credential
    try:
        rows = await client.rows_of_any(Metadata(sorted(topics), with_operations=True))
    except DeniedError as error:
        return KafkaCluster(servers, credential, problem=str(error), denied=True)
    except UnavailableError as error:
        return KafkaCluster(servers, credential, problem=str(error))
    brokers = [row for row in rows if isinstance(row, BrokerRow)]
    client.learn_all(brokers)
    asked = await asyncio.gather(*(_ask_broker(client, broker) for broker in brokers))
    found = {row.topic: _topic(row) for row in rows if isinstance(row, TopicRow)}
    names = sorted({name for _, listed in asked for name in listed})
    whole = all(not reach.problem for reach, _ in asked)
    return KafkaCluster(
        servers,
        credential,
        brokers=tuple(reach for reach, _ in asked),
        topics=found,
        groups=await _groups(client, sorted(groups), set(names), all_listed=whole),
        topic_names=await _topic_names(client) if any(access.exists is False for access in found.values()) else (),
        group_names=tuple(names),
    )


async def _ask_broker(client: ClusterClient, broker: BrokerRow) -> tuple[BrokerReach, list[str]]:
    """Reach a broker where it says that it is, and list the groups that it coordinates."""
    address = f"{broker.host}:{broker.port}"
    try:
        return BrokerReach(address), await client.rows(broker.node_id, ListGroups())
    except (UnavailableError, DeniedError) as error:
        return BrokerReach(address, str(error)), []


def _topic(row: TopicRow) -> Access:
    if row.error == ErrorCode.TOPIC_AUTHORIZATION_FAILED:
        return Access(exists=None, describe=False)
    if row.error == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
        return Access(exists=False)
    return Access(exists=True, read=_may_read(row.operations))


async def _topic_names(client: ClusterClient) -> tuple[str, ...]:
    try:
        rows = await client.rows_of_any(Metadata(None))
    except (UnavailableError, DeniedError):
        return ()  # only the nearest right name is not told
    names = (row.topic for row in rows if isinstance(row, TopicRow) and not row.error)
    return tuple(sorted(name for name in names if not name.startswith(_INTERNAL)))


async def _groups(client: ClusterClient, groups: list[str], listed: set[str], *, all_listed: bool) -> dict[str, Access]:
    found: dict[str, Access] = {}
    by_node: dict[int, list[str]] = {}
    for group, node in (await Topology(client).coordinators(groups)).items():
        if not isinstance(node, Failure):
            by_node.setdefault(node, []).append(group)
        elif node.code == ErrorCode.GROUP_AUTHORIZATION_FAILED:
            found[group] = Access(exists=None, describe=False)
    for node, named in by_node.items():
        for batch in batched(named, _PER_REQUEST):
            found |= await _described(client, node, batch, listed, all_listed=all_listed)
    return found


async def _described(
    client: ClusterClient, node: int, groups: Iterable[str], listed: set[str], *, all_listed: bool
) -> dict[str, Access]:
    try:
        rows = await client.rows(node, DescribeGroups(list(groups), with_operations=True))
    except (UnavailableError, DeniedError):
        return {}
    found = {}
    for row in rows:
        if row.error == ErrorCode.GROUP_AUTHORIZATION_FAILED:
            found[row.group] = Access(exists=None, describe=False)
        elif not row.error:
            # A group of the new protocol is described as Dead here, and is listed all the same.
            exists = True if row.group in listed or row.state != "Dead" else False if all_listed else None
            found[row.group] = Access(exists=exists, read=_may_read(row.operations), consumed=row.topics)
    return found


def _may_read(operations: int | None) -> bool | None:
    return None if operations is None else bool(operations & _READ)
