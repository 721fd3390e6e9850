"""What is refused is kept: whole, private, once, and within its limit."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from shipper.contracts import Batch, Cut, Member, Signal, StreamKind
from shipper.errors import QuarantineFull, ShipperError, StateDamaged, StateError, StateUnwritable
from shipper.pump.quarantine import Quarantine
from shipper.testing.clock import FakeClock

MEMBER = Member("other", "s", 5, 9, 1, 0, 10, 77, StreamKind.ACCOUNT)


def batch(start: int = 0, payload: bytes = b"some payload", **more: object) -> Batch:
    """A batch as a pump sets it aside."""
    cut = Cut(start, start + 10, start, start + 10, 1, 42, 7, 1, 2)
    return Batch("life", "stream", Signal.LOGS, cut, payload, **more)  # type: ignore[arg-type]


def quarantine(tmp_path: Path, **more: int) -> Quarantine:
    """A quarantine that does not exist yet."""
    return Quarantine(tmp_path / "state" / "quarantine", clock=FakeClock(), **more)


def test_an_entry_is_given_back_as_it_was_put(tmp_path: Path) -> None:
    """All of a batch, members of other hosts included, survives with destination, status and reason."""
    kept = batch(kind=StreamKind.DATA, members=(MEMBER,))
    id_ = quarantine(tmp_path).put(kept, "otlp", "400: no such field\n", "rejected", "/var/log/app.log")
    entry = quarantine(tmp_path).read(id_)
    assert entry.batch == kept
    assert entry.name == "/var/log/app.log"
    assert (entry.destination, entry.reason, entry.status, entry.size) == (
        "otlp",
        "400: no such field\n",
        "rejected",
        12,
    )
    assert entry.at_ns == FakeClock().wall_ns()


def test_an_entry_of_an_older_version_has_no_name(tmp_path: Path) -> None:
    """It did not write down what people call the stream; everything else is there."""
    id_ = quarantine(tmp_path).put(batch(), "otlp", "no", "rejected", "/var/log/app.log")
    path = tmp_path / "state" / "quarantine" / f"{id_}.json"
    plain = json.loads(path.read_text())
    del plain["name"]
    path.write_text(json.dumps(plain))
    (entry,) = quarantine(tmp_path).list()
    assert (entry.id, entry.name, entry.batch.stream) == (id_, "", "stream")


def test_it_tells_what_it_holds_for_whom(tmp_path: Path) -> None:
    """A batch is held for the destination that refused it, by its key, until it is removed; by a later process too."""
    kept = batch()
    id_ = quarantine(tmp_path).put(kept, "otlp", "no", "rejected")
    assert quarantine(tmp_path).holds("otlp", kept.key)
    assert not quarantine(tmp_path).holds("other", kept.key)
    assert not quarantine(tmp_path).holds("otlp", kept.key + "0")
    quarantine(tmp_path).remove(id_)
    assert not quarantine(tmp_path).holds("otlp", kept.key)


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    """The directory is 0700 and the files 0600, whatever the umask says."""
    old = os.umask(0)
    try:
        quarantine(tmp_path).put(batch(), "otlp", "no", "rejected")
    finally:
        os.umask(old)
    directory = tmp_path / "state" / "quarantine"
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_a_batch_refused_again_is_still_one_entry(tmp_path: Path) -> None:
    """The same batch put again for a destination replaces its entry; for another destination it is another entry."""
    store = quarantine(tmp_path)
    ids = [store.put(batch(), name, reason, "rejected") for name, reason in (("a", "1"), ("a", "2"), ("b", "3"))]
    assert ids[0] == ids[1] != ids[2]
    assert sorted(entry.reason for entry in store.list()) == ["2", "3"]


def test_entries_are_listed_in_the_order_of_time_and_can_be_removed(tmp_path: Path) -> None:
    """`list` gives the oldest first, without payloads; a removed entry is gone with its files."""
    clock = FakeClock()
    store = Quarantine(tmp_path, clock=clock)
    ids = []
    for number in range(5):
        ids.append(store.put(batch(number * 10), "otlp", "no", "rejected"))
        clock.advance(1)
    assert [entry.id for entry in store.list()] == ids
    assert {entry.batch.payload for entry in store.list()} == {b""}
    store.remove(ids[2])
    assert [entry.id for entry in store.list()] == [*ids[:2], *ids[3:]]
    assert len(list(tmp_path.iterdir())) == 8


@pytest.mark.parametrize("id_", ["0123456789abcdef", "../../etc/passwd", "", "x" * 16])
def test_an_unknown_id_is_a_clear_error(tmp_path: Path, id_: str) -> None:
    """Whatever is given as an id, nothing outside the quarantine is touched."""
    store = quarantine(tmp_path)
    assert list(store.list()) == []
    for call in (store.read, store.remove):
        with pytest.raises(ShipperError, match="nothing in quarantine has the id"):
            call(id_)


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".json", b"{"),
        (".json", b"[]"),
        (".json", b'{"version": 9}'),
        (".json", b"\xff"),
        (".binpb", b"some payloaf"),
        (".binpb", b"short"),
        (".binpb", None),
    ],
)
def test_a_damaged_entry_is_said_and_hides_no_other(tmp_path: Path, suffix: str, content: bytes | None) -> None:
    """Reading a damaged entry says which file; the others are listed and read as ever."""
    store = Quarantine(tmp_path, clock=FakeClock())
    good, bad = (store.put(batch(start), "otlp", "no", "rejected") for start in (0, 10))
    path = tmp_path / f"{bad}{suffix}"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(StateDamaged, match=bad):
        store.read(bad)
    assert good in [entry.id for entry in store.list()]
    assert store.read(good).batch == batch()
    assert [problem.path for problem in store.damaged()] == [str(path)]


def test_the_limit_refuses_and_keeps_what_is_there(tmp_path: Path) -> None:
    """Beyond ``max_bytes`` nothing is kept and nothing removed; after a removal there is room again."""
    store = quarantine(tmp_path, max_bytes=2500)
    first = store.put(batch(0, b"x" * 1000), "otlp", "no", "rejected")
    with pytest.raises(QuarantineFull, match="at most 2500"):
        store.put(batch(10, b"x" * 1000), "otlp", "no", "rejected")
    assert store.put(batch(0, b"x" * 1000), "otlp", "still no", "rejected") == first  # replaces, needs no room
    store.remove(first)
    store.put(batch(10, b"x" * 1000), "otlp", "no", "rejected")


def test_what_a_crash_left_half_written_is_cleared_away(tmp_path: Path) -> None:
    """Unfinished files and payloads without a description are no entries and go with the first put."""
    for name in ("0123456789abcdef.binpb", "0123456789abcdef.json.tmp", "aaaaaaaaaaaaaaaa.binpb.tmp"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / "README").write_text("an operator's note")
    store = Quarantine(tmp_path, clock=FakeClock())
    assert list(store.list()) == []
    id_ = store.put(batch(), "otlp", "no", "rejected")
    assert {path.name for path in tmp_path.iterdir()} == {"README", f"{id_}.json", f"{id_}.binpb"}


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from shipper.contracts import Batch, Cut, Signal
from shipper.errors import StateUnwritable
from shipper.pump.quarantine import Quarantine

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Quarantine(Path(sys.argv[1]))
batch = Batch("life", "stream", Signal.LOGS, Cut(0, 10, 0, 10, 1, 1), b"x" * 100_000)
for limit in (0, 100, 50_000):  # the payload does not fit at all, not wholly, ...
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1))
    try:
        store.put(batch, "otlp", "no", "rejected")
    except StateUnwritable as error:
        print(error)
    assert list(Path(sys.argv[1]).iterdir()) == []
resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
assert store.read(store.put(batch, "otlp", "no", "rejected")).batch == batch
"""


