"""A fleet, by what its hosts stated into an archive: generations, hosts and their ends, without reading their data.

Of each object only the accounts in it are looked at, and only once: a further reading costs the listing and what is
new. Accounts that came through a Collector into a gateway that lists ranges are among its data and not seen here;
`shipper audit` reads everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from shipper.contracts import Signal, StreamKind
from shipper.fleet.archive import Archive
from shipper.fleet.audit import roll_call
from shipper.fleet.generations import GenerationRow, generations
from shipper.fleet.layout import RangeList
from shipper.fleet.report import AuditReport, LifeReport
from shipper.fleet.statements import Event, events
from shipper.top.layout import Column, View
from shipper.top.words import span

INTERVAL = 15.0  # as often as hosts make a statement
T = TypeVar("T")
_GENERATIONS = (
    Column("generation"),
    Column("release"),
    Column("image"),
    Column("hosts", number=True),
    Column("lives", number=True),
    Column("age", number=True),
    Column("heard", number=True),
    Column("ends"),
)
_LIVES = (
    Column("host"),
    Column("generation"),
    Column("state"),
    Column("reason"),
    Column("lived", number=True),
    Column("heard", number=True),
)


class ArchiveSource:
    """Reads the archive at a path or URL in a thread of its own; ``service``: only this one; empty: all."""

    interval = INTERVAL

    def __init__(self, url: str, options: Mapping[str, str] | None = None, *, service: str = "") -> None:
        self.name = url
        self._options = options
        self._service = service
        self._ear: Ear | None = None

    async def read(self) -> View:
        """See `Source`. Raises `StoreUnusable` or `StoreUnavailable`."""
        return await _in_thread(self._read)

    async def aclose(self) -> None:
        """See `Source`."""

    def _read(self) -> View:
        if self._ear is None:
            self._ear = Ear(Archive.open(self.name, self._options))
        self._ear.listen()
        now = time.time_ns()
        report = roll_call(self.name, self._ear.events(), now_ns=now)
        report.lives = [life for life in report.lives if life.role != "gateway" and self._wants(life)]
        return shown(report, self._ear.damaged, now)

    def _wants(self, life: LifeReport) -> bool:
        return not self._service or life.labels.get("service") == self._service


class Ear:
    """Hears what hosts state in an archive, each object once. ``damaged``: what could not be read the last time."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._heard: dict[str, list[Event]] = {}  # by object
        self.damaged = 0

    def events(self) -> list[Event]:
        """All that was heard so far, in the order of objects."""
        return [event for heard in self._heard.values() for event in heard]

    def listen(self) -> None:
        """Hear what is new. Raises `StoreUnusable` or `StoreUnavailable`."""
        index = self._archive.index()
        self.damaged = len(index.damage)
        for ranges in index.lists:
            if ranges.object not in self._heard:
                self._hear(ranges)
        # without range lists a Collector keeps the archive; beside them such an object is the remains of a crash
        for name in index.unlisted if not index.lists else ():
            if name.key not in self._heard and name.signal is Signal.LOGS:
                loose = self._archive.loose(name)
                if loose.found is None:
                    self.damaged += 1
                else:
                    self._heard[name.key] = self._readable(loose.payload, 0)

    def _hear(self, ranges: RangeList) -> None:
        stated = [entry for entry in ranges.batches if entry.kind != StreamKind.DATA]
        if ranges.signal != Signal.LOGS or not stated:
            self._heard[ranges.object] = []
            return
        heard: list[Event] = []
        for piece in self._archive.pieces(msgspec.structs.replace(ranges, batches=stated)):
            if not piece.sound:
                self.damaged += 1
                return
            heard += self._readable(piece.payload, piece.entry.received_ns)
        self._heard[ranges.object] = heard

    def _readable(self, payload: bytes, received_ns: int) -> list[Event]:
        found = list(events(payload, received_ns))
        self.damaged += sum(isinstance(event, str) for event in found)
        return [event for event in found if not isinstance(event, str)]


def shown(report: AuditReport, damaged: int, now_ns: int) -> View:
    """The view of what hosts stated."""
    view = View()
    if not report.lives:
        view.say("no host has stated anything here that this program can read", "yellow")
    else:
        view.say(f"lives: {_ends(report.lives)}", "bold")
    if damaged:
        view.say(f"{damaged:,} objects or statements cannot be read; shipper audit {report.archive} names them", "red")
    rows = sorted(generations(report), key=lambda row: -row.first_ns)
    by_key: dict[tuple[str, str, str], list[LifeReport]] = {}
    for life in report.lives:
        by_key.setdefault(_of(life), []).append(life)
    view.table(_GENERATIONS, [_generation(row, by_key, now_ns) for row in rows])
    newest_first = sorted(report.lives, key=lambda life: (life.ended != "alive", -life.heard_ns))
    marked = frozenset(
        place for place, life in enumerate(newest_first) if life.ended in ("expired", "silent", "notice")
    )
    view.table(_LIVES, [_life(life, now_ns) for life in newest_first], marked)
    return view


def _of(life: LifeReport) -> tuple[str, str, str]:
    return life.labels.get("generation", ""), life.labels.get("release", ""), life.labels.get("image", "")


def _generation(
    row: GenerationRow, by_key: Mapping[tuple[str, str, str], list[LifeReport]], now_ns: int
) -> tuple[str, ...]:
    again = f" ({row.episode})" if row.episode > 1 else ""
    lives = [
        life
        for life in by_key.get((row.generation, row.release, row.image), ())
        if life.host in row.hosts or life.life in row.hosts
    ]
    return (
        row.generation + again,
        row.release,
        row.image,
        f"{len(row.hosts):,}",
        f"{row.lives:,}",
        _ago(row.first_ns, now_ns),
        _ago(row.last_ns, now_ns),
        _ends(lives) + (", withdrawn" if row.withdrawn_ns else "") + (", a rollback" if row.rollback else ""),
    )


def _ends(lives: list[LifeReport]) -> str:
    """How many lives ended how: ``2 alive, 5 drained``."""
    counted: dict[str, int] = {}
    for life in lives:
        counted[life.ended] = counted.get(life.ended, 0) + 1
    return ", ".join(f"{count:,} {how}" for how, count in sorted(counted.items()))


def _life(life: LifeReport, now_ns: int) -> tuple[str, ...]:
    end = now_ns if life.ended == "alive" else life.heard_ns
    lived = span(max(0, end - life.born_ns) / 1e9) if life.born_ns else ""
    generation = life.labels.get("generation", "")
    return life.host or life.life, generation, life.ended, life.reason, lived, _ago(life.heard_ns, now_ns)


def _ago(at_ns: int, now_ns: int) -> str:
    return f"{span(max(0, now_ns - at_ns) / 1e9)} ago" if at_ns else ""


async def _in_thread(work: Callable[[], T]) -> T:
    """The result of ``work`` from a thread that nobody waits for: to quit in the middle of a large archive is quick."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def deliver(value: T | None, problem: Exception | None) -> None:
        if result.done():
            return
        if problem is not None:
            result.set_exception(problem)
        else:
            result.set_result(value)  # type: ignore[arg-type]

    def run() -> None:
        try:
            outcome: tuple[T | None, Exception | None] = (work(), None)
        except Exception as problem:  # whoever awaits it has it
            outcome = (None, problem)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants to know any more
            loop.call_soon_threadsafe(deliver, *outcome)

    threading.Thread(target=run, name="shipper-top", daemon=True).start()
    return await result
