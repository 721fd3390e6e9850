"""What Shipper says about itself: every event and every metric is in use, each moves what it should, repeats are held back."""

from __future__ import annotations

import ast
import logging
from pathlib import Path

import pytest

from shipper import events
from shipper.events import BytesLost, Dropped, Event, Metrics, NotTaken, Problem, Quarantined, Reporter, Retried
from shipper.testing.clock import FakeClock

ROOT = Path(__file__).parent.parent
EVENTS = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)]


def called() -> set[str]:
    """Names of everything that is called anywhere in the program."""
    found = set()
    for path in (*(ROOT / "shipper").rglob("*.py"), *(ROOT / "exporters").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                found.add(node.func.id)
    return found


def written() -> set[str]:
    """Names of the metrics that are used somewhere, apart from where they are only read to be shown."""
    found = set()
    for path in (ROOT / "shipper").rglob("*.py"):
        if path.name not in ("parts.py", "build.py"):
            found |= {
                node.attr
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("metrics")
            }
    return found


def test_every_event_is_reported_by_somebody() -> None:
    """An event that nobody reports would be a promise that nobody keeps."""
    assert {kind.__name__ for kind in EVENTS} - called() <= {"Event"}


def test_every_metric_is_moved_by_somebody() -> None:
    """A metric that never moves would be read as "all is well"."""
    assert vars(Metrics()).keys() - {"registry"} <= written()


@pytest.mark.parametrize(
    ("event", "metric", "labels", "amount"),
    [
        (
            Retried("d", "http_503", "busy"),
            "shipper_retried_requests_total",
            {"destination": "d", "cause": "http_503"},
            1,
        ),
        (
            Quarantined("d", "k", 7, "rejected", "no", "id"),
            "shipper_quarantined_records_total",
            {"destination": "d", "cause": "rejected"},
            7,
        ),
        (
            Dropped("d", "/log", "k", 5, "gone", "truncated"),
            "shipper_dropped_records_total",
            {"destination": "d", "cause": "gone"},
            5,
        ),
        (BytesLost("s", "/log", 3, 10, "truncated"), "shipper_lost_bytes_total", {"cause": "truncated"}, 7),
        (NotTaken("s", "/log", "logs", 3, 10), "shipper_not_taken_bytes_total", {"signal": "logs"}, 7),
        (Problem("ledger", "full"), "shipper_problems_total", {"kind": "ledger"}, 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Event) else "",
)
def test_an_event_moves_its_metric(event: Event, metric: str, labels: dict[str, str], amount: float) -> None:
    """Log line and metric belong together: reporting the event counts it, by cause and by its amount."""
    report = Reporter(FakeClock())
    report(event)
    report(event)
    assert report.metrics.registry.get_sample_value(metric, labels) == 2 * amount


def test_repeats_are_counted_but_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """The same problem over and over is one line a minute, with how many were held back; another subject is said at once."""
    clock = FakeClock()
    report = Reporter(clock, logger=logging.getLogger("test.events"))
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            report(Problem("read", "cannot read a", about="a"))
        report(Problem("read", "cannot read b", about="b"))
        clock.advance(61)
        report(Problem("read", "cannot read a", about="a"))
    said = [record.getMessage() for record in caplog.records]
    assert said == ["cannot read a", "cannot read b", "cannot read a (4 more like this in between)"]
    assert report.metrics.registry.get_sample_value("shipper_problems_total", {"kind": "read"}) == 7


def test_a_wall_clock_that_jumps_silences_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """What is held back depends on time that passes, not on what the wall clock says."""
    clock = FakeClock()
    report = Reporter(clock, logger=logging.getLogger("test.events"))
    with caplog.at_level(logging.INFO):
        report(Problem("read", "again", about="a"))
        clock.jump_wall(-86_400)
        clock.advance(61)
        report(Problem("read", "again", about="a"))
    assert len(caplog.records) == 2
