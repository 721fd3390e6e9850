"""What becomes of samples that are refused: those that are there already are not counted, those that are lost are, exactly."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.contracts import Accepted
from shipper.errors import Rejected, Retryable, TooLarge
from shipper.otlp.wire import double_field, field, varint_field
from shipper_exporters._prometheus.answers import Refused
from shipper_exporters._prometheus.remote_write import Part, cut
from shipper_exporters._prometheus.remote_write_journey import HOPELESS, Journey, WriteBody
from shipper_exporters._prometheus.series import Series
from tests.exporters.remote_write import series_of

OLD = Refused("out of order sample", old=True, partial=False)
BAD = Refused("label value too long", old=False, partial=False)


class Receiver:
    """Takes requests as a Prometheus does: all of one or nothing, each series only forward, the same last sample again."""

    def __init__(self) -> None:
        self.newest: dict[str, tuple[int, int]] = {}
        self.held: set[tuple[str, int]] = set()
        self.script: list[str] = []
        self.bad: set[str] = set()
        self.requests = 0

    async def post(self, part: Part) -> Refused | None:
        data = part.data
        self.requests += 1
        what = self.script.pop(0) if self.script else "answer"
        if what == "unsent":
            raise Retryable("the connection broke", unsent=True)
        if what == "dropped":
            raise Retryable("no answer")
        if what == "too large":
            raise TooLarge("answered 413")
        refused = self._write(data)
        if what == "lost":
            raise Retryable("no answer")
        if what == "repeated":  # within one call: nobody knows what the first answer was
            refused = self._write(data)
            return None if refused is None else replace(refused, repeated=True)
        return refused

    def _write(self, data: bytes) -> Refused | None:
        samples = [(one.labels[0][1], at, value) for one in series_of(data) for at, value in one.samples]
        for name, at, value in samples:
            newest, had = self.newest.get(name, (-1, 0))
            if name in self.bad:
                return BAD
            if at < newest or (at == newest and value != had):
                return OLD
        for name, at, value in samples:
            self.newest[name] = (at, value)
            self.held.add((name, at))
        return None


def labels(name: str) -> bytes:
    return field(1, field(1, b"__name__") + field(2, name.encode()))


def body(samples: Sequence[tuple[str, int]], most: int = 100) -> WriteBody:
    """A request of samples by series and time; each is a data point of its own."""
    made = []
    for point, (name, at) in enumerate(samples):
        value = field(2, double_field(1, 2.0) + varint_field(2, at))
        made.append((at, labels(name), value, point, None))
    parts, _ = cut(made, most)
    return WriteBody(tuple(parts), len(samples), {})


async def travel(receiver: Receiver, series: Series, one: WriteBody, *, doubt: bool = False) -> Accepted:
    """Send until there is an answer, as a pump does."""
    journey = Journey(one, series, doubt=doubt, there=set())
    while True:
        try:
            return await journey.go(receiver.post)
        except Retryable:
            continue


def test_late_samples_are_lost_and_the_rest_arrives() -> None:
    """Samples that are older than what is there are counted, and what is refused with them gets through."""
    receiver, series = Receiver(), Series(100)
    asyncio.run(travel(receiver, series, body([("a", 50)])))
    answer = asyncio.run(travel(receiver, series, body([("a", 10), ("a", 20), ("b", 30), ("a", 60), ("c", 60)])))
    assert answer == Accepted(2, "2 x out of order sample")
    assert receiver.held == {("a", 50), ("b", 30), ("a", 60), ("c", 60)}


def test_what_is_there_is_not_lost() -> None:
    """After an answer got lost, what the resend is refused for is there already, and nothing is counted."""
    receiver, series = Receiver(), Series(100)
    receiver.script = ["lost"]
    answer = asyncio.run(travel(receiver, series, body([("a", 10), ("a", 20), ("b", 20)])))
    assert answer == Accepted()
    assert len(receiver.held) == 3


def test_a_request_of_an_earlier_run() -> None:
    """What an earlier run may have sent is taken as there when it is refused as old."""
    receiver = Receiver()
    asyncio.run(travel(receiver, Series(100), body([("a", 10), ("a", 20)])))
    assert asyncio.run(travel(receiver, Series(100), body([("a", 10), ("a", 20)]), doubt=True)) == Accepted()


def test_nothing_that_was_taken_is_sent_again() -> None:
    """An attempt that fails goes on with the part that failed."""
    receiver, series = Receiver(), Series(100)
    receiver.script = ["answer", "unsent"]
    answer = asyncio.run(travel(receiver, series, body([("a", 1), ("a", 2), ("a", 3)], most=1)))
    assert answer == Accepted()
    assert receiver.requests == 4


def test_unsent_is_said_of_the_whole() -> None:
    """That nothing of a request got there is only said when no part of it did."""
    receiver, series = Receiver(), Series(100)
    receiver.script = ["unsent", "answer", "unsent"]
    journey = Journey(body([("a", 1), ("a", 2)], most=1), series, doubt=False, there=set())
    said = []
    for _ in range(2):
        with pytest.raises(Retryable) as caught:
            asyncio.run(journey.go(receiver.post))
        said.append(caught.value.unsent)
    assert said == [True, False]


def test_one_bad_series_stops_nothing() -> None:
    """Content that is refused is counted, and all others of its request get through."""
    receiver, series = Receiver(), Series(100)
    receiver.bad = {"bad"}
    names = [f"s{n}" for n in range(30)] + ["bad"]
    answer = asyncio.run(travel(receiver, series, body([(name, 10) for name in names])))
    assert answer == Accepted(1, "1 x label value too long")
    assert len(receiver.held) == 30
    assert receiver.requests < 15


def test_all_bad() -> None:
    """A request of which nothing is taken, for its content, is refused as a whole, after a bounded number of requests."""
    receiver, series = Receiver(), Series(1000)
    receiver.bad = {f"s{n}" for n in range(500)}
    with pytest.raises(Rejected, match="too long"):
        asyncio.run(travel(receiver, series, body([(name, 10) for name in sorted(receiver.bad)], most=500)))
    assert receiver.requests < 3 * HOPELESS


def test_too_large_after_a_part() -> None:
    """What was taken before a later part proved too large is not counted when it comes again in halves."""
    receiver, series = Receiver(), Series(100)
    receiver.script = ["answer", "too large"]
    journey = Journey(body([("a", 1), ("a", 2)], most=1), series, doubt=False, there=set())
    with pytest.raises(TooLarge):
        asyncio.run(journey.go(receiver.post))
    there = {sample[:2] for part in journey.arrived for sample in part.samples}
    receiver.newest["a"] = (2, 0)
    again = Journey(body([("a", 1)]), series, doubt=False, there=there)
    assert asyncio.run(again.go(receiver.post)) == Accepted()


def test_a_receiver_that_stores_the_rest() -> None:
    """One that says it took all others (Mimir) is sent nothing again; of what it refused it names one, so one is counted."""
    series = Series(100)

    async def post(part: Part) -> Refused | None:
        return Refused("err-mimir-sample-out-of-order", old=True, partial=True)

    journey = Journey(body([("a", 1), ("b", 2)]), series, doubt=False, there=set())
    assert asyncio.run(journey.go(post)) == Accepted(1, "1 x err-mimir-sample-out-of-order")


def test_more_series_than_allowed() -> None:
    """Series beyond the bound are counted and not sent; those that were there go on; one that ends makes room."""
    receiver, series = Receiver(), Series(2)
    answer = asyncio.run(travel(receiver, series, body([("a", 1), ("b", 1), ("c", 1), ("c", 2), ("a", 2)])))
    assert answer == Accepted(2, "2 x of a series beyond max_series (2)")
    assert receiver.held == {("a", 1), ("b", 1), ("a", 2)}
    assert len(series) == 2


NAMES = st.sampled_from("ab")
OUTCOMES = st.lists(st.sampled_from(["answer", "lost", "dropped", "unsent", "repeated"]), max_size=8)
REQUESTS = st.lists(st.lists(st.tuples(NAMES, st.integers(1, 12)), min_size=1, max_size=8, unique=True), max_size=4)


@settings(max_examples=120, deadline=None)
@given(REQUESTS, OUTCOMES, st.integers(1, 4))
def test_every_point_is_there_or_counted(requests: list[list[tuple[str, int]]], script: list[str], most: int) -> None:
    """Whatever comes late and whichever answers get lost: what is not there is counted, and what is counted is not there."""
    receiver, series = Receiver(), Series(100)
    receiver.script = script
    sent: set[tuple[str, int]] = set()
    rejected = 0
    for samples in requests:
        fresh = [one for one in samples if one not in sent]
        sent.update(fresh)
        if fresh:
            rejected += asyncio.run(travel(receiver, series, body(fresh, most))).rejected
    assert rejected == len(sent - receiver.held)
