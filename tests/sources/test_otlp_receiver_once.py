"""What a Shipper sends twice is stored once, whatever happens in between."""

import asyncio
import json
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from shipper.contracts import Signal, StreamKind
from shipper.errors import StateError
from shipper.intervals import IntervalSet
from shipper.ledger import Ledger
from shipper.otlp.encode import export_logs, log_record, resource, scope
from shipper.sources.intake import KEPT_NS
from shipper.testing.clock import FakeClock
from tests.sources.receiver_kit import Gateway, gateway, listing, logs


async def send(gw: Gateway, life: str, *batches: tuple[str, int, int, list[str]]) -> int:
    """Post batches (stream, start, end, lines) as one request; the status."""
    bodies = [logs(*lines) for *_, lines in batches]
    items = [f"{s}:{a}-{b}:{len(body)}:{len(lines)}" for (s, a, b, lines), body in zip(batches, bodies, strict=True)]
    return (await gw.post(b"".join(bodies), listing(life, *items))).status


async def known(gw: Gateway, life: str) -> dict[str, list[list[int]]]:
    answer = await gw.post(b"", {}, f"/shipper/v1/lives/{life}/intervals", "GET")
    assert answer.status == 200
    found: dict[str, list[list[int]]] = json.loads(answer.body)["streams"]
    return found


def test_a_repeated_request_is_acknowledged_and_not_stored(tmp_path: Path) -> None:
    """The same range again is answered with success, counted, and in the spool once; another life's is another's."""

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            for life in ("h1", "h1", "h2"):
                assert await send(gw, life, ("f", 0, 8, ["a", "b"])) == 200
            assert gw.lines() == ["a", "b", "a", "b"]
            assert gw.duplicates() == 2
            assert await known(gw, "h1") == {"f": [[0, 8]]}
            assert await known(gw, "stranger") == {}

    asyncio.run(main())


def test_new_batches_are_cut_out_of_a_request_that_repeats_others(tmp_path: Path) -> None:
    """Of a request of several batches only the new ones are stored, with the ranges that say which bytes are whose."""

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            assert await send(gw, "h", ("f", 0, 4, ["a"]), ("g", 0, 9, ["x", "y"])) == 200
            batches = [("f", 0, 4, ["a"]), ("f", 4, 8, ["b"]), ("g", 0, 9, ["x", "y"]), ("h", 0, 3, ["z"])]
            assert await send(gw, "h", *batches) == 200
            assert gw.lines() == ["a", "x", "y", "b", "z"]
            header = gw.headers()[1]
            body = gw.frames()[1].payload
            assert (header.records, header.units) == (2, 2)
            assert [(m.life, m.stream, m.start, m.end, m.records) for m in header.members] == [
                ("h", "f", 4, 8, 1),
                ("h", "h", 0, 3, 1),
            ]
            assert [body[m.offset : m.offset + m.length] for m in header.members] == [logs("b"), logs("z")]
            assert gw.duplicates() == 3
            assert await known(gw, "h") == {"f": [[0, 8]], "g": [[0, 9]], "h": [[0, 3]]}

    asyncio.run(main())


def test_a_partial_overlap_is_stored_and_counted(tmp_path: Path) -> None:
    """A sender that cut anew may repeat records, never lose one: what is not wholly known is kept."""

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            assert await send(gw, "h", ("f", 0, 4, ["a", "b"])) == 200
            assert await send(gw, "h", ("f", 2, 8, ["b", "c"])) == 200
            assert await send(gw, "h", ("f", 1, 7, ["b", "c"])) == 200
            assert gw.lines() == ["a", "b", "b", "c"]
            assert await known(gw, "h") == {"f": [[0, 8]]}
            assert gw.duplicates() == 4

    asyncio.run(main())


def test_metrics_cut_out_of_a_request_are_counted_in_metrics(tmp_path: Path) -> None:
    """The frame says how many metrics can be split and how many data points were received."""
    bodies = []
    for points in (2, 3):
        message = ExportMetricsServiceRequest()
        metric = message.resource_metrics.add().scope_metrics.add().metrics.add(name=f"m{points}")
        for n in range(points):
            metric.gauge.data_points.add(as_int=n)
        bodies.append(message.SerializeToString())

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            first, second = f"m:0-2:{len(bodies[0])}:2", f"m:2-5:{len(bodies[1])}:3"
            assert (await gw.post(bodies[0], listing("h", first), "/v1/metrics")).status == 200
            assert (await gw.post(b"".join(bodies), listing("h", first, second), "/v1/metrics")).status == 200
            batch = gw.batch(Signal.METRICS)
            assert (batch.payload, batch.cut.records) == (b"".join(bodies), 5)
            halves = gw.receiver.streams[Signal.METRICS].halve(batch.cut)
            assert halves is not None
            assert [half.records for half in halves] == [2, 3]

    asyncio.run(main())


