"""Nothing that a run was given is unaccounted for: rules, what receivers refused, what was not understood, as everyone is told."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shipper.admin import ask
from tests.e2e.kit import PATIENCE, audit, free_port, gateway, host, shipper, sidecar

SHAPE = {"parse": "json", "drop": ["healthz"], "sample": 0.1}
SETTLED = ("archived", "pending", "filtered", "sampled", "dropped", "quarantined", "rejected", "missing")


def written(logs: Path) -> None:
    """A thousand lines of JSON, of which a tenth is noise, every hundredth an error; and one that is none."""
    logs.mkdir()
    lines = [
        json.dumps(
            {"level": "error" if not at % 100 else "info", "message": f"{at}{' healthz' if at % 10 == 3 else ''}"}
        )
        for at in range(1000)
    ]
    (logs / "app.log").write_text("\n".join([*lines, "no JSON"]) + "\n")


def no_otlp(port: int) -> int:
    """What a receiver answers to a body that is no OTLP."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/logs", b"{", {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code


async def told(state: Path, wanted: Callable[[Any], bool]) -> Any:
    """The sidecar's status, once it says what is wanted."""
    async with asyncio.timeout(PATIENCE):
        while True:
            status = await ask(str(state / "admin.sock"), "GET", "/status")
            if wanted(status):
                return status
            await asyncio.sleep(0.05)


async def say(port: int, text: bytes) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    await writer.drain()
    return writer


def test_what_rules_and_receivers_leave_out_is_told_by_status_top_and_audit(tmp_path: Path) -> None:
    """Dropped, sampled, refused by each receiver, not understood: the same numbers everywhere, and every line is settled."""

    async def story() -> None:
        at, http, forward, syslog = (free_port() for _ in range(4))
        written(tmp_path / "logs")
        file = tmp_path / "shipper.yaml"
        receivers = {
            "otlp": {"http": f"127.0.0.1:{http}", "grpc": "off"},
            "forward": {"tcp": f"127.0.0.1:{forward}"},
            "syslog": {"tcp": f"127.0.0.1:{syslog}", "max_connections": 1},
        }
        files = [{"include": [str(tmp_path / "logs/*.log")], "shape": SHAPE}]
        file.write_text(json.dumps({"receivers": receivers, "files": files}))
        keeper = gateway(tmp_path / "gateway", at)
        await keeper.start()
        await keeper.up()
        process = sidecar(tmp_path / "host", f"http://127.0.0.1:{at}", flags=[f"--config={file}"])
        await process.start()
        await process.up()

        assert await asyncio.to_thread(no_otlp, http) == 400
        opened = [await say(forward, b"GET / HTTP/1.1\r\n\r\n"), await say(syslog, b"<13>one\n")]
        state = tmp_path / "host/state"
        where = f"--state-dir={state}"
        await told(state, lambda status: status["receivers"]["syslog"]["received"].get("logs") == 1)
        opened.append(await say(syslog, b"<13>one connection too many\n"))
        await told(state, lambda status: all(sum(one["refused"].values()) == 1 for one in status["receivers"].values()))
        status = await told(state, lambda status: any(one["left_out"] for one in status["destinations"].values()))
        (left_out,) = (one["left_out"] for one in status["destinations"].values())
        assert left_out["filtered"] == 100
        assert 0 < left_out["sampled"] < 900
        shown, seen = shipper("status", where).stdout, shipper("top", "--once", where).stdout
        assert f"left out by rules: filtered 100, sampled {left_out['sampled']:.0f}" in shown
        assert f"100 filtered, {left_out['sampled']:.0f} sampled" in seen
        for said in (shown, seen):
            assert "not understood, and kept as they came: file json 1" in said
        (line,) = (line.split() for line in seen.splitlines() if line.startswith("syslog "))
        assert line == ["syslog", f"127.0.0.1:{syslog}", "1", "1"]
        for writer in opened:
            writer.close()
        assert await process.terminate() == 0, process.said()
        assert await keeper.terminate() == 0, keeper.said()

        life = host(audit(tmp_path / "gateway/archive"), "host")
        assert life["refused"] == {"forward": 1, "otlp": 1, "syslog": 1}
        total = life["counts"]
        assert (total["filtered"], total["sampled"]) == (100, left_out["sampled"])
        assert total["read"] == sum(total[word] for word in SETTLED)

    asyncio.run(story())
