"""A push to Loki as bytes, hand-written so that plain lines cost a few passes in C and no Python for each.

``push.proto`` of loki ``pkg/push``: a PushRequest holds streams, a stream its labels and entries, an entry a line, a time
and structured metadata. The whole is compressed by snappy, without its framing. As protobuf allows, an entry has its line
first, and the parts of its time are padded to five bytes: so all that differs between two entries in front of the line is
made of lengths, and all behind it is the same but for two bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from operator import add

import cramjam

from shipper.otlp.wire import LENGTH, fields, read_varint, text, varint
from shipper.otlp.wire import field as wire_field

_BLOCK = 128  # lines joined at a time; see `shipper.otlp.encode`
_SECOND = 1_000_000_000
_LOW_BITS = 14
_LOWS = 1 << _LOW_BITS
_TIME_HEAD = b"\x0a\x0c\x10"  # a time of twelve bytes, its nanoseconds first
_LOW = [_TIME_HEAD + bytes((0x80 | low & 0x7F, 0x80 | low >> 7)) for low in range(_LOWS)]
_TIME_BYTES = 14
_KEPT_LENGTH = 128  # longer values hardly come again; lines longer than the next are too rare to remember
_KEPT_HEADS = 4096


@dataclass(frozen=True, slots=True)
class Push:
    """The body of one push: entries of one stream."""

    labels: bytes
    entries: int
    size: int
    """Bytes of its entries before compression, about what Loki counts for its rate limits."""
    data: bytes = field(repr=False)

    @classmethod
    def of(cls, labels: bytes, entries: Sequence[bytes], count: int = 0) -> Push:
        """The push of these entries; ``count``: how many they are, where one of ``entries`` holds several."""
        size = sum(map(len, entries))
        stream = b"".join((wire_field(1, labels), *entries))
        data = cramjam.snappy.compress_raw(wire_field(1, stream))
        return cls(labels, count or len(entries), size, bytes(data))

    def contents(self) -> list[Entry]:
        """Its entries one by one. Only where some of them were refused is it worth the time."""
        raw = bytes(cramjam.snappy.decompress_raw(self.data))
        (top,) = fields(raw, 0, len(raw))
        return [
            Entry(_time_ns(raw, at, end), raw[start:end])
            for number, _, start, at, end in fields(raw, top[3], top[4])
            if number == 2
        ]

    def halves(self) -> tuple[Push, Push] | None:
        """Two pushes that hold its first and its second half; None for a single entry."""
        if self.entries < 2:
            return None
        contents = self.contents()
        middle = len(contents) // 2
        return self.only(contents[:middle]), self.only(contents[middle:])

    def only(self, entries: Sequence[Entry]) -> Push:
        """The push of some of its entries."""
        return Push.of(self.labels, [entry.data for entry in entries])


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a push as it is in it, and its time in ns."""

    time_ns: int
    data: bytes = field(repr=False)


def metadata(name: str, value: str) -> bytes:
    """A pair of structured metadata, as a field of an entry; nothing for a pair without a value, which Loki would refuse."""
    return _kept_pair(name, value) if len(value) < _KEPT_LENGTH else pair(name, value)


def pair_heads(name: str, values: Sequence[bytes]) -> list[bytes]:
    """What stands in front of each of these values in a pair of structured metadata, which it ends; nothing when it is empty."""
    before = _name_field(name)
    heads = {length: _pair_head(before, length) for length in set(map(len, values))}
    return list(map(heads.__getitem__, map(len, values)))


def entry(line: bytes, rest: bytes, time_ns: int) -> bytes:
    """An entry as a field of its stream; ``rest`` is its metadata."""
    second, nano = divmod(time_ns, _SECOND)
    length = varint(len(line))
    size = varint(len(length) + len(line) + len(rest) + 1 + _TIME_BYTES)
    low, high = _LOW[nano & _LOWS - 1], _rest_of_time(second, nano >> _LOW_BITS)
    return b"".join((b"\x12", size, b"\x12", length, line, low, high, rest))


