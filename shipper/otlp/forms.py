"""What forms log records have: which fields stand in them, in which order, and what stands in front of each value.

Records that stand together mostly have the same fields in the same order; a template, as it were, with other values. In front of
a value of a certain length always stand the same bytes. So a field whose value varies is known by its number, for an attribute its
key and kind, and by one length, and all bytes that are no value can be told from these. `shipper.otlp.columns` takes records apart
by that, and looks at each such byte: what it does not find where it should be is read by the protobuf library.
"""

from __future__ import annotations

from dataclasses import dataclass

from shipper.errors import MalformedOtlp
from shipper.otlp.decode import value_of
from shipper.otlp.messages import parse_part
from shipper.otlp.wire import LENGTH, VARINT, field, fields, varint

TEXT, INTEGER, FLOAT, TRUTH, OTHER = range(5)
"""Kinds of values. What is `OTHER` (lists, maps, bytes, nothing at all) is read by the library."""

TIME, SEVERITY, SEVERITY_TEXT, BODY, ATTRIBUTE, FLAGS, TRACE, SPAN, OBSERVED, EVENT = 1, 2, 3, 5, 6, 8, 9, 10, 11, 12
"""Field numbers of LogRecord (opentelemetry-proto ``logs/v1/logs.proto``)."""

_MOST_FIELDS = 128  # of a record; those with more are read one by one
_LONGEST_KEY = 512
_HEADS_KEPT = 8192  # of all keys: with what belongs to them about 2 MB
_SIZED: dict[
    int, tuple[bytes | int, str, int]
] = {  # of those of one size: head, format of head and value, size of both
    TIME: (0x09, "BQ", 9),
    SEVERITY: (0x10, "BB", 2),
    FLAGS: (0x45, "BI", 5),
    TRACE: (b"\x4a\x10", "2s16s", 18),
    SPAN: (b"\x52\x08", "2s8s", 10),
    OBSERVED: (0x59, "BQ", 9),
}
_SEVERAL = frozenset({SEVERITY_TEXT, BODY, EVENT})  # texts
TAGS = {TEXT: b"\x0a", INTEGER: b"\x18", FLOAT: b"\x21", TRUTH: b"\x10"}
"""Those of AnyValue's fields, by kind."""


class Heads(dict[int, bytes]):
    """What stands in front of a value, by the length that a field says it has; nothing where none can have that length.

    ``formats``: for the same length, how `struct` tells the head from the value.
    """

    def __init__(self, number: int, name: str = "", kind: int = TEXT) -> None:
        super().__init__()
        self.formats = _Formats(self)
        self._tag = varint(number << 3 | LENGTH)
        self._kind = kind
        self._body = number == BODY
        self._key = field(1, name.encode()) + b"\x12" if number == ATTRIBUTE else b""

    def __missing__(self, length: int) -> bytes:
        global _kept
        _kept += 1
        head = self[length] = self._head(length)
        return head

    def _head(self, length: int) -> bytes:
        """For example ``32 L1 0a K key 12 L2 0a L3``, of which ``length`` is L1; each length tells the next."""
        head = self._tag + varint(length)
        if self._key and self._kind != OTHER:
            head += self._key
            length = _inner(length - len(self._key))
            head += varint(length) if length >= 0 else b""
        if self._body or (self._key and self._kind != OTHER):
            head += TAGS[self._kind]
            length -= 1
            if self._kind == TEXT:
                length = _inner(length)
                head += varint(length) if length >= 0 else b""
        least = 0 if self._kind in (TEXT, OTHER) else 1
        return head if least <= length and (self._kind != INTEGER or length <= 10) else b""


class _Formats(dict[int, str]):
    def __init__(self, heads: Heads) -> None:
        super().__init__()
        self._heads = heads

    def __missing__(self, length: int) -> str:
        head = len(self._heads[length])
        before = head or 1 + len(varint(length))
        made = self[length] = f"{before}s{1 + len(varint(length)) + length - before}s"
        return made


def _inner(size: int) -> int:
    """The length that together with what it counts has ``size`` bytes; negative when there is none."""
    for width in (1, 2, 3):
        if len(varint(max(size - width, 0))) == width:
            return size - width
    return -1


@dataclass(frozen=True, slots=True)
class Segment:
    """A field of a record as it is expected: always a head and a value.

    ``size``: bytes of both, 0 for one that says its length. ``head``, ``format``: of one whose size is known.
    """

    number: int
    kind: int
    name: str = ""
    size: int = 0
    head: bytes | int = 0
    format: str = ""
    heads: Heads | None = None


def form_of(record: bytes) -> tuple[Segment, ...] | None:
    """The form of an encoded LogRecord; None for one that had better be read by itself. Never raises for what stands in it."""
    segments: list[Segment] = []
    try:
        for number, wire, start, value, stop in fields(record, 0, len(record)):
            segment = _segment(record, number, wire, start, value, stop)
            if segment is None or len(segments) == _MOST_FIELDS:
                return None
            segments.append(segment)
    except MalformedOtlp:
        return None
    known = [(one.number, one.name) for one in segments]
    return tuple(segments) if segments and len(set(known)) == len(known) else None


def _segment(record: bytes, number: int, wire: int, start: int, value: int, stop: int) -> Segment | None:
    sized = _SIZED.get(number)
    if sized is not None:
        head, layout, size = sized
        fits = stop - start == size and (wire != VARINT or record[stop - 1] < 0x80)
        return Segment(number, OTHER, size=size, head=head, format=layout) if fits else None
    if number == ATTRIBUTE:
        return _attribute(record[start:stop], record[value:stop]) if wire == LENGTH else None
    if number not in _SEVERAL or wire != LENGTH or (number == BODY and record[value : value + 1] != b"\x0a"):
        return None
    return Segment(number, TEXT, heads=_heads(number, "", TEXT))


def _attribute(encoded: bytes, content: bytes) -> Segment | None:
    pair = parse_part("KeyValue", content)
    name, kind = pair.key, kind_of(value_of(pair.value))
    if len(name) > _LONGEST_KEY:
        return None
    if kind in (FLOAT, TRUTH):
        size = 8 if kind == FLOAT else 1
        inside = b"\x12" + varint(1 + size) + TAGS[kind]
        head = b"\x32" + varint(len(content)) + field(1, name.encode()) + inside
        if encoded.startswith(head) and len(head) + size == len(encoded):
            layout = f"{len(head)}s{'d' if kind == FLOAT else 'B'}"
            return Segment(ATTRIBUTE, kind, name, len(encoded), head, layout)
        kind = OTHER
    elif kind != OTHER:
        head = _heads(ATTRIBUTE, name, kind)[len(content)]
        if not head or not encoded.startswith(head):
            kind = OTHER  # some other encoder's, which takes more bytes than it needs
    return Segment(ATTRIBUTE, kind, name, heads=_heads(ATTRIBUTE, name, kind))


def kind_of(value: object) -> int:
    """The kind of a decoded value."""
    if isinstance(value, str):
        return TEXT
    if isinstance(value, bool):
        return TRUTH
    if isinstance(value, int):
        return INTEGER
    return FLOAT if isinstance(value, float) else OTHER


_HEADS: dict[tuple[int, str, int], Heads] = {}
_kept = 0


def _heads(number: int, name: str, kind: int) -> Heads:
    """One for all records, as the same few keys are on all of them."""
    global _kept
    known = number, name, kind
    if known not in _HEADS:
        if _kept >= _HEADS_KEPT:
            _HEADS.clear()
            _kept = 0
        _kept += 4
        _HEADS[known] = Heads(number, name, kind)
    return _HEADS[known]
