"""A service that is up before its sidecar: what it emits before there is a root."""

from __future__ import annotations

import json
import os
import textwrap
from pathlib import Path

from shipper.handoff.frame import Kind
from shipper.sdk.writer.room import Limits
from shipper.sdk.writer.spooler import Spooler
from tests.sdk.spool_kit import LOG, all_bodies, bodies, frames, in_child, make, make_root, no_holes, only, put, run


def test_a_root_that_comes_later_is_taken_up(tmp_path: Path) -> None:
    """What is handed over before the sidecar made the root is kept, and stands first when it did, a tenth of a second later."""
    made = make(tmp_path / "spool")
    assert not made.spooler.usable()
    resource = made.logs.resource("shop", lambda: (b"stated", b"guessed"))
    assert not put(made.logs, b"first", resource=resource)
    root = make_root(tmp_path)
    assert not put(made.logs, b"second")
    made.now += 0.11
    assert put(made.traces, b"third")
    assert put(made.logs, b"fourth")
    assert bodies(only(root)) == [b"first", b"second", b"fourth"]
    assert bodies(only(root), "traces") == [b"third"]
    assert [frame.resource for frame in frames(only(root)) if frame.kind == LOG] == [resource, 0, 0]
    no_holes(frames(only(root)))
    assert made.spooler.dropped() == {}
    assert len(made.said) == 1
    assert "there is no spool directory" in made.said[0]


def test_a_spool_that_never_comes_costs_little_memory(tmp_path: Path) -> None:
    """As long as there is no root the latest records are kept, by number and by bytes; older ones are counted, and told."""
    made = make(tmp_path / "spool", held_records=3, held_bytes=10_000)
    for number in range(5):
        assert not put(made.logs, b"%d" % number)
    assert not put(made.traces, bytes(10_001))
    assert not put(made.traces, bytes(9_000))
    assert made.spooler.dropped() == {"no_spool": 4}
    made.logs.note("to the person who asks")
    root = make_root(tmp_path)
    made.now += 0.11
    assert put(made.logs, b"5")
    assert bodies(only(root)) == [b"4", b"5"]
    assert [len(body) for body in bodies(only(root), "traces")] == [9_000]
    told = [json.loads(frame.body) for frame in frames(only(root)) if frame.kind == Kind.DROPPED]
    assert told[-1] == {"no_spool": 4}
    assert [frame.body for frame in frames(only(root)) if frame.kind == Kind.NOTE] == [b"to the person who asks"]


def test_what_is_kept_is_handed_over_at_the_end_of_the_process(tmp_path: Path) -> None:
    """A process that emits nothing after the root was made hands over when it ends; one without a root counts."""
    code = """
    made = make(sys.argv[1])
    put(made.logs, b"kept")
    import atexit
    atexit.register(lambda: print(made.spooler.dropped()))
    if len(sys.argv) > 2:
        os.mkdir(sys.argv[1], 0o700)
    """
    run(textwrap.dedent(code), tmp_path / "spool", "made")
    assert all_bodies(tmp_path / "spool") == [b"kept"]
    run(textwrap.dedent(code), tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_what_a_parent_kept_is_not_its_childs(tmp_path: Path) -> None:
    """A forked child does not hand over a second time what its parent kept before the fork."""
    made = make(tmp_path / "spool")
    put(made.logs, b"of the parent")
    root = make_root(tmp_path)

    def child() -> None:
        put(made.logs, b"of the child")
        made.spooler.close()

    assert in_child(child) == 0
    made.spooler.flush()
    assert sorted(all_bodies(root)) == [b"of the child", b"of the parent"]


def test_a_root_is_found_wherever_it_comes(tmp_path: Path) -> None:
    """Where nothing is stated a root may come to be in two places; whichever it is, it is used."""
    said: list[str] = []
    first, second = str(tmp_path / "host"), str(tmp_path / "user")
    spooler = Spooler(first, hello=dict, say=said.append, places=(first, second), limits=Limits(reserve=0.0))
    put(spooler.series("logs"), b"kept")
    assert not spooler.usable()
    os.mkdir(second)
    assert spooler.usable()
    spooler.flush()
    assert all_bodies(tmp_path / "user") == [b"kept"]
    assert spooler.root == second
    spooler.close()


def test_threads_and_signal_handlers_find_the_root_together(tmp_path: Path) -> None:
    """Whoever emits while the root comes, in whatever thread, series or signal handler: each record arrives once."""
    code = """
    from collections import Counter
    from itertools import count
    numbers = count()
    made = make(sys.argv[1], missing_seconds=0.0)
    handled = []
    def handler(*_):
        mine = b"handler %d" % next(numbers)  # a handler may be interrupted by the next
        handled.append(mine)
        put(made.logs, mine)
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    def emit(name):
        for number in range(150):
            put(made.logs if number % 2 else made.traces, b"%s %d" % (name, number))
            time.sleep(0)
    threads = [threading.Thread(target=emit, args=(b"t%d" % number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    os.mkdir(sys.argv[1], 0o700)
    for thread in threads:
        thread.join()
    signal.setitimer(signal.ITIMER_REAL, 0)
    made.spooler.flush()
    expected = Counter(handled + [b"t%d %d" % (thread, number) for thread in range(4) for number in range(150)])
    root = Path(sys.argv[1])
    found = Counter(all_bodies(root) + all_bodies(root, "traces"))
    assert found == expected, (expected - found, found - expected, made.spooler.dropped())
    assert made.spooler.dropped() == {}, made.spooler.dropped()
    no_holes(frames(only(root)))
    """
    for number in range(3):
        run(textwrap.dedent(code), tmp_path / f"spool{number}")
