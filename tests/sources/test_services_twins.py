"""Logs that come by the SDK and by a file are noticed and named once; likeness by accident is not."""

from __future__ import annotations

from shipper.otlp.encode import LineEncoder, log_record
from shipper.sources.twins import EVERY, Twins
from shipper.testing.clock import FakeClock
from tests.sources.services_kit import Reports

ENCODER = LineEncoder(b"", b"")


def record(text: str) -> bytes:
    return log_record(time_ns=1, observed_ns=1, body=text)


def lines(*texts: str) -> bytes:
    return ENCODER.encode([f"2026-01-01 INFO {text}".encode() for text in texts], 1)


def run(pairs: list[tuple[str, str]], *, sdk_first: bool) -> Reports:
    clock = FakeClock()
    report = Reports(clock)
    twins = Twins(clock, report)
    for handed, tailed in pairs:
        steps = [
            lambda h=handed: twins.handed_over("shop", record(h)),
            lambda t=tailed: twins.tailed("/a.log", lines(t)),
        ]
        for step in steps if sdk_first else reversed(steps):
            step()
        clock.advance(EVERY)
    return report


def test_the_same_texts_on_both_ways_are_twins() -> None:
    """Whichever side is seen first; said once, with the service, the file, and what to do."""
    same = [(text, text) for text in (f"order {number} was paid" for number in range(9))]
    for sdk_first in (True, False):
        (said,) = run(same, sdk_first=sdk_first).problems("twins")
        assert "shop" in said
        assert "/a.log" in said
        assert "SHIPPER_LOGS=stdout" in said


def test_common_or_single_texts_are_not() -> None:
    """The same sentence again and again, short words, or different texts prove nothing."""
    for pairs in (
        [("the health check was answered", "the health check was answered")] * 9,
        [("started", "started"), ("stopped", "stopped"), ("ready", "ready"), ("ok", "ok")],
        [(f"order {number} was paid", f"invoice {number} was sent") for number in range(9)],
    ):
        assert run(pairs, sdk_first=True).problems("twins") == []


def test_what_is_no_log_record_is_passed_over() -> None:
    """Bodies that are no text, and bytes that are no protobuf, cost nothing."""
    clock = FakeClock()
    twins = Twins(clock, Reports(clock))
    for body in (b"\x2a\xff", b"", log_record(time_ns=1, observed_ns=1, body={"a": 1})):
        twins.handed_over("shop", body)
        clock.advance(EVERY)
