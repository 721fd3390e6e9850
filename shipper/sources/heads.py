"""Text attributes of LogRecords as two pieces, of which the first is the same for all texts of a length under a key.

So it is looked up instead of made, which is most of the work of an attribute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shipper.otlp.wire import field, varint

_KEYS = 256  # remembered, and then all are forgotten: a key may be anything
_LENGTHS = 256  # of texts whose head is remembered


class Heads(dict[int, bytes]):
    """What stands in front of a text in an attribute of one key, by the text's length."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = field(1, key)

    def __missing__(self, length: int) -> bytes:
        text = b"\x0a" + varint(length)
        value = b"\x12" + varint(len(text) + length) + text
        head = b"\x32" + varint(len(self._key) + len(value) + length) + self._key + value
        if length < _LENGTHS:
            self[length] = head
        return head

    def of(self, value: bytes) -> bytes:
        """The attribute of an encoded AnyValue."""
        content = self._key + field(2, value)
        return b"\x32" + varint(len(content)) + content


class Keys(dict[Any, Heads]):
    """Heads by key; ``encoded`` makes UTF-8 of a key."""

    __slots__ = ("_encoded",)

    def __init__(self, encoded: Callable[[Any], bytes]) -> None:
        self._encoded = encoded

    def __missing__(self, key: Any) -> Heads:
        if len(self) >= _KEYS:
            self.clear()
        heads = self[key] = Heads(self._encoded(key))
        return heads
