"""The committed offsets of one group."""

from __future__ import annotations

from dataclasses import dataclass, field

from activator.local.broker.protocol import NO_OFFSET, Body


@dataclass(frozen=True, slots=True)
class Committed:
    """What a group committed for one partition, and when."""

    offset: int
    leader_epoch: int
    metadata: str
    committed_ms: float
    expires_ms: float | None = None
    """Where the commit came with a retention of its own (OffsetCommit v2 to v4); None: as the group's go."""


@dataclass(slots=True)
class CommittedOffsets:
    """Committed offsets by topic and partition."""

    by_topic: dict[str, dict[int, Committed]] = field(default_factory=dict)

    def commit(self, topic: str, partition: int, committed: Committed) -> None:
        """Remember an offset in place of the one before."""
        self.by_topic.setdefault(topic, {})[partition] = committed

    def fetch(self, topics: list[Body] | None) -> list[Body]:
        """What OffsetFetch answers for these partitions (-1 where nothing is committed), or for all there are."""
        if topics is None:
            topics = [{"name": topic, "partitions": list(offsets)} for topic, offsets in self.by_topic.items()]
        return [
            {
                "name": topic["name"],
                "partitions": [self._answer(topic["name"], partition) for partition in topic["partitions"]],
            }
            for topic in topics
        ]

    def _answer(self, topic: str, partition: int) -> Body:
        committed = self.by_topic.get(topic, {}).get(partition)
        if committed is None:
            return {"partition": partition, "committed_offset": NO_OFFSET}
        return {
            "partition": partition,
            "committed_offset": committed.offset,
            "committed_leader_epoch": committed.leader_epoch,
            "metadata": committed.metadata,
        }

    def delete(self, topic: str, partition: int) -> None:
        """Forget one partition; one without a commit is fine."""
        offsets = self.by_topic.get(topic, {})
        offsets.pop(partition, None)
        if not offsets:
            self.by_topic.pop(topic, None)

    def delete_topic(self, topic: str) -> None:
        """Forget a topic that is gone."""
        self.by_topic.pop(topic, None)

    def expire(self, now_ms: float, retention_ms: float, empty_since_ms: float | None) -> None:
        """Forget what is due of a group without members (KIP-211).

        `empty_since_ms` is when its last member left; None: it never had one, and its commits count from themselves.
        """
        for topic in tuple(self.by_topic):
            for partition, committed in tuple(self.by_topic[topic].items()):
                since_ms = committed.committed_ms if empty_since_ms is None else empty_since_ms
                due_ms = since_ms + retention_ms if committed.expires_ms is None else committed.expires_ms
                if due_ms <= now_ms:
                    self.delete(topic, partition)
