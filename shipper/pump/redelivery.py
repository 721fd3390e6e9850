"""Sends what is in quarantine once more, when its cause is thought to be gone: one request for each entry, no retries.

It works beside a running sidecar and without one. The account is not touched: it goes on saying that the sidecar set these
records aside, while the archive, which the audit believes, has them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from shipper.clock import Clock, Deadline
from shipper.contracts import Exporter, Request
from shipper.errors import DeliveryError, StateDamaged
from shipper.ids import uuid7
from shipper.pump.quarantine import Quarantine

SECONDS = 30.0  # for one entry


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one entry; ``problem`` is empty when it was delivered, and then it is no longer in quarantine."""

    id: str
    destination: str
    records: int
    problem: str = ""


async def redeliver(
    quarantine: Quarantine, ids: Sequence[str], exporter: Exporter, clock: Clock
) -> AsyncGenerator[Outcome, None]:
    """Send the entries through ``exporter`` in order and remove those it takes; it is started and closed here."""
    await exporter.start()
    try:
        for id_ in ids:
            yield await _redeliver(quarantine, id_, exporter, clock)
    finally:
        await exporter.aclose()


async def _redeliver(quarantine: Quarantine, id_: str, exporter: Exporter, clock: Clock) -> Outcome:
    try:
        entry = quarantine.read(id_)
    except StateDamaged as error:
        return Outcome(id_, exporter.name, 0, str(error))
    records = entry.batch.cut.records
    request = Request(uuid7(clock.wall_ns()), entry.batch.signal, (entry.batch,))
    try:
        answer = await exporter.send(exporter.prepare(request), Deadline.after(clock, SECONDS))
    except DeliveryError as error:
        return Outcome(id_, exporter.name, records, str(error) or type(error).__name__)
    if answer.rejected:
        return Outcome(id_, exporter.name, records, f"{answer.rejected} of them are refused again: {answer.message}")
    quarantine.remove(id_)
    return Outcome(id_, exporter.name, records)
