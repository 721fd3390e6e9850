"""The table of open spans in a process's ``alive`` file: what was running when the process died.

The writer maps the file, so that a slot set before a SIGKILL is there after it, and setting and clearing cost no system
call. Start stands last in a slot and is written last: a slot with a start is whole. FORMAT.md describes the layout.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from shipper.handoff.frame import NOT_A_REQUEST, SPAN_KIND

HEADER = struct.Struct("<8sHHIQ")
"""magic, version, slots, size of a slot, wall time in ns at which the process ended by itself (0: it has not)."""
MAGIC = b"\xf5shipper"
VERSION = 1
SLOT = struct.Struct("<Q16s8s8sHHBB74sQ")
"""ending (sequence number + 1 of the frame that ends it), trace id, span id, parent id, resource, scope, kind (and
`NOT_A_REQUEST`), length of the name, name, start. A slot is free when its start is 0."""
SLOTS = 1024
NAME_BYTES = 74
FIRST = SLOT.size  # the header stands in the place of a slot
SIZE = FIRST + SLOTS * SLOT.size
ENDED_AT = HEADER.size - 8
_MAX_SLOTS = 1 << 16


class OpenSpan(NamedTuple):
    """A span that had begun and not ended. ``ending_seq``: number of the frame that was about to end it, or -1."""

    slot: int
    ending_seq: int
    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    kind: int
    resource: int
    scope: int
    name: str
    start_ns: int
    request: bool = True


def header() -> bytes:
    """What stands at the beginning of a table."""
    return HEADER.pack(MAGIC, VERSION, SLOTS, SLOT.size, 0)


def ended_ns(data: bytes) -> int:
    """When the process ended by itself, as it said; 0 when it did not, or there is no table."""
    if len(data) < HEADER.size or HEADER.unpack_from(data)[:2] != (MAGIC, VERSION):
        return 0
    return int(HEADER.unpack_from(data)[4])


def open_spans(data: bytes) -> list[OpenSpan]:
    """The spans open in the table that ``data`` (a whole ``alive`` file) holds; none where there is no table."""
    if len(data) < HEADER.size:
        return []
    magic, version, slots, size, _ = HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION or size != SLOT.size or slots > _MAX_SLOTS:
        return []
    found = []
    for slot in range(min(slots, (len(data) - FIRST) // SLOT.size)):
        ending, trace, span, parent, resource, scope, kind, length, name, start = SLOT.unpack_from(
            data, FIRST + slot * SLOT.size
        )
        if start and any(trace) and any(span) and kind & SPAN_KIND <= 5 and not kind & ~(SPAN_KIND | NOT_A_REQUEST):
            text = name[: min(length, NAME_BYTES)].decode("utf-8", "ignore")
            request = not kind & NOT_A_REQUEST
            kind &= SPAN_KIND
            found.append(OpenSpan(slot, ending - 1, trace, span, parent, kind, resource, scope, text, start, request))
    return found
