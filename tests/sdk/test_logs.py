"""Log records of OpenTelemetry's API are handed over as its own exporter would encode them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as LogMessage
from opentelemetry.sdk._logs import LoggerProvider, LogRecordLimits, ReadWriteLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from shipper.handoff.frame import ERROR, Kind
from shipper.sdk.emit.fingerprint import FINGERPRINT
from shipper.sdk.emit.logs import LogEncoder, ShipperLogRecordProcessor, encode_log
from shipper.sdk.emit.redact import Texts
from tests.sdk.memory_spool import MemorySpool, attributes_of, nothing_stated, plain

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
values = st.recursive(
    st.one_of(
        texts, st.booleans(), st.integers(-(1 << 63), (1 << 63) - 1), st.floats(allow_nan=False), st.binary(), st.none()
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts.filter(bool), inner, max_size=3)),
    max_leaves=8,
)


def without_fingerprint(message: LogMessage) -> LogMessage:
    kept = [pair for pair in message.attributes if pair.key != FINGERPRINT]
    del message.attributes[:]
    message.attributes.extend(kept)
    return message


def stock(record: ReadWriteLogRecord) -> LogMessage:
    message = encode_logs([record]).resource_logs[0].scope_logs[0].log_records[0]  # type: ignore[list-item]
    return LogMessage.FromString(message.SerializeToString())


@settings(max_examples=100, deadline=None)
@given(
    body=values,
    attributes=st.one_of(st.none(), st.dictionaries(texts.filter(bool), values, max_size=6)),
    times=st.tuples(st.one_of(st.none(), st.integers(0, 1 << 62)), st.integers(0, 1 << 62)),
    severity=st.one_of(st.none(), st.sampled_from(list(SeverityNumber))),
    severity_text=st.one_of(st.none(), texts),
    event_name=st.one_of(st.none(), texts),
    span=st.one_of(
        st.none(), st.tuples(st.integers(1, (1 << 128) - 1), st.integers(1, (1 << 64) - 1), st.integers(0, 3))
    ),
)
def test_a_record_decodes_to_what_the_stock_exporter_makes_of_it(
    body: Any,
    attributes: dict[str, Any] | None,
    times: tuple[int | None, int],
    severity: SeverityNumber | None,
    severity_text: str | None,
    event_name: str | None,
    span: tuple[int, int, int] | None,
) -> None:
    """Whatever a log record holds, our bytes decode to the message that OpenTelemetry's exporter sends."""
    context = None
    if span is not None:
        context = trace.set_span_in_context(NonRecordingSpan(SpanContext(span[0], span[1], False, TraceFlags(span[2]))))
    record = ReadWriteLogRecord(
        LogRecord(
            timestamp=times[0],
            observed_timestamp=times[1],
            context=context,
            severity_number=severity,
            severity_text=severity_text,
            body=body,
            attributes=attributes,
            event_name=event_name,
        ),
        resource=Resource({}),
        limits=LogRecordLimits(),
    )
    (encoded,) = encode_log(record)
    assert without_fingerprint(LogMessage.FromString(encoded)) == stock(record)


class Host:
    def __init__(self, texts: Texts | None = None, minimum: int = 0) -> None:
        self.spool = MemorySpool()
        self.series = self.spool.series("logs")
        self.processor = ShipperLogRecordProcessor(self.spool, nothing_stated, LogEncoder(texts), minimum)
        self.provider = LoggerProvider(resource=Resource({}), shutdown_on_exit=False)
        self.provider.add_log_record_processor(self.processor)
        self.logger = self.provider.get_logger("lib", "3")


def test_an_emitted_record_is_one_frame_with_severity_and_trace_in_its_head() -> None:
    """The sidecar finds errors and traces without decoding."""
    host = Host()
    context = trace.set_span_in_context(NonRecordingSpan(SpanContext((7 << 64) | 9, 6, False, TraceFlags(1))))
    host.logger.emit(LogRecord(body="b", severity_number=SeverityNumber.ERROR2, context=context))
    host.logger.emit(LogRecord(body="b", severity_number=SeverityNumber.WARN4))
    first, second = host.series.given
    assert (first.kind, first.severity, first.flags, first.trace) == (Kind.LOG, 18, ERROR, 9)
    assert (second.severity, second.flags, second.trace) == (16, 0, 0)
    assert host.series.scope_of(first).name == "lib"


