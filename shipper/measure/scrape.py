"""Reading a Prometheus endpoint of a service on this host.

What answers there is not trusted: time, size, samples and redirects are bounded, and what is no exposition costs one
look. Both text formats are asked for; OpenMetrics is preferred because it says since when its counters count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from aiohttp import ClientError, ClientSession, ClientTimeout
from prometheus_client import Metric

from shipper.clock import Clock
from shipper.events import Reporter
from shipper.measure.families import Converted, convert
from shipper.measure.health import Health
from shipper.measure.samples import NOTHING, SCOPE, Samples
from shipper.measure.starts import Starts
from shipper.otlp import metrics
from shipper.otlp.encode import AttributeValue, resource

ACCEPT = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
_OPENMETRICS = "application/openmetrics-text"
_CHUNK = 64 << 10
_LINE = 16 << 10
"""Characters; the time that the parser takes for a line grows with the square of its length."""


@dataclass(frozen=True, slots=True)
class ScrapeLimits:
    """Bounds on one answer: seconds, bytes (decompressed), samples."""

    timeout: float
    max_body: int
    max_samples: int


class Refused(Exception):
    """An answer that is not taken; the text says why."""


class Endpoint:
    """One URL, read again and again. A `shipper.measure.source.Target`."""

    def __init__(
        self,
        url: str,
        attributes: Mapping[str, AttributeValue],
        *,
        interval: float,
        limits: ScrapeLimits,
        birth_ns: int,
        clock: Clock,
        report: Reporter,
    ) -> None:
        """``attributes``: the resource its numbers belong to. ``birth_ns``: the beginning of the host's life."""
        self.interval = interval
        self._url = url
        self._resource = resource(attributes)
        self._limits = limits
        self._clock = clock
        self._health = Health(url, clock, report)
        self._starts = Starts(birth_ns)
        self._session: ClientSession | None = None

    def __str__(self) -> str:
        return self._url

    async def read(self, last: bool = False) -> Samples:
        """See `Target.read`."""
        found = Converted()
        why = ""
        try:
            async with asyncio.timeout(self._limits.timeout):
                body, content_type = await self._get()
                now = self._clock.wall_ns()
                families = await asyncio.to_thread(parse, body, content_type, self._limits.max_samples)
            found = convert(families, self._starts, now)
        except TimeoutError:
            why = f"no answer within {self._limits.timeout:g} s"
        except (ClientError, OSError, Refused) as problem:
            why = str(problem) or type(problem).__name__
        if why and last:
            return NOTHING
        if why:
            self._health.down(why)
        else:
            self._health.up()
        if found.malformed:
            self._health.malformed(found.malformed)
        found.add(self._health.sample(self._clock.wall_ns()), 1)
        payload = metrics.export_metrics(self._resource, SCOPE, found.metrics)
        return Samples(payload, found.points, len(found.metrics))

    async def aclose(self) -> None:
        """See `Target.aclose`."""
        if self._session is not None:
            await self._session.close()

    async def _get(self) -> tuple[bytes, str]:
        """Body and content type. Raises ClientError, OSError, `Refused`."""
        if self._session is None:
            self._session = ClientSession(timeout=ClientTimeout(total=None), headers={"Accept": ACCEPT})
        async with self._session.get(self._url, allow_redirects=False) as answer:
            if answer.status != 200:
                raise Refused(f"it answers with {answer.status}")
            body = bytearray()
            async for chunk in answer.content.iter_chunked(_CHUNK):
                body += chunk
                if len(body) > self._limits.max_body:
                    raise Refused(f"its answer has more than {self._limits.max_body} bytes")
            return bytes(body), answer.headers.get("Content-Type", "")


def parse(body: bytes, content_type: str, max_samples: int) -> list[Metric]:
    """The families of an exposition. Raises `Refused` for what is none and for more than ``max_samples``."""
    try:
        text = body.decode()
    except UnicodeDecodeError as problem:
        raise Refused(f"its answer is no Prometheus text: {_short(problem)}") from problem
    lines = text.split("\n")
    if sum(1 for line in lines if line and line[0] != "#") > max_samples:
        raise Refused(f"its answer has more than {max_samples} samples")
    if max(map(len, lines)) > _LINE:
        raise Refused(f"its answer has a line of more than {_LINE} characters")
    try:
        return list(_families(text, content_type))
    except (
        Exception
    ) as problem:  # a parser of others, on bytes of others: whatever it trips over, this is no exposition
        raise Refused(f"its answer is no Prometheus text: {_short(problem)}") from problem


def _families(text: str, content_type: str) -> Iterator[Metric]:
    # Imported here: only who reads such a body pays for the parser.
    if content_type.partition(";")[0].strip().lower() == _OPENMETRICS:
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parser
    else:
        from prometheus_client.parser import text_string_to_metric_families as parser
    yield from parser(text)  # type: ignore[no-untyped-call]


def _short(problem: Exception) -> str:
    said = " ".join(str(problem).split())
    return said if len(said) <= 120 else f"{said[:117]}..."
