"""What the tests of `shipper.init` share: a service in a process of its own, and what stands in the spool afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from shipper.handoff.frame import Kind, unpack_resource, walk
from shipper.handoff.hello import Hello, read_hello
from shipper.handoff.prepare import prepare_root

PATIENCE = 60


def spool(directory: Path) -> Path:
    """A spool root as a sidecar makes it."""
    root = directory / "spool"
    prepare_root(str(root))  # says that other users cannot reach it below a private directory, which is true
    return root


def environment(**env: str) -> dict[str, str]:
    """The environment of a service, with nothing of ours or OpenTelemetry's but ``env``."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SHIPPER_", "OTEL_", "PYTEST"))}
    return kept | {"HOME": "/nonexistent"} | env


def service(code: str, *arguments: str, expect: int | None = 0, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a service to its end. ``expect``: its exit status (None: any)."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert expect is None or done.returncode == expect, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@dataclass
class Written:
    """What one process handed over."""

    hello: Hello
    spans: list[Span] = field(default_factory=list)
    logs: list[LogRecord] = field(default_factory=list)
    metrics: list[ExportMetricsServiceRequest] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stated: dict[str, Any] = field(default_factory=dict)
    guessed: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The names of its spans."""
        return [span.name for span in self.spans]

    @property
    def bodies(self) -> list[str]:
        """The bodies of its log records that are no events."""
        return [log.body.string_value for log in self.logs if not log.event_name]


def written(root: Path) -> list[Written]:
    """All processes that handed something over, in the order of their pids."""
    return sorted((_process(path) for path in root.glob("p*-*")), key=lambda process: process.hello.pid)


def only(root: Path) -> Written:
    """The one process that handed something over."""
    (process,) = written(root)
    return process


def _process(directory: Path) -> Written:
    process: Written | None = None
    for segment in sorted(directory.glob("[!.]*.seg")):
        for frame in walk(segment.read_bytes()).frames:
            if frame.kind == Kind.HEAD:
                hello = read_hello(frame.body)
                assert hello is not None
                process = process or Written(hello)
            assert process is not None
            _take(process, frame.kind, frame.body)
    assert process is not None, f"{directory} is empty"
    return process


def _take(process: Written, kind: int, body: bytes) -> None:
    if kind == Kind.SPAN:
        process.spans.append(Span.FromString(body))
    elif kind == Kind.LOG:
        process.logs.append(LogRecord.FromString(body))
    elif kind == Kind.REQUEST:
        process.metrics.append(ExportMetricsServiceRequest.FromString(body))
    elif kind == Kind.NOTE:
        process.notes.append(body.decode())
    elif kind == Kind.RESOURCE:
        stated, guessed = unpack_resource(body)
        process.stated, process.guessed = attributes(stated), attributes(guessed)


def attributes(encoded: bytes) -> dict[str, Any]:
    """Encoded Resource.attributes as a dictionary."""
    return {pair.key: value(pair.value) for pair in Resource.FromString(encoded).attributes}


def value(any_value: Any) -> Any:
    """The Python value of an AnyValue."""
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [value(item) for item in any_value.array_value.values]
    return getattr(any_value, kind) if kind else None


def points(request: ExportMetricsServiceRequest) -> Iterator[tuple[str, Any]]:
    """(metric, value) of every number in a metrics request."""
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                data = getattr(metric, metric.WhichOneof("data"))
                for point in data.data_points:
                    histogram = hasattr(point, "bucket_counts")
                    yield metric.name, point.sum if histogram else getattr(point, point.WhichOneof("value"))


def counted(process: Written) -> Mapping[str, Any]:
    """The last value of each metric of a process."""
    return {name: number for request in process.metrics for name, number in points(request)}
