"""What the tests of shapes share: records as OpenTelemetry's own protobuf classes read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from shipper.otlp.encode import resource, scope
from shipper.shape.settings import ShapeSettings
from shipper.shape.shaping import Shape, Shaped
from shipper.shape.understood import UnderstoodShape

OBSERVED = int(datetime(2026, 11, 23, 2, 0, tzinfo=UTC).timestamp()) * 10**9
RESOURCE, SCOPE = resource({"service.name": "shop"}), scope("test")


def shaped(shape: Shape | ShapeSettings, texts: Sequence[bytes], **more: Any) -> Shaped:
    """What a shape makes of texts."""
    chosen = UnderstoodShape(shape) if isinstance(shape, ShapeSettings) else shape
    return chosen.shape(RESOURCE, SCOPE, texts, OBSERVED, **more)


def records(shape: Shape | ShapeSettings, texts: Sequence[bytes], **more: Any) -> list[LogRecord]:
    """Its records, which must be as many as it says."""
    made = shaped(shape, texts, **more)
    if not made.payload:
        assert made.records == 0
        return []
    request = ExportLogsServiceRequest.FromString(made.payload)
    (resource_logs,) = request.resource_logs
    assert resource_logs.resource.SerializeToString() == RESOURCE
    (scope_logs,) = resource_logs.scope_logs
    assert scope_logs.scope.SerializeToString() == SCOPE
    found = list(scope_logs.log_records)
    assert len(found) == made.records
    assert all(record.observed_time_unix_nano == OBSERVED for record in found)
    return found


def record(shape: Shape | ShapeSettings, text: bytes, **more: Any) -> LogRecord:
    """The only record of a text."""
    (found,) = records(shape, [text], **more)
    return found


def attributes(found: LogRecord) -> dict[str, Any]:
    """The attributes of a record as Python values; each must be there once."""
    pairs = [(pair.key, plain(pair.value)) for pair in found.attributes]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def plain(value: AnyValue) -> Any:
    """An AnyValue as a Python value."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [plain(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: plain(pair.value) for pair in value.kvlist_value.values}
    return getattr(value, kind)


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """An object with dotted names, without what is null."""
    found: dict[str, Any] = {}
    for name, inner in value.items():
        if isinstance(inner, dict) and inner:
            found |= flat(inner, f"{prefix}{name}.")
        elif inner is not None:
            found[prefix + name] = inner
    return found


def ns(text: str) -> int:
    """Nanoseconds since the epoch of an ISO time in UTC, to the microsecond."""
    since = datetime.fromisoformat(text).replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return ((since.days * 86400 + since.seconds) * 10**6 + since.microseconds) * 1000
