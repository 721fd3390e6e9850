"""Where stdout is collected, lines carry the ids of their span, and nothing else changes."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import loguru
import pytest
import structlog
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from shipper.sdk.logbridge import correlate

TRACE, SPAN = "000000000000000000000000000000ab", "00000000000000cd"
log = logging.getLogger("shop.lines")


@pytest.fixture(autouse=True)
def lines() -> Iterator[io.StringIO]:
    """Where the lines of a plain handler go while ids are added to them."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    log.addHandler(handler)
    log.propagate = False
    log.setLevel(logging.DEBUG)
    configure, once = structlog.configure, structlog.configure_once
    core = loguru.logger._core  # type: ignore[attr-defined]
    patcher = core.patcher
    correlate.install("checkout")
    yield stream
    correlate.uninstall()
    core.patcher = patcher
    structlog.configure, structlog.configure_once = configure, once
    structlog.reset_defaults()
    log.handlers.clear()
    log.propagate = True
    log.setLevel(logging.NOTSET)


def inside() -> Any:
    return trace.use_span(NonRecordingSpan(SpanContext(0xAB, 0xCD, False, TraceFlags(1))))


def formatted_by(formatter: logging.Formatter, stream: io.StringIO) -> None:
    log.handlers[0].setFormatter(formatter)
    stream.truncate(0)
    stream.seek(0)


def test_lines_inside_a_span_end_with_its_ids(lines: io.StringIO) -> None:
    """The first line of a message carries the ids; lines outside of spans are as ever."""
    log.info("outside")
    with inside():
        log.info("inside")
        log.info("two\nlines")
    ids = f" trace_id={TRACE} span_id={SPAN}"
    assert lines.getvalue() == f"INFO outside\nINFO inside{ids}\nINFO two{ids}\nlines\n"


class JsonFormatter(logging.Formatter):
    """Writes what is not an attribute of every record, as the usual JSON formatters do."""

    def format(self, record: logging.LogRecord) -> str:
        standard = logging.makeLogRecord({}).__dict__
        extra = {key: value for key, value in record.__dict__.items() if key not in standard}
        return json.dumps({"message": record.getMessage(), **extra})


def test_json_formatters_get_fields(lines: io.StringIO) -> None:
    """The ids and the service are fields of the record, and nothing is appended to JSON."""
    formatted_by(JsonFormatter(), lines)
    with inside():
        log.info("m")
    log.info("n")
    first, second = map(json.loads, lines.getvalue().splitlines())
    assert first == {"message": "m", "trace_id": TRACE, "span_id": SPAN, "trace_flags": "01", "service": "checkout"}
    assert second == {"message": "n", "service": "checkout"}


def test_a_formatter_that_builds_on_the_plain_one_is_left_alone(lines: io.StringIO) -> None:
    """structlog's formatter ends in the plain one; its JSON stays JSON."""
    formatter = structlog.stdlib.ProcessorFormatter(processor=structlog.processors.JSONRenderer())
    formatted_by(formatter, lines)
    with inside():
        log.info("m")
    assert json.loads(lines.getvalue()) == {"event": "m"}
    formatted_by(logging.Formatter('{"m": "%(message)s"}'), lines)
    with inside():
        log.info("m")
    assert lines.getvalue() == '{"m": "m"}\n'


@pytest.mark.parametrize(
    ("fmt", "in_span", "outside"),
    [
        (
            "%(otelTraceID)s %(otelSpanID)s %(otelTraceSampled)s %(otelServiceName)s",
            f"{TRACE} {SPAN} True checkout",
            "0 0 False checkout",
        ),
        ("[%(trace_id)s] %(message)s", f"[{TRACE}] m", "[] m"),
    ],
)
def test_a_format_that_names_the_ids_gets_them(lines: io.StringIO, fmt: str, in_span: str, outside: str) -> None:
    """Formats made for OpenTelemetry's own correlation work, outside of spans too, and nothing is appended."""
    formatted_by(logging.Formatter(fmt), lines)
    with inside():
        log.info("m")
    log.info("m")
    assert lines.getvalue() == f"{in_span}\n{outside}\n"


def test_extras_of_the_same_name_are_the_services_own(lines: io.StringIO) -> None:
    """``extra={"trace_id": ...}`` is no error, and what the service says stands."""
    with inside():
        log.info("m", extra={"trace_id": "mine", "service": "other"})
    assert lines.getvalue() == "INFO m trace_id=mine span_id=\n"


def test_ids_are_those_of_where_it_was_logged(lines: io.StringIO) -> None:
    """A record that is formatted later, by another thread, has the ids of its own span."""
    log.handlers[0].setFormatter(None)
    kept: list[logging.LogRecord] = []
    log.addFilter(lambda record: True)
    log.handlers[0].emit = kept.append  # type: ignore[method-assign]
    with inside():
        log.info("m")
    assert logging.Formatter("%(message)s").format(kept[0]) == f"m trace_id={TRACE} span_id={SPAN}"


def test_structlog_gets_the_ids_whenever_it_is_configured() -> None:
    """The ids stand before the renderer, once, whoever configures."""
    structlog.configure(processors=[correlate.add_ids, structlog.processors.JSONRenderer(sort_keys=True)])
    assert structlog.get_config()["processors"].count(correlate.add_ids) == 1
    stream = io.StringIO()
    structlog.configure(
        processors=[structlog.processors.JSONRenderer(sort_keys=True)],
        logger_factory=structlog.PrintLoggerFactory(stream),
    )
    with inside():
        structlog.get_logger().info("m")
    structlog.get_logger().info("n")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first == {"event": "m", "trace_id": TRACE, "span_id": SPAN, "trace_flags": "01"}
    assert second == {"event": "n"}


def test_loguru_has_the_ids_among_its_extras() -> None:
    """A format with ``{extra[trace_id]}`` and serialized records show the span."""
    seen: list[dict[str, Any]] = []
    number = loguru.logger.add(
        lambda message: seen.append(message.record["extra"]), format="{extra[trace_id]} {message}"
    )
    with inside():
        loguru.logger.info("m")
    loguru.logger.info("n")
    loguru.logger.remove(number)
    assert seen == [{"trace_id": TRACE, "span_id": SPAN, "trace_flags": "01"}, {"trace_id": "", "span_id": ""}]


def test_uninstalling_leaves_nothing(lines: io.StringIO) -> None:
    """Formatters and loggers are as before."""
    correlate.uninstall()
    with inside():
        log.info("m")
    assert lines.getvalue() == "INFO m\n"
    assert logging.Formatter.format.__module__ == "logging"
