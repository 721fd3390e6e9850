"""Which lines are one event, held against a reference that looks at one line after the other."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.shape import Kind, Multiline, Parts

RULES = [Multiline.of("start", r"^\d"), Multiline.of("continuation", r"^(\s|$|Caused by)"), Multiline.of("indent")]
LINES = st.sampled_from(
    [b"1 info", b"plain", b"", b"  at x", b"\tat y", b"Caused by: z", b"\xc3\xa9t\xc3\xa9", b"a" * 70]
)
TEXTS = st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\n", b"\r\n"])), min_size=1, max_size=30)


def reference(rule: Multiline, chunk: bytes, *, inside: bool = False, inner: bool = False) -> Parts:
    """The same by looking at each line in turn."""
    starts, continued, inners = [], set(), set()
    held = at = 0

    def begin(position: int, goes_on: bool, in_line: bool) -> None:
        nonlocal held
        held = 0
        if goes_on:
            continued.add(len(starts))
        if in_line:
            inners.add(len(starts))
        starts.append(position)

    for number, raw in enumerate(re.findall(rb"[^\n]*\n|[^\n]+", chunk)):
        text = raw.removesuffix(b"\n")
        found = rule.pattern.search(text.removesuffix(b"\r")[:1024]) is not None
        begins = found == (rule.kind == "start")
        if number == 0:
            mid = inside and inner
            begin(at, inside and (inner or not begins), mid)
        elif begins:
            begin(at, False, False)
        elif held == rule.max_lines or at + len(text) - starts[-1] > rule.max_bytes:
            begin(at, True, False)
        while at + len(text) - starts[-1] > rule.max_bytes:
            border = starts[-1] + rule.max_bytes
            while chunk[border] & 0xC0 == 0x80:
                border -= 1
            begin(border, True, True)
        held += 1
        at += len(raw)
    return Parts(starts, frozenset(continued), frozenset(inners))


def shown(rule: Multiline, text: str) -> list[str]:
    """The events of a text."""
    chunk = text.encode()
    found = rule.parts(chunk)
    return [chunk[a:b].decode() for a, b in pairwise([*found.starts, len(chunk)])]


@given(
    rule=st.sampled_from(RULES),
    max_lines=st.sampled_from([1, 2, 3, 500]),
    max_bytes=st.sampled_from([64, 100, 1 << 20]),
    text=TEXTS,
    inside=st.booleans(),
    inner=st.booleans(),
    closed=st.booleans(),
)
@settings(max_examples=300)
def test_the_borders_are_those_that_a_look_at_each_line_gives(
    rule: Multiline,
    max_lines: int,
    max_bytes: int,
    text: list[tuple[bytes, bytes]],
    inside: bool,
    inner: bool,
    closed: bool,
) -> None:
    """For every rule, every limit and every state before it, a chunk is split where its lines one by one say."""
    chunk = b"".join(line + end for line, end in text)
    if not closed:
        chunk = chunk.rstrip(b"\r\n") or b"x"
    limited = Multiline(rule.kind, rule.pattern, 0.5, max_lines, max_bytes)
    assert limited.parts(chunk, inside=inside, inner=inner) == reference(limited, chunk, inside=inside, inner=inner)


@given(
    rule=st.sampled_from(RULES),
    max_lines=st.sampled_from([2, 500]),
    max_bytes=st.sampled_from([64, 1 << 20]),
    text=TEXTS,
    data=st.data(),
)
@settings(max_examples=200)
def test_a_chunk_may_be_divided_at_any_border(
    rule: Multiline, max_lines: int, max_bytes: int, text: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    """Two chunks that meet where a part begins have the parts of the whole."""
    chunk = b"".join(line + end for line, end in text)
    limited = Multiline(rule.kind, rule.pattern, 0.5, max_lines, max_bytes)
    found = limited.parts(chunk)
    at = data.draw(st.integers(0, len(found.starts) - 1))
    middle = found.starts[at]
    second = limited.parts(chunk[middle:], inside=at in found.continued, inner=at in found.inner)
    first = limited.parts(chunk[:middle]).starts if middle else []
    assert first + [middle + start for start in second.starts] == found.starts
    assert {at + index for index in second.continued} == {index for index in found.continued if index >= at}


JAVA = (
    "2026-11-23 12:00:00 ERROR order failed\n"
    "java.lang.IllegalStateException: no stock\n"
    "\tat com.example.Order.place(Order.java:12)\n"
    "Caused by: java.io.IOException: closed\n"
    "\t... 12 more\n"
)
PYTHON = (
    "Traceback (most recent call last):\n"
    '  File "app.py", line 3, in <module>\n'
    "    main()\n"
    "\n"
    '  File "app.py", line 1, in main\n'
)


def test_lines_are_joined_by_what_begins_an_event() -> None:
    """With ``start``, all lines up to the next one in which the pattern is found are one event."""
    rule = Multiline.of("start", r"^\d{4}-\d\d-\d\d ")
    assert shown(rule, JAVA + JAVA) == [JAVA, JAVA]


def test_lines_are_joined_by_what_goes_on_with_an_event() -> None:
    """With ``continuation``, lines in which the pattern is found belong to the line before them."""
    rule = Multiline.of("continuation", r"^(\s|Caused by:|java\.)")
    assert shown(rule, JAVA + "2026-11-23 12:00:01 INFO next\n" + JAVA) == [
        JAVA,
        "2026-11-23 12:00:01 INFO next\n",
        JAVA,
    ]


def test_lines_are_joined_by_indentation() -> None:
    """With ``indent``, lines that begin with a space or tab, and blank ones, belong to the line before them."""
    assert shown(Multiline.of("indent"), PYTHON + "ValueError: x\n" + PYTHON) == [PYTHON, "ValueError: x\n", PYTHON]


def test_a_pattern_sees_no_more_than_the_beginning_of_a_line() -> None:
    """A pattern is searched for in the first 1024 bytes of each line, and never in the next line."""
    rule = Multiline.of("start", r"end")
    assert shown(rule, "x\n" + "y" * 1022 + "end\n" + "y" * 1000 + "end\n") == [
        "x\n" + "y" * 1022 + "end\n",
        "y" * 1000 + "end\n",
    ]
    assert shown(Multiline.of("start", r"a\sb"), "x\na\nb\n") == ["x\na\nb\n"]


@pytest.mark.parametrize(("kind", "pattern", "error"), [("start", "(", re.error), ("continuation", "*", re.error)])
def test_a_pattern_that_is_none(kind: Kind, pattern: str, error: type[Exception]) -> None:
    """What is no regular expression is refused where the rule is made."""
    with pytest.raises(error):
        Multiline.of(kind, pattern)


@pytest.mark.parametrize("limits", [{"max_lines": 0}, {"max_bytes": 10}])
def test_limits_that_leave_no_event(limits: dict[str, int]) -> None:
    """An event must be allowed one line, and some bytes."""
    with pytest.raises(ValueError, match="at least"):
        Multiline.of("indent", **limits)
