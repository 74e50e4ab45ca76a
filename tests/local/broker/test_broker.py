"""The whole state machine against a simple model: whatever the order of requests and the passing of time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiokafka.record.default_records import DefaultRecordBatch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from activator.local.broker.config import BrokerConfig
from activator.local.broker.protocol import ApiKey, ErrorCode
from tests.local.broker.driver import Driver, join_body, sole_partition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from activator.local.broker.protocol import Body

PARTITIONS = 2
RETENTION_MS = 60_000
MEMORY_BYTES = 12_000
SESSION_MS, REBALANCE_MS = 10_000, 20_000
PRODUCER_ID = 5
SLOTS = st.integers(0, 2)
PARTITION = st.integers(0, PARTITIONS - 1)


@dataclass
class ModelLog:
    """A partition as a list: every value it ever got, and the sequence number of its producer."""

    values: list[bytes] = field(default_factory=list)
    sequence: int = 0
    last: tuple[int, int, list[bytes]] | None = None
    """(sequence, offset, values) of the last batch."""


@dataclass
class ModelMember:
    """A group member as its client sees itself; `waits` is the token of a join or sync that is not answered."""

    member_id: str = ""
    generation: int = -1
    leads: bool = False
    others: list[str] = field(default_factory=list)
    waits: tuple[ApiKey, int] | None = None
    assigned: bytes | None = None


class BrokerMachine(RuleBasedStateMachine):
    """Produces, fetches, commits, joins, syncs, leaves and lets time pass, in any order."""

    @initialize()
    def start(self) -> None:
        """A broker with little memory and a short retention."""
        self.driver = Driver(BrokerConfig(memory_bytes=MEMORY_BYTES, retention_check_interval_ms=1_000))
        self.driver.create("orders", PARTITIONS, retention_ms=str(RETENTION_MS))
        self.logs = [ModelLog() for _ in range(PARTITIONS)]
        self.members = [ModelMember() for _ in range(3)]
        self.committed = -1
        self.generation = 0
        self.count = 0
        self.waiting_fetch: tuple[int, int, int] | None = None

    # -- records ----------------------------------------------------------------------------------------------------

    @rule(partition=PARTITION, size=st.integers(1, 4))
    def produce(self, partition: int, size: int) -> None:
        """A batch gets the next offset."""
        log = self.logs[partition]
        values = [f"{partition}/{len(log.values) + number}".encode() * 20 for number in range(size)]
        answer = self.send_batch(partition, log.sequence, values)
        assert (answer["error_code"], answer["base_offset"]) == (ErrorCode.NONE, len(log.values))
        log.last = (log.sequence, len(log.values), values)
        log.sequence += size
        log.values += values

    @rule(partition=PARTITION)
    def produce_again(self, partition: int) -> None:
        """A batch that is repeated is stored once."""
        last = self.logs[partition].last
        if last is not None:
            sequence, offset, values = last
            answer = self.send_batch(partition, sequence, values)
            assert (answer["error_code"], answer["base_offset"]) == (ErrorCode.NONE, offset)

    @rule(partition=PARTITION, gap=st.integers(1, 5))
    def produce_out_of_order(self, partition: int, gap: int) -> None:
        """A batch after a gap is not stored."""
        log = self.logs[partition]
        if log.last is not None:
            answer = self.send_batch(partition, log.sequence + gap, [b"lost"])
            assert answer["error_code"] == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER

    def send_batch(self, partition: int, sequence: int, values: list[bytes]) -> Body:
        """A batch of the one idempotent producer."""
        return self.driver.produce(
            *values, partition=partition, producer_id=PRODUCER_ID, producer_epoch=0, base_sequence=sequence
        )

    @rule(partition=PARTITION, data=st.data())
    def fetch(self, partition: int, data: st.DataObject) -> None:
        """What is there is what was produced, from the offset on; what is not there is out of range."""
        log = self.logs[partition]
        offset = data.draw(st.integers(0, len(log.values) + 1))
        answer = sole_partition(self.driver.ask(ApiKey.FETCH, self.driver.fetch_body((partition, offset))))
        start = self.driver.broker.log("orders", partition).start_offset
        if not start <= offset <= len(log.values):
            assert answer["error_code"] == ErrorCode.OFFSET_OUT_OF_RANGE
            return
        found = {number: value for number, value in records_of(answer["records"]) if number >= offset}
        assert found == dict(enumerate(log.values[offset:], offset))
        assert answer["high_watermark"] == len(log.values)

    @precondition(lambda self: self.waiting_fetch is None)
    @rule(partition=PARTITION, wait_ms=st.integers(1, 30_000))
    def fetch_and_wait(self, partition: int, wait_ms: int) -> None:
        """A fetch at the end is answered by the next record or by time, and not before."""
        end = len(self.logs[partition].values)
        token = self.driver.send(ApiKey.FETCH, self.driver.fetch_body((partition, end), max_wait_ms=wait_ms))
        assert token in self.driver.waiting
        self.waiting_fetch = (token, partition, end)

    @rule(partition=PARTITION, data=st.data())
    def delete_records(self, partition: int, data: st.DataObject) -> None:
        """The start moves to where it is asked to be, and never back."""
        offset = data.draw(st.integers(0, len(self.logs[partition].values)))
        log = self.driver.broker.log("orders", partition)
        before = log.start_offset
        topics = [{"name": "orders", "partitions": [{"partition": partition, "offset": offset}]}]
        answer = sole_partition(self.driver.ask(ApiKey.DELETE_RECORDS, {"topics": topics}))
        assert answer["low_watermark"] == log.start_offset == max(before, offset)

    # -- the group --------------------------------------------------------------------------------------------------

    @rule(slot=SLOTS)
    def join(self, slot: int) -> None:
        """A member joins, or joins again."""
        member = self.members[slot]
        if member.waits is None:
            body = join_body(member=member.member_id, session_timeout_ms=SESSION_MS, rebalance_timeout_ms=REBALANCE_MS)
            member.waits = (ApiKey.JOIN_GROUP, self.driver.send(ApiKey.JOIN_GROUP, body, 3))
            self.read_answers()

    @rule(slot=SLOTS)
    def sync(self, slot: int) -> None:
        """A member asks for its assignment; the leader brings one for each."""
        member = self.members[slot]
        if member.waits is None and member.generation >= 0:
            given = [{"member_id": one, "assignment": one.encode()} for one in member.others if member.leads]
            body = self.of(member) | {"assignments": given}
            member.waits = (ApiKey.SYNC_GROUP, self.driver.send(ApiKey.SYNC_GROUP, body, 4))
            self.read_answers()

    @rule(slot=SLOTS)
    def heartbeat(self, slot: int) -> None:
        """A heartbeat is answered by what the group is."""
        member = self.members[slot]
        if member.waits is None and member.generation >= 0:
            self.take_error(member, self.driver.ask(ApiKey.HEARTBEAT, self.of(member))["error_code"])

    @rule(slot=SLOTS)
    def leave(self, slot: int) -> None:
        """A member that leaves is gone."""
        member = self.members[slot]
        if member.waits is None and member.member_id:
            leaving = [{"member_id": member.member_id}]
            self.driver.ask(ApiKey.LEAVE_GROUP, {"group_id": "group", "members": leaving})
            self.members[slot] = ModelMember()
            self.read_answers()

    @rule(slot=SLOTS)
    def commit(self, slot: int) -> None:
        """A commit of a member of this generation is kept, and no other is."""
        member = self.members[slot]
        if member.generation >= 0:
            offset = self.count = self.count + 1
            error = self.driver.commit(offset, generation_id=member.generation, member_id=member.member_id)
            if error == ErrorCode.NONE:
                assert member.generation == self.generation
                self.committed = offset

    @rule()
    def commit_as_administrator(self) -> None:
        """Taken while the group is empty, refused while anybody is in it."""
        state = self.driver.state_of()
        offset = self.count = self.count + 1
        error = self.driver.commit(offset)
        assert (error == ErrorCode.NONE) == (state in {"Empty", "Dead"})
        if error == ErrorCode.NONE:
            self.committed = offset

    @rule(milliseconds=st.sampled_from([1, 900, 5_000, SESSION_MS, REBALANCE_MS, RETENTION_MS + 1_000]))
    def pass_time(self, milliseconds: int) -> None:
        """Deadlines come, one after the other."""
        self.driver.advance(milliseconds)
        self.read_answers()

    def of(self, member: ModelMember) -> Body:
        """The member in a request."""
        return {"group_id": "group", "generation_id": member.generation, "member_id": member.member_id}

    def read_answers(self) -> None:
        """Members see the answers they waited for."""
        for member in self.members:
            if member.waits is not None and member.waits[1] in self.driver.answers:
                api, token = member.waits
                member.waits = None
                self.read_answer(member, api, self.driver.answers.pop(token) or {})

    def read_answer(self, member: ModelMember, api: ApiKey, answer: Body) -> None:
        """What one answer means for its member."""
        if answer["error_code"]:
            self.take_error(member, answer["error_code"])
        elif api == ApiKey.JOIN_GROUP:
            assert answer["generation_id"] >= member.generation
            member.member_id, member.generation = answer["member_id"], answer["generation_id"]
            member.leads = answer["leader"] == member.member_id
            member.others = [one["member_id"] for one in answer["members"]]
            member.assigned = None
            assert not member.leads or member.member_id in member.others
            self.generation = max(self.generation, member.generation)
        else:
            member.assigned = bytes(answer["assignment"])
            assert member.assigned in {b"", member.member_id.encode()}

    @staticmethod
    def take_error(member: ModelMember, error: int) -> None:
        """A member that is not known any more begins anew, as clients do."""
        if error in {ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.ILLEGAL_GENERATION}:
            member.generation, member.leads, member.assigned = -1, False, None
        if error == ErrorCode.UNKNOWN_MEMBER_ID:
            member.member_id = ""

    # -- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def ends_are_what_was_produced(self) -> None:
        """No record is lost at the end, none is there twice; the start is between."""
        for partition, model in enumerate(self.logs):
            log = self.driver.broker.log("orders", partition)
            assert log.end_offset == len(model.values)
            assert 0 <= log.start_offset <= log.end_offset

    @invariant()
    def memory_is_bounded(self) -> None:
        """By the cap and one batch."""
        assert self.driver.broker.memory_bytes <= MEMORY_BYTES + 1_000

    @invariant()
    def the_committed_offset_is_the_last_one_taken(self) -> None:
        """Whatever happened to the group since."""
        assert self.driver.committed() == self.committed

    @invariant()
    def nothing_is_overdue(self) -> None:
        """Every deadline that came was seen to."""
        deadline_ms = self.driver.broker.next_deadline_ms()
        assert deadline_ms is not None
        assert deadline_ms > self.driver.now_ms

    @invariant()
    def a_waiting_fetch_waits_for_a_reason(self) -> None:
        """It is answered by a record, a moved start or its deadline; until then nothing is there to read."""
        if self.waiting_fetch is None:
            return
        token, partition, offset = self.waiting_fetch
        if token in self.driver.answers:
            self.driver.answers.pop(token)
            self.waiting_fetch = None
        else:
            assert len(self.logs[partition].values) == offset

    @invariant()
    def one_leads(self) -> None:
        """Of the members of one generation, one at most."""
        leaders = [member for member in self.members if member.leads and member.generation == self.generation]
        assert len(leaders) <= 1

    def teardown(self) -> None:
        """Given time, every member that waits is answered."""
        if hasattr(self, "driver"):
            self.driver.advance(4 * (REBALANCE_MS + SESSION_MS))
            self.read_answers()
            assert [member for member in self.members if member.waits is not None] == []


def records_of(batches: list[bytes]) -> Iterator[tuple[int, Any]]:
    """(offset, value) of every record."""
    for batch in batches:
        for record in DefaultRecordBatch(batch):
            yield record.offset, record.value


TestBroker = BrokerMachine.TestCase
TestBroker.settings = settings(max_examples=60, stateful_step_count=40)
