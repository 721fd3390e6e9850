"""A service that serves without server spans is told what to do: once, without a thread, and only if it really serves."""

from __future__ import annotations

import logging
import socket
import sys
from pathlib import Path
from types import ModuleType

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind

from shipper.sdk.emit.logs import ShipperLogRecordProcessor
from shipper.sdk.emit.spans import ShipperSpanProcessor
from shipper.sdk.web import serving
from tests.sdk.initkit import only, service, spool
from tests.sdk.memory_spool import MemorySpool, nothing_stated


class Minutes:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_nothing_is_said_before_a_minute_or_after_a_server_span(monkeypatch: pytest.MonkeyPatch) -> None:
    """The advice comes with the first emission a minute after the start, unless a server span came before; then never again."""
    monkeypatch.setattr(serving, "missing", lambda: "advice")
    said: list[str] = []
    clock = Minutes()
    watch, other = serving.Watch(said.append, clock), serving.Watch(said.append, clock)
    watch.emitted()
    other.span(SpanKind.SERVER)
    clock.now += 59
    watch.span(SpanKind.INTERNAL)
    assert said == []
    clock.now += 1
    watch.span(SpanKind.CLIENT)
    watch.emitted()
    other.emitted()
    assert said == ["advice"]


def test_spans_and_records_are_shown_until_it_was_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processors of the spool show what goes by, and forget the watch when it has nothing more to look for."""
    monkeypatch.setattr(serving, "missing", lambda: "advice")
    said: list[str] = []
    clock = Minutes()
    watch = serving.Watch(said.append, clock)
    spans = ShipperSpanProcessor(MemorySpool(), nothing_stated, look=watch.span)
    records = ShipperLogRecordProcessor(MemorySpool(), nothing_stated, look=watch.emitted)
    tracers, loggers = TracerProvider(shutdown_on_exit=False), LoggerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(spans)
    loggers.add_log_record_processor(records)

    def both() -> None:
        tracers.get_tracer("a").start_span("a").end()
        loggers.get_logger("a").emit(body="a")

    both()
    assert (spans._look, records._look) == (watch.span, watch.emitted)
    clock.now += 60
    both()
    assert said == ["advice"]
    assert (spans._look, records._look) == (None, None)


def test_a_process_knows_whether_it_listens(tmp_path: Path) -> None:
    """A listening TCP or unix socket of this process counts; connected ones and those of others do not."""
    assert not serving.listens()
    with socket.create_server(("127.0.0.1", 0)):
        assert serving.listens()
    with socket.create_server(("::1", 0), family=socket.AF_INET6):
        assert serving.listens()
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
        assert not serving.listens()
        unix.listen()
        assert serving.listens()
    assert not serving.listens()


def test_a_service_that_only_logs_is_noticed_too() -> None:
    """Log records of `logging` do not go by the providers, so the handler looks as well, until there is nothing to look for."""
    clock = Minutes()
    said: list[str] = []
    handler = serving.watched(logging.NullHandler(), serving.Watch(said.append, clock))
    record = logging.makeLogRecord({})
    assert handler.filter(record)
    assert handler.filters
    clock.now += 60
    assert handler.filter(record)
    assert handler.filters == []


@pytest.mark.parametrize(
    ("module", "fix"),
    [("fastapi", "shipper.init(app=app)"), ("bottle", "shipper.wsgi(app)"), ("aiohttp.web", "aiohttp-server")],
)
def test_the_advice_names_the_framework_and_the_fix(monkeypatch: pytest.MonkeyPatch, module: str, fix: str) -> None:
    """What is imported decides what to write; a program without a known framework is left alone."""
    for name in serving._FRAMEWORKS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    with socket.create_server(("127.0.0.1", 0)):
        assert serving.missing() == ""
        monkeypatch.setitem(sys.modules, module, ModuleType(module))
        assert fix in serving.missing()


def test_the_advice_is_a_note_for_the_status_too(tmp_path: Path) -> None:
    """It is one line in the service's log and a NOTE frame, which ``shipper status`` shows."""
    root = spool(tmp_path)
    answer = service(
        """
        import logging, socket, sys, types
        import shipper.sdk.web.serving as serving
        serving.PATIENCE = 0.0
        import shipper
        sys.modules["bottle"] = types.ModuleType("bottle")
        listening = socket.create_server(("127.0.0.1", 0))
        shipper.init(service="checkout", instrument=False)
        logging.getLogger("a").warning("a")
        logging.getLogger("a").warning("b")
        """,
        SHIPPER_SPOOL_DIR=str(root),
    )
    (note,) = only(root).notes
    assert "Bottle" in note
    assert answer.stderr.count(note) == 1