@pytest.mark.parametrize("fails", [False, True])
def test_the_same_batch_in_two_requests_at_once_is_stored_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """The second request waits for the first: if that succeeds only the rest is stored, if it fails everything is."""

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            first_in, go_on = asyncio.Event(), asyncio.Event()
            real = gw.spools[Signal.LOGS].durable

            async def held(position: int) -> None:
                is_first = not first_in.is_set()
                first_in.set()
                if is_first:
                    await go_on.wait()
                await real(position)
                if is_first and fails:
                    raise StateError("the disk refused")

            monkeypatch.setattr(gw.spools[Signal.LOGS], "durable", held)
            first = asyncio.create_task(send(gw, "h", ("f", 0, 4, ["a"])))
            await first_in.wait()
            second = asyncio.create_task(send(gw, "h", ("f", 0, 4, ["a"]), ("f", 4, 6, ["b"])))
            assert await send(gw, "h", ("other", 0, 4, ["nobody waits for strangers"])) == 200
            assert len(gw.frames()) == 2
            assert not second.done()
            go_on.set()
            assert await first == (503 if fails else 200)
            assert await second == 200
            assert gw.headers()[-1].records == (2 if fails else 1)
            assert await known(gw, "h") == {"f": [[0, 6]], "other": [[0, 4]]}

    asyncio.run(main())


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_concurrent_resends_in_any_order_store_each_line_once(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """Many requests at once that carry the same batches in different company never store one twice, nor lose one."""
    rng = random.Random(seed)
    batches = [(f"s{n % 3}", n // 3 * 10, n // 3 * 10 + 10, [f"line {n}"]) for n in range(18)]

    async def main() -> None:
        async with gateway(tmp_path_factory.mktemp("gateway")) as gw:
            requests = [rng.sample(batches, rng.randint(1, 6)) for _ in range(25)]
            requests += [[batch] for batch in batches]
            statuses = await asyncio.gather(*(send(gw, "h", *request) for request in requests))
            assert set(statuses) == {200}
            assert sorted(map(str, gw.lines())) == sorted(lines[0] for *_, lines in batches)
            assert await known(gw, "h") == {f"s{n}": [[0, 60]] for n in range(3)}

    asyncio.run(main())


@pytest.mark.parametrize(
    "items",
    [
        ["f:0-8:{n}:2", "g:0-8:0:"],
        ["f:0-8:{n}"],
        ["f:0-8:{n}:1"],
        ["f:0-8:{n}:3"],
        ["f:8-8:{n}:2"],
        ["f:9-8:{n}:2"],
        ["f:-1-8:{n}:2"],
        ["f:0-8:{n}:2:data"],
        ["f:0-8:{n}:2:secret"],
        ["../etc:0-8:{n}:2"],
        ["f:0-8:1:2"],
        ["f:0-8:5:1", "g:0-8:{rest}:1"],
        ["f:0-9999999999999999999:{n}:2"],
        ["f:0-８:{n}:2"],
        [""],
        ["f:0-8:{n}:2", ""],
    ],
)
def test_a_list_that_does_not_fit_the_body_is_refused(tmp_path: Path, items: list[str]) -> None:
    """Counts, lengths and names are checked against the bytes, and nothing is stored."""
    body = logs("a", "b")
    text = [item.format(n=len(body), rest=len(body) - 5) for item in items]

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            answer = await gw.post(body, listing("h", *text))
            assert answer.status == 400
            assert gw.frames() == []
            for life in ("", "../..", "x" * 65):
                assert (await gw.post(body, listing(life, f"f:0-8:{len(body)}:2"))).status == 400
            assert (
                await gw.post(b"{}", {**listing("h", "f:0-8:2:0"), "Content-Type": "application/json"})
            ).status == 400

    asyncio.run(main())


def test_the_index_is_rebuilt_from_the_frames(tmp_path: Path) -> None:
    """A gateway that lost its ledger still knows every batch that is in its spool."""

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            for n in range(5):
                assert await send(gw, "h", ("f", n * 10, n * 10 + 10, [f"{n}"])) == 200
        for path in tmp_path.glob("ledger.db*"):
            path.unlink()
        async with gateway(tmp_path) as gw:
            assert await known(gw, "h") == {"f": [[0, 50]]}
            assert await send(gw, "h", ("f", 20, 30, ["2"])) == 200
            assert len(gw.lines()) == 5

    asyncio.run(main())


def test_frames_that_the_ledger_did_not_hear_of_are_indexed_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is durable is acknowledged even if the ledger cannot be written; nobody stores it twice for that."""

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            assert await send(gw, "h", ("f", 0, 10, ["a"])) == 200

            def refuse(*_: object) -> None:
                raise StateError("disk full")

            with monkeypatch.context() as patched:
                patched.setattr(Ledger, "add_accepted", refuse)
                assert await send(gw, "h", ("f", 10, 20, ["b"])) == 200
                assert await send(gw, "h", ("f", 10, 20, ["b"])) == 200
                assert await known(gw, "h") == {"f": [[0, 20]]}
            assert gw.lines() == ["a", "b"]
            assert await gw.ledger.call(Ledger.accepted, "h", "f") == IntervalSet([(0, 10)])
        async with gateway(tmp_path) as gw:
            assert await gw.ledger.call(Ledger.accepted, "h", "f") == IntervalSet([(0, 20)])
            assert await send(gw, "h", ("f", 20, 30, ["c"])) == 200
            assert await gw.ledger.call(Ledger.spool_indexed, "otlp-logs") == gw.spools[Signal.LOGS].frontier()

    asyncio.run(main())


def test_a_spool_that_was_deleted_never_gives_its_positions_away_again(tmp_path: Path) -> None:
    """Cursors in the ledger stand on positions of the old spool, so the new one goes on behind them."""

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            assert (await gw.post(logs("a"))).status == 200
            used = gw.spools[Signal.LOGS].frontier()
        shutil.rmtree(tmp_path / "logs")
        async with gateway(tmp_path) as gw:
            assert (await gw.post(logs("b"))).status == 200
            assert gw.frames()[0].start == used

    asyncio.run(main())


def farewell(life: str, ends_life: bool) -> bytes:
    body = json.dumps({"version": 1, "life": life, "ends_life": ends_life})
    record = log_record(time_ns=1, observed_ns=1, body=body, event_name="shipper.farewell")
    return export_logs(resource({}), scope("shipper.account"), [record])


def test_accounts_keep_their_kind(tmp_path: Path) -> None:
    """Births, accounts and farewells are spooled as what they are, so that no count includes them."""

    async def main() -> None:
        async with gateway(tmp_path) as gw:
            body = farewell("h", True)
            items = [f"life:0-5:{len(body)}:1:life", f"account:0-5:{len(logs('a'))}:1:account"]
            assert (await gw.post(body + logs("a"), listing("h", *items))).status == 200
            (header,) = gw.headers()
            assert [m.kind for m in header.members] == [StreamKind.LIFE, StreamKind.ACCOUNT]

    asyncio.run(main())


@pytest.mark.parametrize("body", [farewell("h", True), logs("not a farewell"), export_logs(
    resource({}), scope("shipper.account"), [log_record(time_ns=1, observed_ns=1, body="{", event_name="shipper.farewell")]
)])  # fmt: skip
def test_a_life_is_forgotten_a_week_after_its_last_sign(tmp_path: Path, body: bytes) -> None:
    """Intervals are kept for seven days after the farewell or the last word, and then let go."""

    async def main() -> None:
        clock = FakeClock()
        async with gateway(tmp_path, clock=clock) as gw:
            assert await send(gw, "h", ("f", 0, 10, ["a"])) == 200
            clock.advance(3600)
            assert (await gw.post(body, listing("h", f"life:0-5:{len(body)}:1:life"))).status == 200
            running = asyncio.create_task(gw.receiver.run())
            try:
                for seconds, left in ((KEPT_NS / 1e9 - 10, True), (3600.0, False)):
                    await known(gw, "h")  # behind what the receiver asked the ledger before
                    clock.advance(seconds)
                    assert bool(await known(gw, "h")) == left
            finally:
                running.cancel()

    asyncio.run(main())
