"""The ledger behind its thread: order, group commit, failures that stay with their caller, the end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from shipper.contracts import Cut, Signal, StreamKind
from shipper.errors import LedgerFull
from shipper.events import Reporter
from shipper.ledger import Ledger, LedgerThread, StreamRow
from shipper.testing.clock import FakeClock


def open_ledger(path: Path) -> Ledger:
    """A ledger with one stream ``a``."""
    ledger = Ledger.open(path, report=Reporter(FakeClock()))
    ledger.put_stream(StreamRow("a", StreamKind.DATA, Signal.LOGS, "test", "a", 0))
    return ledger


def hold_up(thread: LedgerThread) -> tuple[asyncio.Task[None], threading.Event]:
    """Keep the thread busy until the event is set, so that calls queue up behind."""
    go_on = threading.Event()
    return asyncio.ensure_future(thread.call(lambda ledger: go_on.wait() and None)), go_on


def statements(ledger: Ledger, word: str) -> list[str]:
    """Collects the statements that begin with ``word`` from now on."""
    found: list[str] = []
    ledger._store.sql.set_trace_callback(lambda text: found.append(text) if text.startswith(word) else None)
    return found


def test_calls_that_queue_up_share_one_commit_in_order(tmp_path: Path) -> None:
    """Calls made while the thread is busy are carried out in order and committed together."""
    ledger = open_ledger(tmp_path / "ledger.db")
    commits = statements(ledger, "COMMIT")

    async def main() -> list[int]:
        thread = LedgerThread(ledger)
        busy, go_on = hold_up(thread)
        calls = [asyncio.ensure_future(thread.call(Ledger.next_seq)) for _ in range(50)]
        await asyncio.sleep(0)
        go_on.set()
        await busy
        numbers = await asyncio.gather(*calls)
        await thread.aclose()
        return numbers

    assert asyncio.run(main()) == list(range(1, 51))
    assert len(commits) <= 3


def test_a_call_that_fails_does_not_touch_its_neighbours(tmp_path: Path) -> None:
    """In a shared transaction a refused call is undone alone, in the file and in memory; the others are committed."""

    def half_done(ledger: Ledger) -> None:
        ledger.commit("otlp", "wrong", Signal.LOGS, [("a", Cut(5, 9, 5, 9, 1, 1))])
        raise KeyError("a bug")

    async def main() -> None:
        thread = LedgerThread(open_ledger(tmp_path / "ledger.db"))
        busy, go_on = hold_up(thread)
        first = asyncio.ensure_future(
            thread.call(Ledger.commit, "otlp", "r1", Signal.LOGS, [("a", Cut(0, 5, 0, 5, 1, 1))])
        )
        wrong = asyncio.ensure_future(thread.call(half_done))
        last = asyncio.ensure_future(
            thread.call(Ledger.commit, "otlp", "r2", Signal.LOGS, [("a", Cut(5, 7, 5, 7, 1, 1))])
        )
        await asyncio.sleep(0)
        go_on.set()
        await busy
        await asyncio.gather(first, last)
        with pytest.raises(KeyError, match="a bug"):
            await wrong
        await thread.aclose()

    asyncio.run(main())
    ledger = open_ledger(tmp_path / "ledger.db")
    assert [request.id for request in ledger.open_requests("otlp")] == ["r1", "r2"]
    assert ledger.cursor("otlp", "a").cut_to == 7
    ledger.close()


def test_a_commit_that_fails_fails_all_calls_and_none_happened(tmp_path: Path) -> None:
    """When the shared transaction cannot be written every caller hears `LedgerFull`, and the same calls work later."""
    ledger = open_ledger(tmp_path / "ledger.db")

    async def main() -> None:
        thread = LedgerThread(ledger)
        await thread.call(lambda ledger: ledger._store.sql.execute("PRAGMA max_page_count=1").close())
        busy, go_on = hold_up(thread)
        calls = [
            asyncio.ensure_future(thread.call(Ledger.next_seq)),
            asyncio.ensure_future(
                thread.call(Ledger.commit, "otlp", "r1", Signal.LOGS, [("a", Cut(0, 5, 0, 5, 1, 1))])
            ),
            asyncio.ensure_future(thread.call(Ledger.put, "big", "x" * 100_000)),
        ]
        await asyncio.sleep(0)
        go_on.set()
        outcomes = await asyncio.gather(busy, *calls, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes[1:]] == [LedgerFull] * 3
        await thread.call(lambda ledger: ledger._store.sql.execute("PRAGMA max_page_count=1000").close())
        assert await thread.call(Ledger.open_requests, "otlp") == []
        assert await thread.call(Ledger.next_seq) == 1
        await thread.call(Ledger.commit, "otlp", "r1", Signal.LOGS, [("a", Cut(0, 5, 0, 5, 1, 1))])
        await thread.call(Ledger.put, "big", "x" * 100_000)
        await thread.aclose()

    asyncio.run(main())


def test_a_cancelled_caller_does_not_stop_its_call(tmp_path: Path) -> None:
    """Cancelling who waits neither undoes the call nor disturbs the others."""

    async def main() -> str | None:
        thread = LedgerThread(open_ledger(tmp_path / "ledger.db"))
        busy, go_on = hold_up(thread)
        call = asyncio.ensure_future(thread.call(Ledger.put, "a", "b"))
        await asyncio.sleep(0)
        call.cancel()
        go_on.set()
        await busy
        found = await thread.call(Ledger.get, "a")
        await thread.aclose()
        return found

    assert asyncio.run(main()) == "b"


def test_closing_carries_out_what_is_queued_and_refuses_the_rest(tmp_path: Path) -> None:
    """`aclose` drains the queue and closes the file; a later call raises at once, a second `aclose` does nothing."""

    async def main() -> None:
        thread = LedgerThread(open_ledger(tmp_path / "ledger.db"))
        busy, go_on = hold_up(thread)
        calls = [asyncio.ensure_future(thread.call(Ledger.put, "a", str(n))) for n in range(10)]
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(thread.aclose())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="closed"):
            await thread.call(Ledger.get, "a")
        go_on.set()
        await asyncio.gather(busy, closing, *calls)
        await thread.aclose()

    asyncio.run(main())
    assert not (tmp_path / "ledger.db-wal").exists()
    ledger = open_ledger(tmp_path / "ledger.db")
    assert ledger.get("a") == "9"
    ledger.close()


ENDLESS = """
import asyncio, sys
from pathlib import Path
from shipper.events import Reporter
from shipper.ledger import Ledger, LedgerThread
from shipper.testing.clock import FakeClock

async def main():
    thread = LedgerThread(Ledger.open(Path(sys.argv[1]), report=Reporter(FakeClock())))
    while True:
        print(await thread.call(Ledger.next_seq), flush=True)

asyncio.run(main())
"""


def test_a_process_with_a_ledger_thread_ends_on_sigterm(tmp_path: Path) -> None:
    """SIGTERM ends a process in the middle of its calls at once, and the ledger has all that was reported."""
    path = tmp_path / "ledger.db"
    with subprocess.Popen([sys.executable, "-c", ENDLESS, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for _ in range(100):
            child.stdout.readline()
        os.kill(child.pid, signal.SIGTERM)
        rest = child.stdout.read().splitlines()
        assert child.wait() == -signal.SIGTERM
    ledger = open_ledger(path)
    assert ledger.next_seq() > int(rest[-1] if rest else 100)
    ledger.close()
