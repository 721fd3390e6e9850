"""The forward receiver against bytes as the specification writes them: modes, times, options, what becomes of a record."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import msgpack
import pytest

from shipper.sources.forward.source import ForwardReceiver
from shipper.sources.listen import ListenSettings
from tests.sources.forward_wire import SECOND, client, compressed, event_time, forward_mode, message, pack, packed
from tests.sources.spooled_kit import HOST, Forward, Record, forward

NOW = 1_700_000_000
ENTRIES = [[NOW + number, {"message": f"line {number}"}] for number in range(3)]


def received(directory: Path, *data: bytes, **settings: Any) -> list[Record]:
    """The records that a receiver makes of the bytes of one connection."""

    async def story() -> list[Record]:
        async with forward(directory, **settings) as server, client(*server.address) as sender:
            await sender.ack(*data, message("end", 0, {}, {"chunk": "end"}))
            return [record for record in server.records() if record.attributes["fluent.tag"] != "end"]

    return asyncio.run(story())


def one(directory: Path, record: Any, when: Any = NOW, **settings: Any) -> Record:
    """What becomes of one record in Message mode."""
    (found,) = received(directory, message("t", when, record), **settings)
    return found


@pytest.mark.parametrize(
    "data",
    [
        b"".join(message("t", when, record) for when, record in ENTRIES),
        forward_mode("t", ENTRIES),
        packed("t", ENTRIES),
        compressed("t", [ENTRIES]),
        compressed("t", [ENTRIES[:1], ENTRIES[1:]]),
    ],
    ids=["message", "forward", "packed", "compressed", "members"],
)
@pytest.mark.parametrize("step", [1 << 20, 1], ids=["at once", "byte by byte"])
def test_every_mode_gives_the_same_records(tmp_path: Path, data: bytes, step: int) -> None:
    """Message, Forward, PackedForward and gzip of one or more members give the same records, however the bytes are cut."""

    async def story() -> None:
        async with forward(tmp_path) as server, client(*server.address) as sender:
            for at in range(0, len(data), step):
                await sender.send(data[at : at + step])
                await asyncio.sleep(0)
            records = await server.holds(3)
            assert [record.body for record in records] == ["line 0", "line 1", "line 2"]
            assert [record.time for record in records] == [(NOW + number) * SECOND for number in range(3)]
            assert all(record.attributes == {"fluent.tag": "t"} and record.resource == HOST for record in records)

    asyncio.run(story())


def test_packed_entries_may_be_text_as_well(tmp_path: Path) -> None:
    """Clients older than the bin type send packed entries as str, which are read all the same."""
    data = bytes(msgpack.packb(["t", b"".join(map(pack, ENTRIES))], use_bin_type=False))
    assert len(received(tmp_path, data)) == 3


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (NOW, NOW * SECOND),
        (event_time(NOW * SECOND + 123_456_789), NOW * SECOND + 123_456_789),
        (1.5, 1_500_000_000),
        (0, 0),
        (-1, 0),
        (1 << 62, 0),
        (float("nan"), 0),
        (None, 0),
        (msgpack.ExtType(0, b"short"), 0),
        (msgpack.ExtType(7, bytes(8)), 0),
    ],
)
def test_times(tmp_path: Path, when: Any, expected: int) -> None:
    """Seconds, EventTime and fractions are times; what is none leaves the record without a time."""
    record = one(tmp_path, {"log": "x"}, when)
    assert (record.body, record.time) == ("x", expected)


def test_metadata_is_attributes(tmp_path: Path) -> None:
    """Metadata of an entry, as Fluent Bit has it beside the time, and of a whole message in its option become attributes."""
    first, second = received(
        tmp_path,
        packed("t", [[[event_time(NOW * SECOND), {"source": "disk"}], {"log": "a"}]]),
        message("t", NOW, {"log": "b"}, {"metadata": {"zone": "eu"}}),
    )
    assert (first.time, first.attributes) == (NOW * SECOND, {"fluent.tag": "t", "source": "disk"})
    assert second.attributes == {"fluent.tag": "t", "zone": "eu"}


def test_all_kinds_of_values(tmp_path: Path) -> None:
    """Numbers, lists and nested maps stay what they are; text is text, bytes that are none stay bytes."""
    values = {
        "int": -5,
        "large": (1 << 64) - 1,
        "float": 0.5,
        "true": True,
        "none": None,
        "list": [1, "two", [3]],
        "map": {"a": {"b": "c"}},
        "bytes": b"\xff\x00",
        "text": b"as bytes",
        "": "no name",
        "time": event_time(NOW * SECOND),
        "other": msgpack.ExtType(9, b"\x01"),
    }
    attributes = one(tmp_path, {"log": "x", **values}).attributes
    assert attributes == {
        **values,
        "large": str((1 << 64) - 1),
        "text": "as bytes",
        "time": NOW * SECOND,
        "other": {"type": 9, "data": "\x01"},
        "fluent.tag": "t",
    }


def test_keys_that_are_no_text(tmp_path: Path) -> None:
    """A key that is a number, or not UTF-8, becomes text."""
    attributes = one(tmp_path, {1: "a", 2.5: "b", b"\xff": "c", None: "d"}).attributes
    assert attributes == {"1": "a", "2.5": "b", "\N{REPLACEMENT CHARACTER}": "c", "None": "d", "fluent.tag": "t"}


@pytest.mark.parametrize(
    ("record", "body", "left"),
    [
        ({"log": "a", "message": "b", "msg": "c"}, "a", {"message": "b", "msg": "c"}),
        ({"msg": "c", "message": "b"}, "b", {"msg": "c"}),
        ({"msg": "c\n"}, "c", {}),
        ({"log": {"deep": [1]}}, {"deep": [1]}, {}),
        ({"log": None}, None, {}),
        ({"text": "d"}, None, {"text": "d"}),
        ({}, None, {}),
    ],
)
def test_the_body(tmp_path: Path, record: dict[str, Any], body: Any, left: dict[str, Any]) -> None:
    """The first of the keys for the text that a record has is its body; the others are attributes."""
    found = one(tmp_path, record)
    assert (found.body, found.attributes) == (body, {**left, "fluent.tag": "t"})


def test_the_body_s_keys_can_be_set(tmp_path: Path) -> None:
    """Which keys hold the text is a setting."""
    found = one(tmp_path, {"log": "a", "event": "b"}, body=("event",))
    assert (found.body, found.attributes["log"]) == ("b", "a")


def test_a_body_that_is_no_text_is_readable_and_kept(tmp_path: Path) -> None:
    """A text that is not UTF-8 is shown with replacement characters; its bytes are kept beside it."""
    found = one(tmp_path, {"log": b"caf\xe9"})
    assert found.body == "caf\N{REPLACEMENT CHARACTER}"
    assert found.attributes["log.record.original"] == b"caf\xe9"


@pytest.mark.parametrize(
    ("field", "value", "number"),
    [("level", "info", 9), ("severity", "ERROR", 17), ("level", 30, 9), ("lvl", "dbg", 5), ("loglevel", "emerg", 21)],
)
def test_severity(tmp_path: Path, field: str, value: Any, number: int) -> None:
    """A level becomes the severity, with its own word, and is no attribute any more."""
    found = one(tmp_path, {"log": "x", field: value})
    assert found.severity == number
    assert found.attributes == {"fluent.tag": "t"}
    assert found.severity_text == (value if isinstance(value, str) else "")


@pytest.mark.parametrize("value", ["bogus", "", 999, {"a": 1}, [2], None, True, b"\xff"])
def test_a_level_that_is_none_stays(tmp_path: Path, value: Any) -> None:
    """What is no severity is an attribute like any other."""
    found = one(tmp_path, {"log": "x", "level": value})
    assert (found.severity, found.attributes["level"]) == (0, value)


def test_trace_context(tmp_path: Path) -> None:
    """Trace and span ids in hexadecimal digits become the record's; others stay attributes."""
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    found = one(tmp_path, {"log": "x", "trace_id": trace, "spanId": span.upper()})
    assert (found.trace_id, found.span_id, found.attributes) == (trace, span, {"fluent.tag": "t"})


