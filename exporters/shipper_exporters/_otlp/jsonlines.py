"""OTLP as JSON lines, as the file exporter of OpenTelemetry's specification writes them, and at the speed of a file.

Each line is one Export<Signal>ServiceRequest (https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/). Readers have
bounds on a line: the Collector's ``otlpjsonfile`` receiver takes a megabyte. So a large request becomes several lines, each a
whole request by itself. Plain lines of logs, which are most of what hosts hold, are escaped many at a time.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from json.encoder import encode_basestring as _quoted
from typing import Any

import msgspec

from shipper.contracts import Signal
from shipper.otlp.decode import to_json
from shipper.otlp.encode import AttributeValue
from shipper.otlp.forms import FLOAT, INTEGER, TEXT
from shipper.otlp.layout import Layout
from shipper.otlp.messages import envelopes, parse, parse_part
from shipper.otlp.rows import Envelope, LogBlock, LogRow, Some, log_blocks
from shipper_exporters._jsoncolumns import FIELDS, digits, json_texts
from shipper_exporters._stencil import NUMBER, OBSERVED, TIME, Kinds, Stencils

MOST = 512 << 10  # bytes of a line; a single record may take more
_BLOCK = 128  # lines escaped at a time
_BORDER = b"\x7f"  # a character that JSON does not escape, to find the borders of escaped lines again
_AROUND = 32  # bytes of a line around the parts of a request
_SPACE = (",", ":")
_string = msgspec.json.Encoder().encode  # several times as fast as what the standard library has, for long texts


def json_lines(signal: Signal, payload: bytes, most: int = MOST) -> list[bytes]:
    """The lines of a request, without line ends. Raises `MalformedOtlp`."""
    if signal is not Signal.LOGS:
        return list(_any_lines(signal, payload, most))
    blocks = log_blocks(payload)
    if all(block.complete for block in blocks):
        parts = chain.from_iterable(
            (_row_parts if block.lines is None else _plain_parts)(block, most - _AROUND) for block in blocks
        )
    else:
        parts = chain(_log_parts(parse(signal, payload), most - _AROUND))
    return list(_lines("resourceLogs", parts, most))


def value_json(value: AttributeValue) -> str:
    """An attribute's value as OTLP JSON has it."""
    if isinstance(value, str):
        return f'{{"stringValue":{_quoted(value)}}}'
    if isinstance(value, bool):
        return '{"boolValue":true}' if value else '{"boolValue":false}'
    if isinstance(value, int):
        return f'{{"intValue":"{value}"}}'
    if isinstance(value, float):
        return f'{{"doubleValue":{_double(value)}}}'
    if isinstance(value, bytes):
        return f'{{"bytesValue":"{base64.b64encode(value).decode()}"}}'
    if value is None:
        return "{}"
    if isinstance(value, Mapping):
        return f'{{"kvlistValue":{{"values":{_pairs(value.items())}}}}}'
    return f'{{"arrayValue":{{"values":[{",".join(map(value_json, value))}]}}}}'


def _pairs(pairs: Iterable[tuple[str, AttributeValue]]) -> str:
    return "[" + ",".join(f'{{"key":{_quoted(key)},"value":{value_json(value)}}}' for key, value in pairs) + "]"


