"""Whole boards as one page, in the places that their panels have in Grafana, under a line that says that this is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shipper import __version__
from shipper.dashboards.preview.asking import Prometheus
from shipper.dashboards.preview.panels import Drawn, Shown, draw, text
from shipper.dashboards.preview.variables import Window, filled, resolved
from shipper.drawing.chart import Marker
from shipper.drawing.markup import Markup, element, joined
from shipper.drawing.page import page
from shipper.drawing.scale import moment

MARKER_PUSHES = 4  # from one look for markers to the next: their series live on for days

Records = Callable[[Mapping[str, str], Window, str], Sequence[str]]
"""The newest failing records from somewhere else than the store a panel asks: by the board's variables and time, and the type
of that store; a line each."""


@dataclass(frozen=True, slots=True)
class Panel:
    """What became of one panel. ``source``: the type of its data source. ``found``: series with a value."""

    board: str
    title: str
    kind: str
    source: str
    found: int
    problem: str


@dataclass(frozen=True, slots=True)
class Preview:
    """The page and what is on it."""

    html: str
    panels: tuple[Panel, ...]
    warnings: tuple[str, ...]

    @property
    def empty(self) -> list[Panel]:
        """Panels that ask Prometheus and found nothing, though they were answered."""
        return [panel for panel in self.panels if panel.source == "prometheus" and not (panel.found or panel.problem)]

    @property
    def failed(self) -> list[Panel]:
        """Panels whose queries have no answer."""
        return [panel for panel in self.panels if panel.problem]


class _Page:
    """Draws boards one after the other and remembers what became of their panels."""

    def __init__(self, prometheus: Prometheus, given: Mapping[str, str], records: Records | None) -> None:
        self.panels: list[Panel] = []
        self._prometheus = prometheus
        self._given = given
        self._records = records

    def board(self, board: Mapping[str, Any], window: Window) -> Iterator[Markup]:
        """The parts of one board. Raises `NotAnswered` where its variables cannot be asked for."""
        values = resolved(board, self._given, self._prometheus, window)
        shown = Shown(values, window, tuple(_markers(board, self._prometheus, values, window)))
        chosen = {
            variable["name"]: values[variable["name"]]
            for variable in board.get("templating", {}).get("list", [])
            if variable["type"] != "datasource" and not variable.get("hide")
        }
        said = ", ".join(f"{name} {value or '(none)'}" for name, value in chosen.items())
        yield element("h1", board["title"], id=board["uid"])
        yield element("p", board.get("description", ""), class_="dim")
        yield element("p", f"{said}; {moment(window.start)} to {moment(window.end)}", class_="dim")
        for heading, panels in _rows(board):
            if heading:
                yield element("h2", heading)
            yield element("div", joined(self._card(board, panel, shown) for panel in panels), class_="board")

    def _card(self, board: Mapping[str, Any], panel: Mapping[str, Any], shown: Shown) -> Markup:
        source = str((panel.get("datasource") or {}).get("type", ""))
        if panel["type"] == "text":
            drawn = text(panel)
        elif source == "prometheus":
            drawn = draw(panel, self._prometheus, shown)
        else:
            drawn = self._elsewhere(source, shown)
        self.panels.append(
            Panel(str(board["uid"]), str(panel["title"]), str(panel["type"]), source, drawn.found, drawn.problem)
        )
        place = panel["gridPos"]
        about = str(panel.get("description") or "")
        title = element("h3", filled(str(panel["title"]), shown.values, shown.window), title=about or None)
        return element(
            "div",
            title,
            drawn.markup,
            class_="card",
            style=f"grid-column:{place['x'] + 1}/span {place['w']}",
            data_source=source or "words",
            data_found=drawn.found,
        )

    def _elsewhere(self, source: str, shown: Shown) -> Drawn:
        said = f"This panel asks {source or 'a store'}: a preview has metrics only."
        lines = self._records(shown.values, shown.window, source) if self._records is not None else ()
        if not lines:
            return Drawn(element("p", said, class_="dim"))
        told = element(
            "p", f"{said} Instead, the newest failures in the archive; not what its query asks:", class_="dim"
        )
        return Drawn(
            joined((told, element("div", joined(element("div", line) for line in lines), class_="scroll lines")))
        )


def preview(
    boards: Sequence[Mapping[str, Any]],
    prometheus: Prometheus,
    *,
    window: Callable[[Mapping[str, Any]], Window],
    given: Mapping[str, str] | None = None,
    records: Records | None = None,
) -> Preview:
    """Draw ``boards``. ``window``: the time to show of each; ``given``: values of variables, by name.

    Raises `NotAnswered` where the variables of a board cannot be asked for, `NotReached` where there is no Prometheus. A
    panel whose query fails says so in its place.
    """
    made = _Page(prometheus, given or {}, records)
    parts = [part for board in boards for part in made.board(board, window(board))]
    return Preview(
        page("Shipper dashboards, a preview", *_head(boards, prometheus), *parts),
        tuple(made.panels),
        tuple(prometheus.warnings),
    )


def _head(boards: Sequence[Mapping[str, Any]], prometheus: Prometheus) -> Iterator[Markup]:
    yield element(
        "p",
        "This is a preview and not Grafana: still pictures, drawn by shipper "
        f"{__version__} from the dashboards that it ships and the answers of {prometheus.url}. Nothing can be clicked, "
        "and colours and scales are not exactly Grafana's.",
        class_="notice",
    )
    for warning in prometheus.warnings:
        yield element("p", f"Prometheus warns: {warning}", class_="notice")
    if len(boards) > 1:
        yield element("p", joined((element("b", board["title"]) for board in boards), " · "), class_="dim")


def _rows(board: Mapping[str, Any]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Headings with the panels under them, those of closed rows too, in reading order."""
    heading, below = "", []
    for panel in board["panels"]:
        if panel["type"] != "row":
            below.append(panel)
            continue
        if below:
            yield heading, _ordered(below)
        heading, below = str(panel["title"]), list(panel.get("panels") or [])
    if below:
        yield heading, _ordered(below)


def _ordered(panels: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(panels, key=lambda panel: (panel["gridPos"]["y"], panel["gridPos"]["x"]))


def _markers(
    board: Mapping[str, Any], prometheus: Prometheus, values: Mapping[str, str], window: Window
) -> Iterator[Marker]:
    """The board's annotations that are in Prometheus: each value of each series is a moment, in ms."""
    for annotation in board.get("annotations", {}).get("list", []):
        if annotation.get("datasource", {}).get("type") != "prometheus" or not annotation.get("enable", True):
            continue
        query = filled(annotation["expr"], values, window)
        for series in prometheus.ranged(query, window.start, window.end, MARKER_PUSHES * window.push):
            title = _title(str(annotation.get("titleFormat") or annotation["name"]), series.labels)
            told = _title(str(annotation.get("textFormat") or ""), series.labels)
            for value in sorted(
                {value for _, value in series.points if window.start * 1000 <= value <= window.end * 1000}
            ):
                yield Marker(
                    value / 1000, title, str(annotation.get("iconColor", "#8e8e8e")), f"{title} {told}".strip()
                )


def _title(form: str, labels: Mapping[str, str]) -> str:
    for name, value in labels.items():
        form = form.replace(f"{{{{{name}}}}}", value)
    return form
