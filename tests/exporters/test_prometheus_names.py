"""Names of OpenTelemetry become names of Prometheus as the specification of OpenTelemetry has it."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper_exporters._prometheus.names import label_name, metric_name, number_text, unit_name

METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("shipper.requests", "{request}", "counter", "shipper_requests_total"),
        ("shipper.request.duration", "s", "histogram", "shipper_request_duration_seconds"),
        ("http.server.request.duration", "s", "histogram", "http_server_request_duration_seconds"),
        ("process_cpu_seconds_total", "s", "counter", "process_cpu_seconds_total"),
        ("process_resident_memory_bytes", "bytes", "gauge", "process_resident_memory_bytes"),
        ("process_resident_memory_bytes", "By", "gauge", "process_resident_memory_bytes"),
        ("system.network.io", "By", "counter", "system_network_io_bytes_total"),
        ("disk.total.read", "By", "counter", "disk_total_read_bytes_total"),
        ("requests_total", "By", "counter", "requests_bytes_total"),
        ("total", "", "counter", "total_total"),
        ("cpu.utilization", "1", "gauge", "cpu_utilization_ratio"),
        ("cpu.ratio", "1", "gauge", "cpu_ratio"),
        ("things", "1", "counter", "things_total"),
        ("speed", "km/h", "gauge", "speed_km_per_hour"),
        ("speed", "m/s", "gauge", "speed_meters_per_second"),
        ("meters_per_second", "m/s", "gauge", "meters_per_second"),
        ("calls", "{call}/s", "gauge", "calls_per_second"),
        ("per", "/s", "gauge", "per_per_second"),
        ("level:metric:rate5m", "", "gauge", "level:metric:rate5m"),
        ("a..b--c", "", "gauge", "a_b_c"),
        ("5xx", "", "counter", "_5xx_total"),
        ("größe", "By", "gauge", "gr_e_bytes"),
        ("free", "%", "gauge", "free_percent"),
        ("temperature", "Cel", "gauge", "temperature_celsius"),
        ("odd", "a-b c", "gauge", "odd_a_b_c"),
        ("...", "s", "gauge", ""),
        ("", "", "counter", ""),
    ],
)
def test_metric_names(name: str, unit: str, kind: str, expected: str) -> None:
    """A metric's name gets its unit and, as a counter, `_total`, each once; other characters become one underscore."""
    assert metric_name(name, unit, counter=kind == "counter", gauge=kind == "gauge") == expected


@given(st.text(), st.text(max_size=20), st.booleans(), st.booleans())
def test_every_metric_name_is_one(name: str, unit: str, counter: bool, gauge: bool) -> None:
    """Whatever a metric is called, its name is empty or one that Prometheus takes, and naming it again changes nothing."""
    named = metric_name(name, unit, counter=counter, gauge=gauge)
    assert not named or METRIC.fullmatch(named)
    if named and not named.startswith("_"):
        assert metric_name(named, "", counter=counter) == named


@pytest.mark.parametrize(
    ("key", "expected"),
    [("http.route", "http_route"), ("a-b", "a_b"), ("0day", "key_0day"), ("_x", "_x"), ("", "_"), ("ö", "_")],
)
def test_label_names(key: str, expected: str) -> None:
    """A label's name is the key with every other character as an underscore."""
    assert label_name(key) == expected


@given(st.text())
def test_every_label_name_is_one(key: str) -> None:
    """Whatever a key is, Prometheus takes the label's name."""
    assert LABEL.fullmatch(label_name(key))


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.0, "1"), (0.005, "0.005"), (2.5, "2.5"), (1e-7, "0.0000001"), (1e22, "10000000000000000000000"),
     (math.inf, "+Inf"), (-math.inf, "-Inf"), (0.1, "0.1"), (-3.0, "-3"), (100.0, "100"), (math.nan, "NaN")],
)  # fmt: skip
def test_edges_of_buckets(value: float, text: str) -> None:
    """An edge is written in the shortest way that is the same number, without an exponent."""
    assert number_text(value) == text


@given(st.floats(allow_nan=False))
def test_edges_keep_their_value(value: float) -> None:
    """The text of a number is the same number."""
    assert float(number_text(value)) == value


@pytest.mark.parametrize(
    ("name", "unit", "expected"),
    [
        ("took_seconds", "s", "seconds"),
        ("io_bytes_total", "By", "bytes"),
        ("speed_meters_per_second", "m/s", "meters_per_second"),
        ("share_ratio", "1", "ratio"),
        ("hits_total", "1", ""),
        ("hits_total", "{request}", ""),
        ("seconds_left", "s", ""),
        ("g", "", ""),
    ],
)
def test_units(name: str, unit: str, expected: str) -> None:
    """A unit is said only where the name ends in it, as OpenMetrics asks."""
    assert unit_name(name, unit) == expected
