"""Counts what arrived of a run of the matrix: in segments, frame by frame, or at a sink, request by request."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from shipper.contracts import Signal
from shipper.handoff.frame import Kind, walk
from shipper.testing.sink import Received, Sink
from tests.e2e.servers import RECORDS


@dataclass
class Count:
    """What arrived of one run: numbers seen, how many came twice, and the processes they came from."""

    spans: set[int] = field(default_factory=set)
    logs: set[int] = field(default_factory=set)
    twice: int = 0
    processes: dict[Any, set[str]] = field(default_factory=dict)  # pid -> service.instance.id
    failed: list[Span] = field(default_factory=list)  # spans with status error

    def add(self, kind: str, number: int, pid: Any, instance: str) -> None:
        numbers = self.spans if kind == "spans" else self.logs
        self.twice += number in numbers
        numbers.add(number)
        self.processes.setdefault(pid, set()).add(instance)

    def complete(self) -> bool:
        return len(self.spans) == len(self.logs) == RECORDS


def line(server: str, ending: str, ours: Count, stock: Count) -> str:
    """A row of the table, for people."""
    return (
        f"\n| {server:20} | {ending:8} | Shipper {len(ours.spans):4} spans {len(ours.logs):4} logs "
        f"| stock {len(stock.spans):4} spans {len(stock.logs):4} logs |"
    )


class Counts:
    """The counts of all runs, by the run that each span's name and each log's body begins with."""

    def __init__(self) -> None:
        self._runs: dict[str, Count] = {}

    def of(self, run: str) -> Count:
        return self._runs.setdefault(run, Count())

    def span(self, span: Span, pid: Any, instance: str) -> None:
        self._add("spans", span.name, pid, instance)
        if span.status.code == span.status.STATUS_CODE_ERROR:
            for run in self._runs.values():
                run.failed.append(span)

    def log(self, record: LogRecord, pid: Any, instance: str) -> None:
        self._add("logs", record.body.string_value, pid, instance)

    def _add(self, kind: str, text: str, pid: Any, instance: str) -> None:
        run, _, number = text.partition(" ")
        if number.isdecimal():
            self.of(run).add(kind, int(number), pid, instance)


def walked(root: Path, run: str) -> Count:
    """What the segments below a root of the hand-off hold of a run."""
    counts = Counts()
    counts.of(run)
    for segment in sorted(root.glob("p*/[!.]*.seg")):
        pid, instance = 0, ""
        for frame in walk(segment.read_bytes()).frames:
            if frame.kind == Kind.HEAD:
                head = json.loads(frame.body)
                pid, instance = head["pid"], head["instance"]
            elif frame.kind == Kind.SPAN:
                counts.span(Span.FromString(frame.body), pid, instance)
            elif frame.kind == Kind.LOG:
                counts.log(LogRecord.FromString(frame.body), pid, instance)
    return counts.of(run)


class Collector:
    """A sink in a thread of its own, and the counts of what it was sent."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._read = 0
        self._counts = Counts()

    @property
    def url(self) -> str:
        return self._sink.url

    def of(self, run: str) -> Count:
        """The count of a run as of now."""
        while self._read < len(self._sink.received):
            self._take(self._sink.received[self._read])
            self._read += 1
        return self._counts.of(run)

    def _take(self, request: Received) -> None:
        if request.signal is Signal.TRACES:
            for spans in ExportTraceServiceRequest.FromString(request.body).resource_spans:
                for scope in spans.scope_spans:
                    for span in scope.spans:
                        self._counts.span(span, *_process(spans.resource))
        elif request.signal is Signal.LOGS:
            for logs in ExportLogsServiceRequest.FromString(request.body).resource_logs:
                for scope in logs.scope_logs:
                    for record in scope.log_records:
                        self._counts.log(record, *_process(logs.resource))


def _process(resource: Any) -> tuple[Any, str]:
    values = {attribute.key: attribute.value for attribute in resource.attributes}
    instance = values["service.instance.id"].string_value if "service.instance.id" in values else ""
    return (values["process.pid"].int_value if "process.pid" in values else instance), instance


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens for as long as this lasts."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    sink = Sink()
    asyncio.run_coroutine_threadsafe(sink.come_up(), loop).result()
    try:
        yield Collector(sink)
    finally:
        asyncio.run_coroutine_threadsafe(sink.go_down(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
