"""Entries of the forward protocol to LogRecords: the hot path, so it makes bytes and no objects.

A text attribute is two pieces, of which the first (key and lengths) is the same for all texts of a length under a key and is
remembered. What a record means is found by its keys alone: its text, its severity, its trace. All else is an attribute.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence

from shipper.otlp.wire import field as wire_field
from shipper.otlp.wire import varint
from shipper.shape.severity import Levels
from shipper.sources.batch import Group
from shipper.sources.file.lines import readable
from shipper.sources.forward import values
from shipper.sources.forward.values import Value, encode, is_text, key_bytes, nanoseconds
from shipper.sources.heads import Heads, Keys

UNREADABLE = "shipper.forward.error"
"""Attribute of a record that was not what the protocol says: what was wrong. Its body is the whole of what came."""

_TIME = struct.Struct("<cQcQ").pack
_OBSERVED = struct.Struct("<cQ").pack
_LEVELS = {
    name.encode(): Levels(name)
    for name in ("level", "severity", "severity_text", "severityText", "loglevel", "log.level", "lvl", "levelname")
}
_TRACES = (b"trace_id", b"traceId", b"traceid", b"trace.id", b"otelTraceID")
_SPANS = (b"span_id", b"spanId", b"spanid", b"span.id", b"otelSpanID")
_FEW, _SHORT = 256, 128  # different values of a key, and bytes of a text, that are remembered whole
_REMEMBERED = 256  # keys
_LENGTHS = 4096
_HEX = frozenset(b"0123456789abcdefABCDEF")


class _Few(dict[Value, bytes]):
    """Whole attributes by their text or integer, for a key that has few different ones; ``full`` is called when it has many."""

    __slots__ = ("_full", "_heads")

    def __init__(self, heads: Heads, full: Callable[[], None]) -> None:
        self._heads = heads
        self._full = full

    def __missing__(self, value: Value) -> bytes:
        found = self._heads.of(encode(value))
        if len(self) >= _FEW or (type(value) is bytes and len(value) > _SHORT):
            self._full()
        else:
            self[value] = found
        return found


class _Narrow(dict[Value, _Few | None]):
    """What is remembered of each key; None for a key that has too many."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def __missing__(self, key: Value) -> _Few:
        if len(self) >= _REMEMBERED:
            self.clear()
        found = self[key] = _Few(self._keys[key], lambda: self.__setitem__(key, None))
        return found


class _Bodies(dict[int, bytes]):
    """What stands in front of a body that is text, by its length."""

    def __missing__(self, length: int) -> bytes:
        text = b"\x0a" + varint(length)
        head = b"\x2a" + varint(len(text) + length) + text
        if length < _LENGTHS:
            self[length] = head
        return head


_BODIES = _Bodies()


