"""Pushes the newest values of this host's series to a Pushgateway, and deletes them there at the host's end.

For those who have nothing else: a Pushgateway keeps the last word of whoever dies without a word, forgets what it had between two
scrapes, and knows no times (``docs/exporters/pushgateway.md`` says when remote write is better). All of a host is one group, named
by the host's life, so that it is replaced as a whole by each push and can be deleted as a whole. What is pushed is in
``_exposition``, what answers mean in ``_pushgateway_answers``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

from shipper.clock import Deadline
from shipper.contracts import Accepted, Exporter, ExporterContext, Limits, Prepared, Request, Signal
from shipper.errors import MalformedOtlp, Rejected, TooLarge
from shipper_exporters._http.client import Client, Content, shown
from shipper_exporters._http.exchange import SecretFile
from shipper_exporters._http.settings import check_literal
from shipper_exporters._prometheus.convert import Converted, Converter
from shipper_exporters._prometheus.delta import Sums
from shipper_exporters._prometheus.exposition import Exposition, Taken
from shipper_exporters._prometheus.exposition_text import TEXT, write
from shipper_exporters._prometheus.pushgateway_answers import MAX_ANSWER
from shipper_exporters._prometheus.pushgateway_answers import check as check_answer
from shipper_exporters._prometheus.pushgateway_settings import PushgatewaySettings, check
from shipper_exporters._prometheus.remote_write_journey import LATE
from shipper_exporters._prometheus.samples import Labels, Sample, is_end
from shipper_exporters._prometheus.settings import authorization

__all__ = ["PushgatewayExporter", "PushgatewaySettings"]

HOST = "shipper_host_info"
"""The family whose end is a host's end."""

_LINGER_SHARE = 0.5  # of what is left before a deadline, at most: the deletion has to follow
_MAX_RAW = 1 << 20
_REMEMBERED = 64


@dataclass(slots=True)
class _Push:
    """A request that was taken up. ``pushed_at``: monotonic seconds; None while it is not there."""

    taken: Taken
    samples: list[Sample]
    rejected: Counter[str]
    pushed_at: float | None = None


class PushgatewayExporter(Exporter):
    """A Pushgateway; see the module."""

    Settings: ClassVar[type[Any]] = PushgatewaySettings
    signals = frozenset({Signal.METRICS})

    def __init__(self, name: str, settings: PushgatewaySettings, context: ExporterContext) -> None:
        self.name = name
        # Each push carries all series of the host and replaces the one before, so one goes at a time, and seldom: what is
        # scraped every 15 s or more gains nothing by more than one push in 5 s.
        self.limits = Limits(
            max_raw_bytes=_MAX_RAW, requests_per_second=settings.requests_per_second, burst=2, max_in_flight=1
        )
        self._settings = settings
        self._context = context
        self._url = check(name, settings, context.life)
        self._client = Client.of(settings, context)
        check_literal(name, "endpoint", self._url, self._client.addresses)
        self._secret = SecretFile.first(token=settings.token_file, password=settings.password_file)
        self._converter = Converter(settings.external_labels, 2 * settings.max_series)
        self._sums = Sums(settings.max_series)
        self._exposition = Exposition(settings.max_series, settings.expire_after)
        self._pushes: dict[str, _Push] = {}
        self._over = False  # the host's end was seen

    async def start(self) -> None:
        """See `Exporter.start`."""
        self._client.open()

    def prepare(self, request: Request) -> Prepared:
        """See `Exporter.prepare`. Raises `Rejected` when it is no OTLP."""
        try:
            converted = self._converter.convert(batch.payload for batch in request.batches)
        except MalformedOtlp as error:
            raise Rejected(f"{self.name}: {error}") from None
        return Prepared(request.id, request.signal, converted, request.raw_bytes)

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        """See `Exporter.send`. With the end of the host its last values stay for ``linger``, then its group is deleted."""
        converted: Converted = prepared.body
        push = self._pushes.pop(prepared.request_id, None) or self._take(converted)
        try:
            if push.samples:
                await self._push(push, deadline)
        except (TooLarge, Rejected):  # it comes again, if at all, under other ids
            self._exposition.take_back(push.taken)
            raise
        except BaseException:
            self._pushes[prepared.request_id] = push
            while len(self._pushes) > _REMEMBERED:
                del self._pushes[next(iter(self._pushes))]
            raise
        self._sums.taken(push.samples)
        self._sums.doubtful(push.taken.refused)
        message = "; ".join(f"{count} x {reason}" for reason, count in push.rejected.most_common())
        return Accepted(min(converted.points, push.rejected.total()), message)

    def trusted(self) -> bool:
        """See `Exporter.trusted`: not for a Pushgateway on this host, unless the settings say so."""
        return self._settings.trust_local or (self._client.addresses.known and not self._client.addresses.local)

    def describe(self) -> str:
        """See `Exporter.describe`."""
        return f"Pushgateway at {self._url.origin()}"

    async def aclose(self) -> None:
        """See `Exporter.aclose`. Deletes nothing: a run that ends is not the host's end."""
        await self._client.aclose()

    def _take(self, converted: Converted) -> _Push:
        summed = self._sums.begin(converted.samples)
        taken = self._exposition.take(summed.samples, self._context.clock.monotonic())
        rejected = Counter(converted.rejected) + taken.rejected
        if summed.late:
            rejected[LATE] = len({sample[3] for sample in summed.late})
        return _Push(taken, summed.samples, rejected)

    async def _push(self, push: _Push, deadline: Deadline) -> None:
        clock = self._context.clock
        if push.pushed_at is None:
            body = write(self._exposition.shelves(clock.monotonic()), openmetrics=False)
            seen = self._exposition.snapshot()
            await self._call("PUT", deadline, Content(body, TEXT))
            self._exposition.seen(seen)
            push.pushed_at = clock.monotonic()
        if _ends_host(push.samples) and not self._over:
            await self._linger(push.pushed_at, deadline)
            self._over = True
        if self._over and not self._exposition.lives(HOST):
            await self._call("DELETE", deadline)
        else:
            self._over = False  # a host may outlive its farewell

    async def _linger(self, since: float, deadline: Deadline) -> None:
        """Leave a scraper the time to see the last values, and keep enough of it for what follows."""
        clock = self._context.clock
        rest = since + self._settings.linger - clock.monotonic()
        await clock.sleep(max(0.0, min(rest, deadline.remaining() * _LINGER_SHARE)))

    async def _call(self, method: str, deadline: Deadline, content: Content | None = None) -> None:
        headers = {"User-Agent": self._context.user_agent, "Accept-Encoding": "identity", **self._settings.headers}
        if self._secret is not None:
            headers["Authorization"] = authorization(self._settings.username, self._secret.read())
        answer = await self._client.call(method, self._url, deadline, MAX_ANSWER, headers, content)
        check_answer(answer, shown(self._url), self._context.clock.wall_ns())


def _ends_host(samples: list[Sample]) -> bool:
    """Whether one of these says that a host is over."""
    return any(
        is_end(value) and isinstance(labels, Labels) and labels.family.name == HOST for _, labels, value, *_ in samples
    )
