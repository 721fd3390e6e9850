"""A real Prometheus for tests: on a free port of loopback, its data in a directory of the test's, gone afterwards.

    with Prometheus(tmp_path, rules=["groups: ..."]) as prometheus:
        ... remote-write to prometheus.write_url ...
        assert prometheus.value("sum(requests_total)") == 12

Nothing is scraped; what is in it was written to it. Samples may be up to an hour older than the newest one it has, so a
test can tell a long story without waiting for it. Evaluation times are unix seconds.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from shipper.errors import ShipperError

PROGRAM = "prometheus"
MISSING = "there is no prometheus here; on Debian: apt-get install prometheus"
READY_SECONDS = 30.0

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is not behind a proxy

Labels = tuple[tuple[str, str], ...]
"""The labels of a series, sorted by name, with ``__name__`` where the query keeps it."""


class QueryFailed(ShipperError):
    """Prometheus did not answer a query; the text has what it said."""


def available() -> bool:
    """Whether there is a Prometheus that could be started; tests skip with `MISSING` where not."""
    return shutil.which(PROGRAM) is not None


def labels(series: Mapping[str, str]) -> Labels:
    """Labels in the form that query answers are keyed by."""
    return tuple(sorted(series.items()))


class Prometheus:
    """A server from ``__enter__`` to ``__exit__``. Its files stay in ``directory``, which the caller removes.

    ``rules``: contents of rule files, evaluated every ``evaluation_interval``. ``receiver``: whether it takes remote writes.
    ``flags``: further flags; ``config``: further sections of its configuration file, as YAML. ``program``: another one to run.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        rules: Sequence[str] = (),
        receiver: bool = True,
        evaluation_interval: str = "15s",
        flags: Sequence[str] = (),
        config: str = "",
        program: str = PROGRAM,
    ) -> None:
        self._directory = Path(directory)
        self._program = program
        self._rules = rules
        self._receiver = receiver
        self._interval = evaluation_interval
        self._flags = flags
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Prometheus:
        self._write_files()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Its base URL, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def write_url(self) -> str:
        """Where remote writes go."""
        return f"{self.url}/api/v1/write"

    @property
    def log(self) -> str:
        """What it has said so far."""
        return (self._directory / "prometheus.log").read_text(errors="replace")

    def start(self) -> None:
        """Start it, again after `stop` too: on the same port, with what it had."""
        self.port = self.port or _free_port()
        command = [
            self._program,
            f"--config.file={self._directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
            *(["--web.enable-remote-write-receiver"] if self._receiver else []),
            *self._flags,
        ]
        with (self._directory / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + READY_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise QueryFailed(f"prometheus does not start: {self.log[-2000:]}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it and wait for that; with SIGKILL as if the machine had died."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(READY_SECONDS)
            self._process = None

    def reload(self, rules: Sequence[str]) -> None:
        """Take other rules."""
        self._rules = rules
        self._write_files()
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def query(self, expression: str, at: float | None = None) -> dict[Labels, float]:
        """An instant query: the value of each series. Raises `QueryFailed`."""
        answer = self._get("query", {"query": expression} | ({} if at is None else {"time": repr(at)}))
        if answer["resultType"] == "scalar":
            return {(): float(answer["result"][1])}
        return {labels(one["metric"]): float(one["value"][1]) for one in answer["result"]}

    def value(self, expression: str, at: float | None = None) -> float:
        """The one value of an instant query, NaN where it finds nothing. Raises `QueryFailed`, also for several series."""
        found = self.query(expression, at)
        if len(found) > 1:
            raise QueryFailed(f"{expression} gives {len(found)} series, not one")
        return next(iter(found.values()), math.nan)

    def query_range(
        self, expression: str, start: float, end: float, step: float
    ) -> dict[Labels, list[tuple[float, float]]]:
        """A range query: for each series its points, time and value. Raises `QueryFailed`."""
        asked = {"query": expression, "start": repr(start), "end": repr(end), "step": repr(step)}
        result = self._get("query_range", asked)["result"]
        return {labels(one["metric"]): [(float(t), float(v)) for t, v in one["values"]] for one in result}

    def samples(self, selector: str, at: float, seconds: float = 3600.0) -> dict[Labels, list[tuple[float, float]]]:
        """The raw samples of the ``seconds`` before ``at``, as they were written; stale markers do not show."""
        result = self._get("query", {"query": f"{selector}[{int(seconds * 1000)}ms]", "time": repr(at)})["result"]
        return {labels(one["metric"]): [(float(t), float(v)) for t, v in one["values"]] for one in result}

    def series(self, *selectors: str) -> list[dict[str, str]]:
        """The labels of all series that match, whenever they had samples. Raises `QueryFailed`."""
        found = self._get("series", [("match[]", selector) for selector in selectors])
        return [dict(one) for one in found]

    def get(self, path: str) -> Any:
        """The ``data`` of any other GET of its API under ``/api/v1/``, for example ``rules`` or ``alerts``."""
        return self._get(path, {})

    def _get(self, path: str, asked: Mapping[str, str] | Sequence[tuple[str, str]]) -> Any:
        url = f"{self.url}/api/v1/{path}"
        try:
            request = urllib.request.Request(url, urllib.parse.urlencode(asked).encode() if asked else None)
            with _OPENER.open(request, timeout=READY_SECONDS) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(4000).decode(errors="replace")
            raise QueryFailed(f"{path} {dict(asked)}: {error.code} {said}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise QueryFailed(f"{path}: {error}") from error

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            with _OPENER.open(f"{self.url}/-/ready", timeout=READY_SECONDS) as response:
                return bool(response.status == 200)
        return False

    def _write_files(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        files = []
        for number, content in enumerate(self._rules):
            path = self._directory / f"rules-{number}.yml"
            path.write_text(content)
            files.append(str(path))
        settings = f"global: {{evaluation_interval: {self._interval}, scrape_interval: 15s}}\n"
        if files:
            settings += f"rule_files: {json.dumps(files)}\n"
        (self._directory / "prometheus.yml").write_text(settings + self._config)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
