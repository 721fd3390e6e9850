"""Records are handed over whatever a service, or a library in it, does to its logging, and none of them twice."""

from __future__ import annotations

import logging
import logging.config
import logging.handlers
import queue
import sys
from typing import Any

import pytest
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from shipper.sdk.emit.logs import ShipperLogRecordProcessor
from shipper.sdk.logbridge import bridge, hook
from shipper.sdk.logbridge.bridge import ShipperHandler
from tests.sdk.bridge_kit import bodies, bridged, log
from tests.sdk.memory_spool import MemorySpool, nothing_stated

pytestmark = pytest.mark.usefixtures("untouched_logging")


def test_the_bridge_survives_every_configuration_of_logging(tmp_path: Any) -> None:
    """After basicConfig(force), dictConfig, fileConfig and a cleared list of handlers records still arrive, once each."""
    series = bridged()
    config = {"version": 1, "disable_existing_loggers": False, "root": {"level": "DEBUG", "handlers": []}}
    ini = tmp_path / "logging.ini"
    ini.write_text(
        "[loggers]\nkeys=root\n[handlers]\nkeys=\n[formatters]\nkeys=\n[logger_root]\nlevel=DEBUG\nhandlers=\n"
    )
    logging.basicConfig(force=True, handlers=[logging.NullHandler()])
    log.info("1")
    logging.config.dictConfig(config)
    log.info("2")
    logging.config.fileConfig(ini, disable_existing_loggers=False)
    log.info("3")
    logging.getLogger().handlers = [logging.NullHandler()]
    log.info("4")
    log.addHandler(logging.NullHandler())
    log.propagate = False
    log.info("5")
    assert bodies(series) == ["1", "2", "3", "4", "5"]


def test_a_service_without_logging_keeps_its_words_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """The bridge is no handler of the root logger, so that warnings still reach the console as before."""
    logging.getLogger().handlers = []
    series = bridged()
    log.warning("to the console, too")
    assert capsys.readouterr().err == "to the console, too\n"
    logging.basicConfig(stream=sys.stderr, format="[%(message)s]")
    log.warning("configured")
    assert capsys.readouterr().err == "[configured]\n"
    assert len(bodies(series)) == 2


def test_levels_and_filters_count() -> None:
    """What the logger's level or filter, the handler's level or its filter refuses is not handed over."""
    spool = MemorySpool()
    handler = ShipperHandler(spool, nothing_stated, level=logging.WARNING)
    handler.addFilter(lambda record: "quiet" not in record.getMessage())
    bridge.install(handler)
    log.setLevel(logging.INFO)
    log.debug("below the logger's level")
    log.info("below the handler's level")
    log.warning("quiet please")
    log.warning("heard")
    assert bodies(spool.series("logs")) == ["heard"]


def test_a_filter_that_raises_is_counted() -> None:
    """A broken filter of the bridge is not the service's trouble."""
    handler = ShipperHandler(MemorySpool(), nothing_stated)
    handler.addFilter(lambda record: 1 // 0)
    bridge.install(handler)
    log.info("m")
    assert handler.faults.counts == {"a filter of the log bridge failed": 1}


def test_our_own_loggers_never_feed_themselves() -> None:
    """What Shipper and OpenTelemetry's exporters say about their own faults is not handed over."""
    series = bridged()
    for name in ("shipper", "shipper.sdk", "opentelemetry.exporter.otlp.proto.http"):
        logging.getLogger(name).error("cannot export")
    logging.getLogger("shipper_of_somebody_else").error("mine")
    assert bodies(series) == ["mine"]


def test_records_of_a_queue_handler_are_not_handed_over_twice() -> None:
    """A service that logs through a queue and a listener is seen where it logs."""
    series = bridged()
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    log.addHandler(logging.handlers.QueueHandler(waiting))
    listener = logging.handlers.QueueListener(waiting, logging.NullHandler())
    listener.start()
    log.info("queued")
    listener.stop()
    assert bodies(series) == ["queued"]


def test_opentelemetrys_own_handler_does_not_double_records() -> None:
    """Installed before or after the bridge, its handler gives our processor nothing that the bridge has handed over."""
    spool = MemorySpool()
    provider = LoggerProvider(resource=Resource({}), shutdown_on_exit=False)
    provider.add_log_record_processor(ShipperLogRecordProcessor(spool, nothing_stated))
    root = logging.getLogger()
    root.addHandler(LoggingHandler(logger_provider=provider))
    series = bridged(spool)
    assert not any(isinstance(handler, LoggingHandler) for handler in root.handlers)
    root.addHandler(LoggingHandler(logger_provider=provider))
    log.info("once")
    provider.get_logger("api").emit(body="through the API")
    assert bodies(series) == ["once", "through the API"]
    bridge.uninstall()
    log.info("by their handler")
    assert bodies(series)[2:] == ["by their handler"]


def test_what_an_exporter_logs_while_it_exports_is_not_exported() -> None:
    """In the fallback, requests' and urllib3's lines about an export would be exported, and so on for ever."""
    provider = LoggerProvider(resource=Resource({}), shutdown_on_exit=False)

    class Exporter(InMemoryLogRecordExporter):
        def export(self, batch: Any) -> Any:
            logging.getLogger("urllib3").error("connection lost")
            return super().export(batch)

    exporter = Exporter()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    bridge.install(ShipperHandler(provider=provider))
    log.error("m")
    logging.getLogger("opentelemetry.sdk").error("cannot export")
    assert [one.log_record.body for one in exporter.get_finished_logs()] == ["m"]


def test_a_hook_of_somebody_else_around_ours_stays() -> None:
    """Uninstalling behind another library's wrapper leaves a chain that works."""
    series = bridged()
    ours = logging.Logger.callHandlers
    seen: list[str] = []

    def theirs(self: logging.Logger, record: logging.LogRecord) -> None:
        seen.append(record.getMessage())
        ours(self, record)

    logging.Logger.callHandlers = theirs  # type: ignore[method-assign]
    try:
        bridge.uninstall()
        assert hook.installed() is None
        log.info("1")
        again = bridged()
        log.info("2")
    finally:
        logging.Logger.callHandlers = ours  # type: ignore[method-assign]
    assert seen == ["1", "2"]
    assert (bodies(series), bodies(again)) == ([], ["2"])