def entries(lines: Sequence[bytes], rests: Sequence[bytes], times: Sequence[int]) -> list[bytes]:
    """As `entry`, of each of these."""
    lengths = list(map(len, lines))
    known = {length: b"\x12" + varint(length) for length in set(lengths)}
    line_heads = list(map(known.__getitem__, lengths))
    sizes = list(map(add, map(add, lengths, map(len, line_heads)), map(len, rests)))
    heads = {size: b"\x12" + varint(size + _TIME_BYTES) for size in set(sizes)}
    nanos = [time_ns % _SECOND for time_ns in times]
    seconds = [time_ns // _SECOND for time_ns in times]
    ends = {second: b"\x08" + _padded(second) for second in set(seconds)}
    every = zip(
        *(map(heads.__getitem__, sizes), line_heads, lines),
        [_LOW[nano & _LOWS - 1] for nano in nanos],
        [_HIGH[nano >> _LOW_BITS] for nano in nanos],
        map(ends.__getitem__, seconds),
        rests,
        strict=True,
    )
    return list(map(b"".join, every))


def plain_entries(lines: Sequence[bytes], rest: bytes, first_ns: int) -> Iterator[tuple[bytes, int]]:
    """Entries of lines, each a nanosecond after the one before, some at a time with how many they are."""
    heads = _heads(rest)
    at = 0
    while at < len(lines):
        second, nano = divmod(first_ns + at, _SECOND)
        low = nano & _LOWS - 1
        block = lines[at : at + min(_BLOCK, _LOWS - low, _SECOND - nano)]
        pieces = [_rest_of_time(second, nano >> _LOW_BITS) + rest] * (4 * len(block))
        pieces[0::4] = map(heads.__getitem__, map(len, block))
        pieces[1::4] = block
        pieces[2::4] = _LOW[low : low + len(block)]
        yield b"".join(pieces), len(block)
        at += len(block)


class _Heads(dict[int, bytes]):
    """What stands in front of a line of some length, where ``more`` bytes follow it in its entry."""

    def __init__(self, more: int) -> None:
        super().__init__()
        self._more = more

    def __missing__(self, length: int) -> bytes:
        line_head = b"\x12" + varint(length)
        head = b"".join((b"\x12", varint(len(line_head) + length + self._more), line_head))
        if length < _KEPT_HEADS:
            self[length] = head
        return head


def pair(name: str, value: str) -> bytes:
    """As `metadata`, for a value that hardly comes again."""
    if not value:
        return b""
    data = text(value)
    size = len(data)
    if size < 100 and len(name) < 20:  # every length in a byte
        head = _name_field(name)
        return b"\x1a%c%b\x12%c%b" % (len(head) + 2 + size, head, size, data)
    content = _name_field(name) + wire_field(2, data)
    return wire_field(3, content)


def _pair_head(name: bytes, length: int) -> bytes:
    """What stands in front of a value; nothing when it is empty."""
    before = b"\x12" + varint(length)
    return b"".join((b"\x1a", varint(len(name) + len(before) + length), name, before)) if length else b""


@lru_cache(4096)
def _name_field(name: str) -> bytes:
    return wire_field(1, name.encode())


_kept_pair = lru_cache(8192)(pair)


@lru_cache(32)
def _heads_by_size(more: int) -> Mapping[int, bytes]:
    return _Heads(more)


def _heads(rest: bytes) -> Mapping[int, bytes]:
    return _heads_by_size(_TIME_BYTES + len(rest))


class _HighBits(dict[int, bytes]):
    """What follows the lower 14 bits of the nanoseconds in a time. Emptied when full."""

    def __missing__(self, high: int) -> bytes:
        if len(self) >= _KEPT_HEADS:
            self.clear()
        made = self[high] = bytes((0x80 | high & 0x7F, 0x80 | high >> 7 & 0x7F, high >> 14))
        return made


_HIGH = _HighBits()


def _rest_of_time(second: int, high: int) -> bytes:
    """The time of an entry behind the lower 14 bits of its nanoseconds."""
    return _HIGH[high] + b"\x08" + _padded(second)


@lru_cache(256)
def _padded(number: int) -> bytes:
    return bytes((*(0x80 | number >> shift & 0x7F for shift in (0, 7, 14, 21)), number >> 28))


def _time_ns(raw: bytes, at: int, end: int) -> int:
    """The time of the entry that is ``raw[at:end]``."""
    for number, wire, _, start, stop in fields(raw, at, end):
        if number == 1 and wire == LENGTH:
            parts = {one: read_varint(raw, a, b)[0] for one, _, _, a, b in fields(raw, start, stop)}
            return parts.get(1, 0) * _SECOND + parts.get(2, 0)
    return 0
