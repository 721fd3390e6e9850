"""`shipper.init`: what a service gets by calling it once, and what it never does to a service."""

from __future__ import annotations

from pathlib import Path

from tests.sdk.initkit import only, service, spool, value, written

WORK = """
    import logging, shipper
    from opentelemetry import metrics, trace

    def work():
        with trace.get_tracer("shop").start_as_current_span("buy"):
            logging.getLogger("shop").warning("sold %d", 3)
            shipper.event("cache.warmed", {"entries": 5}, severity="WARN")
        metrics.get_meter("shop").create_counter("sales").add(3)
"""


def test_spans_logs_events_and_metrics_are_handed_over(tmp_path: Path) -> None:
    """After one call, what the service emits is in the spool: spans, log records, events and metrics, in one trace."""
    root = spool(tmp_path)
    service(WORK + "\n    shipper.init(service='checkout', instrument=False)\n    work()", SHIPPER_SPOOL_DIR=str(root))
    process = only(root)
    assert process.names == ["buy"]
    assert process.bodies == ["sold 3"]
    (event,) = [log for log in process.logs if log.event_name]
    assert (event.event_name, event.severity_number, bool(event.time_unix_nano)) == ("cache.warmed", 13, True)
    assert [value(pair.value) for pair in event.attributes] == [5]
    assert {log.trace_id for log in process.logs} == {process.spans[0].trace_id}
    assert len(process.metrics) == 1
    assert process.stated["service.name"] == "checkout"


def test_with_the_spool_nothing_heavy_is_imported_and_no_thread_started(tmp_path: Path) -> None:
    """A service that hands over through the spool pays for no network library, no protobuf, no event loop, no thread."""
    root = spool(tmp_path)
    answer = service(
        """
        import sys, threading, logging, shipper
        shipper.init(service="checkout", instrument=False)
        from opentelemetry import trace
        with trace.get_tracer("shop").start_as_current_span("buy"):
            logging.getLogger("shop").warning("sold")
        heavy = "grpc requests google.protobuf asyncio aiohttp msgspec ssl http.client opentelemetry.sdk.metrics"
        print([name for name in heavy.split() if name in sys.modules], threading.active_count())
        """,
        SHIPPER_SPOOL_DIR=str(root),
    )
    assert answer.stdout.split() == ["[]", "1"]
    assert only(root).names == ["buy"]


def test_importing_shipper_alone_imports_nothing() -> None:
    """The command imports the package too, so the facade loads its parts only when they are called."""
    answer = service(
        """
        import sys
        before = set(sys.modules)
        import shipper
        print(sorted(set(sys.modules) - before - {"__future__", "shipper"}))
        """
    )
    assert answer.stdout.strip() == "[]"


def test_a_service_without_any_sidecar_runs_as_ever_and_is_told_once() -> None:
    """Where there is neither a spool nor an endpoint, records are discarded; one sentence says so and what to do."""
    code = WORK + "\n    shipper.init(service='checkout', instrument=False)\n    work(); work(); shipper.shutdown()"
    answer = service(code, SHIPPER_SPOOL_DIR="/nonexistent/spool")
    assert answer.stderr.count("/nonexistent/spool") == 1
    assert "discarded" in answer.stderr
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in answer.stderr
    assert answer.stderr.startswith("shipper: there is no spool directory")  # nothing else would say who speaks
    formatted = service("    import logging; logging.basicConfig()" + code, SHIPPER_SPOOL_DIR="/nonexistent/spool")
    assert formatted.stderr.startswith("WARNING:shipper:there is no spool directory")


def test_the_spool_is_used_as_soon_as_it_is_there(tmp_path: Path) -> None:
    """A service that was started before the sidecar hands over when the sidecar has made the spool."""
    root = tmp_path / "spool"
    service(
        WORK
        + """
    import os, sys, time
    shipper.init(service="checkout", instrument=False)
    work()
    os.mkdir(os.environ["SHIPPER_SPOOL_DIR"], 0o700)
    deadline = time.monotonic() + 30
    while not os.listdir(os.environ["SHIPPER_SPOOL_DIR"]) and time.monotonic() < deadline:
        time.sleep(0.05)
        work()
    """,
        SHIPPER_SPOOL_DIR=str(root),
    )
    assert set(only(root).names) == {"buy"}


