"""One panel from its JSON: its queries asked, and what they found drawn as far as a still picture can."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shipper.dashboards.preview.asking import NotAnswered, Prometheus, Series, last
from shipper.dashboards.preview.fields import Looks, looks
from shipper.dashboards.preview.tables import Row, rows
from shipper.dashboards.preview.variables import Window, filled
from shipper.drawing.chart import Frame, Line, Marker, lines
from shipper.drawing.heat import heatmap
from shipper.drawing.lanes import Bar, Lane, lanes
from shipper.drawing.markup import Markup, element, joined
from shipper.drawing.page import legend, table

COLUMN = 50  # pixels of a chart to one of the 24 columns of a board
LEAST_WIDTH = 260
MOST_ROWS = 200
_LABEL = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_MINUTE = re.compile(r"^(\d+(?:\.\d+)?)(ms|s|m|h|d)$")


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown besides a panel's own: variables, time and markers."""

    values: Mapping[str, str]
    window: Window
    markers: Sequence[Marker] = ()


@dataclass(frozen=True, slots=True)
class Drawn:
    """A panel as drawn. ``found``: how many series with a value its queries found. ``problem``: why it could not be asked."""

    markup: Markup
    found: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What one query of a panel found."""

    target: Mapping[str, Any]
    series: Sequence[Series]
    step: int
    legend: str  # with its variables in place

    @property
    def ref(self) -> str:
        return str(self.target.get("refId", ""))

    def name(self, series: Series) -> str:
        """By the query's legend, else its labels as they are."""
        if self.legend and self.legend != "__auto":
            return _LABEL.sub(lambda match: series.labels.get(match[1], ""), self.legend)
        inside = ", ".join(f"{name}={value}" for name, value in series.labels.items() if name != "__name__")
        return f"{series.labels.get('__name__', '')} {inside}".strip() or self.ref


def draw(panel: Mapping[str, Any], prometheus: Prometheus, shown: Shown) -> Drawn:
    """Ask and draw a panel whose data is in Prometheus."""
    how = _KINDS.get(str(panel["type"]))
    if how is None:
        return Drawn(element("p", f"A preview does not draw panels of type {panel['type']}.", class_="dim"))
    try:
        answers = [_asked(target, prometheus, shown) for target in panel.get("targets") or [] if not target.get("hide")]
    except NotAnswered as error:
        return Drawn(element("p", f"not asked: {error}", class_="notice"), problem=str(error))
    found = sum(_tells(series) for answer in answers for series in answer.series)
    if not any(answer.series for answer in answers):
        return Drawn(element("p", looks(panel, shown.window.end).written(None), class_="dim"))
    return Drawn(how(panel, answers, shown), found)


def _asked(target: Mapping[str, Any], prometheus: Prometheus, shown: Shown) -> _Answer:
    least = _seconds(str(target.get("interval") or "")) or None
    window, step = shown.window, shown.window.step(least)
    query = filled(str(target["expr"]), shown.values, window, least)
    legend = filled(str(target.get("legendFormat") or ""), shown.values, window, least)
    if target.get("instant"):
        found = prometheus.instant(query, window.end)
    elif step > window.end - window.start:
        found = [_throughout(series, window) for series in prometheus.instant(query, window.end)]
    else:
        found = prometheus.ranged(query, window.start - window.start % step, window.end, step)
    return _Answer(target, found, step, legend)


def _throughout(series: Series, window: Window) -> Series:
    """A piece of time that is longer than what is shown, as a day is of a short story: what there is of it, all along."""
    return Series(series.labels, [(window.start, last(series)), (window.end, last(series))])


def _seconds(text: str) -> float:
    match = _MINUTE.match(text)
    return float(match[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]] if match else 0.0


def _tells(series: Series) -> bool:
    return any(math.isfinite(value) for _, value in series.points)


def _frame(panel: Mapping[str, Any], shown: Shown) -> Frame:
    columns = int((panel.get("gridPos") or {}).get("w", 24))
    return Frame(shown.window.start, shown.window.end, shown.markers, max(LEAST_WIDTH, columns * COLUMN))


def _stat(panel: Mapping[str, Any], answers: Iterable[_Answer], shown: Shown) -> Markup:
    tiles = []
    several = (panel.get("options") or {}).get("textMode", "auto") != "value"
    for answer in answers:
        for series in answer.series or [Series({}, [])]:
            name = answer.name(series)
            how = looks(panel, shown.window.end, name=name, ref=answer.ref)
            value = last(series)
            tone = how.colour(value)
            small = element("small", name) if several else Markup()
            style = f"border-left:6px solid {tone};padding-left:8px;margin-bottom:8px" if tone else "margin-bottom:8px"
            tiles.append(element("div", small, how.written(value), class_="stat", style=style))
    return element("div", joined(tiles), class_="stats")


