"""W3C Trace Context, level 1: the ``traceparent`` header."""

from __future__ import annotations

import re
from typing import NamedTuple

_FORM = re.compile(r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})")
_FORBIDDEN_VERSION = "ff"
_SAMPLED = 0x01


class TraceParent(NamedTuple):
    """The span that a record was produced in."""

    trace_id: int
    span_id: int
    sampled: bool


def parse(text: str) -> TraceParent | None:
    """Read a ``traceparent``; None: it is not one, and must be treated as absent (section 3.2.2).

    A version above 00 may carry more fields behind a further hyphen; version 00 may not.
    """
    found = _FORM.match(text)
    if found is None or found["version"] == _FORBIDDEN_VERSION:
        return None
    rest = text[found.end() :]
    if rest and (found["version"] == "00" or not rest.startswith("-")):
        return None
    trace_id, span_id = int(found["trace"], 16), int(found["parent"], 16)
    if not trace_id or not span_id:
        return None
    return TraceParent(trace_id, span_id, bool(int(found["flags"], 16) & _SAMPLED))
