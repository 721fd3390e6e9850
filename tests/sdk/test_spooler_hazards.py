"""What may happen to a process that hands over: death at any instant, forks, threads, signals, a service that closes files."""

from __future__ import annotations

import gc
import itertools
import mmap
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.handoff.frame import Frame, Kind, walk
from shipper.handoff.hello import read_hello
from shipper.handoff.table import open_spans
from tests.sdk.spool_kit import (
    SPAN,
    all_bodies,
    bodies,
    frames,
    in_child,
    lives,
    make,
    make_root,
    no_holes,
    only,
    processes,
    put,
    run,
    segments,
    start,
)

DEADLINE = 40.0
THREADS = 3


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path)


def wait_for(condition: object, what: str) -> None:
    assert callable(condition)
    until = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.002)


def read_line(program: subprocess.Popen[str]) -> str:
    assert program.stdout is not None
    line = program.stdout.readline()
    if not line:
        assert program.stderr is not None
        raise AssertionError(program.stderr.read())
    return line.strip()


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


def frames_of(path: Path) -> list[Frame]:
    return walk(path.read_bytes()).frames


def test_a_forked_child_has_its_own_directory_and_asks_who_it_is(root: Path) -> None:
    """A child writes to its own directory with resources made anew; the parent's goes on unharmed and locked."""
    made = make(root)
    resource = made.logs.resource("r", lambda: (b"", b"%d" % os.getpid()))
    put(made.logs, b"parent 1", resource=resource)
    slot = made.spooler.open_spans.begin(1, 2, 0, 5, 1, "parent's", 0, 0)
    (parents,) = processes(root)

    def child() -> None:
        number = made.logs.resource("r", lambda: (b"", b"%d" % os.getpid()))
        assert put(made.logs, b"child", resource=number)
        put(made.traces, b"span begun in the parent", SPAN, slot=slot)
        assert made.spooler.dropped() == {}

    assert in_child(child) == 0
    put(made.logs, b"parent 2", resource=resource)
    (childs,) = set(processes(root)) - {parents}
    assert bodies(parents) == [b"parent 1", b"parent 2"]
    assert bodies(childs) == [b"child"]
    hello = read_hello(frames(childs)[0].body)
    assert hello is not None
    assert hello.pid != os.getpid()
    declared = [frame.body for frame in frames(childs) if frame.kind == Kind.RESOURCE]
    assert declared[0].endswith(b"%d" % hello.pid)
    assert in_child(lambda: lives(parents) or os._exit(1)) == 0
    assert not lives(childs)
    assert [span.name for span in open_spans((parents / "alive").read_bytes())] == ["parent's"]  # which drops our lock


def test_a_fork_that_runs_no_hooks_is_noticed(root: Path) -> None:
    """A child forked by C code (uwsgi) writes to its own directory, with the declarations whose numbers it goes on using."""
    code = """
import ctypes
made = make(sys.argv[1])
resource = made.logs.resource("r", lambda: (b"", b"of the parent"))
put(made.logs, b"parent", resource=resource)
slot = made.spooler.open_spans.begin(1, 2, 0, 5, 1, "parent's", 0, 0)
pid = ctypes.CDLL(None).fork()
if pid == 0:
    slot = made.spooler.open_spans.begin(1, 3, 0, 5, 1, "child's", 0, 0)
    ok = put(made.logs, b"child", resource=resource) and put(made.traces, b"span", SPAN)
    os._exit(0 if ok and slot >= 1024 else 1)
assert os.waitpid(pid, 0)[1] == 0
assert put(made.logs, b"parent again", resource=resource)
"""
    run(code, root)
    found = {tuple(bodies(directory)): directory for directory in processes(root)}
    assert set(found) == {(b"parent", b"parent again"), (b"child",)}
    child = found[(b"child",)]
    assert any(frame.kind == Kind.RESOURCE and frame.body.endswith(b"of the parent") for frame in frames(child))
    names = {key: [span.name for span in open_spans((path / "alive").read_bytes())] for key, path in found.items()}
    assert names == {(b"parent", b"parent again"): ["parent's"], (b"child",): ["child's"]}


def test_children_that_hand_nothing_over_leave_nothing(root: Path) -> None:
    """A prefork child that never records anything makes no directory."""
    made = make(root)
    put(made.logs, b"x")
    assert in_child(lambda: None) == 0
    assert len(processes(root)) == 1


def test_the_lock_goes_with_the_process_although_its_child_lives(root: Path) -> None:
    """After SIGKILL of a process its directory is dead at once, even while a forked child runs on."""
    code = """
made = make(sys.argv[1]); put(made.logs, b"x")
if os.fork() == 0:
    time.sleep(60)
print("ready", flush=True); time.sleep(60)
"""
    with start(code, root, start_new_session=True) as program:
        try:
            assert read_line(program) == "ready"
            directory = only(root)
            assert lives(directory)
            program.kill()
            program.wait()
            assert not lives(directory)
        finally:
            os.killpg(program.pid, signal.SIGKILL)  # its own session: the child that was left


def test_forks_while_threads_emit_harm_nobody(root: Path) -> None:
    """Children forked in the middle of appends and rotations of other threads work, and so does the parent."""
    code = """
made = make(sys.argv[1], segment_bytes=10_000, process_bytes=512 << 20)
stop = threading.Event(); sent = [0, 0, 0]
def work(me):
    while not stop.is_set():
        assert put(made.logs, b"%d-%d" % (me, sent[me]) + b"." * 200)
        sent[me] += 1
threads = [threading.Thread(target=work, args=(me,)) for me in range(3)]
for thread in threads: thread.start()
status = [in_child(lambda: [put(made.logs, b"child" + b"." * 300) or os._exit(3) for _ in range(60)]) for _ in range(25)]
stop.set()
for thread in threads: thread.join()
assert not any(status), status
assert made.spooler.dropped() == {}, made.spooler.dropped()
print(os.getpid(), *sent)
"""
    options = {"env": {"PYTHONWARNINGS": "error,ignore::DeprecationWarning"}}
    pid, *sent = map(int, run(code, root, **options).split())
    found = {int(path.name[1:].partition("-")[0]): path for path in processes(root)}
    parents = found.pop(pid)
    assert len(found) == 25
    got = {body.rstrip(b".") for body in bodies(parents)}
    assert got == {b"%d-%d" % (me, index) for me in range(3) for index in range(sent[me])}
    no_holes(frames(parents))
    for path in found.values():
        assert len(bodies(path)) == 60
        no_holes(frames(path))


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
