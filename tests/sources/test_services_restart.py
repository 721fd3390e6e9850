"""A sidecar that was killed goes on where destinations stand; what is gone is counted; what belongs to others is not ours."""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path

import pytest

from shipper.contracts import Signal
from shipper.ledger import Ledger, LedgerThread
from shipper.sources.services import series, source
from shipper.testing.clock import FakeClock
from tests.sources.services_kit import DESTINATION, Following, Sink, following, services


def test_goes_on_where_the_destination_stands(tmp_path: Path) -> None:
    """Across kills of the sidecar, rotations and the death of the process every record arrives once, with its resource."""

    async def main() -> None:
        root, sink = tmp_path / "spool", Sink()
        with services(root) as service:
            one = service()
            for turn in range(4):
                one.log(f"{turn}a")
                async with following(root, sink) as run:
                    one.log(f"{turn}b")
                    await run.bodies(2 * turn + 2)
                    one.rotate("logs", seal=turn < 3)
                one.log(f"{turn}c") if turn == 3 else None
            one.die()
            async with following(root, sink) as run:
                await run.until(lambda: not one.directory.exists())
                assert sink.bodies == ["0a", "0b", "1a", "1b", "2a", "2b", "3a", "3b", "3c"]
                assert {record.resource["team"] for record in sink.records()} == {"blue"}
                assert run.report.losses() == {}
                assert sink.lost == []

    asyncio.run(main())


def test_remains_of_a_process_that_died_before_the_first_start_are_shipped(tmp_path: Path) -> None:
    """Services may start and crash before the sidecar: what they left in this boot is this life's."""

    async def main() -> None:
        root = tmp_path / "spool"
        with services(root) as service:
            one = service()
            one.log("a")
            one.opened(0, 1, 1)
            one.die()
            async with following(root) as run:
                await run.until(lambda: not one.directory.exists())
                assert run.sink.bodies == ["a"]
                assert [span.name for span in run.sink.records(Signal.TRACES)] == ["running"]

    asyncio.run(main())


def test_remains_of_another_boot_are_set_aside(tmp_path: Path) -> None:
    """They are not shipped as ours and not deleted; where they are now is said."""

    async def main() -> None:
        root = tmp_path / "spool"
        with services(root) as service:
            one = service(boot="another", lives=False)
            one.log("a")
            async with following(root) as run:
                await run.second()
                assert run.sink.streams == {}
                aside = tmp_path / "set-aside/boot-another/spool" / one.directory.name
                assert [path.name for path in aside.glob("*.seg")] == [f"logs-{0:020}.seg"]
                assert str(aside) in run.report.problems("services-foreign")[0]

    asyncio.run(main())


def test_a_directory_that_somebody_removed_is_given_up(tmp_path: Path) -> None:
    """While the sidecar runs or while it does not: what was not acknowledged is counted, and the stream ends."""

    async def main() -> None:
        root, sink = tmp_path / "spool", Sink(open=False)
        with services(root) as service:
            one, two = service(), service(pid=101)
            one.log("a", "b")
            two.log("c")
            async with following(root, sink) as run:
                for path in [*one.directory.iterdir(), one.directory]:
                    path.rmdir() if path.is_dir() else path.unlink()
                await run.second()
                sink.take_all()
                assert sink.bodies == ["c"]
                ((stream, start, _, records),) = sink.lost
                assert (stream, start, records) == (f"{one.directory.name}.logs", 0, 2)
            two.log("d")
            for path in [*two.directory.iterdir(), two.directory]:
                path.rmdir() if path.is_dir() else path.unlink()
            async with following(root, sink) as run:
                await run.until(lambda: f"{two.directory.name}.logs" in sink.over)
                assert sink.bodies == ["c"]

    asyncio.run(main())


def test_what_a_process_dropped_itself_is_given_up_with_its_count(tmp_path: Path) -> None:
    """A segment that the process deleted, seen before or not, is a range that is gone, with as many records as it had."""

    async def main() -> None:
        root, sink = tmp_path / "spool", Sink(open=False)
        with services(root) as service:
            one, two = service(), service(pid=101)
            for each in (one, two):
                each.log("a", "b", "c")
                each.rotate("logs")
            two.log("x", "y")
            two.rotate("logs")
            (two.directory / two.segments()[0]).unlink()
            (two.directory / two.segments()[0]).unlink()
            two.raw("logs", two.frame("logs", 8, b'{"drop_oldest": 5}'))
            two.log("e")
            async with following(root, sink) as run:
                (one.directory / one.segments()[0]).unlink()
                one.log("d")
                await run.second()
                sink.take_all()
                assert sorted(sink.bodies) == ["d", "e"]
                assert sorted(records for *_, records in sink.lost) == [3, 5]
                one.die()
                two.die()
                await run.until(lambda: not one.directory.exists() and not two.directory.exists())
                assert run.report.losses() == {}

    asyncio.run(main())


