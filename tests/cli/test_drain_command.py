"""``shipper drain --dry-run``: the plan of a real sidecar, and nothing changed by asking for it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from shipper.testing.sink import Sink
from tests.e2e.kit import Shipper, data_lines, shipper, sidecar, until


def ask(one: Shipper, *arguments: str) -> tuple[int, str, str]:
    answer = shipper("drain", *arguments, "--state-dir", str(one.directory / "state"))
    return answer.returncode, answer.stdout, answer.stderr


def test_a_dry_run_shows_the_plan_and_changes_nothing(tmp_path: Path) -> None:
    """Backlog by destination and stream, rate, time and where it comes from; then the sidecar goes on shipping."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("12345\n")
        async with Sink() as sink:
            await sink.go_down()
            async with sidecar(tmp_path / "host", sink.url, log) as one:
                await one.up()
                code, text, problem = await asyncio.to_thread(ask, one, "--dry-run", "--deadline", "20s")
                assert problem == ""
                assert "running; a drain has 20.0 s" in text
                assert "primary: 6 bytes, about 0.0 s at 10.00 MB/s (assumed, nothing measured yet)" in text or (
                    "primary: 6 bytes, and it fails now" in text
                )
                assert f"6 bytes of {log}" in text or "6 bytes of file" in text
                assert code in (0, 3)  # 3: it fails already, so these bytes would be left
                _, data, _ = await asyncio.to_thread(ask, one, "--dry-run", "--json")
                (leg,) = json.loads(data)["legs"]
                assert (leg["name"], leg["backlog_bytes"]) == ("primary", 6)
                await sink.come_up()
                await until(lambda: data_lines(sink) == ["12345"], "it arrives")
                code, text, _ = await asyncio.to_thread(ask, one, "--dry-run")
                assert code == 0
                assert "primary: nothing left to send" in text
                assert one.alive()

    asyncio.run(story())


def test_json_without_a_dry_run_is_refused() -> None:
    """A drain has no plan to print: the mistake does not begin one."""
    answer = shipper("drain", "--json")
    assert answer.returncode == 2
    assert "--json goes with --dry-run" in answer.stderr
