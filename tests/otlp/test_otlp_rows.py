"""Log records as rows: what exporters of other protocols read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.contracts import Signal
from shipper.errors import MalformedOtlp
from shipper.otlp.decode import records
from shipper.otlp.encode import LineEncoder, export_logs, log_record, resource, scope
from shipper.otlp.rows import LogRow, log_blocks
from shipper.otlp.wire import field

RESOURCE = resource({"service.name": "checkout", "host.id": "i-1"})
SCOPE = scope("shipper.file", "1", {"log.file.path": "/var/log/a.log"})


def test_plain_lines_stay_lines() -> None:
    """What a file's lines were made of comes back as those lines, with the time at which they were observed."""
    lines = [b"", b"one", "zwölf 漢字".encode(), b"x" * 5000]
    (block,) = log_blocks(LineEncoder(RESOURCE, SCOPE).encode(lines, 7))
    assert block.lines == lines
    assert block.observed_ns == 7
    assert len(block) == 4
    assert list(block.rows())[2] == LogRow(0, 7, 0, "", "zwölf 漢字", {}, "", "", "", 0)
    assert block.envelope.resource == {"service.name": "checkout", "host.id": "i-1"}
    assert (block.envelope.scope, block.envelope.scope_version) == ("shipper.file", "1")
    assert block.envelope.scope_attributes == {"log.file.path": "/var/log/a.log"}


def test_what_records_share_is_one_object() -> None:
    """Equal resources and scopes are the same object in the next request, too, so that what is made of them can be kept."""
    encoder = LineEncoder(RESOURCE, SCOPE)
    (first,) = log_blocks(encoder.encode([b"a"], 1))
    (second,) = log_blocks(encoder.encode([b"b"], 2))
    other = export_logs(RESOURCE, SCOPE, [log_record(time_ns=1, observed_ns=1, body="c", severity=9)])
    assert first.envelope is second.envelope is log_blocks(other)[0].envelope
    assert (
        log_blocks(LineEncoder(resource({"host.id": "i-2"}), SCOPE).encode([b"a"], 1))[0].envelope is not first.envelope
    )


def test_one_record_with_more_makes_rows_of_all() -> None:
    """A record that has a severity, a time or attributes is no plain line, and neither are those beside it."""
    known = LineEncoder(RESOURCE, SCOPE).encode([b"plain", b"timed"], 5, times=[0, 3])
    (block,) = log_blocks(known)
    assert block.lines is None
    assert [(row.body, row.time_ns, row.observed_ns) for row in block.rows()] == [("plain", 0, 5), ("timed", 3, 5)]


def test_lines_observed_at_different_times_are_rows() -> None:
    """Two requests joined in one keep each its own observed time."""
    encoder = LineEncoder(RESOURCE, SCOPE)
    joined = encoder.encode([b"a"], 1) + encoder.encode([b"b"], 2)
    assert [(block.lines, block.observed_ns) for block in log_blocks(joined)] == [([b"a"], 1), ([b"b"], 2)]


def whole(data: bytes) -> list[tuple[object, ...]]:
    """All records as the record-by-record decoder finds them."""
    return [
        (
            *(r.time_ns, r.observed_ns, r.severity, r.severity_text, r.body, r.attributes),
            *(r.event_name, r.trace_id, r.span_id),
        )
        for r in records(Signal.LOGS, data)
    ]


def rows(data: bytes) -> list[tuple[object, ...]]:
    """All records as rows, without their flags, which the decoder does not tell."""
    return [tuple(row)[:-1] for block in log_blocks(data) for row in block.rows()]


TEXTS = st.one_of(st.text(max_size=5), st.sampled_from(["x" * n for n in (100, 110, 115, 120, 127, 128, 200, 20_000)]))
INTEGERS = st.one_of(st.integers(-3, 300), st.integers(-(2**63), 2**63 - 1))
VALUES = st.one_of(TEXTS, INTEGERS, st.booleans(), st.binary(max_size=5), st.floats(allow_nan=False), st.none())
NESTED = VALUES | st.lists(VALUES, max_size=2) | st.dictionaries(st.text(max_size=3), VALUES, max_size=2)
KEYS = st.sampled_from(["", "a", "b", "user.agent", "größe", "k" * 90, "k" * 130]) | st.text(max_size=5)
RECORDS = st.builds(
    log_record,
    time_ns=st.integers(0, 2**63),
    observed_ns=st.integers(0, 2**63),
    body=NESTED,
    severity=st.integers(0, 24),
    severity_text=st.sampled_from(["", "WARN", "größer"]),
    attributes=st.dictionaries(KEYS, NESTED, max_size=4),
    event_name=st.sampled_from(["", "deploy"]),
    trace_id=st.sampled_from([b"", b"\x01" * 16, b"\x01" * 130]),
    span_id=st.sampled_from([b"", b"\x02" * 8]),
    flags=st.integers(0, 2**32 - 1),
)


