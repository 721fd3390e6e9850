"""Requests that only a log tells of: counted once over kills, in the book of all requests, and not besides spans."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.errors import LedgerFull, RangeGone
from shipper.events import Reporter
from shipper.ledger import LedgerThread
from shipper.measure.counts import Bounds
from shipper.measure.log_lines import Names, line_format
from shipper.measure.log_requests import LogRequests, LogRule
from shipper.measure.requests import RequestCounter
from shipper.measure.samples import of_book
from shipper.measure.twofold import PATIENCE
from shipper.testing.clock import FakeClock
from tests.measure.measurekit import HOST, SpanFile, count_all, counter_on, ledger_at, points

OK, BAD, NOISE = "status=200 took=0.1\n", "status=500 took=3\n", "something else\n"


class TextFile:
    """A log as a source of files has it."""

    def __init__(self, name: str = "/var/log/app.log", id: str = "file-1") -> None:
        self.id, self.name, self.start = id, name, 0
        self.data = b""
        self.measured_to = 0
        self.gone_below = 0
        self.closing = False

    def write(self, *lines: str) -> None:
        self.data += "".join(lines).encode()

    def text(self, at: int, limit: int) -> tuple[bytes, int]:
        if at < self.gone_below:
            raise RangeGone(self.id, at, self.gone_below, "gone")
        data = self.data[at : at + limit]
        end = data.rfind(b"\n") + 1
        if not end and self.closing:
            end = len(data)
        return data[:end], at + end

    def measured(self, below: int) -> None:
        assert below >= self.measured_to
        self.measured_to = below


def rules(*, besides_spans: bool = False, **attributes: str) -> list[LogRule]:
    format = line_format(r"status=(?P<status>\d+)(?: took=(?P<duration>[\d.]+))?(?: at=(?P<route>\S+))?", Names())
    return [LogRule(lambda path: path.endswith(".log"), format, lambda path: attributes, besides_spans)]


def numbers(counter: RequestCounter) -> dict[str, tuple[int, int]]:
    """Requests and errors by service."""
    found: dict[str, tuple[int, int]] = {}
    for key, line in counter.book.lines.items():
        requests, errors = found.get(key.who.service, (0, 0))
        found[key.who.service] = requests + line.requests, errors + line.errors
    return found


def in_ledger(tmp_path: Path, work: Any) -> None:
    async def main() -> None:
        ledger = ledger_at(tmp_path / "ledger.db")
        try:
            await work(ledger, FakeClock())
        finally:
            await ledger.aclose()

    asyncio.run(main())


def test_only_files_of_a_rule_are_read(tmp_path: Path) -> None:
    """Any other log is no business of the counter, and nothing of it is held back."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        counter = counter_on(ledger, clock)
        logs = LogRequests(rules(), counter, Reporter(clock))
        other, file = TextFile("/var/log/app.txt", "other"), TextFile()
        assert not logs.wants(other.name)
        assert logs.wants(file.name)
        for each in (other, file):
            each.write(OK, BAD, NOISE)
            logs.add(each)
            logs.ready(each)
        await count_all(counter)
        assert numbers(counter) == {"host": (2, 1)}
        assert (file.measured_to, other.measured_to) == (len(file.data), 0)

    in_ledger(tmp_path, work)


def test_a_service_is_there_at_zero_before_its_first_request(tmp_path: Path) -> None:
    """An empty log is enough: growth is seen from the first request on."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        counter = counter_on(ledger, clock)
        logs = LogRequests(rules(**{"service.name": "shop"}), counter, Reporter(clock))
        file = TextFile()
        logs.add(file)
        await count_all(counter)
        assert numbers(counter) == {"shop": (0, 0)}
        (line,) = counter.book.lines
        assert line.who.generation == HOST["shipper.generation"]

    in_ledger(tmp_path, work)


def test_half_a_line_is_counted_when_it_is_whole(tmp_path: Path) -> None:
    """What stands there without an end waits for it; in a drain it counts as it is."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        counter = counter_on(ledger, clock)
        logs = LogRequests(rules(), counter, Reporter(clock))
        file = TextFile()
        file.write(OK, "status=50")
        logs.add(file)
        await count_all(counter)
        assert numbers(counter) == {"host": (1, 0)}
        file.write("0\n", "status=500")
        logs.ready(file)
        await count_all(counter)
        assert numbers(counter) == {"host": (2, 1)}
        file.closing = True
        logs.ready(file)
        await counter.turn(last=True)
        assert numbers(counter) == {"host": (3, 2)}

    in_ledger(tmp_path, work)


def test_requests_without_a_duration_are_in_no_bucket(tmp_path: Path) -> None:
    """They are requests, but nobody knows whether they kept to the objective."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        counter = counter_on(ledger, clock)
        logs = LogRequests(rules(), counter, Reporter(clock))
        file = TextFile()
        file.write("status=200\n", "status=500\n", "status=200 took=0.1\n")
        logs.add(file)
        await count_all(counter)
        again = counter_on(ledger, clock)
        await again.open()
        for each in (counter, again):
            found = points(of_book(each.book, HOST, "h1", 5).payload)
            values = {(point.name, point.labels.get("outcome")): point.value for point in found}
            assert (values["shipper.requests", "ok"], values["shipper.requests", "error"]) == (2, 1)
            assert values["shipper.request.duration", None] == 1

    in_ledger(tmp_path, work)


def test_routes_are_kept_apart_only_where_asked_for(tmp_path: Path) -> None:
    """Each is ten series."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        for on, expected in ((False, {""}), (True, {"", "/a", "/b"})):
            counter = counter_on(ledger, clock, routes=on, bounds=Bounds((10**9,), 6, 5))
            logs = LogRequests(rules(), counter, Reporter(clock))
            file = TextFile(id=f"file-{on}")
            file.write("status=200 at=/a\n", "status=200 at=/b\n")
            logs.add(file)
            await count_all(counter)
            assert {key.route for key in counter.book.lines} == expected

    in_ledger(tmp_path, work)


