"""What a server answers to an OTLP/HTTP request, both ways (opentelemetry-proto docs/specification.md, OTLP/HTTP Response).

Reading is where care is due: a proxy's login page with status 200 is not an acknowledgement, and taking it for one would
lose the data it was given.
"""

from __future__ import annotations

import json as jsonlib
from typing import Any

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.otlp.jsonform import load
from shipper.otlp.wire import LENGTH, VARINT, expect, field, fields, read_varint, text, utf8, varint_field

_REJECTED = {
    Signal.LOGS: "rejectedLogRecords",
    Signal.TRACES: "rejectedSpans",
    Signal.METRICS: "rejectedDataPoints",
}
_PROTOBUF = frozenset({"", "application/x-protobuf", "application/protobuf", "application/octet-stream"})
_JSON = "application/json"


def encode_response(signal: Signal, rejected: int = 0, message: str = "", json: bool = False) -> bytes:
    """An Export<Signal>ServiceResponse; without ``rejected`` and ``message`` it says full success."""
    if json:
        partial: dict[str, str] = {}
        if rejected:
            partial[_REJECTED[signal]] = str(rejected)
        if message:
            partial["errorMessage"] = message
        return jsonlib.dumps({"partialSuccess": partial} if partial else {}).encode()
    out = varint_field(1, rejected) if rejected else b""
    if message:
        out += field(2, text(message))
    return field(1, out) if out else b""


def parse_response(signal: Signal, body: bytes, content_type: str) -> tuple[int, str]:
    """How many records the server rejected, and what it says about it; an empty body is full success.

    Raises `MalformedOtlp` when the body is not such a response: then nobody said that the data arrived.
    """
    if not body:
        return 0, ""
    media = content_type.partition(";")[0].strip().lower()
    if media == _JSON:
        return _from_json(signal, body)
    if media in _PROTOBUF:
        return _from_protobuf(body)
    raise MalformedOtlp(f"an answer of type {media[:80]!r}")


def _from_protobuf(body: bytes) -> tuple[int, str]:
    rejected, message = 0, ""
    for number, wire, at, value, stop in fields(body, 0, len(body)):
        if number != 1:
            continue
        expect(wire, LENGTH, "partial_success", at)
        for number2, wire2, at2, value2, stop2 in fields(body, value, stop):
            if number2 == 1:
                expect(wire2, VARINT, "the number of rejected records", at2)
                rejected = read_varint(body, value2, stop2)[0]
                if rejected >> 63:
                    raise MalformedOtlp("a negative number of rejected records", value2)
            elif number2 == 2:
                expect(wire2, LENGTH, "error_message", at2)
                message = utf8(body, value2, stop2, "error_message")
    return rejected, message


def _from_json(signal: Signal, body: bytes) -> tuple[int, str]:
    answer = _object(load(body), "the answer")
    partial = _object(answer.get("partialSuccess"), "partialSuccess")
    message = partial.get("errorMessage")
    if message is None:
        message = ""
    if not isinstance(message, str):
        raise MalformedOtlp("errorMessage is no string")
    return _count(partial.get(_REJECTED[signal]), _REJECTED[signal]), message


def _object(value: Any, what: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedOtlp(f"{what} is no JSON object")
    return value


def _count(value: Any, what: str) -> int:
    """An int64 of OTLP JSON that counts something: a decimal string or a number."""
    if value is None:
        return 0
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise MalformedOtlp(f"{what} is no count")
    return value


def encode_status(message: str, json: bool = False, code: int = 0) -> bytes:
    """A google.rpc.Status, the body of an error answer; ``code`` is the gRPC status code, 0 to leave it out."""
    if json:
        return jsonlib.dumps({"code": code, "message": message} if code else {"message": message}).encode()
    return (varint_field(1, code) if code else b"") + field(2, text(message))


def parse_status(body: bytes, content_type: str) -> str:
    """The message of a google.rpc.Status. Raises `MalformedOtlp` when the body is none."""
    if content_type.partition(";")[0].strip().lower() == _JSON:
        message = _object(load(body), "the status").get("message")
        if message is not None and not isinstance(message, str):
            raise MalformedOtlp("message is no string")
        return message or ""
    message = ""
    for number, wire, at, value, stop in fields(body, 0, len(body)):
        if number == 2:
            expect(wire, LENGTH, "message", at)
            message = utf8(body, value, stop, "message")
    return message