def test_the_host_cap_drops_the_oldest_final_segments(tmp_path: Path) -> None:
    """Over the limit the oldest goes, with its range and count; when only current ones are left the card says full."""

    async def main() -> None:
        from shipper.handoff.card import read_card

        root, sink = tmp_path / "spool", Sink(open=False)
        with services(root) as service:
            one = service()
            for name in "abc":
                one.log(name * 40_000)
                one.rotate("logs")
            async with following(root, sink, host_max=100_000) as run:
                await run.second()
                assert len(one.segments()) == 3
                assert len(run.report.problems("services-cap")) == 1
                card = read_card(str(root))
                assert card is not None
                assert not card.full
                one.log("d" * 120_000)
                await run.second()
                card = read_card(str(root))
                assert card is not None
                assert card.full
                sink.take_all()
                assert [body[0] for body in sink.bodies] == ["d"]
                assert [records for *_, records in sink.lost] == [3] or sum(r for *_, r in sink.lost) == 3
            async with following(root, sink, host_max=1 << 20) as run:
                card = read_card(str(root))
                assert card is not None
                assert not card.full
                one.die()
                await run.until(lambda: not one.directory.exists())
                assert len(sink.bodies) == 1

    asyncio.run(main())


class Counter:
    """A consumer that takes what it is given when it is told to."""

    def __init__(self) -> None:
        self.streams: dict[str, object] = {}
        self.finished_streams: list[str] = []
        self.woken = 0

    def add(self, stream: object) -> None:
        self.streams[stream.id] = stream  # type: ignore[attr-defined]

    def ready(self, stream: object) -> None:
        self.woken += 1

    def finished(self, stream: object) -> None:
        self.finished_streams.append(stream.id)  # type: ignore[attr-defined]


def test_trace_segments_wait_for_who_measures_them(tmp_path: Path) -> None:
    """A consumer sees every span before sampling; acknowledged segments go when it has measured them, and not before."""

    async def main() -> None:
        from shipper.handoff.frame import Kind

        root, counter = tmp_path / "spool", Counter()
        with services(root) as service:
            one = service()
            async with following(root, consumer=counter, keep=0.0) as run:
                one.span(5, 1)
                one.log("a")
                one.rotate("traces")
                one.span(6, 2)
                await run.bodies(1)
                await run.until(lambda: counter.streams)
                await run.second()
                (stream,) = counter.streams.values()
                frames, at = [], 0
                while True:
                    more, after = stream.frames(at, 1000)  # type: ignore[attr-defined]
                    frames += more
                    if after == at:
                        break
                    at = after
                assert [frame.trace for frame in frames if frame.kind == Kind.SPAN] == [5, 6]
                assert {stream.route(frame.route) for frame in frames if frame.kind == Kind.SPAN} == {"/pay"}  # type: ignore[attr-defined]
                assert stream.resource_attributes(1)["service.name"] == "checkout"  # type: ignore[attr-defined]
                assert len([name for name in one.segments() if name.startswith("traces")]) == 2
                assert sum(batch.cut.sampled for batch in run.sink.batches) == 2
                stream.measured(at)  # type: ignore[attr-defined]
                await run.until(lambda: len([name for name in one.segments() if name.startswith("traces")]) == 1)
                one.span(7, 3)
                one.die()
                await run.until(lambda: counter.finished_streams)
                await run.second()
                assert one.directory.exists()
                stream.measured(stream.frontier())  # type: ignore[attr-defined]
                await run.until(lambda: not one.directory.exists())

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(6))
def test_random_lives_of_services_and_sidecars(tmp_path: Path, seed: int) -> None:
    """Whatever the order of writes, rotations, deaths, kills of the sidecar and outages: each record once, in order, and
    no file is left."""

    async def main() -> None:
        rng = random.Random(seed)
        root, sink = tmp_path / "spool", Sink(limit=rng.choice([300, 2000, 1 << 20]))
        written: dict[str, list[str]] = {}
        with services(root) as service:
            living = []
            run: Following | None = None
            context = None
            for step in range(60):
                action = rng.random()
                if not living or action < 0.05:
                    living.append(service(pid=200 + step))
                    written[f"{living[-1].directory.name}.logs"] = []
                one = rng.choice(living)
                if action < 0.6:
                    for number in range(rng.randrange(5)):
                        body = f"{step}.{number} " + "z" * rng.randrange(200)
                        one.log(body)
                        written[f"{one.directory.name}.logs"].append(body)
                elif action < 0.7 and "logs" in one.open:
                    one.rotate("logs", seal=rng.random() < 0.7)
                elif action < 0.75:
                    living.remove(one)
                    one.die()
                elif action < 0.85:
                    if context is not None:
                        await context.__aexit__(None, None, None)
                    context = following(root, sink)
                    run = await context.__aenter__()
                elif action < 0.9:
                    sink.open = not sink.open
                    if sink.open:
                        sink.take_all()
                elif run is not None:
                    await run.second()
            for one in living:
                one.die()
            if context is not None:
                await context.__aexit__(None, None, None)
            async with following(root, sink) as run:
                sink.take_all()
                async with asyncio.timeout(20):
                    while [name for name in os.listdir(root) if name.startswith("p")]:
                        await run.second()
                        sink.take_all()
                found: dict[str, list[str]] = {name: [] for name in written}
                from shipper.otlp.decode import records

                for batch in sink.batches:
                    found[batch.stream] += [str(record.body) for record in records(Signal.LOGS, batch.payload)]
                assert found == written
                assert sink.lost == []
                assert run.source.refused() == {}

    asyncio.run(main())


