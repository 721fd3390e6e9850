"""What a log record is in Datadog: reserved attributes, tags, ids, and texts that are longer than an entry may be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.contracts import ExporterContext, Signal
from shipper.errors import Rejected
from shipper.testing.clock import FakeClock
from shipper.testing.streams import LIFE
from shipper_exporters.datadog import DatadogExporter, DatadogSettings
from tests.exporters.datadog_intake import KEY, MAX_BODY, MAX_LOG
from tests.exporters.vendor_logs import AT, IDENTITY, TEXTS, VALUES, lines, one_batch, row


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DD_API_KEY", KEY)


def bodies(payload: bytes, **options: Any) -> list[bytes]:
    settings = DatadogSettings(compression="none", **options)
    exporter = DatadogExporter("datadog", settings, ExporterContext(FakeClock(), LIFE, 1, "test"))
    return [part.data for part in exporter.prepare(one_batch(payload)).body.parts]


def entries(payload: bytes, **options: Any) -> list[dict[str, Any]]:
    return [entry for body in bodies(payload, **options) for entry in json.loads(body)]


def tags(entry: Mapping[str, Any]) -> dict[str, str]:
    return dict(tag.partition(":")[::2] for tag in entry["ddtags"].split(","))


def test_a_plain_line() -> None:
    """A line has the unified service tags, its host, Shipper's identity as tags, and its time in milliseconds."""
    (entry,) = entries(lines(["a line"]))
    assert (entry["message"], entry["service"], entry["hostname"]) == ("a line", "checkout", "ip-10-0-0-1")
    assert entry["timestamp"] == AT // 1_000_000
    assert entry["otel.timestamp"] == str(AT)
    assert entry["ddsource"] == "shipper"
    assert tags(entry) == {
        "env": "production",
        "service": "checkout",
        "version": "1.2.3",
        "shipper.generation": "g-17",
        "shipper.life.id": LIFE,
        "host.id": "i-0abc",
    }


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_lines_of_any_text(texts: list[str]) -> None:
    """Each line is one entry with just its text, whatever is in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DD_API_KEY", KEY)
        assert [entry["message"] for entry in entries(lines(texts))] == texts


def test_a_record_with_all_that_it_can_have() -> None:
    """Status, ids in both forms, and attributes, of which none takes the place of a reserved one."""
    payload = row(
        severity=17,
        severity_text="Error",
        event_name="order.failed",
        trace_id=bytes.fromhex("000102030405060708090a0b0c0d0e0f"),
        span_id=bytes.fromhex("ffffffffffffffff"),
        attributes={"http.status": 500, "service": "mine", "message": "other", "nan": float("nan"), "deep": {"a": [1]}},
    )
    (entry,) = entries(payload)
    assert (entry["message"], entry["service"], entry["status"]) == ("text", "checkout", "error")
    assert entry["dd.trace_id"] == str(0x08090A0B0C0D0E0F)
    assert entry["dd.span_id"] == str(2**64 - 1)
    assert entry["otel.trace_id"] == "000102030405060708090a0b0c0d0e0f"
    assert entry["otel.span_id"] == "f" * 16
    assert (entry["otel.severity_number"], entry["otel.severity_text"]) == (17, "Error")
    assert (entry["attribute.service"], entry["attribute.message"]) == ("mine", "other")
    assert (entry["http.status"], entry["nan"], entry["deep"]) == (500, "nan", {"a": [1]})
    assert entry["otel.event_name"] == "order.failed"
    assert entry["otel.scope.name"] == "app"


@pytest.mark.parametrize(
    ("severity", "text", "status"),
    [
        (1, "", "trace"),
        (8, "", "debug"),
        (9, "", "info"),
        (13, "", "warn"),
        (20, "", "error"),
        (24, "", "critical"),
        (0, "Notice", "notice"),
    ],
)
def test_status(severity: int, text: str, status: str) -> None:
    """The severity is one of Datadog's statuses; without a number its text is."""
    (entry,) = entries(row(severity=severity, severity_text=text))
    assert entry["status"] == status


def test_no_status_and_no_time() -> None:
    """What is not known of a record is left to Datadog."""
    (entry,) = entries(row({}, time_ns=0, observed_ns=0))
    assert not {"status", "timestamp", "hostname", "service"} & set(entry)


