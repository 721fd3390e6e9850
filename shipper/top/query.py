"""Asks a Prometheus, and takes nothing for an answer that is none: an error page of a proxy, half a body, a NaN.

Instant queries of https://prometheus.io/docs/prometheus/latest/querying/api/; anything that speaks it will do.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec
from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout

from shipper.errors import ConfigError
from shipper.top.source import NotKnown

SECONDS = 8.0
"""How long one answer may take."""
MAX_ANSWER = 32 << 20


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of an answer."""

    labels: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to one query; ``warnings``: why it may not be whole."""

    samples: list[Sample]
    warnings: tuple[str, ...] = ()


class _Series(msgspec.Struct):
    metric: dict[str, str]
    value: tuple[float, str]


class _Data(msgspec.Struct):
    resultType: str
    result: list[_Series]


class _Reply(msgspec.Struct):
    status: str
    data: _Data | msgspec.UnsetType = msgspec.UNSET
    error: str = ""
    warnings: list[str] = []


class Queries:
    """Instant queries to one server. Raises `ConfigError` for an address that is none."""

    def __init__(self, url: str, *, timeout: float = SECONDS) -> None:
        try:
            parts = urlsplit(url)
            port = f":{parts.port}" if parts.port else ""
        except ValueError as error:
            raise ConfigError("--prometheus", f"no address: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("--prometheus", "must be an address like http://prometheus:9090")
        self._url = url.rstrip("/")
        self.name = f"{parts.hostname}{port}{parts.path.rstrip('/')}"
        self._timeout = timeout
        self._session: ClientSession | None = None

    async def ask(self, expression: str) -> Found:
        """What a query finds now; series whose value is no number are left out. Raises `NotKnown`."""
        if self._session is None:  # made here, not in the constructor: it belongs to the running loop
            self._session = ClientSession(timeout=ClientTimeout(total=self._timeout))
        try:
            async with self._session.post(f"{self._url}/api/v1/query", data={"query": expression}) as response:
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MAX_ANSWER:
                        raise NotKnown(f"{self.name} answered more than {MAX_ANSWER >> 20} MiB")
                return self._read(response.status, response.content_type, bytes(body))
        except TimeoutError:
            raise NotKnown(f"{self.name} gave no answer within {self._timeout:g} s") from None
        except (ClientError, OSError) as problem:
            raise NotKnown(f"{self.name} does not answer: {_why(problem)}") from None

    async def aclose(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _read(self, status: int, kind: str, body: bytes) -> Found:
        try:
            reply = msgspec.json.decode(body, type=_Reply)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise NotKnown(
                f"{self.name} answered with status {status} and {len(body):,} bytes of {kind}, not as a Prometheus does"
            ) from None
        if reply.status != "success" or isinstance(reply.data, msgspec.UnsetType):
            raise NotKnown(f"{self.name} refuses (status {status}): {reply.error[:200] or 'it does not say why'}")
        samples = []
        for series in reply.data.result:
            value = _number(series.value[1])
            if value is not None:
                samples.append(Sample(series.metric, value))
        return Found(samples, tuple(reply.warnings))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _why(problem: ClientError | OSError) -> str:
    """In the system's own words where it is the system that says so."""
    error = problem.os_error if isinstance(problem, ClientConnectorError) else problem
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return str(getattr(error, "strerror", None) or error)[:200] or type(error).__name__
