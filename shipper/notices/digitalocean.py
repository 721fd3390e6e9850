"""DigitalOcean announces no end; what it has are tags, which an operator can set on many machines at once and change live.

A tag ``shipper-drain`` (or ``shipper-drain:20s``) begins a drain, and its removal takes it back. Protocol:
docs.digitalocean.com/reference/api/metadata-api, ``/metadata/v1/tags``: one tag a line.
"""

from __future__ import annotations

from shipper.clock import Clock
from shipper.labels.metadata import NoMetadata, expected, plain
from shipper.notice import NoticeBoard, NoticeWatcher
from shipper.notices.by_hand import Flag
from shipper.notices.http import Asker

ENDPOINT = "http://169.254.169.254"
PATH = "/metadata/v1/tags"
TAG = "shipper-drain"
POLL_SECONDS = 5.0
TIMEOUT = 2.0


class DigitalOceanWatcher(NoticeWatcher):
    """Polls the tags of this machine. That it has none is 404, and as good an answer as an empty one."""

    name = "digitalocean"

    def __init__(self, *, clock: Clock, endpoint: str = ENDPOINT) -> None:
        self._clock = clock
        self._asker = Asker(endpoint, clock=clock)
        self._flag = Flag(source=self.name, key=TAG, what=f"the tag {TAG}", clock=clock)

    async def run(self, board: NoticeBoard) -> None:
        """See `NoticeWatcher.run`."""
        while True:
            try:
                answer = expected(await self._asker.ask("GET", PATH, timeout=TIMEOUT))
                self._tell(plain(answer).splitlines(), board)
            except NoMetadata as problem:
                board.unknown(self.name, f"the metadata service {problem}")
            await self._clock.sleep(POLL_SECONDS)

    async def aclose(self) -> None:
        """See `NoticeWatcher.aclose`."""
        await self._asker.aclose()

    def _tell(self, tags: list[str], board: NoticeBoard) -> None:
        board.seen(self.name)
        names = (tag.strip().lower().partition(":") for tag in tags)
        stated = next((rest for name, _, rest in names if name == TAG), None)
        if stated is not None:
            board.notice(self._flag.notice(stated))
        elif self._flag.is_set:
            self._flag.clear()
            board.withdrawn(self.name, TAG, f"the tag {TAG} is no longer set")
