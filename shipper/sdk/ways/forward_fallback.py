"""Without a spool, by the forward protocol: to a fluentd or Fluent Bit that the platform already runs, through fluent-logger.

Tags are ``<service>.logs`` and ``<service>.spans``; each record carries the identity, because the protocol has no place of
its own for it. The protocol as fluent-logger speaks it knows no acknowledgement: sent means given to the kernel.
"""

from __future__ import annotations

import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from fluent.sender import EventTime, FluentSender
from opentelemetry._logs import get_logger_provider
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from shipper.sdk import voice
from shipper.sdk.emit.log_encode import LogEncoder
from shipper.sdk.emit.redact import Texts
from shipper.sdk.emit.seam import forget_in_children
from shipper.sdk.faults import Faults
from shipper.sdk.logbridge.bridge import ShipperHandler
from shipper.sdk.ways import providers
from shipper.sdk.ways.forward_records import Labels, log_record_fields, span_record
from shipper.sdk.ways.logging_way import install_logging
from shipper.sdk.ways.queues import Queues
from shipper.sdk.ways.tally import Tally
from shipper.sdk.web import serving

if TYPE_CHECKING:
    from shipper.sdk.started import Started

MOST = 10_000
"""Records that wait at most; then the oldest go."""
_PORT = 24224
_PAUSES = (0.1, 0.3, 1.0, 3.0)
_TIMEOUT = 3.0
Packet = tuple[str, int, dict[str, Any], Tally]


class ForwardWay:
    """Records are queued, and sent by a thread to a forward port."""

    def __init__(self, started: Started) -> None:
        self._started = started
        self._texts = Texts(started.settings.redact, Faults(voice.say))
        host, port = address(started.settings.endpoint)
        self._queues = Queues()
        self._sender = Sender(host, port)
        self._queues.add(self._sender)
        self._loggers: Any = None

    def install(self) -> None:
        """Put processors on the providers, and be told of the end."""
        labels = Labels(self._started.identities)
        tracers = providers.tracer_provider(self._started)
        if tracers is not None:
            tracers.add_span_processor(ForwardSpans(self._sender, self._queues.tally("spans"), labels, self._texts))
        self._loggers = providers.logger_provider(self._started)
        if self._loggers is not None:
            tally = self._queues.tally("log records")
            self._loggers.add_log_record_processor(ForwardLogs(self._sender, tally, labels, self._texts))
            install_logging(self._started.settings, self.handler, self._started.service)
        serving.watch(tracers, self._loggers, voice.say)
        self._queues.install()
        voice.inform("metrics are not sent by the forward protocol; use a spool or OTLP for them")

    def handler(self) -> logging.Handler:
        """A handler for `logging` that puts records into the queue."""
        encoder = LogEncoder(self._texts)
        provider = self._loggers or get_logger_provider()
        return ShipperHandler(provider=provider, level=self._started.settings.level, encoder=encoder)

    def shutdown(self, timeout: float) -> None:
        """Flush; what is emitted later is still queued, and flushed at the end of the process."""
        self._queues.flush(time.monotonic() + timeout)


def address(endpoint: str) -> tuple[str, int]:
    """``host:port``, ``tcp://host:port`` or ``unix:///path`` as fluent-logger wants it; the default is localhost:24224."""
    if endpoint.startswith("unix://"):
        return endpoint, 0
    place = endpoint.partition("://")[2] or endpoint
    host, colon, port = place.rstrip("/").rpartition(":")
    if not colon:
        return place or "localhost", _PORT
    if port.isdecimal():
        return host or "localhost", int(port)
    voice.say(f"init(endpoint={endpoint!r}): this is no host:port of a forward server; localhost:{_PORT} is used")
    return "localhost", _PORT


class Sender:
    """A bounded queue and the thread that empties it. Fork-safe: a child has its own, empty."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._start()
        forget_in_children(self, Sender._start)

    def _start(self) -> None:
        self._queue: SimpleQueue[Packet | threading.Event] = SimpleQueue()
        self._hurry = threading.Event()
        threading.Thread(target=self._loop, args=(self._queue,), name="shipper-forward", daemon=True).start()

    def put(self, packet: Packet) -> None:
        """Queue a record; the oldest gives way where the queue is full, and counts as not sent."""
        packet[3].given()
        if self._queue.qsize() >= MOST:
            try:
                oldest = self._queue.get_nowait()
                if isinstance(oldest, threading.Event):
                    self._queue.put(oldest)
            except Empty:
                pass  # it was sent just now
        self._queue.put(packet)

    def ask(self) -> threading.Event:
        """An event that is set when everything queued before is sent."""
        done = threading.Event()
        self._queue.put(done)
        self._hurry.set()
        return done

    def _loop(self, queue: SimpleQueue[Packet | threading.Event]) -> None:
        host, port = self._address
        sender = FluentSender(
            "", host, port, timeout=_TIMEOUT, nanosecond_precision=True,
            msgpack_kwargs={"unicode_errors": "backslashreplace", "default": str},
        )  # fmt: skip
        while True:
            item = queue.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            self._send(sender, item)

    def _send(self, sender: FluentSender, packet: Packet) -> None:
        tag, time_ns, record, tally = packet
        tries = 0
        while not sender.emit_with_time(tag, EventTime.from_unix_nano(time_ns), record):
            sender.pendings = None  # it keeps what it could not send; here that is the queue's matter
            if tries == 0:
                voice.say(
                    f"the forward server at {self._address[0]}:{self._address[1]} takes nothing: {sender.last_error}"
                )
            self._hurry.clear()
            self._hurry.wait(_PAUSES[min(tries, len(_PAUSES) - 1)])
            tries += 1
        tally.answered(1, True)


class ForwardSpans(SpanProcessor):
    """Queues a record for each span that ends."""

    def __init__(self, sender: Sender, tally: Tally, labels: Labels, texts: Texts) -> None:
        self._sender = sender
        self._tally = tally
        self._labels = labels
        self._texts = texts

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        """Nothing."""

    def on_end(self, span: ReadableSpan) -> None:
        try:
            if span.context is not None and span.context.trace_flags.sampled:
                record = span_record(span, self._labels, self._texts)
                tag = f"{self._labels.service}.spans"
                self._sender.put((tag, span.end_time or time.time_ns(), record, self._tally))
        except Exception as error:
            self._texts.faults.count("a span could not be sent", error)

    def shutdown(self) -> None:
        """`Queues` sees to the end."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._sender.ask().wait(timeout_millis / 1000)


class ForwardLogs(LogRecordProcessor):
    """Queues a record for each log record."""

    def __init__(self, sender: Sender, tally: Tally, labels: Labels, texts: Texts) -> None:
        self._sender = sender
        self._tally = tally
        self._labels = labels
        self._texts = texts

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        try:
            log = log_record.log_record
            record = log_record_fields(log_record, self._labels, self._texts)
            tag = f"{self._labels.service}.logs"
            self._sender.put((tag, log.timestamp or time.time_ns(), record, self._tally))
        except Exception as error:
            self._texts.faults.count("a log record could not be sent", error)

    def shutdown(self) -> None:
        """`Queues` sees to the end."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._sender.ask().wait(timeout_millis / 1000)
