"""A small service as hosts run them: serves HTTP requests, logs a line for each, rotates its log, says goodbye on SIGTERM.

Run by the demo as ``python -m shipper.demo.service``. Its log is an ordinary file: every line is one ``write()``, so what it
counted in its truth file is exactly what a reader of the file can find. Its spans go through the SDK, as any service's do.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import time
from datetime import UTC, datetime

from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

import shipper
from shipper.demo.truth import TruthFile

LAST_WORDS = 5  # lines written after SIGTERM, while other shippers have already stopped reading
ROTATE_LINES = 400


class LogFile:
    """The service's log: one write a line, rotated by rename."""

    def __init__(self, path: str, truth: TruthFile) -> None:
        self._path = path
        self._truth = truth
        self._lines = 0
        self._rotated = 0
        self._descriptor = self._open()

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def line(self, level: str, text: str, *, request: bool = False, error: bool = False) -> None:
        """Write one line and count it."""
        if self._lines >= ROTATE_LINES:
            self._rotate()
        now = time.time_ns()
        stamp = datetime.fromtimestamp(now / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        self._truth.announce()
        os.write(self._descriptor, f"{stamp}Z {level} {text} emitted_ns={now}\n".encode())
        self._truth.confirm(request=request, error=error)
        self._lines += 1

    def _rotate(self) -> None:
        self._rotated += 1
        os.rename(self._path, f"{self._path}.{self._rotated}")
        os.close(self._descriptor)
        self._descriptor = self._open()
        self._lines = 0


class Service:
    """Answers ``GET /checkout`` well or, as often as its release is bad, with 500."""

    def __init__(self, log: LogFile, truth: TruthFile, release: str, error_ratio: float) -> None:
        self._log = log
        self._truth = truth
        self._tracer = trace.get_tracer("shipper.demo")
        self._release = release
        self._error_ratio = error_ratio
        self._random = random.Random()
        self._connections: set[asyncio.StreamWriter] = set()

    def close(self) -> None:
        """Let go of every client, so that nothing is left to be cancelled."""
        for writer in self._connections:
            writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one keep-alive connection."""
        self._connections.add(writer)
        try:
            while (request := await reader.readline()).strip():
                while (await reader.readline()).strip():
                    pass
                body = self._handle(request.decode("latin-1").split(" ")[1])
                writer.write(body)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self._connections.discard(writer)
            writer.close()

    def _handle(self, path: str) -> bytes:
        attributes = {"http.request.method": "GET", "http.route": "/checkout", "url.path": path}
        with self._tracer.start_as_current_span("GET /checkout", kind=SpanKind.SERVER, attributes=attributes) as span:
            status, text = self._check_out(path)
            span.set_attribute("http.response.status_code", status)
            if status >= 500:
                span.set_status(StatusCode.ERROR)
        self._truth.span_ended()
        reason = b"Error" if status >= 500 else b"OK"
        return b"HTTP/1.1 %d %s\r\nContent-Length: %d\r\n\r\n%s" % (status, reason, len(text), text)

    def _check_out(self, path: str) -> tuple[int, bytes]:
        failed = self._random.random() < self._error_ratio
        status, level = (500, "ERROR") if failed else (200, "INFO")
        duration = self._random.lognormvariate(2.5, 0.6)
        reason = ' error="payment provider timed out"' if failed else ""
        self._log.line(
            level,
            f"request method=GET path={path} status={status} duration_ms={duration:.1f} release={self._release}"
            f" order={self._random.getrandbits(32):08x}{reason}",
            request=True,
            error=failed,
        )
        return status, b"failed\n" if failed else b"ok\n"


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM, then say goodbye and leave."""
    truth = TruthFile(arguments.truth)
    log = LogFile(arguments.log, truth)
    service = Service(log, truth, arguments.release, arguments.error_ratio)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(service.answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    log.line("INFO", f"service starting port={port} release={arguments.release}")
    temporary = f"{arguments.port_file}.new"
    with open(temporary, "w", encoding="ascii") as out:
        out.write(str(port))
    os.rename(temporary, arguments.port_file)
    await stop.wait()
    server.close()
    service.close()
    for step in range(LAST_WORDS):
        log.line("WARN", f"shutting down step={step + 1} of={LAST_WORDS}")
        await asyncio.sleep(0.05)
    log.line("INFO", "goodbye")


def main() -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", required=True)
    parser.add_argument("--truth", required=True)
    parser.add_argument("--port-file", required=True)
    parser.add_argument("--release", required=True)
    parser.add_argument("--error-ratio", type=float, required=True)
    shipper.init(service="checkout")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
