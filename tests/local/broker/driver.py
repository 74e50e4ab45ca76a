"""Drives the state machine of the embedded broker by hand: requests in, answers out, time as a number."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

from activator.local.broker.broker import Broker
from activator.local.broker.config import BrokerConfig
from activator.local.broker.messages import APIS
from activator.local.broker.protocol import ApiKey, Body, Disconnect, ErrorCode, Reply, Request
from activator.local.broker.record_format import AiokafkaRecordFormat
from tests.conformance.raw_client import batch_of

if TYPE_CHECKING:
    from activator.local.broker.protocol import Outcome
    from activator.local.broker.wire import Field

START_MS = 1_000_000_000_000.0


def record_format() -> AiokafkaRecordFormat:
    """The record format of every test."""
    return AiokafkaRecordFormat()


def whole(fields: tuple[Field, ...], body: Body) -> Body:
    """The body with the fields that were left out, as the wire's reader hands it over.

    A name that no version knows is a slip; only what one version says at the top and another in a list may be there.
    """
    assert set(body) <= {field.name for field in fields} | {"key", "group_id", "member_id"}, body
    filled = {field.name: field.absent for field in fields} | body
    for field in fields:
        nested = getattr(field.type, "of", None)
        if isinstance(nested, tuple) and filled[field.name] is not None:
            filled[field.name] = [whole(nested, item) for item in filled[field.name]]
    return filled


class Driver:
    """One broker, its time, and who waits for what."""

    def __init__(self, config: BrokerConfig | None = None) -> None:
        self.now_ms = START_MS
        self.broker = Broker(config or BrokerConfig(group_first_member_wait_ms=0), record_format(), Random(1))  # noqa: S311 - the same ids each time
        self.broker.start("broker", 9092, self.now_ms)
        self.waiting: set[int] = set()
        self.answers: dict[int, Body | None] = {}
        self.disconnected: set[int] = set()
        self._asked: dict[int, ApiKey] = {}
        self._tokens = count(1)

    def send(self, api: ApiKey, body: Body, version: int | None = None) -> int:
        """Send a request, and answer the token by which its answer is found."""
        token = next(self._tokens)
        layout = APIS[api]
        self.waiting.add(token)
        self._asked[token] = api
        request = Request(
            token,
            api,
            layout.last if version is None else version,
            "test",
            "/127.0.0.1",
            whole(layout.request.fields, body),
        )
        self.take(self.broker.handle(request, self.now_ms))
        return token

    def ask(self, api: ApiKey, body: Body, version: int | None = None) -> Any:
        """Send a request that is answered at once."""
        token = self.send(api, body, version)
        assert token in self.answers, f"{api.name} waits"
        return self.answers.pop(token)

    def advance(self, milliseconds: float) -> None:
        """Let time pass, stopping at every deadline on the way."""
        until_ms = self.now_ms + milliseconds
        while (deadline_ms := self.broker.next_deadline_ms()) is not None and deadline_ms <= until_ms:
            self.now_ms = max(self.now_ms, deadline_ms)
            self.take(self.broker.run_due(self.now_ms))
        self.now_ms = until_ms

    def take(self, outcomes: list[Outcome]) -> None:
        """Keep the answers; each must be for a request that waits, and each such gets one."""
        for outcome in outcomes:
            assert outcome.token in self.waiting, "an answer that nobody waits for"
            self.waiting.remove(outcome.token)
            match outcome:
                case Reply(token, None):
                    self.answers[token] = None
                case Reply(token, body):
                    self.answers[token] = whole(APIS[self._asked.pop(token)].response.fields, body or {})
                case Disconnect(token):
                    self.disconnected.add(token)

    # -- what most tests need ---------------------------------------------------------------------------------------

    def create(self, name: str = "orders", partitions: int = 1, **configs: str) -> None:
        """Make a topic."""
        settings = {key.replace("_", "."): value for key, value in configs.items()}
        self.broker.create_topic(name, partitions, dict(settings))

    def produce(self, *values: bytes, topic: str = "orders", partition: int = 0, **batch: Any) -> Body:
        """Append one batch, and answer what the partition was answered."""
        records = memoryview(batch_of(values, **{"timestamp_ms": int(self.now_ms), **batch}))
        body = {
            "transactional_id": None,
            "acks": -1,
            "topics": [{"name": topic, "partitions": [{"partition": partition, "records": records}]}],
        }
        return sole_partition(self.ask(ApiKey.PRODUCE, body))

    def fetch_body(self, *positions: tuple[int, int], topic: str = "orders", **more: Any) -> Body:
        """A fetch of (partition, offset) pairs."""
        partitions = [
            {
                "partition": partition,
                "fetch_offset": offset,
                "partition_max_bytes": more.get("partition_max_bytes", 1 << 20),
            }
            for partition, offset in positions
        ]
        return {
            "max_wait_ms": 0,
            "min_bytes": 1,
            "max_bytes": 1 << 20,
            "topics": [{"name": topic, "partitions": partitions}] if partitions else [],
            **{key: value for key, value in more.items() if key != "partition_max_bytes"},
        }

    def end_offset(self, topic: str = "orders", partition: int = 0) -> Body:
        """What ListOffsets answers for the end."""
        body = {"topics": [{"name": topic, "partitions": [{"partition": partition, "timestamp": -1}]}]}
        return sole_partition(self.ask(ApiKey.LIST_OFFSETS, body))

    def commit(
        self,
        offset: int,
        group: str = "group",
        topic: str = "orders",
        *,
        version: int | None = None,
        **more: Any,
    ) -> ErrorCode:
        """Commit for partition 0, as an administrator unless told otherwise."""
        partitions = [{"partition": 0, "committed_offset": offset}]
        body = {"group_id": group, "topics": [{"name": topic, "partitions": partitions}], **more}
        return ErrorCode(sole_partition(self.ask(ApiKey.OFFSET_COMMIT, body, version))["error_code"])

    def committed(self, group: str = "group", topic: str = "orders") -> int:
        """The committed offset of partition 0; -1 is none."""
        body = {"groups": [{"group_id": group, "topics": [{"name": topic, "partitions": [0]}]}]}
        return int(sole_partition(self.ask(ApiKey.OFFSET_FETCH, body)["groups"][0])["committed_offset"])

    def state_of(self, group: str = "group") -> str:
        """The state that DescribeGroups shows."""
        return str(self.ask(ApiKey.DESCRIBE_GROUPS, {"groups": [group]})["groups"][0]["group_state"])


def sole_partition(answer: Body) -> Body:
    """The only partition of the only topic of an answer."""
    (topic,) = answer["topics"]
    (partition,) = topic["partitions"]
    return dict(partition)


def join_body(group: str = "group", *, member: str = "", **more: Any) -> Body:
    """JoinGroup."""
    return {
        "group_id": group,
        "session_timeout_ms": 10_000,
        "rebalance_timeout_ms": 30_000,
        "member_id": member,
        "protocol_type": "consumer",
        "protocols": [{"name": "range", "metadata": b""}],
        **more,
    }
