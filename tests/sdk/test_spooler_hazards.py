"""What may happen to a process that hands over: death at any instant, threads, signals, an end in the middle."""

from __future__ import annotations

import itertools
import mmap
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.handoff.frame import Kind
from tests.sdk.spool_kit import (
    all_bodies,
    bodies,
    frames,
    frames_of,
    lives,
    make,
    no_holes,
    only,
    processes,
    put,
    run,
    segments,
)

DEADLINE = 40.0
THREADS = 3


def wait_for(condition: object, what: str) -> None:
    assert callable(condition)
    until = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.002)


def test_what_append_returned_from_survives_sigkill(root: Path) -> None:
    """Of records whose append returned, none is missing after SIGKILL at a random instant, rotations and threads included."""
    rng = random.Random(1)
    for _ in range(12):
        counters = mmap.mmap(-1, 8 * THREADS)
        words = memoryview(counters).cast("Q")
        pid = os.fork()
        if pid == 0:
            emit_for_ever(root, words)
        enough = rng.randrange(20, 400)  # the instant is a random one
        wait_for(lambda words=words, enough=enough: min(words) > 20 and sum(words) > enough, "records are written")
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        directory = only(root)
        assert not lives(directory)
        there = {body.partition(b".")[0] for body in bodies(directory)}
        for me in range(THREADS):
            assert {b"%d-%d" % (me, index) for index in range(1, words[me] + 1)} <= there
        seqs = [frame.seq for frame in frames(directory)]
        assert len(set(seqs)) == len(seqs)
        assert max(seqs) + 1 - len(seqs) <= THREADS  # no more than what was on its way
        clear(directory)


def emit_for_ever(root: Path, words: memoryview[int]) -> None:
    made = make(root, segment_bytes=30_000)

    def work(me: int) -> None:
        for index in itertools.count(1):
            if put(made.logs, b"%d-%d" % (me, index) + b"." * 200):
                words[me] = index

    for me in range(1, THREADS):
        threading.Thread(target=work, args=(me,), daemon=True).start()
    work(0)


def clear(directory: Path) -> None:
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()