def _double(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'


def _lines(member: str, parts: Iterable[bytes], most: int) -> Iterator[bytes]:
    """Lines of parts that each are one element of the request's list ``member``."""
    return _wrapped(f'{{"{member}":['.encode(), parts, b"]}", most)


def _wrapped(head: bytes, parts: Iterable[bytes], tail: bytes, most: int) -> Iterator[bytes]:
    """Parts in what they share, as many at a time as ``most`` bytes hold."""
    held: list[bytes] = []
    around = size = len(head) + len(tail)
    for part in parts:
        if held and size + len(part) > most:
            yield head + b",".join(held) + tail
            held, size = [], around
        held.append(part)
        size += len(part) + 1
    if held:
        yield head + b",".join(held) + tail


def _any_lines(signal: Signal, payload: bytes, most: int) -> Iterator[bytes]:
    """Lines of any signal, by the protobuf library: halved as long as they are too long and hold several units."""
    whole = to_json(signal, payload)
    if len(whole) <= most:
        if len(whole) > 2:
            yield whole
        return
    layout = Layout(payload)
    open_ranges = [(0, layout.units)]
    while open_ranges:
        first, last = open_ranges.pop()
        line = whole if last - first == layout.units else to_json(signal, layout.take(first, last))
        if len(line) <= most or last - first < 2:
            yield line
        else:
            middle = (first + last) // 2
            open_ranges += [(middle, last), (first, middle)]


def _plain_parts(block: LogBlock, most: int) -> Iterator[bytes]:
    head, tail = _around(block.envelope)
    before = f'{{"observedTimeUnixNano":"{block.observed_ns}","body":{{"stringValue":"'.encode()
    behind = b'"}}'
    between = behind + b"," + before
    records = (before + some + behind for some in _escaped(block.lines or [], between, most // 2))
    return _wrapped(head, records, tail, most)


def _row_parts(block: LogBlock, most: int) -> Iterator[bytes]:
    head, tail = _around(block.envelope)
    records = (record for some in block.some() for record in _records(some))
    return _wrapped(head, records, tail, most)


def _records(some: Some) -> list[bytes]:
    """The JSON of each. What is in no table may hold what a row does not tell: it is read by the library."""

    def write(row: LogRow, place: int) -> bytes:
        return (_record(row) if place == NUMBER else _log(parse_part("LogRecord", some.encoded(place)))).encode()

    return _STENCILS.write(some, None, write)


def _escaped(lines: Sequence[bytes], between: bytes, most: int) -> Iterator[bytes]:
    """Lines as the content of JSON strings with ``between`` them; some at a time, about ``most`` bytes of them."""
    at = 0
    while at < len(lines):
        block = lines[at : at + _BLOCK]
        while len(block) > 1 and sum(map(len, block)) + len(block) * len(between) > most:
            block = block[: len(block) // 2]
        joined = _BORDER.join(block)
        if joined.count(_BORDER) == len(block) - 1:
            yield _string(str(joined, "utf-8"))[1:-1].replace(_BORDER, between)
        else:
            yield between.join(_string(str(line, "utf-8"))[1:-1] for line in block)
        at += len(block)


@lru_cache(256)
def _around(envelope: Envelope) -> tuple[bytes, bytes]:
    """What stands in front of and behind the records of an envelope."""
    scope: dict[str, str] = {}
    if envelope.scope:
        scope["name"] = _quoted(envelope.scope)
    if envelope.scope_version:
        scope["version"] = _quoted(envelope.scope_version)
    if envelope.scope_attributes:
        scope["attributes"] = _pairs(envelope.scope_attributes.items())
    members = ",".join(f'"{name}":{value}' for name, value in scope.items())
    resource = f'"attributes":{_pairs(envelope.resource.items())}' if envelope.resource else ""
    return f'{{"resource":{{{resource}}},"scopeLogs":[{{"scope":{{{members}}},"logRecords":['.encode(), b"]}]}"


def _log_parts(message: Any, most: int) -> Iterator[bytes]:
    """Elements of resourceLogs, each with records of one scope: all that the message holds."""
    schemas = ((of.schema_url, scope.schema_url) for of in message.resource_logs for scope in of.scope_logs)
    for (resource, scope, logs), (outer, inner) in zip(envelopes(Signal.LOGS, message), schemas, strict=True):
        head = f'{{"resource":{_message(resource)},"scopeLogs":[{{"scope":{_message(scope)},"logRecords":['
        tail = "]" + (f',"schemaUrl":{_quoted(inner)}' if inner else "") + "}]"
        tail += (f',"schemaUrl":{_quoted(outer)}' if outer else "") + "}"
        yield from _wrapped(head.encode(), (_log(log).encode() for log in logs), tail.encode(), most)


def _message(message: Any) -> str:
    from google.protobuf.json_format import MessageToDict

    return json.dumps(MessageToDict(message, use_integers_for_enums=True), ensure_ascii=False, separators=_SPACE)


def _log(log: Any) -> str:
    """A LogRecord message as OTLP JSON; what is not set is left out."""
    out = []
    if log.time_unix_nano:
        out.append(f'"timeUnixNano":"{log.time_unix_nano}"')
    if log.observed_time_unix_nano:
        out.append(f'"observedTimeUnixNano":"{log.observed_time_unix_nano}"')
    if log.severity_number:
        out.append(f'"severityNumber":{log.severity_number}')
    if log.severity_text:
        out.append(f'"severityText":{_quoted(log.severity_text)}')
    if log.HasField("body"):
        out.append(f'"body":{_any(log.body)}')
    if log.attributes:
        pairs = [f'{{"key":{_quoted(pair.key)},"value":{_any(pair.value)}}}' for pair in log.attributes]
        out.append(f'"attributes":[{",".join(pairs)}]')
    if log.dropped_attributes_count:
        out.append(f'"droppedAttributesCount":{log.dropped_attributes_count}')
    if log.flags:
        out.append(f'"flags":{log.flags}')
    if log.trace_id:
        out.append(f'"traceId":"{log.trace_id.hex()}"')
    if log.span_id:
        out.append(f'"spanId":"{log.span_id.hex()}"')
    if log.event_name:
        out.append(f'"eventName":{_quoted(log.event_name)}')
    return "{" + ",".join(out) + "}"


def _record(row: LogRow) -> str:
    """The same of a row."""
    body = "" if row.body is None else value_json(row.body)
    pairs = [f'{{"key":{_quoted(key)},"value":{value_json(value)}}}' for key, value in row.attributes.items()]
    out = [
        f'"timeUnixNano":"{row.time_ns}"' if row.time_ns else "",
        f'"observedTimeUnixNano":"{row.observed_ns}"' if row.observed_ns else "",
        f'"severityNumber":{row.severity}' if row.severity else "",
        f'"severityText":{_quoted(row.severity_text)}' if row.severity_text else "",
        f'"body":{body}' if body else "",
        f'"attributes":[{",".join(pairs)}]' if pairs else "",
        f'"flags":{row.flags}' if row.flags else "",
        f'"traceId":"{row.trace_id}"' if row.trace_id else "",
        f'"spanId":"{row.span_id}"' if row.span_id else "",
        f'"eventName":{_quoted(row.event_name)}' if row.event_name else "",
    ]
    return "{" + ",".join(one for one in out if one) + "}"


def _any(value: Any) -> str:
    """An AnyValue message as OTLP JSON."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return f'{{"stringValue":{_quoted(value.string_value)}}}'
    if kind == "array_value":
        return f'{{"arrayValue":{{"values":[{",".join(map(_any, value.array_value.values))}]}}}}'
    if kind == "kvlist_value":
        pairs = [f'{{"key":{_quoted(pair.key)},"value":{_any(pair.value)}}}' for pair in value.kvlist_value.values]
        return f'{{"kvlistValue":{{"values":[{",".join(pairs)}]}}}}'
    return value_json(getattr(value, kind)) if kind else "{}"


def _mark(mark: AttributeValue) -> bytes:
    return mark.encode() if isinstance(mark, str) else str(mark).encode()


_STENCILS = Stencils(
    Kinds(
        _mark,
        {TEXT: json_texts, INTEGER: digits, FLOAT: lambda values: [_double(value).encode() for value in values]},
    ),
    (
        *FIELDS,
        (digits([TIME])[0], lambda table: digits(table.times)),
        (digits([OBSERVED])[0], lambda table: digits(table.observed)),
    ),
)
