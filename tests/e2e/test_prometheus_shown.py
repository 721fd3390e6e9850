"""A host's numbers where they are not written to: shown to a scraper, and pushed to a Pushgateway that forgets them at its end."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path

import aiohttp
import pytest
import yaml

from shipper.testing.sink import Sink
from tests.e2e.kit import PATIENCE, free_port, sidecar, until

NUMBERS = {"SHIPPER_METRICS_OWN": "true"}
PUSHGATEWAY = shutil.which("prometheus-pushgateway") or ""


def configuration(directory: Path, **destinations: dict[str, object]) -> str:
    """A flag that reads a file with these destinations."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "shipper.yaml"
    path.write_text(yaml.safe_dump({"destinations": destinations}))
    return f"--config={path}"


class Scraper:
    """Comes by all the time; ``pages`` are what it got."""

    def __init__(self, url: str) -> None:
        self.pages: list[str] = []
        self._url = url

    async def look(self) -> str:
        """Once; nothing where nobody listens."""
        with contextlib.suppress(aiohttp.ClientError):
            async with aiohttp.ClientSession() as session, session.get(self._url) as answer:
                return await answer.text()
        return ""

    async def run(self) -> None:
        while True:
            page = await self.look()
            if page:
                self.pages.append(page)
            await asyncio.sleep(0.05)


def value(page: str, series: str) -> float | None:
    """Of the first series whose line begins so."""
    return next((float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(series)), None)


def test_a_host_that_is_scraped(tmp_path: Path) -> None:
    """A scraper sees a host from its birth to its farewell: the drain ends when it has the last values."""

    async def story() -> None:
        port = free_port()
        flag = configuration(
            tmp_path / "host-a",
            shown={"type": "prometheus-scrape", "listen": f"127.0.0.1:{port}", "trust_local": True},
        )
        scraper = Scraper(f"http://127.0.0.1:{port}/metrics")
        async with (
            Sink() as sink,
            sidecar(tmp_path / "host-a", sink.url, flags=[flag, "--ephemeral"], **NUMBERS) as process,
        ):
            task = asyncio.create_task(scraper.run())
            await process.up()
            await until(lambda: scraper.pages and "shipper_host_info{" in scraper.pages[-1], "the host is shown")
            assert value(scraper.pages[-1], "shipper_host_state{") == 1
            assert await process.terminate() == 0, process.said()
            task.cancel()
            await asyncio.wait([task])
        assert any(value(page, "shipper_farewells_total{") == 1 for page in scraper.pages), "its last word was seen"

    asyncio.run(asyncio.wait_for(story(), PATIENCE))


@pytest.mark.skipif(
    not PUSHGATEWAY, reason="there is no prometheus-pushgateway here; on Debian: apt-get install prometheus-pushgateway"
)
def test_a_host_that_pushes(tmp_path: Path) -> None:
    """A Pushgateway has the host while it lives; a restart of the sidecar leaves it there, its end deletes it."""

    async def story() -> None:
        port = free_port()
        command = [PUSHGATEWAY, f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
        server = await asyncio.create_subprocess_exec(*command)
        page = Scraper(f"http://127.0.0.1:{port}/metrics")
        flag = configuration(
            tmp_path / "host-a",
            pushed={
                "type": "pushgateway", "endpoint": f"http://127.0.0.1:{port}", "linger": "100ms",
                "requests_per_second": 10, "trust_local": True,
            },
        )  # fmt: skip
        try:
            async with Sink() as sink:
                async with sidecar(tmp_path / "host-a", sink.url, flags=[flag, "--persistent"], **NUMBERS) as process:
                    await process.up()
                    await shown(page, "shipper_host_info{")
                    assert await process.terminate() == 0, process.said()
                assert "shipper_host_info{" in await page.look()
                async with sidecar(tmp_path / "host-a", sink.url, flags=[flag, "--ephemeral"], **NUMBERS) as process:
                    await process.up()
                    await shown(page, "shipper_host_info{")
                    assert await process.terminate() == 0, process.said()
                assert "shipper_host_info{" not in await page.look()
        finally:
            server.terminate()
            await server.wait()

    asyncio.run(asyncio.wait_for(story(), PATIENCE))


async def shown(page: Scraper, series: str) -> None:
    """Wait until a series is there."""
    while series not in await page.look():  # noqa: ASYNC110 - it comes from another process
        await asyncio.sleep(0.05)