@given(st.lists(RECORDS, max_size=5), st.integers(1, 3))
def test_rows_are_what_the_decoder_says(made: list[bytes], repeated: int) -> None:
    """Each row holds what the record-by-record decoder finds, also where records have the same attributes as others."""
    data = export_logs(RESOURCE, SCOPE, made * repeated)
    assert rows(data) == whole(data)


@given(st.permutations(range(3)), st.lists(RECORDS, min_size=1, max_size=3), st.binary(max_size=12))
def test_records_of_other_encoders_are_read(order: list[int], made: list[bytes], noise: bytes) -> None:
    """Fields in any order, twice, unknown or malformed: the outcome is what the library says of them."""
    odd = [
        field(6, field(2, field(1, b"value first")) + field(1, b"k")),
        b"\x32\x8a\x00\x0a\x01k\x12\x05\x0a\x03abc",  # a length in more bytes than it needs
        noise,
    ]
    data = export_logs(RESOURCE, SCOPE, [b"".join(odd[i] for i in order) + one for one in made])
    try:
        expected = whole(data)
    except MalformedOtlp:
        with pytest.raises(MalformedOtlp):
            rows(data)
    else:
        assert rows(data) == expected


@given(RECORDS, st.integers(0, 10_000), st.integers(0, 255))
def test_a_byte_that_is_wrong_is_read_as_the_library_reads_it(made: bytes, at: int, byte: int) -> None:
    """A changed byte in a record among others gives what the library gives, or is malformed to both."""
    broken = bytearray(made)
    broken[at % len(made) if made else 0 : at % len(made) + 1 if made else 0] = bytes([byte])
    data = export_logs(RESOURCE, SCOPE, [made, bytes(broken), made])
    try:
        expected = whole(data)
    except MalformedOtlp:
        with pytest.raises(MalformedOtlp):
            rows(data)
    else:
        assert repr(rows(data)) == repr(expected)  # a changed number may be one that is not equal to itself


def test_a_scope_behind_its_records_is_found() -> None:
    """The parts of a scope are merged wherever they stand, as the library does."""
    one = log_record(time_ns=1, observed_ns=1, body="a", severity=9)
    inner = field(1, scope("first")) + field(2, one) + field(1, scope("", "7"))
    (block,) = log_blocks(field(1, field(1, RESOURCE) + field(2, inner)))
    assert (block.envelope.scope, block.envelope.scope_version, len(block)) == ("first", "7", 1)
    assert [row.body for row in block.rows()] == ["a"]


def test_rows_come_some_at_a_time() -> None:
    """Rows are made when they are asked for, in the order of the records, and none is left out at a border."""
    made = [log_record(time_ns=n, observed_ns=1, body=str(n), attributes={"n": n}) for n in range(1, 400)]
    (block,) = log_blocks(export_logs(RESOURCE, SCOPE, made))
    pieces = list(block.rows_by_some())
    assert len(block) == 399
    assert len(pieces) > 1
    assert [row.attributes["n"] for piece in pieces for row in piece] == list(range(1, 400))


@given(st.binary(max_size=40), st.integers(0, 200), st.integers(0, 255))
def test_broken_requests_are_malformed(noise: bytes, at: int, byte: int) -> None:
    """Whatever stands there, the outcome is blocks or `MalformedOtlp`."""
    good = bytearray(LineEncoder(RESOURCE, SCOPE).encode([b"one", b"two"], 1) + noise)
    good[at % len(good)] = byte
    try:
        for block in log_blocks(bytes(good)):
            list(block.rows())
    except MalformedOtlp:
        pass


def test_text_that_is_none_is_malformed() -> None:
    """A line that is no UTF-8, as only a stranger sends one, is not taken for a line."""
    data = LineEncoder(RESOURCE, SCOPE).encode([b"fine", b"\xff\xfe"], 1)
    with pytest.raises(MalformedOtlp):
        [list(block.rows()) for block in log_blocks(data)]
