"""Records as lines: OTLP JSON that anybody reads, and text for people."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from shipper.contracts import Batch, Cut, Signal
from shipper.errors import MalformedOtlp
from shipper.otlp.decode import from_json, parse, records
from shipper.otlp.encode import AttributeValue
from shipper.testing.clock import START_WALL_NS
from shipper.testing.streams import LIFE, log_payload, metric_payload
from shipper_exporters._file.own_output import foreign, text_mark
from shipper_exporters._file.readable import readable
from shipper_exporters._otlp.jsonlines import json_lines, value_json
from tests.exporters.loki_kit import payload

NOW = START_WALL_NS
FULL = {
    "time_unix_nano": NOW,
    "observed_time_unix_nano": NOW + 1,
    "severity_number": 17,
    "severity_text": "ERROR",
    "trace_id": bytes(range(16)),
    "span_id": bytes(range(8)),
    "flags": 1,
    "dropped_attributes_count": 3,
    "event_name": "e",
    "body": {"a": [1, None, b"\x00", 'é\n"\\']},
    "attributes": {"i": -5, "f": 0.5, "nan": float("nan"), "inf": float("-inf"), "b": False, "l": [], "m": {}},
}
LINES = st.lists(st.text(max_size=40), max_size=300)


def back(signal: Signal, lines: list[bytes]) -> list[object]:
    return [record for line in lines for record in records(signal, from_json(signal, line))]


@settings(max_examples=60)
@given(LINES)
def test_plain_lines_come_back(lines: list[str]) -> None:
    """Any text, with control characters, quotes and whatever marks the borders inside, is read as it was."""
    data = log_payload(lines)
    made = json_lines(Signal.LOGS, data)
    assert back(Signal.LOGS, made) == list(records(Signal.LOGS, data))
    assert not any(b"\n" in line for line in made)


def test_everything_of_a_record_comes_back() -> None:
    """All fields of log records are written, as the protobuf library would: the messages are equal."""
    message = ExportLogsServiceRequest.FromString(payload(FULL, {}, {"body": None}, {"body": 1 << 62}))
    message.resource_logs[0].schema_url = "outer"
    message.resource_logs[0].scope_logs[0].schema_url = "inner"
    message.resource_logs[0].scope_logs[0].scope.version = "1"
    (line,) = json_lines(Signal.LOGS, message.SerializeToString())
    again = ExportLogsServiceRequest.FromString(from_json(Signal.LOGS, line))
    assert again.SerializeToString(deterministic=True) == message.SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    "value", ["a\n", True, False, 7, -(1 << 63), 0.1, b"\xff", None, ["a", [1]], {"a": {"b": None}}, {}, []]
)
def test_values(value: AttributeValue) -> None:
    """Every kind of value is what the OTLP JSON encoding has for it."""
    (line,) = json_lines(Signal.LOGS, payload({"body": "x"}, resource={"v": value}))
    attribute = json.loads(line)["resourceLogs"][0]["resource"]["attributes"][0]
    if value not in ({}, []):  # an empty list may be left out
        assert attribute == {"key": "v", "value": json.loads(value_json(value))}
    (record,) = records(Signal.LOGS, from_json(Signal.LOGS, line))
    assert record.resource["v"] == value


def test_what_is_not_of_records_comes_back() -> None:
    """Schemas, and that attributes were dropped, are written for records that have the same fields, too."""
    message = ExportLogsServiceRequest.FromString(payload(*[{"body": "x", "severity_number": 9}] * 20))
    outer = message.resource_logs[0]
    changes: list[tuple[Any, str, object]] = [
        (outer, "schema_url", "outer"),
        (outer.scope_logs[0], "schema_url", "inner"),
        (outer.resource, "dropped_attributes_count", 3),
        (outer.scope_logs[0].scope, "dropped_attributes_count", 4),
        (outer.scope_logs[0].log_records[7], "dropped_attributes_count", 5),
    ]
    for owner, name, value in changes:
        before = getattr(owner, name)
        setattr(owner, name, value)
        (line,) = json_lines(Signal.LOGS, message.SerializeToString())
        assert ParseDict(json.loads(line), ExportLogsServiceRequest()) == message
        setattr(owner, name, before)


def test_the_library_reads_it() -> None:
    """What holds no ids, which OTLP writes in its own way, is read by the protobuf library itself."""
    data = payload({"body": "x", "attributes": {"a": [1, {"b": 0.5}]}, "severity_number": 9}, {"body": "y"})
    (line,) = json_lines(Signal.LOGS, data)
    assert ParseDict(json.loads(line), ExportLogsServiceRequest()) == ExportLogsServiceRequest.FromString(data)


@pytest.mark.parametrize("most", [1, 2_000, 100_000])
@pytest.mark.parametrize("kind", ["plain", "rows", "metrics"])
def test_long_requests_are_several_lines(kind: str, most: int) -> None:
    """No line is longer than it may be, but for one of a single record; together they are the request."""
    texts = [f"{n} {'x' * (n % 200)}" for n in range(100 if kind == "metrics" else 700)]
    signal = Signal.METRICS if kind == "metrics" else Signal.LOGS
    if kind == "rows":
        data = payload(*({"body": text, "severity_number": 9} for text in texts))
    elif kind == "plain":
        data = log_payload(texts)
    else:  # a metric is the smallest unit
        data = b"".join(metric_payload([text]) for text in texts)
    lines = json_lines(signal, data, most)
    assert back(signal, lines) == list(records(signal, data))
    assert all(len(line) <= most or len(back(signal, [line])) == 1 for line in lines)
    assert len(lines) <= 700


def test_nothing_is_no_line() -> None:
    """A request without records is no line."""
    assert [json_lines(signal, b"") for signal in Signal] == [[], [], []]
    assert [readable(signal, b"", terminal=False) for signal in Signal] == [[], [], []]


def test_what_is_no_otlp() -> None:
    """Bytes that are no request are said to be none."""
    for signal in Signal:
        with pytest.raises(MalformedOtlp):
            json_lines(signal, b"\xff\xff")
        with pytest.raises(MalformedOtlp):
            readable(signal, b"\xff\xff", terminal=False)


def test_text_for_people() -> None:
    """Time, severity, host, release, what it says, and the life, by which lines are counted; a record is one line."""
    logs = (
        {"time_unix_nano": NOW, "severity_number": 17, "body": "boom\nbang"},
        {"observed_time_unix_nano": NOW, "body": "x"},
    )
    lines = readable(
        Signal.LOGS,
        payload(*logs, resource={"host.name": "h", "service.version": "1", "shipper.life.id": LIFE}),
        terminal=False,
    )
    assert lines == [
        f"2023-11-14T22:13:20.000000Z ERROR h 1 boom\\nbang life={LIFE}".encode(),
        f"2023-11-14T22:13:20.000000Z -     h 1 x life={LIFE}".encode(),
    ]


@settings(max_examples=40)
@given(LINES)
def test_text_of_plain_lines(lines: list[str]) -> None:
    """Lines that are written many at a time read as each would by itself, and nothing in them can move a terminal."""
    resource: dict[str, AttributeValue] = {"shipper.life.id": LIFE}
    plain = payload(*({"observed_time_unix_nano": NOW, "body": line} for line in lines), resource=resource)
    singly = [
        one
        for line in lines
        for one in readable(
            Signal.LOGS,
            payload({"observed_time_unix_nano": NOW, "body": line}, {"body": 5}, resource=resource),
            terminal=False,
        )[:1]
    ]
    found = readable(Signal.LOGS, plain, terminal=False)
    assert found == singly
    assert all(b"\n" not in line and b"\x1b" not in line for line in found)


def test_colours_on_a_terminal() -> None:
    """Errors are red, warnings yellow, what is said for debugging grey; the life is left out."""
    logs = [{"severity_number": number, "body": "x"} for number in (21, 17, 13, 9, 5, 0)]
    lines = readable(Signal.LOGS, payload(*logs), terminal=True)
    assert [line[:5] for line in lines] == [
        b"\x1b[31m",
        b"\x1b[31m",
        b"\x1b[33m",
        lines[3][:5],
        b"\x1b[90m",
        lines[5][:5],
    ]
    assert not lines[3].startswith(b"\x1b")
    assert not any(b"life=" in line for line in lines)
    assert all(line.endswith(b"\x1b[0m") for line in lines[:3])


def test_other_signals_as_text() -> None:
    """Data points are lines, too."""
    (line,) = readable(Signal.METRICS, metric_payload(["a"]), terminal=False)
    assert b"POINT" in line


def batch(data: bytes, signal: Signal = Signal.LOGS) -> Batch:
    return Batch(LIFE, "s", signal, Cut(0, 1, 0, 1, 1, NOW), data)


@pytest.mark.parametrize("text", [False, True])
def test_our_own_output_is_known(text: bool) -> None:
    """Lines that this life wrote, wherever they come back, are left out and counted; those of another life are not."""
    mine = {"shipper.life.id": LIFE, "service.name": "a"}
    other = {"shipper.life.id": "another", "service.name": "a"}

    def written(resource: dict[str, AttributeValue]) -> str:
        data = payload({"body": "x", "observed_time_unix_nano": NOW}, resource=resource)
        lines = readable(Signal.LOGS, data, terminal=False) if text else json_lines(Signal.LOGS, data)
        return lines[0].decode()

    bodies = ["before", written(mine), "between", written(other), written(mine), "after"]
    for data in (log_payload(bodies), payload(*({"body": body, "severity_number": 9} for body in bodies))):
        kept, left_out = foreign(batch(data))
        assert left_out == 2
        assert [one.body for one in records(Signal.LOGS, kept)] == [bodies[n] for n in (0, 2, 3, 5)]


def test_what_is_not_ours_is_not_touched() -> None:
    """Without a line of ours the bytes stay as they are; other signals are not looked at."""
    data = log_payload([f"about {LIFE}"])
    assert foreign(batch(data)) == (data, 0)
    numbers = metric_payload([text_mark(LIFE)])
    assert foreign(batch(numbers, Signal.METRICS)) == (numbers, 0)
    assert parse(Signal.METRICS, numbers)
