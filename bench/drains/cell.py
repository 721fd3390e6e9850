"""Runs one cell: a real gateway, a relay that makes the weather, a real sidecar and service, a platform that ends them, the audit."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import signal
import subprocess
import tempfile
import time
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.drains import lines
from bench.drains.ending import SHIPPER, Ending, Host, Platform, bare_environment
from bench.drains.lines import Lines
from bench.drains.platforms import PLATFORMS
from bench.drains.weather import Weather
from shipper.contracts import Signal, StreamKind
from shipper.fleet.archive import Archive, Damage
from shipper.fleet.records import Selection, pieces
from shipper.otlp import decode

SINKS = ("healthy", "slow", "down", "flapping", "fallback")
SLOW = 1_000_000  # bytes a second over the wire in slow weather; a gzipped byte is six to seven of a log
PATIENCE = 60.0
STATEMENT = b'{"version":1,"shipper"'


@dataclass
class Result:
    """What came of a cell. Counts are lines."""

    platform: str
    backlog: int
    sink: str
    ending: Ending
    written: int = 0
    arrived: int = 0
    in_fallback: int = 0
    twice: int = 0
    left: int = 0  # by the ranges of the farewell
    unnamed: int = 0  # neither arrived nor within what the farewell says is left
    unequal: int = 0  # lost by the audit and not left by the farewell, or the other way round
    errors: tuple[int, int] = (0, 0)  # arrived, written
    last: tuple[int, int] = (0, 0)
    outcome: str = ""
    first_word: float | None = None  # seconds from the word to our first line about it
    first_request: float | None = None  # and to our first request to the platform or, with word of it, to the sink
    audit: str = ""
    wrong: list[str] = field(default_factory=list)
    said: str = ""

    @property
    def after_services(self) -> float:
        """Seconds from the services' end (or the stop signal, where that came later) to the release, else to the exit."""
        end = self.ending
        free = end.released if end.released is not None and end.released >= end.services_ended else end.ended
        return free - max(end.services_ended, end.stopped if free >= end.stopped else 0.0)

    @property
    def took(self) -> float:
        """Seconds from the word to the exit."""
        return self.ending.ended - self.ending.answered


async def run_cell(platform: str, backlog: int, sink: str) -> Result:
    """One cell; everything it made is gone afterwards."""
    with _workplace() as directory:
        made = PLATFORMS[platform](directory / "p")
        (directory / "p").mkdir()
        return await Cell(directory, made, backlog, sink).run()


