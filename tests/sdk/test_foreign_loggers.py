"""structlog and loguru go through the bridge, each record once."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import loguru
import pytest
import structlog

from shipper.sdk.emit.fingerprint import FINGERPRINT
from shipper.sdk.logbridge import bridge
from shipper.sdk.logbridge.bridge import ShipperHandler
from tests.sdk.memory_spool import MemorySeries, MemorySpool, attributes_of, nothing_stated, plain

CODE = ("code.file.path", "code.function.name", "code.line.number")


@pytest.fixture
def series() -> Iterator[MemorySeries]:
    """The series that records go to; `logging`, structlog and loguru are left as they were found."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    root.setLevel(logging.DEBUG)
    kind = type(loguru.logger)
    remove = kind.remove
    loguru.logger.remove()
    spool = MemorySpool()
    bridge.install(ShipperHandler(spool, nothing_stated))
    yield spool.series("logs")
    bridge.uninstall()
    kind.remove = remove  # type: ignore[method-assign]
    loguru.logger.remove()
    structlog.reset_defaults()
    root.handlers[:], root.level = before


def only(series: MemorySeries) -> tuple[Any, dict[str, Any]]:
    (message,) = series.logs
    return plain(message.body), {key: value for key, value in attributes_of(message).items() if key not in CODE}


def structlog_with(*processors: Any) -> Any:
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, *processors],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    return structlog.get_logger("shop")


def test_structlog_that_renders_later_arrives_as_message_and_attributes(series: MemorySeries) -> None:
    """The dictionary that ``wrap_for_formatter`` leaves is no text; its keys become attributes."""
    log = structlog_with(structlog.stdlib.ProcessorFormatter.wrap_for_formatter)
    log.warning("paid", order=7, deep={"a": 1}, **{"otel.event.name": "order.paid"})
    assert only(series) == ("paid", {"order": 7, "deep": {"a": 1}})
    assert (series.logs[0].severity_number, series.logs[0].event_name) == (13, "order.paid")


def test_structlog_leaves_its_dictionary_to_other_handlers(series: MemorySeries) -> None:
    """What the bridge takes out of an event is still there for the formatter of the service."""
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Lines()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processor=structlog.processors.JSONRenderer(sort_keys=True))
    )
    logging.getLogger().addHandler(handler)
    structlog_with(structlog.stdlib.ProcessorFormatter.wrap_for_formatter).info("paid", order=7)
    assert lines == ['{"event": "paid", "level": "info", "logger": "shop", "order": 7}']


@pytest.mark.parametrize("rendered", [True, False])
def test_an_exception_of_structlog_has_its_fingerprint(series: MemorySeries, rendered: bool) -> None:
    """``exc_info`` of an event, rendered to a text before or not, ends as exception attributes."""
    processors = [structlog.processors.format_exc_info] if rendered else []
    log = structlog_with(*processors, structlog.stdlib.ProcessorFormatter.wrap_for_formatter)
    try:
        raise ValueError("bad")
    except ValueError:
        log.exception("failed")
    body, found = only(series)
    assert body == "failed"
    assert "ValueError: bad" in found["exception.stacktrace"]
    assert found[FINGERPRINT].startswith("v1-")
    assert "exc_info" not in found


def test_structlog_that_renders_to_keywords_arrives_as_extras(series: MemorySeries) -> None:
    """``render_to_log_kwargs`` gives `logging` what the bridge reads anyway."""
    structlog_with(structlog.stdlib.render_to_log_kwargs).info("paid", order=7)
    body, found = only(series)
    assert (body, found["order"]) == ("paid", 7)


def test_a_record_of_loguru_arrives_whole(series: MemorySeries) -> None:
    """Message, level, extras, place and time of a loguru record are those of the handed-over one."""
    loguru.logger.bind(user="u").success("order {} done", 7)
    assert only(series) == ("order 7 done", {"user": "u"})
    (given,) = series.given
    message = given.log
    assert (message.severity_text, message.severity_number) == ("SUCCESS", 12)
    assert attributes_of(message)["code.file.path"] == __file__
    assert series.scope_of(given).name == __name__
    assert abs(message.time_unix_nano - message.observed_time_unix_nano) < 10_000_000_000


def test_an_exception_of_loguru_has_its_fingerprint(series: MemorySeries) -> None:
    """``logger.exception`` says type, message and stack."""
    try:
        raise LookupError("nothing")
    except LookupError:
        loguru.logger.exception("failed")
    _, found = only(series)
    assert (found["exception.type"], found["exception.message"]) == ("LookupError", "nothing")
    assert found[FINGERPRINT].startswith("v1-")


def test_removing_all_sinks_of_loguru_leaves_the_bridge(series: MemorySeries) -> None:
    """The first line of most services that use loguru does not cost them their records."""
    loguru.logger.remove()
    loguru.logger.configure(handlers=[{"sink": lambda message: None}])
    loguru.logger.info("still here")
    assert only(series) == ("still here", {})


def test_records_that_logging_gives_to_loguru_arrive_once(series: MemorySeries) -> None:
    """The documented intercepting handler does not double what the bridge has seen already."""

    class Intercept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            loguru.logger.opt(depth=6, exception=record.exc_info).log(record.levelname, record.getMessage())

    logging.getLogger().handlers = [Intercept()]
    logging.getLogger("shop").warning("through both")
    assert only(series)[0] == "through both"
    loguru.logger.info("its own")
    assert [plain(one.body) for one in series.logs] == ["through both", "its own"]


@pytest.mark.parametrize("before", [True, False])
def test_records_that_loguru_gives_to_logging_arrive_once(series: MemorySeries, before: bool) -> None:
    """The documented propagating handler, added before or after the bridge, does not double them either."""

    class Propagate(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logging.getLogger(record.name).handle(record)

    number = loguru.logger.add(Propagate(), format="{message}")
    if before:
        loguru.logger.remove()  # the bridge is the first again
        loguru.logger.add(Propagate(), format="{message}")
    loguru.logger.bind(a=1).info("one")
    loguru.logger.bind(a=1).info("two")
    assert [plain(one.body) for one in series.logs] == ["one", "two"]
    assert number >= 0


LATER = """
import sys
from shipper.sdk.logbridge import bridge
from shipper.sdk.logbridge.bridge import ShipperHandler
from tests.sdk.memory_spool import MemorySpool, nothing_stated, plain
assert "loguru" not in sys.modules
spool = MemorySpool()
bridge.install(ShipperHandler(spool, nothing_stated))
before = len(sys.meta_path)
from loguru import logger
import loguru
assert len(sys.meta_path) == before - 1
assert type(loguru.__loader__).__name__ == type(loguru.__spec__.loader).__name__ == "SourceFileLoader"
logger.remove()
logger.info("late")
print([plain(one.body) for one in spool.series("logs").logs])
"""


def test_loguru_imported_later_is_bridged_too() -> None:
    """``init`` usually stands above the import of what uses loguru."""
    done = subprocess.run(
        [sys.executable, "-c", LATER], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False
    )
    assert (done.stdout, done.stderr) == ("['late']\n", "")
