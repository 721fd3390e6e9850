"""Log records by column: whatever is read so is what the record-by-record decoder says."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.otlp.columns import Table
from shipper.otlp.decode import records
from shipper.otlp.encode import export_logs, log_record, resource, scope
from shipper.otlp.forms import form_of
from shipper.otlp.rows import LogRow, log_blocks
from shipper.otlp.wire import field
from tests.otlp.otlp_strategies import records_alike

_numbers = count()
RESOURCE, SCOPE = resource({"service.name": "checkout"}), scope("app")


def whole(data: bytes) -> list[tuple[object, ...]]:
    return [
        (
            *(r.time_ns, r.observed_ns, r.severity, r.severity_text, r.body, r.attributes),
            *(r.event_name, r.trace_id, r.span_id),
        )
        for r in records(Signal.LOGS, data)
    ]


def rows(data: bytes) -> list[tuple[object, ...]]:
    return [tuple(row)[:-1] for block in log_blocks(data) for row in block.rows()]


def tables(made: Sequence[bytes]) -> list[Table]:
    (block,) = log_blocks(
        export_logs(RESOURCE, scope(str(next(_numbers))), made)
    )  # what was learned of others is not known
    return [table for some in block.some() for table in some.tables]


@settings(max_examples=100, deadline=None)
@given(records_alike())
def test_records_of_some_forms_are_what_the_decoder_says(made: list[bytes]) -> None:
    """Many records of a few forms, in any order, are read as the library reads them."""
    data = export_logs(RESOURCE, SCOPE, made)
    assert repr(rows(data)) == repr(whole(data))  # a float may be one that is not equal to itself


@settings(max_examples=100, deadline=None)
@given(records_alike(1), st.data())
def test_a_wrong_byte_among_many_is_read_as_the_library_reads_it(made: list[bytes], data: st.DataObject) -> None:
    """One changed byte in one of many records of a form gives what the library gives, or is malformed to both."""
    at = data.draw(st.integers(0, len(made) - 1))
    broken = bytearray(made[at])
    place = data.draw(st.integers(0, max(min(len(broken), 300) - 1, 0)))
    broken[place : place + 1] = data.draw(st.binary(max_size=2))
    made = [*made[:at], bytes(broken), *made[at + 1 :]]
    request = export_logs(RESOURCE, SCOPE, made)
    try:
        expected = whole(request)
    except MalformedOtlp:
        with pytest.raises(MalformedOtlp):
            rows(request)
    else:
        assert repr(rows(request)) == repr(expected)


def test_records_of_one_form_are_one_table() -> None:
    """Texts, numbers and ids of many records stand in a list each, and what all have in common is marked."""
    made = [
        log_record(
            time_ns=n,
            observed_ns=7,
            body=f"line {n}",
            severity=9,
            attributes={"region": "eu", "n": n, "share": n / 2},
            trace_id=n.to_bytes(16, "big"),
        )
        for n in range(1, 513)
    ]
    first, second = tables(made)
    assert (first.scalar, len(first), list(second.places)) == (True, 256, list(range(256)))
    assert [(one.name, list(one.values)[:2], one.same) for one in second.attributes] == [
        ("region", [b"eu", b"eu"], True),
        ("n", [257, 258], False),
        ("share", [128.5, 129.0], False),
    ]
    assert (first.bodies or [])[:2] == (b"line 1", b"line 2")
    assert first.trace_ids[0] == f"{1:032x}"
    assert (first.times[1], first.observed[1], first.severities[1]) == (2, 7, 9)


def test_a_deviant_is_a_row() -> None:
    """One record with another level among many is read by itself, and stands at its place."""
    made = [log_record(time_ns=n, observed_ns=7, body="x", severity=9, severity_text="INFO") for n in range(1, 600)]
    made[300] = log_record(time_ns=301, observed_ns=7, body="x", severity=13, severity_text="WARN")
    (block,) = log_blocks(export_logs(RESOURCE, scope("deviant"), made))
    some = list(block.some())
    assert [[len(table) for table in one.tables] for one in some] == [[256], [255], [87]]
    assert {place: row.severity_text for place, row in some[1].rows.items()} == {44: "WARN"}
    assert [row.time_ns for row in block.rows()] == list(range(1, 600))


def test_what_varies_after_all_is_no_longer_expected() -> None:
    """A value that was the same in the first records and then is not is read all the same, in one table."""
    made = [log_record(time_ns=n, observed_ns=7, body="x", attributes={"a": "eu"}) for n in range(1, 257)]
    made += [log_record(time_ns=n, observed_ns=7, body="x", attributes={"a": f"{n}"}) for n in range(257, 817)]
    assert [len(table) for table in tables(made)] == [256, 256, 256, 48]
    assert [column.same for table in tables(made) for column in table.attributes] == [False] * 4


def test_records_of_ever_new_forms_are_read_one_by_one() -> None:
    """Where hardly two records have the same attributes, it is soon given up to look for forms, and all are there."""
    made = [log_record(time_ns=n, observed_ns=7, body="x", attributes={f"k{n}": n}) for n in range(1, 300)]
    assert sum(map(len, tables(made))) < 10
    (block,) = log_blocks(export_logs(RESOURCE, SCOPE, made))
    assert [row.attributes for row in block.rows()] == [{f"k{n}": n} for n in range(1, 300)]


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        field(6, field(1, b"k") + field(2, field(1, b"v"))) * 2,
        field(5, field(5, b"")),
        b"\x10\x89\x00",
        b"\x38\x01",
        field(9, b"short"),
        field(6, field(1, b"\xff") + field(2, field(1, b"v"))),
    ],
)
def test_records_without_a_form(odd: bytes) -> None:
    """What has a field twice, one that we do not know, or one that is written unusually, has no form; nothing is raised."""
    assert form_of(odd) is None


def test_rows_of_a_table_have_every_field() -> None:
    """A row that comes from a table is the same as one that was read by itself."""
    record = log_record(
        time_ns=5,
        observed_ns=6,
        body="größe",
        severity=17,
        severity_text="ERROR",
        attributes={"a": "b", "ok": True, "n": -1},
        event_name="deploy",
        trace_id=b"\x01" * 16,
        span_id=b"\x02" * 8,
        flags=3,
    )
    (block,) = log_blocks(export_logs(RESOURCE, SCOPE, [record] * 9))
    expected = LogRow(*(5, 6, 17, "ERROR", "größe", {"a": "b", "ok": True, "n": -1}, "deploy", "01" * 16, "02" * 8, 3))
    assert list(block.rows()) == [expected] * 9
    assert len(tables([record] * 40)) == 1
    assert tables([record] * 40)[0].rows() == [expected] * 40
