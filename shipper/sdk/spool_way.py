"""The way through the spool: our processors on the service's providers, encoding inline, with no thread and no queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import Resource

from shipper.sdk import providers, voice
from shipper.sdk.logs import ShipperLogRecordProcessor
from shipper.sdk.spans import ShipperSpanProcessor
from shipper.sdk.spooler import Spooler

if TYPE_CHECKING:
    from shipper.sdk.start import Started


class SpoolWay:
    """Spans, log records and metrics become frames in segments that the sidecar reads."""

    def __init__(self, started: Started) -> None:
        from shipper.sdk.start import hello

        self._started = started
        self.spooler = Spooler(started.choice.root, hello=lambda: hello(started.whoami), say=voice.say)

    def install(self) -> None:
        """Put a span and a log record processor on the providers."""
        resource_of = self._started.resource_of
        tracers = providers.tracer_provider(self._resource)
        if tracers is not None and providers.claim(tracers):
            resource_of.saw(tracers.resource)
            tracers.add_span_processor(ShipperSpanProcessor(self.spooler, resource_of))
        loggers = providers.logger_provider(self._resource)
        if loggers is not None and providers.claim(loggers):
            loggers.add_log_record_processor(ShipperLogRecordProcessor(self.spooler, resource_of))

    def _resource(self) -> Resource:
        stated, guessed = self._started.resource_of.split(None)
        return Resource({**guessed, **stated})

    def shutdown(self, timeout: float) -> None:
        """Nothing waits anywhere: what a call returned from is in the spool."""
