"""What a service hands over arrives, once, with the merged identity, and its files go when all of it is acknowledged."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

from shipper.contracts import Signal
from shipper.handoff.card import read_card
from tests.sources.services_kit import LIFE, START_WALL_NS, Sink, following, services


def test_records_arrive_as_they_are_written_and_nothing_is_left(tmp_path: Path) -> None:
    """Records of a living process arrive, those it left at its death too, and its directory is removed then."""

    async def main() -> None:
        with services(tmp_path / "spool") as service:
            async with following(tmp_path / "spool") as run:
                one = service()
                one.log("a", "b")
                one.span(7, 1)
                assert await run.bodies(2) == ["a", "b"]
                one.log("c")
                one.die()
                await run.until(lambda: not one.directory.exists())
                assert run.sink.bodies == ["a", "b", "c"]
                assert len(run.sink.records(Signal.TRACES)) == 1
                assert sorted(run.sink.over) == sorted(run.sink.streams)
                assert run.report.losses() == {}
                assert [event for event in run.report.said if hasattr(event, "kind")] == []

    asyncio.run(main())


def test_the_resource_is_what_was_stated_then_the_hosts_then_guessed(tmp_path: Path) -> None:
    """A service's own statements stand, the host fills in and beats guesses, and life and owner are always the sidecar's."""

    async def main() -> None:
        with services(tmp_path / "spool") as service:
            async with following(tmp_path / "spool") as run:
                service().log("a")
                await run.bodies(1)
                resource = run.sink.records()[0].resource
                assert resource["service.name"] == "checkout"
                assert resource["team"] == "blue"
                assert resource["service.version"] == "9.9"
                assert resource["x"] == "1"
                assert resource["shipper.life.id"] == LIFE
                assert resource["process.owner"]

    asyncio.run(main())


def test_the_card_tells_services_who_the_host_is(tmp_path: Path) -> None:
    """The root is made with the mode that lets every user hand over, and host.json stands in it, again if it is removed."""

    async def main() -> None:
        root = tmp_path / "spool"
        async with following(root, process_max=5 << 20) as run:
            assert root.stat().st_mode & 0o7777 == 0o3733
            card = read_card(str(root))
            assert card is not None
            assert (card.life, card.process_bytes, card.full) == (LIFE, 5 << 20, False)
            assert card.attributes["service.version"] == "9.9"
            (root / "host.json").unlink()
            await run.second()
            assert read_card(str(root)) == card

    asyncio.run(main())


def test_segments_are_deleted_when_final_and_acknowledged(tmp_path: Path) -> None:
    """A sealed segment goes when all of it is acknowledged, with the positions left free behind it; the current one stays."""

    async def main() -> None:
        with services(tmp_path / "spool") as service:
            sink = Sink(open=False)
            async with following(tmp_path / "spool", sink) as run:
                one = service()
                one.log("a")
                one.rotate("logs")
                one.log("b")
                await run.until(lambda: sink.streams)
                await run.second()
                assert len(one.segments()) == 2
                sink.take_all()
                await run.until(lambda: len(one.segments()) == 1)
                assert sink.bodies == ["a", "b"]
                ends = [(batch.cut.start, batch.cut.end) for batch in sink.batches]
                assert all(before[1] == after[0] for before, after in pairwise(ends))

    asyncio.run(main())


def test_a_half_frame_of_a_living_process_waits_and_of_a_dead_one_is_torn(tmp_path: Path) -> None:
    """Nothing beyond the last whole frame exists while the process lives; at its death the rest is said and passed over."""

    async def main() -> None:
        with services(tmp_path / "spool") as service:
            async with following(tmp_path / "spool") as run:
                one = service()
                one.log("a")
                frame = one.frame("logs", 6, b"\x2a\x03\x0a\x01b", resource=1, scope=1)
                one.raw("logs", frame[:30])
                await run.bodies(1)
                await run.second()
                (stream,) = run.sink.streams.values()
                assert stream.frontier() == run.sink.at[stream.id]
                one.raw("logs", frame[30:])
                assert await run.bodies(2) == ["a", "b"]
                one.raw("logs", frame[:50])
                one.die()
                await run.until(lambda: not one.directory.exists())
                assert len(run.report.problems("services-torn")) == 1
                assert run.sink.bodies == ["a", "b"]

    asyncio.run(main())


def test_damage_in_the_middle_is_skipped_and_counted(tmp_path: Path) -> None:
    """Bytes that are no frame are passed over where a frame follows; the missing numbers are a counted loss."""

    async def main() -> None:
        with services(tmp_path / "spool") as service:
            async with following(tmp_path / "spool") as run:
                one = service()
                one.log("a")
                await run.bodies(1)
                broken = bytearray(one.frame("logs", 6, b"\x2a\x03\x0a\x01b", resource=1, scope=1))
                broken[-1] ^= 0xFF
                one.raw("logs", bytes(broken))
                one.log("c")
                assert await run.bodies(2) == ["a", "c"]
                assert len(run.report.problems("services-damaged")) == 1
                one.die()
                await run.until(lambda: not one.directory.exists())
                assert run.report.losses() == {"gap": 1}
                assert run.source.refused() == {"services.logs.gap": 1}

    asyncio.run(main())


def test_what_a_service_dropped_is_reported_once(tmp_path: Path) -> None:
    """DROPPED frames are cumulative; each record is reported and put into the account once, also across a restart."""

    async def main() -> None:
        with services(tmp_path / "spool") as service:
            sink, one = Sink(), service()
            one.log("a")
            one.raw("logs", one.frame("logs", 8, b'{"disk_full": 2}'))
            async with following(tmp_path / "spool", sink) as run:
                await run.bodies(1)
                one.raw("logs", one.frame("logs", 8, b'{"disk_full": 5}'))
                await run.until(lambda: run.report.losses() == {"disk_full": 5})
                await run.second()
            async with following(tmp_path / "spool", sink) as run:
                await run.second()
                assert run.report.losses() == {}
                assert run.source.refused() == {"services.logs.disk_full": 5}

    asyncio.run(main())


def test_open_spans_of_a_dead_process_are_ended_in_its_name(tmp_path: Path) -> None:
    """A span that ran when its process died arrives with status error; one whose last frame is there does not come twice."""

    async def main() -> None:
        with services(tmp_path / "spool") as service:
            async with following(tmp_path / "spool") as run:
                one = service()
                one.span(7, 1)
                one.opened(0, 9, 2)
                one.opened(1, 7, 1, ending=one.seqs["traces"] - 1)
                one.opened(2, 11, 3, ending=one.seqs["traces"] + 5, name="ending")
                one.die()
                await run.until(lambda: not one.directory.exists())
                spans = {span.name: span for span in run.sink.records(Signal.TRACES)}
                assert sorted(spans) == ["ending", "running", "work"]
                assert spans["running"].attributes == {"shipper.span.unfinished": True}
                assert spans["running"].resource["service.name"] == "checkout"

    asyncio.run(main())


def test_open_spans_of_a_process_without_a_trace_series(tmp_path: Path) -> None:
    """The first request of a process may be the one that kills it: then its span is all there is of its traces."""

    async def main() -> None:
        with services(tmp_path / "spool") as service:
            async with following(tmp_path / "spool") as run:
                one = service()
                one.opened(0, 9, 2)
                one.die()
                await run.until(lambda: run.sink.records(Signal.TRACES))
                await run.until(lambda: not one.directory.exists())
                assert [span.name for span in run.sink.records(Signal.TRACES)] == ["running"]

    asyncio.run(main())


def test_metrics_are_labelled_as_a_whole(tmp_path: Path) -> None:
    """A whole request of metrics gets the identity on each of its resources; one that is no OTLP is left out."""

    async def main() -> None:
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

        message = ExportMetricsServiceRequest()
        metrics = message.resource_metrics.add()
        metrics.resource.attributes.add(key="shipper.life.id").value.string_value = "mine"
        metrics.resource.attributes.add(key="service.name").value.string_value = "cart"
        metric = metrics.scope_metrics.add().metrics.add(name="n")
        metric.gauge.data_points.add(as_int=1, time_unix_nano=START_WALL_NS)
        metric.gauge.data_points.add(as_int=2, time_unix_nano=START_WALL_NS)
        with services(tmp_path / "spool") as service:
            async with following(tmp_path / "spool") as run:
                one = service()
                one.begin("metrics")
                one.raw("metrics", one.frame("metrics", 7, message.SerializeToString(), count=2, resource=1))
                one.raw("metrics", one.frame("metrics", 7, b"\x0a\xff", count=2))
                await run.until(lambda: run.sink.records(Signal.METRICS))
                found = ExportMetricsServiceRequest.FromString(run.sink.batches[0].payload)
                attributes = {a.key: a.value.string_value for a in found.resource_metrics[0].resource.attributes}
                assert attributes["service.name"] == "cart"
                assert attributes["shipper.life.id"] == LIFE
                assert attributes["service.version"] == "9.9"  # the host knows: the declaration's guess gives way
                assert attributes["x"] == "1"  # nobody knows better than that guess
                assert "team" not in attributes  # what is stated stands in the request itself
                assert sum(batch.cut.records for batch in run.sink.batches) == 2

    asyncio.run(main())


def test_without_notification_everything_is_found_by_looking(tmp_path: Path) -> None:
    """Where the kernel does not notify, a look each second finds new processes, growth and deaths."""

    async def main() -> None:
        with services(tmp_path / "spool") as service:
            async with following(tmp_path / "spool", notify=False) as run:
                one = service()
                one.log("a")
                await run.second()
                assert await run.bodies(1) == ["a"]
                one.log("b")
                one.die()
                await run.second()
                await run.until(lambda: not one.directory.exists())
                assert run.sink.bodies == ["a", "b"]

    asyncio.run(main())


def test_a_limit_that_nobody_set_is_left_to_the_services(tmp_path: Path) -> None:
    """The default is less where the spool is in memory, so the card names a limit only where the operator does."""

    async def main() -> None:
        root = tmp_path / "spool"
        with services(root):
            async with following(root):
                card = read_card(str(root))
                assert card is not None
                assert card.process_bytes == 0

    asyncio.run(main())
