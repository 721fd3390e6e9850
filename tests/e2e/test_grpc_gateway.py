"""A sidecar that ships by gRPC to a gateway, both real: the same promise as by HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shipper.testing.sink import Sink, refuse
from tests.e2e.kit import audit, data_lines, free_port, gateway, host, listening, sidecar, until
from tests.exporters.grpc_sink import GrpcSink, says

GRPC = {"SHIPPER_OTLP_PROTOCOL": "grpc"}


def test_by_grpc_every_line_is_in_the_archive_once(tmp_path: Path) -> None:
    """A gateway that is killed under load and comes back: nothing is missing, nothing double."""

    async def story() -> None:
        log, port, grpc_port, written = tmp_path / "app.log", free_port(), free_port(), 0
        listen = {"SHIPPER_GATEWAY_GRPC": f"127.0.0.1:{grpc_port}"}
        to = sidecar(tmp_path / "host-a", f"http://127.0.0.1:{grpc_port}", log, **GRPC)
        for killed in (True, False):
            async with gateway(tmp_path / "gw", port, **listen) as process:
                await listening(grpc_port)
                if not to.alive():
                    await to.start()
                    await to.up()
                with open(log, "ab") as out:
                    for _ in range(5000):
                        out.write(b"line %d\n" % written)
                        written += 1
                if killed:
                    await process.kill()
                else:
                    assert await to.terminate() == 0, to.said()
                    assert await process.terminate() == 0, process.said()
        life = host(audit(tmp_path / "gw" / "archive"), "host-a")
        counts = life["counts"]
        assert (counts["archived"], counts["missing"], counts["duplicates"]) == (written, 0, 0)

    asyncio.run(story())


def test_a_sidecar_goes_on_by_the_second_endpoint(tmp_path: Path) -> None:
    """With two endpoints the status says which is in use, and everything arrives though the first is out of order."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("".join(f"line {n}\n" for n in range(1000)))
        async with Sink() as first, Sink() as second:
            first.answer = refuse(503)
            both = {"SHIPPER_OTLP_ENDPOINTS": f"{first.url},{second.url}", "SHIPPER_OTLP_ENDPOINT": ""}
            async with sidecar(tmp_path / "host-a", "", log, **both) as process:
                await until(lambda: len(data_lines(second)) >= 1000, "all lines arrive")
                assert await process.terminate() == 0, process.said()
            assert data_lines(second) == [f"line {n}" for n in range(1000)]
            assert not first.kept()

    asyncio.run(story())


def test_credentials_revoked_midway_lose_nothing(tmp_path: Path) -> None:
    """A destination that says UNAUTHENTICATED for a while gets everything once it lets us in again."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("line 0\n")
        async with GrpcSink() as sink, sidecar(tmp_path / "host-a", sink.url, log, **GRPC) as process:
            await until(lambda: any("line 0" in call.lines() for call in sink.kept()), "the first line arrives")
            sink.answer = says(16, "token revoked")
            with open(log, "a") as out:
                out.write("line 1\n")
            await until(lambda: "token revoked" in process.said(), "it is said")
            sink.answer = type(sink.answer)()
            assert await process.terminate() == 0, process.said()
            assert [line for call in sink.kept() for line in call.lines() if line.startswith("line")] == [
                "line 0",
                "line 1",
            ]

    asyncio.run(story())