def test_a_second_call_changes_nothing_and_says_what_it_would_have(tmp_path: Path) -> None:
    """The first call stands; records are not doubled."""
    root = spool(tmp_path)
    code = """
    shipper.init(service="checkout", release="1", instrument=False)
    shipper.init(service="checkout", release="2", instrument=False)
    work()
    """
    answer = service(WORK + code, SHIPPER_SPOOL_DIR=str(root))
    assert "another release: the first call stands" in answer.stderr
    process = only(root)
    assert (process.names, process.bodies, len(process.logs)) == (["buy"], ["sold 3"], 2)
    assert process.stated["service.version"] == "1"


def test_a_call_in_code_after_zero_code_is_told_where_its_words_belong(tmp_path: Path) -> None:
    """Auto-instrumentation started first: what the code states then is not lost silently; an application is still taken."""
    root = spool(tmp_path)
    code = """
    from shipper.sdk.zero.post_instrument import after_instrumentation
    after_instrumentation()
    shipper.init(instrument=False)
    class App:
        def wsgi_app(self, environ, start_response):
            return []
    app = App()
    shipper.init(service="checkout", attributes={"team": "shop"}, app=app)
    work()
    print(type(app.wsgi_app).__name__)
    """
    answer = service(WORK + code, SHIPPER_SPOOL_DIR=str(root))
    assert answer.stdout.split() == ["WsgiMiddleware"]
    assert "shipper.init(service, attributes) changes nothing" in answer.stderr
    assert only(root).names == ["buy"]


def test_wrong_settings_are_said_and_the_service_runs(tmp_path: Path) -> None:
    """Each wrong setting is one sentence with what is used instead, never an exception."""
    root = spool(tmp_path)
    code = """
    shipper.init(service=7, release="1.2", attributes={"team": "shop", "odd": object()}, handoff="pigeon",
                 level="LOUD", logs="paper", instrument=False)
    work()
    """
    answer = service(WORK + code, SHIPPER_SPOOL_DIR=str(root), SHIPPER_SERVICE="checkout")
    for word in ("service=7", "'odd'", "'pigeon'", "'LOUD'", "'paper'"):
        assert sum(word in line for line in answer.stderr.splitlines()) == 1, answer.stderr
    process = only(root)
    assert process.names == ["buy"]
    assert (process.stated["service.name"], process.stated["team"]) == ("checkout", "shop")


def test_a_redaction_that_is_no_function_lets_nothing_out(tmp_path: Path) -> None:
    """The default of redaction is none, which is no answer to a mistake: then nothing is handed over."""
    root = spool(tmp_path)
    code = WORK + "\n    shipper.init(redact='passwords', instrument=False)\n    work()"
    answer = service(code, SHIPPER_SPOOL_DIR=str(root))
    assert "nothing is handed over unredacted" in answer.stderr
    assert written(root) == []


def test_redaction_and_level_reach_the_records(tmp_path: Path) -> None:
    """Texts go through the hook on every signal; records below the level are not taken."""
    root = spool(tmp_path)
    code = """
    logging.getLogger().setLevel(logging.DEBUG)
    shipper.init(redact=lambda text: text.replace("sold", "[x]"), level="WARNING", instrument=False)
    logging.getLogger("shop").info("not taken")
    work()
    shipper.event("paid", {"text": "was sold", "deep": {"set": {"." * 65_533 + "sold"}}})
    """
    service(WORK + code, SHIPPER_SPOOL_DIR=str(root))
    assert only(root).bodies == ["[x] 3"]
    assert value(only(root).logs[-1].attributes[0].value) == "was [x]"
    assert b"sol" not in only(root).logs[-1].SerializeToString()