def test_dropped_attributes_are_counted_in_the_message() -> None:
    """What the SDK's limits left out stands in the record's count."""
    record = ReadWriteLogRecord(
        LogRecord(body="b", attributes={"a": 1}), limits=LogRecordLimits(max_log_record_attributes=3)
    )
    record.log_record.attributes.dropped = 4  # type: ignore[union-attr]
    assert LogMessage.FromString(encode_log(record)[0]).dropped_attributes_count == 4


def test_an_emitted_exception_gets_the_fingerprint() -> None:
    """``Logger.emit(exception=...)`` ends in the same fingerprint as a span's exception event."""
    host = Host()
    try:
        raise LookupError("nothing there")
    except LookupError as error:
        host.logger.emit(body="failed", exception=error)
    found = attributes_of(host.series.logs[0])
    assert found["exception.type"] == "LookupError"
    assert found[FINGERPRINT].startswith("v1-")


def test_the_fingerprint_is_not_redacted() -> None:
    """A hook that hides every digit must not make all errors the same."""
    host = Host(Texts(lambda text: "".join("#" if letter.isdigit() else letter for letter in text)))
    host.logger.emit(
        body="order 17", attributes={"exception.type": "E", "exception.message": "17", FINGERPRINT: "v1-12ab"}
    )
    message = host.series.logs[0]
    assert plain(message.body) == "order ##"
    assert attributes_of(message) == {"exception.type": "E", "exception.message": "##", FINGERPRINT: "v1-12ab"}


def test_records_below_the_minimum_are_not_taken() -> None:
    """The level applies to OpenTelemetry's API too, also where a library asks first; no severity passes."""
    host = Host(minimum=9)
    for number in (SeverityNumber.DEBUG, SeverityNumber.INFO, None):
        host.logger.emit(LogRecord(body="b", severity_number=number))
    assert [one.severity for one in host.series.given] == [9, 0]
    assert not host.processor.enabled(severity_number=SeverityNumber.DEBUG)
    assert host.processor.enabled(severity_number=SeverityNumber.INFO)
    assert host.processor.enabled()


@pytest.mark.parametrize("letter", ["x", "é", "€", "😀"])
def test_a_very_long_body_becomes_parts_that_join_to_it(letter: str) -> None:
    """10 MB arrive complete, in records of at most 1 MiB of text marked as parts of a line, none cut inside a letter."""
    host = Host()
    body = "start " + letter * (10_000_000 // len(letter.encode()))
    host.logger.emit(body=body, attributes={"k": "v"})
    messages = host.series.logs
    assert "".join(plain(message.body) for message in messages) == body
    assert max(len(plain(message.body).encode()) for message in messages) <= 1 << 20
    found = [attributes_of(message) for message in messages]
    assert [one["shipper.line.part"] for one in found] == list(range(len(messages)))
    assert [one["shipper.line.last"] for one in found] == [False] * (len(messages) - 1) + [True]
    assert all(one["k"] == "v" for one in found)


def test_attributes_that_are_too_large_together_are_cut() -> None:
    """A hundred long texts leave a record that a destination takes, each with its beginning."""
    host = Host()
    host.logger.emit(body="b", attributes={f"k{number}": "z" * 60_000 for number in range(100)})
    (given_,) = host.series.given
    assert len(given_.body) < 1 << 20
    assert attributes_of(given_.log)["k99"].startswith("zzzz")


def test_faults_of_a_record_do_not_reach_the_service() -> None:
    """What cannot be encoded is counted as dropped."""
    host = Host()
    host.logger.emit(LogRecord(body="b", timestamp="soon"))  # type: ignore[call-overload]
    assert host.series.given == []
    assert host.series.dropped == {"unencodable": 1}
    assert host.processor.force_flush()
