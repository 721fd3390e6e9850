"""The text formats: Prometheus 0.0.4, and OpenMetrics 1.0, which has units and exemplars.

https://prometheus.io/docs/instrumenting/exposition_formats/ and https://prometheus.io/docs/specs/om/open_metrics_spec/ . Without
times: a scrape stamps what it finds, and a Pushgateway refuses them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from shipper_exporters._prometheus.exposition import Shelf, Shown, base_name
from shipper_exporters._prometheus.samples import COUNTER, GAUGE, HISTOGRAM, SUMMARY, Labels, pairs_of

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_TYPES = {COUNTER: "counter", GAUGE: "gauge", HISTOGRAM: "histogram", SUMMARY: "summary"}
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})


def asks_for_openmetrics(accept: str) -> bool:
    """Whether an ``Accept`` header names OpenMetrics; who names both prefers it."""
    return any(one.partition(";")[0].strip().lower() == "application/openmetrics-text" for one in accept.split(","))


def write(shelves: Iterable[Shelf], *, openmetrics: bool) -> bytes:
    """The exposition of ``shelves``."""
    lines: list[str] = []
    for shelf in shelves:
        _describe(shelf, lines, openmetrics=openmetrics)
        for group in shelf.groups.values():
            lines.extend(_line(one, openmetrics=openmetrics) for one in group.shown())
    if openmetrics:
        lines.append("# EOF\n")
    return "".join(lines).encode()


def _describe(shelf: Shelf, lines: list[str], *, openmetrics: bool) -> None:
    family = shelf.family
    name = base_name(family) if openmetrics else family.name
    unknown = "unknown" if openmetrics else "untyped"
    if family.help:
        said = family.help.translate(_ESCAPES if openmetrics else _HELP_ESCAPES)
        lines.append(f"# HELP {name} {said}\n")
    lines.append(f"# TYPE {name} {_TYPES.get(family.type, unknown)}\n")
    if openmetrics and family.unit:
        lines.append(f"# UNIT {name} {family.unit}\n")


def _line(one: Shown, *, openmetrics: bool) -> str:
    if not one.written:
        one.written = _series(one.labels)
    text = f"{one.written} {_number(one.value)}"
    if openmetrics and one.exemplar is not None and _may_have_exemplar(one.labels):
        held = ",".join(f'{key}="{value.translate(_ESCAPES)}"' for key, value in one.exemplar.labels)
        text += f" # {{{held}}} {_number(one.exemplar.value)} {one.exemplar.time_ms / 1000!r}"
    return text + "\n"


def _may_have_exemplar(labels: Labels) -> bool:
    return labels.family.type == COUNTER or "le" in labels.texts[::2]


def _series(labels: Labels) -> str:
    name = ""
    held = []
    for key, value in pairs_of(labels):
        if key == "__name__":
            name = value
        else:
            held.append(f'{key}="{value.translate(_ESCAPES)}"')
    return f"{name}{{{','.join(held)}}}" if held else name


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)
