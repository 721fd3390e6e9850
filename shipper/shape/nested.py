"""Objects in objects as fields with dotted names: ``{"http": {"status": 200}}`` is the field ``http.status``.

Many that keep logs have no place for a map in an attribute, and where there is one it cannot be searched; a dotted name can be
everywhere. Of two fields that would get the same name (``{"a.b": 1, "a": {"b": 2}}``) the one whose names come later in the
alphabet, part by part, is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any

from shipper.shape.columns import ABSENT, Table

Path = tuple[str, ...]

MOST_KEYS = 64  # different names in the objects of one column
MOST_LEVELS = 8  # what lies deeper stays an object


class TooWide(Exception):
    """The objects of a column have too many different names for a column each."""


def expand(columns: Sequence[tuple[Path, list[Any]]]) -> dict[str, list[Any]]:
    """Columns of values, also of objects, as columns by dotted name. Raises `TooWide`."""
    leaves: list[tuple[Path, list[Any]]] = []
    for path, values in columns:
        _open(path, values, leaves)
    if len({".".join(path) for path, _ in leaves}) < len(leaves):
        leaves.sort(key=_path)
    found: dict[str, list[Any]] = {}
    for path, values in leaves:
        name = ".".join(path)
        before = found.get(name)
        if before is not None:
            values = [old if new is ABSENT else new for old, new in zip(before, values, strict=True)]
        found[name] = values
    return found


def _path(leaf: tuple[Path, Any]) -> Path:
    return leaf[0]


def _open(path: Path, values: list[Any], leaves: list[tuple[Path, list[Any]]]) -> None:
    """Put the column to ``leaves``, or in place of objects in it their fields."""
    kinds = set(map(type, values))
    if dict not in kinds or len(path) == MOST_LEVELS:
        leaves.append((path, values))
        return
    names = tuple(values[0]) if len(kinds) == 1 else ()
    if names and set(map(len, values)) == {len(names)}:  # the usual case: all have the same names
        if len(names) > MOST_KEYS:
            raise TooWide
        with suppress(KeyError):
            columns = [list(map(itemgetter(name), values)) for name in names]
            for name, column in zip(names, columns, strict=True):
                _open((*path, name), column, leaves)
            return
    rows = [row for row, value in enumerate(values) if type(value) is dict and value]
    rest = values.copy()
    for row in rows:
        rest[row] = ABSENT
    leaves.append((path, rest))
    seen = {name: None for row in rows for name in values[row]}
    if len(seen) > MOST_KEYS:
        raise TooWide
    for name in seen:
        spread: list[Any] = [ABSENT] * len(values)
        for row in rows:
            spread[row] = values[row].get(name, ABSENT)
        _open((*path, name), spread, leaves)


def by_keys(objects: Sequence[tuple[int, dict[str, Any]]]) -> list[Table]:
    """The same one object at a time, for those of no fixed form; each comes with the index of its text."""
    return by_names(
        (row, {".".join(path): leaf for path, leaf in sorted(_leaves((), value), key=_path)}) for row, value in objects
    )


def by_names(texts: Iterable[tuple[int, dict[str, Any]]]) -> list[Table]:
    """A table for each set of fields; what is given for a text is its index and its fields by dotted name."""
    groups: dict[tuple[str, ...], tuple[list[int], list[list[Any]]]] = {}
    for row, flat in texts:
        rows, values = groups.setdefault(tuple(flat), ([], []))
        rows.append(row)
        values.append(list(flat.values()))
    return [
        Table(rows, {name: list(column) for name, column in zip(names, zip(*values, strict=True), strict=True)})
        for names, (rows, values) in groups.items()
    ]


def _leaves(path: Path, value: dict[str, Any]) -> Iterator[tuple[Path, Any]]:
    for name, inner in value.items():
        if isinstance(inner, dict) and inner and len(path) + 1 < MOST_LEVELS:
            yield from _leaves((*path, name), inner)
        else:
            yield (*path, name), inner
