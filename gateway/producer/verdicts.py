"""What each of Kafka's error codes means for the batch it answers, one code a line.

Sources: the protocol's list of error codes (kafka.apache.org/protocol, "Error Codes"); the broker's order of checks in
`ReplicaManager.appendRecords` and `ProducerAppendInfo`, and what `DelayedProduce` answers after an append; KIP-360 for
what a producer may do about its sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from gateway.producer.outcome import Reason


class Action(Enum):
    """What to do with a batch."""

    ACKNOWLEDGE = "acknowledge"
    RETRY = "retry"
    """It was not written, and the same leader may take it later."""
    RETRY_ELSEWHERE = "retry elsewhere"
    """This is not, or not any more, the partition's leader. It may have been when the batch came: it then appended it,
    and lost the leadership while it waited for its replicas (`DelayedProduce.tryComplete`), one of which may lead now
    and have it. Only the same sequence numbers may be sent again."""
    RETRY_WRITTEN = "retry written"
    """It was appended but is not on enough replicas yet: only the same sequence numbers may be sent again."""
    SPLIT = "split"
    """It is too large: smaller batches, and where it is a single record already, refuse that."""
    NEW_IDENTITY = "new identity"
    """It was not written and nothing of this producer id will be: go on under a new one."""
    REFUSE = "refuse"
    """It was not written and never will be."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """An error code's name and what it asks for."""

    name: str
    action: Action
    reason: Reason = Reason.UNAVAILABLE


NO_ERROR: Final = Verdict("NONE", Action.ACKNOWLEDGE)

_VERDICTS: Final = {
    0: NO_ERROR,
    2: Verdict("CORRUPT_MESSAGE", Action.REFUSE, Reason.REFUSED),  # old brokers say so of a missing key (compaction)
    3: Verdict("UNKNOWN_TOPIC_OR_PARTITION", Action.RETRY_ELSEWHERE),  # stale metadata more often than a deleted topic
    5: Verdict("LEADER_NOT_AVAILABLE", Action.RETRY_ELSEWHERE),
    6: Verdict("NOT_LEADER_OR_FOLLOWER", Action.RETRY_ELSEWHERE),
    7: Verdict("REQUEST_TIMED_OUT", Action.RETRY_WRITTEN),
    8: Verdict("BROKER_NOT_AVAILABLE", Action.RETRY_ELSEWHERE),
    9: Verdict("REPLICA_NOT_AVAILABLE", Action.RETRY_ELSEWHERE),
    10: Verdict("MESSAGE_TOO_LARGE", Action.SPLIT, Reason.TOO_LARGE),
    13: Verdict("NETWORK_EXCEPTION", Action.RETRY_WRITTEN),
    17: Verdict("INVALID_TOPIC_EXCEPTION", Action.REFUSE, Reason.TOPIC_MISSING),
    18: Verdict("RECORD_LIST_TOO_LARGE", Action.SPLIT, Reason.TOO_LARGE),
    19: Verdict("NOT_ENOUGH_REPLICAS", Action.RETRY),
    20: Verdict("NOT_ENOUGH_REPLICAS_AFTER_APPEND", Action.RETRY_WRITTEN),
    29: Verdict("TOPIC_AUTHORIZATION_FAILED", Action.REFUSE, Reason.DENIED),
    31: Verdict("CLUSTER_AUTHORIZATION_FAILED", Action.REFUSE, Reason.DENIED),  # no IDEMPOTENT_WRITE before Kafka 3.0
    32: Verdict("INVALID_TIMESTAMP", Action.REFUSE, Reason.REFUSED),
    43: Verdict("UNSUPPORTED_FOR_MESSAGE_FORMAT", Action.REFUSE, Reason.REFUSED),
    44: Verdict("POLICY_VIOLATION", Action.REFUSE, Reason.REFUSED),
    45: Verdict("OUT_OF_ORDER_SEQUENCE_NUMBER", Action.NEW_IDENTITY),
    46: Verdict("DUPLICATE_SEQUENCE_NUMBER", Action.ACKNOWLEDGE),  # it has it, but no longer knows at which offset
    47: Verdict("INVALID_PRODUCER_EPOCH", Action.NEW_IDENTITY),
    49: Verdict("INVALID_PRODUCER_ID_MAPPING", Action.NEW_IDENTITY),
    56: Verdict("KAFKA_STORAGE_ERROR", Action.RETRY_ELSEWHERE),
    59: Verdict("UNKNOWN_PRODUCER_ID", Action.NEW_IDENTITY),
    74: Verdict("FENCED_LEADER_EPOCH", Action.RETRY_ELSEWHERE),
    75: Verdict("UNKNOWN_LEADER_EPOCH", Action.RETRY_ELSEWHERE),
    76: Verdict("UNSUPPORTED_COMPRESSION_TYPE", Action.REFUSE, Reason.REFUSED),
    87: Verdict("INVALID_RECORD", Action.REFUSE, Reason.REFUSED),
    89: Verdict("THROTTLING_QUOTA_EXCEEDED", Action.RETRY),
    90: Verdict("PRODUCER_FENCED", Action.NEW_IDENTITY),
}


def verdict(code: int) -> Verdict | None:
    """Return what an error code asks for; None: a code that says nothing about whether the batch was written."""
    return _VERDICTS.get(code)
