"""What a context attribute may be called and hold (CloudEvents 1.0.2, "Context Attributes" and "Type System").

Each check returns what is wrong as the end of a sentence, or None. Checks of values that repeat from event to event are
remembered; those of `id`, `subject` and `time`, which do not, are cheap.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.cloudevents.event import Value

_T = TypeVar("_T")

SPEC_VERSION: Final = "1.0"
REQUIRED: Final = ("specversion", "id", "source", "type")

_NAME = re.compile(r"[a-z0-9]+")
_INT32 = range(-(2**31), 2**31)

_NONCHARACTERS = "\ufdd0-\ufdef" + "".join(
    f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(17)
)
_FORBIDDEN = re.compile(f"[\x00-\x1f\x7f-\x9f\ud800-\udfff{_NONCHARACTERS}]")

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|[+-](\d\d):(\d\d))", re.ASCII)
_LAST_HOUR, _LAST_MINUTE, _LEAP_SECOND = 23, 59, 60

# RFC 2045, section 5.1, with white space around the semicolon as HTTP allows it.
_TOKEN = r"[!#$%&'*+\-.^_`{|}~0-9A-Za-z]+"  # noqa: S105 - a token of a grammar
_QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t \x21-\x7e])*"'
_PARAMETER = rf"[ \t]*;[ \t]*{_TOKEN}=(?:{_TOKEN}|{_QUOTED})"
_MEDIA_TYPE = re.compile(rf"({_TOKEN})/({_TOKEN})((?:{_PARAMETER})*)[ \t]*(?:;[ \t]*)?")
_CHARSET = re.compile(rf';[ \t]*charset=(?:({_TOKEN})|"([^"]*)")', re.IGNORECASE)

# RFC 3986, appendix A.
_PERCENT = r"%[0-9A-Fa-f]{2}"
_PCHAR = rf"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|{_PERCENT})"
_USERINFO = rf"(?:[A-Za-z0-9\-._~!$&'()*+,;=:]|{_PERCENT})*"
_IP_LITERAL = r"\[(?:[0-9A-Fa-f:.]+|[vV][0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+)\]"
_HOST = rf"(?:{_IP_LITERAL}|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|{_PERCENT})*)"
_AUTHORITY = rf"(?:{_USERINFO}@)?{_HOST}(?::[0-9]*)?"
_ABSOLUTE_PATH = rf"(?:/{_PCHAR}*)*"
_TAIL = rf"(?:\?(?:{_PCHAR}|[/?])*)?(?:#(?:{_PCHAR}|[/?])*)?"
_ROOTED = rf"//{_AUTHORITY}{_ABSOLUTE_PATH}|/(?:{_PCHAR}+{_ABSOLUTE_PATH})?"
_URI = re.compile(rf"[A-Za-z][A-Za-z0-9+.\-]*:(?:{_ROOTED}|(?:{_PCHAR}+{_ABSOLUTE_PATH})?){_TAIL}")
_FIRST_SEGMENT = rf"(?:[A-Za-z0-9\-._~!$&'()*+,;=@]|{_PERCENT})+"  # without a colon: it would look like a scheme
_RELATIVE_REFERENCE = re.compile(rf"(?:{_ROOTED}|(?:{_FIRST_SEGMENT}{_ABSOLUTE_PATH})?){_TAIL}")

LONGEST: Final = 64 * 1024
"""The most characters of a value. The regular expressions below keep more than 100 bytes for each while they match: one
`source` of 4 MiB, the largest batch by default, took 440 MiB. An event of 64 KiB must be taken, and none has more."""
_SHOWN = 120
"""How much of a value an error repeats."""
_REMEMBERED = 256
"""The longest value whose check is remembered: a sender must not fill the memory with its own values."""


def remember(check: Callable[[str], _T]) -> Callable[[str], _T]:
    """Make a function of a short text remember its last thousand answers."""
    remembered = lru_cache(maxsize=1024)(check)
    return wraps(check)(lambda value: remembered(value) if len(value) <= _REMEMBERED else check(value))


def cut(value: str) -> str:
    """Shorten a value for an error."""
    return value if len(value) <= _SHOWN else f"{value[:_SHOWN]}..."


def shown(value: str) -> str:
    """Quote a value for an error, cut where it is long."""
    return repr(cut(value))


@remember
def wrong_name(name: str) -> str | None:
    """Say why an attribute cannot have this name."""
    if name == "data":
        return "is the payload's name, not an attribute's"
    if _NAME.fullmatch(name) is None:
        return "is not a name of an attribute; allowed: lower-case letters a-z and digits"
    return None


def wrong_value(name: str, value: Value) -> str | None:
    """Say why an attribute cannot have this value."""
    core = CORE.get(name)
    if isinstance(value, str):
        if len(value) > LONGEST:
            return f"is {len(value)} characters long; allowed: {LONGEST}"
        if not (value.isascii() and value.isprintable()) and (found := _FORBIDDEN.search(value)):
            return f"holds the character U+{ord(found[0]):04X}, which no string may"
        return None if core is None else core(value)
    if core is not None:
        return f"is {_json_type(value)}; allowed: a string"
    if not isinstance(value, bool) and value not in _INT32:
        return f"is {value}; allowed: an integer from {_INT32[0]} to {_INT32[-1]}"
    return None


def missing(attributes: Mapping[str, Value]) -> str | None:
    """Return the first required attribute that is not set."""
    for name in REQUIRED:
        if name not in attributes:
            return name
    return None


@remember
def is_json(media_type: str) -> bool:
    """Tell whether data of this type is a JSON value (JSON event format, section 3.1)."""
    found = _MEDIA_TYPE.fullmatch(media_type)
    subtype = found[2].lower() if found else ""
    return subtype == "json" or subtype.endswith("+json")


@remember
def is_text(media_type: str) -> bool:
    """Tell whether data of this type is characters, not bytes."""
    found = _MEDIA_TYPE.fullmatch(media_type)
    if found is None:
        return False
    subtype = found[2].lower()
    return found[1].lower() == "text" or subtype == "xml" or subtype.endswith("+xml")


@remember
def essence(media_type: str) -> str:
    """Return a media type in lower case and without its parameters."""
    return media_type.partition(";")[0].strip().lower()


@remember
def charset(media_type: str) -> str | None:
    """Return the charset parameter of a media type in lower case."""
    found = _CHARSET.search(media_type)
    return (found[1] or found[2]).lower() if found else None


@remember
def wrong_media_type(value: str) -> str | None:
    """Say why a text is not a media type of RFC 2046."""
    if _MEDIA_TYPE.fullmatch(value):
        return None
    return f"is {shown(value)}; allowed: a media type such as application/json"


def _wrong_version(value: str) -> str | None:
    return None if value == SPEC_VERSION else f"is {shown(value)}; allowed: {SPEC_VERSION}"


def _empty(value: str) -> str | None:
    return None if value else "is empty; allowed: a string that is not empty"


@remember
def _wrong_reference(value: str) -> str | None:
    if value and (_URI.fullmatch(value) or _RELATIVE_REFERENCE.fullmatch(value)):
        return None
    return f"is {shown(value)}; allowed: a URI-reference that is not empty, such as /shop/orders or https://shop.test/orders"


@remember
def _wrong_uri(value: str) -> str | None:
    if _URI.fullmatch(value):
        return None
    return f"is {shown(value)}; allowed: a URI with its scheme, such as https://shop.test/order.json"


def _wrong_time(value: str) -> str | None:
    found = _TIME.fullmatch(value)
    if found is not None and _exists(*(int(part or 0) for part in found.groups())):
        return None
    return f"is {shown(value)}; allowed: a time of RFC 3339, such as 2026-03-01T10:00:00Z"


def _exists(
    year: int, month: int, day: int, hour: int, minute: int, second: int, offset_hour: int, offset_minute: int
) -> bool:
    try:
        date(max(year, 1), month, day)  # RFC 3339 has a year 0, which `date` has not
    except ValueError:
        return False
    return (
        max(hour, offset_hour) <= _LAST_HOUR and max(minute, offset_minute) <= _LAST_MINUTE and second <= _LEAP_SECOND
    )


def _json_type(value: bool | int) -> str:  # noqa: FBT001 - it is the value that is described
    return "a boolean" if isinstance(value, bool) else "a number"


CORE: Final[Mapping[str, Callable[[str], str | None]]] = {
    "specversion": _wrong_version,
    "id": _empty,
    "source": _wrong_reference,
    "type": _empty,
    "datacontenttype": wrong_media_type,
    "dataschema": _wrong_uri,
    "subject": _empty,
    "time": _wrong_time,
    "partitionkey": _empty,  # an extension (extensions/partitioning.md), but one that we act on
}
"""The attributes that are strings with a rule of their own; every other attribute is an extension of any type."""
