"""The account of a life, kept off-host from birth, so that a host that dies without a word still has a last statement.

Birth, account and farewell are OTLP log events of scope ``shipper.account``. Each is appended to a small spool and so
becomes a stream like any other: it passes any Collector, is acknowledged, resent and deduplicated as the rest is. Two
streams carry them, because not every destination wants both: ``life`` (birth and farewell) goes everywhere, ``account``
(the statement every 15 s) only to gateways and archives. Neither is counted in the account. docs/account.md has the JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shipper import __version__
from shipper.clock import Clock
from shipper.contracts import Exporter, Signal, Stream, StreamKind
from shipper.errors import ShipperError
from shipper.events import Problem, Reporter
from shipper.intervals import IntervalSet
from shipper.ledger import Ledger, LedgerThread, StreamAccount, StreamRow
from shipper.otlp.encode import export_logs, log_record, scope
from shipper.pump.hub import Hub
from shipper.spool import Fsync, Spool, SpoolStream

SCOPE = "shipper.account"
SPOOL_BYTES = 16 << 20  # of statements that no destination has taken yet; older ones are superseded by newer ones
SEGMENT_BYTES = 1 << 20
SEVERITY_INFO = 9


@dataclass(frozen=True, slots=True)
class Who:
    """Whose account it is; the same in every statement of a run."""

    life: str
    run: int
    born_ns: int
    role: str  # "sidecar" or "gateway"
    host: str
    labels: Mapping[str, str]
    resource: bytes  # encoded Resource of the host


class Account:
    """Writes the statements of one run into the two account streams."""

    def __init__(
        self,
        who: Who,
        *,
        directory: str,
        hub: Hub,
        ledger: LedgerThread,
        exporters: Mapping[str, Exporter],
        extras: Callable[[], Mapping[str, Any]],
        interval: float,
        clock: Clock,
        report: Reporter,
        fallback: str = "",
        helping: Callable[[], bool] = lambda: False,
        signals: Mapping[str, frozenset[Signal]] | None = None,
    ) -> None:
        """``fallback``: the one of ``exporters`` that takes part only in need, and ``helping`` whether it ever did.

        ``signals``: of which data each gets anything, by name, where that is not all that its exporter takes.
        """
        self._signals = {**{name: one.signals for name, one in exporters.items()}, **(signals or {})}
        self._fallback = fallback
        self._helping = helping
        self._who = who
        self._directory = directory
        self._hub = hub
        self._ledger = ledger
        self._exporters = exporters
        self._extras = extras
        self._interval = interval
        self._clock = clock
        self._report = report
        self._over = False  # nothing is stated after a farewell, unless the run outlives it
        self._stated = -1  # the ledger's change marker of the last statement
        self._spools: dict[StreamKind, Spool] = {}
        self._streams: dict[StreamKind, SpoolStream] = {}

    async def open(self) -> None:
        """Open the spools and announce the two streams; statements of earlier runs that were not sent go first."""
        for kind in (StreamKind.LIFE, StreamKind.ACCOUNT):
            spool = Spool.open(
                os.path.join(self._directory, kind.value),
                name=kind.value,
                fsync=Fsync.NEVER,  # a statement survives the process; when the host dies the disk goes too
                segment_bytes=SEGMENT_BYTES,
                max_bytes=SPOOL_BYTES,
                policy="drop_oldest",
                report=self._report,
            )
            stream = SpoolStream(
                spool, id=kind.value, signal=Signal.LOGS, kind=kind, life=self._who.life, name=kind.value
            )
            # What a power cut took from the spool was perhaps sent before it: its positions are never given away again.
            stream.start, used = await self._ledger.call(_known, _row(stream), tuple(self._exporters))
            spool.skip_to(used)
            self._spools[kind], self._streams[kind] = spool, stream
            self._hub.add(stream)

    async def birth(self, notes: Sequence[str]) -> None:
        """State that this life (or this run of it) has begun. ``notes``: what a reader should know, for example lost state."""
        await self._state("shipper.birth", StreamKind.LIFE, {"notes": list(notes)})

    async def notice(self, words: Mapping[str, Any]) -> None:
        """State that word came of this life's end; ``words``: kind, source, evidence, deadline_ns (or None), ends_life."""
        await self._state("shipper.notice", StreamKind.LIFE, {"notice": dict(words)}, ())

    async def run(self) -> None:
        """State the account every interval, until the farewell."""
        while True:
            await self._clock.sleep(self._interval)
            if self._over:
                continue
            try:
                await self._state("shipper.account", StreamKind.ACCOUNT, {})
            except (ShipperError, OSError) as problem:
                self._report(Problem("account", f"the account could not be stated this time: {problem}"))

    async def farewell(self, words: Mapping[str, Any]) -> None:
        """State how the run ended; ``words`` holds reason, ends_life, outcome. What is left is worked out here."""
        self._over = True
        # A farewell is complete: where no account is kept, it is the only statement there is.
        streams = await self._changed(since=-1)
        left = [gap for account in streams for gap in _left(account, self._fallback)]
        lent = [part for account in streams for part in _lent(account, self._fallback)]
        more = {**words, "left": left, **({"lent": lent} if lent else {})}
        await self._state("shipper.farewell", StreamKind.LIFE, more, streams)

    @property
    def over(self) -> bool:
        """Whether the farewell was begun: whatever is stated behind it would be taken for a later word of the life."""
        return self._over

    def go_on(self) -> None:
        """The run outlived its farewell: what comes now is stated again, and a later farewell takes the place of that one."""
        self._over = False

    def close(self) -> None:
        """Close the spools."""
        for spool in self._spools.values():
            spool.close()

    async def _changed(self, since: int) -> list[StreamAccount]:
        sizes = {stream.id: stream.frontier() for stream in self._hub.streams() if stream.kind is StreamKind.DATA}
        return await self._ledger.call(_figures, sizes, self._destinations(), self._signals, since)

    def _destinations(self) -> tuple[str, ...]:
        """Those the account speaks of."""
        return tuple(name for name in self._exporters if name != self._fallback or self._helping())

    async def _state(
        self, event: str, kind: StreamKind, more: Mapping[str, Any], streams: Sequence[StreamAccount] | None = None
    ) -> None:
        if streams is None:
            streams = await self._changed(self._stated)
        seq = await self._ledger.call(Ledger.next_seq)
        now = self._clock.wall_ns()
        who = self._who
        statement = {
            "version": 1,
            "shipper": __version__,
            "life": who.life,
            "run": who.run,
            "seq": seq,
            "at_ns": now,
            "role": who.role,
            "host": who.host,
            "labels": dict(who.labels),
            "born_ns": who.born_ns,
            "interval": self._interval,
            "streams": [self._stream(account) for account in streams],
            **self._extras(),
            **more,
            **({"fallback": self._fallback} if self._helping() else {}),
        }
        if event == "shipper.farewell":
            statement["ended_ns"] = now
        record = log_record(
            time_ns=now,
            observed_ns=now,
            body=json.dumps(statement, separators=(",", ":")),
            severity=SEVERITY_INFO,
            attributes={"shipper.life.id": who.life, "shipper.run": who.run, "shipper.seq": seq},
            event_name=event,
        )
        payload = export_logs(who.resource, scope(SCOPE, __version__), [record])
        header = json.dumps({"records": 1, "units": 1, "observed": now}).encode()
        self._spools[kind].append(header, payload)
        self._stated = max([self._stated, *(account.changed for account in streams)])
        self._hub.ready(self._streams[kind])

    def _stream(self, account: StreamAccount) -> dict[str, Any]:
        row = account.stream
        return {
            "id": row.id,
            "name": row.name,
            "kind": row.kind.value,
            "signal": row.signal.value,
            "start": row.start,
            "size": row.size,
            "finished": row.finished,
            "destinations": {
                name: {**figures.as_json(), "trusted": self._exporters[name].trusted()}
                for name, figures in account.destinations.items()
            },
        }


