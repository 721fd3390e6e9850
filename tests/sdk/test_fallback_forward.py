"""Without a spool, by the forward protocol: what a fluentd or Fluent Bit gets, and ends that nobody holds up."""

from __future__ import annotations

import signal
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from shipper.sdk.emit.redact import Texts
from shipper.sdk.ways.forward_fallback import address
from shipper.sdk.ways.forward_records import plain
from tests.sdk.initkit import service

EMIT = """
import logging, os, shipper, signal, sys, time
from opentelemetry import trace

def emit(number, name="s"):
    for _ in range(number):
        with trace.get_tracer("t").start_as_current_span(name, attributes={"n": 1 << 70}):
            logging.getLogger("t").warning("it costs %s", "5 \\ud800")
"""


class Server:
    """A forward server on loopback: (tag, time, record) of everything that came, or silence with ``reads`` cleared."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any, dict[str, Any]]] = []
        self.reads = threading.Event()
        self.reads.set()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        self.reads.wait()
        unpacker = msgpack.Unpacker(strict_map_key=False)
        with connection:
            while data := connection.recv(65536):
                unpacker.feed(data)
                for tag, time, record in unpacker:
                    self.events.append((tag, time, record))

    def close(self) -> None:
        self.reads.set()
        self._socket.close()

    def records(self, tag: str) -> list[dict[str, Any]]:
        return [record for found, _, record in self.events if found == tag]


@pytest.fixture
def server() -> Iterator[Server]:
    """A forward server."""
    made = Server()
    yield made
    made.close()


def wait(condition: Any) -> None:
    """What was sent last may still be on its way through the kernel."""
    event = threading.Event()
    for _ in range(1000):
        if condition():
            return
        event.wait(0.01)
    raise AssertionError("it did not arrive")


def start(server: Server) -> str:
    return EMIT + f"shipper.init('checkout', handoff='forward', endpoint={server.address!r}, instrument=False)\n"


def test_spans_and_log_records_arrive_with_tag_time_and_identity(server: Server) -> None:
    """Tags are ``<service>.logs`` and ``<service>.spans``; times are in nanoseconds; every record says who it is from."""
    service(start(server) + "emit(300)\nshipper.event('cache.warmed', {'n': 3})", SHIPPER_RELEASE="1.2")
    wait(lambda: len(server.events) == 601)
    logs, spans = server.records("checkout.logs"), server.records("checkout.spans")
    assert (len(logs), len(spans)) == (301, 300)
    assert logs[0]["message"] == "it costs 5 \\ud800"
    assert (logs[0]["severity"], logs[0]["logger"]) == ("WARN", "t")
    assert logs[-1]["event"] == "cache.warmed"
    assert logs[-1]["attributes"] == {"n": 3}
    assert {record["trace_id"] for record in logs[:300]} == {record["trace_id"] for record in spans}
    assert spans[0]["attributes"] == {"n": str(1 << 70)}
    for record in (*logs, *spans):
        assert (record["service"], record["release"]) == ("checkout", "1.2")
        assert len(record["instance"]) == 36
    _, time, record = next(event for event in server.events if event[0] == "checkout.spans")
    seconds, nanoseconds = struct.unpack(">II", time.data)
    assert (time.code, seconds * 1_000_000_000 + nanoseconds) == (0, record["end_time"])


def test_sigterm_flushes(server: Server) -> None:
    """What is queued when SIGTERM comes is sent, then the service dies of the signal."""
    code = start(server) + "emit(500)\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(60)"
    service(code, expect=-signal.SIGTERM)
    wait(lambda: len(server.events) == 1000)


def test_a_forked_child_sends_as_itself(server: Server) -> None:
    """A child has a connection and an instance id of its own."""
    code = "emit(2)\nif (pid := os.fork()) == 0:\n    emit(3)\n    sys.exit()\nos.waitpid(pid, 0)"
    service(start(server) + code)
    wait(lambda: len(server.events) == 10)
    assert len({record["instance"] for record in server.records("checkout.spans")}) == 2


def test_a_server_that_is_not_there_holds_no_end_up() -> None:
    """The process ends; what was not sent is counted and said."""
    code = EMIT + "shipper.init(handoff='forward', endpoint='127.0.0.1:9', instrument=False)\nemit(20)"
    answer = service(code)
    assert "20 of 20 spans could not be sent" in answer.stderr
    assert "20 of 20 log records could not be sent" in answer.stderr


def test_a_server_that_reads_nothing_neither_blocks_nor_fills_memory(server: Server) -> None:
    """The queue is bounded: the oldest records go, the service goes on, the count says how many."""
    server.reads.clear()
    answer = service(
        start(server)
        + "import shipper.sdk.ways.forward_fallback as way\nway.MOST = 50\nfrom shipper.sdk.start import started\n"
        + "emit(1)\n[shipper.event('x', {'text': 'y' * 60_000}) for _ in range(400)]\n"
        + "assert started().way._sender._queue.qsize() <= 50\nprint('went on')"
    )
    assert "went on" in answer.stdout
    assert "log records could not be sent" in answer.stderr


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("", ("localhost", 24224)),
        ("fluent", ("fluent", 24224)),
        ("fluent:24225", ("fluent", 24225)),
        ("tcp://10.0.0.1:24000/", ("10.0.0.1", 24000)),
        ("unix:///run/fluent.sock", ("unix:///run/fluent.sock", 0)),
        ("fluent:many", ("localhost", 24224)),
    ],
)
def test_endpoints_of_a_forward_server(endpoint: str, expected: tuple[str, int]) -> None:
    """Host and port as people write them; what cannot be understood is said, and the default used."""
    assert address(endpoint) == expected


def test_values_become_what_messagepack_can_hold() -> None:
    """Any value of an attribute can be packed: large numbers and other objects as text, depth bounded, texts redacted."""
    deep: Any = "secret"
    for _ in range(100):
        deep = [deep]
    value = plain({"a": (1, 2), 3: deep, "b": object, "c": b"\xff"}, Texts(lambda text: text.replace("secret", "*")))
    assert b"secret" not in msgpack.packb(value)
    assert value["a"] == [1, 2]
