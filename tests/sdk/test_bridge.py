"""Records of `logging` are handed over, whatever a service does to its logging."""

from __future__ import annotations

import logging
import logging.config
import logging.handlers
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from shipper.handoff.frame import ERROR
from shipper.sdk.emit.fingerprint import FINGERPRINT
from shipper.sdk.emit.limits import count_limit, length_limit
from shipper.sdk.emit.logs import LogEncoder, ShipperLogRecordProcessor
from shipper.sdk.emit.redact import Texts
from shipper.sdk.logbridge import bridge, hook
from shipper.sdk.logbridge.bridge import ShipperHandler
from tests.sdk.memory_spool import MemorySeries, MemorySpool, attributes_of, nothing_stated, plain

CODE = ("code.file.path", "code.function.name", "code.line.number")
log = logging.getLogger("shop.orders")


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    """Leave `logging` as it was found."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    log.setLevel(logging.DEBUG)
    yield
    bridge.uninstall()
    root.handlers[:], root.level = before
    log.setLevel(logging.NOTSET)
    log.disabled = False
    log.propagate = True
    log.handlers.clear()


def bridged(spool: MemorySpool | None = None, **options: Any) -> MemorySeries:
    """The series that records go to from now on."""
    spool = spool or MemorySpool()
    bridge.install(ShipperHandler(spool, nothing_stated, **options))
    return spool.series("logs")


def bodies(series: MemorySeries) -> list[Any]:
    return [plain(message.body) for message in series.logs]


def extras(series: MemorySeries, index: int = -1) -> dict[str, Any]:
    return {key: value for key, value in attributes_of(series.logs[index]).items() if key not in CODE}


def test_a_logged_record_has_its_message_severity_logger_and_place() -> None:
    """Message, level, logger name and the place in the code arrive; the head tells errors."""
    series = bridged()
    log.warning("order %s took %d ms", "A7", 12)
    log.error("failed")
    first, second = series.given
    message = first.log
    assert plain(message.body) == "order A7 took 12 ms"
    assert (message.severity_number, message.severity_text) == (13, "WARN")
    assert series.scope_of(first).name == "shop.orders"
    found = attributes_of(message)
    assert found["code.file.path"] == __file__
    assert found["code.function.name"] == "test_a_logged_record_has_its_message_severity_logger_and_place"
    assert found["code.line.number"] > 1
    assert message.observed_time_unix_nano == first.time_ns
    assert 0 <= message.observed_time_unix_nano - message.time_unix_nano < 10_000_000_000
    assert (first.severity, first.flags) == (13, 0)
    assert (second.severity, second.flags) == (17, ERROR)


def test_severities_are_those_of_the_stock_handler() -> None:
    """Levels of any number and name, custom ones too, come out as OpenTelemetry's handler has them."""
    logging.addLevelName(25, "NOTICE")
    series = bridged()
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=Resource({}), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    stock = LoggingHandler(logger_provider=provider)
    for level in (1, 5, 10, 13, 20, 25, 30, 39, 40, 50, 53, 54, 1000):
        record = logging.LogRecord("n", level, "p", 1, "m", None, None)
        stock.handle(record)
        log.handle(record)
    theirs = [(one.log_record.severity_number, one.log_record.severity_text) for one in exporter.get_finished_logs()]
    assert [(SeverityNumber(one.severity_number), one.severity_text) for one in series.logs] == theirs


def test_extras_become_attributes_of_their_types() -> None:
    """What is given as ``extra`` arrives, nested as it is; what every record has does not."""
    series = bridged()
    log.info("m", extra={"user": "u", "n": 7, "ok": True, "ratio": 0.5, "deep": {"a": [1, None]}, 5: "five"})
    assert extras(series) == {"user": "u", "n": 7, "ok": True, "ratio": 0.5, "deep": {"a": [1, None]}, "5": "five"}


def test_an_event_name_is_no_attribute() -> None:
    """``otel.event.name`` makes the record an event."""
    series = bridged()
    log.info("m", extra={"otel.event.name": "order.paid", "total": 5})
    assert series.logs[0].event_name == "order.paid"
    assert extras(series) == {"total": 5}