def _known(ledger: Ledger, row: StreamRow, destinations: Sequence[str]) -> tuple[int, int]:
    """Make the stream known; where it began, and the position up to which it was ever cut."""
    start = ledger.put_shrinking(row).start
    return start, max((ledger.cursor(name, row.id).reach for name in destinations), default=start)


def _figures(
    ledger: Ledger,
    sizes: Mapping[str, int],
    destinations: Sequence[str],
    signals: Mapping[str, frozenset[Signal]],
    since: int,
) -> list[StreamAccount]:
    """The account after noting the sizes seen, in one turn of the ledger's thread."""
    for stream, size in sizes.items():
        ledger.seen(stream, size)
    return ledger.account(destinations, since, signals=signals)


def _left(account: StreamAccount, fallback: str) -> list[dict[str, Any]]:
    """The ranges of one stream that a destination has not got, nor the fallback, and that were not given up either."""
    helped = account.destinations[fallback].acknowledged if fallback in account.destinations else ()
    return [
        {"stream": account.stream.id, "destination": name, "start": start, "end": end}
        for name, figures in account.destinations.items()
        if name != fallback
        for start, end in IntervalSet([*figures.acknowledged, *figures.lost, *figures.quarantined, *helped]).missing(
            account.stream.start, account.stream.size
        )
    ]


def _lent(account: StreamAccount, fallback: str) -> list[dict[str, Any]]:
    """The ranges of one stream that the fallback has got, and the destination that is owed them has not."""
    if fallback not in account.destinations:
        return []
    helped = account.destinations[fallback].acknowledged
    return [
        {"stream": account.stream.id, "destination": name, "start": start, "end": end}
        for name, figures in account.destinations.items()
        if name != fallback
        for a, b in helped
        for start, end in IntervalSet(figures.acknowledged).missing(a, b)
    ]


def _row(stream: Stream) -> StreamRow:
    return StreamRow(stream.id, stream.kind, stream.signal, "account", stream.name, stream.start)
