"""A Chromium without a window, over its DevTools protocol: opens a page, asks its DOM, and takes pictures of parts of it.

``--screenshot`` takes what fits into a window; a board is as tall as it is. https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

PROGRAM = "chromium"
MISSING = "there is no chromium here; on Debian: apt-get install chromium fonts-dejavu-core"
WIDTH = 1240
START_SECONDS = 60.0
ANSWER_SECONDS = 60.0
_LISTENING = "DevTools listening on "


def available() -> bool:
    """Whether there is a Chromium that could be started."""
    return shutil.which(PROGRAM) is not None


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a page, in its pixels."""

    x: float
    y: float
    width: float
    height: float


class Page:
    """One page. Whatever it is asked, an error of the page or of Chromium raises `RuntimeError`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._session = ""
        self._sent = 0
        self._events: set[str] = set()

    async def attach(self) -> None:
        """Make the page."""
        target = await self._ask("Target.createTarget", url="about:blank")
        attached = await self._ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        await self._ask("Page.enable")
        size = {"width": WIDTH, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        await self._ask("Emulation.setDeviceMetricsOverride", **size)

    async def open(self, file: Path) -> None:
        """Show a file, and wait until it is there."""
        self._events.clear()
        answer = await self._ask("Page.navigate", url=file.resolve().as_uri())
        if answer.get("errorText"):
            raise RuntimeError(f"{file}: {answer['errorText']}")
        async with asyncio.timeout(ANSWER_SECONDS):
            while "Page.loadEventFired" not in self._events:
                await self._hear()

    async def evaluate(self, script: str) -> Any:
        """What an expression of JavaScript is, as JSON has it."""
        found = await self._ask("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    async def picture(self, box: Box) -> bytes:
        """A PNG of that part."""
        clip = {"x": box.x, "y": box.y, "width": box.width, "height": box.height, "scale": 1}
        shot = await self._ask("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    async def _ask(self, method: str, **told: Any) -> dict[str, Any]:
        self._sent += 1
        asked: dict[str, Any] = {"id": self._sent, "method": method, "params": told}
        await self._socket.send_str(json.dumps(asked | ({"sessionId": self._session} if self._session else {})))
        async with asyncio.timeout(ANSWER_SECONDS):
            while (answer := await self._hear()).get("id") != self._sent:
                pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def _hear(self) -> dict[str, Any]:
        """The next thing it says, an answer or an event."""
        said: dict[str, Any] = await self._socket.receive_json()
        self._events.add(said.get("method", ""))
        return said


@asynccontextmanager
async def chromium() -> AsyncIterator[Page]:
    """A page in a Chromium of our own, which ends with it. Raises RuntimeError, OSError where there is none."""
    with tempfile.TemporaryDirectory(prefix="shipper-chromium-", ignore_cleanup_errors=True) as profile:
        flags = ["--headless=new", "--remote-debugging-port=0", f"--user-data-dir={profile}", "--hide-scrollbars"]
        flags += ["--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", "--force-color-profile=srgb"]
        if os.getuid() == 0:
            flags.append("--no-sandbox")  # it refuses to run as root otherwise
        process = await asyncio.create_subprocess_exec(
            PROGRAM, *flags, "about:blank", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        try:
            async with aiohttp.ClientSession() as client:
                async with client.ws_connect(await _address(process), max_msg_size=0) as socket:
                    page = Page(socket)
                    await page.attach()
                    yield page
        finally:
            if process.returncode is None:
                process.terminate()
            await process.communicate()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    said = []
    async with asyncio.timeout(START_SECONDS):
        async for line in process.stderr:
            said.append(line.decode(errors="replace").strip())
            if said[-1].startswith(_LISTENING):
                return said[-1].removeprefix(_LISTENING)
    raise RuntimeError("chromium does not start: " + " ".join(said[-3:]))
