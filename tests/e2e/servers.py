"""Servers, and ways to end them: starts an application of ``apps`` under one, gives it its work, and ends it.

The same application runs with Shipper and with the stock SDK (batch processors, OTLP/HTTP) beside it. ``python -m bench
servers`` prints the whole table; tests/e2e/test_servers.py holds the half of it that is ours.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.kit import PATIENCE, free_port

ROOT = Path(__file__).parents[2]
RECORDS = 1000
GRACE = 8.0  # seconds a supervisor waits after a signal; Celery hangs now and then when its children get it too
ENDINGS = ("graceful", "SIGTERM", "SIGKILL", "os._exit")


def wait(condition: Callable[[], Any], what: str, said: Callable[[], str] = lambda: "") -> Any:
    """The first true value of ``condition``; fails with ``what`` when it does not come."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, f"this did not happen within {PATIENCE} s: {what}\n{said()}"
        time.sleep(0.01)
    return value


class Group:
    """A process with all its children, in a process group of its own, its output in a file."""

    def __init__(self, directory: Path, argv: list[str], env: Mapping[str, str], *, piped: bool = False) -> None:
        self._output = directory / "output"
        pipe = subprocess.PIPE if piped else None
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("SHIPPER_", "OTEL_"))}
        with open(self._output, "ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, *argv],
                cwd=directory,
                env=clean | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"} | dict(env),
                stdin=pipe or subprocess.DEVNULL,
                stdout=pipe or output,
                stderr=output,
                start_new_session=True,
            )

    def said(self) -> str:
        return self._output.read_text(errors="replace")

    def signal(self, number: signal.Signals, *, everybody: bool) -> None:
        with suppress(ProcessLookupError):
            (os.killpg if everybody else os.kill)(self.process.pid, number)

    def ended(self, patience: float = PATIENCE) -> None:
        """Wait until the first process is gone, but no longer than a supervisor would; then kill what is left."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
        self.kill()

    def kill(self) -> None:
        """End what is left of it."""
        self.signal(signal.SIGKILL, everybody=True)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream:
                stream.close()


@dataclass(frozen=True)
class Server:
    """How to start a server, and the signal to its first process that makes it stop gracefully."""

    name: str
    drive: Callable[[Server, Cell], None]
    argv: tuple[str, ...]
    graceful: signal.Signals = signal.SIGTERM
    endings: tuple[str, ...] = ENDINGS


@dataclass
class Cell:
    """One server, one SDK, one ending."""

    server: Server
    ending: str
    sdk: str
    directory: Path
    env: Mapping[str, str]
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    port: int = field(default_factory=free_port)

    def start(self, *, piped: bool = False) -> Group:
        self.directory.mkdir(parents=True)
        short = {"os._exit": "exit"}.get(self.ending, self.ending)
        argv = [part.replace("{port}", str(self.port)).replace("{ending}", short) for part in self.server.argv]
        env = {
            "MATRIX_RUN": self.run,
            "MATRIX_SDK": self.sdk,
            "MATRIX_ENDING": short,
            "MATRIX_DIRECTORY": str(self.directory),
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*",  # loading them takes longer than all the rest of a cell
        }
        return Group(self.directory, argv, env | dict(self.env), piped=piped)

    def finish(self, group: Group) -> None:
        """End it in the cell's way. One that has done ``os._exit`` is killed, should something of it be left."""
        if self.ending == "graceful":
            group.signal(self.server.graceful, everybody=False)
        elif self.ending == "SIGTERM":
            group.signal(signal.SIGTERM, everybody=True)
        else:
            group.signal(signal.SIGKILL, everybody=True)
        group.ended(GRACE)