def _timeseries(panel: Mapping[str, Any], answers: Iterable[_Answer], shown: Shown) -> Markup:
    drawn: list[tuple[Line, Looks]] = []
    step = shown.window.step()
    for answer in answers:
        step = answer.step
        for place, series in enumerate(answer.series):
            name = answer.name(series)
            how = looks(panel, shown.window.end, name=name, ref=answer.ref)
            shades = (how.settings.get("color") or {}).get("mode") == "shades"
            drawn.append((Line(name, how.line_colour(place if shades else len(drawn)), series.points), how))
    how = looks(panel, shown.window.end)
    stacked = (how.custom.get("stacking") or {}).get("mode") == "normal"
    picture = lines(
        _frame(panel, shown),
        [line for line, _ in drawn],
        write=how.written,
        top=how.settings.get("max"),
        stacked=stacked,
        gap=step * 1.5,
        hold=step if how.custom.get("lineInterpolation") == "stepAfter" else 0.0,
        label=str(panel.get("title", "")),
    )
    named = [(f"{line.name} ({each.written(_latest(line.points))})", line.colour) for line, each in drawn]
    return joined((picture, legend(named)))


def _latest(points: Sequence[tuple[float, float]]) -> float:
    return next((value for _, value in reversed(points) if math.isfinite(value)), math.nan)


def _states(panel: Mapping[str, Any], answers: Iterable[_Answer], shown: Shown) -> Markup:
    made: list[Lane] = []
    named: dict[str, str] = {}
    for answer in answers:
        for series in answer.series:
            name = answer.name(series)
            how = looks(panel, shown.window.end, name=name, ref=answer.ref)
            bars = _bars(series.points, answer.step, how)
            named |= {bar.told: bar.colour for bar in bars}
            made.append(Lane(name, bars))
    return joined((lanes(_frame(panel, shown), made), legend(named.items())))


def _bars(points: Sequence[tuple[float, float]], step: int, how: Looks) -> list[Bar]:
    """Equal values in a row are one bar; it ends where the next value was seen, or nothing was."""
    bars: list[Bar] = []
    before = math.nan
    for at, value in points:
        if math.isnan(value):
            before = math.nan
            continue
        if bars and value == before and at - bars[-1].stop <= step * 0.5:
            bars[-1] = Bar(bars[-1].start, at + step, bars[-1].colour, bars[-1].told)
        else:
            bars.append(Bar(at, at + step, how.colour(value) or how.line_colour(0), how.written(value)))
        before = value
    return bars


def _heatmap(panel: Mapping[str, Any], answers: Sequence[_Answer], shown: Shown) -> Markup:
    """Each bucket less the one below it: a histogram's buckets hold all that is not above them."""
    how = looks(panel, shown.window.end)
    answer = answers[0]
    by_edge = {
        float(series.labels["le"].replace("Inf", "inf")): dict(series.points)
        for series in answer.series
        if "le" in series.labels
    }
    cells: dict[tuple[int, float], float] = {}
    below: dict[float, float] = {}
    for place, edge in enumerate(sorted(by_edge)):
        for at, value in by_edge[edge].items():
            cells[place, at] = max(0.0, value - below.get(at, 0.0))
        below = by_edge[edge]
    classes = [how.written(edge) for edge in sorted(by_edge)]
    return heatmap(_frame(panel, shown), classes, cells, answer.step)


def _table(panel: Mapping[str, Any], answers: Iterable[_Answer], shown: Shown) -> Markup:
    columns, made = rows(panel, {answer.ref: answer.series for answer in answers})
    how = {name: looks(panel, shown.window.end, name=name) for name in columns}
    numbers = [at for at, name in enumerate(columns) if any(isinstance(row.get(name), float) for row in made)]
    shown_rows = [[_cell(how[name], row, name) for name in columns] for row in made[:MOST_ROWS]]
    more = element("p", f"and {len(made) - MOST_ROWS:,} rows more", class_="dim") if len(made) > MOST_ROWS else Markup()
    return joined((table(columns, shown_rows, numbers=numbers), more))


def _cell(how: Looks, row: Row, name: str) -> Markup:
    value = row.get(name)
    text = how.written(value)
    cell = (how.custom.get("cellOptions") or {}).get("type", "auto")
    mapped = bool(how.settings.get("mappings"))
    tone = how.colour(value) if isinstance(value, float) and (cell != "auto" or mapped) else None
    return element("span", text, style=f"border-left:4px solid {tone};padding-left:6px" if tone else None)


_KINDS: dict[str, Callable[[Mapping[str, Any], list[_Answer], Shown], Markup]] = {
    "stat": _stat,
    "gauge": _stat,
    "bargauge": _stat,
    "timeseries": _timeseries,
    "state-timeline": _states,
    "heatmap": _heatmap,
    "table": _table,
}


def text(panel: Mapping[str, Any]) -> Drawn:
    """A panel of words, as they are written."""
    return Drawn(element("p", str((panel.get("options") or {}).get("content", ""))), 1)
