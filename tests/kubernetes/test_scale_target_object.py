"""A state as a ScaleTarget and back, by the schema that is installed."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from activator.core.model import GroupOnTopic, Handover, KeptOffsets, Phase, TargetRef, TargetState
from activator.kubernetes import scale_target_object

CRD = yaml.safe_load(
    (Path(__file__).parents[2] / "manifests" / "crds" / "scaletarget.yaml").read_text(encoding="utf-8")
)
VERSION = CRD["spec"]["versions"][0]
STATUS = VERSION["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
ORDERS = TargetRef("shop", "Deployment", "orders")
NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)

moments = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - made aware
texts = st.text(max_size=20)
one_offset = st.none() | st.integers(0, 2**63 - 1)
kept_offsets = (
    st.lists(one_offset, min_size=1, max_size=5)
    .flatmap(
        lambda offsets: st.builds(
            KeptOffsets,
            st.just(tuple(offsets)),
            st.sets(st.sampled_from([n for n, offset in enumerate(offsets) if offset is not None])).map(frozenset)
            if any(offset is not None for offset in offsets)
            else st.just(frozenset()),
            st.none() | texts.filter(bool),
        )
    )
    .filter(lambda kept: kept.offsets != (None,))
)
states = st.builds(
    TargetState,
    phase=st.sampled_from(Phase),
    replicas=st.integers(0, 1000),
    reason=texts.filter(bool),
    message=texts,
    since=moments,
    taken_over_at=moments,
    lag=st.none() | st.integers(0, 2**62),
    last_active=st.none() | moments,
    original_replicas=st.none() | st.integers(0, 1000),
    asleep_by_us=st.booleans(),
    handoff=st.none() | st.sampled_from([Handover.HPA, Handover.DIRECT]),
    last_valid=st.dictionaries(texts, texts, max_size=3),
    problems=st.lists(texts, max_size=3).map(tuple),
    warnings=st.lists(texts, max_size=3).map(tuple),
    kept=st.dictionaries(st.builds(GroupOnTopic, texts, texts, texts), kept_offsets, max_size=2),
    episode_id=st.none() | texts,
    trace_id=st.none() | texts,
)


def stored(state: TargetState) -> dict[str, Any]:
    """The object as the API server would keep it."""
    return {
        **scale_target_object.body(ORDERS, "uid-1"),
        "status": scale_target_object.with_status(ORDERS, state)["status"],
    }


@given(states)
def test_every_state_comes_back_as_it_was(state: TargetState) -> None:
    """Unknown stays unknown, zero stays zero."""
    assert scale_target_object.read(stored(state)) == (ORDERS, "uid-1", state)


def test_the_schema_knows_every_field_and_no_other() -> None:
    """A field that the schema does not know is dropped by the API server without a word."""
    by_name = {name: field for name, field, _, _ in scale_target_object._FIELDS}
    assert set(by_name) == set(STATUS)
    assert set(by_name.values()) == {field.name for field in fields(TargetState)}
    assert STATUS["phase"]["enum"] == [phase.value for phase in Phase]


def test_offsets_are_read_by_people_too() -> None:
    """One line a topic, in the order of partitions; a pin can be told from a commit."""
    kept = {GroupOnTopic("kafka:9092", "orders", "workers"): KeptOffsets((17, 20, None, 5), frozenset({3}), "id-1")}
    state = TargetState(Phase.ASLEEP, 0, "quiet", "", NOON, NOON, kept=kept)
    assert scale_target_object.with_status(ORDERS, state)["status"]["offsets"] == [
        {
            "bootstrapServers": "kafka:9092",
            "topic": "orders",
            "group": "workers",
            "topicId": "id-1",
            "offsets": "17,20,,5p",
        }
    ]


def test_a_thousand_partitions_fit_easily() -> None:
    """Offsets of eleven digits on 1,000 partitions take less than a hundredth of what an object may take."""
    kept = {GroupOnTopic("kafka:9092", "orders", "workers"): KeptOffsets(tuple(range(10**10, 10**10 + 1000)))}
    state = TargetState(Phase.ASLEEP, 0, "quiet", "", NOON, NOON, kept=kept)
    written = json.dumps(stored(state))
    assert len(written) < 15_000
    assert scale_target_object.read(json.loads(written)) == (ORDERS, "uid-1", state)


def test_the_names_are_those_of_the_crd() -> None:
    """Group, version, kind, plural; and the columns that an operator looks at."""
    assert f"{CRD['spec']['group']}/{VERSION['name']}" == scale_target_object.API_VERSION
    assert CRD["spec"]["names"]["kind"] == scale_target_object.KIND
    assert CRD["spec"]["names"]["plural"] == scale_target_object.PLURAL
    columns = [column["name"] for column in VERSION["additionalPrinterColumns"] if not column.get("priority")]
    assert columns == ["Kind", "Phase", "Replicas", "Lag", "Reason", "Since"]


def test_moments_are_written_in_utc() -> None:
    """Whatever zone they came in."""
    state = TargetState(Phase.AWAKE, 1, "lag", "", NOON.astimezone(timezone(timedelta(hours=5))), NOON)
    assert scale_target_object.with_status(ORDERS, state)["status"]["since"] == "2026-01-05T12:00:00Z"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"status": None}, id="no status yet"),
        pytest.param({"status": {"phase": "Asleep"}}, id="half a status"),
        pytest.param({"status": {"phase": "Snoring"}}, id="a phase of another version"),
        pytest.param({"spec": {}}, id="no target"),
        pytest.param({"status": {"replicas": "many"}}, id="no number"),
    ],
)
def test_what_cannot_be_read_is_nothing(change: dict[str, Any]) -> None:
    """Its target begins afresh; no other target is touched."""
    state = TargetState(Phase.AWAKE, 1, "lag", "", NOON, NOON)
    assert scale_target_object.read({**stored(state), **change}) is None
