"""Sets of attributes as fields of a message, on the path that every span and log record takes.

What stands in front of a value is made once per attribute name and length, so that a text costs one ``encode`` and two
appends. Only bytes that are *before* values are cached (and small integers, which know their type), so nothing can be taken
for something that compares equal to it, and no value of the service is kept.
Field numbers: opentelemetry-proto ``common/v1/common.proto``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any

from shipper.otlp.wire import field, text, varint, varint_field
from shipper.sdk.emit.redact import MAX_TEXT, Texts, cut
from shipper.sdk.emit.values import INT64, MAX_KEY, MAX_ROOM, any_value

_DOUBLE = struct.Struct("<d").pack
_PLAIN = 1024  # texts of fewer bytes have their head cached
_CACHED = 8192
_CACHED_INTS = 128


class _Key:
    """What is constant about one attribute: the bytes before its value."""

    __slots__ = ("double", "false", "heads", "ints", "name", "owner", "tag", "texts", "true")

    def __init__(self, owner: Attributes, name: str) -> None:
        self.owner = owner
        self.tag = owner.tag
        self.name = field(1, text(name[:MAX_KEY]))
        self.texts = _Texts(self)
        self.ints = _Ints(self)
        self.true = self.whole(varint_field(2, True))
        self.false = self.whole(varint_field(2, False))
        self.double = self.head(9) + b"\x21"
        self.heads = tuple(self.head(size) for size in range(12))

    def head(self, size: int) -> bytes:
        """Everything before the content of an AnyValue of ``size`` bytes."""
        value = b"\x12" + varint(size)
        return b"".join((self.tag, varint(len(self.name) + len(value) + size), self.name, value))

    def whole(self, value: bytes) -> bytes:
        return self.head(len(value)) + value


class _Texts(dict[int, bytes]):
    """By the length of a text in UTF-8: what stands before it."""

    __slots__ = ("key",)

    def __init__(self, key: _Key) -> None:
        self.key = key

    def __missing__(self, size: int) -> bytes:
        length = b"\x0a" + varint(size)
        head = self.key.head(len(length) + size) + length
        if size < _PLAIN:
            self.key.owner.made()
            self[size] = head
        return head


class _Ints(dict[int, bytes]):
    """By value: the whole attribute."""

    __slots__ = ("key",)

    def __init__(self, key: _Key) -> None:
        self.key = key

    def __missing__(self, value: int) -> bytes:
        data = varint_field(3, value)
        whole = self.key.heads[len(data)] + data
        if len(self) < _CACHED_INTS:  # ports and status codes are few; what counts or measures is new each time
            self.key.owner.made()
            self[value] = whole
        return whole


class Attributes(dict[str, _Key]):
    """Attributes as fields of number ``number`` of a message (Span 9, LogRecord 6, Event 3, Link 4).

    The dictionary is the cache of attribute names; it is emptied when it grows too large.
    """

    def __init__(self, number: int, texts: Texts, limit: int | None = None, room: int = MAX_ROOM) -> None:
        super().__init__()
        self.tag = varint(number << 3 | 2)
        self.texts = texts
        self.limit = limit
        self.room = room
        self._made = 0
        plain = texts.redact is None and limit is None
        self.change: Callable[[str], str] | None = None if plain else self._change

    def __missing__(self, name: str) -> _Key:
        self.made()
        key = _Key(self, name)
        self[name] = key
        return key

    def made(self) -> None:
        """One more thing is kept; everything is forgotten when that is too much."""
        self._made += 1
        if self._made > _CACHED:
            self._made = 0
            self.clear()

    def _change(self, value: str) -> str:
        cleaned = self.texts.clean(value)
        return cleaned if self.limit is None else cleaned[: self.limit]

    def raw(self, name: str, value: str) -> bytes:
        """One attribute whose text is ours: not redacted, not cut."""
        data = text(value)
        return self[name].texts[len(data)] + data

    def put(self, put: Callable[[bytes], None], attributes: Iterable[tuple[str, Any]]) -> None:
        """Append the encoded fields of ``attributes`` through ``put``. Names must be texts. Never raises."""
        change = self.change
        for name, value in attributes:
            kind = type(value)
            if kind is str:
                if change is not None:
                    value = change(value)
                try:
                    data = value.encode()
                except UnicodeEncodeError:
                    data = text(value)
                size = len(data)
                if size > MAX_TEXT:
                    data = text(cut(value))
                    size = len(data)
                put(self[name].texts[size])
                put(data)
            elif kind is int and -INT64 <= value < INT64:
                put(self[name].ints[value])
            elif kind is bool:
                put(self[name].true if value else self[name].false)
            elif kind is float:
                put(self[name].double)
                put(_DOUBLE(value))
            else:
                put(self[name].whole(any_value(value, self.texts, self.limit, self.room)))
