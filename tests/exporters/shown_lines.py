"""What tests of expositions share: which lines a request has, since what is shown are series and not requests."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client import Metric

from shipper.contracts import Request
from shipper.testing.contract import Held


class Requests:
    """The lines of the requests that were made ready. `held` are those of which all lines were shown."""

    def __init__(self) -> None:
        self._lines: dict[str, tuple[str, ...]] = {}

    def note(self, request: Request) -> None:
        """A request was made ready."""
        self._lines[request.id] = tuple(line for batch in request.batches for line in _lines(batch.payload))

    def held(self, shown: Collection[str]) -> Sequence[Held]:
        """As the contract's destination wants it."""
        return [Held(id_, lines) for id_, lines in self._lines.items() if all(line in shown for line in lines)]


def lines_of(families: Sequence[Metric]) -> set[str]:
    """The lines that an exposition shows; of an empty one the label is not there."""
    return {sample.labels.get("line", "") for family in families for sample in family.samples}


def _lines(payload: bytes) -> list[str]:
    found: list[str] = []
    try:
        message: Any = ExportMetricsServiceRequest.FromString(payload)
    except DecodeError:
        return found
    for resource in message.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.gauge.data_points:
                    found += [one.value.string_value for one in point.attributes if one.key == "line"]
    return found
