"""The Kafka wire format: a table of fields with their versions in, a pair of functions that read and write them out.

A message is described once, by its fields in wire order with the versions that carry them, as Kafka's own message
definitions do. `Message.codec(version)` compiles the description for one version: "flexible" versions (KIP-482) use
compact lengths and end each structure with tagged fields, which are skipped when read and written empty.
Neighbouring fields of fixed width are read and written by one `struct` call.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

Reader: TypeAlias = Callable[[memoryview, int], tuple[Any, int]]
"""(frame, position) -> (value, position after it)."""

Writer: TypeAlias = Callable[[Any, list[bytes]], None]
"""(value, chunks to append to)."""

ALL = 1 << 15
"""Later than any version."""


class WireError(ValueError):
    """The bytes are not a request of this API and version; the connection they came on cannot be trusted any more."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """A value of fixed width: its `struct` format character."""

    format: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A length and that many bytes, or null; `short` lengths take two bytes in versions that are not flexible."""

    short: bool
    decode: Callable[[memoryview], Any]
    encode: Callable[[Any], bytes]


@dataclass(frozen=True, slots=True)
class Array:
    """A count and that many values, or null: of one type, or of structures with these fields."""

    of: Type | tuple[Field, ...]


Type: TypeAlias = Fixed | Variable | Array

BOOLEAN, INT8, INT16, INT32, INT64 = Fixed("?"), Fixed("b"), Fixed("h"), Fixed("i"), Fixed("q")
UUID = Fixed("16s")
STRING = Variable(True, lambda view: str(view, "utf-8"), lambda text: text.encode())
BYTES = Variable(False, bytes, bytes)
RECORDS = Variable(False, lambda view: view, b"".join)
"""Record batches: read as a view of the frame, so that the log copies them once; written from a list of batches."""

