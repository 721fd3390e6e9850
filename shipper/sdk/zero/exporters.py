"""OpenTelemetry exporters named ``shipper``: for those who configure their providers themselves, by variable or by file.

``export`` appends frames to the spool, with no network, so that nothing is ever held up by it. What is in a batch processor
when the process is killed is lost all the same: `shipper.init` and the distro put processors in its place that have no
queue. Where one of those is on the provider too, it has handed the records over, and the exporter leaves them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from shipper.sdk import voice
from shipper.sdk.ways.metric_reader import MetricFrames
from shipper.sdk.ways.spool_way import SpoolWay, handed_over, passive

_ways: dict[str, SpoolWay] = {}


def way(spool: str) -> SpoolWay:
    """The hand-off for a spool root (empty: where this host has it); the exporters of all signals share one."""
    found = _ways.get(spool)
    if found is None:
        found = _ways[spool] = passive(spool, os.environ)
    return found


class ShipperSpanExporter(SpanExporter):
    """Spans to the spool. ``spool``: its root, if not the one that `shipper.init` would use."""

    def __init__(self, spool: str = "") -> None:
        self._processor = way(spool).span_processor()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            if not handed_over("traces", span.end_time or 0):
                self._processor.on_end(span)
        return SpanExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True

    def shutdown(self) -> None:
        """Nothing is held here."""


class ShipperLogExporter(LogRecordExporter):
    """Log records to the spool, as `ShipperSpanExporter`."""

    def __init__(self, spool: str = "") -> None:
        self._processor = way(spool).log_processor()

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        for record in batch:
            log = record.log_record
            if not handed_over("logs", log.observed_timestamp or log.timestamp or 0):
                self._processor.on_emit(record)  # type: ignore[arg-type]
        return LogRecordExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True

    def shutdown(self) -> None:
        """Nothing is held here."""


class ShipperMetricExporter(MetricExporter):
    """Metrics to the spool, as `ShipperSpanExporter`."""

    def __init__(self, spool: str = "", **_: Any) -> None:
        super().__init__()
        self._frames: MetricFrames = way(spool).metric_frames()

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        if handed_over("metrics", time.time_ns()):
            return MetricExportResult.SUCCESS
        try:
            self._frames.append(metrics_data)
        except Exception as error:
            voice.fault("the metrics exporter", error)
            return MetricExportResult.FAILURE
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Nothing is held here."""
