"""What every application of the matrix does: numbered spans and log records, through Shipper or through the stock SDK."""

from __future__ import annotations

import logging
import os
from typing import Any

from opentelemetry import trace

RUN = os.environ["MATRIX_RUN"]
STOCK = os.environ["MATRIX_SDK"] == "stock"
_log = logging.getLogger("work")


def start(app: Any = None) -> None:
    """What a service does at its start."""
    logging.getLogger().setLevel(logging.INFO)
    if not STOCK:
        import shipper

        shipper.init(service="matrix", app=app)
        return
    from opentelemetry._logs import set_logger_provider
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.logging.handler import LoggingHandler
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    tracers, loggers = TracerProvider(), LoggerProvider()
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    loggers.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    trace.set_tracer_provider(tracers)
    set_logger_provider(loggers)
    logging.getLogger("work").addHandler(LoggingHandler(logger_provider=loggers))


def work(first: int, count: int = 100) -> None:
    """``count`` spans and as many log records, numbered from ``first``."""
    tracer = trace.get_tracer("work")
    for number in range(first, first + count):
        with tracer.start_as_current_span(f"{RUN} {number}"):
            _log.info("%s %d", RUN, number)


def request(path: str) -> None:
    """What a request for ``/<verb>/<number>`` does."""
    verb, _, number = path.strip("/").partition("/")
    if number:
        work(int(number))
    if verb == "exit":
        os._exit(0)
    if verb == "die":
        os.kill(os.getpid(), 9)


def done(name: object) -> None:
    """Tell whoever watches that a part of the work is done."""
    open(os.path.join(os.environ["MATRIX_DIRECTORY"], f"done-{name}"), "w").close()
