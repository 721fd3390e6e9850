"""What the OTLP exporter can be told, and how a mistake in it is said."""

from __future__ import annotations

import msgspec
import pytest

from shipper.contracts import ExporterContext, Signal
from shipper.errors import ConfigError
from shipper.testing.clock import FakeClock
from shipper_exporters.otlp import OtlpExporter, OtlpSettings

CONTEXT = ExporterContext(FakeClock(), "life", 1, "test")


def exporter(**options: object) -> OtlpExporter:
    return OtlpExporter("primary", msgspec.convert(options, OtlpSettings), CONTEXT)


@pytest.mark.parametrize(
    ("options", "path", "words"),
    [
        ({}, "endpoint", "is missing"),
        ({"endpoint": "gateway.example:4318"}, "endpoint", "is no URL such as"),
        ({"endpoint": "ftp://gateway.example"}, "endpoint", "is no URL"),
        ({"endpoint": "http://"}, "endpoint", "is no URL"),
        ({"endpoint": "http://[::1"}, "endpoint", "is no URL"),
        ({"endpoint": "http://h:99999"}, "endpoint", "is no URL"),
        ({"endpoint": "http://user:pass@h:1"}, "endpoint", "has a password in it"),
        ({"endpoint": "http://h:1/v1/logs"}, "endpoint", "leave that part out"),
        ({"endpoint": "http://h:1/v1/traces/"}, "endpoint", "leave that part out"),
        ({"endpoint": "http://h:1/?key=x"}, "endpoint", "has no query"),
        ({"traces_endpoint": "h"}, "traces_endpoint", "is no URL"),
        ({"endpoint": "http://h", "timeout": 0}, "timeout", "more than 0"),
        ({"endpoint": "http://h", "key_file": "/k"}, "key_file", "without cert_file"),
        ({"endpoint": "http://h", "headers": {"Content-Type": "x"}}, "headers.Content-Type", "set by Shipper itself"),
        ({"endpoint": "http://h", "headers": {"shipper-life": "x"}}, "headers.shipper-life", "set by Shipper itself"),
        ({"endpoint": "http://h", "headers": {"a b": "x"}}, "headers.a b", "no name for an HTTP header"),
        ({"endpoint": "http://h", "headers": {"": "x"}}, "headers.", "no name for an HTTP header"),
        ({"endpoint": "http://h", "headers": {"X": "a\r\nY: b"}}, "headers.X", "HTTP does not allow"),
        (
            {"endpoint": "http://h", "headers": {"authorization": "x"}, "token_file": "/t"},
            "headers.authorization",
            "exclude each other",
        ),
    ],
)
def test_mistakes(options: dict[str, object], path: str, words: str) -> None:
    """A setting that cannot work is refused with the path it stands at and what is wrong with it."""
    with pytest.raises(ConfigError) as caught:
        exporter(**options)
    assert caught.value.path == f"destinations.primary.{path}"
    assert words in caught.value.problem
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"endpiont": "http://h"}, {"endpoint": "http://h", "compression": "lz4"}, {"max_in_flight": 0}]
)
def test_unknown_options_are_refused(options: dict[str, object]) -> None:
    """An unknown option, an unknown compression and a window of nothing are refused by their type."""
    with pytest.raises(msgspec.ValidationError):
        exporter(**options)


def test_limits_follow_the_settings() -> None:
    """Pace, burst, window and size can be set."""
    limits = exporter(
        endpoint="http://h", requests_per_second=0.5, burst=3, max_in_flight=1, max_wire_bytes=2048
    ).limits
    assert (limits.requests_per_second, limits.burst, limits.max_in_flight, limits.max_wire_bytes) == (0.5, 3, 1, 2048)


def test_describe_names_each_place_once() -> None:
    """For people it is the places it sends to, without paths and queries."""
    made = exporter(endpoint="https://a.example/otlp", traces_endpoint="http://b.example:1/t?key=secret")
    assert made.describe() == "OTLP/HTTP to https://a.example, http://b.example:1"


def test_only_signals_with_a_url_are_taken() -> None:
    """A destination for traces alone is owed nothing of logs and metrics; a base URL is for all three."""
    assert exporter(traces_endpoint="http://tempo.example:4318/v1/traces").signals == {Signal.TRACES}
    assert exporter(endpoint="http://gateway.example:4318").signals == set(Signal)
