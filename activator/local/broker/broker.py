"""An in-memory Kafka of one node: the state machine, without sockets, clock or tasks.

Requests go in with the time, answers come out at once or after a later request or deadline:

    broker = Broker(BrokerConfig(), record_format, Random())
    outcomes = broker.handle(Request(token, ApiKey.FETCH, 7, body=...), now_ms)
    ...
    outcomes = broker.run_due(now_ms)        # at broker.next_deadline_ms()

Times are milliseconds since the epoch, as records carry them; they never go back. `server` gives it a socket.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from activator.local.broker.coordinator import Coordinator
from activator.local.broker.faults import Delay, DropConnection, Faults
from activator.local.broker.fetch import Fetches
from activator.local.broker.protocol import ApiKey, Body, Disconnect, Outcome, Reply, Request
from activator.local.broker.records import Records
from activator.local.broker.settings import Settings
from activator.local.broker.timers import Timers
from activator.local.broker.topics import Listener, Topics

if TYPE_CHECKING:
    from random import Random

    from activator.local.broker.batch import RecordFormat
    from activator.local.broker.config import BrokerConfig
    from activator.local.broker.log import PartitionLog

_Handler: TypeAlias = Callable[[Request, float], Body | None]


class Broker:
    """The whole broker; see the module for how it is driven."""

    def __init__(self, config: BrokerConfig, record_format: RecordFormat, random: Random) -> None:
        self.config = config
        self.faults = Faults()
        self._now_ms = 0.0
        self._outbox: list[Outcome] = []
        self._timers = Timers()
        self._topics = Topics(config, self.faults, changed=self._changed, deleted=self._deleted)
        self._records = Records(config, self._topics, self.faults, record_format, self._changed)
        rooms = (config, self._topics, self.faults, self._timers, self._outbox, random)
        self._fetches = Fetches(*rooms)
        self._coordinator = Coordinator(*rooms)
        self._handlers = self._table()

    def _table(self) -> dict[ApiKey, _Handler]:
        """Who answers what; None as an answer means later."""
        topics, records, groups = self._topics, self._records, self._coordinator
        return {
            ApiKey.PRODUCE: records.produce,
            ApiKey.FETCH: self._fetches.fetch,
            ApiKey.LIST_OFFSETS: records.list_offsets,
            ApiKey.METADATA: topics.metadata,
            ApiKey.OFFSET_COMMIT: groups.commit,
            ApiKey.OFFSET_FETCH: groups.fetch_offsets,
            ApiKey.FIND_COORDINATOR: groups.find,
            ApiKey.JOIN_GROUP: groups.join,
            ApiKey.HEARTBEAT: groups.heartbeat,
            ApiKey.LEAVE_GROUP: groups.leave,
            ApiKey.SYNC_GROUP: groups.sync,
            ApiKey.DESCRIBE_GROUPS: groups.describe,
            ApiKey.LIST_GROUPS: groups.list_groups,
            ApiKey.CREATE_TOPICS: topics.create_topics,
            ApiKey.DELETE_TOPICS: topics.delete_topics,
            ApiKey.DELETE_RECORDS: records.delete_records,
            ApiKey.INIT_PRODUCER_ID: records.init_producer_id,
            ApiKey.DESCRIBE_CONFIGS: Settings(self.config, topics).describe,
            ApiKey.CREATE_PARTITIONS: topics.create_partitions,
            ApiKey.DELETE_GROUPS: groups.delete_groups,
            ApiKey.OFFSET_DELETE: groups.delete_offsets,
            ApiKey.DESCRIBE_CLUSTER: topics.cluster,
        }

    # -- driving ------------------------------------------------------------------------------------------------

    def start(self, host: str, port: int, now_ms: float) -> None:
        """Tell clients this address from now on, and begin to look after retention."""
        self._now_ms = now_ms
        self._topics.listener = Listener(host, port)
        self._apply_retention(now_ms)
        self._expire_groups(now_ms)

    def handle(self, request: Request, now_ms: float) -> list[Outcome]:
        """Take one request in; answers come out for it, or for others that waited for what it did."""
        self._now_ms = now_ms
        fault = self.faults.on_request(request.api, self._topics_of(request), _groups_of(request.body))
        match fault:
            case Delay(milliseconds):
                due_ms = now_ms + milliseconds
                self._timers.set(("delay", request.token), due_ms, lambda late_ms: self._dispatch(request, late_ms))
            case DropConnection(after_effect):
                if after_effect:
                    self._dispatch(request, now_ms)
                    self._outbox[:] = [outcome for outcome in self._outbox if outcome.token != request.token]
                self._outbox.append(Disconnect(request.token))
            case None:
                self._dispatch(request, now_ms)
        return self._take_outcomes()

    def cancel(self, token: int) -> None:
        """The connection of this request is gone; a member that waited in a group stays until its session expires."""
        self._timers.cancel(("delay", token))
        self._fetches.cancel(token)

    def next_deadline_ms(self) -> float | None:
        """When to call `run_due` next."""
        return self._timers.next_ms()

    def run_due(self, now_ms: float) -> list[Outcome]:
        """Do what is due: late answers, expired sessions and offsets, retention."""
        self._now_ms = now_ms
        self._timers.run(now_ms)
        return self._take_outcomes()

    def flush(self) -> list[Outcome]:
        """The answers that came about by a direct call (`create_topic`, `truncate` ...) since the last outcome."""
        return self._take_outcomes()

    def _dispatch(self, request: Request, now_ms: float) -> None:
        body = self._handlers[request.api](request, now_ms)
        if body is not None:
            silent = request.api == ApiKey.PRODUCE and request.body["acks"] == 0
            self._outbox.append(Reply(request.token, None if silent else body))

    def _take_outcomes(self) -> list[Outcome]:
        outcomes = list(self._outbox)
        self._outbox.clear()
        return outcomes

    def _topics_of(self, request: Request) -> set[str]:
        if not self.faults:
            return set()
        body = request.body
        if request.api == ApiKey.FETCH:
            return self._fetches.topics_of(body)
        named = {topic["name"] for topic in body.get("topics") or () if topic["name"] is not None}
        return named | set(body.get("topic_names") or ())

    def _changed(self, name: str, partition: int) -> None:
        self._fetches.changed(name, partition, self._now_ms)

    def _deleted(self, name: str) -> None:
        self._coordinator.topic_deleted(name)

    def _apply_retention(self, now_ms: float) -> None:
        self._records.expire(now_ms)
        self._timers.set("retention", now_ms + self.config.retention_check_interval_ms, self._apply_retention)

    def _expire_groups(self, now_ms: float) -> None:
        self._coordinator.expire(now_ms)
        again_ms = now_ms + self.config.offsets_retention_check_interval_ms
        self._timers.set("offsets retention", again_ms, self._expire_groups)

    # -- direct calls, for a demo or a test in the same process ---------------------------------------------------

    def create_topic(self, name: str, partitions: int = 1, configs: dict[str, str | None] | None = None) -> None:
        """Make a topic.

        Raises:
            ApiError: with the code that CreateTopics answers.
        """
        self._topics.create(name, partitions, configs)

    def delete_topic(self, name: str) -> None:
        """Remove a topic.

        Raises:
            ApiError: UNKNOWN_TOPIC_OR_PARTITION.
        """
        self._topics.delete(name)

    def truncate(self, topic: str, partition: int, offset: int) -> None:
        """Lose the records from `offset` on, as a broker does that comes back without its last writes.

        Raises:
            ApiError: UNKNOWN_TOPIC_OR_PARTITION.
        """
        self._records.truncate(topic, partition, offset)

    def expire_offsets(self, group_id: str) -> None:
        """Forget a group's committed offsets now, as if their retention were over."""
        self._coordinator.expire_offsets(group_id)

    def log(self, topic: str, partition: int) -> PartitionLog:
        """One partition, to be looked at.

        Raises:
            ApiError: UNKNOWN_TOPIC_OR_PARTITION.
        """
        return self._topics.partition(topic, partition)

    @property
    def memory_bytes(self) -> int:
        """What all record batches take in memory."""
        return self._records.memory_bytes

    @property
    def has_evicted(self) -> bool:
        """Whether records have gone for want of memory, whatever their retention."""
        return self._records.has_evicted


def _groups_of(body: Body) -> list[str]:
    """The groups a request is about."""
    named = [body[key] for key in ("group_id", "key") if body.get(key)]
    listed = body.get("groups") or body.get("groups_names") or body.get("coordinator_keys") or ()
    return named + [group if isinstance(group, str) else group["group_id"] for group in listed]
