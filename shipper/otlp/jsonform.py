"""OTLP JSON (opentelemetry-proto docs/specification.md, JSON Protobuf Encoding) to protobuf and back.

Not the protobuf library's own JSON mapping, because OTLP's differs from it (ids in hex, enums as integers, no snake case)
and because what a stranger sends must end in `MalformedOtlp` and nothing else. Driven by the library's descriptors, so
that it knows every field that opentelemetry-proto knows.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.otlp.messages import parse, request_class
from shipper.otlp.wire import LENGTH, text, varint

_IDS = frozenset({"traceId", "spanId", "parentSpanId"})
_NESTED = 95  # messages in messages; upb stops at 100
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def from_json(signal: Signal, data: bytes) -> bytes:
    """An OTLP JSON request as protobuf. Unknown fields are left out, as the specification demands; null is "not set".

    Integers are taken as numbers and as decimal strings, enums also by name. Raises `MalformedOtlp`.
    """
    return _message(_plan(request_class(signal).DESCRIPTOR), load(data), "the request", _NESTED)


def to_json(signal: Signal, data: bytes) -> bytes:
    """A request as OTLP JSON on one line, without a line end. Raises `MalformedOtlp`."""
    from google.protobuf.json_format import MessageToDict

    tree = MessageToDict(parse(signal, data), use_integers_for_enums=True)
    _ids_to_hex(tree)
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode()


def load(data: bytes) -> Any:
    """A JSON document. Raises `MalformedOtlp`."""
    try:
        return json.loads(data.decode(), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise MalformedOtlp("not valid UTF-8", error.start) from None
    except json.JSONDecodeError as error:
        raise MalformedOtlp(f"not valid JSON: {error.msg}", error.pos) from None
    except (ValueError, RecursionError):  # a number of thousands of digits, NaN, nesting of thousands of levels
        raise MalformedOtlp("JSON beyond what is read here") from None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


@dataclass(frozen=True, slots=True)
class _Field:
    """How a JSON member becomes a protobuf field."""

    tag: bytes
    repeated: bool
    packed: bool
    presence: bool  # a zero must be written
    payload: Callable[[Any, str, int], bytes]  # value, where, levels left -> wire bytes without the tag
    zero: bytes


@cache
def _plan(descriptor: Any) -> dict[str, _Field]:
    """The fields of a message by their JSON names."""
    plan: dict[str, _Field] = {}
    for one in descriptor.fields:
        wire, payload, zero = _kind(one)
        repeated = one.is_repeated if hasattr(one, "is_repeated") else one.label == one.LABEL_REPEATED  # protobuf < 6
        packed = repeated and wire != LENGTH
        plan[one.json_name] = _Field(
            tag=varint(one.number << 3 | (LENGTH if packed else wire)),
            repeated=repeated,
            packed=packed,
            presence=one.has_presence,
            payload=payload,
            zero=zero,
        )
    return plan


def _message(plan: dict[str, _Field], value: Any, where: str, levels: int) -> bytes:
    """The content of a message."""
    if not isinstance(value, dict):
        raise MalformedOtlp(f"{where} is no JSON object")
    if not levels:
        raise MalformedOtlp(f"more than {_NESTED} messages nested in each other")
    out: list[bytes] = []
    for name, member in value.items():
        one = plan.get(name)
        if one is None or member is None:
            continue
        if not one.repeated:
            payload = one.payload(member, name, levels)
            if one.presence or payload != one.zero:
                out += (one.tag, payload)
            continue
        if not isinstance(member, list):
            raise MalformedOtlp(f"{name} is no JSON array")
        payloads = [one.payload(item, name, levels) for item in member]
        if one.packed and payloads:
            packed = b"".join(payloads)
            out += (one.tag, varint(len(packed)), packed)
        elif not one.packed:
            for payload in payloads:
                out += (one.tag, payload)
    return b"".join(out)


def _kind(one: Any) -> tuple[int, Callable[[Any, str, int], bytes], bytes]:
    """Wire type, encoder, and the encoding of zero of a field's type."""
    from google.protobuf.descriptor import FieldDescriptor as F

    def nested(value: Any, where: str, levels: int) -> bytes:
        return _sized(_message(_plan(one.message_type), value, where, levels - 1))

    def enum(value: Any, where: str, levels: int) -> bytes:
        named = one.enum_type.values_by_name.get(value) if isinstance(value, str) else None
        return varint(named.number if named else _integer(value, where, -(1 << 31), 1 << 31))

    def integer(low: int, high: int, wire: Callable[[int], bytes]) -> Callable[[Any, str, int], bytes]:
        return lambda value, where, levels: wire(_integer(value, where, low, high))

    i32, i64, u32, u64 = (-(1 << 31), 1 << 31), (-(1 << 63), 1 << 63), (0, 1 << 32), (0, 1 << 64)
    kinds: dict[int, tuple[int, Callable[[Any, str, int], bytes], bytes]] = {
        F.TYPE_STRING: (2, _string, b"\0"),
        F.TYPE_BYTES: (2, _hex if one.json_name in _IDS else _base64, b"\0"),
        F.TYPE_BOOL: (0, _bool, b"\0"),
        F.TYPE_DOUBLE: (1, _double, bytes(8)),
        F.TYPE_FIXED64: (1, integer(*u64, struct.Struct("<Q").pack), bytes(8)),
        F.TYPE_SFIXED64: (1, integer(*i64, struct.Struct("<q").pack), bytes(8)),
        F.TYPE_FIXED32: (5, integer(*u32, struct.Struct("<I").pack), bytes(4)),
        F.TYPE_INT32: (0, integer(*i32, varint), b"\0"),
        F.TYPE_INT64: (0, integer(*i64, varint), b"\0"),
        F.TYPE_UINT32: (0, integer(*u32, varint), b"\0"),
        F.TYPE_UINT64: (0, integer(*u64, varint), b"\0"),
        F.TYPE_SINT32: (0, integer(*i32, lambda n: varint(n << 1 ^ n >> 31)), b"\0"),
        F.TYPE_ENUM: (0, enum, b"\0"),
        F.TYPE_MESSAGE: (2, nested, b""),
    }
    return kinds[one.type]


