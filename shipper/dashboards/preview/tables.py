"""Tables: the answers of a panel's queries put together by the transformations that the shipped boards use."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shipper.dashboards.preview.asking import Series, last

Cell = float | str
Row = dict[str, Cell]


def rows(panel: Mapping[str, Any], answers: Mapping[str, Sequence[Series]]) -> tuple[list[str], list[Row]]:
    """The columns, in order and by their shown names, and the rows. ``answers``: by the queries' letters."""
    several = len(answers) > 1
    frames = [
        [_row(series, f"Value #{ref}" if several else "Value") for series in found] for ref, found in answers.items()
    ]
    made = [row for frame in frames for row in frame]
    columns = list(dict.fromkeys(name for row in made for name in row))
    for transformation in panel.get("transformations") or []:
        told = transformation.get("options") or {}
        if transformation["id"] == "merge":
            made = _merged(frames)
        elif transformation["id"] == "filterFieldsByName":
            named = (told.get("include") or {}).get("names")
            columns = [name for name in columns if named is None or name in named]
        elif transformation["id"] == "organize":
            columns, made = _organized(columns, made, told)
    return columns, _sorted(made, (panel.get("options") or {}).get("sortBy") or [])


def _row(series: Series, value: str) -> Row:
    return {**{name: text for name, text in series.labels.items() if name != "__name__"}, value: last(series)}


def _merged(frames: Sequence[Sequence[Row]]) -> list[Row]:
    """Rows that agree in all fields which every answer has are one, unless they contradict each other elsewhere."""
    filled = [frame for frame in frames if frame]
    fields = [set().union(*frame) for frame in filled]
    keys = sorted(set.intersection(*fields)) if fields else []
    by_key: dict[tuple[Cell | None, ...], list[Row]] = {}
    for row in (row for frame in filled for row in frame):
        same = by_key.setdefault(tuple(row.get(key) for key in keys), [])
        home = next((one for one in same if all(one.get(name, value) == value for name, value in row.items())), None)
        if home is None:
            same.append(dict(row))
        else:
            home.update(row)
    return [row for same in by_key.values() for row in same]


def _organized(columns: Iterable[str], made: Iterable[Row], told: Mapping[str, Any]) -> tuple[list[str], list[Row]]:
    places, names = told.get("indexByName") or {}, told.get("renameByName") or {}
    gone = {name for name, excluded in (told.get("excludeByName") or {}).items() if excluded}
    kept = sorted((name for name in columns if name not in gone), key=lambda name: places.get(name, len(places)))
    renamed = [{str(names.get(name) or name): row[name] for name in kept if name in row} for row in made]
    return list(dict.fromkeys(str(names.get(name) or name) for name in kept)), renamed


def _sorted(made: list[Row], sort_by: Sequence[Mapping[str, Any]]) -> list[Row]:
    for told in reversed(sort_by):
        name, down = str(told.get("displayName", "")), bool(told.get("desc"))
        there = [row for row in made if name in row]
        there.sort(key=lambda row: _order(row[name]), reverse=down)
        made = there + [row for row in made if name not in row]
    return made


def _order(cell: Cell) -> tuple[str, float]:
    """Numbers by size, what is no number below all of them; texts after them."""
    if isinstance(cell, str):
        return cell or " ", 0.0
    return "", -math.inf if math.isnan(cell) else cell
