"""Lanes over time: one row a thing, with what it was from when to when; lives of hosts, or states of a series."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shipper.drawing.chart import BOTTOM, TOP, Frame, marked, time_axis
from shipper.drawing.markup import Markup, element, joined
from shipper.drawing.scale import Span, moment

ROW = 16
NAMES = 210  # pixels for the names of the rows


@dataclass(frozen=True, slots=True)
class Bar:
    """Something that lasted; times in seconds since the epoch. ``end``: the mark at its end, see `_END`; empty for none."""

    start: float
    stop: float
    colour: str
    told: str
    end: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    """A row with its name."""

    name: str
    bars: Sequence[Bar]


def lanes(frame: Frame, rows: Sequence[Lane], *, label: str = "") -> Markup:
    """All rows under each other. A bar that lasted no time is still seen."""
    height = TOP + ROW * len(rows) + BOTTOM
    span = frame.span(NAMES)
    parts = [*time_axis(span, height), *marked(frame, span, height)]
    for number, row in enumerate(rows):
        y = TOP + ROW * number
        name = row.name if len(row.name) <= 30 else row.name[:29] + "…"
        parts.append(
            element("text", element("title", row.name), name, x=NAMES - 6, y=y + 12, text_anchor="end", class_="name")
        )
        parts += [part for bar in row.bars for part in _bar(bar, span, y)]
    return element(
        "svg",
        element("title", label),
        joined(parts),
        view_box=f"0 0 {frame.width} {height}",
        role="img",
        aria_label=label or None,
    )


def _bar(bar: Bar, span: Span, y: float) -> Iterator[Markup]:
    left, right = span.x(bar.start), span.x(bar.stop)
    told = element("title", f"{bar.told}, {moment(bar.start)} to {moment(bar.stop)}")
    yield element("rect", told, x=left, y=y + 3.0, width=max(right - left, 2.0), height=ROW - 6, fill=bar.colour)
    if bar.end:
        yield element(
            "text", element("title", bar.told), bar.end, x=min(right + 2, span.right - 4), y=y + 12, class_="name"
        )
