"""Kafka's primitive types on the wire, and the frame that aiokafka's connection sends for us.

aiokafka's own schema classes decode an answer in one go and several times slower: one OffsetFetch of 500 groups holds
the event loop for 10 ms. Here a decoder is a generator of rows, so that its reader can give up the loop in between
(`client.rows`). Types and layouts: https://kafka.apache.org/protocol.html#protocol_types.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from aiokafka.protocol.api import RequestHeader_v1, RequestHeader_v2, ResponseHeader_v0, ResponseHeader_v1

from activator.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import BytesIO

_INT8 = struct.Struct(">b")
_INT16 = struct.Struct(">h")
_INT32 = struct.Struct(">i")
_INT64 = struct.Struct(">q")

_CONTINUES = 0x80
_SEVEN_BITS = 0x7F

MALFORMED = (struct.error, IndexError, UnicodeDecodeError)
"""What reading past the end of an answer, or bytes that are no text, raise."""


_LONGEST_STRING = 2**15 - 1
"""Bytes that a STRING's length can tell; a COMPACT_STRING's could tell more, and no name is as long."""


def is_string(value: str) -> bool:
    """Tell whether a name can be sent at all: YAML knows lone surrogates, which UTF-8 does not."""
    try:
        return len(value.encode()) <= _LONGEST_STRING
    except UnicodeEncodeError:
        return False


class Writer:
    """Builds a request body; in a flexible version strings and arrays are compact and structures end in tags."""

    def __init__(self, *, flexible: bool) -> None:
        self.flexible = flexible
        self._parts: list[bytes] = []

    def getvalue(self) -> bytes:
        """Return what was written so far."""
        return b"".join(self._parts)

    def raw(self, value: bytes) -> None:
        """Write bytes as they are."""
        self._parts.append(value)

    def int8(self, value: int) -> None:
        """Write INT8, also a BOOLEAN."""
        self._parts.append(_INT8.pack(value))

    def int16(self, value: int) -> None:
        """Write INT16."""
        self._parts.append(_INT16.pack(value))

    def int32(self, value: int) -> None:
        """Write INT32."""
        self._parts.append(_INT32.pack(value))

    def int64(self, value: int) -> None:
        """Write INT64."""
        self._parts.append(_INT64.pack(value))

    def string(self, value: str) -> None:
        """Write STRING or COMPACT_STRING, of what `is_string`."""
        encoded = value.encode()
        if self.flexible:
            self._unsigned_varint(len(encoded) + 1)
        else:
            self.int16(len(encoded))
        self._parts.append(encoded)

    def array(self, length: int) -> None:
        """Write the length of an ARRAY or COMPACT_ARRAY whose items follow."""
        if self.flexible:
            self._unsigned_varint(length + 1)
        else:
            self.int32(length)

    def int32_array(self, values: Sequence[int]) -> None:
        """Write an array of INT32."""
        self.array(len(values))
        self._parts.append(struct.pack(f">{len(values)}i", *values))

    def tags(self) -> None:
        """End a structure: no tagged fields, in a flexible version."""
        if self.flexible:
            self._parts.append(b"\0")

    def _unsigned_varint(self, value: int) -> None:
        encoded = bytearray()
        while value > _SEVEN_BITS:
            encoded.append(value & _SEVEN_BITS | _CONTINUES)
            value >>= 7
        encoded.append(value)
        self._parts.append(bytes(encoded))


class Reader:
    """Walks an answer's body. Whatever reads past the end raises one of `MALFORMED`."""

    def __init__(self, data: bytes, *, flexible: bool = False) -> None:
        self.data = data
        self.flexible = flexible
        self.at = 0

    def int8(self) -> int:
        """Read INT8."""
        self.at += 1
        return int(_INT8.unpack_from(self.data, self.at - 1)[0])

    def int16(self) -> int:
        """Read INT16."""
        self.at += 2
        return int(_INT16.unpack_from(self.data, self.at - 2)[0])

    def int32(self) -> int:
        """Read INT32."""
        self.at += 4
        return int(_INT32.unpack_from(self.data, self.at - 4)[0])

    def int64(self) -> int:
        """Read INT64."""
        self.at += 8
        return int(_INT64.unpack_from(self.data, self.at - 8)[0])

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        """Read several fixed-size fields at once."""
        self.at += layout.size
        return layout.unpack_from(self.data, self.at - layout.size)

    def string(self) -> str:
        """Read a STRING or COMPACT_STRING; null reads as empty."""
        return self._take(self._length() if self.flexible else self.int16()).decode()

    def blob(self) -> bytes:
        """Read BYTES, RECORDS or their compact forms; null reads as empty."""
        return self._take(self._length() if self.flexible else self.int32())

    def fixed(self, length: int) -> bytes:
        """Read a field of a fixed size, such as a UUID."""
        return self._take(length)

    def skip_strings(self, count: int) -> None:
        """Step over strings."""
        for _ in range(count):
            self._skip(self._length() if self.flexible else self.int16())

    def skip_bytes(self, count: int) -> None:
        """Step over byte arrays."""
        for _ in range(count):
            self._skip(self._length() if self.flexible else self.int32())

    def skip_int32_arrays(self, count: int) -> None:
        """Step over arrays of INT32."""
        for _ in range(count):
            self._skip(4 * self.array())

    def array(self) -> int:
        """Read an array's length; null reads as none."""
        return max(0, self._length() if self.flexible else self.int32())

    def tags(self) -> None:
        """Step over the tagged fields that end a structure in a flexible version."""
        if self.flexible:
            for _ in range(self._unsigned_varint()):
                self._unsigned_varint()
                self._skip(self._unsigned_varint())

    def _length(self) -> int:
        return self._unsigned_varint() - 1

    def _skip(self, length: int) -> None:
        self.at += max(0, length)
        if self.at > len(self.data):
            raise IndexError(f"{self.at} past the end of {len(self.data)} bytes")

    def _take(self, length: int) -> bytes:
        start = self.at
        self._skip(length)
        return self.data[start : self.at]

    def _unsigned_varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & _SEVEN_BITS) << shift
            if byte < _CONTINUES:
                return value
            shift += 7


