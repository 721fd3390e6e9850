"""One pass over an archive for its page: every checksum compared, nearly nothing decoded.

An audit counts every record itself, which for records with many attributes is most of its time. Here a batch whose bytes have
their checksum holds as many records as its range list says; what is decoded are the hosts' statements, samples of requests,
deploy events, and the first batch of each life. The page says that it was so.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from shipper.contracts import Signal
from shipper.fleet.archive import Archive
from shipper.fleet.audit import SILENCE_SECONDS, audit
from shipper.fleet.deploys import wire
from shipper.fleet.deploys.model import DeployEvent
from shipper.fleet.layout import Entry
from shipper.fleet.page.traffic import Traffic
from shipper.fleet.report import AuditReport
from shipper.fleet.store import StoreUnusable
from shipper.fleet.tally import Tally, tally

CLOCKS_SET_NS = 946_684_800 * 1_000_000_000  # 2000-01-01: a birth before it was told by a clock that nobody had set


@dataclass(frozen=True, slots=True)
class Read:
    """What a pass found: the lives with their accounts, requests over time, and what pipelines told of deploys.

    ``audited``: an archive was compared with the accounts, so that it is known what is missing.
    """

    report: AuditReport
    traffic: Traffic
    deploys: tuple[DeployEvent, ...]
    audited: bool = True


class _Pass:
    """Counts as `shipper.fleet.archive.Count` wants it, and keeps what the page needs on the way."""

    def __init__(self, now_ns: int) -> None:
        self.traffic = Traffic()
        self.deploys: list[DeployEvent] = []
        self._now_ns = now_ns
        self._known: set[str] = set()

    def count(self, signal: Signal, payload: bytes, entry: Entry | None) -> Tally:
        """See `shipper.fleet.archive.Count`."""
        life = entry.life if entry is not None else ""
        if signal is Signal.METRICS:
            self.traffic.take(payload, life)
        elif signal is Signal.LOGS:
            events = wire.from_otlp(payload, self._now_ns)
            self.deploys += [event for event in events if isinstance(event, DeployEvent)]
        if entry is None or life not in self._known:
            self._known.add(life)
            return tally(signal, payload)
        return Tally(entry.records, {})


def read(
    archive: str,
    options: Mapping[str, str] | None = None,
    *,
    now_ns: int | None = None,
    silence: float = SILENCE_SECONDS,
) -> Read:
    """Read the archive at a path or URL, see `shipper.fleet.store.open_store` and `shipper.fleet.audit.audit`.

    Raises `StoreUnavailable`, or `StoreUnusable`: also where there are range lists and this program can read none of them.
    """
    now = time.time_ns() if now_ns is None else now_ns
    one = _Pass(now)
    report = audit(Archive.open(archive, options, count=one.count), now_ns=now, silence=silence)
    if not report.lives and report.damage:
        first = report.damage[0]
        raise StoreUnusable(f"{archive} can be read in no part: {first.key}: {first.problem}")
    _mend_births(report)
    return Read(report, one.traffic, tuple(one.deploys))


def _mend_births(report: AuditReport) -> None:
    """A host whose clock was not set when it was born would stretch every picture back to 1970: when it was heard of counts."""
    for life in report.lives:
        if 0 < life.born_ns < CLOCKS_SET_NS < life.heard_ns:
            life.notes.append("its clock was not set at its birth; it is shown from when it was last heard of")
            life.born_ns = life.heard_ns
