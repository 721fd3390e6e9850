"""The way through the spool: our processors on the service's providers, encoding inline, with no thread and no queue."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shipper.sdk import voice
from shipper.sdk.emit.log_encode import LogEncoder
from shipper.sdk.emit.logs import ShipperLogRecordProcessor
from shipper.sdk.emit.redact import Texts
from shipper.sdk.emit.span_encode import SpanEncoder
from shipper.sdk.emit.spans import ShipperSpanProcessor
from shipper.sdk.faults import Faults
from shipper.sdk.identity import Identities
from shipper.sdk.logbridge.bridge import ShipperHandler
from shipper.sdk.resource import ResourceOf
from shipper.sdk.settings import resolve
from shipper.sdk.sidecar_card import CardReader
from shipper.sdk.started import Started
from shipper.sdk.ways import providers
from shipper.sdk.ways.handoff_choice import choose
from shipper.sdk.ways.logging_way import install_logging
from shipper.sdk.ways.metrics import LazyMeterProvider
from shipper.sdk.web import serving
from shipper.sdk.who import Self
from shipper.sdk.writer.spooler import Spooler

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

    from shipper.sdk.emit.seam import Look
    from shipper.sdk.ways.metric_reader import MetricFrames

_since: dict[str, int] = {}  # signal -> when a processor of ours was put on the global provider
_LENGTHS = ("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT")


class SpoolWay:
    """Spans, log records and metrics become frames in segments that the sidecar reads."""

    def __init__(self, started: Started) -> None:
        self._started = started
        self.spooler = Spooler(started.choice.root, hello=started.hello, say=self._say, places=started.choice.places)
        self._texts = Texts(started.settings.redact, Faults(voice.say))
        self._snapshots: Any = None

    def install(self) -> None:
        """Put our processors on the providers, and the handler on the root logger."""
        watch = serving.Watch(self._note)
        tracers = providers.tracer_provider(self._started)
        if tracers is not None:
            self._started.resource_of.saw(tracers.resource)
            tracers.add_span_processor(self.span_processor(watch.span))
            _since["traces"] = time.time_ns()
        loggers = providers.logger_provider(self._started)
        if loggers is not None:
            self._started.resource_of.saw(loggers.resource)
            loggers.add_log_record_processor(self.log_processor(watch.emitted))
            _since["logs"] = time.time_ns()
        resource = loggers.resource if loggers is not None else None
        install_logging(
            self._started.settings, lambda: serving.watched(self.handler(resource), watch), self._started.service
        )
        self._install_metrics()

    def span_processor(self, look: Look | None = None) -> ShipperSpanProcessor:
        """A processor that hands spans over where they end; ``look`` sees them begin."""
        return ShipperSpanProcessor(self.spooler, self._started.resource_of, SpanEncoder(self._texts), look=look)

    def log_processor(self, look: Look | None = None) -> ShipperLogRecordProcessor:
        """A processor that hands log records over where they are emitted; ``look`` is told of each."""
        return ShipperLogRecordProcessor(self.spooler, self._started.resource_of, LogEncoder(self._texts), look=look)

    def metric_frames(self) -> MetricFrames:
        """What turns collected metrics into frames."""
        from shipper.sdk.ways.metric_reader import MetricFrames

        return MetricFrames(self.spooler.series("metrics"), self._started.resource_of)

    def handler(self, resource: Resource | None = None) -> logging.Handler:
        """A handler for `logging` that hands records over."""
        return ShipperHandler(
            self.spooler,
            self._started.resource_of,
            resource=lambda: resource,
            level=self._started.settings.level,
            encoder=LogEncoder(self._texts, _length(os.environ)),
        )

    def shutdown(self, timeout: float) -> None:
        """A last snapshot of metrics, and what waits for a spool. Else what a call returned from is in the spool."""
        if self._snapshots is not None:
            self._snapshots.flush(timeout)
        self.spooler.flush()

    def _install_metrics(self) -> None:
        foreign = providers.meter_provider(LazyMeterProvider(self._meter_provider))
        if foreign is not None:
            foreign.add_metric_reader(self._start_snapshots(foreign))
            _since["metrics"] = time.time_ns()

    def _meter_provider(self) -> Any:
        from opentelemetry.sdk.metrics import MeterProvider

        provider = MeterProvider(resource=self._started.resource(), shutdown_on_exit=False)
        provider.add_metric_reader(self._start_snapshots(provider))
        return provider

    def _start_snapshots(self, provider: Any) -> Any:
        from shipper.sdk.ways.metric_reader import Snapshots, SpoolMetricReader

        frames = self.metric_frames()
        self._snapshots = Snapshots(provider, lambda: SpoolMetricReader(frames))
        self._snapshots.start()
        return self._snapshots.reader

    def _note(self, advice: str) -> None:
        voice.say(advice)
        self.spooler.series("logs").note(advice)

    def _say(self, text: str) -> None:
        choice = self._started.choice
        if not (choice.waiting and choice.why.partition(";")[0] in text):  # that was said at the start
            voice.say(text)


def handed_over(signal: str, at_ns: int) -> bool:
    """Whether a record that ended at this time went through a processor of ours, so that an exporter can leave it."""
    since = _since.get(signal)
    return since is not None and at_ns >= since


def passive(spool: str, env: Mapping[str, str]) -> SpoolWay:
    """A way for exporters that somebody else put on providers: nothing is installed. ``spool``: a root, or empty."""
    settings, _ = resolve({"handoff": "spool"}, env)
    whoami = Self(settings, in_code=False)
    choice = choose(settings, {**env, "SHIPPER_SPOOL_DIR": spool} if spool else env)
    voice.say(choice.why, logging.WARNING if choice.waiting else logging.INFO)
    identities = Identities(whoami, CardReader(choice.root, *choice.places))
    return SpoolWay(Started(settings, whoami, ResourceOf(whoami), choice, identities))


def _length(env: Mapping[str, str]) -> int | None:
    return next((int(env[name]) for name in _LENGTHS if env.get(name, "").strip().isdecimal()), None)
