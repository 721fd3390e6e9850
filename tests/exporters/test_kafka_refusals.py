"""Kafka: a request of several messages of which some are refused for good, and what is sent of it when it comes again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.clock import Deadline, SystemClock
from shipper.contracts import Accepted, ExporterContext, Prepared, Signal
from shipper.errors import Rejected, Retryable, TooLarge, Unusable
from shipper.otlp.decode import records
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters.kafka import KafkaExporter, KafkaSettings
from tests.exporters.kafka_broker import KafkaBroker, Stored

CLOCK = SystemClock()
INVALID_RECORD, TOO_LARGE, NOT_AUTHORIZED, FULL = 87, 10, 29, 89
LINES = [f"line {number} " + "x" * 200 for number in range(60)]

Scenario = Callable[[KafkaBroker, KafkaExporter], Awaitable[None]]


def with_broker(scenario: Scenario) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), KafkaBroker() as broker:
            given = KafkaSettings(endpoints=[f"127.0.0.1:{broker.port}"], compression="gzip", max_message_bytes=4096)
            one = KafkaExporter("kafka", given, ExporterContext(CLOCK, LIFE, 1, "Shipper/test"))
            try:
                await scenario(broker, one)
            finally:
                await one.aclose()

    asyncio.run(main())


def lines(stored: list[Stored]) -> list[str]:
    return [str(record.body) for message in stored for record in records(Signal.LOGS, message.value)]


def holds(*words: str) -> Callable[[Stored], bool]:
    return lambda message: any(word in line for line in lines([message]) for word in words)


def prepared(one: KafkaExporter, some: list[str] = LINES) -> Prepared:
    made = one.prepare(log_request(log_batch(some)))
    assert len(made.body) > 2
    return made


async def send(one: KafkaExporter, what: Prepared) -> Accepted:
    return await one.send(what, Deadline.after(CLOCK, 30))


def test_one_refused_message_doubles_no_other() -> None:
    """The record that is refused is found within its message and counted; all others are there, once."""

    async def scenario(broker: KafkaBroker, one: KafkaExporter) -> None:
        bad = holds("line 17 ")
        broker.refuses = lambda message: INVALID_RECORD if bad(message) else 0
        answer = await send(one, prepared(one))
        assert answer.rejected == 1
        assert "INVALID_RECORD" in answer.message
        assert sorted(lines(broker.stored)) == sorted(line for line in LINES if "line 17 " not in line)
        divided = [message for message in broker.stored if "shipper-records" in message.headers]
        assert divided
        assert len({message.headers["shipper-part"] for message in divided}) == 1
        assert len({(m.headers["shipper-part"], m.headers.get("shipper-records")) for m in broker.stored}) == len(
            broker.stored
        )

    with_broker(scenario)


def test_messages_that_the_topic_does_not_take_go_in_halves() -> None:
    """A topic may take less than the brokers: what is too large is halved, what is not stays as it was."""

    async def scenario(broker: KafkaBroker, one: KafkaExporter) -> None:
        what = prepared(one)
        small = min(len(message.value) for message in what.body)
        broker.refuses = lambda message: TOO_LARGE if len(message.value) > small else 0
        assert await send(one, what) == Accepted()
        assert Counter(lines(broker.stored)) == Counter(LINES)

    with_broker(scenario)


@pytest.mark.parametrize(("code", "error"), [(INVALID_RECORD, Rejected), (TOO_LARGE, TooLarge)])
def test_while_nothing_is_there_the_caller_divides(code: int, error: type[Exception]) -> None:
    """A request of which all is refused is refused as a whole, so that what is left of it in the end can be set aside."""

    async def scenario(broker: KafkaBroker, one: KafkaExporter) -> None:
        broker.refuses = lambda message: code
        what = prepared(one)
        with pytest.raises(error):
            await send(one, what)
        assert len(broker.offered) == len(what.body)

    with_broker(scenario)


@pytest.mark.parametrize(("code", "error"), [(NOT_AUTHORIZED, Unusable), (FULL, Retryable)])
def test_what_is_there_is_not_sent_again(code: int, error: type[Exception]) -> None:
    """When some messages got there before the rest failed, only the rest is sent the next time, also by a new producer."""

    async def scenario(broker: KafkaBroker, one: KafkaExporter) -> None:
        seen = count()
        broker.refuses = lambda message: code if next(seen) > 2 else 0
        what = prepared(one)
        with pytest.raises(error):
            await send(one, what)
        assert len(broker.stored) == 3
        broker.refuses = lambda message: 0
        assert await send(one, what) == Accepted()
        assert Counter(lines(broker.stored)) == Counter(LINES)

    with_broker(scenario)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10_000))
def test_each_line_is_there_once_or_counted(seed: int) -> None:
    """Whatever is refused, too large or out of order meanwhile: each line is in the topic once, and the others are counted."""
    dice = Random(seed)
    bad = {f"line {number} " for number in range(60) if dice.random() < 0.1}
    most = dice.choice([600, 1500, 100_000])

    async def scenario(broker: KafkaBroker, one: KafkaExporter) -> None:
        def refuses(message: Stored) -> int:
            if len(message.value) > most:
                return TOO_LARGE
            if holds(*bad)(message):
                return INVALID_RECORD
            return FULL if dice.random() < 0.1 else 0

        broker.refuses = refuses
        stack, rejected = [LINES], 0
        while stack:
            some = stack.pop()
            what = one.prepare(log_request(log_batch(some, start=1000 * LINES.index(some[0]))))
            while True:
                try:
                    rejected += (await send(one, what)).rejected
                except Retryable:
                    continue
                except (TooLarge, Rejected):
                    middle = len(some) // 2
                    stack += [some[middle:], some[:middle]] if middle else []
                    rejected += not middle
                break
        assert Counter(lines(broker.stored)) == Counter(line for line in LINES if line.split("x")[0] not in bad)
        assert rejected == len(bad)

    with_broker(scenario)
