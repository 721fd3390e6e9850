"""What becomes of a request on its way: roll-overs, halves, several nodes, credentials, who the destination is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.clock import Deadline
from shipper.contracts import Accepted
from shipper.errors import Retryable, TooLarge, Unusable
from shipper.testing.clock import START_WALL_NS
from tests.exporters.elastic_kit import LOST, STREAM, exporting, request, send, until
from tests.exporters.fake_elastic import FakeElastic, Whole


def test_a_roll_over_after_it_was_broken_off() -> None:
    """What was on its way when the sender gave up waiting is asked about, too."""

    async def scenario() -> None:
        async with FakeElastic() as node, exporting(node) as exporter:
            prepared = exporter.prepare(request("one", "two"))
            deadline = Deadline.after(exporter._context.clock, 600)
            node.answer = Whole(fault="held")
            sending = asyncio.create_task(exporter.send(prepared, deadline))
            await until(lambda: bool(node.seen))
            sending.cancel()
            await asyncio.wait([sending])
            node.answer = None
            node.release()
            await until(lambda: len(node.documents()) == 2)
            node.roll_over(STREAM)
            assert await exporter.send(prepared, deadline) == Accepted()
            assert len(node.documents()) == 2

    asyncio.run(scenario())


def test_what_there_was_no_room_for_is_not_asked_about() -> None:
    """A request that was turned away whole is simply sent again."""

    async def scenario() -> None:
        async with FakeElastic() as node, exporting(node) as exporter:
            prepared = exporter.prepare(request("one"))
            deadline = Deadline.after(exporter._context.clock, 600)
            node.script.append(Whole(429))
            with pytest.raises(Retryable) as caught:
                await exporter.send(prepared, deadline)
            assert caught.value.unsent
            assert await exporter.send(prepared, deadline) == Accepted()
            assert not [path for path in node.asked if path != "GET /"]

    asyncio.run(scenario())


@pytest.mark.parametrize("times", [1, 2])
def test_a_roll_over_after_a_lost_answer(times: int) -> None:
    """What arrived before the data stream rolled over is found where it is, though ``create`` does not see it there."""

    async def scenario() -> None:
        async with FakeElastic() as node, exporting(node) as exporter:
            prepared = exporter.prepare(request("one", "two"))
            deadline = Deadline.after(exporter._context.clock, 600)
            node.script.extend([LOST, LOST])  # a kept connection that broke is tried once more at once
            with pytest.raises(Retryable):
                await exporter.send(prepared, deadline)
            for _ in range(times):
                node.roll_over(STREAM)
            assert await exporter.send(prepared, deadline) == Accepted()
            assert len(node.documents()) == 2
            assert await send(exporter, request("three", start=50)) == Accepted()
            assert node.asked.count(f"GET /_data_stream/{STREAM}") == 1  # only what is in doubt is asked about

    asyncio.run(scenario())


def test_part_of_it_arrived_before_the_roll_over() -> None:
    """Only those documents that are not there are sent again."""

    async def scenario() -> None:
        async with FakeElastic() as node, exporting(node) as exporter:
            prepared = exporter.prepare(request("one", "two", "three"))
            deadline = Deadline.after(exporter._context.clock, 600)
            node.judge = lambda _, document: (429, "x", "busy") if document["message"] == "two" else None
            node.script.extend([LOST, LOST])  # a kept connection that broke is tried once more at once
            with pytest.raises(Retryable):
                await exporter.send(prepared, deadline)
            node.judge = lambda _, document: None
            node.roll_over(STREAM)
            assert await exporter.send(prepared, deadline) == Accepted()
            assert [document["message"] for _, document in node.kept[-1].items] == ["two"]
            assert sorted(one["message"] for one in node.documents()) == ["one", "three", "two"]

    asyncio.run(scenario())


def test_a_request_of_an_earlier_run() -> None:
    """After a restart of the sidecar nobody knows whether a request arrived, so it is asked about."""

    async def scenario() -> None:
        async with FakeElastic() as node:
            one = request("one", wall_ns=START_WALL_NS - 10**9)
            async with exporting(node) as exporter:
                await send(exporter, one)
            node.roll_over(STREAM)
            async with exporting(node) as exporter:
                assert await send(exporter, one) == Accepted()
            assert len(node.documents()) == 1

    asyncio.run(scenario())


def test_without_the_right_to_read() -> None:
    """Where reading is not allowed, ids alone protect: within one index nothing is there twice."""

    async def scenario() -> None:
        async with FakeElastic() as node, exporting(node) as exporter:
            node.reading_forbidden = True
            prepared = exporter.prepare(request("one"))
            deadline = Deadline.after(exporter._context.clock, 600)
            node.script.extend([LOST, LOST])  # a kept connection that broke is tried once more at once
            with pytest.raises(Retryable):
                await exporter.send(prepared, deadline)
            assert await exporter.send(prepared, deadline) == Accepted()
            assert len(node.documents()) == 1

    asyncio.run(scenario())


def test_too_large_once_some_is_taken() -> None:
    """What is too large is for the pump to halve, until some of it is taken: then its halves keep their ids."""

    async def scenario() -> None:
        async with FakeElastic() as node, exporting(node) as exporter:
            prepared = exporter.prepare(request("one", "two", "three", "four"))
            deadline = Deadline.after(exporter._context.clock, 600)
            node.script.append(Whole(413))
            with pytest.raises(TooLarge):
                await exporter.send(prepared, deadline)
            node.judge = lambda _, document: None if document["message"] == "one" else (429, "x", "busy")
            with pytest.raises(Retryable):
                await exporter.send(prepared, deadline)
            node.judge = lambda _, document: None
            node.script.extend([Whole(413), Whole(413)])  # three are too many, and so is one of them alone
            accepted = await exporter.send(prepared, deadline)
            assert (accepted.rejected, "413" in accepted.message) == (1, True)
            assert sorted(one["message"] for one in node.documents()) == ["four", "one", "three"]

    asyncio.run(scenario())


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_mix_of_fates(data: st.DataObject) -> None:
    """Whatever becomes of single documents and of answers, in the end each is there once or counted as refused."""
    lines = [f"line {number}" for number in range(6)]
    delays = st.lists(st.sampled_from(["busy", "held"]), max_size=2)
    ends = st.sampled_from(["stored", "refused"])
    fates = {line: [*data.draw(delays, label=line), data.draw(ends)] for line in lines}
    script = data.draw(st.lists(st.sampled_from([None, LOST, Whole(503)]), max_size=4), label="answers")
    errors = {"busy": (429, "x", "busy"), "held": (403, "cluster_block_exception", "full"), "refused": (400, "y", "no")}
    refused = {line for line in lines if fates[line][-1] == "refused"}

    def judge(_: str, document: dict[str, Any]) -> tuple[int, str, str] | None:
        left = fates[document["message"]]
        return errors.get(left.pop(0) if len(left) > 1 else left[0])

    async def scenario() -> None:
        async with FakeElastic() as node, exporting(node) as exporter:
            node.judge = judge
            prepared = exporter.prepare(request(*lines))
            for answer in [*script, *[None] * 20]:
                if answer is not None:
                    node.script.extend([answer] * (2 if answer is LOST else 1))
                try:
                    accepted = await exporter.send(prepared, Deadline.after(exporter._context.clock, 600))
                    break
                except (Retryable, Unusable):
                    if STREAM in node.streams and data.draw(st.booleans(), label="roll over"):
                        node.roll_over(STREAM)
            assert accepted.rejected == len(refused)
            assert sorted(one["message"] for one in node.documents()) == sorted(set(lines) - refused)

    asyncio.run(scenario())
