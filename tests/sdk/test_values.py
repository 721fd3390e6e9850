"""Every Python object becomes an attribute value, or a text that says why not."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import logging
import math
import pathlib
import threading
import uuid
from collections import OrderedDict, UserDict, deque, namedtuple
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from shipper.sdk.emit.attributes import Attributes
from shipper.sdk.emit.redact import MAX_TEXT, Texts
from shipper.sdk.emit.values import MAX_ITEMS, any_value, as_text, plain_value
from tests.sdk.memory_spool import attributes_of, plain


def taken(value: Any, texts: Texts | None = None, limit: int | None = None) -> Any:
    """The value that arrives, which is the same for a single value, for one of many attributes, and in the plain form."""
    texts = texts or Texts()
    found = plain(AnyValue.FromString(any_value(value, texts, limit)))
    out: list[bytes] = []
    Attributes(6, texts, limit).put(out.append, [("k", value)])
    message = LogRecord.FromString(b"".join(out))
    many = attributes_of(message)["k"]
    assert many == found or repr(many) == repr(found)
    given_plain = plain_value(value, texts, limit)
    assert given_plain == found or repr(given_plain) == repr(found)
    return found


class Color(enum.Enum):
    RED = 1


class Size(str, enum.Enum):  # noqa: UP042 - the older form is another type
    LARGE = "L"


class Priority(enum.IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Card:
    owner: str
    number: str = dataclasses.field(repr=False, default="4711")


Point = namedtuple("Point", "x y")


class Scalar:
    """What a number of numpy looks like."""

    dtype = "int64"
    ndim = 0

    def item(self) -> int:
        return 42


class Shouting(str):
    def __str__(self) -> str:
        return "LOUD"


class Broken:
    def __str__(self) -> str:
        raise ValueError("no")


class Unrepresentable:
    def __repr__(self) -> str:
        return None  # type: ignore[return-value]


class BrokenList(Sequence[int]):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: Any) -> Any:
        raise OSError("disk")


class Plain:
    def __str__(self) -> str:
        return "a plain object"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (-1, -1),
        (1.5, 1.5),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        ("nul \0 inside", "nul \0 inside"),
        ("half \ud83d surrogate", "half \\ud83d surrogate"),
        ((1, "a"), [1, "a"]),
        ([None, [True]], [None, [True]]),
        (range(3), [0, 1, 2]),
        (deque([1]), [1]),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        ({"a": {"b": 1}}, {"a": {"b": 1}}),
        ({1: "one", None: "none"}, {"1": "one", "None": "none"}),
        (OrderedDict(a=1), {"a": 1}),
        (UserDict(a=1), {"a": 1}),
        (Point(1, 2), [1, 2]),
        (Card("me"), {"owner": "me"}),
        (Color.RED, "Color.RED"),
        (Size.LARGE, "L"),
        (Priority.HIGH, 3),
        (Shouting("quiet"), "quiet"),
        (datetime.datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.timedelta(seconds=5), "0:00:05"),
        (decimal.Decimal("1.10"), "1.10"),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (ValueError("bad"), "bad"),
        (Scalar(), 42),
        (1 << 63, str(1 << 63)),
        (-(1 << 63), -(1 << 63)),
        (Plain(), "a plain object"),
        (int, "<class 'int'>"),
        (Card, "<class 'tests.sdk.test_values.Card'>"),
        (Broken(), "[Broken: str() raised ValueError]"),
        (Unrepresentable(), "[Unrepresentable: str() raised TypeError]"),
        (BrokenList(), "[BrokenList: OSError while it was read]"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_arrives_as_the_table_says(value: Any, expected: Any) -> None:
    """The table in docs/services-values.md, line by line."""
    if value is Card:
        expected = str(Card)
    found = taken(value)
    assert found == expected
    assert type(found) is type(expected)


def test_not_a_number_and_infinity_stay_doubles() -> None:
    """Doubles that are no numbers arrive as such."""
    assert math.isnan(taken(math.nan))
    assert taken(-math.inf) == -math.inf


def test_an_integer_of_too_many_digits_is_hexadecimal() -> None:
    """Python refuses to write it decimally; it arrives all the same."""
    assert taken(1 << 20_000).startswith("0x1000")


def test_a_generator_is_not_consumed() -> None:
    """Logging must not eat what the service is about to read."""

    def numbers() -> Iterator[int]:
        yield 1

    generator = numbers()
    assert "generator" in taken(generator)
    assert list(generator) == [1]


def test_cyclic_values_end() -> None:
    """An object inside itself is named instead of followed; the same object twice side by side is not."""
    row: list[Any] = [1]
    row.append(row)
    table: dict[str, Any] = {"row": row}
    table["self"] = table
    assert taken(row) == [1, "[the same object again, inside itself]"]
    assert taken(table)["self"] == "[the same object again, inside itself]"
    shared = [1]
    assert taken([shared, shared]) == [[1], [1]]


def test_depth_items_and_size_are_bounded() -> None:
    """What nests too deep or goes on too long ends in a text that says so."""
    deep: Any = "bottom"
    for _ in range(5000):
        deep = [deep]
    found = taken(deep)
    for _ in range(24):
        (found,) = found
    assert found == "[more than 24 levels deep]"
    assert len(taken(range(10**9))) == MAX_ITEMS + 1
    assert taken(range(10**9))[-1] == "[further items left out]"
    wide = [[[0] * 30] * 30] * 30
    assert len(any_value(wide, Texts())) < 100_000
    assert taken(dict.fromkeys(range(5000)))["…"] == "[further items left out]"
    assert taken("x" * (MAX_TEXT + 5)) == "x" * MAX_TEXT + "…[5 more characters]"
    assert len(taken(b"x" * (MAX_TEXT + 5))) == MAX_TEXT
    assert len(any_value(["é" * MAX_TEXT] * 100 + [b"x" * MAX_TEXT] * 100, Texts())) < 600_000


def test_a_length_limit_cuts_after_redaction() -> None:
    """With a limit no half of a secret is left at the cut, because the hook saw all of it."""
    texts = Texts(lambda text: text.replace("secret", "*"))
    assert taken("a secret", texts, 5) == "a *"
    assert taken(["12345678"], Texts(), 5) == ["12345"]


def test_a_text_that_asks_for_a_lock_its_caller_holds_gets_it() -> None:
    """No lock of ours is held around the service's own code, so its re-entrant ones work as ever."""
    lock = threading.RLock()

    class Guarded:
        def __str__(self) -> str:
            with lock:
                return "guarded"

    with lock:
        assert taken(Guarded()) == "guarded"


