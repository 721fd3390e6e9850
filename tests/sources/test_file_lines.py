"""How bytes become records: line ends, encodings, long lines, unfinished lines."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from shipper.sources.file.lines import Rendered, Window, border_near, due_end, pieces, render

LIMIT = 64


def attributes(extra: bytes) -> dict[str, object]:
    """The attributes in encoded record fields."""
    record = LogRecord.FromString(extra)
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in record.attributes}


def rendered(
    data: bytes, *, at: int = 0, end: int | None = None, line: int | None = None, limit: int = LIMIT
) -> Rendered:
    return render(Window(data, 0), at, len(data) if end is None else end, at if line is None else line, limit)


def shown(result: Rendered) -> list[tuple[bytes, dict[str, object]]]:
    extra = result.extra or {}
    return [(line, attributes(extra.get(index, b""))) for index, line in enumerate(result.lines)]


def ship(data: bytes, steps: list[tuple[int, bool]], limit: int) -> list[tuple[int, int, int, Rendered]]:
    """Cut ``data`` as it grows to each size (with the hold over or not), then to its end."""
    at = line = 0
    cuts = []
    for size, due in [*steps, (len(data), False)]:
        while at < size:
            window = Window(data[:size], 0)
            end = due_end(window, at, line, limit, due=due, closing=False)
            if end == at:
                break
            result = render(window, at, end, line, limit)
            cuts.append((at, end, line, result))
            at, line = end, result.next_resume
    window = Window(data, 0)
    while at < len(data):
        end = due_end(window, at, line, limit, due=True, closing=True)
        result = render(window, at, end, line, limit)
        cuts.append((at, end, line, result))
        at, line = end, result.next_resume
    return cuts


def joined(cuts: list[tuple[int, int, int, Rendered]]) -> list[bytes]:
    """The lines a reader gets who puts marked pieces together again."""
    lines: list[bytes] = []
    for _, _, _, result in cuts:
        for body, attrs in shown(result):
            whole = bytes(attrs.get("log.record.original", body))  # type: ignore[arg-type]
            if attrs.get("shipper.line.continued") or attrs.get("shipper.line.part", 0):
                lines[-1] += whole
            else:
                lines.append(whole)
    return lines


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"a\nb\n", [b"a", b"b"]),
        (b"\n\n", [b"", b""]),
        (b"  \n\t\n", [b"  ", b"\t"]),
        (b"a\r\nb\r\n", [b"a", b"b"]),
        (b"\r\n", [b""]),
        (b"progress 1\rprogress 2\rdone\n", [b"progress 1\rprogress 2\rdone"]),
        (b"a\r\r\n", [b"a\r"]),
        (b"nul \x00 here\n", [b"nul \x00 here"]),
        (b"\xef\xbb\xbffirst\nsecond\n", [b"first", b"second"]),
        (b"first\n\xef\xbb\xbfsecond\n", [b"first", b"\xef\xbb\xbfsecond"]),
        ("grüße\n".encode(), ["grüße".encode()]),
    ],
)
def test_line_ends_and_content(data: bytes, lines: list[bytes]) -> None:
    """Case 3: empty lines, spaces, CRLF, lone CR, NUL and a byte order mark are treated as a reader expects."""
    assert shown(rendered(data)) == [(line, {}) for line in lines]


def test_invalid_utf8_keeps_the_original() -> None:
    """Case 3: what is not UTF-8 is replaced in the text, its bytes are kept beside, and lines around are untouched."""
    assert shown(rendered(b"ok\nbad \xff\xfe!\nok\n")) == [
        (b"ok", {}),
        ("bad \ufffd\ufffd!".encode(), {"log.record.original": b"bad \xff\xfe!"}),
        (b"ok", {}),
    ]


def test_a_long_line_is_split_and_marked() -> None:
    """Case 4: a line over the limit comes in parts with their number, the last one marked; its neighbours are whole."""
    data = b"short\n" + b"x" * 150 + b"\nshort\n"
    assert shown(rendered(data)) == [
        (b"short", {}),
        (b"x" * 64, {"shipper.line.part": 0, "shipper.line.last": False}),
        (b"x" * 64, {"shipper.line.part": 1, "shipper.line.last": False}),
        (b"x" * 22, {"shipper.line.part": 2, "shipper.line.last": True}),
        (b"short", {}),
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_line_of_exactly_the_limit_is_whole(end: bytes) -> None:
    """Case 4: the line end does not count for the limit, whichever it is."""
    assert shown(rendered(b"x" * 64 + end)) == [(b"x" * 64, {})]
    window = Window(b"x" * 64 + end[:-1], 0)
    assert due_end(window, 0, 0, LIMIT, due=False, closing=False) == 0


def test_a_part_never_ends_inside_a_character() -> None:
    """Case 4: a split moves back to the beginning of a UTF-8 sequence."""
    text = "ab" + "€" * 40
    parts = shown(rendered(text.encode() + b"\n"))
    assert len(parts) == 2
    assert b"".join(body for body, _ in parts).decode() == text
    assert all(body.decode() for body, _ in parts)


def test_an_unfinished_line_is_held_then_sent_once() -> None:
    """Case 1: without its end a line waits; when due it is sent and marked, and only the remainder follows."""
    window = Window(b"half", 0)
    assert due_end(window, 0, 0, LIMIT, due=False, closing=False) == 0
    end = due_end(window, 0, 0, LIMIT, due=True, closing=False)
    first = render(window, 0, end, 0, LIMIT)
    assert shown(first) == [(b"half", {"shipper.line.incomplete": True})]
    rest = render(Window(b"half and half\nnext\n", 0), end, 19, first.next_resume, LIMIT)
    assert shown(rest) == [(b" and half", {"shipper.line.continued": True}), (b"next", {})]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_late_end_of_a_sent_line_makes_no_record(end: bytes) -> None:
    """Case 1: when only the line end comes later it is consumed, with no record for it."""
    result = rendered(b"half" + end + b"next\n", at=4, line=0)
    assert shown(result) == [(b"next", {})]
    assert rendered(b"half" + end, at=4, line=0).lines == []


@pytest.mark.parametrize("tail", [b"\r", "€".encode()[:2], "€".encode()[:1] + b"\r"])
def test_half_a_line_end_and_half_a_character_wait(tail: bytes) -> None:
    """Case 2: a hold that runs out between CR and LF, or inside a character, keeps back what is not whole."""
    window = Window(b"text" + tail, 0)
    assert due_end(window, 0, 0, LIMIT, due=True, closing=False) == 4
    assert due_end(window, 4, 0, LIMIT, due=True, closing=False) == 4
    assert due_end(window, 4, 0, LIMIT, due=True, closing=True) == window.end


def test_at_the_end_of_a_drain_everything_is_consumed() -> None:
    """Case 1: when nothing will come any more an unfinished line goes out, and half a line end does not hold anything up."""
    assert shown(render(Window(b"last\r", 0), 0, 5, 0, LIMIT)) == [(b"last", {"shipper.line.incomplete": True})]
    assert render(Window(b"last\r", 0), 4, 5, 0, LIMIT).lines == []


content = st.lists(
    st.one_of(
        st.sampled_from(
            [b"\n", b"\r\n", b"\r", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xe2\x82", b"x" * 15, b"x" * 16, b"y" * 40]
        ),
        st.text(max_size=8).map(lambda text: text.encode("utf-8", "replace")),
    ),
    max_size=25,
).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(
    data=content,
    data_steps=st.lists(st.tuples(st.integers(0, 200), st.booleans()), max_size=6),
    limit=st.integers(16, 40),
)
def test_every_byte_once_however_it_grows(data: bytes, data_steps: list[tuple[int, bool]], limit: int) -> None:
    """Cases 1-4: cut while it grows, at any sizes and holds, the ranges join up and the text is that of the file."""
    steps = sorted((min(size, len(data)), due) for size, due in data_steps)
    cuts = ship(data, steps, limit)
    assert [cut[0] for cut in cuts[:1]] == [0] * bool(data)
    assert all(one[1] == other[0] for one, other in pairwise(cuts))
    assert (cuts[-1][1] if cuts else 0) == len(data)
    got = b"\n".join(joined(cuts))
    expected = data.removeprefix(b"\xef\xbb\xbf")
    strip = bytes.maketrans(b"", b"")
    assert got.translate(strip, b"\r\n") == expected.translate(strip, b"\r\n")


@settings(max_examples=200, deadline=None)
@given(data=content.filter(lambda each: b"\r" not in each), limit=st.integers(16, 40))
def test_lines_are_those_of_the_file(data: bytes, limit: int) -> None:
    """Cases 3 and 4: put together again, the records are exactly the lines of the file."""
    data = data.replace(b"\xef\xbb\xbf", b"") + b"\n"
    assert joined(ship(data, [], limit)) == data.split(b"\n")[:-1]


@settings(max_examples=300, deadline=None)
@given(
    data=content,
    data_steps=st.lists(st.tuples(st.integers(0, 200), st.booleans()), max_size=6),
    limit=st.integers(16, 40),
)
def test_a_range_is_rendered_the_same_again(data: bytes, data_steps: list[tuple[int, bool]], limit: int) -> None:
    """Case 30: what a range renders to does not depend on what came behind it since, and halves make up the whole."""
    steps = sorted((min(size, len(data)), due) for size, due in data_steps)
    for at, end, line, first in ship(data, steps, limit):
        base = max(0, at - 64)
        window = Window(data[base:], base)
        closing_cut = end == len(data) and not data.endswith(b"\n")
        if not closing_cut:
            assert render(window, at, end, line, limit) == first
        border = border_near(pieces(window, at, end, line, limit), (at + end) // 2)
        assert (border is None) == (len(first.lines) < 2)
        if border is not None:
            middle, resume = border
            left, right = render(window, at, middle, line, limit), render(window, middle, end, resume, limit)
            assert left.lines
            assert right.lines
            assert shown(left) + shown(right) == shown(first)
            assert (left.next_resume, right.next_resume) == (resume, first.next_resume)
