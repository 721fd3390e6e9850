"""Google Compute Engine: one long poll on everything the metadata server says of this machine.

It covers the preemption of Spot machines, host maintenance, graceful stops, a run time that ends, and a flag that an operator
sets (custom metadata ``shipper-drain``). Asking from the start on also is what makes the server announce maintenance at all:
it does so only for keys that somebody read since the last event. Protocol: cloud.google.com/compute/docs/metadata.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from shipper.clock import Clock
from shipper.labels.metadata import Answer, NoMetadata, json_object, text_of
from shipper.notice import Notice, NoticeBoard, NoticeKind, NoticeWatcher
from shipper.notices.by_hand import OFF, Flag
from shipper.notices.http import Asker
from shipper.notices.once import Moments, Once
from shipper.notices.times import Times

ENDPOINT = "http://169.254.169.254"  # by number: at boot, names may not resolve yet
PATH = "/computeMetadata/v1/instance/"
FLAVOR = "metadata-flavor"
POLL_SECONDS = 60
TIMEOUT_SECONDS = 70.0
NO_ETAG = "NONE"  # what Google's own agent begins with: it equals no ETag, so the first answer comes at once
MAX_BODY = 4 << 20  # custom metadata (a start-up script) may hold 512 KiB, and JSON writes some bytes as six
PAUSE_SECONDS = 0.1  # between an answer and the next question, also for a server that does not wait for changes
IDLE_SECONDS = 1.0  # after an answer that was the same as before and did not wait, or that was none
FLAG = "shipper-drain"


class GceWatcher(NoticeWatcher):
    """Long-polls ``endpoint`` (or what ``GCE_METADATA_HOST`` names: host and port are enough)."""

    name = "gce"

    def __init__(self, *, clock: Clock, times: Times, endpoint: str = ENDPOINT) -> None:
        self._clock = clock
        self._moments = Moments(times)
        self._once = Once(self.name)
        self._asker = Asker(endpoint, clock=clock, headers={"Metadata-Flavor": "Google"}, max_body=MAX_BODY)
        self._flag = Flag(source=self.name, key="by-hand", what=f"the metadata value {FLAG}", clock=clock)
        self._etag = NO_ETAG
        self._pending: tuple[str, float] | None = None  # the graceful stop whose length is counted, since when

    async def run(self, board: NoticeBoard) -> None:
        """See `NoticeWatcher.run`."""
        before = b""
        while True:
            asked = self._clock.monotonic()
            try:
                answer = await self._ask()
                self._tell(answer, board)
                # only now: an answer that could not be read has to be asked for again, not waited out
                self._etag = answer.headers.get("etag") or NO_ETAG
            except NoMetadata as problem:
                board.unknown(self.name, f"the metadata server {problem}")
                await self._clock.sleep(IDLE_SECONDS)
                continue
            waited = self._clock.monotonic() - asked >= IDLE_SECONDS or answer.body != before
            before = answer.body
            await self._clock.sleep(PAUSE_SECONDS if waited else IDLE_SECONDS)

    async def aclose(self) -> None:
        """See `NoticeWatcher.aclose`."""
        await self._asker.aclose()

    async def _ask(self) -> Answer:
        query = {  # as parameters of the URL: as headers they are ignored
            "recursive": "true",
            "alt": "json",
            "wait_for_change": "true",
            "last_etag": self._etag,
            "timeout_sec": str(POLL_SECONDS),
        }
        answer = await self._asker.ask("GET", PATH, timeout=TIMEOUT_SECONDS, params=query)
        if answer.headers.get(FLAVOR, "").lower() != "google":
            raise NoMetadata("is not Google's: its answer carries no Metadata-Flavor header")
        if answer.status != 200:
            raise NoMetadata(f"answered {answer.status}")
        return answer

    def _tell(self, answer: Answer, board: NoticeBoard) -> None:
        machine = json_object(answer)
        if not {"id", "preempted", "maintenanceEvent"} & machine.keys():
            raise NoMetadata("answered something else than the description of a machine")
        odd = [
            *self._preempted(machine, board),
            *self._maintenance(machine, board),
            *self._stop(machine, answer, board),
            *self._end_of_run(machine, answer, board),
        ]
        self._by_hand(machine, board)
        if odd:
            board.unknown(self.name, f"the metadata server answered what makes no sense: {'; '.join(odd)}")
        else:
            board.seen(self.name)

    def _preempted(self, machine: Mapping[str, Any], board: NoticeBoard) -> list[str]:
        said = _word(machine, "preempted")
        if said == "TRUE":
            self._imminent(board, "preempted", "instance/preempted is TRUE", "gce-spot")
        elif said == "FALSE":
            self._once.take_back(board, "preempted", "instance/preempted is FALSE")
        elif said:
            return [f"instance/preempted is {said!r}"]
        return []

    def _maintenance(self, machine: Mapping[str, Any], board: NoticeBoard) -> list[str]:
        said, key = _word(machine, "maintenanceEvent"), "maintenance"
        evidence = f"instance/maintenance-event is {said}"
        if said.startswith("TERMINATE"):
            self._imminent(board, key, evidence, "gce-maintenance")
        elif said.startswith("MIGRATE"):
            self._once.say(board, Notice(self.name, NoticeKind.ADVISORY, evidence, key=key, ends_life=False))
        elif said == "NONE":
            self._once.take_back(board, key, evidence)
        elif said:
            return [evidence]
        return []

    def _stop(self, machine: Mapping[str, Any], answer: Answer, board: NoticeBoard) -> list[str]:
        """A graceful stop, on machines that have it; on all others there is no such key."""
        details = machine.get("shutdownDetails")
        details = details if isinstance(details, dict) else {}
        said, key = _word(details, "stopState"), "stop"
        evidence = f"instance/shutdown-details/stop-state is {said}"
        if said not in ("PENDING_STOP", "STOPPING"):
            self._pending = None
            self._once.take_back(board, key, evidence if said else "instance/shutdown-details is gone")
            return [evidence] if said not in ("", "UNSPECIFIED") else []
        deadline, odd = self._end_of_grace(details, answer) if said == "PENDING_STOP" else (None, [])
        self._imminent(board, key, evidence, "gce-stop", deadline)
        return odd

    def _end_of_grace(self, details: Mapping[str, Any], answer: Answer) -> tuple[float | None, list[str]]:
        """When a graceful stop ends by what it says of itself: its length, from when it was asked for (or first seen)."""
        length, asked = _seconds(details.get("maxDuration")), text_of(details, "requestTimestamp")
        if self._pending is None or self._pending[0] != asked:
            self._pending = asked, self._clock.monotonic()
        if math.isnan(length):
            return None, []
        if not asked:
            return self._pending[1] + length, []
        try:
            return self._moments.of(asked, answer.headers.get("date")) + length, []
        except ValueError as problem:
            return self._pending[1] + length, [f"shutdown-details/request-timestamp: {problem}"]

    def _end_of_run(self, machine: Mapping[str, Any], answer: Answer, board: NoticeBoard) -> list[str]:
        """A machine with a limited run time knows its end from the start."""
        said, key = text_of(machine, "scheduling", "terminationTimestamp"), "end-of-run"
        if not said:
            self._once.take_back(board, key, "instance/scheduling has no termination-timestamp any more")
            return []
        try:
            deadline = self._moments.of(said, answer.headers.get("date"))
        except ValueError as problem:
            return [f"scheduling/termination-timestamp: {problem}"]
        evidence = f"instance/scheduling/termination-timestamp is {said}"
        self._once.say(board, Notice(self.name, NoticeKind.SCHEDULED, evidence, deadline, "gce-stop", key))
        return []

    def _by_hand(self, machine: Mapping[str, Any], board: NoticeBoard) -> None:
        attributes = machine.get("attributes")
        said = attributes.get(FLAG) if isinstance(attributes, dict) else None
        if said is None or str(said).strip().lower() in OFF:
            self._flag.clear()
            self._once.take_back(board, "by-hand", f"the metadata value {FLAG} is not set any more")
        else:
            self._once.say(board, self._flag.notice(str(said)))

    def _imminent(
        self, board: NoticeBoard, key: str, evidence: str, budget: str, deadline: float | None = None
    ) -> None:
        self._once.say(board, Notice(self.name, NoticeKind.IMMINENT, evidence, deadline, budget, key))


def _word(content: Mapping[str, Any], name: str) -> str:
    """A value that is one word, in capitals; empty where there is none."""
    value = content.get(name)
    return str(value).strip().upper()[:60] if isinstance(value, str | bool) else ""


def _seconds(value: Any) -> float:
    """A duration as Google's services write it: ``600``, ``"600"``, ``"600s"`` or ``{"seconds": 600}``; NaN for none."""
    if isinstance(value, dict):
        value = value.get("seconds")
    try:
        seconds = float(str(value).strip().removesuffix("s"))
    except ValueError:
        return math.nan
    return seconds if 0 <= seconds < 1e9 else math.nan
