"""Stack traces and other events of several lines: joined by each rule, held, flushed, split, and never joined across files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.contracts import Cut
from shipper.shape import Multiline
from shipper.sources.file.events import due_end, pieces, render
from shipper.sources.file.lines import Rendered, Window, border_near
from tests.sources.file_kit import Sink, decode, tailing
from tests.sources.test_file_lines import shown

START = Multiline.of("start", r"^\d{4}-\d\d-\d\d ")
STAMP = "2026-11-23 12:00:00 "
JAVA = (
    STAMP + "ERROR order failed\n"
    "java.lang.IllegalStateException: no stock\n"
    "\tat com.example.Order.place(Order.java:12)\n"
    "Caused by: java.io.IOException: closed\n"
    "\t... 12 more"
)
PYTHON = (
    STAMP + "ERROR order failed\n"
    "Traceback (most recent call last):\n"
    '  File "app.py", line 3, in <module>\n'
    "    place()\n"
    "ValueError: no stock"
)
GO = (
    STAMP + "panic: no stock\n"
    "\n"
    "goroutine 1 [running]:\n"
    "main.place(...)\n"
    "\t/app/main.go:12\n"
    "main.main()\n"
    "\t/app/main.go:5 +0x1d\n"
    "exit status 2"
)
GOES_ON = r"^\s|^$|^(java\.|Caused by|Traceback|\w+Error: |goroutine |main\.|exit status)"
INDENTED = {trace: trace.replace("\n", "\n  ") for trace in (JAVA, PYTHON, GO)}


def append(path: Path, text: str) -> None:
    with path.open("ab") as file:
        file.write(text.encode())


# What is due, and what it looks like: pure functions of the bytes --------------------------------------------------------


def ship(
    rule: Multiline, data: bytes, steps: list[tuple[int, bool]], limit: int
) -> list[tuple[int, int, int, Rendered]]:
    """Cut ``data`` as it grows to each size (with the hold over or not), then to its end, as a stream does."""
    at = event = 0
    cuts = []
    for number, (size, due) in enumerate([*steps, (len(data), True)]):
        while at < size:
            end, window = at, Window(b"", at)
            for reach in (limit, rule.max_bytes + 8):
                window = Window(data[: min(size, at + reach)], 0)
                at_end = window.end == size
                closing = at_end and number == len(steps)
                end = due_end(window, at, event, rule, due=due and at_end, closing=closing)
                if end > at or at_end:
                    break
            if end == at:
                assert at_end
                break
            result = render(window, at, end, event, rule)
            cuts.append((at, end, event, result))
            at, event = end, result.next_resume
    assert at == len(data)
    return cuts


def joined(cuts: list[tuple[int, int, int, Rendered]]) -> list[bytes]:
    """The events a reader gets who puts marked records together again."""
    events: list[bytes] = []
    for _, _, _, result in cuts:
        for body, attributes in shown(result):
            if attributes.get("shipper.line.continued"):
                events[-1] += body
            elif attributes.get("shipper.event.continued"):
                events[-1] += b"\n" + body
            else:
                events.append(body)
    return events


LINE = st.sampled_from(
    [b"1", b"2 longer than that", b"", b"  at x", b"\tat y", b"\xc3\xa9t\xc3\xa9", b"3" + b"a" * 150]
)
RULES = [Multiline.of("start", r"^\d"), Multiline.of("continuation", r"^[ \t]|^$"), Multiline.of("indent")]


@given(
    rule=st.sampled_from(RULES),
    max_lines=st.sampled_from([1, 3, 500]),
    max_bytes=st.sampled_from([64, 4096]),
    lines=st.lists(st.tuples(LINE, st.sampled_from([b"\n", b"\r\n"])), min_size=1, max_size=25),
    limit=st.sampled_from([16, 100, 4096]),
    data=st.data(),
)
@settings(max_examples=300, deadline=None)
def test_events_are_whole_however_they_came(
    rule: Multiline,
    max_lines: int,
    max_bytes: int,
    lines: list[tuple[bytes, bytes]],
    limit: int,
    data: st.DataObject,
) -> None:
    """Whatever was there when, flushed or not, split or not: put together by their marks, the records are the events."""
    text = b"".join(line + end for line, end in lines)
    size = st.tuples(st.integers(0, len(text)), st.booleans())
    steps = sorted(data.draw(st.lists(size, max_size=6)))
    limited = Multiline(rule.kind, rule.pattern, 0.5, max_lines, max_bytes)
    cuts = ship(limited, text, steps, limit)
    starts = rule.parts(text).starts
    raw = [text[a:b] for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]
    assert joined(cuts) == [one.removesuffix(b"\n").removesuffix(b"\r").replace(b"\r\n", b"\n") for one in raw]
    if not any(due for _, due in steps) and max_lines == 500 and max_bytes == 4096:
        assert sum(len(result.lines) for *_, result in cuts) == len(raw)
    for at, end, event, result in cuts:
        began = [start for start in starts if start <= end]
        assert result.next_resume in (began[-1], began[-2] if began[-1] == end else began[-1])
        whole = Window(text, 0)
        again = render(whole, at, end, event, limited)
        assert (again.lines, again.extra or {}) == (result.lines, result.extra or {})
        border = border_near(pieces(whole, at, end, event, limited), (at + end) // 2)
        if border is not None:
            halves = [render(whole, at, border[0], event, limited), render(whole, border[0], end, border[1], limited)]
            assert shown(halves[0]) + shown(halves[1]) == shown(result)
            assert halves[0].lines
            assert halves[1].lines


# The tailer --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trace", [JAVA, PYTHON, GO], ids=["java", "python", "go"])
@pytest.mark.parametrize("kind", ["start", "continuation", "indent"])
def test_a_stack_trace_is_one_record(tmp_path: Path, trace: str, kind: str) -> None:
    """Case 36: traces of Java, Python and Go arrive as one record each, by whichever rule; so do plain lines between them."""
    if kind == "indent":
        trace = INDENTED[trace]
    rule = {
        "start": START,
        "continuation": Multiline.of("continuation", GOES_ON),
        "indent": Multiline.of("indent"),
    }[kind]

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, multiline=rule) as tail:
            for line in (trace + "\n" + STAMP + "INFO fine\n" + trace + "\n" + STAMP + "INFO end\n").splitlines(True):
                append(logs / "a.log", line)
                await tail.settle()
            assert await tail.lines(3) == [trace, STAMP + "INFO fine", trace]
            await tail.pass_time(1)
            assert tail.sink.bodies[3:] == [STAMP + "INFO end"]
            assert not any(line.attributes for line in tail.sink.lines)
            (stream,) = tail.sink.streams
            assert sum(batch.cut.consumed for batch in tail.sink.batches) == len(tail.sink.of(stream)) == 4

    asyncio.run(main())


def test_the_last_event_is_held_until_nothing_came_for_the_timeout(tmp_path: Path) -> None:
    """Case 36: the last event waits for more from its last growth on; what comes after that is sent marked as continued."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, multiline=Multiline.of("indent", timeout=2.0), hold=0.5) as tail:
            append(logs / "a.log", "event\n")
            await tail.until(lambda: tail.sink.streams)
            await tail.pass_time(1)
            append(logs / "a.log", "  first\n")
            await tail.settle()
            await tail.pass_time(1)
            assert not tail.sink.lines
            await tail.pass_time(1)
            assert tail.sink.bodies == ["event\n  first"]
            append(logs / "a.log", "  second\n  third\nnext\n")
            await tail.settle()
            assert tail.sink.bodies[1:] == ["  second\n  third"]
            assert tail.sink.lines[1].attributes == {"shipper.event.continued": True}
            await tail.pass_time(2)
            assert tail.sink.bodies[2:] == ["next"]
            assert not tail.sink.lines[2].attributes

    asyncio.run(main())


