"""Anybody may make names in the root and bytes in his own directory: nothing of that is followed, believed or fatal."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from shipper.contracts import Signal
from shipper.handoff.frame import Kind, pack, pack_resource
from shipper.handoff.hello import Hello
from shipper.handoff.places import segment_name
from shipper.otlp.encode import log_record
from tests.sources.services_kit import BOOT, Sink, following, services

NAME = "p7-00000000000000aa"


def logs(root: Path, name: str = NAME) -> Path:
    """A directory with one good segment."""
    directory = root / name
    directory.mkdir()
    content = pack(Kind.HEAD, 0, Hello("logs", 0, 0, boot=BOOT).body())
    content += pack(Kind.LOG, 1, log_record(time_ns=1, observed_ns=1, body="secret"))
    (directory / segment_name("logs", 0)).write_bytes(content)
    return directory


@pytest.mark.parametrize("kind", ["link", "file", "fifo", "name"])
def test_names_that_are_no_process_directory_are_ignored_and_said_once(tmp_path: Path, kind: str) -> None:
    """A link, a file, a pipe, or another name: not followed, not opened for long, told once and not again."""

    async def main() -> None:
        root = tmp_path / "spool"
        with services(root) as service:
            if kind == "link":
                (root / NAME).symlink_to(logs(tmp_path))
            elif kind == "file":
                (root / NAME).write_text("x")
            elif kind == "fifo":
                os.mkfifo(root / NAME)
            else:
                (root / "cuckoo").mkdir()
            service().log("a")
            async with following(root) as run:
                assert await run.bodies(1) == ["a"]
                await run.second()
                assert run.sink.bodies == ["a"]
                assert run.report.problems("services-stranger")

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["link", "hard link", "fifo", "directory"])
def test_segments_that_are_no_file_of_their_own_are_not_read(tmp_path: Path, kind: str) -> None:
    """What a directory claims to hold must be a regular file without another name: else it may be somebody else's secret."""

    async def main() -> None:
        root = tmp_path / "spool"
        with services(root) as service:
            (tmp_path / "other").mkdir()
            secret = logs(tmp_path / "other") / segment_name("logs", 0)
            one = service()
            place = one.directory / segment_name("logs", 0)
            if kind == "link":
                place.symlink_to(secret)
            elif kind == "hard link":
                place.hardlink_to(secret)
            elif kind == "fifo":
                os.mkfifo(place)
            else:
                place.mkdir()
            service(pid=101).log("a")
            async with following(root) as run:
                assert await run.bodies(1) == ["a"]
                await run.second()
                one.die()
                await run.second()
                assert run.sink.bodies == ["a"]
                assert run.report.problems("services-segment")
                assert secret.exists()

    asyncio.run(main())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make files of another user")
def test_files_of_another_user_than_the_directorys_are_not_read(tmp_path: Path) -> None:
    """A record is shipped as said by the owner of its directory, so nobody else may have put it there."""

    async def main() -> None:
        root = tmp_path / "spool"
        with services(root) as service:
            one = service()
            one.log("a")
            for path in one.directory.iterdir():
                os.chown(path, 3002, 3002)
            os.chown(one.directory, 3003, 3003)
            async with following(root) as run:
                await run.second()
                assert run.sink.streams == {}
                assert run.report.problems("services-directory")

    asyncio.run(main())


