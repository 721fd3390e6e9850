"""A process that works on a ledger until it is killed; run by test_ledger_kill, one fork for each death.

It reads lines ``<path> <seed>`` and forks for each. The fork says on stdout what it is about to do (``+ [call, ...]``) and,
when the calls returned, that they did (``-``). When it is dead the process that forked it says ``dead``.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shipper.contracts import Cut, Signal, StreamKind
from shipper.events import Reporter
from shipper.intervals import IntervalSet
from shipper.ledger import Ledger, StreamRow
from shipper.testing.clock import FakeClock

STREAMS = ("a", "b", "c")
DESTINATIONS = ("otlp", "archive")


def apply(ledger: Ledger, call: list[Any]) -> None:
    """Carry out a call as it was written down."""
    name, *args = call
    if name == "put_stream":
        ledger.put_stream(StreamRow(args[0], StreamKind.DATA, Signal.LOGS, "test", args[0], 0))
    elif name == "commit":
        destination, id_, cuts = args
        ledger.commit(destination, id_, Signal.LOGS, [(stream, Cut(*cut)) for stream, cut in cuts], "shape")
    elif name == "replace":
        destination, id_, parts = args
        ledger.replace(destination, id_, [(new, [(s, Cut(*cut)) for s, cut in cuts]) for new, cuts in parts])
    elif name == "adopt":
        ledger.adopt(args[0], args[1], IntervalSet(map(tuple, args[2])))
    else:
        getattr(ledger, name)(*args)


def draw(ledger: Ledger, rng: random.Random) -> list[Any]:
    """A random call that is possible now."""
    destination, stream = rng.choice(DESTINATIONS), rng.choice(STREAMS)
    open_requests = ledger.open_requests(destination)
    what = rng.choice(["commit", "commit", "close", "close", "close", "give_up", "adopt", "small", "accepted"])
    if what == "close" and open_requests:
        request = rng.choice(open_requests)
        how = rng.choice(["acknowledge", "acknowledge", "settle", "replace"])
        if how == "acknowledge":
            return [how, destination, request.id, rng.randrange(3)]
        if how == "settle":
            return [how, destination, request.id, rng.choice(["quarantined", "dropped"]), "refused"]
        return [how, destination, request.id, [[f"{request.id}{n}", [c]] for n, c in enumerate(_plain(request.cuts))]]
    at = ledger.cursor(destination, stream).cut_to
    if what == "give_up":
        return [what, destination, stream, at, at + rng.randrange(1, 9), rng.randrange(3), "range_gone"]
    if what == "adopt":
        return [what, destination, stream, [[at + 5, at + 20], [at + 30, at + 31]]]
    if what == "small":
        return rng.choice(
            [
                ["seen", stream, at + 100],
                ["put", "life", str(rng.random())],
                ["next_seq"],
                ["begin_run"],
                ["finish", stream, at],
            ]
        )
    if what == "accepted":
        start = rng.randrange(200)
        return ["add_accepted", rng.choice("xy"), stream, start, start + rng.randrange(9), rng.randrange(99)]
    cuts = []
    for name in rng.sample(STREAMS, rng.randrange(1, 4)):
        start = ledger.cursor(destination, name).cut_to
        for _ in range(rng.randrange(1, 4)):
            end = start + rng.randrange(1, 50)
            cuts.append([name, [start, end, start, end, rng.randrange(9), 1, 2, rng.randrange(2), rng.randrange(2)]])
            start = end
    return ["commit", destination, f"{rng.getrandbits(64):x}-", cuts]


def _plain(cuts: tuple[tuple[str, Cut], ...]) -> Iterator[list[Any]]:
    for stream, c in cuts:
        numbers = [c.start, c.end, c.resume, c.next_resume, c.records, c.observed_ns, c.guard, c.filtered, c.sampled]
        yield [stream, numbers]


def work(path: Path, seed: int) -> None:
    """Random calls for ever, some of them several in one transaction."""
    rng = random.Random(seed)
    ledger = Ledger.open(path, report=Reporter(FakeClock()))
    ledger._store.sql.execute("PRAGMA wal_autocheckpoint=8")  # so that many deaths fall into a checkpoint
    if not ledger.streams():
        perform(ledger, [["put_stream", stream] for stream in STREAMS])
    while True:
        calls = [draw(ledger, rng)]
        if rng.random() < 0.3:  # calls about different things, so that each stays possible after the others
            calls += [["put", "mark", str(rng.random())], ["add_accepted", "z", "a", rng.randrange(99), 99, 1]]
        perform(ledger, calls)


def perform(ledger: Ledger, calls: list[list[Any]]) -> None:
    """Say what comes, do it in one transaction, say that it is done."""
    os.write(1, b"+ " + json.dumps(calls).encode() + b"\n")
    with ledger.transaction():
        for call in calls:
            apply(ledger, call)
    os.write(1, b"-\n")


def main() -> None:
    """Fork a victim for each line of input."""
    for line in sys.stdin:
        path, seed = line.split()
        pid = os.fork()
        if pid == 0:
            os.write(1, b"pid %d\n" % os.getpid())
            work(Path(path), int(seed))
        _, status = os.waitpid(pid, 0)
        os.write(1, b"dead %d\n" % os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
