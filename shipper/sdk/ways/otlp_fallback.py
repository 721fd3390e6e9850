"""Without a spool, by OTLP: OpenTelemetry's own batch processors and exporters, with an end that cannot be held up.

What makes the difference to using them directly: each record carries the full identity, the process never waits for a
dead backend for more than a second in all, SIGTERM flushes, and what was not sent is counted and said.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

from opentelemetry._logs import get_logger_provider
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from shipper.sdk import voice
from shipper.sdk.emit.log_encode import LogEncoder
from shipper.sdk.emit.redact import Texts
from shipper.sdk.faults import Faults
from shipper.sdk.logbridge.bridge import ShipperHandler
from shipper.sdk.ways import providers
from shipper.sdk.ways.flusher import Flusher
from shipper.sdk.ways.logging_way import install_logging
from shipper.sdk.ways.metrics import LazyMeterProvider
from shipper.sdk.ways.otlp_exporters import Exporters
from shipper.sdk.ways.queues import Queues
from shipper.sdk.ways.redacting import RedactingSpans, redact_log
from shipper.sdk.ways.tally import CountingExporter, Tally
from shipper.sdk.web import serving

if TYPE_CHECKING:
    from shipper.sdk.started import Started


class OtlpWay:
    """Records are queued, and sent in batches by OTLP."""

    def __init__(self, started: Started) -> None:
        self._started = started
        self._exporters = Exporters(started.settings.endpoint, os.environ)
        self._texts = Texts(started.settings.redact, Faults(voice.say))
        self._queues = Queues()
        self._loggers: Any = None

    def install(self) -> None:
        """Put batch processors on the providers, and be told of the end."""
        tracers = providers.tracer_provider(self._started)
        if tracers is not None:
            self._relabel(tracers)
            tracers.add_span_processor(self._spans())
        self._loggers = providers.logger_provider(self._started)
        if self._loggers is not None:
            self._relabel(self._loggers)
            self._loggers.add_log_record_processor(self._logs())
            install_logging(self._started.settings, self.handler, self._started.service)
        serving.watch(tracers, self._loggers, voice.say)
        providers.meter_provider(LazyMeterProvider(self._meter_provider))
        self._queues.install()

    def handler(self) -> logging.Handler:
        """A handler for `logging` that puts records into the queue."""
        encoder = LogEncoder(self._texts)
        provider = self._loggers or get_logger_provider()
        return ShipperHandler(provider=provider, level=self._started.settings.level, encoder=encoder)

    def shutdown(self, timeout: float) -> None:
        """Flush; what is emitted later is still queued, and flushed at the end of the process."""
        self._queues.flush(time.monotonic() + timeout)

    def _relabel(self, provider: Any) -> None:
        """Give a provider that the service made the identity it lacks; what its owner stated in it stays."""
        everything = self._started.attributes()
        missing = {key: value for key, value in everything.items() if key not in provider.resource.attributes}
        if not missing:
            return
        providers.stay_true(provider, self._started)
        if not providers.update(provider, missing):
            voice.say("this OpenTelemetry SDK cannot add the identity to a provider that exists: init before making it")

    def _spans(self) -> SpanProcessor:
        tally = self._queues.tally("spans")
        exporter: Any = self._exporters.spans()
        if self._texts.redact is not None:
            exporter = RedactingSpans(exporter, self._texts)
        counted: Any = CountingExporter(exporter, tally)
        batches = BatchSpanProcessor(counted)
        self._queues.add(Flusher("shipper-flush-spans", batches.force_flush))
        return QueuedSpans(batches, tally)

    def _logs(self) -> LogRecordProcessor:
        tally = self._queues.tally("log records")
        counted: Any = CountingExporter(self._exporters.logs(), tally)
        batches = BatchLogRecordProcessor(counted)
        self._queues.add(Flusher("shipper-flush-logs", batches.force_flush))
        return QueuedLogs(batches, tally, self._texts)

    def _meter_provider(self) -> Any:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

        reader = PeriodicExportingMetricReader(self._exporters.metrics())
        self._queues.add(Flusher("shipper-flush-metrics", reader.force_flush), always=True)
        return MeterProvider([reader], resource=self._started.resource(), shutdown_on_exit=False)


class QueuedSpans(SpanProcessor):
    """A batch processor that counts what it is given, and whose shutdown does not wait: `Queues` sees to the end."""

    def __init__(self, batches: BatchSpanProcessor, tally: Tally) -> None:
        self._batches = batches
        self._tally = tally

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        """Nothing."""

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is not None and span.context.trace_flags.sampled:
            self._tally.given()
            self._batches.on_end(span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return bool(self._batches.force_flush(timeout_millis))

    def shutdown(self) -> None:
        """Nothing here: a provider of the service's own would wait up to half a minute for it."""


class QueuedLogs(LogRecordProcessor):
    """The same for log records, which are redacted as they come."""

    def __init__(self, batches: BatchLogRecordProcessor, tally: Tally, texts: Texts) -> None:
        self._batches = batches
        self._tally = tally
        self._texts = texts

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        try:
            redact_log(log_record, self._texts)
        except Exception as error:
            self._tally.failed("redaction failed", error)
            return
        self._tally.given()
        self._batches.on_emit(log_record)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return bool(self._batches.force_flush(timeout_millis))

    def shutdown(self) -> None:
        """Nothing here, as `QueuedSpans.shutdown`."""
