"""Metrics through the spool: every few seconds a cumulative snapshot, as one frame, from the only thread that we ever start.

A snapshot replaces the one before, so what SIGKILL costs is what was counted since the last. Imported with the first
instrument, because it brings the SDK's metrics; protobuf is imported in the thread.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, MetricsData

from shipper.handoff.frame import Kind
from shipper.sdk import voice
from shipper.sdk.emit.seam import Declared, ResourceOf, Series
from shipper.sdk.ways.endings import at_end

INTERVAL = 5.0
_PATIENCE = 0.1  # how long a fork waits for a snapshot that is being made


class MetricFrames:
    """Encodes collected metrics and appends them to the series ``metrics``."""

    def __init__(self, series: Series, resource_of: ResourceOf) -> None:
        self._series = series
        self._resource_of = resource_of
        self._declared = Declared(series, resource_of)

    def append(self, metrics_data: MetricsData) -> None:
        """One frame for each resource; more where one would be too large for a destination."""
        from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

        from shipper.sdk.ways.metric_pieces import pieces

        for resource_metrics in metrics_data.resource_metrics:
            request = encode_metrics(MetricsData([resource_metrics]))
            for encoded in request.resource_metrics:
                # only what was stated: the rest is for the sidecar to add, from what it knows or what we guess
                encoded.resource.Clear()
                encoded.resource.MergeFromString(self._resource_of(resource_metrics.resource)[0])
            for piece in pieces(request):
                self._series.append(
                    Kind.REQUEST,
                    piece.SerializeToString(),
                    time.time_ns(),
                    resource=self._declared.resource(resource_metrics.resource),
                    count=_points(piece),
                )


class SpoolMetricReader(MetricReader):
    """Hands over what is collected."""

    def __init__(self, frames: MetricFrames) -> None:
        super().__init__()
        self._frames = frames

    def _receive_metrics(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> None:
        self._frames.append(metrics_data)

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Nothing is held here."""


def _points(request: Any) -> int:
    return sum(
        len(getattr(metric, metric.WhichOneof("data")).data_points)
        for resource_metrics in request.resource_metrics
        for scope_metrics in resource_metrics.scope_metrics
        for metric in scope_metrics.metrics
        if metric.WhichOneof("data")
    )


class Snapshots:
    """Collects every `INTERVAL` seconds in a thread that `start` starts, and once more at the end of the process."""

    def __init__(self, provider: MeterProvider, make_reader: Callable[[], MetricReader]) -> None:
        self._provider = provider
        self._make_reader = make_reader
        self.reader = make_reader()
        self._thread: threading.Thread | None = None
        self._collecting = threading.Lock()
        self._stop = threading.Event()
        self._held = False

    def start(self) -> None:
        """Start the thread, unless it runs."""
        if self._thread is not None:
            return
        at_end(self.end)
        # no fork while the SDK's locks are held by a snapshot: the child would find them held for ever
        os.register_at_fork(before=self._before, after_in_parent=self._after, after_in_child=self._in_child)
        self._run()

    def end(self, deadline: float) -> None:
        """A last snapshot. Later ones are not made in this process."""
        if not self._stop.is_set():
            self._stop.set()
            self._snapshot(max(0.0, deadline - time.monotonic()))

    def flush(self, seconds: float) -> None:
        """A snapshot now, waiting at most so long for one that is being made."""
        self._snapshot(seconds)

    def _run(self) -> None:
        self._thread = threading.Thread(target=self._loop, args=(self._stop,), name="shipper-metrics", daemon=True)
        self._thread.start()

    def _loop(self, stop: threading.Event) -> None:
        while not stop.wait(INTERVAL):
            self._snapshot(INTERVAL)

    def _snapshot(self, seconds: float) -> None:
        if not self._collecting.acquire(timeout=seconds):
            voice.say("a snapshot of metrics was not made, because one of the service's callbacks does not return")
            return
        try:
            self.reader.collect()
        except Exception as error:
            voice.fault("a snapshot of metrics", error)
        finally:
            self._collecting.release()

    def _before(self) -> None:
        self._held = self._collecting.acquire(timeout=_PATIENCE)

    def _after(self) -> None:
        if self._held:
            self._collecting.release()

    def _in_child(self) -> None:
        """Go on with counts of its own: what its parent has counted, the parent reports."""
        self._collecting = threading.Lock()
        self._stop = threading.Event()
        try:
            self._begin_anew()
            self._run()
        except Exception as error:
            voice.fault("metrics in a forked process", error)

    def _begin_anew(self) -> None:
        consumer: Any = getattr(self._provider, "_measurement_consumer", None)
        if not hasattr(self._provider, "remove_metric_reader") or not hasattr(consumer, "_lock"):
            return  # an SDK that cannot: then the child reports its parent's counts too, as with any other exporter
        consumer._lock = threading.Lock()  # as the SDK does with its other locks
        self._provider.remove_metric_reader(self.reader)
        self.reader = self._make_reader()
        self._provider.add_metric_reader(self.reader)
