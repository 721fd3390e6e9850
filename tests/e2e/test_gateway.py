"""Sidecar, gateway, archive and audit together, with the gateway and the sidecar killed on the way."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource

from tests.e2e.kit import audit, free_port, gateway, host, listening, shipper, sidecar, until


def test_a_host_s_lines_are_in_the_archive_and_the_audit_proves_it(tmp_path: Path) -> None:
    """A host lives, writes, dies; the audit of the archive says born, drained, missing 0, duplicates 0; cat prints them."""

    async def story() -> None:
        log, port = tmp_path / "app.log", free_port()
        log.write_text("".join(f"line {number}\n" for number in range(5000)))
        async with gateway(tmp_path / "gateway", port) as receiver:
            await listening(port)
            async with sidecar(tmp_path / "host-a", f"http://127.0.0.1:{port}", log, flags=["--ephemeral"]) as process:
                await process.up()
                assert await process.terminate() == 0, process.said()
            assert await receiver.terminate() == 0, receiver.said()

    asyncio.run(story())
    archive = tmp_path / "gateway/archive"
    life = host(audit(archive), "host-a")
    assert (life["counts"]["read"], life["counts"]["archived"]) == (5000, 5000)
    assert (life["counts"]["missing"], life["counts"]["duplicates"]) == (0, 0)
    assert life["ended"] == "drained"
    printed = shipper("cat", str(archive), "--host", "host-a").stdout.splitlines()
    assert len(printed) == 5000
    assert printed[0].endswith("line 0")


def test_killing_both_sides_again_and_again_loses_and_repeats_nothing(tmp_path: Path) -> None:
    """With SIGKILL to the gateway and to the sidecar at random moments, every line is archived exactly once."""

    async def story() -> int:
        rng, log, port, written = random.Random(3), tmp_path / "app.log", free_port(), 0
        url = f"http://127.0.0.1:{port}"
        receiver = await gateway(tmp_path / "gateway", port).start()
        process = await sidecar(tmp_path / "host-a", url, log, flags=["--ephemeral"]).start()
        for _ in range(8):
            with open(log, "ab") as out:
                for _ in range(rng.randrange(3000)):
                    out.write(b"line %d\n" % written)
                    written += 1
            for _ in range(rng.randrange(60)):
                await asyncio.sleep(0.01)
            if rng.random() < 0.5:
                await receiver.kill()
                receiver = await gateway(tmp_path / "gateway", port).start()
            else:
                await process.kill()
                process = await sidecar(tmp_path / "host-a", url, log, flags=["--ephemeral"]).start()
        await listening(port)
        await process.up()
        assert await process.terminate() == 0, process.said()
        assert await receiver.terminate() == 0, receiver.said()
        return written

    written = asyncio.run(story())
    life = host(audit(tmp_path / "gateway/archive"), "host-a")
    assert (life["counts"]["archived"], life["counts"]["missing"], life["counts"]["duplicates"]) == (written, 0, 0)


def test_a_gateway_that_has_freed_a_part_of_its_spool_starts_again(tmp_path: Path) -> None:
    """What is archived is deleted from the spool; the gateway's next run knows the stream by where it once began."""

    async def story() -> None:
        log, port = tmp_path / "app.log", free_port()
        first_segment = tmp_path / f"gateway/state/spool/logs/{0:020}.spool"
        log.write_text("".join(f"line {number} {'x' * 1000}\n" for number in range(12_000)))
        for _ in range(2):
            async with gateway(tmp_path / "gateway", port) as receiver:
                await listening(port)
                async with sidecar(tmp_path / "host-a", f"http://127.0.0.1:{port}", log) as process:
                    await process.up()
                    assert await process.terminate() == 0, process.said()
                assert await receiver.terminate() == 0, receiver.said()
            assert not first_segment.exists()

    asyncio.run(story())
    life = host(audit(tmp_path / "gateway/archive"), "host-a")
    assert (life["counts"]["archived"], life["counts"]["missing"], life["counts"]["duplicates"]) == (12_000, 0, 0)


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"", None], ids=["damaged", "emptied", "deleted"])
def test_a_ledger_that_was_lost_is_rebuilt_from_what_the_gateway_has(tmp_path: Path, content: bytes | None) -> None:
    """With the ledger damaged or gone, the sidecar says so, asks the gateway, and sends nothing twice."""

    async def story() -> None:
        log, port = tmp_path / "app.log", free_port()
        url = f"http://127.0.0.1:{port}"
        log.write_text("".join(f"line {number}\n" for number in range(2000)))
        async with gateway(tmp_path / "gateway", port) as receiver:
            await listening(port)
            async with sidecar(tmp_path / "host-a", url, log) as process:
                await process.up()
                assert await process.terminate() == 0, process.said()
            for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
                (tmp_path / "host-a/state" / name).unlink(missing_ok=True)
            if content is not None:
                (tmp_path / "host-a/state/ledger.db").write_bytes(content)
            with open(log, "a") as out:
                out.write("one more\n")
            async with sidecar(tmp_path / "host-a", url, log, flags=["--ephemeral"]) as process:
                await until(lambda: "it is rebuilt from" in process.said(), "the loss is said")
                await process.up()
                assert await process.terminate() == 0, process.said()
                assert "Traceback" not in process.said()
            assert await receiver.terminate() == 0, receiver.said()

    asyncio.run(story())
    life = host(audit(tmp_path / "gateway/archive"), "host-a")
    assert (life["counts"]["archived"], life["counts"]["missing"], life["counts"]["duplicates"]) == (2001, 0, 0)


