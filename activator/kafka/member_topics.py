"""Which topics the members of a consumer group are subscribed to or assigned, as either protocol describes them.

A classic member's subscription and assignment are bytes to the broker, written by the client and its assignor:
https://github.com/apache/kafka/tree/trunk/clients/src/main/resources/common/message (ConsumerProtocol*.json). Each
version of them begins alike, and what follows the topics is not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.kafka.wire import MALFORMED, Reader

if TYPE_CHECKING:
    from collections.abc import Iterator


def add_topics_of_classic_member(topics: set[str] | None, answer: Reader) -> set[str] | None:
    """Step over subscription and assignment of a classic member, and add their topics to those that are known.

    None, as an argument and as the answer: what the group consumes is not known.
    """
    if topics is None:
        answer.skip_bytes(2)
        return None
    subscription, assignment = answer.blob(), answer.blob()
    try:
        topics.update(_topics_of_subscription(subscription), _topics_of_assignment(assignment))
    except MALFORMED:  # an assignor may write what it likes: then it is not known
        return None
    return topics


def _topics_of_subscription(data: bytes) -> Iterator[str]:
    """Read ConsumerProtocolSubscription, as far as all its versions are alike."""
    subscription = Reader(data)
    subscription.int16()  # version
    for _ in range(subscription.array()):
        yield subscription.string()


def _topics_of_assignment(data: bytes) -> Iterator[str]:
    """Read ConsumerProtocolAssignment, as far as all its versions are alike; no bytes are no assignment."""
    if not data:
        return
    assignment = Reader(data)
    assignment.int16()  # version
    for _ in range(assignment.array()):
        yield assignment.string()
        assignment.skip_int32_arrays(1)


def topics_of_member(answer: Reader) -> Iterator[str]:
    """Read a member of the new protocol: what it is subscribed to by name, holds, and is to hold."""
    answer.skip_strings(3)  # member, instance, rack
    answer.int32()  # member epoch
    answer.skip_strings(2)  # client, host
    for _ in range(answer.array()):
        yield answer.string()
    answer.skip_strings(1)  # subscribed regular expression: what it has matched is assigned
    for _ in ("assignment", "target assignment"):
        for _ in range(answer.array()):
            answer.int64()  # topic id, first half
            answer.int64()  # and second
            yield answer.string()
            answer.skip_int32_arrays(1)
            answer.tags()
        answer.tags()
    answer.tags()