def test_a_lost_ledger_costs_no_more_than_what_is_deleted(tmp_path: Path) -> None:
    """Without books all that is on disk is read from its beginning; what was deleted is no loss of ours to report twice."""

    async def main() -> None:
        root, sink = tmp_path / "spool", Sink()
        with services(root) as service:
            one = service()
            one.log("a")
            one.rotate("logs")
            async with following(root, sink) as run:
                await run.until(lambda: len(one.segments()) == 1)
            ledger = LedgerThread(Ledger.open(tmp_path / "ledger.db", report=run.report))
            (row,) = await ledger.call(Ledger.streams)
            assert row.meta["begins"] > 0
            assert (await ledger.call(Ledger.cursor, DESTINATION, row.id)).counts.acknowledged == 1
            await ledger.aclose()
            (tmp_path / "ledger.db").unlink()
            again = Sink()
            one.log("b")
            async with following(root, again) as run:
                await run.bodies(1)
                assert again.bodies == ["b"]
                assert len(again.lost) == 1

    asyncio.run(main())


def test_what_a_death_left_unnamed_is_swept(tmp_path: Path) -> None:
    """A directory whose process died before it had its name goes after an hour; one that was just begun stays."""

    async def main() -> None:
        root = tmp_path / "spool"
        with services(root):
            old, new = (root / f".p{number}-{'0' * 16}" for number in (1, 2))
            for directory in (old, new):
                directory.mkdir()
                (directory / "alive").touch()
            os.utime(old, (1, 1))
            (root / ".host.json-0123456789abcdef").touch()
            clock = FakeClock(wall_ns=time.time_ns())
            async with following(root, clock=clock):
                assert [path.name for path in root.iterdir() if path.name.startswith(".")] == [new.name]

    asyncio.run(main())


def test_a_large_backlog_is_looked_at_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments that wait at the start do not keep everything else in the sidecar from its work until all are looked at."""

    async def main() -> None:
        monkeypatch.setattr(source, "LOOK_BYTES", 2000)
        monkeypatch.setattr(series, "CHUNK", 1000)
        root, turns = tmp_path / "spool", 0

        async def others() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        with services(root) as service:
            one = service()
            bodies = [f"{number} {'x' * 100}" for number in range(900)]
            one.log(*bodies[:300])
            one.rotate("logs")
            one.log(*bodies[300:])
            size = sum(path.stat().st_size for path in one.directory.glob("*.seg"))
            one.die()
            work = asyncio.create_task(others())
            async with following(root) as run:
                work.cancel()
                await run.until(lambda: not one.directory.exists())
                assert run.sink.bodies == bodies
                assert run.report.losses() == {}
            assert turns > size // 4000

    asyncio.run(main())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a root of another user")
def test_a_card_that_services_do_not_believe_is_said_once(tmp_path: Path) -> None:
    """Where the root is another user's, the card counts for nobody: that is said with what to mount, and not written each second."""

    async def main() -> None:
        root = tmp_path / "spool"
        with services(root):
            root.chmod(0o777)
            monkey = pytest.MonkeyPatch()
            monkey.setattr(source, "prepare_root", lambda path: "")  # as a sidecar that may not take the root over
            os.chown(root, 61001, 61001)
            async with following(root) as run:
                card = root / "host.json"
                before = card.stat().st_ino
                for _ in range(3):
                    await run.second()
                monkey.undo()
                assert card.stat().st_ino == before
                (said,) = run.report.problems("services-card")
                assert f"one level above, at {tmp_path}" in said

    asyncio.run(main())
