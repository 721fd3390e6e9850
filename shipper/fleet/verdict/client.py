"""One Prometheus, asked by plain HTTP: every way in which it may fail to answer is one sentence.

https://prometheus.io/docs/prometheus/latest/querying/api/ ; Thanos, Mimir and VictoriaMetrics answer alike. A part of an answer
is none: with warnings, or marked as partial, the numbers may be too small, and nobody could tell.
"""

from __future__ import annotations

import http.client
import json
import math
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from shipper import __version__
from shipper.fleet.questions import NoAnswer, NoRedirect, Reading, base_url, short

SECONDS = 30.0
"""How long one answer may take."""


@dataclass(frozen=True, slots=True)
class Found:
    """One series of an answer: labels (with ``__name__`` where there is one) and (unix seconds, value)."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def name(self) -> str:
        """The metric; empty for what was computed."""
        return self.labels.get("__name__", "")


class Client:
    """Asks one server. ``url``: its base, with a path prefix if it has one; ``setting``: where that was said.

    Raises `ConfigError` for what is no URL.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        seconds: float = SECONDS,
        now: Callable[[], float] = time.monotonic,
        setting: str = "--prometheus",
    ) -> None:
        base = base_url(url, setting, example="http://prometheus:9090", instead="a token file")
        self._url = base.removesuffix("/api/v1")
        self._token = token
        self.seconds = seconds
        self._now = now
        self._opener = urllib.request.build_opener(NoRedirect)

    def instant(self, query: str) -> list[Found]:
        """The query's answer at the server's own time. Raises `NoAnswer`."""
        return self._ask("query", {"query": query}, "vector")

    def samples(self, selector: str) -> list[Found]:
        """The very samples of a range selector, each with the time it was pushed with. Raises `NoAnswer`."""
        return self._ask("query", {"query": selector}, "matrix")

    def range(self, query: str, start: int, end: int, step: int) -> list[Found]:
        """The query's answers from ``start`` to ``end``. Raises `NoAnswer`."""
        return self._ask("query_range", {"query": query, "start": start, "end": end, "step": step}, "matrix")

    def _ask(self, what: str, fields: Mapping[str, object], kind: str) -> list[Found]:
        limit = max(1, math.ceil(self.seconds))
        body = urlencode({**fields, "timeout": f"{limit}s"}).encode()
        said = self._post(f"{self._url}/api/v1/{what}", body)
        try:
            whole = json.loads(said)
            status = whole["status"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise NoAnswer(f"{self._url} does not answer as Prometheus does: {short(said)!r}") from None
        if status != "success":
            raise NoAnswer(f"Prometheus could not answer: {short(str(whole.get('error', status)))}")
        warnings = whole.get("warnings")
        if warnings or whole.get("isPartial"):
            told = "; ".join(map(str, warnings)) if isinstance(warnings, list) else "it is marked as partial"
            raise NoAnswer(f"Prometheus warns that its answer may not be whole: {short(told)}")
        try:
            data = whole["data"]
            if data["resultType"] != kind:
                raise ValueError(data["resultType"])
            return [_found(one) for one in data["result"]]
        except (ValueError, TypeError, KeyError, AttributeError) as problem:
            raise NoAnswer(f"{self._url} does not answer as Prometheus does: {short(repr(problem))}") from None

    def _post(self, url: str, body: bytes) -> bytes:
        headers = {"User-Agent": f"Shipper/{__version__}", "Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(url, body, headers)
        deadline = self._now() + self.seconds
        try:
            with self._opener.open(request, timeout=max(0.1, self.seconds)) as answer:
                return self._read(answer, deadline)
        except urllib.error.HTTPError as problem:
            with problem:
                raise NoAnswer(_refused(self._url, problem)) from None
        except TimeoutError:
            raise NoAnswer(self._slow()) from None
        except (OSError, http.client.HTTPException, ValueError) as problem:
            reason = getattr(problem, "reason", None) or problem
            if isinstance(reason, TimeoutError):
                raise NoAnswer(self._slow()) from None
            raise NoAnswer(f"{self._url} cannot be asked: {reason or type(problem).__name__}") from None

    def _read(self, answer: http.client.HTTPResponse, deadline: float) -> bytes:
        if "html" in answer.headers.get("Content-Type", "").lower():
            raise NoAnswer(f"{self._url} answers with a web page: it is no Prometheus, or a login stands before it")
        return Reading(self._url, self._now, self._slow()).whole(answer, deadline)

    def _slow(self) -> str:
        return f"{self._url} did not answer within {self.seconds:g} s"


def _found(one: Any) -> Found:
    labels = {str(name): str(value) for name, value in one["metric"].items()}
    raw = one["values"] if "values" in one else [one["value"]]
    points = tuple((float(at), float(value)) for at, value in raw)
    return Found(labels, points)


def _refused(url: str, problem: urllib.error.HTTPError) -> str:
    if 300 <= problem.code < 400:
        return f"{url} sends us on to {short(problem.headers.get('Location', 'nowhere'))}: give that address"
    try:
        said = problem.read(64 << 10)
    except (OSError, http.client.HTTPException):
        said = b""
    try:
        words = str(json.loads(said)["error"])
    except (ValueError, TypeError, KeyError, RecursionError):
        words = str(problem.reason)
    return f"{url} answered {problem.code}: {short(words)}"
