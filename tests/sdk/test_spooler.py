"""The writer of the hand-off in one process: what it leaves on disk."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from shipper.handoff.card import Card, write_card
from shipper.handoff.frame import Kind, unpack_resource, walk
from shipper.handoff.hello import read_hello
from shipper.handoff.liveness import is_alive
from shipper.handoff.table import ended_ns, open_spans
from shipper.sdk.writer.segments import LARGE
from tests.sdk.spool_kit import (
    SPAN,
    bodies,
    frames,
    in_child,
    make,
    make_root,
    no_holes,
    only,
    processes,
    put,
    segments,
)


def test_nothing_is_left_behind_by_a_process_that_hands_nothing_over(root: Path) -> None:
    """Making a spooler and its series, and asking whether it is usable, makes no file."""
    made = make(root)
    assert made.spooler.usable()
    made.logs.resource("r", lambda: (b"", b""))
    made.spooler.close()
    assert list(root.iterdir()) == []


def test_a_segment_says_who_wrote_it_and_declares_before_use(root: Path) -> None:
    """HEAD comes first, then resource, scope and route, then the record with their numbers."""
    made = make(root, hello={"service": "checkout", "instance": "i-1", "boot": "b", "pid_ns": 7})
    resource = made.traces.resource("r", lambda: (b"stated", b"guessed"))
    scope = made.traces.scope("s", lambda: b"scope")
    route = made.traces.route("/cart/{id}")
    assert put(made.traces, b"span", SPAN, resource=resource, scope=scope, route=route, flags=2, trace=9, duration_ns=5)
    head, *declared, span = frames(only(root), "traces")
    hello = read_hello(head.body)
    assert hello is not None
    assert (hello.signal, hello.base, hello.seq, hello.service, hello.instance) == ("traces", 0, 0, "checkout", "i-1")
    assert (hello.pid, hello.pid_ns, hello.writer) == (os.getpid(), 7, "sdk")
    assert {frame.kind for frame in declared} == {Kind.RESOURCE, Kind.SCOPE, Kind.ROUTE}
    by_kind = {frame.kind: frame for frame in declared}
    assert unpack_resource(by_kind[Kind.RESOURCE].body) == (b"stated", b"guessed")
    assert (by_kind[Kind.RESOURCE].resource, by_kind[Kind.SCOPE].scope, by_kind[Kind.ROUTE].route) == (
        span.resource,
        span.scope,
        span.route,
    )
    assert (span.body, span.flags, span.trace, span.duration_ns) == (b"span", 2, 9, 5)


def test_the_same_declaration_has_one_number(root: Path) -> None:
    """A resource, scope or route asked for again has the number it had, and is made once."""
    made = make(root)
    asked: list[int] = []

    def make_it() -> tuple[bytes, bytes]:
        asked.append(1)
        return b"", b""

    assert len({made.logs.resource("r", make_it) for _ in range(3)}) == 1
    assert asked == [1]
    assert made.logs.route("/a") == made.logs.route("/a") != made.logs.route("/b")


def test_routes_have_a_bound(root: Path) -> None:
    """The 257th route has no number, and those before keep theirs."""
    made = make(root)
    numbers = [made.logs.route(f"/{index}") for index in range(300)]
    assert numbers[:256] == list(range(1, 257))
    assert set(numbers[256:]) == {0}


def test_a_declaration_that_cannot_be_made_costs_no_record(root: Path) -> None:
    """When making a resource fails, the record goes without one and the fault is counted."""
    made = make(root)
    number = made.logs.resource("r", lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    assert number == 0
    assert put(made.logs, b"x", resource=number)
    assert bodies(only(root)) == [b"x"]
    assert made.spooler.dropped() == {"fault_declaration": 1}
    assert "ZeroDivisionError" in made.said[0]


def test_rights_do_not_depend_on_the_umask(root: Path) -> None:
    """Directory 0770, files 0644, whatever the umask of the service is."""
    for mask in (0o077, 0o000, 0o777):
        before = os.umask(mask)
        try:
            made = make(root)
            assert put(made.logs, b"x")
        finally:
            os.umask(before)
        directory = only(root)
        assert stat.S_IMODE(directory.stat().st_mode) & 0o777 == 0o770
        assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o644}
        made.spooler.close()
        for path in directory.iterdir():
            path.unlink()
        directory.rmdir()


def test_a_series_goes_on_in_the_next_segment(root: Path) -> None:
    """At its size a segment is sealed, the next one repeats the declarations, and positions never overlap."""
    made = make(root, segment_bytes=20_000, process_bytes=64 << 20)
    resource = made.logs.resource("r", lambda: (b"", b"attributes"))
    sent = [b"%05d" % index + b"." * 300 for index in range(300)]
    assert all(put(made.logs, body, resource=resource) for body in sent)
    directory = only(root)
    paths = segments(directory, "logs")
    assert len(paths) > 3
    found = frames(directory)
    no_holes(found)
    assert bodies(directory) == sent
    walks = [walk(path.read_bytes()) for path in paths]
    bases = [int(path.stem.split("-")[1]) for path in paths]
    for index, walked in enumerate(walks):
        kinds = [frame.kind for frame in walked.frames]
        assert kinds[:2] == [Kind.HEAD, Kind.RESOURCE]
        assert json.loads(walked.frames[0].body)["base"] == bases[index]
        if index < len(walks) - 1:
            assert kinds[-1] == Kind.SEAL
            assert walked.frames[-1].trace == bases[index + 1] > bases[index] + walked.end
        else:
            assert Kind.SEAL not in kinds


def test_rotation_keeps_the_descriptor_number(root: Path) -> None:
    """The number under which threads write is never closed, so nobody else can get it."""
    made = make(root, segment_bytes=5_000)
    put(made.logs, b"x")
    before = made.logs.keeper.segments.fd  # type: ignore[union-attr]
    for _ in range(100):
        put(made.logs, b"x" * 200)
    assert len(segments(only(root), "logs")) > 2
    assert made.logs.keeper.segments.fd == before  # type: ignore[union-attr]


def test_the_oldest_records_are_dropped_and_counted(root: Path) -> None:
    """A process that may not put more aside deletes its oldest segment of the longest series; the count is exact."""
    made = make(root, process_bytes=400_000)
    put(made.traces, b"precious", SPAN)
    sent = [b"%05d" % index + b"." * 1000 for index in range(1500)]
    assert all(put(made.logs, body) for body in sent)
    directory = only(root)
    kept = bodies(directory)
    assert kept == sent[-len(kept) :]
    assert bodies(directory, "traces") == [b"precious"]
    dropped = len(sent) - len(kept)
    assert made.spooler.dropped() == {"drop_oldest": dropped}
    assert dropped > 900
    assert sum(path.stat().st_size for path in segments(directory, "logs")) <= 400_000
    made.spooler.close()
    told = [json.loads(frame.body) for frame in frames(directory) if frame.kind == Kind.DROPPED]
    assert told[-1] == {"drop_oldest": dropped}
    assert len([line for line in made.said if "oldest" in line]) == 1


def test_what_the_sidecar_deleted_is_not_dropped(root: Path) -> None:
    """Segments that are gone because they were acknowledged free room and count as nothing."""
    made = make(root, process_bytes=400_000)
    for index in range(3000):
        assert put(made.logs, b"." * 1000)
        if index % 40 == 0:
            for path in segments(only(root), "logs")[:-1]:
                path.unlink()
    assert made.spooler.dropped() == {}


def test_the_card_sets_the_limit_and_may_say_full(root: Path) -> None:
    """``process_bytes`` of the sidecar's card beats ours; while it says full, records are counted and the service goes on."""
    write_card(str(root), Card(process_bytes=80_000))
    made = make(root)
    for _ in range(300):
        assert put(made.logs, b"." * 1000)
    assert sum(path.stat().st_size for path in segments(only(root), "logs")) <= 80_000
    before = made.spooler.dropped()["drop_oldest"]
    write_card(str(root), Card(process_bytes=80_000, full=True))
    results = [put(made.logs, b"." * 1000) for _ in range(50)]
    assert not results[-1]
    refused = results.count(False)
    assert made.spooler.dropped() == {"drop_oldest": made.spooler.dropped()["drop_oldest"], "host_full": refused}
    assert made.spooler.dropped()["drop_oldest"] >= before
    write_card(str(root), Card(process_bytes=80_000))
    assert not put(made.logs, b"too soon to look again")
    made.now += 6
    assert put(made.logs, b"there is room again")
    assert bodies(only(root))[-1] == b"there is room again"
    told = [json.loads(frame.body) for frame in frames(only(root)) if frame.kind == Kind.DROPPED]
    assert told[-1]["host_full"] == refused + 1


