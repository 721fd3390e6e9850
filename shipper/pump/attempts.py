"""One request sent again and again, unchanged, until its destination says something about it.

What a destination says of itself (busy, out of reach, set up wrongly) only decides when the next attempt is. The bytes are let
go as soon as the exporter has prepared them, and are read again where they are needed once more.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from shipper.contracts import Accepted, Batch, Prepared, Request
from shipper.errors import DeliveryError, Rejected, Retryable, TooLarge, Unusable
from shipper.events import Problem, Retried
from shipper.pump.backoff import LONGEST, UNREACHABLE, UNUSABLE_FIRST, Backoff
from shipper.pump.cause import cause_of, is_throttling
from shipper.pump.gather import INLINE_BYTES, Contents, Parcel
from shipper.pump.reread import Rereading
from shipper.pump.tools import Tools
from shipper.pump.workbench import InHand

LET_GO = 10.0  # seconds: who has to wait longer than this for the next attempt is prepared anew for it
STUCK = 60.0  # seconds of work on one request, after which others need not wait for its place
_Of = TypeVar("_Of")


class _ExporterFailed(Exception):
    """An exporter raised what it must not raise; the text says what."""


@contextmanager
def _exporter_at_work() -> Iterator[None]:
    """Around calls into an exporter: a bug there must lose nothing, a bug of ours must surface."""
    try:
        yield
    except DeliveryError:
        raise
    except Exception as error:
        raise _ExporterFailed(f"{type(error).__name__}: {error}") from error


class Attempts:
    """At the requests of one destination."""

    def __init__(self, tools: Tools, rereading: Rereading) -> None:
        self._tools = tools
        self._rereading = rereading
        self._name = tools.name
        self._outcomes = tools.report.metrics.requests

    async def until_answered(self, parcel: Parcel, hand: InHand) -> Accepted | TooLarge | Rejected:
        """Send the same again until there is an answer about this request (and not about the destination).

        What is in ``hand`` is let go, and read again where that is needed. Raises `GaveWay` when it was called back: it is still open.
        """
        backoff = parcel.backoff = parcel.backoff or Backoff(self._tools.random)
        prepared: Prepared | None = None
        while True:
            try:
                far = self._far(backoff)
                if far or (prepared is None and backoff.until > self._tools.clock.monotonic()):
                    prepared = None
                    hand.let_go()
                async with parcel.recall.waiting():
                    await self._tools.gate.rest(backoff)
                    if far:
                        await self._tools.gate.passed()
                    if await self._tools.window.readmits(parcel):
                        prepared = None  # the exporter has let its bytes go
                if prepared is None:
                    prepared = await self._prepare(parcel, hand)
                    if prepared is None:
                        return Accepted()
                answer = await self._attempt(parcel, prepared)
            except (TooLarge, Rejected) as error:
                self._tools.health.answered()
                self._count("too_large" if isinstance(error, TooLarge) else "rejected")
                return error
            except Retryable as error:
                self._retry_later(error, backoff)
            except Unusable as error:
                self._hold_unusable(error, backoff)
            except _ExporterFailed as error:
                self._survive(error, backoff)
            else:
                self._tools.health.answered()
                self._count("partial" if answer.rejected else "accepted")
                return answer

    def _far(self, backoff: Backoff) -> bool:
        """Whether the next attempt is so far away that nothing is kept for it: an outage costs no memory."""
        return max(backoff.until - self._tools.clock.monotonic(), self._tools.gate.wait()) > LET_GO

    async def _prepare(self, parcel: Parcel, hand: InHand) -> Prepared | None:
        """The exporter's form of the request; None when there is nothing to send in it."""
        try:
            contents = hand.contents or await self._read(parcel, hand)
            if not contents.raw:
                return None
            parcel.raw = contents.raw
            if contents.packing is None:
                request = Request(parcel.id, parcel.signal, tuple(contents.batches))
                prepared = await self._work(parcel, hand, self._tools.exporter.prepare, request)
            else:
                with _exporter_at_work():
                    await contents.packed()
                prepared = await self._work(parcel, hand, contents.packing.prepared, parcel.id)
            self._tools.sizing.measured(source=contents.source, raw=contents.raw, wire=prepared.wire_bytes)
            return prepared
        finally:
            hand.let_go()

    async def _read(self, parcel: Parcel, hand: InHand) -> Contents:
        async with parcel.recall.waiting():
            await hand.place.enter()
        with _exporter_at_work():
            contents = hand.contents = Contents(self._tools.exporter, parcel.signal)

        async def take(batch: Batch) -> None:
            contents.add(batch)
            with _exporter_at_work():
                await contents.pack(self._tools.threads)

        await self._rereading.each(parcel, take, hand.place)
        return contents

    async def _work(self, parcel: Parcel, hand: InHand, prepare: Callable[[_Of], Prepared], of: _Of) -> Prepared:
        """The exporter at work: in a thread, if that takes longer than a hop to one."""
        if parcel.raw <= INLINE_BYTES:
            with _exporter_at_work():
                return prepare(of)
        loop = asyncio.get_running_loop()
        alarm = loop.call_later(STUCK, hand.place.leave)  # a thread's time is real
        try:
            async with parcel.recall.waiting():
                with _exporter_at_work():
                    return await loop.run_in_executor(self._tools.threads, prepare, of)
        finally:
            alarm.cancel()

    async def _attempt(self, parcel: Parcel, prepared: Prepared) -> Accepted:
        gate, window = self._tools.gate, self._tools.window
        async with parcel.recall.waiting():
            await self._turn()
        exporter = self._tools.exporter
        with window.sending(parcel) as attempt:
            if exporter.limits.max_unacknowledged:
                prepared = replace(prepared, taken=attempt.taken)
            unsent, parcel.unsent = parcel.unsent, False
            try:
                with _exporter_at_work(), self._tools.health.attempt():
                    answer = await exporter.send(prepared, gate.deadline)
            except Retryable as error:
                parcel.unsent = unsent and error.unsent
                if is_throttling(error):
                    window.mercy(prepared.request_id, attempt.began, gate.capped(LONGEST))
                raise
            window.acknowledged(attempt)
        return answer

    async def _turn(self) -> None:
        """Wait until the next attempt may begin, which has to be at once then."""
        gate, window = self._tools.gate, self._tools.window
        while gate.wait() > 0 or window.wait() > 0:
            await gate.passed()
            await window.admits()

    def _retry_later(self, error: Retryable, backoff: Backoff) -> None:
        cause = cause_of(error)
        self._tools.health.failed(f"will be tried again: {error}", late=self._tools.gate.deadline.expired())
        self._count("retryable")
        self._tools.report(Retried(self._name, cause, str(error)))
        if error.wait is not None:
            self._tools.gate.hold(error.wait, self._tools.gate.capped(backoff.next()))
        else:
            self._tools.gate.plan(backoff, UNREACHABLE if cause == "connection" else math.inf)

    def _hold_unusable(self, error: Unusable, backoff: Backoff) -> None:
        failure = f"cannot be used as it is set up: {error}"
        self._tools.health.failed(failure, unusable=True)
        self._count("unusable")
        self._tools.report(Problem("destination-unusable", f"{self._name} {failure}", self._name))
        slow = Backoff(self._tools.random, first=UNUSABLE_FIRST, floor=0.8)
        slow.attempts = backoff.attempts
        self._tools.gate.hold(self._tools.gate.capped(slow.next()))
        backoff.attempts = slow.attempts

    def _survive(self, error: _ExporterFailed, backoff: Backoff) -> None:
        failure = f"failed in a way it should not: {error}"
        self._tools.health.failed(failure, unusable=True)
        self._count("failed")
        self._tools.report(Problem("exporter-bug", f"the exporter of {self._name} {failure}", self._name))
        slow = Backoff(self._tools.random, first=UNUSABLE_FIRST, longest=2 * LONGEST, floor=0.8)
        slow.attempts = backoff.attempts
        self._tools.gate.plan(slow)
        backoff.attempts, backoff.until = slow.attempts, slow.until

    def _count(self, outcome: str) -> None:
        self._outcomes.labels(self._name, outcome).inc()