def test_a_stock_opentelemetry_exporter_is_archived_too(tmp_path: Path) -> None:
    """What the stock SDK sends to the gateway is in the archive with the resource it came with."""

    async def story() -> None:
        port = free_port()
        async with gateway(tmp_path / "gateway", port) as receiver:
            await listening(port)
            await asyncio.to_thread(emit, port)
            assert await receiver.terminate() == 0, receiver.said()

    def emit(port: int) -> None:
        provider = LoggerProvider(Resource({"service.name": "stock"}), shutdown_on_exit=False)
        exporter = OTLPLogExporter(f"http://127.0.0.1:{port}/v1/logs")
        provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
        provider.get_logger("t").emit(body="from the stock SDK")
        provider.shutdown()

    asyncio.run(story())
    printed = shipper("cat", str(tmp_path / "gateway/archive"), "--json").stdout
    assert "from the stock SDK" in printed
    assert "stock" in printed


def test_replay_sends_an_archive_on_and_a_second_replay_adds_nothing(tmp_path: Path) -> None:
    """An archive replayed to another gateway is there complete; replayed again, nothing is stored twice."""

    async def story() -> None:
        log, first, second = tmp_path / "app.log", free_port(), free_port()
        log.write_text("".join(f"line {number}\n" for number in range(100)))
        async with gateway(tmp_path / "one", first) as receiver:
            await listening(first)
            async with sidecar(tmp_path / "host-a", f"http://127.0.0.1:{first}", log, flags=["--ephemeral"]) as process:
                await process.up()
                assert await process.terminate() == 0, process.said()
            assert await receiver.terminate() == 0, receiver.said()
        async with gateway(tmp_path / "two", second) as receiver:
            await listening(second)
            for _ in range(2):
                arguments = ("replay", str(tmp_path / "one/archive"), "--to", f"http://127.0.0.1:{second}")
                answer = await asyncio.to_thread(shipper, *arguments)
                assert answer.returncode == 0, answer.stdout + answer.stderr
            assert await receiver.terminate() == 0, receiver.said()

    asyncio.run(story())
    life = host(audit(tmp_path / "two/archive"), "host-a")
    assert (life["counts"]["archived"], life["counts"]["missing"], life["counts"]["duplicates"]) == (100, 0, 0)