def test_a_card_of_somebody_else_counts_for_nothing(root: Path) -> None:
    """A card that is a link, or does not belong to the owner of the root, is not believed."""
    elsewhere = root.parent / "card"
    elsewhere.write_text('{"version": 1, "full": true}')
    (root / "host.json").symlink_to(elsewhere)
    assert put(make(root).logs, b"x")
    if os.geteuid() == 0:
        (root / "host.json").unlink()
        (root / "host.json").write_text('{"version": 1, "full": true}')
        os.chown(root / "host.json", 12345, -1)
        assert put(make(root).logs, b"x")


def test_the_limit_of_the_host_holds_without_a_sidecar(root: Path) -> None:
    """Without a card, and where the root can be listed, all processes together stay below the host's limit."""
    if not os.access(root, os.R_OK):
        pytest.skip("this user cannot list the root")
    other = root / "p1-0123456789abcdef"
    other.mkdir()
    (other / "logs-00000000000000000000.seg").write_bytes(bytes(400_000))
    made = make(root, host_bytes=300_000)
    assert not put(made.logs, b"x")
    assert made.spooler.dropped() == {"host_full": 1}
    (other / "logs-00000000000000000000.seg").unlink()
    made.now += 6
    assert put(made.logs, b"x")


@pytest.mark.parametrize("what", ["link", "file"])
def test_a_root_that_is_no_directory_is_refused(tmp_path: Path, what: str) -> None:
    """A symbolic link in the place of the root is not followed, and a file is none."""
    real = make_root(tmp_path)
    root = tmp_path / "other"
    if what == "link":
        root.symlink_to(real)
    else:
        root.write_text("")
    made = make(root)
    assert not put(made.logs, b"x")
    assert list(real.iterdir()) == []
    assert "symbolic link" in made.said[0] if what == "link" else "not a directory" in made.said[0]


