"""Scheduled events: maintenance of this instance or its hardware, announced days ahead, and often moved or cancelled.

Item ``events/maintenance/scheduled``, a JSON array with dates such as ``21 Jan 2019 09:00:43 GMT`` (Amazon EC2 User Guide,
"Scheduled events for your instances"). Idle it is ``[]`` or 404. Retirement, stop and reboot end this boot and so this life: the
drain waits for their time. Maintenance is a blip of network or power, and an event nobody knows is treated as such.
"""

from __future__ import annotations

import json
from typing import Any

from shipper.labels.metadata import Answer, NoMetadata, plain, text_of
from shipper.notice import Notice, NoticeBoard, NoticeKind
from shipper.notices.ec2 import Look
from shipper.notices.imds import META, Imds
from shipper.notices.once import Moments, Once
from shipper.notices.times import Times

SCHEDULED = META + "events/maintenance/scheduled"
POLL_SECONDS = 60.0
MANY = 64  # events of one instance; more are rather a broken answer
_ENDS = {"instance-retirement", "instance-stop", "instance-reboot", "system-reboot"}


class ScheduledLook(Look):
    """See the module."""

    source = "ec2-scheduled"
    interval = POLL_SECONDS

    def __init__(self, *, times: Times) -> None:
        self._moments = Moments(times)
        self._once = Once(self.source)
        self._standing: set[str] = set()

    async def look(self, imds: Imds, board: NoticeBoard) -> None:
        """See `Look.look`."""
        answer = await imds.get(SCHEDULED)
        listed = _listed(answer)
        whole = all(isinstance(event, dict) and text_of(event, "EventId") for event in listed)
        seen: set[str] = set()
        for event in listed:
            if isinstance(event, dict) and (key := text_of(event, "EventId")):
                seen.add(key)
                self._judge(key, event, answer, board)
        if not whole:  # what is missing in such a list may be what cannot be read
            raise NoMetadata("answered scheduled events of which some make no sense")
        for key in self._standing - seen:
            self._drop(key, board, "it is no longer listed")

    def _judge(self, key: str, event: dict[str, Any], answer: Answer, board: NoticeBoard) -> None:
        code, state = text_of(event, "Code"), text_of(event, "State").lower()
        description = text_of(event, "Description")
        over = next((word for word in ("completed", "canceled") if _says(word, state, description)), "")
        if over:
            self._drop(key, board, f"{code} is {over}")
            return
        stated = text_of(event, "NotBefore")
        evidence = f"EC2 scheduled {code or 'something'} not before {stated[:60] or 'an unknown time'} ({description})"
        if code not in _ENDS:
            notice = Notice(self.source, NoticeKind.ADVISORY, evidence, key=key, ends_life=False)
        else:
            try:
                at: float | None = self._moments.of(stated, answer.headers.get("date"))
            except ValueError:  # it will happen, but not known when: said, and no drain before something says now
                at = None
            notice = Notice(self.source, NoticeKind.SCHEDULED, evidence, at, "ec2-scheduled", key)
        self._standing.add(key)
        self._once.say(board, notice)

    def _drop(self, key: str, board: NoticeBoard, why: str) -> None:
        self._standing.discard(key)
        self._once.take_back(board, key, why)


def _listed(answer: Answer) -> list[Any]:
    text = plain(answer)
    if answer.status == 404:
        return []
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        raise NoMetadata("answered something else than JSON") from None
    if not isinstance(listed, list) or len(listed) > MANY:
        raise NoMetadata("answered something else than a list of events")
    return listed


def _says(word: str, state: str, description: str) -> bool:
    return state == word or description.lower().startswith(f"[{word}]")