def test_a_line_that_was_flushed_unfinished_goes_on(tmp_path: Path) -> None:
    """An event flushed in the middle of a line says so, and what completes it says that it begins inside a line."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, multiline=START) as tail:
            append(logs / "a.log", STAMP + "x\n  at on")
            await tail.until(lambda: tail.sink.streams)
            await tail.pass_time(1)
            append(logs / "a.log", "ce\n  at last\n" + STAMP + "y\n")
            assert await tail.lines(2) == [STAMP + "x\n  at on", "ce\n  at last"]
            assert tail.sink.lines[0].attributes == {"shipper.line.incomplete": True}
            assert tail.sink.lines[1].attributes == {"shipper.event.continued": True, "shipper.line.continued": True}

    asyncio.run(main())


def test_a_drain_does_not_wait_for_more(tmp_path: Path) -> None:
    """Case 36: at the end of a drain the last event is sent at once, whatever its time-out."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, multiline=Multiline.of("indent", timeout=3600)) as tail:
            append(logs / "a.log", JAVA.splitlines()[0] + "\n  at x\n")
            await tail.until(lambda: tail.sink.streams)
            await tail.pass_time(3)
            assert not tail.sink.lines
            tail.source.close_events()
            assert tail.sink.bodies == [STAMP + "ERROR order failed\n  at x"]
            assert all(stream.frontier() == tail.sink.at[stream.id][0] for stream in tail.sink.streams.values())

    asyncio.run(main())