def test_a_large_record_is_one_frame(root: Path) -> None:
    """A record far above the size of others arrives whole; one above 16 MiB is counted."""
    made = make(root)
    assert put(made.logs, b"x" * (LARGE + 1))
    assert put(made.logs, b"y" * (10 << 20))
    assert not put(made.logs, b"z" * ((16 << 20) + 1))
    assert [len(body) for body in bodies(only(root))] == [LARGE + 1, 10 << 20]
    assert made.spooler.dropped() == {"too_large": 1}
    no_holes(frames(only(root)))


def test_a_value_that_does_not_fit_is_counted_and_leaves_no_hole(root: Path) -> None:
    """A number too large for its field costs that record only, and its sequence number is used again."""
    made = make(root)
    put(made.logs, b"a")
    assert not put(made.logs, b"b", resource=1 << 20)
    assert not put(made.logs, b"c" * (LARGE + 1), severity=300)
    assert put(made.logs, b"d")
    assert bodies(only(root)) == [b"a", b"d"]
    no_holes(frames(only(root)))
    assert made.spooler.dropped() == {"unfit": 2, "fault_append": 2}


def test_drops_of_the_processors_are_told(root: Path) -> None:
    """What a processor could not encode is in the segment at once, as a sum by cause, and a note is for people."""
    made = make(root)
    put(made.logs, b"a")
    made.logs.drop("unencodable", 3)
    made.logs.drop("unencodable")
    put(made.logs, b"b")
    made.logs.note("loguru is not bridged")
    found = frames(only(root))
    told = [json.loads(frame.body) for frame in found if frame.kind == Kind.DROPPED]
    assert told[0] == {"unencodable": 3}
    assert told[-1] == {"unencodable": 4}
    assert [frame.body for frame in found if frame.kind == Kind.NOTE] == [b"loguru is not bridged"]
    no_holes(found)


