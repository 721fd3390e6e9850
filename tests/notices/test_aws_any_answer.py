"""Whatever IMDS answers, each look says something sensible about it: a notice, nothing, or that it makes no sense."""

from __future__ import annotations

import asyncio
import contextlib
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.labels.metadata import Answer, NoMetadata
from shipper.notices.asg import LifecycleLook
from shipper.notices.ec2 import Look
from shipper.notices.ec2_rebalance import RebalanceLook
from shipper.notices.ec2_scheduled import ScheduledLook
from shipper.notices.ec2_spot import SpotLook
from shipper.notices.imds import Imds
from shipper.notices.times import Times
from shipper.testing.clock import FakeClock
from tests.notices.listening import RecordingBoard

WORDS = [
    *("terminate", "stop", "hibernate", "none", "Terminated", "InService", "Warmed:Stopped", "active", "canceled"),
    *("instance-retirement", "system-maintenance", "2023-11-14T22:15:20Z", "0001-01-01T00:00:00+23:59"),
    *("21 Jan 2019 09:00:43 GMT", "9999-12-31T23:59:59-23:59", "1 Jan 99999 00:00:00 GMT", "", "a\x00b", "é"),
]
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.sampled_from(WORDS))
KEYS = st.sampled_from(["action", "time", "noticeTime", "Code", "State", "EventId", "NotBefore", "Description", "x"])
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=12,
)
BODIES = st.one_of(
    ANYTHING.map(lambda content: json.dumps(content).encode()),
    st.sampled_from(WORDS).map(str.encode),
    st.binary(max_size=30),
)
ANSWERS = st.builds(
    Answer,
    st.sampled_from([200, 200, 200, 404]),
    st.sampled_from([{}, {"date": "Tue, 14 Nov 2023 22:13:20 GMT"}, {"date": "never"}, {"content-type": "text/html"}]),
    BODIES,
)


class Scripted(Imds):
    """Answers as told."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.answer = Answer(404, {}, b"")

    async def get(self, path: str) -> Answer:
        return self.answer


@settings(max_examples=150, deadline=None)
@given(answers=st.lists(ANSWERS, max_size=4), which=st.integers(0, 3))
def test_aws_any_answers_in_any_order(answers: list[Answer], which: int) -> None:
    """No answer, and no sequence of them, is an exception; what is said is fit for a person and has a finite key."""

    async def run() -> None:
        clock = FakeClock()
        board, imds, times = RecordingBoard(clock), Scripted(clock), Times(clock)
        looks: list[Look] = [
            SpotLook(clock=clock, times=times),
            RebalanceLook(),
            LifecycleLook(),
            ScheduledLook(times=times),
        ]
        for answer in answers:
            imds.answer = answer
            with contextlib.suppress(NoMetadata):
                await looks[which].look(imds, board)
            clock.advance(5)
        assert all(one.evidence.isprintable() and len(one.key) <= 1024 for one in board.told)

    asyncio.run(run())
