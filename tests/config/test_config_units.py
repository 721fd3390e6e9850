"""Sizes and durations as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.config.units import parse_seconds, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (7, 7),
        ("0", 0),
        ("512", 512),
        ("1KiB", 1024),
        ("1k", 1024),
        ("1 MB", 1_000_000),
        ("1.5MiB", 1_572_864),
        ("4G", 4 << 30),
        ("2TiB", 2 << 40),
        (" 3 mib ", 3 << 20),
    ],
)
def test_a_size_is_read_with_binary_and_decimal_units(text: object, size: int) -> None:
    """KiB and K are powers of 1024, KB of 1000, whatever the case."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "wrong", ["", "MiB", "1 XB", "-1", "1..5K", "0.3B", True, None, [1], -5, 1.5, math.inf, math.nan, "9" * 40]
)
def test_what_is_no_size_is_refused_with_a_sentence(wrong: object) -> None:
    """A ValueError says what was expected, never an OverflowError or a traceback of float()."""
    with pytest.raises(ValueError, match="expected"):
        parse_size(wrong)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (25, 25.0),
        (0.5, 0.5),
        ("3", 3.0),
        ("250ms", 0.25),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        ("100us", 0.0001),
        ("100µs", 0.0001),
        ("2d", 172_800.0),
        ("1m 30s", 90.0),
    ],
)
def test_a_duration_is_read_in_seconds(text: object, seconds: float) -> None:
    """Units from nanoseconds to days may be combined; a bare number is seconds."""
    assert parse_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "wrong", ["", "s", "5 weeks", "-1s", "1s2", "ms5", True, None, {}, -1, math.inf, math.nan, "nan", "inf"]
)
def test_what_is_no_duration_is_refused_with_a_sentence(wrong: object) -> None:
    """Endless, negative and unreadable durations are all refused."""
    with pytest.raises(ValueError, match="expected"):
        parse_seconds(wrong)


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the parsers fail in another way than by ValueError."""
    for parse in (parse_size, parse_seconds):
        said = "expected"
        try:
            assert parse(text) >= 0
        except ValueError as problem:
            said = str(problem)
        assert "expected" in said
