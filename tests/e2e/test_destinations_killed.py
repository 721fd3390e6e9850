"""One sidecar that sends to places of every kind at once, killed again and again: each has every line, most have it once."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shipper.testing.sink import Sink
from tests.e2e.kit import WITHOUT_OWN_NUMBERS, Shipper, audit, data_lines, host, shipper, until
from tests.exporters import datadog_intake, splunk_hec
from tests.exporters.fake_elastic import FakeElastic
from tests.exporters.loki_server import FakeLoki

LINES = 200
LINE = re.compile(r"\bline \d+\b")


@dataclass
class Place:
    """A destination: its settings, and what it has by now, one by one. ``once``: no kill of the sidecar makes it have one twice."""

    settings: dict[str, Any]
    has: Callable[[], list[str]]
    once: bool


async def places(stack: AsyncExitStack, root: Path) -> dict[str, Place]:
    """One of each kind that can be had without another program, all of them up."""
    loki_has = FakeLoki(time.time_ns())
    sink = await stack.enter_async_context(Sink())
    loki = await stack.enter_async_context(loki_has.sink())
    elastic = await stack.enter_async_context(FakeElastic())
    splunk = await stack.enter_async_context(splunk_hec.HecServer(use_ack=True))
    datadog = await stack.enter_async_context(datadog_intake.Intake())
    (root / "hec").write_text(splunk_hec.TOKEN)
    (root / "key").write_text(datadog_intake.KEY)
    files, archive = root / "files", root / "archive"

    def in_files() -> list[str]:
        return [line for file in files.glob("*.jsonl") for line in LINE.findall(file.read_text())]

    def in_archive() -> list[str]:
        return LINE.findall(shipper("cat", str(archive)).stdout) if archive.exists() else []

    def place(kind: str, has: Callable[[], list[str]], *, once: bool, **settings: Any) -> Place:
        pace = {} if kind in ("file", "archive") else {"requests_per_second": 50}
        return Place({"type": kind, "trust_local": True, **pace, **settings}, has, once)

    return {
        "otlp": place("otlp", lambda: data_lines(sink), once=True, endpoint=sink.url),
        "loki": place("loki", loki_has.texts, once=True, endpoint=loki.url),
        "elastic": place(
            "elasticsearch", lambda: [one["message"] for one in elastic.documents()], once=True, endpoint=elastic.url
        ),
        "splunk": place(
            "splunk",
            lambda: [str(one["event"]) for one in splunk.indexed],
            once=False,
            endpoint=splunk.url,
            token_file=str(root / "hec"),
        ),
        "datadog": place(
            "datadog",
            lambda: [one["message"] for one in datadog.entries],
            once=False,
            token_file=str(root / "key"),
            logs_endpoint=f"{datadog.url}/api/v2/logs",
            metrics_endpoint=f"{datadog.url}/otlp/v1/metrics",
        ),
        "file": place("file", in_files, once=True, path=f"{files}/{{signal}}.jsonl"),
        "archive": place("archive", in_archive, once=True, url=str(archive)),
    }


def lines_in(place: Place) -> Counter[str]:
    """How often a place has each line."""
    return Counter(line for line in place.has() if LINE.fullmatch(line))


def test_every_place_has_every_line(tmp_path: Path) -> None:
    """Killed when one place has what was written just now, and rotated while dead: all have all, as often as is promised."""
    log = tmp_path / "app.log"
    log.touch()
    written: list[str] = []

    def write() -> None:
        lines = [f"line {len(written) + number}" for number in range(LINES)]
        written.extend(lines)
        with open(log, "a") as out:
            out.write("".join(f"{line}\n" for line in lines))

    async def story() -> None:
        async with AsyncExitStack() as stack:
            there = await places(stack, tmp_path)
            config = tmp_path / "shipper.yaml"
            config.write_text(yaml.safe_dump({"destinations": {name: one.settings for name, one in there.items()}}))
            settings = {
                "SHIPPER_STATE_DIR": str(tmp_path / "state"), "SHIPPER_HOST": "host-a", "SHIPPER_SERVICE": "checkout",
                "SHIPPER_ADMIN_LISTEN": "off", "SHIPPER_DRAIN_EPHEMERAL": "false", "SHIPPER_DRAIN_DEADLINE": "30s",
                **WITHOUT_OWN_NUMBERS,
            }  # fmt: skip
            process = Shipper(tmp_path / "host", ["run", f"--tail={log}*", f"--config={config}"], settings)
            await stack.enter_async_context(process)
            for number, first in enumerate(("file", "elastic", "splunk")):
                write()
                await until(lambda: written[-1] in there[first].has(), f"{first} has the last line")  # noqa: B023
                await process.kill()
                write()
                log.rename(log.with_name(f"app.log.{number}"))
                write()
                await process.start()
            for name, place in there.items():
                if name != "archive":  # which gathers until the drain
                    await until(lambda: set(lines_in(place)) >= set(written), f"{name} has all")  # noqa: B023
            assert await process.terminate() == 0, process.said()
            for name, place in there.items():
                found = lines_in(place)
                assert set(found) == set(written), (name, process.said())
                assert not place.once or found == Counter(written), name
        life = host(audit(tmp_path / "archive"), "host-a")
        assert (life["counts"]["missing"], life["counts"]["duplicates"]) == (0, 0)

    asyncio.run(story())
