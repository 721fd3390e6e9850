"""Records by the forward protocol through a real sidecar that is killed: what was acknowledged arrives, once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shipper.testing.sink import Sink
from tests.e2e.kit import data_lines, free_port, listening, sidecar, until
from tests.sources.forward_wire import client, packed


def flags(port: int) -> dict[str, str]:
    """The receiver switched on, and nothing else to read."""
    return {"SHIPPER_RECEIVERS_FORWARD_TCP": f"127.0.0.1:{port}", "SHIPPER_SERVICES_ENABLED": "false"}


def chunk(number: int) -> bytes:
    """Ten records under an id."""
    records = [[1_700_000_000, {"log": f"line {10 * number + n}"}] for n in range(10)]
    return packed("app", records, {"chunk": str(number)})


def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """While the destination is down chunks are acknowledged and the sidecar is killed; later every record is there once.

    The client sends the last chunk again, as it would when it lost the acknowledgement.
    """

    async def story() -> None:
        port = free_port()
        async with Sink() as sink:
            await sink.go_down()
            process = sidecar(tmp_path / "host", sink.url, **flags(port))
            await process.start()
            for number in range(20):
                await listening(port)
                async with client("127.0.0.1", port) as sender:
                    if number:
                        assert await sender.ack(chunk(number - 1)) == str(number - 1)
                    assert await sender.ack(chunk(number)) == str(number)
                if number % 7 == 6:
                    await process.kill()
                    await process.start()
            await process.kill()
            await process.start()
            await sink.come_up()
            await until(lambda: len(data_lines(sink)) >= 200, f"all records arrive: {process.said()}")
            assert await process.terminate() == 0, process.said()
            assert sorted(data_lines(sink)) == sorted(f"line {number}" for number in range(200))

    asyncio.run(story())


def test_identity_and_last_words(tmp_path: Path) -> None:
    """Records carry the host's release, and what is sent just before the sidecar is told to stop is shipped."""

    async def story() -> None:
        port = free_port()
        async with Sink() as sink, sidecar(tmp_path / "host", sink.url, **flags(port)) as process:
            await process.up()
            async with client("127.0.0.1", port) as sender:
                await sender.send(chunk(0), chunk(1))
                assert await sender.answer() == {"ack": "0"}
                assert await sender.answer() == {"ack": "1"}
                assert await process.terminate() == 0, process.said()
            assert data_lines(sink) == [f"line {number}" for number in range(20)]
            assert any(b"1.2.3" in request.body and b"line 7" in request.body for request in sink.kept())

    asyncio.run(story())
