"""The forward exporter and Shipper's own receiver of that protocol: what one sends the other takes in as it was."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shipper.clock import Deadline, SystemClock
from shipper.contracts import Accepted, ExporterContext, Request
from shipper.sources.forward.handshake import Secrets
from shipper.testing.clock import START_WALL_NS
from shipper.testing.streams import LIFE
from shipper_exporters.forward import ForwardExporter, ForwardSettings
from tests.exporters.log_kit import HOST, payload, request
from tests.sources.spooled_kit import Forward, Record, forward

SERVICE = {**HOST, "service.instance.id": "one", "cloud.region": "eu-west-1", "host.ip": ["10.0.0.1", "::1"]}
RICH = [
    {
        "body": f"event {number}",
        "time_unix_nano": START_WALL_NS + number,
        "severity_number": 17,
        "severity_text": "ERROR",
        "attributes": {"user.id": f"u{number}", "count": number, "ratio": 0.5, "flag": True, "odd": [1, {"a": "b"}]},
        "trace_id": number.to_bytes(16, "big"),
        "span_id": number.to_bytes(8, "big"),
        "flags": 1,
        "event_name": "order.placed",
    }
    for number in range(1, 51)
]


async def sent(server: Forward, *requests: Request, settings: ForwardSettings | None = None) -> list[Record]:
    """What the receiver has once an exporter sent these."""
    host, port = server.address
    given = settings or ForwardSettings(endpoint=f"{host}:{port}")
    exporter = ForwardExporter("gateway", given, ExporterContext(SystemClock(), LIFE, 1, "test"))
    await exporter.start()
    try:
        for one in requests:
            assert await exporter.send(exporter.prepare(one), Deadline.after(SystemClock(), 60)) == Accepted()
    finally:
        await exporter.aclose()
    return server.records()


def test_records_of_services_are_what_they_were(tmp_path: Path) -> None:
    """Body, times, severity, attributes, trace context, event, scope and the whole resource come through equal."""

    async def story() -> None:
        async with forward(tmp_path, attributes={}) as server:
            found = await sent(server, request((payload(RICH, resource=SERVICE, scope="shop", version="1.0"), 50)))
        assert [record.body for record in found] == [row["body"] for row in RICH]
        for record, row in zip(found, RICH, strict=True):
            assert record.resource == SERVICE
            assert record.attributes == row["attributes"]
            assert (record.time, record.severity, record.severity_text) == (row["time_unix_nano"], 17, "ERROR")
            assert (record.trace_id, record.span_id) == (row["trace_id"].hex(), row["span_id"].hex())
            assert (record.scope, record.event) == ("shop", "order.placed")

    asyncio.run(story())


def test_lines_of_files_keep_their_text_and_whose_they_are(tmp_path: Path) -> None:
    """Lines arrive once, in order, each with the identity of its host as attributes to filter by."""
    lines = [{"body": f"line {number} é", "observed_time_unix_nano": START_WALL_NS} for number in range(3000)]
    data = payload(lines, scope="shipper.file", scope_attributes={"log.file.name": "app.log"})

    async def story() -> None:
        async with forward(tmp_path) as server:
            found = await sent(server, request((data, len(lines))))
        assert [record.body for record in found] == [row["body"] for row in lines]
        for record in found:
            assert record.attributes["fluent.tag"] == "checkout.app.log"
            assert record.attributes["service"] == "checkout"
            assert record.attributes["release"] == "2.4.1"
            assert record.attributes["life"] == LIFE
            assert record.attributes["scope"] == {"log.file.name": "app.log"}
            assert record.time == START_WALL_NS

    asyncio.run(story())


def test_what_is_sent_again_is_taken_once(tmp_path: Path) -> None:
    """A request that comes again, prepared anew or by another run, is recognised by its chunks and not stored twice."""
    one = request((payload(RICH, resource=SERVICE), 50))

    async def story() -> None:
        async with forward(tmp_path, attributes={}) as server:
            assert len(await sent(server, one, one)) == 50
            assert len(await sent(server, one)) == 50
            assert server.duplicates() == 100

    asyncio.run(story())


def test_a_receiver_with_key_and_users_lets_it_in(tmp_path: Path) -> None:
    """Shared key, user and password out of files are what the receiver wants to see."""
    key, password = tmp_path / "key", tmp_path / "password"
    key.write_text("k1\n")
    password.write_text("p1\n")

    async def story() -> None:
        async with forward(tmp_path, secrets=Secrets("gw", b"k1", {"host": b"p1"})) as server:
            host, port = server.address
            settings = ForwardSettings(
                endpoint=f"{host}:{port}", shared_key_file=str(key), username="host", password_file=str(password)
            )
            assert len(await sent(server, request((payload(RICH), 50)), settings=settings)) == 50

    asyncio.run(story())
