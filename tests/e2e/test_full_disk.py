"""A full disk under every directory Shipper writes in: it waits, says so, and nothing that was accepted is lost."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.testing.sink import Sink, accept, refuse
from tests.e2e.kit import audit, data_lines, free_port, gateway, host, listening, sidecar, statements, until


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB that a test may fill."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(path: Path) -> None:
    """Write until the file system has no room left."""
    with open(path, "wb", buffering=0) as out:
        try:
            while out.write(bytes(4096)):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def test_a_full_disk_under_the_state_directory_loses_nothing(tmp_path: Path, small_disk: Path) -> None:
    """With no room for the ledger the sidecar waits, says so, and goes on where it was when there is room again."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("before\n")
        async with (
            Sink() as sink,
            sidecar(tmp_path / "host", sink.url, log, SHIPPER_STATE_DIR=str(small_disk)) as process,
        ):
            await until(lambda: data_lines(sink) == ["before"], "the first line arrives")
            ballast = small_disk / "ballast"
            fill(ballast)
            with open(log, "a") as out:
                for number in range(3000):
                    out.write(f"line {number} {os.urandom(20).hex()}\n")
            await until(
                lambda: "full" in process.said() or len(data_lines(sink)) == 3001, "it is said, or it still fits"
            )
            ballast.unlink()
            await until(lambda: len(data_lines(sink)) == 3001, "everything arrives")
            assert await process.terminate() == 0, process.said()
            assert "Traceback" not in process.said()

    asyncio.run(story())


def test_a_drain_on_a_full_disk_ends_in_time_and_the_next_run_sends_the_rest(tmp_path: Path, small_disk: Path) -> None:
    """When not even the farewell can be written down, the drain expires with a word, and nothing is lost or sent twice."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("before\n")
        settings = {"SHIPPER_STATE_DIR": str(small_disk / "state"), "SHIPPER_DRAIN_DEADLINE": "2s"}
        async with Sink() as sink:
            async with sidecar(tmp_path / "host", sink.url, log, **settings) as process:
                await until(lambda: data_lines(sink) == ["before"], "the first line arrives")
                fill(small_disk / "ballast")
                with open(log, "a") as out:
                    out.writelines(f"line {number}\n" for number in range(3000))
                assert await process.terminate() == 3, process.said()
                assert "Traceback" not in process.said()
                assert "left unacknowledged" in process.said()
            (small_disk / "ballast").unlink()
            async with sidecar(tmp_path / "host", sink.url, log, **settings) as process:
                await until(lambda: len(data_lines(sink)) >= 3001, "everything arrives")
                assert await process.terminate() == 0, process.said()
            assert data_lines(sink) == ["before", *(f"line {number}" for number in range(3000))]

    asyncio.run(story())


def test_a_start_on_a_full_disk_says_so_and_touches_nothing(tmp_path: Path, small_disk: Path) -> None:
    """A sidecar that cannot write at its start exits with one sentence; with room it takes up the same life."""

    async def story() -> None:
        log = tmp_path / "app.log"
        log.write_text("before\n")
        settings = {"SHIPPER_STATE_DIR": str(small_disk / "state")}
        async with Sink() as sink:
            async with sidecar(tmp_path / "host", sink.url, log, **settings) as process:
                await until(lambda: data_lines(sink) == ["before"], "the first line arrives")
                await process.kill()
            fill(small_disk / "ballast")
            async with sidecar(tmp_path / "host", sink.url, log, **settings) as process:
                assert await process.ended() == 1, process.said()
                assert "full" in process.said()
                assert "Traceback" not in process.said()
            (small_disk / "ballast").unlink()
            log.write_text("before\nafter\n")
            async with sidecar(tmp_path / "host", sink.url, log, **settings) as process:
                await until(lambda: "after" in data_lines(sink), "the next line arrives")
                assert await process.terminate() == 0, process.said()
            assert data_lines(sink) == ["before", "after"]
            assert len({statement["life"] for statement in statements(sink)}) == 1

    asyncio.run(story())


def test_a_full_disk_under_the_quarantine_keeps_what_was_refused(tmp_path: Path, small_disk: Path) -> None:
    """A refused record that cannot be set aside stays pending, which is said, until there is room; its neighbours go on."""

    async def story() -> None:
        log, state = tmp_path / "app.log", tmp_path / "host/state"
        state.mkdir(parents=True, mode=0o700)
        (state / "quarantine").symlink_to(small_disk)
        fill(small_disk / "ballast")
        log.write_text("one\nPOISON\ntwo\n")
        async with Sink() as sink:
            sink.judge = lambda request: refuse(400, "no poison") if b"POISON" in request.body else accept()
            async with sidecar(tmp_path / "host", sink.url, log) as process:
                await until(lambda: "cannot set aside" in process.said(), "it is said")
                with open(log, "a") as out:
                    out.write("three\n")
                await until(lambda: set(data_lines(sink)) == {"one", "two", "three"}, "the others arrive")
                (small_disk / "ballast").unlink()
                await until(lambda: "kept in quarantine" in process.said(), "it is set aside")
                assert await process.terminate() == 0, process.said()
                assert "Traceback" not in process.said()
            (stream,) = statements(sink)[-1]["streams"]
            (figures,) = stream["destinations"].values()
            assert (figures["read"], figures["acknowledged"], figures["quarantined"]) == (4, 3, 1)

    asyncio.run(story())


def test_a_full_disk_under_a_gateway_s_spool_refuses_and_loses_nothing(tmp_path: Path, small_disk: Path) -> None:
    """A gateway without room answers 503, keeps what it had accepted, and takes the rest when there is room again."""

    async def story() -> None:
        log, port = tmp_path / "app.log", free_port()
        log.write_text("before\n")
        async with (
            gateway(tmp_path / "gateway", port, SHIPPER_SPOOL_DIR=str(small_disk / "spool")) as receiver,
            sidecar(tmp_path / "host", f"http://127.0.0.1:{port}", log) as process,
        ):
            await listening(port)
            await process.up()
            fill(small_disk / "ballast")
            with open(log, "a") as out:
                out.writelines(f"line {number} {os.urandom(30).hex()}\n" for number in range(2000))
            await until(lambda: "refused a request with 503" in receiver.said(), "the gateway refuses")
            await until(lambda: "will be tried again" in process.said(), "the sidecar keeps it")
            (small_disk / "ballast").unlink()
            assert await process.terminate() == 0, process.said()
            assert await receiver.terminate() == 0, receiver.said()
            assert "Traceback" not in process.said() + receiver.said()

    asyncio.run(story())
    life = host(audit(tmp_path / "gateway/archive"), "host")
    assert (life["counts"]["archived"], life["counts"]["missing"], life["counts"]["duplicates"]) == (2001, 0, 0)
