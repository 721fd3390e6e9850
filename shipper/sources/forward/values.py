"""MessagePack values, as the forward protocol carries them, to OTLP values.

Everything is read "raw", as bytes: old clients do not tell text from bytes, so what is valid UTF-8 is text and the rest stays
bytes. That also saves a decoding and an encoding for each text.
"""

from __future__ import annotations

import struct
from typing import Any, TypeAlias

import msgpack

from shipper.otlp.encode import MAX_DEPTH, any_value
from shipper.otlp.wire import double_field, field, varint, varint_field

Value: TypeAlias = Any
"""What `unpacker` makes: bytes, int, float, bool, None, list, dict with such keys, and (code, bytes) for an extension."""

EVENT_TIME = 0
"""The extension type of EventTime: seconds and nanoseconds, 32 bits each, big-endian (forward protocol v1, "EventTime")."""

_EVENT_TIME = struct.Struct(">II").unpack
_SECOND = 1_000_000_000
_MOST = (1 << 63) - 1
TOO_DEEP = "(nested too deeply)"


def unpacker(data: bytes | memoryview) -> msgpack.Unpacker:
    """Reads values out of ``data``. What it raises is in `BROKEN`."""
    reader = msgpack.Unpacker(
        raw=True,
        strict_map_key=False,
        use_list=True,
        ext_hook=_extension,
        timestamp=3,
        max_buffer_size=max(1, len(data)),
    )
    reader.feed(data)
    return reader


BROKEN = (ValueError, TypeError, OverflowError, msgpack.UnpackException, RecursionError)
"""What reading MessagePack raises for bytes that are none, that end too early, or that have a list as a key."""


def _extension(code: int, data: bytes) -> tuple[int, bytes]:
    return code, data


def nanoseconds(when: Value) -> int:
    """A time as the protocol has it, in nanoseconds since the epoch; 0 for anything that is no such time."""
    if type(when) is tuple and when[0] == EVENT_TIME and len(when[1]) == 8:
        seconds, fraction = _EVENT_TIME(when[1])
        return int(seconds * _SECOND + fraction)
    if type(when) is int and 0 <= when <= _MOST // _SECOND:
        return when * _SECOND
    if type(when) is float and 0 <= when <= _MOST // _SECOND:
        return int(when * _SECOND)
    return 0


def is_text(data: bytes) -> bool:
    """Whether it is valid UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def text_of(value: Value) -> str:
    """A key, or any other value that has to be text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def encode(value: Value, depth: int = MAX_DEPTH) -> bytes:
    """The content of an AnyValue. Lists and maps deeper than ``depth`` become `TOO_DEEP`."""
    kind = type(value)
    if kind is bytes:
        return field(1, value) if is_text(value) else field(7, value)
    if kind is bool:
        return varint_field(2, value)
    if kind is int:
        return any_value(value)
    if kind is float:
        return double_field(4, value)
    if value is None:
        return b""
    if kind is tuple:
        code, data = value
        if when := nanoseconds(value):
            return varint_field(3, when)
        return field(6, field(1, pair(b"type", code, 1)) + field(1, pair(b"data", data, 1)))
    if depth <= 0:
        return field(1, TOO_DEEP.encode())
    if kind is dict:
        return field(6, b"".join([field(1, pair(key, item, depth - 1)) for key, item in value.items()]))
    if kind is list:
        return field(5, b"".join([field(1, encode(item, depth - 1)) for item in value]))
    return field(1, str(value).encode())


def pair(key: Value, value: Value, depth: int = MAX_DEPTH) -> bytes:
    """The content of a KeyValue."""
    return field(1, key_bytes(key)) + field(2, encode(value, depth))


def key_bytes(key: Value) -> bytes:
    """A key as UTF-8."""
    if type(key) is bytes and is_text(key):
        return key
    return text_of(key).encode("utf-8", "replace")


def attribute(key: str, value: Value) -> bytes:
    """An attribute as a field of a LogRecord."""
    content = pair(key.encode(), value)
    return b"\x32" + varint(len(content)) + content
