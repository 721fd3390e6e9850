"""Syslog messages in a stream of bytes: both framings, however the bytes are cut, with bounded memory."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shipper.sources.syslog.framing import Framer, Piece, pieces


def cut(data: bytes, steps: Sequence[int] = (), limit: int = 1000) -> list[Piece]:
    """The pieces of a connection whose bytes come in steps of these sizes, then all at once."""
    framer, found, at = Framer(limit), list[Piece](), 0
    for step in [*steps, len(data)]:
        found += framer.feed(data[at : at + step])
        assert framer.held <= limit + 16
        at += step
    return found + list(framer.finish())


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"<1>a\n<2>b\n", [b"<1>a", b"<2>b"]),
        (b"<1>a\r\n<2>b\0<3>c", [b"<1>a", b"<2>b", b"<3>c"]),
        (b"4 <1>a4 <2>b", [b"<1>a", b"<2>b"]),
        (b"6 <1>a\nb5 <2>b\n<3>c\n4 <4>d", [b"<1>a\nb", b"<2>b", b"<3>c", b"<4>d"]),
        (b"no priority\n12 bottles\n", [b"no priority", b"12 bottles"]),
        (b"\n\n<1>a\n\n", [b"<1>a"]),
        (b"", []),
        (b"123", [b"123"]),
        (b"0 <1>a\n", [b"0 <1>a"]),
    ],
)
def test_both_framings_and_a_change_between_them(data: bytes, expected: list[bytes]) -> None:
    """Each message is framed in its own way: counted, or ended by a line feed, a zero byte or the end of the connection."""
    assert [piece.data for piece in cut(data)] == expected
    assert [piece.data for piece in cut(data, [1] * len(data))] == expected


MESSAGES = st.lists(
    st.tuples(st.binary(min_size=1, max_size=60), st.booleans()).map(
        lambda made: (b"<13>" + (made[0] if made[1] else made[0].translate(None, b"\n\0\r") + b"."), made[1])
    ),
    max_size=8,
)


@given(MESSAGES, st.lists(st.integers(1, 40), max_size=30))
@hypothesis_settings(max_examples=300, deadline=None)
def test_messages_are_what_was_sent_however_bytes_are_cut(messages: list[tuple[bytes, bool]], steps: list[int]) -> None:
    """Any messages, each counted or ended, come out as they went in, whatever the sizes in which bytes arrive."""
    data = b"".join(b"%d %s" % (len(text), text) if counted else text + b"\n" for text, counted in messages)
    found = cut(data, steps)
    assert [piece.data for piece in found] == [text.rstrip(b"\r\n\0") for text, _ in messages]
    assert all(piece.part == 0 for piece in found)


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), max_size=30), st.integers(8, 40))
@hypothesis_settings(max_examples=300, deadline=None)
def test_any_bytes_give_the_same_whole_in_bounded_memory(data: bytes, steps: list[int], limit: int) -> None:
    """Random bytes give the same texts whatever their cutting, no piece is larger than the limit, nothing is left out."""
    found = cut(data, steps, limit)
    assert all(len(piece.data) <= limit + 1 for piece in found)
    joined = b"".join(piece.data for piece in found)
    kept = data.translate(None, b"\r\n\0 0123456789")
    assert joined.translate(None, b"\r\n\0 0123456789") == kept


@pytest.mark.parametrize("text", [b"<13>" + b"x" * 2500 + b"\n<14>y\n", b"2504 <13>" + b"x" * 2500 + b"5 <14>y"])
@pytest.mark.parametrize("steps", [(), (1,) * 2600, (999, 1, 1, 999)])
def test_a_long_message_is_split_and_its_parts_are_marked(text: bytes, steps: tuple[int, ...]) -> None:
    """A message over the limit comes in numbered parts, of which only the last is the last; the next one is whole."""
    found = cut(text, steps)
    assert [(piece.part, piece.last) for piece in found] == [(1, False), (2, False), (3, True), (0, True)]
    assert b"".join(piece.data for piece in found[:3]) == b"<13>" + b"x" * 2500
    assert found[3].data.startswith(b"<14>y"[:4])


def test_characters_are_not_split() -> None:
    """A part ends where a character ends."""
    found = cut("<13>ü".encode() + "ü".encode() * 999 + b"\n", limit=1001)
    assert len(found) == 3
    for piece in found:
        piece.data.decode()


def test_a_counted_message_that_breaks_off_is_marked() -> None:
    """When a connection ends within a counted message, what came of it is kept and marked."""
    (piece,) = cut(b"100 <13>half")
    assert (piece.data, piece.cut_off) == (b"<13>half", True)
    assert cut(b"<13>whole")[0].cut_off is False


def test_datagrams() -> None:
    """A datagram is a message without its line end; a long one comes in parts."""
    assert list(pieces(b"<13>x\n\0", 100, cut_off=False)) == [Piece(b"<13>x")]
    assert list(pieces(b"", 100, cut_off=False)) == [Piece(b"")]
    assert [(p.data, p.part, p.last) for p in pieces(b"a" * 25, 10, cut_off=True)] == [
        (b"a" * 10, 1, False),
        (b"a" * 10, 2, False),
        (b"a" * 5, 3, True),
    ]
