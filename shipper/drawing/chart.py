"""Charts over time: lines, stacked areas and steps with marked moments, one SVG each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from shipper.drawing.markup import Markup, element, joined
from shipper.drawing.scale import Span, moment, number, ticks

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 1200, 64, 12, 18, 22
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One series: points in order of time, seconds since the epoch; NaN interrupts it, as does a gap above ``gap``."""

    name: str
    colour: str
    points: Sequence[Point]
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Marker:
    """A moment to mark, with what is told when the pointer rests on it."""

    at: float
    name: str
    colour: str
    told: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """What the charts of one page have in common: the time they show, its markers, and their size."""

    start: float
    end: float
    markers: Sequence[Marker] = field(default=())
    width: int = WIDTH

    def span(self, left: float = LEFT) -> Span:
        """The time, over the width that a chart has for it."""
        return Span(self.start, self.end, left, self.width - RIGHT)


def lines(
    frame: Frame,
    series: Sequence[Line],
    *,
    height: int = 190,
    write: Callable[[float], str] = number,
    top: float | None = None,
    stacked: bool = False,
    whole: bool = False,
    gap: float = math.inf,
    hold: float = 0.0,
    label: str = "",
) -> Markup:
    """A chart of lines, or of areas on each other when ``stacked``. ``top``: the axis goes there at least.
    ``hold``: a value stays what it is until the next, the last one for so many seconds; 0: straight lines between them."""
    shown = list(_stacked(series)) if stacked else [(line, line.points, None) for line in series]
    values = [value for _, points, _ in shown for _, value in points if math.isfinite(value)]
    marks = ticks(min([*values, 0.0]), max([*values, top or 0.0]), whole=whole)
    low, high = marks[0], marks[-1]
    span = frame.span()

    def y(value: float) -> float:
        return TOP + (height - TOP - BOTTOM) * (high - value) / (high - low)

    parts: list[Markup] = [*_grid(span, height, marks, y, write), *_markers(frame, span, height)]
    for line, points, below in reversed(shown):
        for run in _runs(points, gap):
            parts.append(_drawn(line, run, below, hold, span, y))
    return _svg(frame.width, height, parts, label)


def _drawn(
    line: Line,
    run: Sequence[Point],
    below: dict[float, float] | None,
    hold: float,
    span: Span,
    y: Callable[[float], float],
) -> Markup:
    told = element("title", line.name)
    path = [(span.x(at), y(value)) for at, value in _held(run, hold)]
    if below is not None:
        floor = [(span.x(at), y(value)) for at, value in reversed(_held([(at, below[at]) for at, _ in run], hold))]
        # the stroke shows what is only a moment wide
        return element(
            "polygon",
            told,
            points=_pairs([*path, *floor]),
            fill=line.colour,
            fill_opacity=0.75,
            stroke=line.colour,
            stroke_width=0.6,
        )
    if len(path) == 1:
        return element("circle", told, cx=path[0][0], cy=path[0][1], r=2.5, fill=line.colour)
    return element(
        "polyline",
        told,
        points=_pairs(path),
        fill="none",
        stroke=line.colour,
        stroke_width=1.6,
        stroke_dasharray="5 4" if line.dashed else None,
    )


def _held(run: Sequence[Point], hold: float) -> Sequence[Point]:
    if not hold:
        return run
    until = [at for at, _ in run[1:]] + [run[-1][0] + hold]
    return [point for (at, value), end in zip(run, until, strict=True) for point in ((at, value), (end, value))]


def _stacked(series: Sequence[Line]) -> Iterator[tuple[Line, Sequence[Point], dict[float, float]]]:
    """Each with its upper edge, and what lies below it."""
    ground: dict[float, float] = {}
    for line in series:
        below = {at: ground.get(at, 0.0) for at, _ in line.points}
        upper = [(at, below[at] + (value if math.isfinite(value) else 0.0)) for at, value in line.points]
        ground |= dict(upper)
        yield line, upper, below


def _runs(points: Sequence[Point], gap: float) -> Iterator[Sequence[Point]]:
    run: list[Point] = []
    for at, value in points:
        if not math.isfinite(value) or (run and at - run[-1][0] > gap):
            if run:
                yield run
            run = []
        if math.isfinite(value):
            run.append((at, value))
    if run:
        yield run


def _grid(
    span: Span, height: int, marks: Sequence[float], y: Callable[[float], float], write: Callable[[float], str]
) -> Iterator[Markup]:
    for value in marks:
        yield element("line", x1=span.left, x2=span.right, y1=y(value), y2=y(value), class_="grid")
        yield element("text", write(value), x=span.left - 6, y=y(value) + 4, text_anchor="end")
    yield from time_axis(span, height)


def time_axis(span: Span, height: int) -> Iterator[Markup]:
    """The moments along the lower border."""
    for at, written in span.marks(max(2, round((span.right - span.left) / 130))):
        yield element("line", x1=span.x(at), x2=span.x(at), y1=TOP, y2=height - BOTTOM, class_="grid")
        yield element("text", written, x=span.x(at), y=height - 6, text_anchor="middle")


def _markers(frame: Frame, span: Span, height: int) -> Iterator[Markup]:
    free = -math.inf
    for marker in sorted(frame.markers, key=lambda one: one.at):
        if not frame.start <= marker.at <= frame.end:
            continue
        x = span.x(marker.at)
        told = element("title", f"{moment(marker.at)} {marker.told or marker.name}")
        yield element(
            "line",
            told,
            x1=x,
            x2=x,
            y1=TOP - 4,
            y2=height - BOTTOM,
            stroke=marker.colour,
            stroke_width=1.5,
            stroke_dasharray="4 3",
        )
        wide = 7 * len(marker.name)
        left = x + 3 if x + 3 + wide <= frame.width else x - 3 - wide
        if left >= free:  # names that would stand on each other stay away; the pointer tells them
            yield element("text", marker.name, x=left, y=TOP - 6, style=f"fill:{marker.colour}")
            free = left + wide


def marked(frame: Frame, span: Span, height: int) -> Iterator[Markup]:
    """The markers of a frame, for pictures that are drawn elsewhere."""
    return _markers(frame, span, height)


def _pairs(points: Iterable[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _svg(width: int, height: int, parts: Iterable[Markup], label: str) -> Markup:
    name = element("title", label) if label else Markup()
    return element("svg", name, joined(parts), view_box=f"0 0 {width} {height}", role="img", aria_label=label or None)
