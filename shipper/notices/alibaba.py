"""Alibaba Cloud: the release of a preemptible instance, about five minutes ahead, in the instance metadata.

``instance/spot/termination-time`` is missing (or empty) until the instance was chosen, then a UTC time. Where the metadata
service was set to need tokens, one is fetched. Protocol: alibabacloud.com/help/ecs, "Query instance metadata".
"""

from __future__ import annotations

from shipper.clock import Clock
from shipper.labels.metadata import Answer, NoMetadata, expected, one_line
from shipper.notice import Notice, NoticeBoard, NoticeKind, NoticeWatcher
from shipper.notices.http import Asker
from shipper.notices.once import Moments
from shipper.notices.times import Times

ENDPOINT = "http://100.100.100.200"
PATH = "/latest/meta-data/instance/spot/termination-time"
TOKEN_PATH = "/latest/api/token"
TOKEN_SECONDS = "21600"
POLL_SECONDS = 5.0
TIMEOUT = 2.0


class AlibabaWatcher(NoticeWatcher):
    """Polls the time of release. There is no way for Alibaba to take it back, so nothing does."""

    name = "alibaba"

    def __init__(self, *, clock: Clock, times: Times, endpoint: str = ENDPOINT) -> None:
        self._clock = clock
        self._moments = Moments(times)
        self._asker = Asker(endpoint, clock=clock)
        self._token = ""

    async def run(self, board: NoticeBoard) -> None:
        """See `NoticeWatcher.run`."""
        while True:
            try:
                self._tell(await self._ask(), board)
            except NoMetadata as problem:
                board.unknown(self.name, f"the metadata service {problem}")
            await self._clock.sleep(POLL_SECONDS)

    async def aclose(self) -> None:
        """See `NoticeWatcher.aclose`."""
        await self._asker.aclose()

    async def _ask(self) -> Answer:
        answer = await self._ask_with_token()
        if answer.status in (401, 403):  # tokens are needed, or ours has expired
            wanted = {"X-aliyun-ecs-metadata-token-ttl-seconds": TOKEN_SECONDS}
            self._token = one_line(await self._asker.ask("PUT", TOKEN_PATH, timeout=TIMEOUT, headers=wanted))
            answer = await self._ask_with_token()
        return expected(answer)

    async def _ask_with_token(self) -> Answer:
        headers = {"X-aliyun-ecs-metadata-token": self._token} if self._token else {}
        return await self._asker.ask("GET", PATH, timeout=TIMEOUT, headers=headers)

    def _tell(self, answer: Answer, board: NoticeBoard) -> None:
        said = one_line(answer)
        if not said:
            board.seen(self.name)
            return
        try:
            deadline = self._moments.of(said, answer.headers.get("date"))
        except ValueError as problem:
            raise NoMetadata(f"answered what makes no sense: {problem}") from None
        evidence = f"instance/spot/termination-time is {said}"
        board.notice(Notice(self.name, NoticeKind.IMMINENT, evidence, deadline, "alibaba-spot", "spot"))
