"""``shipper quarantine`` against a real quarantine and a real endpoint."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shipper.cli import main
from shipper.contracts import Batch, Cut, Signal
from shipper.otlp.encode import LineEncoder, resource, scope
from shipper.pump.quarantine import Quarantine
from shipper.testing.clock import FakeClock
from shipper.testing.sink import Sink, partial, refuse


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither this machine's environment nor its configuration file decides."""
    import os

    for name in list(os.environ):
        if name.startswith(("SHIPPER_", "OTEL_")):
            monkeypatch.delenv(name)


def batch(start: int, life: str = "0190-life") -> Batch:
    """One log record that says where it starts."""
    encoder = LineEncoder(resource({"host.name": "web-1"}), scope("test"))
    payload = encoder.encode([b"line at %d\x1b[31m" % start], 1_700_000_000_000_000_000)
    return Batch(life, "app.log", Signal.LOGS, Cut(start, start + 10, start, start + 10, 1, 1), payload)


@pytest.fixture
def store(tmp_path: Path) -> Quarantine:
    """A quarantine in a state directory."""
    return Quarantine(tmp_path / "quarantine", clock=FakeClock())


def shipper(tmp_path: Path, *arguments: str) -> Result:
    """Run the command on that state directory."""
    return CliRunner().invoke(main, ["quarantine", *arguments, "--state-dir", str(tmp_path)])


async def retry(tmp_path: Path, sink: Sink, *arguments: str) -> Result:
    """Run ``retry`` in a thread while the sink serves."""
    return await asyncio.to_thread(shipper, tmp_path, "retry", "--endpoint", sink.url, *arguments)


def test_ls_shows_what_is_there_and_why(tmp_path: Path, store: Quarantine) -> None:
    """The list has id, destination, size and reason for people, and the same as JSON for machines."""
    assert shipper(tmp_path, "ls").output == "Nothing is in quarantine.\n"
    id_ = store.put(batch(0), "primary", "400: bad\nfield", "rejected")
    output = shipper(tmp_path, "ls").output
    assert id_ in output
    assert "2023-11-14T22:13:20" in output
    assert "rejected: 400: bad\\nfield" in output
    plain = json.loads(shipper(tmp_path, "ls", "--json").output)
    assert (plain["id"], plain["batch"], plain["records"]) == (id_, "0190-life/app.log/0-10", 1)


def test_a_stream_is_named_as_people_know_it(tmp_path: Path, store: Quarantine) -> None:
    """By its path, made printable; by its id where an older version set it aside."""
    store.put(batch(0), "primary", "no", "rejected")
    id_ = store.put(batch(10), "primary", "no", "rejected", "/var/log/shop\x1b[2J.log")
    rows = shipper(tmp_path, "ls").output.splitlines()[1:]
    assert sorted(row.split()[-3:] for row in rows) == [
        ["/var/log/shop\\x1b[2J.log", "rejected:", "no"],
        ["app.log", "rejected:", "no"],
    ]
    plain = [json.loads(row) for row in shipper(tmp_path, "ls", "--json").output.splitlines()]
    assert {one["batch"]: one["stream"] for one in plain} == {
        "0190-life/app.log/0-10": "app.log",
        "0190-life/app.log/10-20": "/var/log/shop\x1b[2J.log",
    }
    assert "stream       /var/log/shop\\x1b[2J.log" in shipper(tmp_path, "show", id_).output


def test_show_prints_the_reason_and_the_records(tmp_path: Path, store: Quarantine) -> None:
    """An entry is shown readable, control characters escaped, or as the OTLP JSON it would be sent as."""
    id_ = store.put(batch(70), "primary", "400: bad", "rejected")
    output = shipper(tmp_path, "show", id_).output
    assert "400: bad" in output
    assert "line at 70\\x1b[31m" in output
    assert "resourceLogs" in json.loads(shipper(tmp_path, "show", id_, "--json").output)


def test_a_damaged_entry_is_listed_as_such(tmp_path: Path, store: Quarantine) -> None:
    """`ls` shows the good entries, names the damaged file and exits with 1; `show` of it is an error, no traceback."""
    good, bad = (store.put(batch(at), "primary", "no", "rejected") for at in (0, 10))
    (tmp_path / "quarantine" / f"{bad}.json").write_text("{")
    result = shipper(tmp_path, "ls")
    assert (result.exit_code, good in result.output, f"{bad}.json is damaged" in result.output) == (1, True, True)
    result = shipper(tmp_path, "show", bad)
    assert (result.exit_code, "is damaged" in result.output) == (1, True)


def test_retry_sends_and_removes_what_is_taken(tmp_path: Path, store: Quarantine) -> None:
    """Entries the destination takes now leave the quarantine, under the life and range they always had."""
    ids = [store.put(batch(0), "primary", "no", "rejected"), store.put(batch(10, "other"), "primary", "no", "rejected")]

    async def run() -> None:
        async with Sink() as sink:
            result = await retry(tmp_path, sink, "--all")
            assert (result.exit_code, result.output.count("sent ")) == (0, 2), result.output
            assert {key for received in sink.received for key in received.batches} == {
                "0190-life/app.log/0-10",
                "other/app.log/10-20",
            }
            assert (await retry(tmp_path, sink, ids[0])).exit_code == 1

    asyncio.run(run())
    assert list(store.list()) == []


def test_retry_keeps_what_is_not_taken_and_says_why(tmp_path: Path, store: Quarantine) -> None:
    """Refused, partly refused or unreachable: the entry stays, the answer is said, the exit status is 1."""
    ids = [store.put(batch(at), "primary", "no", "rejected") for at in (0, 10, 20)]

    async def run() -> None:
        async with Sink() as sink:
            sink.script(refuse(400, "still bad"), partial(1, "half bad"))
            result = await retry(tmp_path, sink, *ids)
            assert result.exit_code == 1
            assert "still bad" in result.output
            assert "1 of them are refused again: half bad" in result.output
            assert f"sent {ids[2]}" in result.output
        result = await retry(tmp_path, sink, ids[0])
        assert (result.exit_code, f"kept {ids[0]}" in result.output) == (1, True)

    asyncio.run(run())
    assert {entry.id for entry in store.list()} == set(ids[:2])


def test_retry_needs_a_destination_and_something_to_send(tmp_path: Path, store: Quarantine) -> None:
    """No ids, an id that is not there, and a destination that is no longer configured are clear errors."""
    assert shipper(tmp_path, "retry").exit_code == 2
    result = shipper(tmp_path, "retry", "0123456789abcdef")
    assert (result.exit_code, "nothing in quarantine has the id" in result.output) == (1, True)
    store.put(batch(0), "elsewhere", "no", "rejected")
    result = shipper(tmp_path, "retry", "--all")
    assert result.exit_code == 1
    assert "no destination 'elsewhere' is configured" in result.output
    assert len(store.list()) == 1