def test_open_spans_are_in_the_table_until_they_end(root: Path) -> None:
    """A span that began is in ``alive`` with what it refers to declared; handing it over takes it out."""
    made = make(root)
    resource = made.traces.resource("r", lambda: (b"", b"a"))
    scope = made.traces.scope("s", lambda: b"s")
    slots = [made.spooler.open_spans.begin(7, 10 + n, 3, 1000 + n, 2, "GET /ü" * 30, resource, scope) for n in range(3)]
    directory = only(root)
    assert {frame.kind for frame in frames(directory, "traces")} == {Kind.HEAD, Kind.RESOURCE, Kind.SCOPE}
    assert put(made.traces, b"span", SPAN, slot=slots[1])
    first, second = open_spans((directory / "alive").read_bytes())
    assert (first.span_id, second.span_id) == ((10).to_bytes(8), (12).to_bytes(8))
    assert (first.trace_id, first.parent_id, first.kind, first.start_ns) == ((7).to_bytes(16), (3).to_bytes(8), 2, 1000)
    assert (first.resource, first.scope, first.ending_seq) == (resource, scope, -1)
    assert ("GET /ü" * 30).startswith(first.name)
    assert len(first.name.encode()) in (73, 74)


def test_a_full_table_costs_no_span(root: Path) -> None:
    """The 1,025th open span is counted, told of and not tracked; slots are used again."""
    made = make(root)
    slots = [made.spooler.open_spans.begin(1, n + 1, 0, 1, 1, "s", 0, 0) for n in range(1025)]
    assert slots[-1] == -1
    assert len(set(slots[:-1])) == 1024
    assert made.spooler.open_spans.untracked == 1
    put(made.traces, b"", SPAN, slot=slots[5])
    put(made.traces, b"", SPAN, slot=slots[5])  # twice: the slot must not be given to two
    assert made.spooler.open_spans.begin(1, 1, 0, 1, 1, "s", 0, 0) == slots[5]
    assert made.spooler.open_spans.begin(1, 1, 0, 1, 1, "s", 0, 0) == -1
    notes = [frame.body.decode() for frame in frames(only(root), "traces") if frame.kind == Kind.NOTE]
    assert len(notes) == 1
    assert "1 further ones would not be ended" in notes[0]


def test_the_lock_is_held_while_the_process_lives(root: Path) -> None:
    """Another process sees the directory as alive; after close it is the sidecar's, with the end noted."""
    made = make(root)
    put(made.logs, b"a")
    alive = only(root) / "alive"

    def seen(expected: bool) -> None:
        assert is_alive(str(alive)) is expected

    assert in_child(lambda: seen(True)) == 0
    made.spooler.close()
    assert in_child(lambda: seen(False)) == 0
    assert ended_ns(alive.read_bytes()) > 0
    assert put(made.logs, b"b")
    assert len(processes(root)) == 2
    made.spooler.close()


def test_no_thread_is_started_and_no_descriptor_leaks(root: Path) -> None:
    """Handing over starts no thread; after rotations and close as many descriptors are open as before, but the mapping's."""
    threads = threading.active_count()
    before = len(os.listdir("/proc/self/fd"))
    made = make(root, segment_bytes=5000)
    for _ in range(200):
        put(made.logs, b"x" * 200)
    made.spooler.open_spans.begin(1, 1, 0, 1, 1, "s", 0, 0)
    made.spooler.close()
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) <= before + 1