def test_one_user_cannot_keep_the_sidecar_busy_with_directories(tmp_path: Path) -> None:
    """Beyond a number of processes of one user further ones wait until some are gone, and then have their turn."""

    async def main() -> None:
        root, sink = tmp_path / "spool", Sink()
        with services(root) as service:
            made = [service(pid=number) for number in range(3)]
            for one in made:
                one.log("a")
            async with following(root, sink, max_per_user=2) as run:
                await run.bodies(2)
                await run.second()
                assert len(sink.bodies) == 2
                assert run.report.problems("services-many")
                for one in made:
                    one.die()
                async with asyncio.timeout(20):
                    while len(sink.bodies) < 3:
                        await run.second()

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes_are_survived(tmp_path: Path, seed: int) -> None:
    """Garbage, cut and flipped frames, declarations that are none: what is whole arrives, the rest is passed over."""

    async def main() -> None:
        rng = random.Random(seed)
        root, sink = tmp_path / "spool", Sink(limit=rng.choice([200, 1 << 20]))
        with services(root) as service:
            good = []
            async with following(root, sink) as run:
                one = service()
                for step in range(40):
                    choice = rng.randrange(7)
                    if choice == 0:
                        one.raw("logs", rng.randbytes(rng.randrange(100)))
                    elif choice == 1:
                        frame = bytearray(one.frame("logs", Kind.LOG, rng.randbytes(30), resource=rng.randrange(9)))
                        frame[rng.randrange(len(frame))] ^= 1 << rng.randrange(8)
                        one.raw("logs", bytes(frame))
                    elif choice == 2:
                        frame_ = one.frame("logs", Kind.LOG, rng.randbytes(30))
                        one.raw("logs", frame_[: rng.randrange(len(frame_))])
                    elif choice == 3:
                        kind = rng.choice([Kind.HEAD, Kind.RESOURCE, Kind.SCOPE, Kind.ROUTE, Kind.DROPPED, Kind.NOTE])
                        one.raw("logs", one.frame("logs", kind, rng.randbytes(20), resource=3, scope=3, route=3))
                    elif choice == 4:
                        one.raw(
                            "logs", one.frame("logs", Kind.RESOURCE, pack_resource(b"\x0a\x05abc", b""), resource=4)
                        )
                    else:
                        one.log(f"good {step}", resource=rng.choice([1, 3, 77]))
                        good.append(f"good {step}")
                    if rng.random() < 0.2:
                        await run.second()
                one.die()
                async with asyncio.timeout(20):
                    while one.directory.exists():
                        await run.second()
            # within a batch records of one resource come together
            assert sorted(body for body in sink.bodies if body.startswith("good")) == sorted(good)

    asyncio.run(main())


def test_numbers_never_declared_get_the_hosts_resource(tmp_path: Path) -> None:
    """A record whose resource is not known is not lost: it is shipped as the host's, and still says whose process it was."""

    async def main() -> None:
        root = tmp_path / "spool"
        with services(root) as service:
            async with following(root) as run:
                service().log("a", resource=9)
                await run.bodies(1)
                resource = run.sink.records()[0].resource
                assert resource["service.name"] == "host-service"
                assert resource["process.owner"]

    asyncio.run(main())


def test_a_run_that_ends_ships_what_is_there_and_no_more(tmp_path: Path) -> None:
    """After stop_reading what exists is fixed; the next run goes on behind it."""

    async def main() -> None:
        root, sink = tmp_path / "spool", Sink()
        with services(root) as service:
            one = service()
            async with following(root, sink) as run:
                one.log("a")
                await run.bodies(1)
                one.log("b")
                run.source.stop_reading()
                await run.source.settled()
                one.log("c")
                await run.clock.run(5)
                assert sink.bodies == ["a", "b"]
            async with following(root, sink) as run:
                assert await run.bodies(3) == ["a", "b", "c"]

    asyncio.run(main())


def test_silence_is_that_all_are_gone_or_nothing_came_for_a_while(tmp_path: Path) -> None:
    """A drain waits for services that live and write; not for one that is quiet, nor for one that is dead."""

    async def main() -> None:
        root = tmp_path / "spool"
        with services(root) as service:
            async with following(root) as run:
                assert run.source.silent(5.0)
                one = service()
                one.log("a")
                one.span(1, 1)
                await run.bodies(1)
                await run.until(lambda: run.sink.records(Signal.TRACES))
                assert not run.source.silent(5.0)
                for _ in range(6):
                    await run.second()
                assert run.source.silent(5.0)
                one.log("b")
                assert not run.source.silent(5.0)
                one.die()
                await run.bodies(2)
                await run.until(lambda: run.source.silent(5.0))

    asyncio.run(main())
