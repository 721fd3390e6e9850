"""What an entry becomes: body, severity, time, attributes; of whatever bytes its fields are."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from shipper.events import MessagesDropped
from shipper.shape.settings import ShapeSettings
from shipper.shape.understood import make_shape
from shipper.sources.journal.settings import Choice
from tests.sources.journal_kit import BOOT, OTHER_BOOT, Entry, Reading, Sink, attributes, needs_remote, reading, write

pytestmark = needs_remote


def read(tmp_path: Path, entries: list[Entry | str], **settings: Any) -> tuple[list[LogRecord], Reading]:
    """The records of a journal that holds these entries."""

    async def run() -> tuple[list[LogRecord], Reading]:
        write(tmp_path / "j" / "a.journal", entries)
        async with reading(tmp_path, tmp_path / "j", **settings) as run:
            await run.look()
            return run.found(), run

    return asyncio.run(run())


def bodies(found: list[LogRecord]) -> list[str]:
    return [record.body.string_value for record in found]


def test_fields_become_what_opentelemetry_calls_them(tmp_path: Path) -> None:
    """The usual fields are attributes by OpenTelemetry's names, numbers as numbers; others are not shipped."""
    entry = {
        "MESSAGE": "hello",
        "PRIORITY": "4",
        "SYSLOG_FACILITY": "3",
        "SYSLOG_IDENTIFIER": "checkout",
        "_PID": "42",
        "_COMM": "checkout",
        "_EXE": "/usr/bin/checkout",
        "_SYSTEMD_UNIT": "checkout.service",
        "_HOSTNAME": "web-1",
        "_TRANSPORT": "stdout",
        "CODE_FILE": "main.py",
        "CODE_LINE": "7",
        "CODE_FUNC": "run",
        "ERRNO": "2",
        "_SOURCE_REALTIME_TIMESTAMP": "1600000000000001",
        "_CMDLINE": "checkout --serve",
    }
    ((record,), _) = read(tmp_path, [entry])
    assert record.body.string_value == "hello"
    assert (record.severity_number, record.severity_text) == (13, "warning")
    assert record.time_unix_nano == 1_600_000_000_000_001_000
    assert attributes(record) == {
        "syslog.facility": "daemon",
        "syslog.appname": "checkout",
        "process.pid": 42,
        "process.executable.name": "checkout",
        "process.executable.path": "/usr/bin/checkout",
        "journald.unit": "checkout.service",
        "journald.hostname": "web-1",
        "journald.transport": "stdout",
        "code.file.path": "main.py",
        "code.line.number": 7,
        "code.function.name": "run",
        "journald.errno": 2,
    }


def test_the_time_of_receipt_stands_in_for_one_that_is_missing_or_none(tmp_path: Path) -> None:
    """Without a usable time of the writer a record has the time at which journald received it."""
    found, _ = read(tmp_path, ["a", {"MESSAGE": "b", "_SOURCE_REALTIME_TIMESTAMP": "soon"}])
    assert [record.time_unix_nano for record in found] == [1_700_000_000_000_001_000, 1_700_000_000_000_002_000]


def test_any_field_can_be_asked_for(tmp_path: Path) -> None:
    """Fields named, or all, become attributes by their own names."""
    entry: Entry = {"MESSAGE": "m", "_CMDLINE": "x", "ORDER": "17", "PRIORITY": "6"}
    ((record,), _) = read(tmp_path, [entry], fields=("ORDER",))
    assert attributes(record) == {"journald.ORDER": "17"}
    ((record, *_), _) = read(tmp_path / "all", [entry], fields=None)
    assert attributes(record) == {"journald.ORDER": "17", "journald._CMDLINE": "x", "journald._BOOT_ID": BOOT}


def test_bytes_that_are_no_text_are_kept(tmp_path: Path) -> None:
    """A binary message is shown with replacement characters and kept beside; a binary field stays bytes."""
    entry: Entry = {"MESSAGE": b"caf\xe9\x00!", "BLOB": b"\xff\x00"}
    ((record,), _) = read(tmp_path, [entry], fields=("BLOB",))
    assert record.body.string_value == "caf�\0!"
    assert attributes(record) == {"log.record.original": b"caf\xe9\x00!", "journald.BLOB": b"\xff\x00"}


def test_a_field_may_stand_in_an_entry_more_than_once(tmp_path: Path) -> None:
    """Messages that repeat are lines of one; other fields that do are one attribute with a list."""
    entry: Entry = {"MESSAGE": ["one", "two"], "TAG": ["a", "b"], "_SYSTEMD_UNIT": ["x.service", "y.service"]}
    ((record,), _) = read(tmp_path, [entry], fields=("TAG",))
    assert sorted(record.body.string_value.split("\n")) == ["one", "two"]
    lists = {key: sorted(one.string_value for one in value.values) for key, value in attributes(record).items()}
    assert lists == {"journald.TAG": ["a", "b"], "journald.unit": ["x.service", "y.service"]}