class Cell:
    """See `run_cell`."""

    def __init__(self, directory: Path, platform: Platform, backlog: int, sink: str) -> None:
        self._directory = directory
        self._platform = platform
        self._backlog = backlog
        self._sink = sink
        self._logs = directory / "logs"
        self._output = directory / "output"
        self._state = directory / "state"
        self._gateway = directory / "gateway" / "archive"
        self._fallback = directory / "fallback"

    async def run(self) -> Result:
        made = await asyncio.to_thread(lines.make_backlog, self._directory, self._backlog) if self._backlog else []
        self._logs.mkdir()
        async with self._platform.open(), self._receiver() as port, Weather(port, slow=SLOW) as weather:
            host = Host(
                lines.service(self._logs / "s.log"),
                [*SHIPPER, "run", f"--config={self._configure(weather.port)}"],
                {
                    "SHIPPER_STATE_DIR": str(self._state),
                    "SHIPPER_HOST": "cell",
                    "SHIPPER_ADMIN_LISTEN": "off",
                    "SHIPPER_METRICS_OWN": "false",  # what the archive has is compared with the lines written
                    **self._platform.env(),
                },
                self._output,
            )
            host.word = lambda: weather.set("down" if self._sink == "fallback" else self._sink)
            try:
                await self._platform.start(host)
                await self._settle(weather, made)
                ending = await asyncio.wait_for(self._platform.end(host), 180)
            finally:
                await host.aclose()
        return await asyncio.to_thread(self._judge, ending, weather)

    async def _settle(self, weather: Weather, backlog: list[Path]) -> None:
        """The host has lived well, then its sink failed and the backlog grew; the cell's weather begins with the word."""
        await _until(lambda: " up: " in self._said(), f"the sidecar is up:\n{self._said()}")
        await _until(lambda: weather.life_at and weather.passed > 3_000, "the first lines arrive")
        if backlog or self._sink in ("down", "fallback"):
            weather.set("down")
            for path in backlog:
                path.rename(self._logs / path.name)
            await _until(lambda: len(weather.refused_at) > 1, "the sink's end is noticed")

    def _configure(self, port: int) -> Path:
        destinations: dict[str, object] = {"main": {"type": "otlp", "endpoint": f"http://127.0.0.1:{port}"}}
        drain: dict[str, object] = {}
        if self._sink == "fallback":
            destinations["spare"] = {"type": "archive", "url": str(self._fallback), "trust_local": True}
            drain["fallback"] = "spare"
        path = self._directory / "shipper.yaml"
        config = {
            "files": [{"include": [str(self._logs / "*.log")]}],
            "destinations": destinations,
            "drain": drain,
            "notices": dict(self._platform.notices()),
        }
        path.write_text(json.dumps(config))  # which is YAML, too
        return path

    @asynccontextmanager
    async def _receiver(self) -> AsyncIterator[int]:
        """A gateway; its archive is complete afterwards."""
        port = _free_port()
        flags = [f"--listen=127.0.0.1:{port}", f"--archive={self._gateway}", f"--state-dir={self._directory / 'gs'}"]
        env = {**bare_environment(), "SHIPPER_ADMIN_LISTEN": "off", "SHIPPER_DRAIN_DEADLINE": "120s"}
        with open(self._directory / "gateway.out", "ab") as out:
            process = await asyncio.create_subprocess_exec(
                *SHIPPER, "gateway", *flags, stdin=DEVNULL, stdout=out, stderr=out, env=env
            )
        try:
            await _until(lambda: b" up: " in (self._directory / "gateway.out").read_bytes(), "the gateway is up")
            yield port
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.wait(), 150)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _said(self) -> str:
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    # -- afterwards ----------------------------------------------------------------------------------------------

    def _judge(self, ending: Ending, weather: Weather) -> Result:
        result = Result(self._platform.name, self._backlog, self._sink, ending, said=self._said())
        truth = lines.written(sorted(self._logs.glob("*.log")))
        main, farewell = _read(self._gateway)
        spare, second = _read(self._fallback) if self._fallback.exists() else (Lines(), None)
        farewell = second or farewell or self._farewell_on_disk()
        result.written, result.arrived, result.in_fallback = len(truth.all), len(main), len(spare)
        result.twice = main.twice + spare.twice
        result.errors = _part(truth.errors, main, spare)
        result.last = _part(truth.last, main, spare)
        left = Lines()
        if farewell is not None:
            result.outcome = farewell["outcome"]
            left = lines.within(_left_ranges(farewell))
            result.left = len(left)
        result.unnamed = truth.all.without(main, spare, left)
        result.first_word, result.first_request = self._first(ending, weather)
        archive = self._fallback if self._fallback.exists() else self._gateway
        report = _audit(archive)
        result.audit = _verdict(report)
        lost = lines.within(_lost_ranges(report))
        result.unequal = lost.without(left) + left.without(lost, main, spare)
        _check(result, report, len(spare) if self._fallback.exists() else len(main))
        return result

    def _first(self, ending: Ending, weather: Weather) -> tuple[float | None, float | None]:
        wall = time.time() - time.monotonic()
        said = (
            datetime.fromisoformat(found[1].replace(",", ".")).timestamp() - wall - ending.answered
            for found in re.finditer(r"^(\S+ \S+) \w+ .*(?:notice from|draining because)", self._said(), re.MULTILINE)
        )
        # A line's time is cut to milliseconds.
        word = next((max(0.0, after) for after in said if after > -0.0015), None)
        asked = [at for at in (*weather.life_at, *weather.refused_at) if at >= ending.answered]
        asked += [ending.acted] if ending.acted is not None else []
        if not (self._platform.says or weather.refused_at):  # only the farewell names the life then
            asked = []
        return word, min(asked) - ending.answered if asked else None

    def _farewell_on_disk(self) -> dict[str, Any] | None:
        """What nobody took stays in the state directory."""
        for spool in sorted(self._state.glob("account/life/*.spool"), reverse=True):
            data = spool.read_bytes()
            at = data.rfind(STATEMENT)
            if at >= 0:
                found, _ = json.JSONDecoder().raw_decode(data[at:].decode(errors="replace"))
                if "outcome" in found:
                    return dict(found)
        return None