def get_status(port: int, path: str) -> int:
    """One request on a connection of its own; the status, 0 where it was not answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def get(port: int, path: str) -> bool:
    """Whether a request was answered."""
    return get_status(port, path) == 200


def requests(server: Server, cell: Cell) -> None:
    """Ten requests of a hundred each; the last one may be the end of its worker."""
    group = cell.start()
    try:
        wait(lambda: get(cell.port, "/") or group.process.poll() is not None, f"{server.name} serves", group.said)
        for first in range(0, RECORDS, 100):
            verb = "exit" if cell.ending == "os._exit" and first == RECORDS - 100 else "work"
            assert get(cell.port, f"/{verb}/{first}") == (verb == "work"), group.said()
        cell.finish(group)
    finally:
        group.kill()


def by_itself(server: Server, cell: Cell) -> None:
    """It works by itself and says when it is done."""
    group = cell.start()
    parts = {"celery": 10, "script": 1}.get(server.name, 2)
    try:
        wait(lambda: len(list(cell.directory.glob("done-*"))) == parts, f"{server.name} is done", group.said)
        if cell.ending in ("graceful", "os._exit") and server.name != "celery":
            group.ended()
        else:
            cell.finish(group)
    finally:
        group.kill()


def frozen(server: Server, cell: Cell) -> None:
    """Each call is followed by SIGSTOP at once; what ends it in the end finds it stopped, but for the gentle ways."""
    group = cell.start(piped=True)
    told, heard = group.process.stdin, group.process.stdout
    assert told is not None
    assert heard is not None
    try:
        assert heard.readline() == b"ready\n", group.said()
        for first in range(0, RECORDS, 100):
            verb = "exit" if cell.ending == "os._exit" and first == RECORDS - 100 else "work"
            group.signal(signal.SIGCONT, everybody=True)
            told.write(f"{verb} {first}\n".encode())
            told.flush()
            assert heard.readline() == (b"done\n" if verb == "work" else b""), group.said()
            group.signal(signal.SIGSTOP, everybody=True)
        if cell.ending == "graceful":
            told.close()
        if cell.ending != "SIGKILL":
            group.signal(signal.SIGCONT, everybody=True)
        if cell.ending in ("SIGKILL", "SIGTERM"):
            cell.finish(group)
        else:
            group.ended()
    finally:
        group.kill()


_APPS = "tests.e2e.apps"
_GUNICORN = ("-m", "gunicorn", "--bind=127.0.0.1:{port}", "--workers=2", "--no-control-socket")
_QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")
_SCRIPT = f"{ROOT}/tests/e2e/apps"

SERVERS = {
    server.name: server
    for server in (
        Server("script", by_itself, (f"{_SCRIPT}/matrix_script.py", "{ending}")),
        Server("gunicorn sync", requests, (*_GUNICORN, f"{_APPS}.matrix_wsgi:app")),
        Server(
            "gunicorn gthread",
            requests,
            (*_GUNICORN, "--worker-class=gthread", "--threads=4", f"{_APPS}.matrix_wsgi:app"),
        ),
        Server("gunicorn gevent", requests, (*_GUNICORN, "--worker-class=gevent", f"{_APPS}.matrix_wsgi:app")),
        Server("gunicorn --preload", requests, (*_GUNICORN, "--preload", f"{_APPS}.matrix_wsgi:app")),
        Server(
            "gunicorn uvicorn",
            requests,
            (*_GUNICORN, "--worker-class=uvicorn_worker.UvicornWorker", f"{_APPS}.matrix_asgi:app"),
        ),
        Server("uvicorn", requests, ("-m", "uvicorn", "--port={port}", f"{_APPS}.matrix_asgi:app"), signal.SIGINT),
        Server(
            "uvicorn --workers 2",
            requests,
            ("-m", "uvicorn", "--port={port}", "--workers=2", f"{_APPS}.matrix_asgi:app"),
            signal.SIGINT,
        ),
        Server("hypercorn", requests, ("-m", "hypercorn", "--bind=127.0.0.1:{port}", f"{_APPS}.matrix_asgi:app")),
        Server(
            "celery", by_itself, ("-m", "celery", "-A", f"{_APPS}.matrix_celery", "worker", "--loglevel=INFO", *_QUIET)
        ),
        Server("fork", by_itself, (f"{_SCRIPT}/matrix_multi.py", "fork", "{ending}")),
        Server("spawn", by_itself, (f"{_SCRIPT}/matrix_multi.py", "spawn", "{ending}")),
        Server("frozen function", frozen, (f"{_SCRIPT}/matrix_frozen.py",)),
    )
}