@pytest.mark.parametrize(("body", "message"), [({"a": 1}, '{"a":1}'), ([1], "[1]"), (7, "7"), ("", ""), (None, "")])
def test_bodies_of_other_kinds(body: Any, message: str) -> None:
    """A body that is no text is the JSON of it, which Datadog parses into attributes."""
    (entry,) = entries(row(body=body))
    assert entry["message"] == message


@settings(max_examples=100, deadline=None)
@given(VALUES, st.dictionaries(st.sampled_from(["", "a", "status", "ddtags", "host.name", "\x7f"]), VALUES, max_size=4))
def test_any_record_is_taken(body: Any, attributes: dict[str, Any]) -> None:
    """Whatever a record holds, it is one entry with a text, in JSON that everybody reads, and keeps its identity."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DD_API_KEY", KEY)
        (body_of_one,) = bodies(row(body=body, attributes=attributes))
    (entry,) = json.loads(body_of_one, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert isinstance(entry["message"], str)
    assert entry["service"] == "checkout"
    assert tags(entry)["shipper.life.id"] == LIFE


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """``DD_*`` stand in for what a record does not know; its own identity and the settings count before them."""
    for name, value in {
        "ENV": "staging",
        "SERVICE": "agent",
        "VERSION": "9",
        "HOSTNAME": "named",
        "TAGS": "team:a, on b:c",
    }.items():
        monkeypatch.setenv(f"DD_{name}", value)
    (entry,) = entries(lines(["x"], {"service.name": "unknown_service"}), tags={"team": "mine"})
    assert (entry["service"], entry["hostname"]) == ("agent", "named")
    assert tags(entry) == {"team": "mine", "on": "", "b": "c", "env": "staging", "service": "agent", "version": "9"}
    (entry,) = entries(lines(["x"]), hostname="told", source="python")
    assert (entry["service"], entry["hostname"], entry["ddsource"]) == ("checkout", "told", "python")
    assert (tags(entry)["env"], tags(entry)["version"]) == ("production", "1.2.3")


def test_tags_stay_apart() -> None:
    """A value with a comma or a space does not become two tags, nor a tag that is too long."""
    identity = {**IDENTITY, "shipper.generation": "a,b c" + "x" * 300, "container.image.tags": ["v1", "latest"]}
    (entry,) = entries(lines(["x"], identity))
    assert tags(entry)["shipper.generation"].startswith("a_b_cxx")
    assert all(len(tag) <= 200 for tag in entry["ddtags"].split(","))
    assert tags(entry)["container.image.tags"] == "v1_latest"
    assert tags(entry)["shipper.life.id"] == LIFE


def test_what_is_in_no_tag_is_an_attribute() -> None:
    """All that the resource says is there, as a tag or as an attribute."""
    (entry,) = entries(lines(["x"], {**IDENTITY, "log.file.path": "/var/log/a.log", "source": "s"}))
    assert (entry["log.file.path"], entry["host.name"], entry["attribute.source"]) == (
        "/var/log/a.log",
        "ip-10-0-0-1",
        "s",
    )


@pytest.mark.parametrize("letter", ["x", "é", "\x01", "🚀"])
def test_a_text_longer_than_an_entry(letter: str) -> None:
    """A text of more than 1 MB goes in several entries that say so, and nothing of it is cut off."""
    text = letter * (2_500_000 // len(letter.encode())) + "end"
    found = entries(lines(["before", text, "after"]))
    assert "".join(entry["message"] for entry in found) == f"before{text}after"
    parts = [(entry["shipper.part"], entry["shipper.parts"]) for entry in found if "shipper.part" in entry]
    assert parts == [(number, len(parts)) for number in range(1, len(parts) + 1)]
    assert len(parts) >= 3
    for entry in found:
        assert len(json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()) < MAX_LOG
    assert all(len(body) <= MAX_BODY for body in bodies(lines([text] * 3)))


@pytest.mark.parametrize("signal", list(Signal))
def test_no_otlp(signal: Signal) -> None:
    """Bytes that are no OTLP are rejected with a sentence."""
    exporter = DatadogExporter(
        "datadog", DatadogSettings(traces_source="org"), ExporterContext(FakeClock(), LIFE, 1, "t")
    )
    with pytest.raises(Rejected, match="not valid OTLP"):
        exporter.prepare(one_batch(b"\xff\xff", signal))
