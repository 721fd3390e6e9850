"""The Datadog exporter passes the suite that every exporter has to pass, with logs and with metrics."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from shipper.clock import Clock
from shipper.contracts import Exporter, ExporterContext, Signal
from shipper.testing.contract import Destination, ExporterContract, Fault, Held
from shipper_exporters.datadog import DatadogExporter, DatadogSettings
from tests.exporters.datadog_intake import KEY, Intake, Post, Say, errors, points

PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>"
ANSWERS: dict[Fault, Say] = {
    Fault.BUSY: errors(429, "Too many requests", headers={"X-RateLimit-Reset": "7"}),
    Fault.BROKEN: Say(fault="cut off"),
    Fault.STUCK: Say(fault="never"),
    Fault.SLOW: Say(fault="held"),
    Fault.MISCONFIGURED: errors(403, "Forbidden"),
    Fault.STRANGER: Say(200, PAGE, "text/html"),
    Fault.TOO_LARGE: errors(413, "Payload too large"),
    Fault.REFUSING: errors(400, "Bad Request"),
    Fault.LYING: Say(),
}


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DD_API_KEY", KEY)


class IntakeDestination(Destination):
    """The intake under the test's control."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def exporter(self, context: ExporterContext) -> Exporter:
        settings = DatadogSettings(
            logs_endpoint=f"{self._intake.url}/api/v2/logs", metrics_endpoint=f"{self._intake.url}/otlp/v1/metrics"
        )
        return DatadogExporter("datadog", settings, context)

    async def healthy(self) -> None:
        await self._intake.come_up()
        self._intake.answer = None
        self._intake.release()

    async def failing(self, fault: Fault) -> None:
        if fault is Fault.DOWN:
            await self._intake.go_down()
        else:
            self._intake.answer = ANSWERS[fault]

    async def stored(self) -> Sequence[Held]:
        return [Held(hashlib.sha256(post.wire).hexdigest(), _lines(post)) for post in self._intake.kept]


def _lines(post: Post) -> tuple[str, ...]:
    if post.path == "/api/v2/logs":
        return tuple(entry["message"] for entry in json.loads(post.body))
    found = points(ExportMetricsServiceRequest.FromString(post.body))
    return tuple(point.attributes[0].value.string_value for _, point in found)


class TestLogs(ExporterContract):
    """The logs intake."""

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        async with Intake() as intake:
            yield IntakeDestination(intake)


class TestMetrics(ExporterContract):
    """The OTLP intake."""

    signal = Signal.METRICS

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        async with Intake() as intake:
            yield IntakeDestination(intake)