class RecordEncoder:
    """Encodes entries. ``body``: the keys of which the first that a record has is its text."""

    def __init__(self, body: Sequence[str]) -> None:
        self._body = [key.encode() for key in body]
        self._keys = Keys(key_bytes)
        self._narrow = _Narrow(self._keys)
        self._commons: dict[bytes, bytes] = {}

    def encode(self, entries: Iterable[Value], tag: bytes, metadata: Value, observed_ns: int, into: Group) -> int:
        """Append a record for each entry (``[time, record]``, or ``[[time, metadata], record]``).

        ``metadata``: of the whole message, where its option has some. Returns how many entries were not what the protocol
        says. Raises what reading ``entries`` raises.
        """
        common = self._common(tag, metadata)
        unreadable = size = 0
        out = into.records
        for entry in entries:
            try:
                when, record = entry
                items = record.items
            except (TypeError, ValueError, AttributeError):
                unreadable += 1
                data = _unreadable(entry, observed_ns, common)
            else:
                parts = [b""]
                if type(when) is list:
                    when = self._header(when, parts)
                for key in self._body:
                    if key in record:
                        value = record.pop(key)
                        if type(value) is bytes and (value.isascii() or is_text(value)):
                            value = value.removesuffix(b"\n")
                            parts += (_BODIES[len(value)], value)
                        else:
                            parts.append(_odd_body(value))
                        break
                if not _MEANT.isdisjoint(record):
                    self._meaning(record, parts)
                narrow = self._narrow
                for key, value in items():
                    kind = type(value)
                    if (kind is bytes or kind is int) and (few := narrow[key]) is not None:
                        parts.append(few[value])
                    elif kind is bytes and (value.isascii() or is_text(value)):
                        parts += (self._keys[key][len(value)], value)
                    else:
                        parts.append(self._keys[key].of(encode(value)))
                at = nanoseconds(when)
                parts[0] = _TIME(b"\x09", at, b"\x59", observed_ns) if at else _OBSERVED(b"\x59", observed_ns)
                parts.append(common)
                data = b"".join(parts)
            out.append(b"\x12" + varint(len(data)) + data)
            size += len(data)
        into.size += size
        return unreadable

    def _common(self, tag: bytes, metadata: Value) -> bytes:
        """What is on every record of a message."""
        found = self._commons.get(tag)
        if found is None:
            if len(self._commons) >= _REMEMBERED:
                self._commons.clear()
            found = self._commons[tag] = values.attribute("fluent.tag", tag)
        return found + b"".join(self._metadata(metadata)) if metadata else found

    def _metadata(self, metadata: Value) -> list[bytes]:
        if not isinstance(metadata, dict):
            return [values.attribute("fluent.metadata", metadata)]
        return [values.attribute(values.text_of(key), value) for key, value in metadata.items()]

    def _header(self, header: list[Value], parts: list[bytes]) -> Value:
        """The time out of ``[time, metadata]``; the metadata goes to ``parts``."""
        if len(header) > 1 and header[1]:
            parts += self._metadata(header[1])
        return header[0] if header else None

    def _meaning(self, record: dict[Value, Value], parts: list[bytes]) -> None:
        """Move severity and trace context out of the record; what is not understood stays in it."""
        found = _MEANT.intersection(record)
        for kind in {_KIND[key] for key in found}:
            for key in sorted(found) if len(found) > 1 else found:
                if _KIND[key] is kind and (encoded := kind(key, record[key])):
                    del record[key]
                    parts.append(encoded)
                    break


def _severity(key: bytes, value: Value) -> bytes:
    """The severity fields of a level; empty where it is none."""
    if type(value) is int or (type(value) is bytes and is_text(value)):
        found = _LEVELS[key][value]
        return found.encoded if found.number else b""
    return b""


def _trace(key: bytes, value: Value) -> bytes:
    found = _identifier(value, 16)
    return wire_field(9, found) if found else b""


def _span(key: bytes, value: Value) -> bytes:
    found = _identifier(value, 8)
    return wire_field(10, found) if found else b""


_KIND: dict[bytes, Callable[[bytes, Value], bytes]] = {
    **dict.fromkeys(_LEVELS, _severity),
    **dict.fromkeys(_TRACES, _trace),
    **dict.fromkeys(_SPANS, _span),
}
"""What becomes of the keys that say more than an attribute."""

_MEANT = frozenset(_KIND)


def _odd_body(value: Value) -> bytes:
    """A body that is no text, or text of another encoding."""
    if type(value) is not bytes:
        return wire_field(5, encode(value))
    shown, original = readable(value.removesuffix(b"\n"))
    return wire_field(5, wire_field(1, shown)) + original


def _unreadable(entry: Value, observed_ns: int, common: bytes) -> bytes:
    """A record that holds whatever came in the place of an entry."""
    error = values.attribute(UNREADABLE, b"this is not [time, record]")
    return b"".join((_OBSERVED(b"\x59", observed_ns), wire_field(5, encode(entry)), common, error))


def _identifier(value: Value, size: int) -> bytes:
    """The bytes of a trace or span id in hexadecimal digits; empty where it is none (all zeros is none)."""
    if type(value) is not bytes or len(value) != 2 * size or not _HEX.issuperset(value):
        return b""
    found = bytes.fromhex(value.decode())
    return found if any(found) else b""