def test_records_carry_the_ids_of_the_current_span() -> None:
    """Logs are found from a trace, and only those logged inside it."""
    series = bridged()
    span = NonRecordingSpan(SpanContext((1 << 64) | 77, 5, False, TraceFlags(1)))
    log.info("outside")
    with trace.use_span(span):
        log.info("inside")
        log.info("inside again")
    log.info("outside again")
    assert [one.trace for one in series.given] == [0, 77, 77, 0]
    assert [one.span_id.hex() for one in series.logs] == ["", "0" * 15 + "5", "0" * 15 + "5", ""]
    assert series.logs[1].trace_id == span.get_span_context().trace_id.to_bytes(16, "big")
    assert [one.flags for one in series.logs] == [0, 1, 1, 0]


def test_an_exception_arrives_with_type_message_stack_and_fingerprint() -> None:
    """``log.exception`` says what happened, where, and what it is called."""
    series = bridged()
    try:
        raise ValueError("bad total") from KeyError("total")
    except ValueError:
        log.exception("failed")
    found = extras(series)
    assert found["exception.type"] == "ValueError"
    assert found["exception.message"] == "bad total"
    assert "KeyError: 'total'" in found["exception.stacktrace"]
    assert found[FINGERPRINT].startswith("v1-")
    log.info("with a stack", stack_info=True)
    assert "test_an_exception_arrives" in extras(series)["code.stacktrace"]
    log.error("no exception is being handled", exc_info=True)
    assert extras(series) == {}


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


@pytest.mark.parametrize(
    "arguments", [("%d", "x"), ("%s %s", "x"), ("%s", Hostile()), ("{}", "x"), ("%(a)s", {"b": 1})]
)
def test_a_message_that_does_not_fit_its_arguments_arrives_as_it_is(arguments: tuple[Any, ...]) -> None:
    """A mistake in a format string costs neither the service nor the record."""
    series = bridged()
    log.propagate = False
    log.addHandler(logging.NullHandler())
    log.info(*arguments)
    assert str(arguments[0]) in bodies(series)[0]
    assert "do not fit" in bodies(series)[0]


def test_messages_that_are_no_text_become_one() -> None:
    """Any object can be logged."""
    series = bridged()
    log.propagate = False
    log.addHandler(logging.NullHandler())
    for odd in (None, 7, ["a"], ValueError("v"), Hostile()):
        log.info(odd)
    assert bodies(series)[:4] == ["None", "7", "['a']", "v"]
    assert len(bodies(series)) == 5


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


class Talkative:
    """Logs when it is asked for its text."""

    def __init__(self, endlessly: bool = False) -> None:
        self.endlessly = endlessly

    def __str__(self) -> str:
        log.info("inside %s", self if self.endlessly else "str()")
        return "talkative"


def test_logging_while_a_record_is_encoded_is_a_record_too() -> None:
    """The __str__ of an argument may log; what is not endless arrives whole."""
    series = bridged()
    log.propagate = False
    log.addHandler(logging.NullHandler())
    log.info("outer %s", Talkative())
    assert bodies(series) == ["inside str()", "outer talkative"]


def test_endless_logging_ends() -> None:
    """An object that logs itself whenever it is logged is stopped, counted, and hurts nobody."""
    spool = MemorySpool()
    handler = ShipperHandler(spool, nothing_stated)
    bridge.install(handler)
    log.propagate = False
    log.addHandler(logging.NullHandler())
    log.info("outer %s", Talkative(endlessly=True))
    assert 1 <= len(bodies(spool.series("logs"))) <= 4
    assert sum(handler.faults.counts.values()) >= 1


def test_a_signal_handler_may_log_while_a_record_is_handed_over() -> None:
    """The interrupted record and the one of the signal handler both arrive: there is no lock to wait for."""
    spool = MemorySpool()
    series = spool.series("logs")
    append, signals = series.append, []

    def interrupted(*args: Any, **kwargs: Any) -> bool:
        if not signals:
            signals.append(1)
            os.kill(os.getpid(), signal.SIGUSR1)
        return append(*args, **kwargs)

    series.append = interrupted  # type: ignore[method-assign]
    before = signal.signal(signal.SIGUSR1, lambda *_: log.warning("from the handler"))
    try:
        bridged(spool)
        log.info("interrupted")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert sorted(bodies(series)) == ["from the handler", "interrupted"]


