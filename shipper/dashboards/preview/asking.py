"""Asking a Prometheus over its HTTP API, and taking nothing it says for more than it is.

https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from __future__ import annotations

import base64
import http.client
import json
import math
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shipper import __version__
from shipper.errors import ShipperError

TIMEOUT_SECONDS = 30.0
MAX_ANSWER_BYTES = 64 << 20
_SAID = 300  # characters of what somebody else said that are repeated

Point = tuple[float, float]


class NotAnswered(ShipperError):
    """A query has no answer; the text says which address and why."""


class NotReached(NotAnswered):
    """Nobody answers at that address in the way Prometheus does."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer: its labels (``__name__`` among them), and points of time in seconds and value."""

    labels: Mapping[str, str]
    points: Sequence[Point]


class Prometheus:
    """The API at ``url``, which may have a path, and a user's name and password. ``warnings``: what it warned of, once each."""

    def __init__(self, url: str, timeout: float = TIMEOUT_SECONDS) -> None:
        try:
            parts = urllib.parse.urlsplit(url)
            named = parts.scheme in ("http", "https") and bool(parts.hostname)
            self._credentials = f"{parts.username}:{parts.password or ''}" if parts.username else ""
            place = parts.netloc.rpartition("@")[2]
        except ValueError as error:
            raise NotReached(f"{url} is no address: {error}") from error
        if not named:
            raise NotReached(f"{url} is no address of a Prometheus; give one like http://127.0.0.1:9090")
        self.url = urllib.parse.urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", ""))
        self.warnings: dict[str, None] = {}
        self._timeout = timeout

    def instant(self, query: str, at: float) -> list[Series]:
        """The value of each series at ``at``. Raises `NotAnswered`."""
        answer = self._get("query", {"query": query, "time": f"{at:.3f}"})
        kind, result = _result(answer, query)
        if kind == "scalar":
            return [Series({}, [_point(result)])]
        return [Series(dict(one["metric"]), [_point(one["value"])]) for one in result]

    def ranged(self, query: str, start: float, end: float, step: float) -> list[Series]:
        """The values of each series from ``start`` to ``end``, every ``step`` seconds. Raises `NotAnswered`."""
        asked = {"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        _, result = _result(self._get("query_range", asked), query)
        return [Series(dict(one["metric"]), [_point(point) for point in one["values"]]) for one in result]

    def values(self, label: str, selector: str, start: float, end: float) -> list[str]:
        """The values of a label, of all series or of those that match. Raises `NotAnswered`."""
        asked = {"start": f"{start:.3f}", "end": f"{end:.3f}"} | ({"match[]": selector} if selector else {})
        found = self._get(f"label/{urllib.parse.quote(label, safe='')}/values", asked)
        if not isinstance(found, list):
            raise NotAnswered(f"{self.url} answered with something else than the values of {label}")
        return [str(value) for value in found]

    def _get(self, path: str, asked: Mapping[str, str]) -> Any:
        body = urllib.parse.urlencode(asked)
        request = urllib.request.Request(f"{self.url}/api/v1/{path}?{body}")
        if path in ("query", "query_range"):  # queries may be longer than an address can be
            request = urllib.request.Request(f"{self.url}/api/v1/{path}", data=body.encode())
        request.add_header("User-Agent", f"shipper/{__version__}")
        request.add_header("Accept", "application/json")
        if self._credentials:
            request.add_header("Authorization", "Basic " + base64.b64encode(self._credentials.encode()).decode())
        return self._read(*self._sent(request))

    def _sent(self, request: urllib.request.Request) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                return int(response.status), response.read(MAX_ANSWER_BYTES + 1)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(MAX_ANSWER_BYTES)
        except TimeoutError as error:
            raise NotAnswered(f"{self.url} did not answer within {self._timeout:g} s") from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise NotAnswered(f"{self.url} did not answer within {self._timeout:g} s") from error
            raise NotReached(f"{self.url} cannot be reached: {error.reason}") from error
        except (OSError, http.client.HTTPException) as error:
            raise NotAnswered(f"{self.url} broke off its answer: {error or type(error).__name__}") from error

    def _read(self, status: int, body: bytes) -> Any:
        if len(body) > MAX_ANSWER_BYTES:
            raise NotAnswered(f"{self.url} answered with more than {MAX_ANSWER_BYTES >> 20} MiB")
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or "status" not in answer:
            said = body[:_SAID].decode(errors="replace").strip().splitlines()
            raise NotReached(
                f"{self.url} is no Prometheus: HTTP status {status}, {said[0][:80] if said else 'nothing'!r}"
            )
        if answer["status"] != "success":
            raise NotAnswered(f"{answer.get('errorType', 'error')}: {str(answer.get('error', status))[:_SAID]}")
        warned = answer.get("warnings")
        for warning in warned if isinstance(warned, list) else []:
            self.warnings[str(warning)[:_SAID]] = None
        return answer.get("data")


def _result(data: Any, query: str) -> tuple[str, Any]:
    try:
        kind, result = data["resultType"], data["result"]
        if kind == "scalar":
            _point(result)
        elif kind in ("vector", "matrix"):
            for one in result:
                _ = dict(one["metric"]), [_point(point) for point in one.get("values", [one.get("value", (0, "0"))])]
        else:
            raise ValueError(kind)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise NotAnswered(f"the answer to {query[:80]} is not one that can be read") from error
    return kind, result


def _point(pair: Any) -> Point:
    at, value = pair
    return float(at), float(value)


def last(series: Series) -> float:
    """Its last value, NaN where there is none."""
    return series.points[-1][1] if series.points else math.nan
