"""Anybody may make names in the root and bytes in his own directory: nothing of that is followed, believed or fatal."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from shipper.contracts import Signal
from shipper.handoff.frame import HEAD, MAGIC, OVERHEAD, Kind, pack, pack_resource
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


def _seal(position: int) -> dict[str, bytes]:
    return {segment_name("logs", 0): HELLO + LOG + pack(Kind.SEAL, 2, b"", trace=position)}


def _beginnings() -> bytes:
    """Nothing but beginnings of frames that claim to be large."""
    head = HEAD.pack(MAGIC, Kind.LOG, 0, 2 << 20, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0)
    return (b"1234" + head) * ((4 << 20) // OVERHEAD)


HELLO = pack(Kind.HEAD, 0, Hello("logs", 0, 0, boot=BOOT).body())
LOG = pack(Kind.LOG, 1, log_record(time_ns=1, observed_ns=1, body="evil"))
ATTACKS: dict[str, Callable[[], dict[str, bytes]]] = {
    "a base that no ledger can hold": lambda: {segment_name("logs", 10**20 - 1): HELLO + LOG},
    "a base at the end of all numbers": lambda: {segment_name("logs", 2**63 - 10): HELLO + LOG},
    "a next base that no ledger can hold": lambda: _seal(2**64 - 1),
    "a next base that no memory can hold": lambda: _seal(2**52),
    "numbers far away": lambda: {segment_name("logs", 0): HELLO + pack(Kind.LOG, 2**64 - 1, b"")},
    "numbers in no order": lambda: {
        segment_name("logs", 0): HELLO + b"".join(pack(Kind.LOG, n * 7919 % 10**6, b"") for n in range(9000))
    },
    "texts that nothing can encode": lambda: {
        segment_name("logs", 0): pack(
            Kind.HEAD, 0, Hello("logs", 0, -5, boot=BOOT, pid=10**30, service="\ud800\x1b[2J" * 900).body()
        )
        + LOG
        + pack(Kind.DROPPED, 2, b'{"\\ud800": 5, "\\u001b[2J": 5}')
    },
    "beginnings of large frames": lambda: {segment_name("logs", 0): HELLO + _beginnings()},
    "magic and nothing else": lambda: {segment_name("logs", 0): HELLO + b"xx" + MAGIC * (2 << 20)},
    "damage behind every frame": lambda: {segment_name("logs", 0): HELLO + (LOG + b"?") * 9000},
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_one_user_makes_up_neither_ends_nor_stops_the_sidecar(tmp_path: Path, attack: str) -> None:
    """Numbers, texts and bytes made to hurt: their maker's records suffer, the next service's arrive, nothing is left."""

    async def main() -> None:
        root = tmp_path / "spool"
        with services(root) as service:
            directory = root / NAME
            directory.mkdir()
            for name, content in ATTACKS[attack]().items():
                (directory / name).write_bytes(content)
            async with following(root) as run:
                one = service()
                one.log("good")
                async with asyncio.timeout(20):
                    while directory.exists() or "good" not in run.sink.bodies:
                        await run.second()
                assert sum(run.report.losses().values()) < 100_000
                generate_latest(run.report.metrics.registry).decode()
                json.dumps(run.source.status(), ensure_ascii=False).encode()
                assert "\x1b" not in str(run.report.said)

    asyncio.run(main())
