"""A service that closes, reuses or takes away the descriptors of its process: nothing of ours goes where it should not."""

from __future__ import annotations

import gc
import os
import socket
from pathlib import Path

import pytest

from shipper.handoff.frame import Kind
from shipper.handoff.table import open_spans
from tests.sdk.spool_kit import (
    all_bodies,
    bodies,
    frames,
    frames_of,
    make,
    no_holes,
    only,
    processes,
    put,
    run,
    segments,
)


@pytest.mark.parametrize("reuse", ["files", "sockets", "nothing"])
def test_nothing_of_ours_goes_into_descriptors_the_service_reuses(root: Path, tmp_path: Path, reuse: str) -> None:
    """A service closes all descriptors and opens its own, which get our numbers: they stay untouched, records go on."""
    code = """
import socket
made = make(sys.argv[1], segment_bytes=20_000); kind, own = sys.argv[2:]
for index in range(5):
    assert put(made.logs, b"before %d" % index) and put(made.traces, b"before", SPAN)
slot = made.spooler.open_spans.begin(1, 2, 0, 5, 1, "goes on", 0, 0)
os.closerange(3, 200)
mine, theirs = [], []
for index in range(30):
    if kind == "files": mine.append(os.open(f"{own}/{index}", os.O_RDWR | os.O_CREAT, 0o600))
    elif kind == "sockets":
        a, b = socket.socketpair(); a.setblocking(False); b.setblocking(False); mine += [a.fileno(), b.fileno()]; theirs += [a, b]
for index in range(200):
    assert put(made.logs, b"after %d" % index + b"." * 300) and put(made.traces, b"after", SPAN)
put(made.traces, b"the slot is of a table that was left", SPAN, slot=slot)
for sock in theirs:
    try: raise SystemExit(f"in a socket: {sock.recv(100)!r}")
    except BlockingIOError: pass
for number in mine: os.fstat(number)
made.spooler.close()
for number in mine: os.fstat(number)
assert made.spooler.dropped() == {}, made.spooler.dropped()
assert made.spooler.taken, "it was not noticed"
for said in made.said: print(said)
"""
    own = tmp_path / "own"
    own.mkdir()
    said = run(code, root, reuse, own)
    assert "closed by this program" in said
    assert all(path.stat().st_size == 0 for path in own.iterdir())
    got = all_bodies(root)
    assert sorted(body for body in got if body.startswith(b"before")) == [b"before %d" % index for index in range(5)]
    assert {body.rstrip(b".") for body in got} >= {b"after %d" % index for index in range(200)}
    for directory in processes(root):
        assert open_spans((directory / "alive").read_bytes()) == []


def test_only_the_segment_taken_away_begins_a_new_one(root: Path, tmp_path: Path) -> None:
    """Where just a segment's number was taken, the series goes on in its directory, with positions and numbers."""
    made = make(root)
    put(made.logs, b"before")
    assert made.logs.keeper.segments is not None
    number = made.logs.keeper.segments.fd
    own = os.open(tmp_path / "own", os.O_RDWR | os.O_CREAT, 0o600)
    os.dup2(own, number)
    try:
        assert put(made.logs, b"after")
        assert put(made.logs, b"more")
    finally:
        os.close(own)
        assert os.fstat(number).st_size == 0
        os.close(number)
    directory = only(root)
    assert bodies(directory) == [b"before", b"after", b"more"]
    no_holes(frames(directory))
    first, _ = segments(directory, "logs")
    assert frames_of(first)[-1].kind == Kind.SEAL
    assert (made.spooler.taken, made.spooler.dropped()) == (1, {})
    made.spooler.close()


def test_what_a_daemon_prints_into_closed_numbers_is_not_ours(root: Path) -> None:
    """Where 0, 1 and 2 are closed, none of our files gets such a number, so nothing that is printed lands in them."""
    code = """
made = make(sys.argv[1], segment_bytes=5_000)
for number in (0, 1, 2): os.close(number)
for index in range(50):
    assert put(made.logs, b"." * 200) and put(made.traces, b"x", SPAN)
    made.spooler.open_spans.begin(1, 1, 0, 1, 1, "s", 0, 0)
for number in (0, 1, 2):
    try: os.write(number, b"printed"); os._exit(1)
    except OSError: pass
os._exit(0)
"""
    run(code, root)
    assert len(bodies(only(root))) == 50
    no_holes(frames(only(root)))


def test_a_socket_that_got_our_number_survives_our_end(root: Path) -> None:
    """Closing the spooler, or letting it be collected, closes no descriptor that became the service's."""
    made = make(root)
    put(made.logs, b"x")
    made.spooler.open_spans.begin(1, 1, 0, 1, 1, "s", 0, 0)
    assert made.logs.keeper.segments is not None
    ours = [made.logs.keeper.segments.fd, made.spooler._home.alive]  # type: ignore[union-attr]
    for number in ours:
        os.close(number)
    pairs = []
    while not set(ours) <= {sock.fileno() for pair in pairs for sock in pair}:
        pairs.append(socket.socketpair())
    made.spooler.close()
    del made
    gc.collect()
    for pair in pairs:
        for sock in pair:
            os.fstat(sock.fileno())
            sock.close()
