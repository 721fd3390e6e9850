"""What is a time, and which: every way of writing it, and that what cannot be is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.shape.timestamps import TimeReader
from shipper.shape.timetext import zone
from tests.shape.shapekit import OBSERVED, ns

AT = ns("2026-11-23T02:00:08.582")
WHOLE = ns("2026-11-23T02:00:08")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-23T02:00:08.582Z", AT),
        (b"2026-11-23T02:00:08.582Z", AT),
        (" 2026-11-23t02:00:08.582z ", AT),
        ("2026-11-23 02:00:08,582", AT),
        ("2026-11-23T02:00:08.582000000Z", AT),
        ("2026-11-23T02:00:08.582999999999Z", AT + 999_999),
        ("2026-11-23T04:00:08.582+02:00", AT),
        ("2026-11-23T04:00:08.582+0200", AT),
        ("2026-11-23T04:00:08.582+02", AT),
        ("2026-11-22T20:30:08.582-05:30", AT),
        ("2026-11-23 02:00:08.582 UTC", AT),
        ("2026-11-23 02:00:08.582 +0000 UTC m=+0.012", AT),
        ("2026-11-23T03:00:08.582+01:00[Europe/Berlin]", AT),
        ("20261123T020008Z", WHOLE),
        ("2026/11/23 02:00:08", WHOLE),
        ("2026-11-23T02:00Z", ns("2026-11-23T02:00")),
        ("Nov 23 02:00:08", WHOLE),
        ("Nov  3 02:00:08.5", ns("2026-11-03T02:00:08.5")),
        ("Dec 31 23:59:59", ns("2025-12-31T23:59:59")),
        ("Nov 24 01:59:59", ns("2026-11-24T01:59:59")),  # another clock may be a little ahead
        ("Feb 29 00:00:01", ns("2024-02-29T00:00:01")),
        ("Mon Nov 23 02:00:08 2026", WHOLE),
        ("Mon Nov 23 02:00:08.582000 2026", AT),
        ("Nov 23, 2026 2:00:08 AM", WHOLE),
        ("Nov 23, 2026 12:00:08 PM", ns("2026-11-23T12:00:08")),
        ("Nov 23, 2026 12:00:08 AM", ns("2026-11-23T00:00:08")),
        ("23/Nov/2026:02:00:08 +0000", WHOLE),
        ("23/Nov/2026:03:00:08 +0100", WHOLE),
        ("Mon, 23 Nov 2026 02:00:08 GMT", WHOLE),
        ("1123 02:00:08.582000", AT),
        (1795399208, WHOLE),
        (1795399208582, AT),
        (1795399208582000, AT),
        (1795399208582000000, AT),
        (1795399208.582, AT),
        ("1795399208", WHOLE),
        ("1795399208.582", AT),
        ("1795399208582.5", AT + 500_000),
        ("1795399208.582000001", AT + 1),
        ("2016-12-31T23:59:60Z", ns("2017-01-01T00:00:00")),
        ("2017-01-01T00:59:60+01:00", ns("2017-01-01T00:00:00")),
    ],
)
def test_a_time_is_recognised_however_it_is_written(value: Any, expected: int) -> None:
    """Also without a year (the last such day), as a number of any unit, and with a leap second, which is the next second."""
    assert TimeReader().one(value, OBSERVED) == expected
    assert TimeReader().column([value, "2026-11-23T02:00:08.582Z"], OBSERVED) == [expected, AT]


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            "x",
            "2026",
            "2026-11-23",
            "02:00:08",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
        ),
        *("2026-11-23T24:00:00Z", "2026-11-23T02:60:00Z", "2026-11-23T02:00:61Z", "2026-11-23T12:00:60Z"),
        *("2016-12-31T22:59:60+01:00", "2026-11-23T02:00:08+99:00", "2026-11-23T02:00:08 CEST", "1969-12-31T23:59:59Z"),
        *(
            "2400-01-01T00:00:00Z",
            "Xyz 23 02:00:08",
            "Feb 30 02:00:08",
            "Nov 23, 2026 13:00:08 AM",
            "11/23/2026 02:00:08",
        ),
        *(
            "9" * 300,
            "٢٠٢٦-11-23T02:00:08Z",
            0,
            -1,
            12,
            99_999_999,
            10**30,
            0.5,
            -1.5,
            1e300,
            float("inf"),
            float("nan"),
        ),
        *(True, None, [1], {"a": 1}, "1795399208582000000000"),
    ],
)
def test_what_cannot_be_a_time_is_none(value: Any) -> None:
    """Impossible dates, days alone, small numbers and everything else are no time, and raise nothing."""
    assert TimeReader().one(value, OBSERVED) == 0
    assert TimeReader().column([value, "2026-11-23T02:00:08.582Z"], OBSERVED) == [0, AT]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("+02:00", "2026-11-23 04:00:08,582", AT),
        ("-0330", "2026-11-22 22:30:08.582", AT),
        ("UTC", "2026-11-23 02:00:08.582", AT),
        ("Europe/Berlin", "2026-11-23 03:00:08.582", AT),
        ("Europe/Berlin", "2026-07-01 02:00:00", ns("2026-07-01T00:00:00")),
        ("Europe/Berlin", "2026-11-23T02:00:08.582Z", AT),
        ("Europe/Berlin", "Nov 23 03:00:08.582", AT),
        ("America/St_Johns", "23/Nov/2026:02:00:08 +0000", WHOLE),
    ],
)
def test_a_time_without_a_zone_is_of_the_zone_that_is_set(name: str, text: str, expected: int) -> None:
    """An offset, or a zone with its summer time; a time that names its own zone keeps that."""
    assert TimeReader(zone(name)).column([text, text], OBSERVED) == [expected, expected]


@pytest.mark.parametrize("name", ["Nowhere/Land", "+25:00", "", "../etc/passwd", "CE T", "+1"])
def test_a_zone_that_is_none_is_an_error_with_a_sentence(name: str) -> None:
    """What the machine does not know is said with what can be written instead."""
    with pytest.raises(ValueError, match=r"write an offset|no offset"):
        zone(name)


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("%d.%m.%Y %H:%M:%S", "23.11.2026 02:00:08", WHOLE),
        ("%d.%m.%Y %H:%M:%S,%f", "23.11.2026 02:00:08,582", AT),
        ("%m/%d/%Y %I:%M:%S %p %z", "11/23/2026 03:00:08 AM +0100", WHOLE),
        ("%d %b %H:%M:%S", "23 Nov 02:00:08", WHOLE),
        ("%d %b %H:%M", "29 Feb 00:00", ns("2024-02-29T00:00:00")),
        ("%d.%m.%Y", "2026-11-23T02:00:08Z", 0),
        ("%d.%m.%Y", "31.02.2026", 0),
    ],
)
def test_a_format_that_is_set_is_the_only_one(form: str, text: str, expected: int) -> None:
    """`strptime` reads it, with a year of its own where the format has none; nothing else is recognised then."""
    assert TimeReader(form=form).column([text, 1795399208], OBSERVED) == [expected, 0]


@settings(max_examples=60, deadline=None)
@given(
    when=st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)),
    offset=st.integers(-14 * 60, 14 * 60),
    mark=st.sampled_from("T "),
    digits=st.integers(0, 6),
)
def test_what_datetime_writes_is_read_to_the_microsecond(when: datetime, offset: int, mark: str, digits: int) -> None:
    """For every moment and offset, one by one and by column."""
    when = when.replace(microsecond=when.microsecond // 10 ** (6 - digits) * 10 ** (6 - digits))
    here = when.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=offset)))
    text = here.isoformat(sep=mark)
    assert TimeReader().column([text, text], OBSERVED) == [ns(when.isoformat())] * 2


@pytest.mark.parametrize(
    "line",
    [
        *(
            b"2026-11-23T02:00:08.582Z INFO started",
            b"[2026-11-23 02:00:08,582] x",
            b"2026/11/23 02:00:08.582 [error] x",
        ),
        *(
            b"Nov 23 02:00:08.582 host sshd[1]: x",
            b"Mon Nov 23 02:00:08.582 2026 x",
            b"I1123 02:00:08.582000   1 a.go:1] x",
        ),
        *(
            b"I, [2026-11-23T02:00:08.582000 #1]  INFO -- : x",
            b"1795399208.582 1 TCP_MISS",
            b"2026-11-23T03:00:08.582+01:00 x",
        ),
    ],
)
def test_the_time_that_a_plain_line_begins_with_is_its_own(line: bytes) -> None:
    """As loggers of all kinds write it in front of a line."""
    assert TimeReader().leading([b"no time here", line], OBSERVED) == [0, AT]


def test_where_no_line_begins_with_a_time_there_is_none() -> None:
    """Numbers and dates elsewhere in a line are not its time."""
    lines = [b"", b"took 2026-11-23T02:00:08Z", b"12345", b"2026-11-23T02:00:080 x", b"1795399208582 x"]
    assert TimeReader().leading(lines, OBSERVED) == [0] * len(lines)
