"""What a record of `logging` becomes when it is handed over, or goes to a provider where there is no spool."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from shipper.handoff.frame import ERROR
from shipper.sdk.emit.fingerprint import FINGERPRINT
from shipper.sdk.emit.limits import count_limit, length_limit
from shipper.sdk.emit.logs import LogEncoder
from shipper.sdk.emit.redact import Texts
from shipper.sdk.logbridge import bridge
from shipper.sdk.logbridge.bridge import ShipperHandler
from tests.sdk.bridge_kit import bodies, bridged, extras, log
from tests.sdk.memory_spool import MemorySpool, attributes_of, nothing_stated, plain

pytestmark = pytest.mark.usefixtures("untouched_logging")


def test_a_logged_record_has_its_message_severity_logger_and_place() -> None:
    """Message, level, logger name and the place in the code arrive; the head tells errors."""
    series = bridged()
    log.warning("order %s took %d ms", "A7", 12)
    log.error("failed")
    first, second = series.given
    message = first.log
    assert plain(message.body) == "order A7 took 12 ms"
    assert (message.severity_number, message.severity_text) == (13, "WARN")
    assert series.scope_of(first).name == "shop.orders"
    found = attributes_of(message)
    assert found["code.file.path"] == __file__
    assert found["code.function.name"] == "test_a_logged_record_has_its_message_severity_logger_and_place"
    assert found["code.line.number"] > 1
    assert message.observed_time_unix_nano == first.time_ns
    assert 0 <= message.observed_time_unix_nano - message.time_unix_nano < 10_000_000_000
    assert (first.severity, first.flags) == (13, 0)
    assert (second.severity, second.flags) == (17, ERROR)


def test_severities_are_those_of_the_stock_handler() -> None:
    """Levels of any number and name, custom ones too, come out as OpenTelemetry's handler has them."""
    logging.addLevelName(25, "NOTICE")
    series = bridged()
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=Resource({}), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    stock = LoggingHandler(logger_provider=provider)
    for level in (1, 5, 10, 13, 20, 25, 30, 39, 40, 50, 53, 54, 1000):
        record = logging.LogRecord("n", level, "p", 1, "m", None, None)
        stock.handle(record)
        log.handle(record)
    theirs = [(one.log_record.severity_number, one.log_record.severity_text) for one in exporter.get_finished_logs()]
    assert [(SeverityNumber(one.severity_number), one.severity_text) for one in series.logs] == theirs


def test_extras_become_attributes_of_their_types() -> None:
    """What is given as ``extra`` arrives, nested as it is; what every record has does not."""
    series = bridged()
    log.info("m", extra={"user": "u", "n": 7, "ok": True, "ratio": 0.5, "deep": {"a": [1, None]}, 5: "five"})
    assert extras(series) == {"user": "u", "n": 7, "ok": True, "ratio": 0.5, "deep": {"a": [1, None]}, "5": "five"}


def test_an_event_name_is_no_attribute() -> None:
    """``otel.event.name`` makes the record an event."""
    series = bridged()
    log.info("m", extra={"otel.event.name": "order.paid", "total": 5})
    assert series.logs[0].event_name == "order.paid"
    assert extras(series) == {"total": 5}


def test_records_carry_the_ids_of_the_current_span() -> None:
    """Logs are found from a trace, and only those logged inside it."""
    series = bridged()
    span = NonRecordingSpan(SpanContext((1 << 64) | 77, 5, False, TraceFlags(1)))
    log.info("outside")
    with trace.use_span(span):
        log.info("inside")
        log.info("inside again")
    log.info("outside again")
    assert [one.trace for one in series.given] == [0, 77, 77, 0]
    assert [one.span_id.hex() for one in series.logs] == ["", "0" * 15 + "5", "0" * 15 + "5", ""]
    assert series.logs[1].trace_id == span.get_span_context().trace_id.to_bytes(16, "big")
    assert [one.flags for one in series.logs] == [0, 1, 1, 0]


def test_an_exception_arrives_with_type_message_stack_and_fingerprint() -> None:
    """``log.exception`` says what happened, where, and what it is called."""
    series = bridged()
    try:
        raise ValueError("bad total") from KeyError("total")
    except ValueError:
        log.exception("failed")
    found = extras(series)
    assert found["exception.type"] == "ValueError"
    assert found["exception.message"] == "bad total"
    assert "KeyError: 'total'" in found["exception.stacktrace"]
    assert found[FINGERPRINT].startswith("v1-")
    log.info("with a stack", stack_info=True)
    assert "test_an_exception_arrives" in extras(series)["code.stacktrace"]
    log.error("no exception is being handled", exc_info=True)
    assert extras(series) == {}


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


@pytest.mark.parametrize(
    "arguments", [("%d", "x"), ("%s %s", "x"), ("%s", Hostile()), ("{}", "x"), ("%(a)s", {"b": 1})]
)
def test_a_message_that_does_not_fit_its_arguments_arrives_as_it_is(arguments: tuple[Any, ...]) -> None:
    """A mistake in a format string costs neither the service nor the record."""
    series = bridged()
    log.propagate = False
    log.addHandler(logging.NullHandler())
    log.info(*arguments)
    assert str(arguments[0]) in bodies(series)[0]
    assert "do not fit" in bodies(series)[0]


