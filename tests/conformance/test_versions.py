"""Which versions are spoken: no request that the embedded broker offers would be refused by Kafka."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from activator.local.broker.messages import APIS
from activator.local.broker.protocol import ApiKey, ErrorCode
from tests.conformance.raw_client import ConnectionClosedError, RawClient

if TYPE_CHECKING:
    from tests.conformance.world import World

NEWER_THAN_ANY = 99
SOFTWARE = {"client_software_name": "conformance", "client_software_version": "1"}


@pytest.mark.parametrize("version", APIS[ApiKey.API_VERSIONS].versions)
def test_every_offered_version_is_offered_by_kafka_as_well(world: World, version: int) -> None:
    """The ranges of the embedded broker lie within what the broker under test says, from the same lowest version."""
    answer = world.client.call(ApiKey.API_VERSIONS, version, SOFTWARE)
    assert answer["error_code"] == ErrorCode.NONE
    offered = {one["api_key"]: (one["min_version"], one["max_version"]) for one in answer["api_keys"]}
    for api in APIS.values():
        lowest, highest = offered[api.key]
        assert lowest == (0 if api.key == ApiKey.PRODUCE else api.first), api.key.name
        assert highest >= api.last, api.key.name


def test_a_version_that_is_too_new_is_answered_so_that_the_client_can_ask_again(world: World) -> None:
    """ApiVersions of the future gets UNSUPPORTED_VERSION in the layout of version 0, with what is spoken."""
    header = struct.pack(">hhih", ApiKey.API_VERSIONS, NEWER_THAN_ANY, 7, -1)
    world.client.send_frame(header + b"\0" + b"\x02a\x02b\0")
    frame = memoryview(world.client.receive_frame())
    assert struct.unpack_from(">i", frame) == (7,)
    answer, end = APIS[ApiKey.API_VERSIONS].response.codec(0).read(frame, 4)
    assert end == len(frame)
    assert answer["error_code"] == ErrorCode.UNSUPPORTED_VERSION
    assert ApiKey.API_VERSIONS in {one["api_key"] for one in answer["api_keys"]}


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(struct.pack(">hhih", ApiKey.METADATA, NEWER_THAN_ANY, 1, -1), id="a version that is not spoken"),
        pytest.param(struct.pack(">hhih", 999, 0, 1, -1), id="a key that is not known"),
        pytest.param(struct.pack(">hhih", ApiKey.PRODUCE, 2, 1, -1), id="a version that Kafka 4 dropped"),
        pytest.param(struct.pack(">hhih", ApiKey.FETCH, 11, 1, -1) + b"\0\0", id="a body that is cut short"),
        pytest.param(b"\0", id="half a header"),
    ],
)
def test_what_is_no_request_closes_the_connection_and_no_other(world: World, frame: bytes) -> None:
    """A client that cannot be understood is disconnected; the broker goes on for everybody else."""
    with RawClient(world.bootstrap_servers) as client:
        client.send_frame(frame)
        with pytest.raises(ConnectionClosedError):
            client.receive_frame()
    assert world.client.call(ApiKey.METADATA, 1, {"topics": []})["controller_id"] == 1