def _sized(payload: bytes) -> bytes:
    return varint(len(payload)) + payload


def _string(value: Any, where: str, levels: int) -> bytes:
    if not isinstance(value, str):
        raise MalformedOtlp(f"{where} is no string")
    return _sized(text(value))


def _hex(value: Any, where: str, levels: int) -> bytes:
    try:
        if isinstance(value, str) and value.isalnum():  # fromhex() would overlook spaces
            return _sized(bytes.fromhex(value))
    except ValueError:
        pass
    if value == "":
        return _sized(b"")
    raise MalformedOtlp(f"{where} is not written in hex")


def _base64(value: Any, where: str, levels: int) -> bytes:
    if not isinstance(value, str):
        raise MalformedOtlp(f"{where} is no string")
    plain = value.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return _sized(base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True))
    except (binascii.Error, ValueError):
        raise MalformedOtlp(f"{where} is no base64") from None


def _bool(value: Any, where: str, levels: int) -> bytes:
    if not isinstance(value, bool):
        raise MalformedOtlp(f"{where} is neither true nor false")
    return varint(value)


def _double(value: Any, where: str, levels: int) -> bytes:
    if isinstance(value, str):
        value = _FLOATS[value] if value in _FLOATS else _decimal(value, where)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MalformedOtlp(f"{where} is no number")
    try:
        return struct.pack("<d", float(value))
    except OverflowError:
        raise MalformedOtlp(f"{where} is too large a number") from None


def _decimal(value: str, where: str) -> float:
    if not _DECIMAL.fullmatch(value):
        raise MalformedOtlp(f"{where} is no number")
    return float(value)


def _integer(value: Any, where: str, low: int, high: int) -> int:
    """An integer given as number or decimal string, ``low <= n < high``."""
    if isinstance(value, str):
        digits = value[1:] if value.startswith("-") else value
        if digits.isascii() and digits.isdigit() and len(digits) <= 20:
            value = int(value)
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise MalformedOtlp(f"{where} is no integer")
    if not low <= value < high:
        raise MalformedOtlp(f"{where} is out of range")
    return value


def _ids_to_hex(tree: Any) -> None:
    """Write ids in hex instead of base64, in place. Attributes are lists of pairs, so no key of theirs is met here."""
    if isinstance(tree, list):
        for item in tree:
            _ids_to_hex(item)
    elif isinstance(tree, dict):
        for name, value in tree.items():
            if name in _IDS:
                tree[name] = base64.b64decode(value).hex()
            elif isinstance(value, dict | list):
                _ids_to_hex(value)