def test_messages_that_are_no_text_become_one() -> None:
    """Any object can be logged."""
    series = bridged()
    log.propagate = False
    log.addHandler(logging.NullHandler())
    for odd in (None, 7, ["a"], ValueError("v"), Hostile()):
        log.info(odd)
    assert bodies(series)[:4] == ["None", "7", "['a']", "v"]
    assert len(bodies(series)) == 5


def test_the_number_of_attributes_is_limited_and_the_rest_counted() -> None:
    """``OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT`` leaves the first ones."""
    series = bridged(limit=3)
    log.info("m", extra={f"k{number}": number for number in range(10)})
    assert extras(series) == {"k0": 0, "k1": 1, "k2": 2}
    assert series.logs[0].dropped_attributes_count == 7


def test_limits_are_read_as_opentelemetry_reads_them() -> None:
    """The limit of log records beats the general one; empty means none; nonsense means the default."""
    assert count_limit({}) == 128
    assert count_limit({"OTEL_ATTRIBUTE_COUNT_LIMIT": "5"}) == 5
    assert count_limit({"OTEL_ATTRIBUTE_COUNT_LIMIT": "5", "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": " 7 "}) == 7
    assert count_limit({"OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": ""}) is None
    assert count_limit({"OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": "many"}) == 128
    assert length_limit({}) is None
    assert length_limit({"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "100"}) == 100


def test_redaction_reaches_message_extras_and_exceptions() -> None:
    """Nothing that the hook hides leaves the process, not even in a stack."""
    texts = Texts(lambda text: text.replace("4711", "****"))
    series = bridged(encoder=LogEncoder(texts))
    try:
        raise ValueError("pin 4711")
    except ValueError:
        log.exception("pin %s", "4711", extra={"pin": "4711", "deep": [{"pin": "4711"}]})
    assert b"4711" not in series.given[0].body
    assert bodies(series) == ["pin ****"]


def test_a_hook_that_raises_hides_everything() -> None:
    """A redaction that fails gives a placeholder, is counted and said once, and never lets the original through."""
    said: list[str] = []
    from shipper.sdk.faults import Faults

    texts = Texts(lambda text: text + 1, Faults(said.append))  # type: ignore[operator]
    series = bridged(encoder=LogEncoder(texts))
    log.info("pin 4711", extra={"a": "4711", "n": 5})
    log.info("pin 4711")
    assert b"4711" not in b"".join(one.body for one in series.given)
    assert bodies(series) == ["[redaction failed]"] * 2
    assert extras(series, 0) == {"a": "[redaction failed]", "n": 5}
    assert texts.faults.counts == {"the redaction hook failed": 3}
    assert said == ["the redaction hook failed (TypeError); further ones are only counted"]


def test_without_a_spool_the_same_record_goes_to_the_provider() -> None:
    """In the fallback ids, place, exception and fingerprint are the same, and stock handlers double nothing."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=Resource({}), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    bridge.install(ShipperHandler(provider=provider, encoder=LogEncoder(Texts(lambda text: text.replace("4711", "*")))))
    logging.getLogger().addHandler(LoggingHandler(logger_provider=provider))
    span = NonRecordingSpan(SpanContext(77, 5, False, TraceFlags(1)))
    with trace.use_span(span):
        try:
            raise ValueError("pin 4711")
        except ValueError:
            log.exception("pin %d", 4711, extra={"otel.event.name": "e", "deep": {"a": {"4711"}}, "odd": object})
    (one,) = exporter.get_finished_logs()
    record = one.log_record
    assert (record.body, record.event_name, record.severity_text) == ("pin *", "e", "ERROR")
    assert (record.trace_id, record.span_id, int(record.trace_flags or 0)) == (77, 5, 1)
    assert record.attributes is not None
    assert record.attributes["exception.message"] == "pin *"
    assert str(record.attributes[FINGERPRINT]).startswith("v1-")
    assert record.attributes["deep"] == {"a": ("*",)}
    assert record.attributes["code.file.path"] == __file__
    assert one.instrumentation_scope is not None
    assert one.instrumentation_scope.name == "shop.orders"


def test_the_thread_is_told_where_that_is_wanted() -> None:
    """With ``thread=True`` a record says which thread logged it."""
    series = bridged(thread=True)
    log.info("m")
    assert extras(series) == {"thread.id": threading.get_ident(), "thread.name": threading.current_thread().name}


def test_odd_records_are_the_services_own_trouble_only() -> None:
    """Records made by hand with impossible fields are counted or told, and never raise."""
    spool = MemorySpool()
    handler = ShipperHandler(spool, nothing_stated)
    handler.handle(logging.makeLogRecord({"msg": "no name", "levelno": 20, "levelname": None, "name": None}))
    handler.handle(logging.makeLogRecord({"msg": "no time", "levelno": 20, "levelname": "INFO", "created": None}))
    handler.handle(logging.makeLogRecord({"msg": "no level", "levelno": None}))
    handler.handle(logging.makeLogRecord({"msg": "odd exception", "levelno": 20, "exc_info": (1, 2, 3)}))
    series = spool.series("logs")
    assert bodies(series) == ["no name", "odd exception"]
    assert sum(series.dropped.values()) == 2