Answer_co = TypeVar("Answer_co", covariant=True)


class KafkaRequest(ABC, Generic[Answer_co]):
    """One request of Kafka's protocol in the versions that we speak."""

    API_KEY: ClassVar[int]
    VERSIONS: ClassVar[tuple[int, ...]]
    """Ascending; the highest that the broker offers is used."""
    FLEXIBLE_FROM: ClassVar[int]
    """The first flexible version (KIP-482) of this API."""

    @abstractmethod
    def encode(self, out: Writer, version: int, /) -> None:
        """Write the body."""

    @abstractmethod
    def decode(self, answer: Reader, version: int, /) -> Answer_co:
        """Read the answer's body; may be a generator of rows."""


class Frame:
    """A request in one version, as `AIOKafkaConnection.send` takes it: it answers with a `Reader` over the body."""

    def __init__(self, request: KafkaRequest[object], version: int) -> None:
        self.API_KEY = request.API_KEY
        self.API_VERSION = version
        self.flexible = version >= request.FLEXIBLE_FROM
        self._request = request

    @property
    def RESPONSE_TYPE(self) -> Frame:  # noqa: N802 - the name that aiokafka looks up
        """What decodes the answer."""
        return self

    def prepare(self, _versions: object) -> Frame:
        """The version is settled already."""
        return self

    def build_request_header(self, correlation_id: int, client_id: str) -> RequestHeader_v1 | RequestHeader_v2:
        """Return the header that goes before the body."""
        header = RequestHeader_v2 if self.flexible else RequestHeader_v1
        return header(self, correlation_id, client_id)  # type: ignore[arg-type]  # it reads key and version only

    def encode(self) -> bytes:
        """Return the body."""
        out = Writer(flexible=self.flexible)
        self._request.encode(out, self.API_VERSION)
        return out.getvalue()

    def parse_response_header(self, data: BytesIO) -> ResponseHeader_v0 | ResponseHeader_v1:
        """Read the answer's header."""
        header = ResponseHeader_v1 if self.flexible else ResponseHeader_v0
        return header.decode(data)

    def decode(self, data: BytesIO) -> Reader:
        """Leave the body for the caller to decode at its own pace."""
        return Reader(data.read(), flexible=self.flexible)

    def __repr__(self) -> str:
        return f"{type(self._request).__name__} v{self.API_VERSION}"


def unreadable(where: str, error: Exception) -> UnavailableError:
    """Tell of an answer that ended too early or made no sense."""
    return UnavailableError(where, f"sent an answer that cannot be read: {error}")
