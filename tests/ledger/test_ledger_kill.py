"""The ledger in a process that is killed at any instant."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import ledger_victim

from shipper.events import Reporter
from shipper.ledger import Ledger
from shipper.testing.clock import FakeClock

DEATHS = 240
LIVES_OF_A_LEDGER = 40  # deaths one file goes through


def everything(ledger: Ledger) -> object:
    """All that can be asked of a ledger."""
    return (
        sorted(ledger.streams(), key=lambda row: row.id),
        [
            (ledger.cursor(destination, row.id), ledger.losses(destination))
            for destination in ledger_victim.DESTINATIONS
            for row in ledger.streams()
        ],
        [ledger.open_requests(destination) for destination in ledger_victim.DESTINATIONS],
        [ledger.get(key) for key in ("run", "seq", "life", "mark")],
        [ledger.accepted_streams(life) for life in "xyz"],
    )


def perform(ledger: Ledger, calls: list[Any]) -> None:
    """What the victim said it does."""
    with ledger.transaction():
        for call in calls:
            ledger_victim.apply(ledger, call)


def kill_one(
    server: subprocess.Popen[bytes], path: Path, rng: random.Random
) -> tuple[list[Any], list[Any] | None, int]:
    """Let a victim work and kill it; returns the calls it said were done, those it was at, and how it ended."""
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write(f"{path} {rng.getrandbits(32)}\n".encode())
    server.stdin.flush()
    pid = int(server.stdout.readline().split()[1])
    done: list[Any] = []
    begun: list[Any] | None = None
    patience = rng.randrange(1, 60)
    spin = rng.randrange(3000)
    for line in iter(server.stdout.readline, b""):
        word, _, rest = line.partition(b" ")
        if word == b"dead":
            return done, begun, int(rest)
        if word == b"+":
            begun = json.loads(rest)
        else:
            done.append(begun)
            begun = None
        patience -= 1
        if patience == 0:
            for _ in range(spin):  # so that the blow falls anywhere in what it does meanwhile
                pass
            os.kill(pid, signal.SIGKILL)
    raise AssertionError("the process that forks the victims died")


def open_ledger(path: Path) -> Ledger:
    """Open, and thereby prove, a ledger."""
    return Ledger.open(path, report=Reporter(FakeClock()))


def test_a_kill_at_any_instant_loses_nothing_that_was_reported(tmp_path: Path) -> None:
    """After each of some hundred kills the ledger holds all calls that returned, the one under way wholly or not at all."""
    rng = random.Random(20)
    script = Path(ledger_victim.__file__)
    at_work = 0
    with subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        for number in range(DEATHS // LIVES_OF_A_LEDGER):
            path = tmp_path / f"ledger-{number}.db"
            reference = open_ledger(tmp_path / f"reference-{number}.db")
            for _ in range(LIVES_OF_A_LEDGER):
                done, begun, status = kill_one(server, path, rng)
                assert status == -signal.SIGKILL
                for calls in done:
                    perform(reference, calls)
                survivor = open_ledger(path)
                found = everything(survivor)
                survivor.close()
                if begun is not None:
                    at_work += 1
                    if found != everything(reference):
                        perform(reference, begun)
                assert found == everything(reference)
            reference.close()
        _finish(server.stdin)
    assert at_work > DEATHS // 4  # else the blows fell beside the point


def _finish(stdin: IO[bytes] | None) -> None:
    assert stdin is not None
    stdin.close()
