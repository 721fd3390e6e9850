"""Exemplars: a measurement and the trace it was made in, so that a panel's outlier leads to its trace.

OpenTelemetry's specification (``compatibility/prometheus_and_openmetrics.md``, "Exemplars"): the ids are called ``trace_id`` and
``span_id``, attributes that the metric itself does not keep are added unless the whole gets too long.
"""

from __future__ import annotations

import struct

from shipper.otlp.wire import FIXED64, LENGTH, fields
from shipper_exporters._prometheus.labels import attributes
from shipper_exporters._prometheus.samples import Exemplar

MAX_CHARACTERS = 128
"""Of all names and values together (OpenMetrics 1.0, "Exemplars"); a receiver refuses longer ones."""

_FILTERED_ATTRIBUTES = 7


def read(parts: tuple[bytes, ...]) -> tuple[Exemplar, ...]:
    """The exemplars of a point in order of time; those without a value or a time are none. Raises `MalformedOtlp`."""
    return tuple(sorted((found for part in parts if (found := _one(part))), key=lambda one: one.time_ms))


def _one(content: bytes) -> Exemplar | None:
    time_ms, value = 0, None
    ids: dict[str, str] = {}
    for number, wire, _, at, end in fields(content, 0, len(content)):
        part = content[at:end]
        if wire == FIXED64 and number == 2:
            time_ms = int.from_bytes(part, "little") // 1_000_000
        elif wire == FIXED64 and number == 3:
            (value,) = struct.unpack("<d", part)
        elif wire == FIXED64 and number == 6:
            value = float(struct.unpack("<q", part)[0])
        elif wire == LENGTH and number == 4 and any(part):
            ids["span_id"] = part.hex()
        elif wire == LENGTH and number == 5 and any(part):
            ids["trace_id"] = part.hex()
    if value is None or not time_ms:
        return None
    return Exemplar(value, time_ms, _within_limit(ids, dict(attributes(content, _FILTERED_ATTRIBUTES))))


def _within_limit(ids: dict[str, str], others: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """The ids come first; an attribute that finds no room any more is left out."""
    found = dict(ids)
    room = MAX_CHARACTERS - sum(len(key) + len(value) for key, value in ids.items())
    for key, value in others.items():
        if key not in found and len(key) + len(value) <= room:
            found[key] = value
            room -= len(key) + len(value)
    return tuple(sorted(found.items()))