def test_a_thread_that_is_stuck_in_the_handover_stops_no_other() -> None:
    """No lock is held while a record is written."""
    spool = MemorySpool()
    series = spool.series("logs")
    append, go, stuck = series.append, threading.Event(), threading.Event()

    def slow(*args: Any, **kwargs: Any) -> bool:
        if threading.current_thread() is not threading.main_thread():
            stuck.set()
            go.wait(30)
        return append(*args, **kwargs)

    series.append = slow  # type: ignore[method-assign]
    bridged(spool)
    thread = threading.Thread(target=log.info, args=("slow",))
    thread.start()
    assert stuck.wait(30)
    log.info("not held up")
    assert bodies(series) == ["not held up"]
    go.set()
    thread.join()
    assert bodies(series) == ["not held up", "slow"]


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


def test_the_number_of_attributes_is_limited_and_the_rest_counted() -> None:
    """``OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT`` leaves the first ones."""
    series = bridged(limit=3)
    log.info("m", extra={f"k{number}": number for number in range(10)})
    assert extras(series) == {"k0": 0, "k1": 1, "k2": 2}
    assert series.logs[0].dropped_attributes_count == 7


def test_limits_are_read_as_opentelemetry_reads_them() -> None:
    """The limit of log records beats the general one; empty means none; nonsense means the default."""
    assert count_limit({}) == 128
    assert count_limit({"OTEL_ATTRIBUTE_COUNT_LIMIT": "5"}) == 5
    assert count_limit({"OTEL_ATTRIBUTE_COUNT_LIMIT": "5", "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": " 7 "}) == 7
    assert count_limit({"OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": ""}) is None
    assert count_limit({"OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": "many"}) == 128
    assert length_limit({}) is None
    assert length_limit({"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "100"}) == 100


def test_redaction_reaches_message_extras_and_exceptions() -> None:
    """Nothing that the hook hides leaves the process, not even in a stack."""
    texts = Texts(lambda text: text.replace("4711", "****"))
    series = bridged(encoder=LogEncoder(texts))
    try:
        raise ValueError("pin 4711")
    except ValueError:
        log.exception("pin %s", "4711", extra={"pin": "4711", "deep": [{"pin": "4711"}]})
    assert b"4711" not in series.given[0].body
    assert bodies(series) == ["pin ****"]


def test_a_hook_that_raises_hides_everything() -> None:
    """A redaction that fails gives a placeholder, is counted and said once, and never lets the original through."""
    said: list[str] = []
    from shipper.sdk.faults import Faults

    texts = Texts(lambda text: text + 1, Faults(said.append))  # type: ignore[operator]
    series = bridged(encoder=LogEncoder(texts))
    log.info("pin 4711", extra={"a": "4711", "n": 5})
    log.info("pin 4711")
    assert b"4711" not in b"".join(one.body for one in series.given)
    assert bodies(series) == ["[redaction failed]"] * 2
    assert extras(series, 0) == {"a": "[redaction failed]", "n": 5}
    assert texts.faults.counts == {"the redaction hook failed": 3}
    assert said == ["the redaction hook failed (TypeError); further ones are only counted"]


def test_a_forked_child_declares_its_scopes_and_resource_anew() -> None:
    """Numbers of the parent's series mean nothing in the child's."""
    spool = MemorySpool()
    asked: list[int] = []
    bridged(spool, resource=lambda: asked.append(os.getpid()))
    log.info("parent")
    child = os.fork()
    if child == 0:
        spool.series("logs").scopes.clear()
        log.info("child")
        log.info("child again")
        os._exit(0 if len(spool.series("logs").scopes) == 1 and len(asked) == 2 and asked[1] == os.getpid() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert asked == [os.getpid()]


def test_without_a_spool_the_same_record_goes_to_the_provider() -> None:
    """In the fallback ids, place, exception and fingerprint are the same, and stock handlers double nothing."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=Resource({}), shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    bridge.install(ShipperHandler(provider=provider, encoder=LogEncoder(Texts(lambda text: text.replace("4711", "*")))))
    logging.getLogger().addHandler(LoggingHandler(logger_provider=provider))
    span = NonRecordingSpan(SpanContext(77, 5, False, TraceFlags(1)))
    with trace.use_span(span):
        try:
            raise ValueError("pin 4711")
        except ValueError:
            log.exception("pin %d", 4711, extra={"otel.event.name": "e", "deep": {"a": {"4711"}}, "odd": object})
    (one,) = exporter.get_finished_logs()
    record = one.log_record
    assert (record.body, record.event_name, record.severity_text) == ("pin *", "e", "ERROR")
    assert (record.trace_id, record.span_id, int(record.trace_flags or 0)) == (77, 5, 1)
    assert record.attributes is not None
    assert record.attributes["exception.message"] == "pin *"
    assert str(record.attributes[FINGERPRINT]).startswith("v1-")
    assert record.attributes["deep"] == {"a": ("*",)}
    assert record.attributes["code.file.path"] == __file__
    assert one.instrumentation_scope is not None
    assert one.instrumentation_scope.name == "shop.orders"


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


def test_the_thread_is_told_where_that_is_wanted() -> None:
    """With ``thread=True`` a record says which thread logged it."""
    series = bridged(thread=True)
    log.info("m")
    assert extras(series) == {"thread.id": threading.get_ident(), "thread.name": threading.current_thread().name}


def test_odd_records_are_the_services_own_trouble_only() -> None:
    """Records made by hand with impossible fields are counted or told, and never raise."""
    spool = MemorySpool()
    handler = ShipperHandler(spool, nothing_stated)
    handler.handle(logging.makeLogRecord({"msg": "no name", "levelno": 20, "levelname": None, "name": None}))
    handler.handle(logging.makeLogRecord({"msg": "no time", "levelno": 20, "levelname": "INFO", "created": None}))
    handler.handle(logging.makeLogRecord({"msg": "no level", "levelno": None}))
    handler.handle(logging.makeLogRecord({"msg": "odd exception", "levelno": 20, "exc_info": (1, 2, 3)}))
    series = spool.series("logs")
    assert bodies(series) == ["no name", "odd exception"]
    assert sum(series.dropped.values()) == 2


LAST_WORDS = """
import builtins, logging, sys, threading
from shipper.sdk.logbridge import bridge
from shipper.sdk.logbridge.bridge import ShipperHandler
from tests.sdk.memory_spool import MemorySpool, nothing_stated

class Last:
    def __init__(self, say=print):
        self.log = logging.getLogger("last")
    def __del__(self):
        self.log.info("words")

logging.getLogger().setLevel(10)
bridge.install(ShipperHandler(MemorySpool(), nothing_stated))
builtins.last = Last()
sys.modules["zzz_last"] = Last()
Last.cycle = Last()
logging.getLogger("last").info("first")
"""


def test_the_last_words_of_an_ending_interpreter_are_no_trouble() -> None:
    """Objects that log while the interpreter goes down, modules half gone, raise nothing."""
    done = subprocess.run(
        [sys.executable, "-c", LAST_WORDS], capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_service_at_the_end_of_its_stack_gets_no_fault_of_ours() -> None:
    """Logging in the depth of an endless recursion raises nothing but the recursion's own error."""
    series = bridged()
    log.propagate = False
    log.addHandler(logging.NullHandler())
    reached = []

    def deeper(depth: int) -> None:
        reached.append(depth)
        try:
            deeper(depth + 1)
        finally:
            for handler in (hook.installed(),):
                assert handler is not None
                handler.handle(RECORD)

    with pytest.raises(RecursionError):
        deeper(0)
    assert len(series.given) > 100
    log.info("counted now")
    assert set(series.dropped) <= {"stack exhausted"}


RECORD = logging.LogRecord("shop.orders", 20, "p", 1, "m", None, None)


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
