"""A service under measurement: ``python -m bench.service KIND SIGNAL COUNT RATE`` prints JSON with its CPU and its callers' waits.

KIND is how its records leave: ``none`` (a provider without processors; for logs a handler that does nothing), ``stock``
(batch processors and the OTLP/HTTP exporter, to OTEL_EXPORTER_OTLP_ENDPOINT) or ``shipper``. SIGNAL is ``spans``, ``logs``
(the standard library's logging) or ``records`` (OpenTelemetry's logger API). What is measured begins after a warm-up and
ends when the records were handed over: for ``stock`` that includes the last flush. A caller waits for one record; a request
from when it is due until its `BURST` records are made, which includes waiting for a thread that exports meanwhile.
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
import threading
import time
from collections.abc import Callable

WARM_UP = 1000
BURST = 50  # records in a row, as a request makes them
ATTRIBUTES = {
    "http.request.method": "GET",
    "http.route": "/api/v1/items/{id}",
    "url.path": "/api/v1/items/4711",
    "url.scheme": "https",
    "http.response.status_code": 200,
    "server.address": "checkout.example.com",
    "user_agent.original": "mobile/4.2",
    "app.cache_hit": True,
}
Flush = Callable[[], object]


def main() -> None:
    kind, signal, count, rate = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    flush = {"none": nothing, "stock": stock, "shipper": ours}[kind](signal)
    emit = {"spans": spans, "logs": logs, "records": records}[signal]()
    for number in range(WARM_UP):
        emit(number)
    flush()
    waits: list[float] = []
    requests: list[float] = []
    begun, cpu = time.perf_counter(), time.process_time()
    for burst in range(count // BURST):
        due = begun + burst * BURST / rate
        while (left := due - time.perf_counter()) > 0:
            time.sleep(left)
        for number in range(BURST):
            at = time.perf_counter()
            emit(number)
            waits.append(time.perf_counter() - at)
        requests.append(time.perf_counter() - due)
    flush()
    cpu = time.process_time() - cpu
    cut = statistics.quantiles(waits, n=1000)
    result = {"cpu_us": cpu / len(waits) * 1e6, "p50_us": cut[499] * 1e6, "p99_us": cut[989] * 1e6}
    of_requests = statistics.quantiles(requests, n=100)
    result |= {"request_p50_ms": of_requests[49] * 1e3, "request_p99_ms": of_requests[98] * 1e3}
    print(json.dumps({**result, "max_us": max(waits) * 1e6, "threads": threading.active_count()}))


def spans() -> Callable[[int], None]:
    from opentelemetry import trace

    tracer = trace.get_tracer("bench", "1.0")

    def emit(number: int) -> None:
        with tracer.start_as_current_span("GET /api/v1/items/{id}", kind=trace.SpanKind.SERVER, attributes=ATTRIBUTES):
            pass

    return emit


def logs() -> Callable[[int], None]:
    logger = logging.getLogger("bench.checkout")
    logger.setLevel(logging.INFO)

    def emit(number: int) -> None:
        logger.info("request %d of user %s took %d ms", number, "u-4711", 12, extra={"user": "u-4711", "items": 3})

    return emit


def records() -> Callable[[int], None]:
    from opentelemetry._logs import SeverityNumber, get_logger

    logger = get_logger("bench.checkout", "1.0")

    def emit(number: int) -> None:
        logger.emit(
            timestamp=time.time_ns(),
            severity_number=SeverityNumber.INFO,
            body=f"request {number} took 12 ms",
            attributes={"user": "u-4711", "items": 3},
        )

    return emit


def nothing(signal: str) -> Flush:
    if signal == "logs":
        logging.getLogger().addHandler(logging.NullHandler())
    else:
        providers()
    return lambda: None


def providers() -> tuple[object, object]:
    from opentelemetry import _logs, trace
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk.trace import TracerProvider

    tracers, loggers = TracerProvider(), LoggerProvider()
    trace.set_tracer_provider(tracers)
    _logs.set_logger_provider(loggers)
    return tracers, loggers


def stock(signal: str) -> Flush:
    from opentelemetry import _logs, trace
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.logging.handler import LoggingHandler
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    tracers, loggers = TracerProvider(), LoggerProvider()
    trace.set_tracer_provider(tracers)
    _logs.set_logger_provider(loggers)
    if signal == "spans":
        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return tracers.force_flush
    loggers.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    if signal == "logs":
        logging.getLogger().addHandler(LoggingHandler(logger_provider=loggers))
    return loggers.force_flush


def ours(signal: str) -> Flush:
    import shipper

    shipper.init(service="bench", handoff="spool", instrument=False)
    return lambda: None


if __name__ == "__main__":
    main()
