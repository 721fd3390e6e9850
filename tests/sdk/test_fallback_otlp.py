"""Without a spool, by OTLP: everything arrives with the identity, and no end of a process is ever held up."""

from __future__ import annotations

import gzip
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.sdk.initkit import environment, points, service, value

KINDS: dict[str, Any] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
}
EMIT = """
import logging, os, shipper, signal, sys, time
from opentelemetry import metrics, trace

def emit(number, name="s"):
    for _ in range(number):
        with trace.get_tracer("t").start_as_current_span(name):
            logging.getLogger("t").warning("password=%s", "hunter2")
"""


class Backend:
    """An OTLP/HTTP receiver on loopback that keeps what it gets; with ``answers`` cleared it never answers."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any]] = []
        self.answers = threading.Event()
        self.answers.set()
        backend = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                backend.answers.wait()
                backend.requests.append((self.path, KINDS[self.path].FromString(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """A client that was killed in the middle."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.answers.set()
        self._server.shutdown()
        self._server.server_close()

    def of(self, path: str) -> list[Any]:
        return [request for where, request in self.requests if where == path]

    @property
    def spans(self) -> list[Any]:
        return [s for r in self.of("/v1/traces") for rs in r.resource_spans for ss in rs.scope_spans for s in ss.spans]

    @property
    def logs(self) -> list[Any]:
        return [
            x for r in self.of("/v1/logs") for rl in r.resource_logs for sl in rl.scope_logs for x in sl.log_records
        ]

    def resources(self) -> list[dict[str, Any]]:
        found = [rs.resource for request in self.of("/v1/traces") for rs in request.resource_spans]
        return [{pair.key: value(pair.value) for pair in resource.attributes} for resource in found]


@pytest.fixture
def backend() -> Iterator[Backend]:
    """A backend that answers."""
    made = Backend()
    yield made
    made.close()


def settings(backend: Backend) -> dict[str, str]:
    return {"SHIPPER_SPOOL_DIR": "/nonexistent/spool", "OTEL_EXPORTER_OTLP_ENDPOINT": backend.url}


def test_an_explicit_endpoint_is_used_where_there_is_no_spool(backend: Backend) -> None:
    """Spans, log records and metrics arrive with the full identity; which way was taken is said once."""
    answer = service(
        EMIT
        + """
logging.basicConfig(level=logging.INFO, format="%(message)s")
shipper.init(service="checkout", release="1.2", generation="g1", instrument=False)
metrics.get_meter("t").create_counter("sales").add(3)
emit(600)
""",
        **settings(backend),
    )
    assert len(backend.spans) == 600
    assert len(backend.logs) == 600  # without what we say ourselves
    assert ("sales", 3) in [point for request in backend.of("/v1/metrics") for point in points(request)]
    (resource, *_) = backend.resources()
    assert resource["service.name"] == "checkout"
    assert resource["service.version"] == "1.2"
    assert resource["shipper.generation"] == "g1"
    assert resource["os.type"] == "linux"
    assert answer.stderr.count("records are sent by OTLP (OTEL_EXPORTER_OTLP_ENDPOINT)") == 1


def test_an_endpoint_in_code_is_a_base_url(backend: Backend) -> None:
    """``endpoint=`` means what OTEL_EXPORTER_OTLP_ENDPOINT means: the path of each signal is appended."""
    env = {"SHIPPER_SPOOL_DIR": "/nonexistent/spool"}
    service(EMIT + f"shipper.init(handoff='otlp', endpoint={backend.url!r}, instrument=False)\nemit(1)", **env)
    assert {path for path, _ in backend.requests} == {"/v1/traces", "/v1/logs"}


def test_redaction_holds_on_this_way_too(backend: Backend) -> None:
    """Nothing that the hook takes out leaves the process, neither in names of spans nor in log records."""
    code = """
shipper.init(handoff="otlp", redact=lambda text: text.replace("hunter2", "***"), instrument=False)
emit(2, name="login hunter2")
with trace.get_tracer("t").start_as_current_span("x", attributes={"password": "hunter2"}) as span:
    span.add_event("hunter2", {"again": ["hunter2"]})
shipper.event("login", {"password": "hunter2"})
"""
    service(EMIT + code, **settings(backend))
    sent = b"".join(request.SerializeToString() for _, request in backend.requests)
    assert len(backend.spans) == 3
    assert sent.count(b"***") >= 8
    assert b"hunter2" not in sent


def test_sigterm_flushes_and_then_does_what_it_does(backend: Backend) -> None:
    """A service that does not handle SIGTERM dies of it, after what was queued is sent."""
    code = "shipper.init(instrument=False)\nemit(100)\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(60)"
    service(EMIT + code, expect=-signal.SIGTERM, **settings(backend))
    assert (len(backend.spans), len(backend.logs)) == (100, 100)


def test_a_service_that_ends_while_its_death_is_put_off_still_dies_of_the_signal(backend: Backend) -> None:
    """Whoever looks at the exit status sees SIGTERM, whether the flush or the program was faster."""
    code = "shipper.init(instrument=False)\nemit(100)\nos.kill(os.getpid(), signal.SIGTERM)\nsys.exit(0)"
    service(EMIT + code, expect=-signal.SIGTERM, **settings(backend))
    assert (len(backend.spans), len(backend.logs)) == (100, 100)


