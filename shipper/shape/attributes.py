"""A column of values as attributes: the key and all lengths are worked out once for as many values as possible."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import repeat
from operator import add
from typing import Any

from shipper.otlp.encode import any_value
from shipper.otlp.wire import field, text, varint
from shipper.shape.columns import ABSENT

_NOTHING = frozenset((type(ABSENT), type(None)))
_FEW = 4  # a value that stands in a column so often on average is encoded once
_CACHED = 512  # lengths of one key
_CACHED_KEYS = 256
_CACHED_KEY = 200  # bytes of a key for which anything is remembered
_DOUBLE = 11  # bytes of an AnyValue field that holds a double


class _Key:
    """An attribute's key, encoded, and what stands in front of a value of each kind and length."""

    def __init__(self, name: str) -> None:
        self.encoded = field(1, text(name))
        self.heads = _Heads(self.encoded)
        self.integer = _Integer(self.encoded)
        before = (b"\x32", varint(len(self.encoded) + _DOUBLE), self.encoded, b"\x12\x09\x21")
        self.before_double = b"".join(before)  # attributes (6) of LogRecord, value (2), double_value (4)
        self.pack_double: Callable[[bytes, float], bytes] = struct.Struct(f"<{len(self.before_double)}sd").pack


class _Integer:
    """An integer that is not negative as an attribute."""

    def __init__(self, key: bytes) -> None:
        values = [b"\x12" + varint(size + 1) + b"\x18" for size in range(10)]  # value (2), int_value (3)
        self._before = [
            b"".join((b"\x32", varint(len(key) + len(value) + size), key, value)) for size, value in enumerate(values)
        ]

    def __call__(self, value: int) -> bytes:
        if 2048 <= value < 1 << 21:  # by far the most that are not looked up
            if value < 1 << 14:
                return self._before[2] + bytes((value & 0x7F | 0x80, value >> 7))
            return self._before[3] + bytes((value & 0x7F | 0x80, value >> 7 & 0x7F | 0x80, value >> 14))
        encoded = varint(value)
        return self._before[len(encoded)] + encoded


class _Heads(dict[int, bytes]):
    """What stands in front of a text of so many bytes: the lengths of attribute, value and string, and the key."""

    def __init__(self, key: bytes) -> None:
        super().__init__()
        self._key = key

    def __missing__(self, length: int) -> bytes:
        string = b"\x0a" + varint(length)
        value = b"\x12" + varint(len(string) + length) + string
        head = b"".join((b"\x32", varint(len(self._key) + len(value) + length), self._key, value))
        if len(self) >= _CACHED:
            self.clear()
        self[length] = head
        return head


_remembered = lru_cache(_CACHED_KEYS)(_Key)


def column(name: str, values: Sequence[Any]) -> list[bytes]:
    """Each value as an attribute called ``name``, encoded as a field of a LogRecord; empty for null and for what is absent."""
    key = _remembered(name) if len(name) <= _CACHED_KEY else _Key(name)
    if _NOTHING.isdisjoint(map(type, values)):
        return _encoded(key, values)
    found = [b""] * len(values)
    there = [row for row, value in enumerate(values) if value is not ABSENT and value is not None]
    for row, encoded in zip(there, _encoded(key, [values[row] for row in there]), strict=True):
        found[row] = encoded
    return found


def _encoded(key: _Key, values: Sequence[Any]) -> list[bytes]:
    kinds = set(map(type, values))
    if len(kinds) == 1:
        (kind,) = kinds
        if kind is float:
            return list(map(key.pack_double, repeat(key.before_double), values))
        if kind in (str, bytes, int, bool, tuple):
            distinct = set(values)
            if len(distinct) * _FEW <= len(values):
                known = {value: _one(key.encoded, value) for value in distinct}
                return list(map(known.__getitem__, values))
        if kind is int and min(values) >= 0 and max(values) < 1 << 63:
            return list(map(key.integer, values))
        if kind is str:
            return _texts(key, _utf8(values))
        if kind is bytes:
            return _texts(key, values)
    return list(map(_one, repeat(key.encoded), values))


def _utf8(values: Sequence[str]) -> list[bytes]:
    try:
        return list(map(str.encode, values))
    except UnicodeEncodeError:  # half of a surrogate pair
        return list(map(text, values))


def _texts(key: _Key, values: Sequence[bytes]) -> list[bytes]:
    return list(map(add, map(key.heads.__getitem__, map(len, values)), values))


def _one(key: bytes, value: Any) -> bytes:
    """One value with an encoded key. What nests deeper than OTLP can hold becomes its JSON text."""
    if isinstance(value, bytes):
        return field(6, key + field(2, field(1, value)))
    try:
        encoded = any_value(value)
    except ValueError:
        encoded = field(1, text(json.dumps(value)))
    return field(6, key + field(2, encoded))