NULL_UUID = uuid.UUID(int=0).bytes


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a structure, in the versions `since` <= version <= `until`.

    `default` is what a reader finds where the version does not carry it, and what is written where it was left out.
    """

    name: str
    type: Type
    since: int = 0
    until: int = ALL
    default: Any = field(default=...)

    @property
    def absent(self) -> Any:
        """The value of this field where it is not there."""
        if self.default is not ...:
            return self.default
        match self.type:
            case Fixed(format="?"):
                return False
            case Fixed(format="16s"):
                return NULL_UUID
            case Fixed():
                return 0
            case Array():
                return ()
            case _:
                return "" if self.type is STRING else b""


class Codec(NamedTuple):
    """How one structure is read and written in one version."""

    read: Reader
    write: Writer


@dataclass(frozen=True)
class Message:
    """A request or response: its fields in wire order, and the first version that is flexible."""

    fields: tuple[Field, ...]
    flexible_since: int
    _codecs: dict[int, Codec] = field(default_factory=dict, init=False, repr=False, compare=False)

    def codec(self, version: int) -> Codec:
        """The reader and writer for this version, compiled at its first use."""
        codec = self._codecs.get(version)
        if codec is None:
            codec = self._codecs[version] = _structure(self.fields, version, flexible=version >= self.flexible_since)
        return codec


# -- primitives -----------------------------------------------------------------------------------------------------

_ONE_BYTE = [bytes([value]) for value in range(0x80)]
_INT16, _INT32 = struct.Struct(">h"), struct.Struct(">i")


def read_uvarint(frame: memoryview, position: int) -> tuple[int, int]:
    """An unsigned base-128 number of at most 32 bits (KIP-482)."""
    value = shift = 0
    while True:
        byte = frame[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, position
        shift += 7
        if shift > 28:  # noqa: PLR2004 - five bytes hold 32 bits
            raise WireError(f"a variable-length number at byte {position} is longer than 5 bytes")


def write_uvarint(value: int) -> bytes:
    """The same, written."""
    if value < len(_ONE_BYTE):  # nearly every length there is
        return _ONE_BYTE[value]
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - the continuation bit
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def skip_tagged_fields(frame: memoryview, position: int) -> int:
    """The position after a block of tagged fields; none of them means anything to this broker."""
    count, position = read_uvarint(frame, position)
    for _ in range(count):
        _, position = read_uvarint(frame, position)
        size, position = read_uvarint(frame, position)
        position += size
    if position > len(frame):
        raise WireError(f"tagged fields end at byte {position}, the frame has {len(frame)}")
    return position


def _length_codec(*, short: bool, flexible: bool) -> Codec:
    """How lengths and counts are read and written; null is -1."""
    if flexible:

        def read_compact(frame: memoryview, position: int) -> tuple[int, int]:
            value, position = read_uvarint(frame, position)
            return value - 1, position

        return Codec(read_compact, lambda length, out: out.append(write_uvarint(length + 1)))
    layout = _INT16 if short else _INT32

    def read_plain(frame: memoryview, position: int) -> tuple[int, int]:
        return layout.unpack_from(frame, position)[0], position + layout.size

    return Codec(read_plain, lambda length, out: out.append(layout.pack(length)))


# -- compiling ------------------------------------------------------------------------------------------------------


def _variable(kind: Variable, *, flexible: bool) -> Codec:
    length = _length_codec(short=kind.short, flexible=flexible)
    decode, encode = kind.decode, kind.encode

    def read(frame: memoryview, position: int) -> tuple[Any, int]:
        size, position = length.read(frame, position)
        if size < 0:
            return None, position
        end = position + size
        if end > len(frame):
            raise WireError(f"{size} bytes are announced at byte {position}, {len(frame) - position} are there")
        return decode(frame[position:end]), end

    def write(value: Any, out: list[bytes]) -> None:
        if value is None:
            length.write(-1, out)
        else:
            data = encode(value)
            length.write(len(data), out)
            out.append(data)

    return Codec(read, write)


def _array(kind: Array, version: int, *, flexible: bool) -> Codec:
    length = _length_codec(short=False, flexible=flexible)
    if isinstance(kind.of, tuple):
        item = _structure(kind.of, version, flexible=flexible)
    else:
        item = _value(kind.of, version, flexible=flexible)
    read_item, write_item = item

    def read(frame: memoryview, position: int) -> tuple[Any, int]:
        size, position = length.read(frame, position)
        if size < 0:
            return None, position
        if size > len(frame) - position:  # every item takes a byte at least: no huge list for a forged count
            raise WireError(f"{size} items are announced at byte {position}, {len(frame) - position} bytes are there")
        items = []
        for _ in range(size):
            value, position = read_item(frame, position)
            items.append(value)
        return items, position

    def write(values: Sequence[Any] | None, out: list[bytes]) -> None:
        if values is None:
            length.write(-1, out)
            return
        length.write(len(values), out)
        for value in values:
            write_item(value, out)

    return Codec(read, write)


def _fixed(kind: Fixed) -> Codec:
    layout = struct.Struct(">" + kind.format)
    return Codec(
        lambda frame, position: (layout.unpack_from(frame, position)[0], position + layout.size),
        lambda value, out: out.append(layout.pack(value)),
    )


def _value(kind: Type, version: int, *, flexible: bool) -> Codec:
    match kind:
        case Fixed():
            return _fixed(kind)
        case Variable():
            return _variable(kind, flexible=flexible)
        case Array():
            return _array(kind, version, flexible=flexible)


_Part: TypeAlias = tuple[
    Callable[[memoryview, int, dict[str, Any]], int], Callable[[dict[str, Any], list[bytes]], None]
]


def _fixed_part(fields: Sequence[Field]) -> _Part:
    """Neighbouring fields of fixed width, by one `struct` call."""
    layout = struct.Struct(">" + "".join(one.type.format for one in fields if isinstance(one.type, Fixed)))
    names = [one.name for one in fields]
    defaults = [(one.name, one.absent) for one in fields]

    def read(frame: memoryview, position: int, into: dict[str, Any]) -> int:
        into.update(zip(names, layout.unpack_from(frame, position), strict=True))
        return position + layout.size

    def write(item: dict[str, Any], out: list[bytes]) -> None:
        out.append(layout.pack(*[item.get(name, default) for name, default in defaults]))

    return read, write


def _single_part(one: Field, version: int, *, flexible: bool) -> _Part:
    name, default = one.name, one.absent
    read_value, write_value = _value(one.type, version, flexible=flexible)

    def read(frame: memoryview, position: int, into: dict[str, Any]) -> int:
        into[name], position = read_value(frame, position)
        return position

    def write(item: dict[str, Any], out: list[bytes]) -> None:
        write_value(item.get(name, default), out)

    return read, write


def _parts(fields: Sequence[Field], version: int, *, flexible: bool) -> Iterator[_Part]:
    for is_fixed, neighbours in groupby(fields, key=lambda one: isinstance(one.type, Fixed)):
        if is_fixed:
            yield _fixed_part(list(neighbours))
        else:
            for one in neighbours:
                yield _single_part(one, version, flexible=flexible)


def _structure(fields: tuple[Field, ...], version: int, *, flexible: bool) -> Codec:
    carried = [one for one in fields if one.since <= version <= one.until]
    absent = {one.name: one.absent for one in fields if one not in carried}
    parts = list(_parts(carried, version, flexible=flexible))
    readers = [reader for reader, _ in parts]
    writers = [writer for _, writer in parts]

    def read(frame: memoryview, position: int) -> tuple[dict[str, Any], int]:
        item = dict(absent)
        for reader in readers:
            position = reader(frame, position, item)
        return item, skip_tagged_fields(frame, position) if flexible else position

    def write(item: dict[str, Any], out: list[bytes]) -> None:
        for writer in writers:
            writer(item, out)
        if flexible:
            out.append(b"\0")

    return Codec(read, write)
