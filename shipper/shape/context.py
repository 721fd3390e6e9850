"""Which trace a record belongs to, where its log says so: ids as W3C Trace Context writes them, so traces and logs link.

Ids of other systems (64 bits, decimal) are left alone: what they would be turned into could be found nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from operator import add
from struct import iter_unpack
from typing import Any

from shipper.otlp.wire import fixed32_field

TRACE_BYTES, SPAN_BYTES = 16, 8
TRACE_HEAD, SPAN_HEAD = b"\x4a\x10", b"\x52\x08"  # trace_id (9), span_id (10) of LogRecord

_HEX = {size: re.compile(rf"[0-9a-fA-F]{{{2 * size}}}") for size in (TRACE_BYTES, SPAN_BYTES)}
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.DOTALL)
_PLAIN_TRACE = re.compile(rb"race[._-]?[iI][dD][\"']?[=:] ?[\"']?([0-9a-fA-F]{32})(?![0-9a-fA-F])")
_PLAIN_SPAN = re.compile(rb"pan[._-]?[iI][dD][\"']?[=:] ?[\"']?([0-9a-fA-F]{16})(?![0-9a-fA-F])")
_PLAIN_PARENT = re.compile(
    rb"raceparent[\"']?[=:] ?[\"']?([0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})(?![0-9a-f])"
)
_REACH = 4096  # bytes of a plain line in which ids are looked for


def ids(values: Sequence[Any], size: int) -> list[bytes]:
    """The ids of ``size`` bytes that hexadecimal texts say; empty for what is none, or is all zeros, which means: none."""
    found = _all_ids(values, size)
    if found is None:
        found = [_id(value, size) for value in values]
    zero = bytes(size)
    return [b"" if one == zero else one for one in found] if zero in found else found


def _all_ids(values: Sequence[Any], size: int) -> list[bytes] | None:
    """The same where each of them is an id."""
    try:
        if set(map(len, values)) != {2 * size}:
            return None
        data = bytes.fromhex(b"".join(values).decode() if isinstance(values[0], bytes) else "".join(values))
    except (TypeError, ValueError):
        return None
    if len(data) != size * len(values):  # fromhex reads over blanks
        return None
    return list(chain.from_iterable(iter_unpack(f"{size}s", data)))


def _id(value: Any, size: int) -> bytes:
    if isinstance(value, bytes):
        value = value.decode()
    if not isinstance(value, str):
        return b""
    last = value.rpartition("/")[2]  # Google: projects/<project>/traces/<id>
    return bytes.fromhex(last) if _HEX[size].fullmatch(last) else b""


def parents(values: Sequence[Any]) -> list[tuple[bytes, bytes] | None]:
    """Trace id and the encoded context of each value of a field traceparent, None for what is none."""
    return [_parent(value.decode() if isinstance(value, bytes) else value) for value in values]


def _parent(value: Any) -> tuple[bytes, bytes] | None:
    match = _PARENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    trace, span = bytes.fromhex(match[1]), bytes.fromhex(match[2])
    if not any(trace) or not any(span):
        return None
    return trace, b"".join((TRACE_HEAD, trace, SPAN_HEAD, span, fixed32_field(8, int(match[3], 16))))


def flags(value: Any) -> bytes:
    """The encoded flags of a field that holds them, as hexadecimal text, number or whether it is sampled; empty for nothing."""
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        lower = value.lower()
        if lower in ("true", "false"):
            value = lower == "true"
        elif re.fullmatch(r"[0-9a-f]{1,2}", lower):
            value = int(lower, 16)
    return fixed32_field(8, int(value)) if isinstance(value, int) and 0 <= value <= 255 else b""


def encoded(traces: Sequence[bytes], spans: Sequence[bytes]) -> list[bytes]:
    """Trace and span ids as fields of LogRecords. A span without a trace is nothing."""
    if b"" not in traces and b"" not in spans:
        return list(map(b"".join, zip(repeat(TRACE_HEAD), traces, repeat(SPAN_HEAD), spans, strict=False)))
    with_heads = [TRACE_HEAD + trace if trace else b"" for trace in traces]
    return list(map(add, with_heads, [SPAN_HEAD + s if s and t else b"" for s, t in zip(spans, traces, strict=True)]))


def in_plain(texts: Sequence[bytes]) -> Iterator[tuple[int, bytes, bytes]]:
    """Index, trace id and encoded context of the plain texts that name their trace."""
    if not any(b"race" in text for text in texts):
        return
    for index, match in enumerate(map(_PLAIN_TRACE.search, texts, repeat(0), repeat(_REACH))):
        if match is not None:
            trace = bytes.fromhex(match[1].decode())
            if any(trace):
                span = _PLAIN_SPAN.search(texts[index], 0, _REACH)
                (context,) = encoded([trace], ids([span[1]] if span is not None else [b""], SPAN_BYTES))
                yield index, trace, context
    for index, match in enumerate(map(_PLAIN_PARENT.search, texts, repeat(0), repeat(_REACH))):
        if match is not None:
            parent = _parent(match[1].decode())
            if parent is not None:
                yield (index, *parent)
