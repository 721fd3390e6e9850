"""A platform's times, whatever this host's clock says."""

from __future__ import annotations

import pytest

from shipper.notices.times import Times, parse_time
from shipper.testing.clock import START_WALL_NS, FakeClock

START = START_WALL_NS  # 2023-11-14T22:13:20Z


@pytest.mark.parametrize(
    "text",
    [
        "2023-11-14T22:13:20Z",
        "2023-11-14 22:13:20",
        "2023-11-14T23:13:20+01:00",
        "2023-11-14T17:43:20-0430",
        "14 Nov 2023 22:13:20 GMT",
        "Tue, 14 Nov 2023 22:13:20 GMT",
        " 2023-11-14T22:13:20.000Z ",
    ],
)
def test_times_are_read_in_every_form_platforms_use(text: str) -> None:
    """Zones, missing zones, weekdays and fractions all come out as the same moment."""
    assert parse_time(text) == START


def test_fractions_count() -> None:
    """Nine digits and more are read to the nanosecond."""
    assert parse_time("2023-11-14T22:13:20.123456789123Z") == START + 123_456_789


@pytest.mark.parametrize("text", ["", "never", "<html>", "2023-13-45T99:00:00Z", "soon, perhaps", "12", "9" * 5000])
def test_what_is_no_time_is_an_error_with_the_text(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="is no time"):
        parse_time(text)


def test_the_servers_own_date_beats_a_wrong_clock() -> None:
    """A host whose clock is two hours ahead still sees the two minutes the platform gives."""
    clock = FakeClock()
    clock.jump_wall(7200)
    at = Times(clock).monotonic_of(START + 120 * 10**9, "Tue, 14 Nov 2023 22:13:20 GMT")
    assert at - clock.monotonic() == 120.0


@pytest.mark.parametrize(
    "header", [None, "", "garbage", "Thu, 01 Jan 1970 00:00:00 GMT", "Tue, 14 Nov 2199 22:13:20 GMT"]
)
def test_a_date_that_cannot_be_right_is_not_believed(header: str | None) -> None:
    """Then the host's own clock has to do."""
    clock = FakeClock()
    assert Times(clock).monotonic_of(START + 120 * 10**9, header) - clock.monotonic() == 120.0


def test_a_difference_below_the_resolution_of_the_header_is_none() -> None:
    """The header counts whole seconds; the host's clock is the finer one."""
    clock = FakeClock()
    clock.jump_wall(0.9)
    at = Times(clock).monotonic_of(START + 120 * 10**9, "Tue, 14 Nov 2023 22:13:20 GMT")
    assert at - clock.monotonic() == pytest.approx(119.1)
