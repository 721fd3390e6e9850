"""Routes through pumps: each destination gets its share of a stream, and the books of each say what the rest was."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shipper.clock import Deadline
from shipper.contracts import Accepted, Batch, Limits, Prepared, Signal, Stream, StreamKind
from shipper.errors import Rejected, Retryable, TooLarge
from shipper.otlp.decode import records
from shipper.otlp.encode import export_logs, log_record, resource, scope
from shipper.pump.route import Route, Unrouted
from shipper.pump.route_rules import Condition, Pattern, Rule
from tests.pump.pumpkit import Host, MemoryStream, ScriptedExporter

LOGS = frozenset({Signal.LOGS})
SEVERITIES = {b"error": 17, b"warn": 13, b"info": 9}


class OtlpStream(MemoryStream):
    """Lines whose first word is the severity and whose second is an attribute, as OTLP."""

    def _batch(self, start: int, end: int, observed_ns: int) -> Batch:
        batch = super()._batch(start, end, observed_ns)
        made = [_record(line) for line in batch.payload.splitlines()]
        payload = export_logs(resource({"service.name": "shop"}), scope("app"), made)
        return replace(batch, payload=payload)


def _record(line: bytes) -> bytes:
    severity, who = line.split()[:2]
    return log_record(
        time_ns=1, observed_ns=1, body=line.decode(), severity=SEVERITIES[severity], attributes={"who": who.decode()}
    )


def at_least(severity: int) -> Condition:
    return Condition(severity=(severity, 24))


def route(*any_of: Condition) -> Route:
    return Route([Rule(LOGS, any_of or (Condition(),))])


def bodies(exporter: ScriptedExporter) -> list[str]:
    """What was accepted, in order of arrival."""
    return [str(record.body) for got in exporter.got for record in records(Signal.LOGS, got.payload)]


def write(host: Host, stream: MemoryStream, *words: str) -> list[str]:
    lines = [f"{word} n{number}" for number, word in enumerate(words)]
    host.write(stream, "".join(f"{line}\n" for line in lines).encode())
    return lines


async def refusing(prepared: Prepared, deadline: Deadline) -> Accepted:
    """Take no request with a warning in it, and say that it is one of its records."""
    if any(b"warn" in got.payload for got in prepared.body):
        raise Rejected("HTTP 400")
    return Accepted()


async def small(prepared: Prepared, deadline: Deadline) -> Accepted:
    """Take three records at a time."""
    if sum(len(list(records(Signal.LOGS, got.payload))) for got in prepared.body) > 3:
        raise TooLarge("HTTP 413")
    return Accepted()


async def down(prepared: Prepared, deadline: Deadline) -> Accepted:
    """Take nothing."""
    raise Retryable("connection refused")


def test_each_gets_what_its_route_takes_and_one_without_gets_everything(tmp_path: Path) -> None:
    """The books of each say how many of the stream's records were not for it; what all are done with is let go."""

    async def main() -> None:
        host = Host(tmp_path)
        every, errors, of_a = (ScriptedExporter(name) for name in ("every", "errors", "of-a"))
        pumps = [
            host.pump(every),
            host.pump(errors, route=route(at_least(17))),
            host.pump(of_a, route=route(Condition(attributes=(("who", Pattern(["n1"])),)), at_least(17))),
        ]
        stream = host.add(OtlpStream("one"))
        life = host.add(MemoryStream("life", b"born\n", kind=StreamKind.LIFE))
        async with host.running(*pumps):
            lines = write(host, stream, "info", "warn", "error", "info")
            for pump in pumps:
                assert await host.drained(pump, include_account=True)
        told = [got for got in errors.got if got.key.split("/")[1] == "life"]
        assert [got.payload for got in told] == [b"born\n"], "what tells of a life is never routed away"
        for exporter in (every, errors, of_a):
            exporter.got = [got for got in exporter.got if got.key.split("/")[1] != "life"]
        assert bodies(every) == lines
        assert bodies(errors) == [lines[2]]
        assert bodies(of_a) == [lines[1], lines[2]]
        figures = host.ledger.ledger.account(["every", "errors", "of-a"])[0].destinations
        counts = {
            name: (each.counts.read, each.counts.acknowledged, each.counts.filtered) for name, each in figures.items()
        }
        assert counts == {"every": (4, 4, 0), "errors": (4, 1, 3), "of-a": (4, 2, 2)}
        assert stream.released_to == stream.frontier()
        assert life.released_to == life.frontier()
        host.close()

    asyncio.run(main())


@pytest.mark.parametrize("keeps", [False, True])
def test_a_range_of_which_nothing_is_taken_goes_only_to_who_proves_ranges(tmp_path: Path, keeps: bool) -> None:
    """Without a record, so that nothing seems to be missing there; to others it would be an empty request."""

    async def main() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.keeps_accounts = keeps
        pump = host.pump(exporter, route=route(at_least(17)))
        stream = host.add(OtlpStream("one"))
        async with host.running(pump):
            write(host, stream, "info", "info")
            assert await host.drained(pump)
        assert bodies(exporter) == []
        assert [got.key.split("/")[-1] for got in exporter.got] == (["0-16"] if keeps else [])
        assert host.ledger.ledger.cursor("dest", "one").acknowledged.covers(0, 16)
        host.close()

    asyncio.run(main())