def test_an_entry_without_a_message_is_a_record_too(tmp_path: Path) -> None:
    """An entry of fields alone is shipped with an empty body."""
    ((record,), _) = read(tmp_path, [{"ORDER": "1"}], fields=("ORDER",))
    assert record.body.string_value == ""
    assert attributes(record) == {"journald.ORDER": "1"}


def test_large_messages_are_split_into_parts(tmp_path: Path) -> None:
    """A message beyond the limit is shipped in parts that are marked, compressed on disk or not, and lose no byte."""
    text = "".join(f"{n:07d}\n" for n in range(200_000)) + "ä" * 100_000
    for name, compress in (("packed", True), ("plain", False)):

        async def run(name: str = name, compress: bool = compress) -> None:
            write(tmp_path / name / "a.journal", ["before", text, "after"], compress=compress)
            async with reading(tmp_path / name, tmp_path / name, max_message=1 << 20, sink=Sink(limit=1 << 19)) as run:
                await run.look()
                found = run.found()
                parts = found[1:-1]
                assert [bodies(found)[0], bodies(found)[-1]] == ["before", "after"]
                assert "".join(bodies(parts)) == text
                assert [attributes(part)["shipper.line.part"] for part in parts] == list(range(len(parts)))
                assert [attributes(part)["shipper.line.last"] for part in parts] == [0] * (len(parts) - 1) + [1]
                assert len(parts) == 2
                assert max(len(batch.payload) for batch in run.sink.batches) < 2 << 20

        asyncio.run(run())


def test_entries_are_chosen_by_unit_priority_and_name(tmp_path: Path) -> None:
    """What is not wanted is counted as filtered, and nothing of it is shipped."""
    entries: list[Entry | str] = [
        {"MESSAGE": "web", "_SYSTEMD_UNIT": "web.service", "PRIORITY": "6"},
        {"MESSAGE": "web debug", "_SYSTEMD_UNIT": "web.service", "PRIORITY": "7"},
        {"MESSAGE": "worker", "_SYSTEMD_UNIT": "worker@3.service", "PRIORITY": "3"},
        {"MESSAGE": "started web", "UNIT": "web.service", "_PID": "1", "PRIORITY": "6"},
        {"MESSAGE": "pretends", "UNIT": "web.service", "_PID": "99", "PRIORITY": "6"},
        {"MESSAGE": "db", "_SYSTEMD_UNIT": "db.service", "PRIORITY": "3"},
        {"MESSAGE": "kernel", "_TRANSPORT": "kernel", "PRIORITY": "3"},
        "nobody's",
    ]
    chosen = Choice(units=("web", "worker@*"), priority=6, kernel=False)
    found, run = read(tmp_path / "1", entries, choice=chosen)
    assert bodies(found) == ["web", "worker", "started web"]
    assert sum(batch.cut.filtered for batch in run.sink.batches) == 5
    found, _ = read(tmp_path / "2", entries, choice=Choice(exclude_units=("w*", "db"), exclude_identifiers=("x",)))
    assert bodies(found) == ["pretends", "kernel", "nobody's"]
    named: list[Entry | str] = [{"MESSAGE": name, "SYSLOG_IDENTIFIER": name} for name in ("sshd", "sudo", "cron")]
    found, _ = read(tmp_path / "3", named, choice=Choice(identifiers=("s*",), exclude_identifiers=("sudo",)))
    assert bodies(found) == ["sshd"]


def test_only_the_present_boot_is_shipped_unless_all_are(tmp_path: Path) -> None:
    """Entries of earlier boots belong to earlier lives; asked for, each says of which boot it is."""

    async def run(**settings: Any) -> list[LogRecord]:
        async with reading(tmp_path / settings.pop("state"), tmp_path / "j", **settings) as run:
            await run.look()
            return run.found()

    write(tmp_path / "j" / "a.journal", ["old 1", "old 2"], boot=OTHER_BOOT)
    write(tmp_path / "j" / "a.journal", ["new 1", "new 2"], first=3, boot=BOOT)
    for state in ("present", "all"):
        (tmp_path / state).mkdir()
    assert bodies(asyncio.run(run(state="present", choice=Choice(boot=bytes.fromhex(BOOT))))) == ["new 1", "new 2"]
    every = asyncio.run(run(state="all", each_boot=True))
    assert bodies(every) == ["old 1", "old 2", "new 1", "new 2"]
    assert [attributes(one)["journald.boot_id"] for one in every] == [OTHER_BOOT] * 2 + [BOOT] * 2


