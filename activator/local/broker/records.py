"""Records going in, looked up and going away: Produce, InitProducerId, ListOffsets, DeleteRecords, retention."""

from __future__ import annotations

import heapq
from collections import Counter
from typing import TYPE_CHECKING

from activator.local.broker.batch import ZSTD, Batch, RecordFormat, parse_produced
from activator.local.broker.log import BATCH_OVERHEAD, NOT_FOUND, PartitionLog, TimestampOffset
from activator.local.broker.protocol import LEADER_EPOCH, ApiError, ApiKey, Body, ErrorCode, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.local.broker.config import BrokerConfig, TopicConfig
    from activator.local.broker.faults import Faults
    from activator.local.broker.topics import Topics

_LATEST, _EARLIEST, _MAX_TIMESTAMP = -1, -2, -3
_FIRST_VERSION_WITH_ZSTD = 7
_ACKS_NONE, _ACKS_LEADER, _ACKS_ALL = 0, 1, -1


class Records:
    """The requests about the records of existing partitions; `changed(name, partition)` is called where one got any."""

    def __init__(
        self,
        config: BrokerConfig,
        topics: Topics,
        faults: Faults,
        record_format: RecordFormat,
        changed: Callable[[str, int], None],
    ) -> None:
        self._config = config
        self._topics = topics
        self._faults = faults
        self._format = record_format
        self._changed = changed
        self._next_producer_id = 0
        self._memory_bytes = 0
        self.has_evicted = False
        """Whether records have gone for want of memory, whatever their retention."""

    # -- in -----------------------------------------------------------------------------------------------------

    def produce(self, request: Request, now_ms: float) -> Body:
        """Append one batch to each partition named; with acks=0 the answer is not sent."""
        refused = self._refusal(request.body)
        answers = []
        for topic in request.body["topics"]:
            partitions = [
                self._append(request, topic["name"], data, now_ms) if refused is None else _refused(data, refused)
                for data in topic["partitions"]
            ]
            answers.append({"name": topic["name"], "partitions": partitions})
        return {"topics": answers}

    def _refusal(self, body: Body) -> ApiError | None:
        """Why nothing of this request is taken."""
        if body["transactional_id"] is not None:
            return ApiError(ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "transactions are not supported")
        if body["acks"] not in {_ACKS_NONE, _ACKS_LEADER, _ACKS_ALL}:
            return ApiError(ErrorCode.INVALID_REQUIRED_ACKS)
        return None

    def _append(self, request: Request, name: str, data: Body, now_ms: float) -> Body:
        partition = data["partition"]
        try:
            self._faults.check(ApiKey.PRODUCE, topic=name, partition=partition)
            log = self._topics.partition(name, partition)
            config = self._topics[name].config
            batch = self._batch_of(data["records"], request.version, config)
        except ApiError as refused:
            return _refused(data, refused)
        try:
            done = log.append(batch, now_ms, log_append_time=config.log_append_time, records=self._format)
        except ApiError as refused:
            return _refused(data, refused) | {"log_start_offset": log.start_offset}
        if not done.duplicate:
            self._keep_to_memory(len(batch.data) + BATCH_OVERHEAD)
            self._changed(name, partition)
        return {
            "partition": partition,
            "base_offset": done.base_offset,
            "log_append_time_ms": done.log_append_time_ms,
            "log_start_offset": log.start_offset,
        }

    def _batch_of(self, records: memoryview | None, version: int, config: TopicConfig) -> Batch:
        """The batch, if the topic takes it.

        Raises:
            ApiError: as `parse_produced`; MESSAGE_TOO_LARGE over the topic's limit.
        """
        batch = parse_produced(records, self._format)
        if batch.codec == ZSTD and version < _FIRST_VERSION_WITH_ZSTD:
            raise ApiError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, "Produce below version 7 cannot carry zstd")
        if len(batch.data) > config.max_message_bytes:
            raise ApiError(
                ErrorCode.MESSAGE_TOO_LARGE,
                f"a batch of {len(batch.data)} bytes; max.message.bytes is {config.max_message_bytes}",
            )
        return batch

    def init_producer_id(self, request: Request, _now_ms: float) -> Body:
        """A new producer id; asking for one with a transactional id is refused."""
        if request.body["transactional_id"] is not None:
            return {"error_code": ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED}
        error = self._faults.error(ApiKey.INIT_PRODUCER_ID)
        if error is not None:
            return {"error_code": error}
        producer_id = self._next_producer_id
        self._next_producer_id += 1
        return {"producer_id": producer_id, "producer_epoch": 0}

    # -- where --------------------------------------------------------------------------------------------------

    def list_offsets(self, request: Request, _now_ms: float) -> Body:
        """Offsets by time: -1 asks for the end, -2 for the start, -3 for the newest record.

        Without transactions the last stable offset is the high watermark, so both isolation levels see the same.
        """
        answers = []
        for topic in request.body["topics"]:
            times = Counter(wanted["partition"] for wanted in topic["partitions"])
            partitions = [
                self._list_offset(topic["name"], wanted)
                if times[partition] == 1
                else {"partition": partition, "error_code": ErrorCode.INVALID_REQUEST}
                for partition, wanted in {wanted["partition"]: wanted for wanted in topic["partitions"]}.items()
            ]
            answers.append({"name": topic["name"], "partitions": partitions})
        return {"topics": answers}

    def _list_offset(self, name: str, wanted: Body) -> Body:
        partition, timestamp = wanted["partition"], wanted["timestamp"]
        try:
            self._faults.check(ApiKey.LIST_OFFSETS, topic=name, partition=partition)
            log = self._topics.partition(name, partition)
            check_leader_epoch(wanted["current_leader_epoch"])
            found = self._look_up(name, partition, log, timestamp)
        except ApiError as refused:
            return {"partition": partition, "error_code": refused.code}
        answer = {"partition": partition, "timestamp": found.timestamp_ms, "offset": found.offset}
        return answer if found == NOT_FOUND else answer | {"leader_epoch": LEADER_EPOCH}

    def _look_up(self, name: str, partition: int, log: PartitionLog, timestamp: int) -> TimestampOffset:
        if timestamp == _LATEST:
            misreported = self._faults.end_offset(name, partition)
            return TimestampOffset(-1, log.end_offset if misreported is None else misreported)
        if timestamp == _EARLIEST:
            return TimestampOffset(-1, log.start_offset)
        if timestamp == _MAX_TIMESTAMP:
            return log.latest_timestamp(self._format)
        if timestamp < 0:
            raise ApiError(ErrorCode.UNSUPPORTED_VERSION)
        return log.first_at_or_after(timestamp, self._format)

    # -- out ----------------------------------------------------------------------------------------------------

    def delete_records(self, request: Request, _now_ms: float) -> Body:
        """Move the start of partitions (KIP-107); -1 means their end."""
        answers = []
        for topic in request.body["topics"]:
            partitions = [self._delete_before(topic["name"], wanted) for wanted in topic["partitions"]]
            answers.append({"name": topic["name"], "partitions": partitions})
        return {"topics": answers}

    def _delete_before(self, name: str, wanted: Body) -> Body:
        partition, offset = wanted["partition"], wanted["offset"]
        try:
            log = self._topics.partition(name, partition)
            start = log.delete_before(log.end_offset if offset == -1 else offset)
        except ApiError as refused:
            return {"partition": partition, "error_code": refused.code}
        self._changed(name, partition)
        return {"partition": partition, "low_watermark": start}

    def truncate(self, name: str, partition: int, offset: int) -> None:
        """Lose the records from `offset` on, as a broker does that comes back without its last writes.

        Raises:
            ApiError: UNKNOWN_TOPIC_OR_PARTITION.
        """
        self._topics.partition(name, partition).truncate_to(offset)
        self._changed(name, partition)

    def expire(self, now_ms: float) -> None:
        """Apply every topic's retention."""
        for topic in self._topics:
            age_ms = topic.config.retention_ms
            for number, log in enumerate(topic.partitions):
                start = log.start_offset
                log.expire(
                    older_than_ms=None if age_ms is None else now_ms - age_ms,
                    retention_bytes=topic.config.retention_bytes,
                )
                if log.start_offset != start:
                    self._changed(topic.name, number)
        self._memory_bytes = self._used()

    @property
    def memory_bytes(self) -> int:
        """What all batches take in memory."""
        return self._used()

    def _used(self) -> int:
        return sum(log.memory_bytes for topic in self._topics for log in topic.partitions)

    def _keep_to_memory(self, added: int) -> None:
        """Evict the broker's oldest batches once the cap is passed, a sixteenth of it at a time.

        `_memory_bytes` only ever runs ahead of the truth (what goes is not subtracted), so that the exact sum over
        every partition is taken rarely.
        """
        self._memory_bytes += added
        cap = self._config.memory_bytes
        if self._memory_bytes <= cap:
            return
        self._memory_bytes = self._used()
        if self._memory_bytes > cap:
            self.has_evicted = True
            self._evict(self._memory_bytes - cap + cap // 16)
            self._memory_bytes = self._used()

    def _evict(self, surplus: int) -> None:
        ages = [
            (log.oldest_append_ms, number, topic.name, log)
            for topic in self._topics
            for number, log in enumerate(topic.partitions)
            if log.oldest_append_ms is not None
        ]
        heapq.heapify(ages)
        while surplus > 0 and ages:
            _, number, name, log = ages[0]
            before = log.memory_bytes
            younger = min((age[0] for age in ages[1:3]), default=float("inf"))
            log.evict(not_after_ms=younger, memory_bytes=surplus)
            surplus -= before - log.memory_bytes
            self._changed(name, number)
            if log.oldest_append_ms is None:
                heapq.heappop(ages)
            else:
                heapq.heapreplace(ages, (log.oldest_append_ms, number, name, log))


def check_leader_epoch(current: int) -> None:
    """Refuse a client whose metadata knows another leader epoch than ours (KIP-320); -1 is no opinion.

    Raises:
        ApiError: FENCED_LEADER_EPOCH or UNKNOWN_LEADER_EPOCH.
    """
    if current > LEADER_EPOCH:
        raise ApiError(ErrorCode.UNKNOWN_LEADER_EPOCH)
    if -1 < current < LEADER_EPOCH:
        raise ApiError(ErrorCode.FENCED_LEADER_EPOCH)


def _refused(data: Body, refused: ApiError) -> Body:
    return {"partition": data["partition"], "error_code": refused.code, "error_message": refused.message}