@pytest.mark.parametrize("answer", [small, refusing])
def test_halves_hold_what_the_route_takes(tmp_path: Path, answer: Any) -> None:
    """A request that is too large, or holds one that is refused, is divided; the books of the parts add up."""

    async def main() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = answer
        pump = host.pump(exporter, route=route(at_least(13)))
        stream = host.add(OtlpStream("one"))
        async with host.running(pump):
            words = ["error", "info"] * 15 + ["warn"] + ["info", "error"] * 15
            lines = write(host, stream, *words)
            assert await host.drained(pump)
        expected = [line for line in lines if not line.startswith(("info", "warn" if answer is refusing else "info"))]
        assert sorted(bodies(exporter)) == sorted(expected)
        counts = host.ledger.ledger.cursor("dest", "one").counts
        assert (counts.read, counts.filtered) == (61, 30)
        assert (counts.acknowledged, counts.quarantined) == ((30, 1) if answer is refusing else (31, 0))
        host.close()

    asyncio.run(main())


def test_a_cut_is_halved_by_its_own_records_until_one_is_left() -> None:
    """The counts of the halves are those of the whole; one record among others' is not looked for any further."""
    stream = OtlpStream("one", b"".join(b"%s n%d\n" % (word, at) for at, word in enumerate([b"error", b"info"] * 4)))
    view = route(at_least(17)).view(stream)
    batch = view.cut(0, 0, 1000, 1)
    assert batch is not None
    halves = view.halve(batch.cut)
    assert halves is not None
    assert [(half.records, half.filtered) for half in halves] == [(3, 2), (1, 2)]
    single = replace(batch.cut, start=0, end=stream.data.find(b"\n", 10) + 1)
    assert view.reread(single).cut.records == 1
    assert view.halve(view.reread(single).cut) is None


def test_what_was_in_flight_is_sent_again_as_it_was(tmp_path: Path) -> None:
    """After a kill the same bytes go under the same key; and where the route is another now, the books follow it."""

    async def main() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.answer = down
        pump = host.pump(exporter, route=route(at_least(17)), shaping="a")
        stream = host.add(OtlpStream("one"))
        async with host.running(pump):
            lines = write(host, stream, "info", "warn", "error")
            await host.clock.run(5)
        sent = exporter.attempts[0]
        for shaping, least, expected in (("a", 17, lines[2:]), ("b", 13, lines[1:])):
            host.new_run()
            later = ScriptedExporter()
            later.answer = down if shaping == "a" else ScriptedExporter().answer
            pump = host.pump(later, route=route(at_least(least)), shaping=shaping)
            host.hub.add(stream)
            async with host.running(pump):
                await host.clock.run(20)
            first = later.attempts[0]
            assert (first.body[0].key, first.body[0].payload == sent.body[0].payload) == (
                sent.body[0].key,
                shaping == "a",
            )
            assert [str(one.body) for one in records(Signal.LOGS, first.body[0].payload)] == expected
        counts = host.ledger.ledger.cursor("dest", "one").counts
        assert (counts.read, counts.acknowledged, counts.filtered) == (3, 2, 1)
        host.close()

    asyncio.run(main())


def test_a_signal_that_no_route_is_about_is_not_even_read(tmp_path: Path) -> None:
    """Of such streams nothing is owed; where nobody else gets them, they are let go, and that is counted."""

    async def main() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        pump = host.pump(exporter, route=route())
        spans = host.add(MemoryStream("spans", b"span\n", signal=Signal.TRACES))
        async with host.running(pump):
            host.write(spans, b"more\n")
            assert await host.drained(pump)
        assert spans.cuts == 0
        assert spans.released_to == spans.frontier()
        assert pump.signals == LOGS
        assert host.metrics.registry.get_sample_value("shipper_not_taken_bytes_total", {"signal": "traces"}) == 10
        host.close()

    asyncio.run(main())


def test_what_no_route_takes_is_counted_once(tmp_path: Path) -> None:
    """However many destinations look at it, and also when it is cut again."""

    async def main() -> None:
        host = Host(tmp_path)
        counted: list[tuple[str, int]] = []

        def count(stream: Stream, left: int) -> None:
            counted.append((stream.name, left))

        errors, of_a = route(at_least(17)), route(Condition(attributes=(("who", Pattern(["n1"])),)))
        errors.unrouted[Signal.LOGS] = Unrouted([*errors.rules, *of_a.rules], count)
        pumps = [host.pump(ScriptedExporter("a"), route=errors), host.pump(ScriptedExporter("b"), route=of_a)]
        stream = host.add(OtlpStream("one"))
        async with host.running(*pumps):
            write(host, stream, "info", "warn", "error", "info")
            for pump in pumps:
                assert await host.drained(pump)
        assert counted == [("/logs/one", 2)]
        host.close()

    asyncio.run(main())


def test_bytes_that_nobody_understands_go_to_everybody(tmp_path: Path) -> None:
    """A destination that cannot use them says so, and they are set aside; leaving them out would lose them unseen."""

    async def main() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        pump = host.pump(exporter, route=route(at_least(17)))
        stream = host.add(MemoryStream("one", b"\x0a\xff\xff\n"))
        async with host.running(pump):
            assert await host.drained(pump)
        assert [got.payload for got in exporter.got] == [bytes(stream.data)]
        host.close()

    asyncio.run(main())


def test_requests_stay_within_limits(tmp_path: Path) -> None:
    """Where most records are for others the destination still gets full requests, and not one for each range."""

    async def main() -> None:
        host = Host(tmp_path)
        exporter = ScriptedExporter()
        exporter.limits = Limits(max_raw_bytes=4000, max_batches=8)
        pump = host.pump(exporter, route=route(at_least(17)), batch_bytes=1000)
        stream = host.add(OtlpStream("one"))
        async with host.running(pump):
            words: Sequence[str] = (["info"] * 19 + ["error"]) * 200
            write(host, stream, *words)
            assert await host.drained(pump)
        assert len(bodies(exporter)) == 200
        assert len(exporter.attempts) <= 10
        host.close()

    asyncio.run(main())