def test_a_disk_that_takes_no_more_keeps_nothing_half(tmp_path: Path) -> None:
    """A write the system refuses is a clear error, leaves no file behind, and the same call works when there is room."""
    child = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.count("life/stream/0-10 cannot be set aside: File too large") == 3


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    """A file where the directory should be is said, naming it."""
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(StateUnwritable, match="state/quarantine"):
        quarantine(tmp_path).put(batch(), "otlp", "no", "rejected")


def put_one(store: Quarantine, at: int) -> str:
    """Set the batch at a position aside."""
    return store.put(batch(at), "otlp", "no", "rejected")


def test_several_threads_may_put_at_once(tmp_path: Path) -> None:
    """Pumps of several destinations share a quarantine; none disturbs another's entry, also not the very first ones."""
    for number in range(10):
        store = quarantine(tmp_path / str(number))
        with ThreadPoolExecutor(8) as pool:
            ids = list(pool.map(partial(put_one, store), range(0, 160, 10)))
        assert {entry.id for entry in store.list()} == set(ids)
        assert len(ids) == 16
        assert list(store.damaged()) == []


PUT_FOR_EVER = """
import itertools, sys
from pathlib import Path
from shipper.contracts import Batch, Cut, Signal
from shipper.pump.quarantine import Quarantine

store = Quarantine(Path(sys.argv[1]))
for at in itertools.count():
    batch = Batch("life", "stream", Signal.LOGS, Cut(at, at + 1, at, at + 1, 1, 1), b"%d" % at * 500)
    print(store.put(batch, "otlp", "no", "rejected"), flush=True)
"""


def test_a_kill_leaves_only_whole_entries(tmp_path: Path) -> None:
    """After SIGKILL every entry whose `put` returned is there and whole, and no entry is damaged."""
    for number in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", PUT_FOR_EVER, str(tmp_path / str(number))], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            told = [child.stdout.readline().strip() for _ in range(10 + number)]
            child.kill()
            told += child.stdout.read().split()
            assert child.wait() == -signal.SIGKILL
        store = Quarantine(tmp_path / str(number))
        assert store.damaged() == []
        assert {entry.id for entry in store.list()} >= {id_ for id_ in told if len(id_) == 16}


def test_the_description_is_plain_json(tmp_path: Path) -> None:
    """A person with only a text viewer sees what was refused, by whom and why."""
    store = Quarantine(tmp_path, clock=FakeClock())
    id_ = store.put(batch(), "otlp", "400: bad", "rejected")
    plain = json.loads((tmp_path / f"{id_}.json").read_text())
    assert (plain["destination"], plain["reason"], plain["key"]) == ("otlp", "400: bad", "life/stream/0-10")
    assert plain["cut"]["records"] == 1


def test_a_place_that_cannot_be_read_is_a_clear_error(tmp_path: Path) -> None:
    """Listing what is no directory names it, instead of saying that nothing is there."""
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(StateError, match="state/quarantine cannot be read: Not a directory"):
        quarantine(tmp_path).list()