@pytest.mark.parametrize(("besides", "requests"), [(False, 2), (True, 6)])
def test_a_service_that_says_it_twice_is_counted_once(tmp_path: Path, besides: bool, requests: int) -> None:
    """Where spans of requests come, lines are passed over, and that is said once; unless both are asked for."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        report = Reporter(clock)
        counter = counter_on(ledger, clock, report=report)
        logs = LogRequests(rules(besides_spans=besides, **{"service.name": "shop"}), counter, report)
        spans, file = SpanFile(), TextFile()
        spans.declare(1, service="shop", generation="g0", release="r0")
        file.write(OK, OK)
        logs.add(file)
        counter.add(spans)
        await count_all(counter)
        if not besides:  # it may yet tell of these requests by spans
            assert numbers(counter) == {"shop": (0, 0)}
        for _ in range(2):
            spans.span()
        counter.ready(spans)
        file.write(BAD, BAD)
        logs.ready(file)
        await count_all(counter)
        assert numbers(counter)["shop"] == (requests, 2 if besides else 0)
        assert file.measured_to == len(file.data)
        # and in the next run, from the first line on
        second = counter_on(ledger, clock)
        await second.open()
        logs = LogRequests(rules(besides_spans=besides, **{"service.name": "shop"}), second, report)
        file.write(BAD)
        logs.add(file)
        await count_all(second)
        assert numbers(second)["shop"][0] == requests + besides

    in_ledger(tmp_path, work)


def test_a_service_that_hands_over_other_things_is_counted_from_its_log_after_a_while(tmp_path: Path) -> None:
    """Lines wait for the first span of a request, but not for ever; and not at all in a drain."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        counter = counter_on(ledger, clock)
        logs = LogRequests(rules(**{"service.name": "shop"}), counter, Reporter(clock))
        spans, file = SpanFile(), TextFile()
        spans.declare(1, service="shop")
        spans.span(kind=3)
        file.write(OK, BAD)
        counter.add(spans)
        logs.add(file)
        await count_all(counter)
        assert numbers(counter)["shop"] == (0, 0)
        clock.advance(PATIENCE)
        waiting = asyncio.create_task(counter.wait())  # it is looked at again though nothing happens
        await clock.run(2)
        await waiting
        await count_all(counter)
        assert sum(found[0] for found in numbers(counter).values()) == 2
        hurried = counter_on(ledger, clock)
        logs = LogRequests(rules(**{"service.name": "other"}), hurried, Reporter(clock))
        spans, file = SpanFile("s2"), TextFile(id="file-2")
        spans.declare(1, service="other")
        file.write(OK)
        hurried.add(spans)
        logs.add(file)
        await hurried.turn(last=True)
        assert numbers(hurried)["other"] == (1, 0)

    in_ledger(tmp_path, work)


def test_what_was_destroyed_is_passed_over(tmp_path: Path) -> None:
    """Whoever owns the file says so; counting goes on behind it."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        counter = counter_on(ledger, clock)
        logs = LogRequests(rules(), counter, Reporter(clock))
        file = TextFile()
        file.write(OK, OK, BAD)
        file.gone_below = 2 * len(OK)
        logs.add(file)
        await count_all(counter)
        assert numbers(counter) == {"host": (1, 1)}

    in_ledger(tmp_path, work)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.one_of(
            st.sampled_from([OK, BAD, NOISE, "status=2", "00\n"]),
            st.sampled_from(["count", "kill", "full", "kill in commit"]),
        ),
        max_size=25,
    )
)
def test_every_line_is_counted_once_whoever_is_killed(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    """Any order of lines, looks, kills and full disks ends with the count of the lines."""

    async def work(ledger: LedgerThread, clock: FakeClock) -> None:
        file = TextFile()

        class Trouble:
            failing, dying = False, False

            async def call(self, fn: Any, *args: Any) -> Any:
                if fn.__name__ == "_store" and self.failing:
                    raise LedgerFull("no room")
                result = await ledger.call(fn, *args)
                if fn.__name__ == "_store" and self.dying:
                    raise KeyboardInterrupt  # committed, but the process does not live to know
                return result

        async def begin() -> tuple[RequestCounter, Trouble]:
            trouble = Trouble()
            counter = counter_on(trouble, clock)
            await counter.open()
            file.measured_to = 0
            LogRequests(rules(), counter, Reporter(clock)).add(file)
            return counter, trouble

        counter, trouble = await begin()
        for step in steps:
            if step == "kill":
                counter, trouble = await begin()
            elif step in ("count", "full", "kill in commit"):
                trouble.failing, trouble.dying = step == "full", step == "kill in commit"
                try:
                    await counter.turn()
                except LedgerFull:
                    pass
                except KeyboardInterrupt:
                    counter, trouble = await begin()
                trouble.failing = trouble.dying = False
            else:
                file.write(step)
                counter.ready(file)
        file.closing = True
        counter.ready(file)
        while await counter.turn(last=True):
            pass
        told = [first for line in file.data.decode().split("\n") if (first := re.search(r"status=(\d+)", line))]
        expected = (len(told), sum(int(one[1]) >= 500 for one in told))
        assert numbers(counter).get("host", (0, 0)) == expected
        assert file.measured_to == len(file.data)

    in_ledger(tmp_path_factory.mktemp("ledger"), work)