def test_sigterm_still_reaches_the_services_own_handler(backend: Backend) -> None:
    """A handler that was there before runs, ends the service its own way, and what it emitted arrives too."""
    code = """
def stop(*_):
    emit(1, name="stopping")
    sys.exit(7)
signal.signal(signal.SIGTERM, stop)
shipper.init(instrument=False)
emit(10)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(60)
"""
    service(EMIT + code, expect=7, **settings(backend))
    assert len(backend.spans) == 11


def test_a_server_that_ends_by_the_default_action_loses_nothing_it_queued_before(backend: Backend) -> None:
    """A handler that puts the default action back and raises the signal again, as uvicorn does, leaves time to flush."""
    code = """
def stop(*_):
    global stopping
    stopping = True
stopping = False
signal.signal(signal.SIGTERM, stop)
shipper.init(instrument=False)
emit(100)
os.kill(os.getpid(), signal.SIGTERM)
from shipper.sdk.start import started
queues = started().way._queues
while not stopping or any(tally.waiting for tally in queues._tallies):
    time.sleep(0.01)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.raise_signal(signal.SIGTERM)
"""
    service(EMIT + code, expect=-signal.SIGTERM, **settings(backend))
    assert len(backend.spans) == 100


@pytest.mark.parametrize("end", ["exit", "sigterm"])
def test_a_backend_that_never_answers_holds_no_end_up(backend: Backend, end: str) -> None:
    """The process ends although nobody answers and the exporter would wait for an hour; what is lost is counted and said."""
    backend.answers.clear()
    ending = "os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(60)" if end == "sigterm" else ""
    answer = service(
        EMIT + f"shipper.init(instrument=False)\nemit(700)\n{ending}",
        expect=-signal.SIGTERM if end == "sigterm" else 0,
        OTEL_EXPORTER_OTLP_TIMEOUT="3600",
        **settings(backend),
    )
    assert "700 of 700 spans could not be sent" in answer.stderr
    assert "700 of 700 log records could not be sent" in answer.stderr


def test_a_backend_that_is_not_there_holds_no_end_up() -> None:
    """The same with nobody listening."""
    answer = service(
        EMIT + "shipper.init(instrument=False)\nemit(5)",
        SHIPPER_SPOOL_DIR="/nonexistent/spool",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        OTEL_EXPORTER_OTLP_TIMEOUT="3600",
    )
    assert "5 of 5 spans could not be sent" in answer.stderr


@pytest.mark.parametrize("method", ["os.fork", "multiprocessing"])
def test_forked_children_send_as_themselves(backend: Backend, method: str) -> None:
    """A child's records arrive under its own instance id, also when it leaves by os._exit as pool workers do."""
    fork = """
if (pid := os.fork()) == 0:
    emit(3, "child")
    sys.exit()
os.waitpid(pid, 0)
"""
    pool = """
import multiprocessing
process = multiprocessing.get_context("fork").Process(target=emit, args=(3, "child"))
process.start()
process.join()
"""
    code = "shipper.init(instrument=False)\nemit(2, 'parent')\n" + (fork if method == "os.fork" else pool)
    service(EMIT + code, **settings(backend))
    assert sorted(span.name for span in backend.spans) == ["child"] * 3 + ["parent"] * 2
    assert len({resource["service.instance.id"] for resource in backend.resources()}) == 2


def test_a_provider_of_the_service_gets_the_identity_it_lacks(backend: Backend) -> None:
    """What the service stated in its own provider stays, the rest of the identity is added to it."""
    code = """
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
trace.set_tracer_provider(TracerProvider(resource=Resource.create({"service.name": "own"})))
shipper.init(service="checkout", release="1.2", handoff="otlp", instrument=False)
emit(1)
"""
    service(EMIT + code, **settings(backend))
    (resource,) = backend.resources()
    assert (resource["service.name"], resource["service.version"]) == ("own", "1.2")


def test_grpc_is_imported_only_when_it_is_asked_for(backend: Backend) -> None:
    """The default is OTLP/HTTP; OTEL_EXPORTER_OTLP_PROTOCOL=grpc takes the gRPC exporter."""
    show = "\nprint('grpc' in sys.modules, flush=True)\nos._exit(0)"
    code = EMIT + "shipper.init(instrument=False)" + show
    assert service(code, **settings(backend)).stdout.split() == ["False"]
    assert service(code, OTEL_EXPORTER_OTLP_PROTOCOL="grpc", **settings(backend)).stdout.split() == ["True"]


def test_uvicorn_loses_nothing_on_sigterm(backend: Backend, tmp_path: Path) -> None:
    """uvicorn ends by the signal's default action after its own handler, which runs no atexit: all arrives nevertheless."""
    (tmp_path / "served.py").write_text(
        EMIT
        + """
shipper.init("checkout", instrument=False)
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    emit(100)
    os.kill(os.getpid(), signal.SIGTERM)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
"""
    )
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "served:app", f"--port={port}", "--log-level=error"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(**settings(backend)), stderr=subprocess.DEVNULL
    ) as server:
        for _ in range(1000):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20):
                    break
            except OSError:
                time.sleep(0.02)
        assert server.wait(60) == -signal.SIGTERM
    assert (len(backend.spans), len(backend.logs)) == (100, 100)
