"""From whatever a service puts into an attribute to the bytes of an OTLP AnyValue; the table is docs/services-values.md.

`any_value` takes every Python object and always ends: what is cyclic, too deep, too long, or raises in its own ``__str__``
becomes a text that says so. `shipper.sdk.emit.attributes` does the same for whole sets of attributes, fast.
Field numbers: opentelemetry-proto ``common/v1/common.proto``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import date, datetime, time
from typing import Any

from shipper.otlp.encode import MAX_DEPTH
from shipper.otlp.wire import double_field, field, text, varint_field
from shipper.sdk.emit.redact import MAX_TEXT, Texts, cut

MAX_ITEMS = 1000
"""Items of one list or map that are taken."""
MAX_NODES = 4096
"""Values in one attribute that are taken, at all depths together."""
MAX_ROOM = 256 << 10
"""Characters and bytes of all texts in one attribute together."""
MAX_KEY = 1024
INT64 = 1 << 63
_UNSET = object()
_LEFT_OUT = "[further items left out]"


def as_text(value: object) -> str:
    """``str(value)``, or what is wrong with it. Never raises for an Exception."""
    try:
        found = str(value)
        return found if type(found) is str else str.__str__(found)
    except Exception as error:
        return f"[{type(value).__name__}: str() raised {type(error).__name__}]"


class _Walk(ABC):
    """One value being taken: what is left of its budget, and the containers it is inside of. What is made of it is up to
    the form: bytes of an AnyValue, or plain Python values."""

    def __init__(self, texts: Texts, limit: int | None, room: int) -> None:
        self._texts = texts
        self._limit = limit
        self._left = MAX_NODES
        self._room = room
        self._inside: set[int] = set()

    @abstractmethod
    def leaf(self, value: str | bool | int | float | bytes | None) -> Any:
        """The form of a value without members; ints fit into 64 bits."""

    @abstractmethod
    def row(self, items: list[Any]) -> Any:
        """The form of a list, from the forms of its items."""

    @abstractmethod
    def table(self, pairs: list[tuple[str, Any]]) -> Any:
        """The form of a map, from names and the forms of their values."""

    def text(self, value: str) -> Any:
        """The form of a text, redacted and cut."""
        cleaned = self._texts.clean(value)
        if self._limit is not None:
            cleaned = cleaned[: self._limit]
        if self._room < len(cleaned):
            cleaned = cut(cleaned, max(0, self._room))
        self._room -= len(cleaned)
        return self.leaf(cut(cleaned))

    def value(self, value: Any, depth: int = MAX_DEPTH) -> Any:
        """The form of any object."""
        if isinstance(value, str):
            return self.text(value if type(value) is str else str.__str__(value))
        if value is None or isinstance(value, bool):
            return self.leaf(value)
        if isinstance(value, int):
            return self.leaf(int(value)) if -INT64 <= value < INT64 else self.text(_digits(value))
        if isinstance(value, float):
            return self.leaf(float(value))
        if isinstance(value, bytes | bytearray | memoryview):
            data = bytes(value[: min(MAX_TEXT, max(0, self._room))])
            self._room -= len(data)
            return self.leaf(data)
        members = _members(value)
        if members is None:
            plain = _plain(value)
            return self.text(as_text(value)) if plain is _UNSET else self.value(plain, depth)
        if depth <= 0:
            return self.text(f"[more than {MAX_DEPTH} levels deep]")
        if id(value) in self._inside:
            return self.text("[the same object again, inside itself]")
        self._inside.add(id(value))
        try:
            return self._pairs(members, depth) if isinstance(members, Mapping) else self._items(members, depth)
        finally:
            self._inside.discard(id(value))

    def _items(self, items: Iterable[Any], depth: int) -> Any:
        out = []
        for number, item in enumerate(items):
            self._left -= 1
            if number >= MAX_ITEMS or self._left < 0:
                out.append(self.text(_LEFT_OUT))
                break
            out.append(self.value(item, depth - 1))
        return self.row(out)

    def _pairs(self, pairs: Mapping[Any, Any], depth: int) -> Any:
        out = []
        for number, key in enumerate(list(pairs)):
            self._left -= 1
            if number >= MAX_ITEMS or self._left < 0:
                out.append(("…", self.text(_LEFT_OUT)))
                break
            out.append((key_text(key), self.value(pairs[key], depth - 1)))
        return self.table(out)


class _Bytes(_Walk):
    """The form in which a value is handed over: the content of an AnyValue."""

    def leaf(self, value: str | bool | int | float | bytes | None) -> bytes:
        if isinstance(value, str):
            return field(1, text(value))
        if value is None:
            return b""
        if isinstance(value, bool):
            return varint_field(2, value)
        if isinstance(value, int):
            return varint_field(3, value)
        return double_field(4, value) if isinstance(value, float) else field(7, value)

    def row(self, items: list[bytes]) -> bytes:
        return field(5, b"".join([field(1, item) for item in items]))

    def table(self, pairs: list[tuple[str, bytes]]) -> bytes:
        return field(6, b"".join([field(1, field(1, text(name)) + field(2, value)) for name, value in pairs]))


class _Plain(_Walk):
    """The form in which a value is given to OpenTelemetry's own logger."""

    def leaf(self, value: str | bool | int | float | bytes | None) -> Any:
        return text(value).decode() if isinstance(value, str) else value

    def row(self, items: list[Any]) -> list[Any]:
        return items

    def table(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return dict(pairs)


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


def any_value(value: Any, texts: Texts, limit: int | None = None, room: int = MAX_ROOM) -> bytes:
    """The content of an AnyValue for any object. Never raises for an Exception.

    ``limit``: characters of one text; ``room``: characters and bytes of all texts in the value together.
    """
    try:
        found: bytes = _Bytes(texts, limit, room).value(value)
    except Exception as error:
        return field(1, text(_unreadable(value, texts, error)))
    return found


def plain_value(value: Any, texts: Texts, limit: int | None = None) -> Any:
    """The same as a value of None, bool, int, float, str, bytes, list and dict only."""
    try:
        return _Plain(texts, limit, MAX_ROOM).value(value)
    except Exception as error:
        return _unreadable(value, texts, error)


def _unreadable(value: object, texts: Texts, error: Exception) -> str:
    texts.faults.count("a value could not be encoded", error)
    return f"[{type(value).__name__}: {type(error).__name__} while it was read]"
