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

RESOURCE = resource({"service.name": "checkout", "host.id": "i-1"})
SCOPE = scope("shipper.file", "1", {"log.file.path": "/var/log/a.log"})


def test_plain_lines_stay_lines() -> None:
    """What a file's lines were made of comes back as those lines, with the time at which they were observed."""
    lines = [b"", b"one", "zwölf 漢字".encode(), b"x" * 5000]
    (block,) = log_blocks(LineEncoder(RESOURCE, SCOPE).encode(lines, 7))
    assert block.lines == lines
    assert block.observed_ns == 7
    assert len(block) == 4
    assert block.rows()[2] == LogRow(0, 7, 0, "", "zwölf 漢字", {}, "", "", "", 0)
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


VALUES = st.one_of(st.text(max_size=5), st.integers(-(2**63), 2**63 - 1), st.booleans(), st.binary(max_size=5))


@given(
    st.lists(
        st.builds(
            log_record,
            time_ns=st.integers(0, 2**63),
            observed_ns=st.integers(0, 2**63),
            body=VALUES | st.lists(VALUES, max_size=2) | st.dictionaries(st.text(max_size=3), VALUES, max_size=2),
            severity=st.integers(0, 24),
            severity_text=st.sampled_from(["", "WARN"]),
            attributes=st.dictionaries(st.text(max_size=5), VALUES, max_size=3),
            event_name=st.sampled_from(["", "deploy"]),
            trace_id=st.sampled_from([b"", b"\x01" * 16]),
            span_id=st.sampled_from([b"", b"\x02" * 8]),
        ),
        max_size=4,
    )
)
def test_rows_are_what_the_decoder_says(made: list[bytes]) -> None:
    """Each row holds what the record-by-record decoder finds."""
    data = export_logs(RESOURCE, SCOPE, made)
    rows = [row for block in log_blocks(data) for row in block.rows()]
    assert [
        (
            r.time_ns,
            r.observed_ns,
            r.severity,
            r.severity_text,
            r.body,
            r.attributes,
            r.event_name,
            r.trace_id,
            r.span_id,
        )
        for r in rows
    ] == [
        (
            r.time_ns,
            r.observed_ns,
            r.severity,
            r.severity_text,
            r.body,
            r.attributes,
            r.event_name,
            r.trace_id,
            r.span_id,
        )
        for r in records(Signal.LOGS, data)
    ]


@given(st.binary(max_size=40), st.integers(0, 200), st.integers(0, 255))
def test_broken_requests_are_malformed(noise: bytes, at: int, byte: int) -> None:
    """Whatever stands there, the outcome is blocks or `MalformedOtlp`."""
    good = bytearray(LineEncoder(RESOURCE, SCOPE).encode([b"one", b"two"], 1) + noise)
    good[at % len(good)] = byte
    try:
        for block in log_blocks(bytes(good)):
            block.rows()
    except MalformedOtlp:
        pass


def test_text_that_is_none_is_malformed() -> None:
    """A line that is no UTF-8, as only a stranger sends one, is not taken for a line."""
    data = LineEncoder(RESOURCE, SCOPE).encode([b"fine", b"\xff\xfe"], 1)
    with pytest.raises(MalformedOtlp):
        log_blocks(data)
