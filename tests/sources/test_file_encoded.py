"""Files in other encodings than UTF-8: the same framing, positions of the bytes in the file, texts decoded."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from shipper.shape import Multiline
from shipper.sources.file.encoded import EncodedForm, marked, unit_of
from shipper.sources.file.form import EventForm, LineForm
from shipper.sources.file.lines import Rendered, Window, border_near

WIDE = ("utf-16le", "utf-16be")
ENCODINGS = (*WIDE, "latin-1", "windows-1252")
text = st.lists(
    st.sampled_from(["a", "bc", "\n", "\r\n", "é", "ÿ", "\x0a", "x" * 30]) | st.characters(max_codepoint=0xFF),
    max_size=30,
).map("".join)
wide_text = st.lists(
    st.sampled_from(["a", "\n", "\r\n", "Ċ", "਀", "ऍ", "😀", "\u0d0a", "y" * 30]) | st.characters(codec="utf-8"),
    max_size=30,
).map("".join)


def attributes(extra: bytes) -> dict[str, object]:
    record = LogRecord.FromString(extra)
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in record.attributes}


def shown(result: Rendered) -> list[tuple[bytes, dict[str, object]]]:
    extra = result.extra or {}
    return [(line, attributes(extra.get(index, b""))) for index, line in enumerate(result.lines)]


def line_form(encoding: str, limit: int = 64) -> EncodedForm:
    return EncodedForm(LineForm(limit), encoding, joins=False)


def ship(form: EncodedForm, data: bytes, steps: list[tuple[int, bool]]) -> list[tuple[int, int, int, Rendered]]:
    """Cut ``data`` as it grows to each size (with the hold over or not), then to its end."""
    at = event = 0
    cuts = []
    for size, due, closing in [*((size, due, False) for size, due in steps), (len(data), True, True)]:
        while at < size:
            window = Window(data[max(0, at - 64) : size], max(0, at - 64))
            end = form.end(window, at, event, due=due, closing=closing, wide=False)
            if end == at:
                break
            result = form.render(window, at, end, event)
            cuts.append((at, end, event, result))
            at, event = end, result.next_resume
    return cuts


def joined(cuts: list[tuple[int, int, int, Rendered]]) -> list[str]:
    """The lines a reader gets who puts marked pieces together again."""
    lines: list[str] = []
    for _, _, _, result in cuts:
        for body, attrs in shown(result):
            if attrs.get("shipper.line.continued") or attrs.get("shipper.line.part", 0):
                lines[-1] += body.decode()
            else:
                lines.append(body.decode())
    return lines


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_lines_of_an_encoding(encoding: str) -> None:
    """Case 7, T-10: lines end where their encoding ends them, with either line end, and arrive as UTF-8."""
    data = "first é\nsecond\r\n\nfourth ÿþ\n".encode(encoding)
    form = line_form(encoding)
    assert [line.decode() for line in form.render(Window(data, 0), 0, len(data), 0).lines] == [
        "first é",
        "second",
        "",
        "fourth ÿþ",
    ]


@pytest.mark.parametrize("encoding", WIDE)
def test_bytes_that_look_like_line_ends(encoding: str) -> None:
    """Case 7: characters whose bytes are those of a line end, alone or together with a neighbour, end no line."""
    line = "\u0a0d\u0d0a਀\u0a00 Ċ\u010a\u000b"
    data = f"\ufeff{line}\nnext\n".encode(encoding)
    assert marked(data) == encoding
    assert line_form(encoding).render(Window(data, 0), 0, len(data), 0).lines == [line.encode(), b"next"]


@pytest.mark.parametrize("encoding", WIDE)
def test_half_a_unit_and_half_a_pair_wait_for_the_rest(encoding: str) -> None:
    """Case 2: a hold that runs out in the middle of a unit, or between the halves of a pair, keeps back what is not whole."""
    data = "ab😀".encode(encoding)
    for size, whole in ((3, 2), (5, 4), (6, 4), (7, 4), (8, 8)):
        window = Window(data[:size], 0)
        assert line_form(encoding).end(window, 0, 0, due=True, closing=False, wide=False) == whole
        assert line_form(encoding).end(window, 0, 0, due=True, closing=True, wide=False) == size


@pytest.mark.parametrize("encoding", WIDE)
def test_what_cannot_be_decoded_keeps_its_bytes(encoding: str) -> None:
    """Case 3: half a pair, and half a unit at the very end, are replaced in the text and kept beside it."""
    lone = "\ud83d".encode(encoding, "surrogatepass")
    data = "a".encode(encoding) + lone + "\nb\n".encode(encoding) + b"\x41"
    result = line_form(encoding).render(Window(data, 0), 0, len(data), 0)
    assert shown(result) == [
        ("a\ufffd".encode(), {"log.record.original": "a".encode(encoding) + lone}),
        (b"b", {}),
        ("\ufffd".encode(), {"log.record.original": b"\x41"}),
    ]


def test_only_a_mark_is_no_line() -> None:
    """Case 3: a file of nothing but a byte order mark waits for its first line."""
    form = line_form("utf-16le")
    window = Window(b"\xff\xfe", 0)
    assert form.end(window, 0, 0, due=True, closing=False, wide=False) == 0
    assert form.render(window, 0, 2, 0).lines == []


def test_events_of_several_lines() -> None:
    """Case 36: lines are joined in any encoding by rules that look at ASCII."""
    rule = Multiline.of("indent", "", 0.5, 500, 1 << 20)
    data = "\ufeffError: é\r\n  at one\r\n  at two\r\nnext\r\n".encode("utf-16le")
    form = EncodedForm(EventForm(rule), "utf-16le", joins=True)
    assert form.render(Window(data, 0), 0, len(data), 0).lines == ["Error: é\n  at one\n  at two".encode(), b"next"]


@settings(max_examples=150, deadline=None)
@given(
    content=st.one_of(
        st.tuples(st.sampled_from(WIDE), wide_text),
        st.tuples(st.just("latin-1"), text),
    ),
    data_steps=st.lists(st.tuples(st.integers(0, 200), st.booleans()), max_size=6),
    limit=st.integers(16, 40),
)
def test_every_byte_once_and_the_same_again(
    content: tuple[str, str], data_steps: list[tuple[int, bool]], limit: int
) -> None:
    """Cases 1-4, 7, 30: in any encoding ranges join up, the text is that of the file, and a range renders the same again."""
    encoding, written = content
    data = written.encode(encoding)
    form = line_form(encoding, limit)
    cuts = ship(form, data, sorted((min(size, len(data)), due) for size, due in data_steps))
    assert all(one[1] == other[0] for one, other in pairwise(cuts))
    assert (cuts[-1][1] if cuts else 0) == len(data)
    got = "\n".join(joined(cuts)).replace("\r", "").replace("\n", "").replace("\ufeff", "")
    assert got == written.replace("\r", "").replace("\n", "").replace("\ufeff", "")
    for at, end, event, first in cuts:
        assert at % unit_of(encoding) == end % unit_of(encoding) == 0
        window = Window(data[max(0, at - 64) :], max(0, at - 64))
        assert shown(form.render(window, at, end, event)) == shown(first)
        border = border_near(form.pieces(window, at, end, event), (at + end) // 2)
        if border is not None:
            middle, resume = border
            left, right = form.render(window, at, middle, event), form.render(window, middle, end, resume)
            assert shown(left) + shown(right) == shown(first)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=120), encoding=st.sampled_from(ENCODINGS), limit=st.integers(16, 40))
def test_any_bytes_are_consumed(data: bytes, encoding: str, limit: int) -> None:
    """Whatever the bytes are, all are consumed, and what stands in the records is UTF-8."""
    cuts = ship(line_form(encoding, limit), data, [])
    assert (cuts[-1][1] if cuts else 0) == len(data)
    for _, _, _, result in cuts:
        for line in result.lines:
            line.decode()
