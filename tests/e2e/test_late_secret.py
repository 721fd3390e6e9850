"""A secret that is mounted after the start: nothing is lost, and nobody has to start anything again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from shipper.testing.sink import Sink
from tests.e2e.kit import data_lines, sidecar, until


def test_a_secret_may_come_after_the_start(tmp_path: Path) -> None:
    """The start says which option waits for which file; once it is there, what was written before arrives with it."""
    token = tmp_path / "token"

    async def scenario() -> None:
        (tmp_path / "app.log").write_text("before the secret\n")
        async with Sink() as sink:
            host = sidecar(
                tmp_path / "host",
                f"http://127.0.0.1:{sink.port}",
                tmp_path / "app.log",
                SHIPPER_OTLP_TOKEN_FILE=str(token),
                SHIPPER_OTLP_TRUST_LOCAL="true",
            )
            async with host:
                await host.up()
                said = f"SHIPPER_OTLP_TOKEN_FILE: {token}: does not exist; until it can be read, primary is down"
                assert said in host.said()
                await until(lambda: "cannot be used as it is set up" in host.said(), "the destination is down")
                assert not sink.kept()
                token.write_text("s3cret\n")
                await until(lambda: data_lines(sink) == ["before the secret"], "the line has arrived")
                assert sink.kept()[0].headers["Authorization"] == "Bearer s3cret"
                assert await host.terminate() == 0

    asyncio.run(scenario())
