"""What is written by one side is read by the other, and garbage is nothing: frames, card, hello, table, liveness."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.handoff.card import Card, parse_card, read_card, write_card
from shipper.handoff.frame import NOT_A_REQUEST, OVERHEAD, Kind, pack, pack_resource, unpack_resource, walk
from shipper.handoff.hello import Hello, build_hello, read_hello
from shipper.handoff.liveness import is_alive, lock_alive
from shipper.handoff.table import FIRST, NAME_BYTES, SIZE, SLOT, SLOTS, ended_ns, header, open_spans

NUMBERS = {
    "time_ns": 64,
    "flags": 8,
    "resource": 16,
    "scope": 16,
    "route": 16,
    "severity": 8,
    "count": 32,
    "duration_ns": 64,
    "trace": 64,
}
FRAMES = st.builds(
    lambda kind, body, numbers: (kind, body, numbers),
    st.sampled_from([int(kind) for kind in Kind]),
    st.binary(max_size=200),
    st.fixed_dictionaries({name: st.integers(0, 2**bits - 1) for name, bits in NUMBERS.items()}),
)


@given(st.lists(FRAMES, max_size=8))
def test_frames_are_read_as_they_were_written(made: list[tuple[int, bytes, dict[str, int]]]) -> None:
    """Every field of every frame comes back, and the whole of the data is used."""
    data = b"".join(pack(kind, seq, body, **numbers) for seq, (kind, body, numbers) in enumerate(made))
    walked = walk(data)
    assert (walked.end, walked.damaged, walked.broken) == (len(data), [], False)
    for seq, (frame, (kind, body, numbers)) in enumerate(zip(walked.frames, made, strict=True)):
        assert (frame.kind, frame.seq, frame.body) == (kind, seq, body)
        assert {name: getattr(frame, name) for name in NUMBERS} == numbers


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5), st.data())
def test_a_torn_frame_costs_itself_only(texts: list[bytes], data: st.DataObject) -> None:
    """Frames behind one that was cut short (by a disk that was full for a moment) are found."""
    whole = [pack(Kind.LOG, seq, text) for seq, text in enumerate(texts)]
    torn = data.draw(st.integers(0, len(whole) - 1))
    cut = data.draw(st.integers(0, len(whole[torn]) - 1))
    written = b"".join(frame[:cut] if index == torn else frame for index, frame in enumerate(whole))
    last = pack(Kind.LOG, 99, b"last")
    got = [frame.body for frame in walk(written + last).frames]
    assert got == [text for index, text in enumerate(texts) if index != torn] + [b"last"]


@given(st.binary(max_size=300))
def test_garbage_holds_no_frames_and_no_spans(data: bytes) -> None:
    """Bytes that nobody wrote give nothing, and no exception."""
    assert walk(data).frames == []
    assert read_hello(data) is None
    assert parse_card(data) is None
    assert open_spans(data) == []
    assert ended_ns(data) == 0


@given(st.binary(max_size=8 * SLOT.size))
def test_a_table_of_garbage_gives_spans_or_nothing(data: bytes) -> None:
    """Whatever stands in the slots, names are text and numbers are in bounds."""
    table = header() + bytes(FIRST - len(header())) + data
    for span in open_spans(table + bytes(SIZE - len(table))):
        assert span.start_ns
        assert span.kind <= 5
        assert len(span.name.encode()) <= NAME_BYTES


def test_a_table_says_which_spans_are_open() -> None:
    """Free slots are left out, a cut name loses its broken character, and an ending number is told."""
    slots = [bytes(SLOT.size)] * SLOTS
    name = ("ü" * 40).encode()[:NAME_BYTES]
    slots[3] = SLOT.pack(18, b"t" * 16, b"s" * 8, bytes(8), 1, 2, 2, len(name), name[:-1] + b"\xc3", 5)
    data = header() + bytes(FIRST - len(header())) + b"".join(slots)
    (span,) = open_spans(data)
    assert (span.slot, span.ending_seq, span.resource, span.scope, span.kind, span.start_ns) == (3, 17, 1, 2, 2, 5)
    assert span.name == "ü" * 36
    assert span.request
    assert open_spans(data[: FIRST + 3 * SLOT.size]) == []


def test_a_table_says_which_open_span_is_no_request() -> None:
    """The bit stands beside the kind, and is not taken for a part of it."""
    slot = SLOT.pack(0, b"t" * 16, b"s" * 8, bytes(8), 1, 2, 2 | NOT_A_REQUEST, 4, b"chat", 5)
    (span,) = open_spans(header() + bytes(FIRST - len(header())) + slot + bytes(SIZE - FIRST - len(slot)))
    assert (span.kind, span.request) == (2, False)


def test_a_resource_comes_apart_as_it_was_put_together() -> None:
    """Stated and guessed attributes come back; what cannot be a resource is refused."""
    assert unpack_resource(pack_resource(b"stated", b"guessed")) == (b"stated", b"guessed")
    for body in (b"", b"\xff\xff\xff\xff"):
        with pytest.raises(ValueError, match="not the body"):
            unpack_resource(body)


def test_hello_is_read_as_it_was_written() -> None:
    """What a process says of itself comes back; what is of a wrong type counts as not said."""
    said = {
        "service": "checkout",
        "pid": 7,
        "argv": ["a", "b"],
        "pid_ns": "x",
        "signal": "no",
        "writer": "no",
        "start_ticks": True,
    }
    hello = build_hello("logs", 5, 6, 7, said)
    assert hello == Hello("logs", 5, 6, created_ns=7, service="checkout", pid=7, argv=("a", "b"))
    assert read_hello(hello.body()) == hello
    assert json.loads(hello.body())["version"] == 1
    assert read_hello(b'{"version": 1, "signal": "logs"}') is None
    assert read_hello(b'{"version": 2, "signal": "logs", "base": 0, "seq": 0}') is None
    assert read_hello(b"[" * 100_000) is None


def test_the_card_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """What was written is read, readable by all, and nothing else is left in the root."""
    card = Card("life", {"release": "1.2"}, {"host.name": "h", "n": 3}, 1 << 20, True)
    before = os.umask(0o077)
    try:
        write_card(str(tmp_path), Card())
        write_card(str(tmp_path), card)
    finally:
        os.umask(before)
    assert read_card(str(tmp_path)) == card
    assert [path.name for path in tmp_path.iterdir()] == ["host.json"]
    assert (tmp_path / "host.json").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("what", ["missing", "link", "directory", "fifo", "large", "broken"])
def test_what_is_no_card_is_none(tmp_path: Path, what: str) -> None:
    """A card that is missing, not a regular file, too large or not understood is none, and nothing blocks."""
    path = tmp_path / "host.json"
    if what == "link":
        (tmp_path / "real").write_text('{"version": 1}')
        path.symlink_to(tmp_path / "real")
    elif what == "directory":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    elif what == "large":
        path.write_text('{"version": 1}' + " " * (64 << 10))
    elif what == "broken":
        path.write_text('{"version": 1')
    assert read_card(str(tmp_path)) is None


def test_wrong_types_in_a_card_count_as_not_said() -> None:
    """A label that is no text, a limit that is no number, and so on, are left out; the rest stands."""
    content = {
        "version": 1,
        "life": 3,
        "labels": {"a": 1, "b": "c"},
        "attributes": [],
        "process_bytes": True,
        "full": 1,
    }
    assert parse_card(json.dumps(content).encode()) == Card(labels={"b": "c"})


def test_liveness_is_the_lock_of_another_process(tmp_path: Path) -> None:
    """Alive while a process holds the lock, by path and by a descriptor of any mode; not when it ended."""
    path = tmp_path / "alive"
    path.write_text("")
    path.chmod(0o644)
    ready, told = os.pipe()
    wait, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        assert lock_alive(os.open(path, os.O_RDWR))
        os.write(told, b".")
        os.read(wait, 1)
        os._exit(0)
    os.close(wait)
    os.read(ready, 1)
    assert is_alive(str(path))
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
        descriptor = os.open(path, flags)
        assert is_alive(descriptor)
        if flags != os.O_RDONLY:
            assert not lock_alive(descriptor)
        os.close(descriptor)
    os.close(go)
    os.waitpid(pid, 0)
    for descriptor in (ready, told):
        os.close(descriptor)
    assert not is_alive(str(path))
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError, match="symbolic"):
        is_alive(str(tmp_path / "link"))


def test_a_lock_of_the_other_kind_says_nothing(tmp_path: Path) -> None:
    """An flock on the file, by whoever may read it, does not make a process look alive."""
    path = tmp_path / "alive"
    path.write_text("")
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert not is_alive(str(path))


def test_a_frame_of_which_only_the_beginning_is_there_is_not_broken() -> None:
    """A writer that is not done leaves the end before the frame; bytes that can never become one are broken."""
    frame = pack(Kind.LOG, 0, b"text")
    assert walk(frame + frame[: OVERHEAD + 1]).broken is False
    assert walk(frame + frame[: OVERHEAD + 1]).end == len(frame)
    assert walk(frame + bytes(OVERHEAD)).broken is True