@pytest.mark.parametrize("value", ["0" * 32, "xyz", "0af7", 17])
def test_an_id_that_is_none_stays(tmp_path: Path, value: Any) -> None:
    """An id of zeros, of the wrong length or of other characters is left where it was."""
    found = one(tmp_path, {"log": "x", "trace_id": value})
    assert (found.trace_id, found.attributes["trace_id"]) == ("", value)


@pytest.mark.parametrize("entry", [7, "text", [], [1], [1, 2, 3], [NOW, "no map"], None, {"a": 1}])
def test_an_entry_that_is_none_is_kept_and_marked(tmp_path: Path, entry: Any) -> None:
    """What stands in the place of an entry is kept as a body with a mark; the entries around it are as they are."""

    async def story() -> None:
        async with forward(tmp_path) as server, client(*server.address) as sender:
            assert await sender.ack(packed("t", [ENTRIES[0], entry, ENTRIES[1]], {"chunk": "c"})) == "c"
            first, odd, last = server.records()
            assert (first.body, odd.body, last.body) == ("line 0", entry, "line 1")
            assert odd.attributes["shipper.forward.error"]
            assert float(server.report.metrics.unparsed.labels("forward", "entry")._value.get()) == 1

    asyncio.run(story())


def test_too_deep(tmp_path: Path) -> None:
    """Maps deeper than OTLP's readers go are cut where they become too deep; the record is kept."""
    value: Any = "bottom"
    for _ in range(60):
        value = {"a": [value]}
    found = one(tmp_path, {"log": "x", "deep": value})
    assert found.body == "x"
    assert "nested too deeply" in str(found.attributes["deep"])


