"""Records that are written many at a time by an example are what they are when each is written by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.otlp.encode import export_logs, log_record, resource, scope
from shipper.otlp.rows import LogBlock, Some, log_blocks
from shipper_exporters._datadog.logs import LogEntries
from shipper_exporters._datadog.tags import Tagging
from shipper_exporters._elasticsearch.ecs import EcsLogs
from shipper_exporters._elasticsearch.otel import OtelLogs
from shipper_exporters._forward.records import Fields
from shipper_exporters._loki.encode import LokiEncoder, _add_rows, _Stream
from shipper_exporters._loki.settings import LABELS
from shipper_exporters._otlp.jsonlines import _records
from shipper_exporters._splunk.events import LogEvents
from shipper_exporters._splunk.fields import Placement
from tests.otlp.otlp_strategies import records_alike

HOST = {"service.name": "checkout", "shipper.life.id": "0190", "host.id": "i-1", "a": "of the host", "region": "eu"}
_ecs, _otel = EcsLogs({"data_stream": {"type": "logs"}}), OtelLogs({})
_datadog, _splunk = LogEntries(Tagging()), LogEvents(Placement(index="main"))
_loki = LokiEncoder(LABELS, 1 << 16)
_forward, _named = Fields("message", ""), Fields("message", "id")


def _joined(blocks: Callable[[LogBlock], Iterator[tuple[bytes, int]]]) -> Callable[[LogBlock], list[bytes]]:
    def written(block: LogBlock) -> list[bytes]:
        pieces = list(blocks(block))
        return [b"".join(piece for piece, _ in pieces), b"%d" % sum(count for _, count in pieces)]

    return written


WAYS: dict[str, Callable[[LogBlock], list[bytes]]] = {
    "ecs": lambda block: list(chain.from_iterable(_ecs.documents(block, 9_990, 5))),
    "otel": lambda block: list(chain.from_iterable(_otel.documents(block, 9_990, 5))),
    "splunk": lambda block: list(b"".join(_splunk._block(block)).splitlines()),
    "datadog": lambda block: [b",".join(piece for piece, _ in _datadog._block(block))],
    "forward": _joined(lambda block: _forward.entries(block, 3, str)),
    "forward with ids": _joined(lambda block: _named.entries(block, 95, "life.stream.{}".format)),
}


def _loki_lines(block: LogBlock) -> list[bytes]:
    shared = _loki._shared(block.envelope)
    stream = _Stream(shared.labels, 1 << 16)
    _add_rows(stream, block, shared, 5)
    return [entry.data for push in stream.finished() for entry in push.contents()]


WAYS["loki"] = _loki_lines
WAYS["otlp-json"] = lambda block: list(chain.from_iterable(map(_records, block.some())))


class OneByOne(LogBlock):
    """The same records, none of them in a table."""

    def some(self) -> Iterator[Some]:
        for some in super().some():
            rows = some.in_order(lambda table: table.rows(), lambda _, row: row)
            yield Some(some.count, (), dict(enumerate(rows)), some.encoded)


def block_of(made: list[bytes], kind: type[LogBlock]) -> LogBlock:
    data = export_logs(resource(HOST), scope("app", "1", {"region": "of the scope"}), made)
    (block,) = log_blocks(data)
    return kind(block.envelope, records=(block._data, *block._borders))


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_many_at_a_time_is_as_one_by_one(way: str, data: st.DataObject) -> None:
    """Whatever is in the records of a few forms, both ways give the same bytes."""
    made = data.draw(records_alike())
    assert WAYS[way](block_of(made, LogBlock)) == WAYS[way](block_of(made, OneByOne))


@pytest.mark.parametrize("way", WAYS)
def test_what_is_always_the_same_and_what_is_not(way: str) -> None:
    """Levels, names of events and switches that vary, beside values that do not, are as they are one by one."""
    made = [
        log_record(
            time_ns=10**18 + n if n % 50 else 7,
            observed_ns=10**18 + n,
            body=f'the "line" {n}',
            severity=9 + n % 3,
            severity_text=("INFO", "Info", "")[n % 3],
            event_name="a" if n % 7 else "b",
            trace_id=n.to_bytes(16, "big"),
            span_id=n.to_bytes(8, "big"),
            attributes={
                "region": "eu",
                "ok": n % 2 == 0,
                "http.response.status_code": n,
                "user.id": f"{n}\n",
                "share": n / 3,
            },
        )
        for n in range(1, 400)
    ]
    assert WAYS[way](block_of(made, LogBlock)) == WAYS[way](block_of(made, OneByOne))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "value", [float("nan"), "12", "::1", "", " ", -1, 2**63 - 1, True, 1e300, '\x7f\ufdd0\ufdd1"', "größe"]
)
def test_values_that_are_written_otherwise(way: str, value: str | float) -> None:
    """What is no number, an address, blank, or longest, is as it is one by one, wherever it stands."""
    names = (
        "client.port",
        "host.ip",
        "event.name",
        "process.pid",
        "a",
        "",
        "message",
        "data_stream.dataset",
        "shipper.life.id",
    )
    odd = value if isinstance(value, str) else "x"
    made = [
        log_record(time_ns=5 + n, observed_ns=9, body=odd if n == 3 else "y", attributes=dict.fromkeys(names, value))
        for n in range(40)
    ]
    assert WAYS[way](block_of(made, LogBlock)) == WAYS[way](block_of(made, OneByOne))
