"""From whatever a service puts into an attribute to the bytes of an OTLP AnyValue; the table is docs/services-values.md.

`any_value` takes every Python object and always ends: what is cyclic, too deep, too long, or raises in its own ``__str__``
becomes a text that says so. `Attributes` is the same for whole sets of attributes, made for the hot path: what stands in
front of a value is made once per attribute name and length, so that a text costs one ``encode`` and two appends.
Field numbers: opentelemetry-proto ``common/v1/common.proto``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import date, datetime, time
from typing import Any

from shipper.otlp.encode import MAX_DEPTH
from shipper.otlp.wire import double_field, field, text, varint, varint_field
from shipper.sdk.redact import MAX_TEXT, Texts, cut

MAX_ITEMS = 1000
"""Items of one list or map that are taken."""
MAX_NODES = 4096
"""Values in one attribute that are taken, at all depths together."""
MAX_KEY = 1024
_DOUBLE = struct.Struct("<d").pack
_PLAIN = 1024  # texts of fewer bytes have their head cached
_CACHED = 8192
_SMALL_INT = 2048
_INT64 = 1 << 63
_UNSET = object()


def as_text(value: object) -> str:
    """``str(value)``, or what is wrong with it. Never raises for an Exception."""
    try:
        found = str(value)
        return found if type(found) is str else str.__str__(found)
    except Exception as error:
        return f"[{type(value).__name__}: str() raised {type(error).__name__}]"


class _Walk:
    """One value being encoded: what is left of its budget, and the containers it is inside of."""

    __slots__ = ("inside", "left", "limit", "texts")

    def __init__(self, texts: Texts, limit: int | None) -> None:
        self.texts = texts
        self.limit = limit
        self.left = MAX_NODES
        self.inside: set[int] = set()

    def text(self, value: str) -> bytes:
        cleaned = self.texts.clean(value)
        if self.limit is not None:
            cleaned = cleaned[: self.limit]
        return field(1, text(cut(cleaned)))

    def value(self, value: Any, depth: int) -> bytes:
        if isinstance(value, str):
            return self.text(value if type(value) is str else as_text(str.__str__(value)))
        if value is None:
            return b""
        if isinstance(value, bool):
            return varint_field(2, value)
        if isinstance(value, int):
            return varint_field(3, int(value)) if -_INT64 <= value < _INT64 else self.text(_digits(value))
        if isinstance(value, float):
            return double_field(4, value)
        if isinstance(value, bytes | bytearray | memoryview):
            return field(7, bytes(value[:MAX_TEXT]))
        members = _members(value)
        if members is None:
            plain = _plain(value)
            return self.text(as_text(value)) if plain is _UNSET else self.value(plain, depth)
        if depth <= 0:
            return self.text(f"[more than {MAX_DEPTH} levels deep]")
        if id(value) in self.inside:
            return self.text("[the same object again, inside itself]")
        self.inside.add(id(value))
        try:
            return self._pairs(members, depth) if isinstance(members, Mapping) else self._items(members, depth)
        finally:
            self.inside.discard(id(value))

    def _items(self, items: Iterable[Any], depth: int) -> bytes:
        out = []
        for number, item in enumerate(items):
            self.left -= 1
            if number >= MAX_ITEMS or self.left < 0:
                out.append(field(1, self.text("[further items left out]")))
                break
            out.append(field(1, self.value(item, depth - 1)))
        return field(5, b"".join(out))

    def _pairs(self, pairs: Mapping[Any, Any], depth: int) -> bytes:
        out = []
        for number, key in enumerate(list(pairs)):
            self.left -= 1
            name = key_text(key)
            if number >= MAX_ITEMS or self.left < 0:
                out.append(field(1, field(1, "…".encode()) + field(2, self.text("[further items left out]"))))
                break
            out.append(field(1, field(1, text(name)) + field(2, self.value(pairs[key], depth - 1))))
        return field(6, b"".join(out))


def key_text(key: object) -> str:
    """The name of an attribute: what ``str`` makes of it, at most `MAX_KEY` characters."""
    return (key if type(key) is str else as_text(key))[:MAX_KEY]


def _digits(value: int) -> str:
    try:
        return str(int(value))
    except ValueError:  # more digits than sys.set_int_max_str_digits allows
        return hex(value)


def _members(value: Any) -> Mapping[Any, Any] | Iterable[Any] | None:
    """The members of a container; None when ``value`` is none. Iterators are not consumed: they are no containers."""
    if isinstance(value, Mapping | Sequence):
        return value
    if isinstance(value, Set):
        try:
            return sorted(value)
        except Exception:  # of several types, or not to be compared: any order
            return list(value)
    fields = getattr(type(value), "__dataclass_fields__", None)
    if isinstance(fields, dict) and not isinstance(value, type):
        return {name: getattr(value, name, None) for name, it in fields.items() if getattr(it, "repr", True)}
    return None


def _plain(value: Any) -> Any:
    """The built-in value that an object is another form of; `_UNSET` when there is none but its ``str``."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if getattr(type(value), "dtype", None) is not None and getattr(value, "ndim", None) == 0:  # a numpy scalar
        plain = value.item()
        if plain is None or isinstance(plain, str | bool | int | float | bytes):
            return plain
    return _UNSET


def any_value(value: Any, texts: Texts, limit: int | None = None) -> bytes:
    """The content of an AnyValue for any object. Never raises for an Exception; ``limit``: characters of one text."""
    try:
        return _Walk(texts, limit).value(value, MAX_DEPTH)
    except Exception as error:
        texts.faults.count("a value could not be encoded", error)
        return field(1, text(f"[{type(value).__name__}: {type(error).__name__} while it was read]"))


class _Key:
    """What is constant about one attribute: the bytes before its value."""

    __slots__ = ("double", "false", "ints", "name", "owner", "tag", "texts", "true")

    def __init__(self, owner: Attributes, name: str) -> None:
        self.owner = owner
        self.tag = owner.tag
        self.name = field(1, text(name[:MAX_KEY]))
        self.texts = _Texts(self)
        self.ints = _Ints(self)
        self.true = self.whole(varint_field(2, True))
        self.false = self.whole(varint_field(2, False))
        self.double = self.head(9) + b"\x21"

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
        whole = self.key.whole(varint_field(3, value))
        if 0 <= value < _SMALL_INT:
            self.key.owner.made()
            self[value] = whole
        return whole


class Attributes(dict[str, _Key]):
    """Attributes as fields of number ``number`` of a message (Span 9, LogRecord 6, Event 3, Link 4).

    The dictionary is the cache of attribute names; it is emptied when it grows too large.
    """

    def __init__(self, number: int, texts: Texts, limit: int | None = None) -> None:
        super().__init__()
        self.tag = varint(number << 3 | 2)
        self.texts = texts
        self.limit = limit
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
            elif kind is int and -_INT64 <= value < _INT64:
                put(self[name].ints[value])
            elif kind is bool:
                put(self[name].true if value else self[name].false)
            elif kind is float:
                put(self[name].double)
                put(_DOUBLE(value))
            else:
                put(self[name].whole(any_value(value, self.texts, self.limit)))
