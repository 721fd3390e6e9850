"""Listens for word of the end, from before a run is put together until it is over.

A host can be told to die while it is still finding out who it is; so the watchers are the first thing that is started, and
what ``shipper notice`` left for a sidecar that was not there yet is read then. It is looked for all the time: the hook may
have run after that first look and before the socket was open, or when the socket was too busy to answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from shipper.clock import Clock
from shipper.conductor import Conductor
from shipper.config import Config, Role
from shipper.errors import ShipperError
from shipper.events import Problem, Reporter
from shipper.labels.finding import Surroundings
from shipper.notice import NoticeBoard, NoticeWatcher
from shipper.notices.budgets import Budgets
from shipper.notices.choose import Around, Platform, choose
from shipper.notices.left_note import take_note
from shipper.notices.times import Times

NOTE_LOOK_SECONDS = 0.5  # how often a note is looked for; a look is one file that cannot be opened


def platform_of(config: Config, role: Role, *, env: Mapping[str, str], clock: Clock, report: Reporter) -> Platform:
    """The watchers and holds of this host. Raises `ConfigError` for a platform nobody knows."""
    settings = config.notices
    if role == "gateway" and settings.watch == ["auto"]:
        return Platform()  # a gateway's disk stays, and its hosts' notices are theirs
    around = Around(
        clock=clock,
        report=report,
        times=Times(clock),
        surroundings=Surroundings("/", env),
        endpoints=settings.endpoints,
        budgets=Budgets(settings.budgets),
        touch_file=settings.touch_file,
        asg_hooks=settings.asg_hooks,
    )
    return choose(settings.watch, around, hold=settings.hold)


@asynccontextmanager
async def listening(
    platform: Platform, conductor: Conductor, *, state_dir: str, clock: Clock, report: Reporter
) -> AsyncIterator[None]:
    """Everything in it happens while the watchers listen."""
    tasks = [asyncio.create_task(_listen(watcher, conductor.board, report)) for watcher in platform.watchers]
    _take_note(conductor, state_dir, clock, report)
    tasks.append(asyncio.create_task(_look_for_notes(conductor, state_dir, clock, report)))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _listen(watcher: NoticeWatcher, board: NoticeBoard, report: Reporter) -> None:
    try:
        await watcher.run(board)
    except Exception as fault:  # a fault in one watcher must cost neither the others nor the run
        said = f"{watcher.name} is not listened to any more: {type(fault).__name__}: {fault}"
        board.unknown(watcher.name, said)
        report(Problem("notice-watcher-bug", said, watcher.name))
    finally:
        await watcher.aclose()


async def _look_for_notes(conductor: Conductor, state_dir: str, clock: Clock, report: Reporter) -> None:
    while True:
        await clock.sleep(NOTE_LOOK_SECONDS)
        _take_note(conductor, state_dir, clock, report)


def _take_note(conductor: Conductor, state_dir: str, clock: Clock, report: Reporter) -> None:
    wanted = take_note(state_dir, clock)
    if wanted is not None:
        try:
            conductor.notice_by_hand(wanted)
        except ShipperError as problem:
            report(Problem("notice-source", f"a notice left before the start is not understood: {problem}"))