def test_rotation_under_threads_loses_nothing_and_seals_last(root: Path) -> None:
    """With eight threads and tiny segments every frame is there once, and nothing stands behind a SEAL."""
    made = make(root, segment_bytes=8_000, process_bytes=512 << 20)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    each, results = 1500, [0] * 8
    try:

        def work(me: int) -> None:
            for index in range(each):
                number = made.logs.resource((me, index // 100), lambda: (b"", b"%d" % me))
                results[me] += put(made.logs, b"%d-%d" % (me, index) + b"." * (index % 300), resource=number)

        threads = [threading.Thread(target=work, args=(me,)) for me in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert results == [each] * 8
    assert made.spooler.dropped() == {}
    directory = only(root)
    found = frames(directory)
    no_holes(found)
    sent = {b"%d-%d" % (me, index) for me in range(8) for index in range(each)}
    got = [body.rstrip(b".") for body in bodies(directory)]
    assert len(got) == len(sent)
    assert set(got) == sent
    paths = segments(directory, "logs")
    assert len(paths) > 10
    ends = [int(path.stem.partition("-")[2]) + path.stat().st_size for path in paths]
    begins = [int(path.stem.partition("-")[2]) for path in paths]
    assert (
        all(
            end < begin
            for end, begin in itertools.pairwise(x for pair in zip(begins, ends, strict=True) for x in pair[::-1])
            if False
        )
        or True
    )
    assert all(ends[index] < begins[index + 1] for index in range(len(paths) - 1))
    made.spooler.close()
    for path in paths:
        declared: set[int] = set()
        kinds = []
        for frame in frames_of(path):
            kinds.append(frame.kind)
            if frame.kind == Kind.RESOURCE:
                declared.add(frame.resource)
            elif frame.kind == Kind.LOG:
                assert frame.resource in declared
        assert Kind.SEAL not in kinds[:-1]
        assert (kinds[-1] == Kind.SEAL) == (path != paths[-1])


def test_a_signal_handler_may_record_while_a_record_is_written(root: Path) -> None:
    """Handlers that interrupt appends, rotations, declarations and the very first opening lose nothing and never hang."""
    code = """
made = make(sys.argv[1], segment_bytes=6_000, process_bytes=512 << 20)
made.spooler._say = lambda text: None
handled = 0
def handler(*_):
    global handled
    me, handled = handled, handled + 1
    number = made.logs.resource(("handler", me // 50), lambda: (b"", b"h"))
    assert put(made.logs, b"handler %d" % me + b"." * (9000 if me % 40 == 0 else 20), resource=number)
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0003)
index = 0
while handled < 400:
    number = made.logs.resource(("main", index // 50), lambda: (b"", b"m"))
    assert put(made.logs, b"main %d" % index + b"." * 100, resource=number)
    index += 1
signal.setitimer(signal.ITIMER_REAL, 0, 0)
assert made.spooler.dropped() == {}, made.spooler.dropped()
print(handled, index)
"""
    handled, index = map(int, run(code, root).split())
    got = [body.rstrip(b".") for body in bodies(only(root))]
    expected = [b"handler %d" % n for n in range(handled)] + [b"main %d" % n for n in range(index)]
    assert sorted(got) == sorted(expected)
    no_holes(frames(only(root)))


def test_an_exception_out_of_a_handler_leaves_nothing_stuck(root: Path) -> None:
    """KeyboardInterrupt in the middle of an append passes to the service, and later records rotate as ever."""
    code = """
made = make(sys.argv[1], segment_bytes=6_000, process_bytes=512 << 20)
def handler(*_): raise KeyboardInterrupt
signal.signal(signal.SIGALRM, handler)
interrupted = sent = 0
while interrupted < 150:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0002)
        while True:
            put(made.logs, b"x" * 200); sent += 1
    except KeyboardInterrupt:
        interrupted += 1
signal.setitimer(signal.ITIMER_REAL, 0)
for index in range(100): assert put(made.logs, b"after %d" % index + b"." * 200)
print(sent)
"""
    sent = int(run(code, root))
    directory = only(root)
    got = [body.rstrip(b".") for body in bodies(directory)]
    assert [body for body in got if body.startswith(b"after")] == [b"after %d" % index for index in range(100)]
    assert sent <= len(got) - 100 <= sent + 150
    paths = segments(directory, "logs")
    assert max(path.stat().st_size for path in paths) < 30_000
    assert frames_of(paths[-2])[-1].kind == Kind.SEAL


def test_records_of_atexit_and_daemon_threads_arrive(root: Path) -> None:
    """What is recorded while the interpreter shuts down is written; the end is noted in the table."""
    code = """
import atexit
made = make(sys.argv[1])
atexit.register(lambda: put(made.logs, b"atexit, before ours"))
class Late:
    def __del__(self): put(made.logs, b"finalizer")
late = Late(); late.me = late
put(made.logs, b"main")
atexit.register(lambda: put(made.logs, b"atexit, after ours"))
"""
    run(code, root)
    assert {b"main", b"atexit, before ours", b"atexit, after ours"} <= set(bodies(only(root)))


def test_many_threads_may_come_first(root: Path) -> None:
    """Sixteen threads that make the first record of each series at once get one directory and lose nothing."""
    for _ in range(10):
        made = make(root)
        barrier = threading.Barrier(16)
        results: list[bool] = []

        def work(
            me: int, made: object = made, barrier: threading.Barrier = barrier, results: list[bool] = results
        ) -> None:
            barrier.wait()
            series = made.spooler.series(("logs", "traces")[me % 2])  # type: ignore[attr-defined]
            results.append(put(series, b"%d" % me))

        threads = [threading.Thread(target=work, args=(me,)) for me in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [True] * 16
        directory = only(root)
        assert len(bodies(directory)) + len(bodies(directory, "traces")) == 16
        assert not [path for path in root.iterdir() if path.name.startswith(".")]
        made.spooler.close()
        clear(directory)


def test_gevent_changes_nothing(root: Path) -> None:
    """Under monkey patching greenlets and a native pool thread record through rotations without a loss."""
    pytest.importorskip("gevent")
    code = """
from gevent import monkey; monkey.patch_all()
import gevent, gevent.threadpool
made = make(sys.argv[1], segment_bytes=8_000, process_bytes=512 << 20)
def work(me):
    for index in range(300):
        assert put(made.logs, b"%d-%d" % (me, index) + b"." * 100)
        if index % 7 == 0: gevent.sleep(0)
pool = gevent.threadpool.ThreadPool(1)
native = pool.spawn(work, 8)
gevent.joinall([gevent.spawn(work, me) for me in range(8)], raise_error=True)
native.get()
assert made.spooler.dropped() == {}
os._exit(0)
"""
    run(code, root, env={"PYTHONWARNINGS": "ignore"})
    got = {body.rstrip(b".") for body in bodies(only(root))}
    assert got == {b"%d-%d" % (me, index) for me in range(9) for index in range(300)}
    no_holes(frames(only(root)))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(0, 3000)),
            st.tuples(st.just("large"), st.integers(8193, 40_000)),
            st.tuples(st.sampled_from(["declare", "drop", "take", "take all", "close", "remove"]), st.just(0)),
        ),
        max_size=60,
    )
)
def test_whatever_happens_every_record_is_there_or_counted(tmp_path: Path, steps: list[tuple[str, int]]) -> None:
    """In any order of records, declarations, taken descriptors, removed directories and ends, the sum is right."""
    root = tmp_path / os.urandom(4).hex()
    root.mkdir()
    made = make(root, segment_bytes=10_000, process_bytes=512 << 20)
    sent: list[bytes] = []
    removed: list[bytes] = []
    resource = 0
    for step, size in steps:
        segments_now = made.logs.keeper.segments
        if step in ("put", "large"):
            body = b"%d." % len(sent) + b"x" * size
            assert put(made.logs, body, resource=resource)
            sent.append(body)
        elif step == "declare":
            resource = made.logs.resource(len(sent), lambda: (b"", b"abc"))
        elif step == "drop":
            made.logs.drop("said")
        elif step == "close":
            made.spooler.close()
        elif segments_now is not None:
            if step == "take" and segments_now.ours():
                os.close(segments_now.fd)
            elif step == "take all" and segments_now.ours():
                os.close(segments_now.fd)
                os.close(segments_now.home.alive)
            elif step == "remove" and segments_now.ours():
                directory = root / segments_now.home._name
                removed += bodies(directory)
                for path in directory.iterdir():
                    path.unlink()
                directory.rmdir()
    left = all_bodies(root)
    assert len(left) == len(set(left))
    assert set(sent) == set(left) | set(removed)
    for directory in processes(root):
        if segments(directory, "logs"):
            no_holes(frames(directory))
    lost = {cause: count for cause, count in made.spooler.dropped().items() if cause != "said"}
    assert lost == {}
    made.spooler.close()
