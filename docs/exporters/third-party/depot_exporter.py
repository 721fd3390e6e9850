"""Sends log lines to a depot: `PUT /batches/ID` of a JSON list, answered by 201 (stored) or 200 (was there already)."""

import aiohttp
import msgspec

from shipper.clock import Deadline, Patience
from shipper.contracts import Accepted, Exporter, ExporterContext, Limits, Prepared, Request, Signal
from shipper.errors import ConfigError, MalformedOtlp, Rejected, Retryable, TooLarge, Unusable
from shipper.otlp.rows import log_blocks


class DepotSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``options`` of a destination of type ``depot`` may hold."""

    endpoint: str = ""
    timeout: float = 10.0


class DepotExporter(Exporter):
    """See the module."""

    Settings = DepotSettings
    signals = frozenset({Signal.LOGS})  # of other signals it is owed nothing

    def __init__(self, name: str, settings: DepotSettings, context: ExporterContext) -> None:
        if not settings.endpoint:
            raise ConfigError(f"destinations.{name}.endpoint", "is missing, for example http://depot.example:7000")
        self.name, self._settings, self._context = name, settings, context
        self.limits = Limits(requests_per_second=1.0, burst=20)  # the depot bills by the request

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False)

    def prepare(self, request: Request) -> Prepared:
        try:
            blocks = [block for batch in request.batches for block in log_blocks(batch.payload)]
            lines = [(block.envelope.resource.get("service.name"), row) for block in blocks for row in block.rows()]
        except MalformedOtlp as error:  # a disk may be damaged, and what it says holds nothing else up
            raise Rejected(str(error)) from None
        body = msgspec.json.encode([{"service": who, "time": row.observed_ns, "text": row.body} for who, row in lines])
        return Prepared(request.id, request.signal, body, len(body))

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        url = f"{self._settings.endpoint}/batches/{prepared.request_id}"  # of one request ever: never twice
        try:
            async with Patience(self._context.clock, self._settings.timeout, deadline):
                async with self._session.put(url, data=prepared.body, allow_redirects=False) as answer:
                    status, wait, said = answer.status, answer.headers.get("Retry-After", ""), await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:  # it may have got there: the very same again
            raise Retryable(f"{url}: {error or 'no answer'}") from None
        if status in (200, 201) and said == b"stored":
            return Accepted()
        meaning = {413: TooLarge, 422: Rejected}.get(status, Retryable if status in (429, 503) else Unusable)
        reason = f"{url} answered {status}: {said[:80]!r}"
        raise Retryable(reason, float(wait) if wait.isdecimal() else None) if meaning is Retryable else meaning(reason)

    async def aclose(self) -> None:
        if hasattr(self, "_session"):
            await self._session.close()
