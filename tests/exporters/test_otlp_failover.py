"""Of several endpoints the first that is well is used, and the preferred one again once it is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.clock import Deadline
from shipper.contracts import Accepted, ExporterContext
from shipper.errors import ConfigError, DeliveryError, Rejected, Retryable, TooLarge, Unusable
from shipper.intervals import IntervalSet
from shipper.testing import sink as say
from shipper.testing.clock import FakeClock
from shipper.testing.sink import Answer, Sink
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters._otlp.failover import FIRST_REST, LONGEST_REST, Order
from shipper_exporters.otlp import OtlpExporter, OtlpSettings
from tests.exporters.grpc_sink import GrpcSink, says

Scenario = Callable[[OtlpExporter, Sink, Sink, FakeClock], Awaitable[None]]


def with_two(scenario: Scenario, gateway: str = "", **options: Any) -> None:
    async def run() -> None:
        clock = FakeClock()
        async with asyncio.timeout(60), Sink(clock=clock, gateway=gateway) as first, Sink(clock=clock) as second:
            chosen = OtlpSettings(endpoints=[first.url, second.url], **options)
            exporter = OtlpExporter("primary", chosen, ExporterContext(clock, LIFE, 1, "test"))
            await exporter.start()
            try:
                await scenario(exporter, first, second, clock)
            finally:
                await exporter.aclose()

    asyncio.run(run())


async def send(exporter: OtlpExporter, clock: FakeClock, line: str = "line", seconds: float | None = None) -> Accepted:
    deadline = Deadline(clock) if seconds is None else Deadline.after(clock, seconds)
    return await exporter.send(exporter.prepare(log_request(log_batch([line]))), deadline)


def test_the_second_takes_over_and_the_first_comes_back() -> None:
    """While the first is down the second gets everything; after a rest the first is tried, and used again."""

    async def scenario(exporter: OtlpExporter, first: Sink, second: Sink, clock: FakeClock) -> None:
        await send(exporter, clock, "one")
        assert exporter.describe() == f"OTLP/HTTP to {first.url} (1 of 2)"
        await first.go_down()
        await send(exporter, clock, "two")
        await send(exporter, clock, "three")
        assert exporter.describe().startswith(f"OTLP/HTTP to {second.url} (2 of 2; {first.url}/v1/logs: cannot connect")
        await first.come_up()
        await send(exporter, clock, "four")
        clock.advance(FIRST_REST)
        await send(exporter, clock, "five")
        await send(exporter, clock, "six")
        assert exporter.describe() == f"OTLP/HTTP to {first.url} (1 of 2)"
        assert first.lines() == ["one", "five", "six"]
        assert second.lines() == ["two", "three", "four"]

    with_two(scenario)


@pytest.mark.parametrize(
    "answer",
    [
        say.refuse(503),
        say.refuse(503, retry_after="3600"),
        say.html(502),
        say.refuse(401),
        say.redirect("/login"),
        say.html(),
        say.hang_up(),
        say.cut_off(),
    ],
)
def test_a_place_that_is_not_well_is_passed_over(answer: Answer) -> None:
    """Whatever says that the fault lies with the place, and not with the request or the hour, is a reason to go on."""

    async def scenario(exporter: OtlpExporter, first: Sink, second: Sink, clock: FakeClock) -> None:
        first.answer = answer
        assert await send(exporter, clock) == Accepted()
        assert len(second.kept()) == 1

    with_two(scenario)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (say.refuse(429), Retryable),
        (say.refuse(503, retry_after="5"), Retryable),
        (say.refuse(500), Retryable),
        (say.refuse(413), TooLarge),
        (say.refuse(400, "bad"), Rejected),
    ],
)
def test_a_place_that_is_well_is_kept_to(answer: Answer, error: type[DeliveryError]) -> None:
    """Who is only busy, or judges the request, is not left: another would be flooded, or say the same."""

    async def scenario(exporter: OtlpExporter, first: Sink, second: Sink, clock: FakeClock) -> None:
        first.answer = answer
        with pytest.raises(error):
            await send(exporter, clock)
        assert not second.received

    with_two(scenario)


def test_when_none_is_well_the_preferred_ones_fault_is_said() -> None:
    """With every place down what is raised is what the first said, and all were tried."""

    async def scenario(exporter: OtlpExporter, first: Sink, second: Sink, clock: FakeClock) -> None:
        first.answer, second.answer = say.refuse(401, "who?"), say.refuse(503)
        with pytest.raises(Unusable, match="who"):
            await send(exporter, clock)
        assert (len(first.received), len(second.received)) == (1, 1)

    with_two(scenario)


def test_in_a_drain_nothing_is_found_out() -> None:
    """With a deadline what works is kept to: the preferred place is tried again only when there is time."""

    async def scenario(exporter: OtlpExporter, first: Sink, second: Sink, clock: FakeClock) -> None:
        first.answer = say.refuse(503)
        await send(exporter, clock)
        clock.advance(LONGEST_REST)
        await send(exporter, clock, seconds=60)
        assert (len(first.received), len(second.received)) == (1, 2)
        await send(exporter, clock)
        assert (len(first.received), len(second.received)) == (2, 3)

    with_two(scenario)


def test_one_request_finds_out_while_others_go_on() -> None:
    """A preferred place that hangs costs one request its time, and no other."""

    async def scenario(exporter: OtlpExporter, first: Sink, second: Sink, clock: FakeClock) -> None:
        first.answer = say.refuse(503)
        await send(exporter, clock)
        first.answer = say.never()
        clock.advance(FIRST_REST)
        slow = asyncio.create_task(send(exporter, clock, "slow"))
        await first.until_received(2)
        for _ in range(3):
            await send(exporter, clock, "quick")
        assert not slow.done()
        while not slow.done():
            await clock.run(0.5)
        assert await slow == Accepted()
        assert second.lines() == ["line", "quick", "quick", "quick", "slow"]

    with_two(scenario)


def test_a_deadline_ends_the_search() -> None:
    """When the time is over with the first place, the second is not begun with."""

    async def scenario(exporter: OtlpExporter, first: Sink, second: Sink, clock: FakeClock) -> None:
        first.answer = say.never()
        task = asyncio.create_task(send(exporter, clock, seconds=2))
        await first.until_received(1)
        await clock.run(2.5)
        with pytest.raises(Retryable):
            await task
        assert not second.received

    with_two(scenario)


def test_what_any_place_may_have_is_not_called_unsent() -> None:
    """With the first certainly without the request and the second perhaps with it, nothing is certain; with both down it is."""

    async def scenario(exporter: OtlpExporter, first: Sink, second: Sink, clock: FakeClock) -> None:
        await first.go_down()
        second.answer = say.hang_up(keep=True)
        with pytest.raises(Retryable) as caught:
            await send(exporter, clock)
        assert not caught.value.unsent
        await second.go_down()
        with pytest.raises(Retryable) as caught:
            await send(exporter, clock)
        assert caught.value.unsent

    with_two(scenario)


def test_what_a_gateway_is_depends_on_the_place_in_use() -> None:
    """With a gateway first and a stranger second, accounts go where the gateway is in use; what it has counts always."""

    async def scenario(exporter: OtlpExporter, first: Sink, second: Sink, clock: FakeClock) -> None:
        first.intervals[LIFE] = {"file-1": IntervalSet([(0, 10)])}
        assert await exporter.known(LIFE) == first.intervals[LIFE]
        await send(exporter, clock)
        assert exporter.keeps_accounts
        first.answer = say.refuse(503)
        await send(exporter, clock)
        assert not exporter.keeps_accounts
        assert await exporter.known(LIFE) == first.intervals[LIFE]

    with_two(scenario, gateway="0190f0f0-0000-7000-8000-000000000001")


def test_what_several_gateways_have_is_joined() -> None:
    """What either has need not be sent again; one that cannot be asked does not hold up what the other knows."""

    async def scenario(exporter: OtlpExporter, first: Sink, second: Sink, clock: FakeClock) -> None:
        second.gateway = "another"
        first.intervals[LIFE] = {"a": IntervalSet([(0, 10)])}
        second.intervals[LIFE] = {"a": IntervalSet([(5, 20)]), "b": IntervalSet([(1, 2)])}
        assert await exporter.known(LIFE) == {"a": IntervalSet([(0, 20)]), "b": IntervalSet([(1, 2)])}
        await first.go_down()
        assert await exporter.known(LIFE) == second.intervals[LIFE]
        await second.go_down()
        with pytest.raises(Retryable):
            await exporter.known(LIFE)

    with_two(scenario, gateway="one")


def test_grpc_goes_on_too() -> None:
    """Of several endpoints over gRPC the next is used when one says UNAVAILABLE."""

    async def run() -> None:
        clock = FakeClock()
        async with asyncio.timeout(60), GrpcSink() as first, GrpcSink() as second:
            chosen = OtlpSettings(endpoints=[first.url, second.url], protocol="grpc")
            exporter = OtlpExporter("primary", chosen, ExporterContext(clock, LIFE, 1, "test"))
            await exporter.start()
            first.answer = says(14)
            assert await send(exporter, clock) == Accepted()
            assert (len(first.received), len(second.kept())) == (1, 1)
            await exporter.aclose()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("options", "path", "words"),
    [
        ({"endpoints": ["http://a", "http://a/"]}, "endpoints", "the same place twice"),
        ({"endpoints": ["http://a", "b"]}, "endpoints[1]", "is no URL"),
        ({"endpoints": ["http://a"], "endpoint": "http://b"}, "endpoint", "exclude each other"),
        ({"endpoints": ["http://a"], "logs_endpoint": "http://b/v1/logs"}, "logs_endpoint", "exclude each other"),
    ],
)
def test_mistakes_in_several_endpoints(options: dict[str, Any], path: str, words: str) -> None:
    """What several endpoints cannot be is refused with the one that is wrong."""
    with pytest.raises(ConfigError, match=words) as caught:
        OtlpExporter("primary", OtlpSettings(**options), ExporterContext(FakeClock(), LIFE, 1, "test"))
    assert caught.value.path == f"destinations.primary.{path}"


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_order_never_loses_a_place(data: st.DataObject) -> None:
    """Whatever works and fails in whatever order: each request may go to every place, one tries a preferred one, and with
    all well the first is in use again."""
    clock, count = FakeClock(), 3
    order = Order(clock, count)
    under_way: list[int] = []
    for _ in range(data.draw(st.integers(1, 25))):
        match data.draw(st.sampled_from(["send", "end", "wait"])):
            case "send":
                found = order.candidates(find_out=True)
                assert sorted(found) == list(range(count))
                assert found[0] <= order.current
                under_way.append(found[0])
            case "end" if under_way:
                number = under_way.pop(data.draw(st.integers(0, len(under_way) - 1)))
                ended = data.draw(st.sampled_from([order.worked, order.unclear, lambda n: order.failed(n, "down")]))
                ended(number)
            case "wait":
                clock.advance(data.draw(st.sampled_from([1.0, FIRST_REST, LONGEST_REST])))
    for number in under_way:
        order.unclear(number)
    for _ in range(count):
        clock.advance(LONGEST_REST)
        order.worked(order.candidates(find_out=True)[0])
    assert order.current == 0
    assert not order.reason(0)
