"""Sending an archive on: every batch under its own key, whatever the destination answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, Exporter, ExporterContext, Limits, Prepared, Request, Signal
from shipper.errors import Rejected, Retryable, TooLarge, Unusable
from shipper.fleet.archive import Archive
from shipper.fleet.records import Selection
from shipper.fleet.replay import Replayed, replay
from shipper.intervals import IntervalSet
from shipper.otlp import decode
from shipper.testing.clock import FakeClock
from shipper.testing.sink import Sink
from shipper_exporters.otlp import OtlpExporter, OtlpSettings
from tests.fleet.archives import LINE, Writer, batch, claims, statement

Answer = Callable[[Request], Accepted]


class Scripted(Exporter):
    """An exporter whose answers are a function of the request; keeps what it accepted."""

    def __init__(self, answer: Answer, limits: Limits) -> None:
        self.name = "scripted"
        self.limits = limits
        self.taken: list[Request] = []
        self._answer = answer

    def prepare(self, request: Request) -> Prepared:
        return Prepared(request.id, request.signal, request, request.raw_bytes)

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        accepted = self._answer(prepared.body)
        self.taken.append(prepared.body)
        return accepted

    @property
    def keys(self) -> list[str]:
        """Keys of the batches that were taken, in order."""
        return [one.key for request in self.taken for one in request.batches]


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    """An archive of two hosts, one of which said farewell; one batch is there twice."""
    writer = Writer(tmp_path)
    writer.put(statement("a", "birth", 1), batch("a", 0, 4), batch("b", 0, 3))
    writer.put(batch("a", 4, 8), batch("a", 0, 4), statement("a", "farewell", 2, [claims(8)], ends_life=True))
    return writer


def run(
    writer: Writer,
    answer: Answer = lambda _: Accepted(),
    *,
    wanted: Selection | None = None,
    limits: Limits | None = None,
) -> tuple[Replayed, Scripted]:
    """Replay it all; nobody waits for the time to pass."""
    exporter = Scripted(answer, limits or Limits(max_in_flight=1))

    async def scenario() -> Replayed:
        clock = FakeClock()
        async with clock.autojump():
            return await replay(Archive.open(str(writer.root)), exporter, wanted or Selection(), clock, give_up=60)

    return asyncio.run(scenario()), exporter


def lines(exporter: Scripted) -> list[str]:
    """Bodies of the data records taken."""
    found = [
        str(record.body).strip()
        for request in exporter.taken
        for one in request.batches
        for record in decode.records(request.signal, one.payload)
    ]
    return [body for body in found if not body.startswith("{")]


ALL_KEYS = [
    "life-a/f1/0-80",
    "life-a/f1/80-160",
    "life-a/life/1000-2000",
    "life-a/life/2000-3000",
    "life-b/f1/0-60",
]


def test_everything_goes_once_under_its_own_key(writer: Writer) -> None:
    """Each batch is sent once with its life, stream and range, accounts and farewells too, one life to a request."""
    done, exporter = run(writer)
    assert done.ok
    assert sorted(exporter.keys) == ALL_KEYS
    assert (done.records, done.requests) == (13, 2)
    assert all(len({one.life for one in request.batches}) == 1 for request in exporter.taken)


def test_requests_keep_the_exporters_limits(writer: Writer) -> None:
    """No request has more batches or bytes than the exporter wants, unless a single batch has."""
    _, exporter = run(writer, limits=Limits(max_in_flight=2, max_batches=2))
    assert max(len(request.batches) for request in exporter.taken) == 2
    _, exporter = run(writer, limits=Limits(max_in_flight=2, max_raw_bytes=1))
    assert {len(request.batches) for request in exporter.taken} == {1}
    assert sorted(exporter.keys) == ALL_KEYS


def test_a_gateway_gets_the_keys_and_a_second_replay_brings_the_same(writer: Writer) -> None:
    """Through the real exporter each request names life and batches, and a second replay repeats exactly the same keys."""

    async def scenario() -> None:
        clock = FakeClock()
        async with Sink(clock=clock) as sink:
            context = ExporterContext(clock, "replayer", 1, "test")
            exporter = OtlpExporter("to", OtlpSettings(endpoint=sink.url), context)
            await exporter.start()
            archive = Archive.open(str(writer.root))
            seen = []
            for _ in range(2):
                before = len(sink.kept())
                assert (await replay(archive, exporter, Selection(), clock)).ok
                seen.append(sorted(key for request in sink.kept()[before:] for key in request.batches))
            await exporter.aclose()
            assert seen[0] == seen[1]
            assert len(seen[0]) == len(ALL_KEYS)

    asyncio.run(scenario())


def test_selection_sends_part_under_another_key(writer: Writer) -> None:
    """Of a batch that is wanted in part only that part goes, not under the key of the whole; whole ones keep theirs."""
    mixed = batch("a", 20, 22)
    payload = mixed.payload + batch("a", 30, 33, release="2.0").payload
    writer.put(replace(mixed, payload=payload, cut=replace(mixed.cut, records=5)))
    done, exporter = run(writer, wanted=Selection(host="a", release="2.0"))
    (key,) = exporter.keys
    assert re.fullmatch(r"life-a/f1\.part-[0-9a-f]{8}/400-440", key)
    assert run(writer, wanted=Selection(host="a", release="1.0"))[1].keys[-1] != key
    assert (done.records, lines(exporter)) == (3, ["a line 30", "a line 31", "a line 32"])
    assert run(writer, wanted=Selection(host="b"))[1].keys == ["life-b/f1/0-60"]


def test_trouble_that_passes_is_waited_out(writer: Writer) -> None:
    """Retryable answers are tried again with the same request; nothing is sent twice that was taken."""
    left = [3]

    def answer(request: Request) -> Accepted:
        if left[0]:
            left[0] -= 1
            raise Retryable("busy", wait=7.0)
        return Accepted()

    done, exporter = run(writer, answer)
    assert done.ok
    assert sorted(exporter.keys) == ALL_KEYS


@pytest.mark.parametrize("error", [Retryable("down"), Unusable("401")])
def test_a_destination_that_takes_nothing_ends_it(writer: Writer, error: Exception) -> None:
    """An outage longer than the patience, or a destination set up wrongly, ends the replay with that error."""

    def answer(request: Request) -> Accepted:
        raise error

    with pytest.raises(type(error), match=str(error)):
        run(writer, answer)


def test_too_large_is_halved(writer: Writer) -> None:
    """Requests too large are halved down to single records; the parts tile the ranges, the same in every replay."""

    def answer(request: Request) -> Accepted:
        if sum(one.cut.records for one in request.batches) > 1:
            raise TooLarge("413")
        return Accepted()

    done, exporter = run(writer, answer)
    assert done.ok
    assert done.records == 13
    assert sorted(lines(exporter)) == sorted([f"a line {n}" for n in range(8)] + [f"b line {n}" for n in range(3)])
    ranges = IntervalSet()
    parts = [one for request in exporter.taken for one in request.batches if (one.life, one.stream) == ("life-a", "f1")]
    for one in parts:
        assert not ranges.overlaps(one.cut.start, one.cut.end)
        ranges.add(one.cut.start, one.cut.end)
    assert ranges.pairs() == [(0, 8 * LINE)]
    assert run(writer, answer)[1].keys == exporter.keys


def test_refused_records_are_isolated_and_named(writer: Writer) -> None:
    """One record that is refused for good does not hold the others; it is counted and named, and the rest is sent."""

    def answer(request: Request) -> Accepted:
        if any(b"a line 5" in one.payload for one in request.batches):
            raise Rejected("400 bad record")
        return Accepted()

    done, exporter = run(writer, answer)
    assert not done.ok
    assert (done.records, done.refused) == (12, 1)
    assert "a line 5" not in lines(exporter)
    assert "400 bad record" in done.refusals[0]


def test_partial_success_is_counted(writer: Writer) -> None:
    """Records rejected in a partial success are not counted as sent."""
    done, _ = run(writer, lambda _: Accepted(rejected=1, message="too old"), limits=Limits(max_in_flight=1))
    assert (done.ok, done.records, done.rejected) == (False, 11, 2)


def test_unlisted_objects_go_too(writer: Writer) -> None:
    """Objects without a range list are sent under a key made of their name, the same in every replay."""
    for path in writer.range_lists():
        path.unlink()
    done, exporter = run(writer)
    assert done.records == 13 + 4  # nobody can tell what in them is there twice
    assert run(writer)[1].keys == exporter.keys


def test_damage_is_reported(writer: Writer) -> None:
    """What the archive lost cannot be sent; it is named, and the rest goes."""
    writer.objects()[0].unlink()
    done, exporter = run(writer)
    assert not done.ok
    assert len(done.damage) == 2  # the birth and the lines of b; those of a lie in the other object, too
    assert "life-a/f1/0-80" in exporter.keys


def test_signals_keep_apart(writer: Writer) -> None:
    """A request is of one signal."""
    assert {request.signal for request in run(writer)[1].taken} == {Signal.LOGS}
    assert not run(writer, wanted=Selection(signal=Signal.TRACES))[1].taken
