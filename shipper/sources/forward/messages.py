"""One message of the forward protocol: which of the four modes it is, its tag, its option, and its entries one at a time.

Forward protocol v1, "Event Modes": Message ``[tag, time, record, option?]``, Forward ``[tag, [entry, ...], option?]``,
PackedForward ``[tag, entries as bytes, option?]``, and the same with gzip members (option ``compressed``).

Entries are walked over before the first of them is decoded. So a message is taken as a whole or not at all, a list has the
length that it declares, and how much memory decoding an entry can take is known beforehand.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from isal import igzip, isal_zlib

from shipper.sources.forward.framing import BrokenMessage, said, walker
from shipper.sources.forward.values import BROKEN, Value, text_of, unpacker

RECORD_BYTES = 4 << 20
"""An entry larger than this is not decoded: two bytes on the wire may become thirty in memory."""

_MOST_LISTS = 900_000
"""Nor is one that may hold more lists and maps than this: a byte on the wire becomes 72 in memory."""

_LISTS = bytes([*range(0x80, 0xA0), *range(0xDC, 0xE0)])  # first bytes of lists and maps, and of much else
_TEXTS = frozenset([*range(0xA0, 0xC0), 0xC4, 0xC5, 0xC6, 0xD9, 0xDA, 0xDB])  # of str and bin
_ARRAYS = frozenset([*range(0x90, 0xA0), 0xDC, 0xDD])
_MAPS = frozenset([*range(0x80, 0x90), 0xDE, 0xDF])
_NIL = 0xC0
_PIECE = 1 << 20
_SMALL = 64 << 10  # bytes of a message that is decoded at once
_GzipError: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub takes the class for an instance


@dataclass(frozen=True, slots=True)
class Message:
    """``chunk``: what is to be acknowledged, as it came; None where nothing is. ``metadata``: of all entries.

    ``entries`` yields values that should be ``[time, record]``; bytes stand for an entry too large to be decoded.
    """

    tag: bytes
    chunk: bytes | None
    metadata: Value
    entries: Iterator[Value]


def open_message(data: bytes, limit: int) -> Message | None:
    """The message in ``data``, whole MessagePack; None for nil, which is a sign of life.

    ``limit``: bytes of its entries once decompressed. Raises `BrokenMessage`.
    """
    if data[0] == _NIL:
        return None
    try:
        return _open_small(data, limit) if len(data) <= _SMALL else _open(data, limit)
    except BROKEN as error:
        raise BrokenMessage("malformed", f"a message is not what the forward protocol says: {said(error)}") from error


def _open_small(data: bytes, limit: int) -> Message:
    """A message that is small enough to be decoded at once."""
    match unpacker(data).unpack():
        case [bytes(tag), bytes(packed), *rest]:
            option = _option_of(rest)
            return _message(tag, option, _entries(_decompressed(packed, option, limit)))
        case [bytes(tag), list(entries), *rest]:
            return _message(tag, _option_of(rest), iter(entries))
        case [bytes(tag), time, record, *rest]:
            return _message(tag, _option_of(rest), iter(([time, record],)))
    raise BrokenMessage("malformed", "a message is a list of tag, entries and option, or tag, time and record")


def _option_of(rest: list[Value]) -> dict[Value, Value]:
    return rest[0] if rest and isinstance(rest[0], dict) else {}


def _open(data: bytes, limit: int) -> Message:
    reader = unpacker(data)
    if data[0] not in _ARRAYS:
        raise BrokenMessage("malformed", "a message is a list of tag, entries and option; this is no list")
    fields = reader.read_array_header()
    if fields < 2 or data[reader.tell()] not in _TEXTS:
        raise BrokenMessage("malformed", "a message does not begin with a tag")
    tag: bytes = reader.unpack()
    kind = data[reader.tell()]
    if kind in _TEXTS:
        packed: bytes = reader.unpack()
        option = _option(data, reader, fields - 2)
        return _message(tag, option, _entries(_decompressed(packed, option, limit)))
    begin = reader.tell()
    reader.skip()
    if kind in _ARRAYS:
        end = reader.tell()
        option = _option(data, reader, fields - 2)
        return _message(tag, option, _entries(_without_header(data[begin:end])))
    if fields < 3:
        raise BrokenMessage("malformed", "a message has a time but no record")
    reader.skip()
    end = reader.tell()
    # A list's header in front makes time and record an entry like any other.
    return _message(tag, _option(data, reader, fields - 3), _entries(b"\x92" + data[begin:end]))


def _message(tag: bytes, option: dict[Value, Value], entries: Iterator[Value]) -> Message:
    if option.get(b"fluent_signal", 0) != 0:
        raise BrokenMessage("signal", f"{text_of(tag)[:80]} carries metrics or traces of Fluent Bit, not logs")
    chunk = option.get(b"chunk")
    return Message(tag, chunk if isinstance(chunk, bytes) else None, option.get(b"metadata"), entries)


def _option(data: bytes, reader: Any, left: int) -> dict[Value, Value]:
    """The option, empty where there is none; nil stands for none as well."""
    if left < 1 or data[reader.tell()] not in _MAPS:
        return {}
    if not _light(data[reader.tell() :]):
        raise BrokenMessage("malformed", "the option of a message is too large")
    option: dict[Value, Value] = reader.unpack()
    return option


def _without_header(entries: bytes) -> bytes:
    reader = unpacker(entries)
    reader.read_array_header()
    return entries[reader.tell() :]


def _entries(data: bytes) -> Iterator[Value]:
    """What is packed one behind the other in ``data``. All of it is walked over first; raises what is in `BROKEN`."""
    steps = walker()
    steps.feed(data)
    if len(data) <= RECORD_BYTES and _light(data):
        skip, tell, end = steps.skip, steps.tell, 0
        while end < len(data):
            skip()
            end = tell()
        return _decoded(iter(unpacker(data)))
    ends: list[int] = []
    while not ends or ends[-1] < len(data):
        steps.skip()
        ends.append(steps.tell())
    return _decoded(_one_by_one(data, ends))


def _decoded(entries: Iterator[Value]) -> Iterator[Value]:
    """``entries``, with what their decoding raises (a list as a key of a map) as `BrokenMessage`."""
    try:
        yield from entries
    except BROKEN as error:
        raise BrokenMessage("malformed", f"an entry cannot be decoded: {said(error)}") from error


def _one_by_one(data: bytes, ends: list[int]) -> Iterator[Value]:
    at = 0
    for end in ends:
        entry = data[at:end]
        yield unpacker(entry).unpack() if len(entry) <= RECORD_BYTES and _light(entry) else entry
        at = end


def _light(data: bytes) -> bool:
    """Whether all lists and maps that may be in ``data`` fit into memory together."""
    return len(data) <= _MOST_LISTS or len(data) - len(data.translate(None, _LISTS)) <= _MOST_LISTS


def _decompressed(packed: bytes, option: dict[Value, Value], limit: int) -> bytes:
    how = option.get(b"compressed", b"text")
    if how in (b"text", b""):
        return packed
    if how != b"gzip":
        raise BrokenMessage("compression", f"entries are compressed by {text_of(how)[:40]}; only gzip is taken")
    pieces: list[bytes] = []
    size = 0
    try:
        with igzip.open(io.BytesIO(packed)) as file:  # type: ignore[no-untyped-call]
            while piece := file.read(_PIECE):
                size += len(piece)
                if size > limit:
                    raise BrokenMessage("too_large", f"entries are larger than {limit} bytes when decompressed")
                pieces.append(piece)
    except (EOFError, OSError, _GzipError) as error:
        raise BrokenMessage("compression", f"entries are not valid gzip: {error}") from error
    return b"".join(pieces)