def test_acknowledgement_is_the_chunk_as_it_came(tmp_path: Path) -> None:
    """A chunk is acknowledged with its own id, in the order in which chunks came, also when it holds nothing."""

    async def story() -> None:
        async with forward(tmp_path) as server, client(*server.address) as sender:
            await sender.send(
                message("t", NOW, {"log": "1"}, {"chunk": "p8n9gmxTQVC8/nh2wlKKeQ=="}),
                forward_mode("t", [], {"chunk": "empty"}),
                packed("t", ENTRIES, {"chunk": b"\xff\xfe", "size": 3}),
            )
            assert await sender.answer() == {"ack": "p8n9gmxTQVC8/nh2wlKKeQ=="}
            assert await sender.answer() == {"ack": "empty"}
            assert await sender.answer() == {"ack": b"\xff\xfe"}
            assert len(server.records()) == 4

    asyncio.run(story())


def test_small_messages_share_a_frame(tmp_path: Path) -> None:
    """Messages that came together are stored together, so that a sender of single records costs no frame for each."""

    async def story() -> None:
        async with forward(tmp_path) as server, client(*server.address) as sender:
            await sender.ack(*(message("t", NOW, {"log": str(n)}, {"chunk": str(n)}) for n in range(100)))
            (store,) = [server.spools[signal] for signal in server.spools if signal == "logs"]
            await server.holds(100)
            assert len(store.frames(store.first(), 1 << 20)) < 5
            assert [record.body for record in server.records()] == [str(n) for n in range(100)]

    asyncio.run(story())


def test_signs_of_life(tmp_path: Path) -> None:
    """An empty connection, nil, and a byte by UDP are heartbeats: nothing is stored, the byte is answered."""

    async def story() -> None:
        async with forward(tmp_path) as server:
            async with client(*server.address):
                pass
            async with client(*server.address) as sender:
                assert await sender.ack(pack(None), pack(None), forward_mode("t", [], {"chunk": "c"})) == "c"
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.settimeout(20)
                probe.sendto(b"\x00", server.address)
                assert await asyncio.to_thread(probe.recv, 16) == b"\x00"
            assert server.records() == []

    asyncio.run(story())


@pytest.mark.parametrize("signal", [1, 2])
def test_metrics_and_traces_of_fluent_bit_are_refused(tmp_path: Path, signal: int) -> None:
    """What Fluent Bit marks as metrics or traces is not taken for logs: not acknowledged, counted, and the connection ends."""

    async def story() -> None:
        async with forward(tmp_path) as server, client(*server.address) as sender:
            assert await sender.ack(packed("t", [[1, {}]], {"chunk": "c", "fluent_signal": signal})) is None
            assert server.refused("signal") == 1
            assert server.records() == []

    asyncio.run(story())


def test_a_gateway_adds_nothing(tmp_path: Path) -> None:
    """Records of other hosts get no identity of the host that receives them."""
    (record,) = received(tmp_path, message("t", NOW, {"log": "x"}), attributes={})
    assert record.resource == {}


def test_a_unix_socket(tmp_path: Path) -> None:
    """A unix socket is as good as TCP, and any user may connect to it."""

    async def story() -> None:
        path = tmp_path / "forward.sock"
        async with forward(tmp_path, ListenSettings(path=str(path))) as server:
            assert path.stat().st_mode & 0o777 == 0o666
            async with client(*server.address) as sender:
                assert await sender.ack(packed("t", ENTRIES, {"chunk": "c"})) == "c"
            assert len(server.records()) == 3

    asyncio.run(story())


def test_what_has_come_is_stored_at_the_end(tmp_path: Path) -> None:
    """What was sent before the receiver stops reading is stored, though nobody waits for an acknowledgement."""

    async def last_words(server: Forward, receiver: ForwardReceiver) -> None:
        async with client(*server.address) as sender, client(*server.address) as silent:
            await sender.ack(message("t", NOW, {"log": "first"}, {"chunk": "c"}))
            await sender.send(message("t", NOW, {"log": "last"}))
            receiver.stop_reading()
            await receiver.settled()
            assert server.bodies() == ["first", "last"]
            assert await sender.answer() is None
            assert await silent.answer() is None

    async def story() -> None:
        async with forward(tmp_path) as server:
            await last_words(server, server.receiver)

    asyncio.run(story())