def test_parts_of_containers_messages_are_joined(tmp_path: Path) -> None:
    """What Docker's driver split comes as one record, also where other entries came in between."""
    part = {"CONTAINER_ID_FULL": "c" * 64, "CONTAINER_NAME": "web", "_TRANSPORT": "journal"}
    goes_on = {**part, "CONTAINER_PARTIAL_MESSAGE": "true"}
    other = {**part, "CONTAINER_ID_FULL": "d" * 64}
    entries: list[Entry | str] = [
        {**goes_on, "MESSAGE": "one "},
        "between",
        {**other, "MESSAGE": "other"},
        {**goes_on, "MESSAGE": "two "},
        {**part, "MESSAGE": "three"},
        {**part, "MESSAGE": "alone"},
    ]
    found, _ = read(tmp_path, entries)
    assert bodies(found) == ["one two three", "between", "other", "alone"]
    assert attributes(found[0]) == {
        "container.id": "c" * 64,
        "container.name": "web",
        "journald.transport": "journal",
    }


def test_a_message_whose_next_part_does_not_come_is_shipped_as_it_is(tmp_path: Path) -> None:
    """A part waits half a second for the next; then it is shipped and marked as incomplete."""
    part = {"CONTAINER_ID_FULL": "c" * 64, "MESSAGE": "half", "CONTAINER_PARTIAL_MESSAGE": "true"}

    async def run() -> None:
        write(tmp_path / "j" / "a.journal", ["first", part])
        async with reading(tmp_path, tmp_path / "j") as run:
            assert await run.look() == ["first"]
            run.clock.advance(0.6)
            await run.look()
            run.sink.take_all()
            assert run.sink.bodies == ["first", "half"]
            assert attributes(run.found()[1])["shipper.line.incomplete"]

    asyncio.run(run())


def test_messages_are_understood_by_a_shape(tmp_path: Path) -> None:
    """JSON in a message gives its severity and trace where journald only guessed, and what journald knows stays."""
    shape = make_shape(ShapeSettings(parse="json", fields=("order",)))
    text = '{"level":"error","msg":"no","order":"17","trace_id":"0af7651916cd43dd8448eb211c80319c"}'
    entries: list[Entry | str] = [
        {"MESSAGE": text, "PRIORITY": "6", "_TRANSPORT": "stdout", "_SYSTEMD_UNIT": "web.service"},
        {"MESSAGE": "{}", "PRIORITY": "4", "_TRANSPORT": "journal"},
    ]
    ((record, plain), _) = read(tmp_path, entries, shape=shape)
    assert record.severity_number == 17
    assert record.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert attributes(record) == {"order": "17", "journald.unit": "web.service", "journald.transport": "stdout"}
    assert plain.severity_number == 13


def test_several_services_of_a_host_are_told_apart_by_unit(tmp_path: Path) -> None:
    """With service_from_unit each unit's records have a resource of their own, and all others that of the host."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    entries: list[Entry | str] = [
        {"MESSAGE": "a", "_SYSTEMD_UNIT": "web.service"},
        {"MESSAGE": "b", "_SYSTEMD_UNIT": "db.service"},
        {"MESSAGE": "c", "_SYSTEMD_UNIT": "web.service"},
        "d",
    ]
    settings = {"service_from_unit": True, "attributes": {"host.name": "h", "service.name": "host's"}}
    _, run = read(tmp_path, entries, **settings)
    (batch,) = run.sink.batches
    by_service = {}
    for one in ExportLogsServiceRequest.FromString(batch.payload).resource_logs:
        named = {pair.key: pair.value.string_value for pair in one.resource.attributes}
        assert named["host.name"] == "h"
        by_service[named["service.name"]] = bodies(list(one.scope_logs[0].log_records))
    assert by_service == {"web": ["a", "c"], "db": ["b"], "host's": ["d"]}


def test_what_journald_did_not_take_is_counted(tmp_path: Path) -> None:
    """journald's own lines about what it suppressed or missed are shipped, and counted by cause, once."""
    entries: list[Entry | str] = [
        {
            "MESSAGE": "Suppressed 12 messages from web.service",
            "MESSAGE_ID": "a596d6fe7bfa4994828e72309e95d61e",
            "N_DROPPED": "12",
        },
        {"MESSAGE": "Missed 3 kernel messages", "MESSAGE_ID": "e9bf28e6e834481bb6f48f548ad13606"},
    ]
    found, run = read(tmp_path, entries)
    assert len(found) == 2
    said = [event for event in run.report.said if isinstance(event, MessagesDropped)]
    assert [(event.cause, event.messages) for event in said] == [("suppressed", 12), ("missed", 3)]
