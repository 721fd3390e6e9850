"""Whatever there is to say and however small the terminal: it fits, and what is shown is true."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from shipper.top.layout import Column, Section, Sentence, View, laid_out
from shipper.top.words import rate, ratio, size, span

TEXT = st.text(max_size=60)
NUMBER = st.integers(min_value=0, max_value=10**12).map(lambda n: f"{n:,}")


@st.composite
def sections(draw: st.DrawFn) -> Section:
    """A table of names, paths and numbers."""
    kinds = draw(st.lists(st.sampled_from(["name", "path", "number"]), min_size=1, max_size=8))
    columns = tuple(Column(f"c{i}", number=kind == "number", path=kind == "path") for i, kind in enumerate(kinds))
    row = st.tuples(*(NUMBER if kind == "number" else TEXT for kind in kinds))
    return Section(columns, draw(st.lists(row, min_size=1, max_size=40)), further=draw(st.integers(0, 5)))


VIEWS = st.lists(st.builds(Sentence, st.text(max_size=400)) | sections(), max_size=6).map(View)


@settings(max_examples=150, deadline=None)
@given(VIEWS, st.integers(20, 140), st.integers(4, 60))
def test_any_view_fits_any_terminal(view: View, columns: int, lines: int) -> None:
    """No line is wider, there are no more lines than the terminal has, and no control character is among them."""
    found = laid_out(view, columns, lines)
    assert len(found) <= lines
    for line in found:
        assert cell_len(line.plain) <= columns
        assert all(char.isprintable() or char == "\t" for char in line.plain)


@settings(max_examples=100, deadline=None)
@given(sections(), st.integers(20, 140))
def test_a_number_is_shown_whole_or_not_at_all(section: Section, columns: int) -> None:
    """There are as many whole numbers in a line as headings of numbers in the first one, or the cell is cut with a mark."""
    heading, *rows = (line.plain for line in laid_out(View([section]), columns, None))
    numbers = [
        place for place, column in enumerate(section.columns) if column.number and f"c{place}" in heading.split()
    ]
    for line, row in zip(rows, section.rows, strict=False):
        assert all(row[place] in line for place in numbers)


def test_rows_that_do_not_fit_are_counted() -> None:
    """The longest table gives way first, and says how many rows more there are."""
    long = Section((Column("long"),), [(f"row {number}",) for number in range(30)])
    short = Section((Column("short"),), [("one",), ("two",)])
    text = [line.plain for line in laid_out(View([short, long]), 40, 12)]
    assert len(text) <= 12
    assert {"one", "two"} <= set(text)
    shown = sum(line.startswith("row ") for line in text)
    assert f"... and {30 - shown} more" in text


def test_of_a_path_the_end_stays() -> None:
    """Two files of one directory can be told apart however narrow it is."""
    table = Section((Column("stream", path=True), Column("n", number=True)), [(f"/var/log/{'x' * 80}/app.log", "17")])
    _, line = (line.plain for line in laid_out(View([table]), 30, None))
    assert line.startswith("…")
    assert "app.log" in line
    assert line.endswith("17")


def test_a_control_sequence_in_a_name_does_not_reach_the_terminal() -> None:
    """It is shown as what it is."""
    table = Section((Column("host"),), [("\x1b]0;mine\x07",)])
    lines = [line.plain for line in laid_out(View([Sentence("\x1b[2J"), table]), 80, None)]
    assert lines[0] == "\\x1b[2J"
    assert lines[-1] == "\\x1b]0;mine\\x07"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 ms"), (0.04, "40 ms"), (0.9996, "1.0 s"), (3.21, "3.2 s"), (9.96, "10 s"), (59.6, "1m 00s"),
     (125, "2m 05s"), (7500, "2h 05m"), (90_000, "1d 01h")],
)  # fmt: skip
def test_a_span_has_two_units_at_most(seconds: float, text: str) -> None:
    """And never 60 of the smaller one."""
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_960, "100 kB"), (1_234_567, "1.2 MB")]
)
def test_a_size_has_two_digits_or_more(count: int, text: str) -> None:
    """In decimal units, as the metrics have them."""
    assert size(count) == text


def test_a_share_of_nothing_is_nothing() -> None:
    """Without requests there is no error ratio: that is not 0 %."""
    assert ratio(0, 0) == ""
    assert ratio(5, 200) == "2.50%"
    assert rate(2.04) == "2.0"
    assert rate(12_345.6) == "12,346"
