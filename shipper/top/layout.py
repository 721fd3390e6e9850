"""Fits what there is to say into the terminal that there is: every line as wide as it, all lines as high as it.

A number is never cut, since half a number is a wrong one: names give way first, then rows (which are counted), then whole
columns from the right. Nothing from outside reaches the terminal as a control sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from shipper.fleet.lines import printable

MIN_NAME = 6  # columns that a name keeps
MAX_WRAPPED = 3  # lines that a sentence may take
_GAP = 2


@dataclass(frozen=True, slots=True)
class Column:
    """A heading; ``number`` columns are set right and never cut; of a ``path`` the end is kept, which tells files apart."""

    title: str
    number: bool = False
    path: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A table. ``rows`` in order of importance; a row is red where its place is in ``marked``. ``further``: how many rows
    there are beside these."""

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[str]]
    marked: frozenset[int] = frozenset()
    further: int = 0


@dataclass(frozen=True, slots=True)
class Sentence:
    """A line of words; ``style`` is one of rich's."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """All there is to show at one moment, the most important first."""

    parts: list[Sentence | Section] = field(default_factory=list)

    def say(self, text: str, style: str = "") -> None:
        """Add a sentence, unless it is empty."""
        if text:
            self.parts.append(Sentence(text, style))

    def table(
        self,
        columns: tuple[Column, ...],
        rows: Sequence[Sequence[str]],
        marked: frozenset[int] = frozenset(),
        further: int = 0,
    ) -> None:
        """Add a table, unless it has no rows."""
        if rows:
            self.parts.append(Section(columns, rows, marked, further))


def laid_out(view: View, width: int, height: int | None) -> list[Text]:
    """The lines of a view; no limit where ``height`` is None."""
    blocks = [_sentence(part, width) if isinstance(part, Sentence) else _table(part, width) for part in view.parts]
    if height is None:
        return _spaced(view, blocks)
    _shrink(view, blocks, height)
    lines = _spaced(view, blocks)
    if len(lines) > height:
        lines = [line for block in blocks for line in block]
    return lines[:height]


def _spaced(view: View, blocks: list[list[Text]]) -> list[Text]:
    """An empty line before each table."""
    lines: list[Text] = []
    for part, block in zip(view.parts, blocks, strict=True):
        lines += ([Text()] if isinstance(part, Section) and lines else []) + block
    return lines


def _shrink(view: View, blocks: list[list[Text]], height: int) -> None:
    """Take rows from the longest table until all fits; each keeps its heading, a row, and how many more there are."""
    tables = {place: part for place, part in enumerate(view.parts) if isinstance(part, Section)}
    whole = {place: blocks[place] for place in tables}
    shown = {place: len(table.rows) for place, table in tables.items()}
    while sum(map(len, blocks)) > height:
        longest = max(shown, key=shown.__getitem__, default=None)
        if longest is None or shown[longest] <= 1:
            return
        shown[longest] -= 1
        left = len(tables[longest].rows) - shown[longest] + tables[longest].further
        blocks[longest] = [*whole[longest][: 1 + shown[longest]], _more(left)]


def _more(count: int) -> Text:
    return Text(f"... and {count:,} more", style="dim")


def _sentence(part: Sentence, width: int) -> list[Text]:
    lines: list[str] = []
    line = ""
    for word in printable(part.text).split(" "):
        if line and cell_len(line) + 1 + cell_len(word) > width:
            lines.append(line)
            line = "  " + word
        else:
            line = f"{line} {word}" if line else word
    lines.append(line)
    if len(lines) > MAX_WRAPPED:
        lines = [*lines[: MAX_WRAPPED - 1], lines[MAX_WRAPPED - 1] + " ..."]
    return [Text(_cut(line, width), style=part.style) for line in lines]


def _table(part: Section, width: int) -> list[Text]:
    rows = [[printable(cell) for cell in row] for row in part.rows]
    natural = [
        max(cell_len(column.title), *(cell_len(row[place]) for row in rows))
        for place, column in enumerate(part.columns)
    ]
    widths = _widths(natural, part.columns, width)
    heading = _row([column.title for column in part.columns], part.columns, widths)
    lines = [Text(heading, style="bold")]
    for place, row in enumerate(rows):
        lines.append(Text(_row(row, part.columns, widths), style="red" if place in part.marked else ""))
    return [*lines, _more(part.further)] if part.further else lines


def _widths(natural: list[int], columns: Sequence[Column], width: int) -> list[int]:
    """Widths that fit: the widest names give way first; where that is not enough, columns go from the right."""
    widths = list(natural)
    while True:
        names = [p for p in range(len(widths)) if not columns[p].number and widths[p] > MIN_NAME]
        if sum(widths) + _GAP * (len(widths) - 1) <= width or not widths:
            return widths
        if names:
            widths[max(names, key=widths.__getitem__)] -= 1
        else:
            widths = natural[: len(widths) - 1]


def _row(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    out = []
    for cell, column, width in zip(cells, columns, widths, strict=False):
        cut = _cut_front(cell, width) if column.path else _cut(cell, width)
        out.append(" " * (width - cell_len(cut)) + cut if column.number else set_cell_size(cut, width))
    return (" " * _GAP).join(out).rstrip()


def _cut(text: str, width: int) -> str:
    """At most ``width`` columns; what is missing is shown as an ellipsis."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)).rstrip() + "…" if width else ""


def _cut_front(text: str, width: int) -> str:
    """The same, from the other end."""
    return _cut(text[::-1], width)[::-1]
