"""AWS Lambda: the sidecar as an external extension, which is told of each invocation and of the end.

Everything is frozen between invocations, so nothing may wait for later: after each invocation what exists is sent before the
next event is asked for. The end itself leaves two seconds, of which the function's runtime may take some.
Protocol: docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html, version 2020-01-01.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from shipper.clock import Clock
from shipper.events import Problem, Reporter
from shipper.labels.metadata import NoMetadata, json_object, text_of
from shipper.notice import Notice, NoticeBoard, NoticeKind, NoticeWatcher
from shipper.notices.http import Asker
from shipper.notices.lambda_telemetry import HOST, SUBSCRIPTION_PATH, RuntimeEnds
from shipper.notices.times import Times

NAME = "shipper"  # the base name of the file in /opt/extensions
BASE = "/2020-01-01/extension"
TIMEOUT = 5.0
FLUSH_SECONDS = 2.0  # what a destination that does not answer may add to an invocation, which somebody pays for
MARGIN_SECONDS = 0.2  # before the function's own time-out: past that, our work would make an invocation fail
END_SECONDS = 0.25  # before the stated end, when SIGKILL comes: the last statement is out by then, and we are gone
EPOCH = 1e12  # a larger deadlineMs is a time, a smaller one what is left (documented one way, seen the other way)
LONGEST_SHUTDOWN = 60.0  # seconds; a stated end further away is a broken clock, not time to drain
FAULTS = 5  # questions for the next event that may fail in a row
PAUSE_SECONDS = 0.1
ABNORMAL = {"TIMEOUT": "the function ran out of its time", "FAILURE": "the function or an extension failed"}


class LambdaWatcher(NoticeWatcher):
    """Registers with ``runtime_api`` (``AWS_LAMBDA_RUNTIME_API``) as the extension ``extension``, then follows its events."""

    name = "lambda"

    def __init__(
        self,
        *,
        clock: Clock,
        report: Reporter,
        times: Times,
        runtime_api: str,
        extension: str = NAME,
        telemetry_host: str = HOST,
    ) -> None:
        self._clock = clock
        self._report = report
        self._times = times
        self._extension = extension
        self._api = Asker(runtime_api, clock=clock)
        self._ends = RuntimeEnds(clock=clock, host=telemetry_host)
        self._hears_ends = False
        self._identifier: dict[str, str] = {}
        self._had_event = False

    async def run(self, board: NoticeBoard) -> None:
        """See `NoticeWatcher.run`. Returns after the end was announced, and when Lambda does not take us for an extension."""
        try:
            await self._register()
        except NoMetadata as problem:
            board.unknown(self.name, f"the extension could not be registered: {problem}")
            return
        board.seen(self.name)
        await self._subscribe()
        faults = 0
        while True:
            try:
                event, date = await self._next()
            except NoMetadata as problem:
                board.unknown(self.name, f"the next event {problem}")
                faults += 1
                if faults >= FAULTS:
                    await self._say_fault(str(problem))
                    return
                await self._clock.sleep(PAUSE_SECONDS)
                continue
            faults, self._had_event = 0, True
            board.seen(self.name)
            kind = text_of(event, "eventType")
            if kind == "INVOKE":
                await self._after(event, date, board)
            elif kind == "SHUTDOWN":
                board.notice(self._end(event, date))
                return

    async def aclose(self) -> None:
        """See `NoticeWatcher.aclose`."""
        await self._ends.aclose()
        await self._api.aclose()

    async def _register(self) -> None:
        answer = await self._api.ask(
            "POST",
            f"{BASE}/register",
            timeout=TIMEOUT,
            headers={"Lambda-Extension-Name": self._extension, "Content-Type": "application/json"},
            body=b'{"events":["INVOKE","SHUTDOWN"]}',
        )
        identifier = answer.headers.get("lambda-extension-identifier", "")
        if answer.status != 200 or not identifier:
            kind = text_of(json_object(answer), "errorType")
            hint = f"; is its file /opt/extensions/{self._extension}?" if "Name" in kind else ""
            raise NoMetadata(f"the API answered {answer.status} {kind}".rstrip() + hint)
        self._identifier = {"Lambda-Extension-Identifier": identifier}

    async def _subscribe(self) -> None:
        """Have the ends of invocations told. Without that we only know their beginnings."""
        try:
            wanted = await self._ends.listen()
            headers = {**self._identifier, "Content-Type": "application/json"}
            answer = await self._api.ask("PUT", SUBSCRIPTION_PATH, timeout=TIMEOUT, headers=headers, body=wanted)
            problem = "" if answer.status == 200 else f"answered {answer.status}"
        except (OSError, NoMetadata) as error:
            problem = str(error)
        self._hears_ends = not problem
        if problem:
            said = "the last records of an invocation may be sent only with the next one"
            self._report(Problem("notice-source", f"lambda does not tell when an invocation ends ({problem}): {said}"))

    async def _next(self) -> tuple[dict[str, Any], str | None]:
        answer = await self._api.ask("GET", f"{BASE}/event/next", timeout=None, headers=self._identifier)
        if answer.status != 200:
            raise NoMetadata(f"was answered {answer.status}")
        event = json_object(answer)
        if not text_of(event, "eventType"):
            raise NoMetadata("is none: it has no eventType")
        return event, answer.headers.get("date")

    async def _after(self, event: Mapping[str, Any], date: str | None, board: NoticeBoard) -> None:
        """Wait until the function is done, then send what there is: after that everything may be frozen."""
        end = self._moment(event, date)
        if self._hears_ends:
            left = end - self._clock.monotonic() if end is not None else math.inf
            await self._ends.until_done(text_of(event, "requestId"), min(left, 900.0))
        left = FLUSH_SECONDS if end is None else end - self._clock.monotonic() - MARGIN_SECONDS
        await board.flushed(max(PAUSE_SECONDS, min(left, FLUSH_SECONDS)))

    def _end(self, event: Mapping[str, Any], date: str | None) -> Notice:
        reason = text_of(event, "shutdownReason")
        evidence = f"SHUTDOWN, reason {reason or 'not stated'}"
        if reason in ABNORMAL:
            evidence += f" ({ABNORMAL[reason]})"
        at = self._moment(event, date)
        left = math.inf if at is None else at - self._clock.monotonic()
        # a time that cannot be right says nothing; that the end is near is certain all the same
        deadline = max(at - END_SECONDS, at - left / 2) if at is not None and 0 < left <= LONGEST_SHUTDOWN else None
        return Notice(self.name, NoticeKind.IMMINENT, evidence, deadline, "lambda", "shutdown")

    def _moment(self, event: Mapping[str, Any], date: str | None) -> float | None:
        """What ``deadlineMs`` means in monotonic seconds; None when it is no number."""
        stated = event.get("deadlineMs")
        if isinstance(stated, bool) or not isinstance(stated, int | float) or not 0 <= stated < 1e16:
            return None
        if stated > EPOCH:
            return self._times.monotonic_of(int(stated) * 1_000_000, date)
        return self._clock.monotonic() + stated / 1000

    async def _say_fault(self, why: str) -> None:
        """Tell Lambda that we cannot go on: an extension that just stops asking makes every invocation hang."""
        place = "exit" if self._had_event else "init"
        headers = {**self._identifier, "Lambda-Extension-Function-Error-Type": "Extension.NextEventFailed"}
        body = json.dumps({"errorMessage": why[:200], "errorType": "NextEventFailed", "stackTrace": []}).encode()
        try:
            await self._api.ask("POST", f"{BASE}/{place}/error", timeout=TIMEOUT, headers=headers, body=body)
        except NoMetadata as problem:
            self._report(Problem("notice-source", f"lambda could not be told that its extension fails: {problem}"))
