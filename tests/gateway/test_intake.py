"""Whatever a message is, it becomes records or a refusal of the few that are documented: nothing else comes out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cloudevents.kafka import KeyRule, RecordMode
from gateway.intake import open_envelope, take
from gateway.problems import ProblemError
from gateway.routes import Rules
from tests.gateway.cloudevents.mutation import intake_of
from tests.gateway.cloudevents.test_fuzz import HEADER_NAMES, HEADER_VALUES, MEMBERS, VALID, object_text

RULES = st.builds(
    Rules,
    key=st.sampled_from(KeyRule),
    mode=st.sampled_from(RecordMode),
    plain=st.booleans(),
    max_batch_events=st.just(3),
)
MEDIA_TYPES = st.sampled_from(
    [
        b"application/cloudevents+json",
        b"Application/CloudEvents-Batch+JSON; charset=utf-8",
        b"application/cloudevents+avro",
        b"application/json",
        b"text/plain; charset=latin-1",
        b"a/b;",
        b"",
    ]
)
HEADERS = st.builds(
    lambda media_types, required, others: [
        *((b"Content-Type", media_type) for media_type in media_types),
        *((b"ce-" + name.encode(), value.encode()) for name, value in VALID if required),
        *others,
    ],
    st.lists(MEDIA_TYPES, max_size=2),
    st.booleans(),
    st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=4),
)
OBJECTS = st.builds(
    lambda required, members: object_text(VALID + members if required else members), st.booleans(), MEMBERS
)
BODIES = st.one_of(
    OBJECTS.map(str.encode),
    st.lists(OBJECTS, max_size=4).map(lambda objects: f"[{', '.join(objects)}]".encode()),
    st.binary(max_size=50),
)


@given(HEADERS, BODIES, RULES)
def test_any_message(headers: list[tuple[bytes, bytes]], body: bytes, rules: Rules) -> None:
    """Records whose every header Kafka can carry, one id each; or a 400, 413 or 415 that can be written as JSON."""
    taken = intake_of(headers, body, rules)
    if isinstance(taken, ProblemError):
        assert taken.status in {400, 413, 415}
        assert taken.response().body
        return
    _, intake = taken
    assert len(intake.records) == len(intake.ids)
    for record, event_id in zip(intake.records, intake.ids, strict=True):
        assert event_id is not None or (rules.plain and record.value == body)
        assert all(name.isascii() and isinstance(value, bytes) for name, value in record.headers)


@pytest.mark.parametrize(
    ("media_type", "body", "told"),
    [
        (b"application/json", b"{}", "the whole event as application/cloudevents+json, "),
        (b"application/json", b"{}", "(Content-Type is 'application/json')"),
        (None, b"{}", "(Content-Type is missing)"),
        (b"application/cloudevents+json", b" [{}]", "several events go as application/cloudevents-batch+json"),
        (b"application/cloudevents-batch+json", b"{}", "a single event goes as application/cloudevents+json"),
        (b"application/cloudevents-batch+json", b"[{}]", "1 event of the batch is not valid"),
        (b"application/cloudevents-batch+json", b"[{}, {}]", "2 events of the batch are not valid"),
    ],
)
def test_nearly_right(media_type: bytes | None, body: bytes, told: str) -> None:
    """Who sends an event in a nearly right way is told of the right one."""
    headers = [] if media_type is None else [(b"Content-Type", media_type)]
    with pytest.raises(ProblemError) as refused:
        take(open_envelope(headers, Rules()), body, Rules())
    assert refused.value.status == 400
    assert told in refused.value.detail
