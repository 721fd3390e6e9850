"""Anything that happens to a journal, in any order: every entry arrives once."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sources.journal_kit import Sink, needs_remote, reading, write

pytestmark = needs_remote

ACTIONS = st.sampled_from(["write", "look", "set aside", "copy", "other machine", "crash", "outage", "removed"])


@given(st.lists(ACTIONS, min_size=3, max_size=12), st.integers(200, 5_000))
@settings(max_examples=15, deadline=None)
def test_every_entry_arrives_once_whatever_happens(actions: list[str], limit: int) -> None:
    """Writes, files renamed, copied, set aside and removed once read, a second machine, kills and outages, in any order."""
    home = Path(tempfile.mkdtemp(prefix="shipper-journal-"))
    journal, sink, written, turn = home / "j", Sink(limit=limit), Counter[str](), 0

    def append(name: str) -> None:
        lines = [f"{turn}.{number}" for number in range(5)]
        write(journal / name, lines, first=turn * 5 + 1)
        written.update(lines)

    async def one_run(rest: list[str]) -> list[str]:
        nonlocal turn
        async with reading(home, journal, sink=sink) as run:
            while rest:
                action, rest = rest[0], rest[1:]
                turn += 1
                live = journal / "a.journal"
                if action == "crash":
                    return rest
                if action == "write":
                    append("a.journal")
                elif action == "other machine":
                    append(f"{'1' * 32}/system.journal")
                elif action == "set aside" and live.exists():
                    live.rename(journal / f"a@{turn}.journal~")
                elif action == "copy" and live.exists():
                    shutil.copy(live, journal / f"b@{turn}.journal")
                elif action == "outage":
                    sink.open = not sink.open
                elif action == "removed":
                    await run.look()
                    for path in journal.glob("a@*"):
                        path.unlink()
                if action in ("look", "removed"):
                    await run.look()
            sink.take_all()
            await run.look()
        return rest

    async def story() -> None:
        append("a.journal")
        rest = [*actions, "write", "look"]
        while rest:
            rest = await one_run(rest)
            if any(action == "removed" for action in actions):
                sink.take_all()

    try:
        asyncio.run(story())
        assert not sink.lost
        assert Counter(sink.bodies) == written
    finally:
        shutil.rmtree(home)