def test_providers_of_the_service_are_used_not_replaced(tmp_path: Path) -> None:
    """A service that set up OpenTelemetry keeps its providers and exporters; ours are added, and its resource is stated."""
    root = spool(tmp_path)
    answer = service(
        WORK
        + """
    from opentelemetry import _logs
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    resource = Resource.create({"service.name": "own", "team": "shop"})
    tracers, memory, reader = TracerProvider(resource=resource), InMemorySpanExporter(), InMemoryMetricReader()
    tracers.add_span_processor(SimpleSpanProcessor(memory))
    trace.set_tracer_provider(tracers)
    _logs.set_logger_provider(LoggerProvider(resource=resource))
    metrics.set_meter_provider(MeterProvider([reader], resource=resource))
    shipper.init(instrument=False)
    work()
    print(trace.get_tracer_provider() is tracers, len(memory.get_finished_spans()))
    """,
        SHIPPER_SPOOL_DIR=str(root),
    )
    assert answer.stdout.split() == ["True", "1"]
    process = only(root)
    assert (process.names, process.bodies, len(process.metrics)) == (["buy"], ["sold 3"], 1)
    assert (process.stated["service.name"], process.stated["team"]) == ("own", "shop")
    assert process.stated["service.instance.id"] == process.hello.instance


def test_whoever_runs_a_service_can_silence_it(tmp_path: Path) -> None:
    """SHIPPER_HANDOFF=off wins over the code; event, identity and shutdown still answer."""
    root = spool(tmp_path)
    code = """
    shipper.init(service="checkout", handoff="spool", instrument=False)
    work()
    print(shipper.identity().service)
    shipper.shutdown()
    """
    answer = service(WORK + code, SHIPPER_SPOOL_DIR=str(root), SHIPPER_HANDOFF="off")
    assert answer.stdout.split() == ["checkout"]
    assert written(root) == []


def test_where_stdout_is_collected_the_bridge_hands_no_record_over(tmp_path: Path) -> None:
    """SHIPPER_LOGS=stdout: log records leave where they are printed, spans and events through the spool."""
    root = spool(tmp_path)
    code = WORK + "\n    shipper.init(instrument=False)\n    work()"
    service(code, SHIPPER_SPOOL_DIR=str(root), SHIPPER_LOGS="stdout")
    process = only(root)
    assert (process.names, process.bodies) == (["buy"], [])
    assert [log.event_name for log in process.logs] == ["cache.warmed"]


def test_a_handler_of_ours_can_be_put_where_the_service_wants_it(tmp_path: Path) -> None:
    """With ``logs="off"`` logging is left alone, and ``logging_handler`` gives the handler."""
    root = spool(tmp_path)
    code = """
    shipper.init(logs="off", instrument=False)
    logging.getLogger("shop.audit").addHandler(shipper.logging_handler("ERROR"))
    assert shipper.logging_handler("LOUD").level == logging.NOTSET
    logging.getLogger("shop").error("not here")
    logging.getLogger("shop.audit").warning("not this")
    logging.getLogger("shop.audit").error("this")
    """
    service(WORK + code, SHIPPER_SPOOL_DIR=str(root))
    assert only(root).bodies == ["this"]


def test_init_survives_whatever_breaks_inside_it() -> None:
    """A fault of ours is one sentence in the service's log, and the service runs."""
    answer = service(
        """
        import shipper
        import shipper.sdk.start as start
        start.choose = lambda *_: 1 / 0
        shipper.init(service="checkout")
        print("running")
        """
    )
    assert answer.stdout.split() == ["running"]
    assert "shipper.init failed and was left out: ZeroDivisionError" in answer.stderr


def test_an_event_may_hold_what_a_log_record_may(tmp_path: Path) -> None:
    """Values OpenTelemetry does not know arrive as from `logging`, with no warning for each; odd arguments cost no event."""
    root = spool(tmp_path)
    answer = service(
        """
        import datetime, decimal, logging, shipper
        logging.basicConfig()
        shipper.init(service="checkout", instrument=False)
        class Odd:
            def __str__(self):
                raise ValueError
        shipper.event("paid", {"sum": decimal.Decimal("1.50"), "day": datetime.date(2026, 1, 2), 7: {"b", "a"}, "odd": Odd()})
        shipper.event("paid", ["not", "a", "mapping"])
        shipper.event(None)
        """,
        SHIPPER_SPOOL_DIR=str(root),
    )
    process = only(root)
    assert [log.event_name for log in process.logs] == ["paid", "paid", "unnamed"]
    found = {pair.key: value(pair.value) for pair in process.logs[0].attributes}
    assert found == {"sum": "1.50", "day": "2026-01-02", "7": ["a", "b"], "odd": "[Odd: str() raised ValueError]"}
    said = answer.stderr.splitlines()
    assert ["WARNING:shipper:shipper.event(" in line for line in said] == [True, True], said