def test_an_interrupt_is_not_swallowed() -> None:
    """Ctrl-C during a conversion stops the service as the person wants."""

    class Slow:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        as_text(Slow())


def test_names_are_texts_of_bounded_length() -> None:
    """An attribute's name is cut like its value."""
    out: list[bytes] = []
    Attributes(6, Texts()).put(out.append, [("n" * 5000, 1), ("", 2)])
    assert [len(name) for name in attributes_of(LogRecord.FromString(b"".join(out)))] == [1024, 0]


class Strange:
    def __init__(self, what: int) -> None:
        self.what = what

    def __getattr__(self, name: str) -> Any:
        if self.__dict__.get("what") == 1:
            raise RuntimeError(name)
        raise AttributeError(name)

    def __len__(self) -> int:
        return -1 if self.what == 2 else 0

    def __bool__(self) -> bool:
        raise RuntimeError("neither")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not comparable")

    __hash__ = object.__hash__


anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(),
        st.binary(),
        st.builds(Strange, st.integers(0, 2)),
        st.just(Broken()),
        st.just(Scalar()),
        st.datetimes(),
        st.complex_numbers(),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.one_of(st.text(max_size=4), st.integers(), st.none(), st.booleans()), inner, max_size=4),
        st.builds(Card, inner),
    ),
    max_leaves=10,
)


@settings(max_examples=150, deadline=None)
@given(value=anything, key=st.text(max_size=5))
def test_any_object_gives_a_message_that_decodes(value: Any, key: str) -> None:
    """No object makes the encoder raise, or write what a decoder refuses."""
    out: list[bytes] = []
    Attributes(6, Texts()).put(out.append, [(key, value)])
    assert len(LogRecord.FromString(b"".join(out)).attributes) == 1
    plain_value(value, Texts())


def test_nothing_is_said_for_ordinary_objects(caplog: pytest.LogCaptureFixture) -> None:
    """Converting odd but harmless values is silent."""
    with caplog.at_level(logging.DEBUG):
        taken([Plain(), {1, 2}, Card("x")])
    assert caplog.records == []
