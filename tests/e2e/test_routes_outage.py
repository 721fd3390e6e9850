"""A fallback through a real outage: real sidecars, a destination that goes down and comes back, archives that are audited."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shipper.contracts import Signal
from shipper.fleet.archive import Archive
from shipper.fleet.store import StoreUnusable
from shipper.otlp.decode import records
from shipper.testing.sink import Sink
from tests.e2e.kit import (
    PATIENCE,
    Shipper,
    data_lines,
    free_port,
    gateway,
    is_statement,
    listening,
    shipper,
    sidecar,
    statements,
    until,
)

WITHOUT_SERVICES = {"SHIPPER_SERVICES_ENABLED": "false"}


def with_fallback(directory: Path) -> dict[str, str]:
    """A fallback that helps after a second, into an archive beside the host."""
    return {
        **WITHOUT_SERVICES,
        "SHIPPER_ARCHIVE": str(directory / "rescue"),
        "SHIPPER_DESTINATIONS_ARCHIVE_LINGER": "0.2s",
        "SHIPPER_DESTINATIONS_ARCHIVE_TRUST_LOCAL": "true",
        "SHIPPER_OTLP_TRUST_LOCAL": "true",
        "SHIPPER_FALLBACK_DESTINATION": "archive",
        "SHIPPER_FALLBACK_AFTER": "1s",
        "SHIPPER_ACCOUNT_INTERVAL": "0.3s",
    }


def write(log: Path, word: str, count: int) -> list[str]:
    """Append numbered lines."""
    lines = [f"{word} {number}" for number in range(count)]
    with log.open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))
    return lines


def bodies(archive: Path) -> list[str]:
    """The texts of all log records in an archive, as often as they are in it."""
    try:
        opened = Archive.open(str(archive))
        lists = opened.index().lists
    except StoreUnusable:  # nothing was written yet
        return []
    payloads = [piece.payload for one in lists for piece in opened.pieces(one) if piece.signal is Signal.LOGS]
    return [str(record.body) for payload in payloads for record in records(Signal.LOGS, payload)]


def stored(archive: Path) -> list[str]:
    """Those that are log lines."""
    return [body for body in bodies(archive) if not is_statement(body)]


async def audited(*archives: Path, expected: int = 0) -> dict[str, Any]:
    """The one life of the host, as the audit sees it."""
    first, *more = map(str, archives)
    beside = [word for each in more for word in ("--with", each)]
    answer = await asyncio.to_thread(shipper, "audit", first, *beside, "--json", "--silence", "0")
    assert answer.returncode == expected, answer.stdout + answer.stderr
    return next(life for life in json.loads(answer.stdout)["lives"] if life["role"] == "sidecar")


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait for what takes seconds and is dear to look at, because everything that arrived is read anew for it."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                for _ in range(5):
                    await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"this did not happen within {PATIENCE} s: {what}") from None


async def has(archive: Path, lines: list[str]) -> None:
    """Wait until an archive has these lines."""
    await eventually(lambda: set(stored(archive)) >= set(lines), "the archive has it")


async def told(archive: Path, size: int, destination: str) -> None:
    """Wait until an account in the archive says that a destination has everything up to there, from somewhere on."""
    await eventually(lambda: _told(archive, size, destination), "the account says so")


async def helping(one: Shipper) -> None:
    """Wait until the fallback stands in."""
    await until(lambda: "archive gets what it lacks until it is well" in one.said(), "the fallback stands in")


def test_an_outage_is_bridged_and_repaid(tmp_path: Path) -> None:
    """The archive gets what was written meanwhile; the destination, once it is back, everything, and nothing twice."""

    async def scenario() -> None:
        log = tmp_path / "app.log"
        before = write(log, "before", 5)
        async with Sink() as sink, sidecar(tmp_path / "host", sink.url, log, **with_fallback(tmp_path)) as one:
            await one.up()
            await until(lambda: data_lines(sink) == before, "all is well")
            await sink.go_down()
            during = write(log, "during", 200)
            await helping(one)
            status = await asyncio.to_thread(shipper, "status", "--state-dir", str(one.directory / "state"))
            assert "fallback archive: helping for primary" in status.stdout
            await has(tmp_path / "rescue", during)
            assert "before 0" not in stored(tmp_path / "rescue")
            await sink.come_up()
            await eventually(lambda: len(data_lines(sink)) >= 205, "the destination gets it, too")
            for number in range(40):
                write(log, f"after {number}", 1)
                await asyncio.sleep(0.05)
                if "primary is well again" in one.said():
                    break
            await until(lambda: "primary is well again" in one.said(), "the fallback stands by")
            assert await one.terminate() == 0
            arrived = data_lines(sink)
            assert sorted(arrived) == sorted(log.read_text().splitlines())
            assert not sink.duplicates()
            farewell = statements(sink)[-1]
            assert farewell["fallback"] == "archive"
            assert "lent" not in farewell, "the destination has all that the fallback has"
        life = await audited(tmp_path / "rescue")
        assert life["counts"]["missing"] == 0
        assert any("that are not here" in note for note in life["notes"])

    asyncio.run(scenario())


def test_a_host_that_dies_before_repayment_is_repaid_from_the_archive(tmp_path: Path) -> None:
    """Each archive alone says what only the other has; both together have everything; replay brings it home, once."""

    async def scenario() -> None:
        log, port = tmp_path / "app.log", free_port()
        rescue, main = tmp_path / "rescue", tmp_path / "gateway" / "archive"
        before = write(log, "before", 50)
        flush = {"SHIPPER_DESTINATIONS_ARCHIVE_LINGER": "0.1s"}
        async with gateway(tmp_path / "gateway", port, **flush) as home:
            await listening(port)
            settings = with_fallback(tmp_path)
            async with sidecar(tmp_path / "host", f"http://127.0.0.1:{port}", log, **settings) as one:
                await one.up()
                await has(main, before)
                await told(main, len(log.read_text()), "primary")
                await home.kill()
                during = write(log, "during", 100)
                await helping(one)
                await has(rescue, during)
                await told(rescue, len(log.read_text()), "archive")
                await one.kill()
            alone = await audited(rescue)
            assert alone["counts"]["missing"] == 0
            assert any("the destinations it stood in for have" in note for note in alone["notes"])
            both = await audited(main, rescue)
            assert (both["counts"]["archived"], both["counts"]["missing"], both["counts"]["duplicates"]) == (150, 0, 0)
            await home.start()
            await listening(port)
            answer = await asyncio.to_thread(shipper, "replay", str(rescue), "--to", f"http://127.0.0.1:{port}")
            assert answer.returncode == 0, answer.stdout + answer.stderr
            again = await asyncio.to_thread(shipper, "replay", str(rescue), "--to", f"http://127.0.0.1:{port}")
            assert again.returncode == 0, again.stdout + again.stderr
            await has(main, [*before, *during])
            assert await home.terminate() == 0
        repaid = await audited(main)
        counts = repaid["counts"]
        assert (counts["archived"], counts["missing"], counts["duplicates"]) == (150, 0, 0)
        assert sorted(stored(main)) == sorted([*before, *during])

    asyncio.run(scenario())


def test_a_run_that_ends_in_the_outage_says_what_only_the_fallback_has(tmp_path: Path) -> None:
    """And the next run repays it: the destination gets it from its own cursor, and the fallback is not needed."""

    async def scenario() -> None:
        log, rescue = tmp_path / "app.log", tmp_path / "rescue"
        before = write(log, "before", 5)
        settings = with_fallback(tmp_path) | {"SHIPPER_DRAIN_DEADLINE": "6s"}
        async with Sink() as sink, sidecar(tmp_path / "host", sink.url, log, **settings) as one:
            await one.up()
            await until(lambda: data_lines(sink) == before, "all is well")
            await sink.go_down()
            during = write(log, "during", 50)
            await helping(one)
            await has(rescue, during)
            assert await one.terminate() == 0, one.said()
            farewell = _farewells(rescue)[-1]
            assert [(gap["destination"], gap["end"]) for gap in farewell["lent"]] == [("primary", len(log.read_text()))]
            assert farewell["left"] == []
            await sink.come_up()
            await one.start()
            await eventually(lambda: len(data_lines(sink)) >= 55, "the next run repays it")
            assert await one.terminate() == 0
            assert sorted(data_lines(sink)) == sorted([*before, *during])

    asyncio.run(scenario())


def test_a_host_that_ends_repays_who_is_back_in_time(tmp_path: Path) -> None:
    """The archive took over in the drain; the destination came back while a service still wrote, and gets everything, once."""

    async def scenario() -> None:
        log, rescue = tmp_path / "app.log", tmp_path / "rescue"
        before = write(log, "before", 5)
        settings = with_fallback(tmp_path) | {
            "SHIPPER_DRAIN_DEADLINE": "60s",
            "SHIPPER_FALLBACK_AFTER": "1h",
        }
        async with (
            Sink() as sink,
            sidecar(tmp_path / "host", sink.url, log, flags=["--ephemeral"], **settings) as one,
        ):
            await one.up()
            await until(lambda: data_lines(sink) == before, "all is well")
            with log.open("a") as service:
                await sink.go_down()
                during = write(log, "during", 50)
                ended = asyncio.create_task(one.terminate())
                await has(rescue, during)
                assert "archive takes over as well" in one.said()
                await sink.come_up()
                await eventually(lambda: len(data_lines(sink)) >= 55, "the destination gets it, too")
                service.write("last words\n")
            assert await ended == 0, one.said()
            assert sorted(data_lines(sink)) == sorted([*before, *during, "last words"])
            assert not sink.duplicates()
            farewell = statements(sink)[-1]
            assert (farewell["outcome"], farewell["fallback"], farewell["left"]) == ("drained", "archive", [])
            assert "lent" not in farewell
        life = await audited(rescue)
        assert life["counts"]["missing"] == 0
        assert any("the destinations it stood in for have" in note for note in life["notes"])

    asyncio.run(scenario())


def test_what_a_limit_takes_before_repayment_only_the_fallback_has(tmp_path: Path) -> None:
    """A log is deleted in the outage, and there is no room to keep it: the account says who has what of it."""

    async def scenario() -> None:
        log, rescue = tmp_path / "app.log", tmp_path / "rescue"
        write(log, "before", 5)
        settings = with_fallback(tmp_path) | {"SHIPPER_FILE_LIMITS_HELD_MAX": "1MiB"}
        async with Sink() as sink, sidecar(tmp_path / "host", sink.url, log, **settings) as one:
            await one.up()
            await until(lambda: len(data_lines(sink)) == 5, "all is well")
            await sink.go_down()
            during = write(log, "x" * 100, 20_000)
            await helping(one)
            await has(rescue, during)
            log.unlink()
            await until(lambda: "was deleted" in one.said(), "what fits is kept")
            await one.kill()  # and with it what it had in memory of what it was about to send
            await sink.come_up()
            await one.start()
            await one.up()
            assert await one.terminate() == 0, one.said()
            arrived = data_lines(sink)
            assert during[-1] in arrived
            assert len(arrived) < 20_000
            assert len(arrived) == len(set(arrived))
            farewell = statements(sink)[-1]
            (stream,) = farewell["streams"]
            lost = stream["destinations"]["primary"]["lost_ranges"]
            assert lost
            assert farewell["left"] == []
            assert [[gap["start"], gap["end"]] for gap in farewell["lent"]] == lost
        life = await audited(rescue)
        assert life["counts"]["missing"] == 0

    asyncio.run(scenario())


def test_a_gateway_has_a_fallback_like_any_other(tmp_path: Path) -> None:
    """What hosts send while its destination is down goes into the archive, under their own ranges, and to the destination later."""

    async def scenario() -> None:
        log, port, home = tmp_path / "app.log", free_port(), tmp_path / "gateway"
        before = write(log, "before", 5)
        helps = {
            "SHIPPER_DESTINATIONS_ARCHIVE_LINGER": "0.1s",
            "SHIPPER_FALLBACK_DESTINATION": "archive",
            "SHIPPER_FALLBACK_AFTER": "1s",
        }
        async with (
            Sink() as sink,
            gateway(home, port, SHIPPER_DESTINATIONS_MAIN_ENDPOINT=sink.url, **helps) as relay,
            sidecar(tmp_path / "host", f"http://127.0.0.1:{port}", log, **WITHOUT_SERVICES) as one,
        ):
            await one.up()
            await until(lambda: data_lines(sink) == before, "all is well")
            await sink.go_down()
            during = write(log, "during", 50)
            await helping(relay)
            await has(home / "archive", during)
            assert "before 0" not in stored(home / "archive")
            await sink.come_up()
            await eventually(lambda: len(data_lines(sink)) >= 55, "the destination gets it, too")
            assert await one.terminate() == 0, one.said()
            assert await relay.terminate() == 0, relay.said()
            assert sorted(data_lines(sink)) == sorted([*before, *during])

    asyncio.run(scenario())


def _statements(archive: Path) -> list[dict[str, Any]]:
    return [json.loads(body) for body in bodies(archive) if is_statement(body)]


def _accounts(archive: Path) -> list[dict[str, Any]]:
    return [each for each in _statements(archive) if each["role"] == "sidecar" and each["streams"]]


def _farewells(archive: Path) -> list[dict[str, Any]]:
    return [each for each in _statements(archive) if each.get("outcome")]


def _told(archive: Path, size: int, destination: str) -> bool:
    return any(
        figures["acknowledged_ranges"] and figures["acknowledged_ranges"][-1][1] >= size
        for statement in _accounts(archive)
        for stream in statement["streams"]
        for name, figures in stream["destinations"].items()
        if name == destination
    )