@pytest.mark.parametrize("written_meanwhile", [True, False])
def test_a_kill_between_two_lines_of_an_event(tmp_path: Path, written_meanwhile: bool) -> None:
    """Case 36: the lines before and after a restart are one record, and it is sent once, however slow the restart was."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        rule = Multiline("start", START.pattern, timeout=5.0)
        async with tailing(logs, multiline=rule, sink=sink) as tail:
            append(logs / "a.log", STAMP + "before\n" + STAMP + "x\n  at one\n")
            await tail.lines(1)
            await tail.pass_time(2)  # so that the ledger knows how far the file was seen to reach
            clock = tail.clock
        clock.advance(60)
        if written_meanwhile:
            append(logs / "a.log", "  at two\n")
        async with tailing(logs, multiline=rule, sink=sink, clock=clock) as tail:
            if not written_meanwhile:
                append(logs / "a.log", "  at two\n")
                await tail.settle()
            append(logs / "a.log", "  at three\n")
            await tail.settle()
            assert sink.bodies == [STAMP + "before"]
            await tail.pass_time(5)
            assert sink.bodies == [STAMP + "before", STAMP + "x\n  at one\n  at two\n  at three"]
            assert len(sink.at) == 1

    asyncio.run(main())


def test_a_restart_after_a_flush_still_marks_what_goes_on(tmp_path: Path) -> None:
    """What was flushed before a restart is known to be an event's beginning after it: the rest is marked as continued."""

    async def main() -> None:
        logs, sink = tmp_path / "logs", Sink()
        async with tailing(logs, multiline=START, sink=sink) as tail:
            append(logs / "a.log", STAMP + "x\n  at one\n")
            await tail.until(lambda: tail.sink.streams)
            await tail.pass_time(1)
            assert len(sink.lines) == 1
        append(logs / "a.log", "  at two\n" + STAMP + "y\n")
        async with tailing(logs, multiline=START, sink=sink) as tail:
            await tail.lines(2)
            assert sink.bodies[1] == "  at two"
            assert sink.lines[1].attributes == {"shipper.event.continued": True}

    asyncio.run(main())


def test_a_rotation_between_two_lines_of_an_event(tmp_path: Path) -> None:
    """Case 37: what the writer still writes to the renamed file joins; lines of the new file are never joined to it."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, multiline=Multiline.of("indent", timeout=5.0)) as tail:
            with (logs / "a.log").open("ab", buffering=0) as writer:
                writer.write(b"event\n  one\n")
                await tail.until(lambda: tail.sink.streams)
                (logs / "a.log").rename(logs / "a.log.1")
                await tail.settle()
                writer.write(b"  two\n")
            append(logs / "a.log", "  of another file\n")
            await tail.until(lambda: len(tail.sink.streams) == 2)
            await tail.pass_time(8)
            assert sorted(tail.sink.bodies) == ["  of another file", "event\n  one\n  two"]
            assert not any(line.attributes for line in tail.sink.lines)

    asyncio.run(main())


def test_a_deleted_file_holds_nothing_back(tmp_path: Path) -> None:
    """When a file has ended nothing can go on with its last event: that is sent without waiting."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, multiline=Multiline.of("indent", timeout=3600)) as tail:
            append(logs / "a.log", "event\n  one\n")
            await tail.until(lambda: tail.sink.streams)
            (logs / "a.log").unlink()
            await tail.pass_time(20)
            assert tail.sink.bodies == ["event\n  one"]
            assert tail.sink.ended

    asyncio.run(main())


def test_an_event_that_never_ends_is_split(tmp_path: Path) -> None:
    """Case 37: an event over its limit of lines or bytes comes in parts that are marked, without being held."""

    async def main() -> None:
        logs = tmp_path / "logs"
        rule = Multiline.of("start", r"^NEVER", timeout=3600, max_lines=10, max_bytes=4096)
        async with tailing(logs, multiline=rule, sink=Sink(limit=512)) as tail:
            append(logs / "a.log", "".join(f"line {n}\n" for n in range(95)))
            await tail.lines(9)
            assert tail.sink.bodies == ["\n".join(f"line {n}" for n in range(at, at + 10)) for at in range(0, 90, 10)]
            append(logs / "a.log", "x" * 10_000)
            await tail.until(lambda: len(tail.sink.lines) == 12)
            assert tail.sink.bodies[9] == "\n".join(f"line {n}" for n in range(90, 95))
            assert tail.sink.bodies[10:] == ["x" * 4096] * 2
            marks = [line.attributes for line in tail.sink.lines]
            assert marks[:11] == [{}] + [{"shipper.event.continued": True}] * 10
            assert marks[11] == {"shipper.event.continued": True, "shipper.line.continued": True}

    asyncio.run(main())


def test_a_batch_of_events_is_built_again_and_halved(tmp_path: Path) -> None:
    """A resend has the same bytes, also after the file grew; halves meet where an event ends, and are the whole."""

    async def main() -> None:
        logs = tmp_path / "logs"
        async with tailing(logs, multiline=START) as tail:
            append(logs / "a.log", "".join(f"{STAMP}{n}\r\n  at \xe9\n" for n in range(50)))
            await tail.until(lambda: tail.sink.streams)
            await tail.pass_time(1)
            append(logs / "a.log", "  goes on\n" + STAMP + "end\n")
            await tail.lines(51)
            (stream,) = tail.sink.streams.values()

            def check(cut: Cut, bodies: list[str]) -> None:
                assert [line.body for line in decode(stream.reread(cut))] == bodies
                halves = stream.halve(cut)
                assert (halves is None) == (cut.records < 2)
                if halves is not None:
                    check(halves[0], bodies[: halves[0].records])
                    check(halves[1], bodies[halves[0].records :])

            for batch in tail.sink.batches:
                assert stream.reread(batch.cut).payload == batch.payload
                check(batch.cut, [line.body for line in decode(batch)])

    asyncio.run(main())
