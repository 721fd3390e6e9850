"""Forks of a process that hands over: whose directory, whose lock, whose records."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from shipper.handoff.frame import Kind
from shipper.handoff.hello import read_hello
from shipper.handoff.table import open_spans
from tests.sdk.spool_kit import (
    SPAN,
    bodies,
    frames,
    in_child,
    lives,
    make,
    no_holes,
    only,
    processes,
    put,
    run,
    start,
)


def read_line(program: subprocess.Popen[str]) -> str:
    assert program.stdout is not None
    line = program.stdout.readline()
    if not line:
        assert program.stderr is not None
        raise AssertionError(program.stderr.read())
    return line.strip()


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