def _read(place: Path) -> tuple[Lines, dict[str, Any] | None]:
    """The lines in an archive, each position once, and the farewell."""
    found, farewell = Lines(), None
    if not place.exists():
        return found, None
    archive = Archive.open(str(place))
    index = archive.index()
    broken: list[Damage] = []
    for piece in pieces(archive, index, Selection(signal=Signal.LOGS), kinds=(StreamKind.DATA,), damaged=broken.append):
        found.add(piece.payload)
    for piece in pieces(archive, index, Selection(signal=Signal.LOGS), kinds=(StreamKind.LIFE,), damaged=broken.append):
        for record in decode.records(piece.signal, piece.payload):
            statement = json.loads(str(record.body))
            if statement["host"] == "cell" and "outcome" in statement:
                farewell = statement
    return found, farewell


def _left_ranges(farewell: dict[str, Any]) -> dict[Path, list[tuple[int, int]]]:
    names = {stream["id"]: Path(stream["name"]) for stream in farewell["streams"]}
    ranges: dict[Path, list[tuple[int, int]]] = {}
    for gap in farewell["left"]:
        ranges.setdefault(names[gap["stream"]], []).append((gap["start"], gap["end"]))
    return ranges


def _lost_ranges(life: dict[str, Any]) -> dict[Path, list[tuple[int, int]]]:
    """What is not there by the audit."""
    return {
        Path(stream["name"]): [(start, end) for start, end in (*stream["missing_ranges"], *stream["pending_ranges"])]
        for stream in life.get("streams", ())
        if stream["missing_ranges"] or stream["pending_ranges"]
    }


def _audit(archive: Path) -> dict[str, Any]:
    if not archive.exists():
        return {}
    answer = subprocess.run(
        [*SHIPPER, "audit", str(archive), "--json", "--silence=0"], capture_output=True, text=True, check=False
    )
    if answer.returncode not in (0, 1):
        return {"error": answer.stdout + answer.stderr}
    report: dict[str, Any] = json.loads(answer.stdout)
    return next((life for life in report["lives"] if life["host"] == "cell"), {})


def _verdict(life: dict[str, Any]) -> str:
    if not life or "error" in life:
        return life.get("error", "never heard of")
    counts = life["counts"]
    words = [
        life["ended"],
        *(f"{name} {counts[name]}" for name in ("missing", "pending", "duplicates") if counts[name]),
    ]
    return ", ".join(words)


def _check(result: Result, life: dict[str, Any], archived: int) -> None:
    """Note what must not be."""
    wrong = result.wrong
    end = result.ending
    expected = {"drained": 0, "expired": 3}.get(result.outcome)
    if end.killed:
        wrong.append("killed")
    elif end.status != expected:
        wrong.append(f"exit {end.status} after {result.outcome or 'no farewell'}")
    if "Traceback" in result.said:
        wrong.append("traceback")
    if result.unnamed:
        wrong.append(f"{result.unnamed} lines neither arrived nor left")
    if result.outcome == "drained" and result.left:
        wrong.append(f"drained, {result.left} left")
    if not life or "counts" not in life:
        wrong.append("no audit")
        return
    counts = life["counts"]
    if counts["archived"] != archived:
        wrong.append(f"audit archived {counts['archived']}, found {archived}")
    if life["ended"] in ("drained", "expired"):
        if life["ended"] != result.outcome:
            wrong.append(f"audit says {life['ended']}, farewell {result.outcome}")
        if result.unequal:
            wrong.append(f"audit and farewell differ by {result.unequal} lines")
        if counts["duplicates"]:
            wrong.append(f"audit duplicates {counts['duplicates']}")


def _part(of: Lines, *arrived: Lines) -> tuple[int, int]:
    return len(of) - of.without(*arrived), len(of)


@contextmanager
def _workplace() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="sm-", dir="/tmp"))  # short: sockets lie below it
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _until(condition: Callable[[], object], what: str) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - what is waited for is another process
                await asyncio.sleep(0.01)
            return
    raise TimeoutError(f"this did not happen within {PATIENCE:g} s: {what}")
