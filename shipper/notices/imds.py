"""The EC2 instance metadata service as the watchers ask it, all life long: IMDSv2, one token for all, renewed before its end.

Source: Amazon EC2 User Guide, "Use the Instance Metadata Service". What decides here:

* Where the request for a token brings none (in a container behind a hop limit of 1 its answer never arrives), the items are
  asked for without: such requests pass where version 1 is allowed, and a missed interruption costs more than a tokenless
  request that only reads. ``version_1`` False (``AWS_EC2_METADATA_V1_DISABLED``) forbids it, as it does for the AWS SDKs.
* 401 means that the token is gone early: one new one is taken at once, not more.
* Bodies of errors are web pages and are never looked into.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping

from shipper.clock import Clock
from shipper.labels.metadata import Answer, NoMetadata, expected, one_line
from shipper.notices.http import Asker

ENDPOINT = "http://169.254.169.254"
TOKEN_PATH = "/latest/api/token"
TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN_HEADER = "X-aws-ec2-metadata-token"
TOKEN_SECONDS = 21_600  # the longest there is
TIMEOUT_SECONDS = 2.0
WITHOUT_SECONDS = 300.0  # how long we go on without a token before asking for one again
SOON_SECONDS = 1.0
RENEWAL_SECONDS = 60.0  # before its end
META = "/latest/meta-data/"


class Imds:
    """One instance's metadata at ``endpoint`` (a base URL); one for all watchers and holds of the instance."""

    def __init__(
        self, *, clock: Clock, endpoint: str = ENDPOINT, timeout: float = TIMEOUT_SECONDS, version_1: bool = True
    ) -> None:
        """``timeout``: seconds for each request."""
        self.endpoint = endpoint
        self._clock = clock
        self._timeout = timeout
        self._version_1 = version_1
        self._asker = Asker(endpoint, clock=clock)
        self._taking = asyncio.Lock()
        self._token = ""
        self._expires = -math.inf
        self._next = -math.inf  # when to ask for a token, again
        self._why = ""  # why there is none

    async def get(self, path: str) -> Answer:
        """An item (200), or that there is none (404). Raises `NoMetadata` for everything else."""
        await self._take()
        shown = self._token
        try:
            answer = await self._ask(path)
        except NoMetadata:
            self._soon_again()
            raise
        if answer.status == 401 and shown:
            await self._take(gone=shown)
            answer = await self._ask(path)
        if answer.status == 401:
            self._soon_again()
            raise NoMetadata(self._why or "refuses the token it has just given (401)")
        if answer.status == 403:
            raise NoMetadata("is switched off for this instance, or refuses us (403)")
        return expected(answer)

    async def text(self, path: str) -> str:
        """An item of one line; empty where there is none. Raises `NoMetadata`."""
        return one_line(await self.get(path))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._asker.aclose()

    async def _ask(self, path: str) -> Answer:
        headers = {TOKEN_HEADER: self._token} if self._token else {}
        return await self._asker.ask("GET", path, timeout=self._timeout, headers=headers)

    def _soon_again(self) -> None:
        """Without a token nothing is to be had: ask for one at the next look, though not in all looks of one moment."""
        if not self._token:
            self._next = min(self._next, self._clock.monotonic() + SOON_SECONDS)

    async def _take(self, *, gone: str = "") -> None:
        """See to a token if it is time, or if ``gone``, which was refused, is still the one we have."""
        async with self._taking:
            now = self._clock.monotonic()
            if now < self._next and (not gone or gone != self._token):
                return
            if gone:
                self._expires = -math.inf
            try:
                self._token, seconds = await self._new_token()
            except NoMetadata as problem:
                self._why = f"{problem} (to the request for a token; in a container: is the hop limit 1?)"
                self._keep_without(now)
                return
            self._why = ""
            self._expires = now + seconds
            self._next = self._expires - min(RENEWAL_SECONDS, seconds / 2)

    def _keep_without(self, now: float) -> None:
        """No token came: go on with the old one while it lasts, else without, if that is allowed."""
        if now < self._expires and self._token:
            self._next = min(self._expires, now + RENEWAL_SECONDS / 4)
            return
        self._token = ""
        self._next = now + (WITHOUT_SECONDS if self._version_1 else 0.0)
        if not self._version_1:
            raise NoMetadata(self._why)

    async def _new_token(self) -> tuple[str, float]:
        answer = await self._asker.ask(
            "PUT", TOKEN_PATH, timeout=self._timeout, headers={TTL_HEADER: str(TOKEN_SECONDS)}
        )
        if answer.status == 403:
            raise NoMetadata("is switched off for this instance, or refuses us (403)")
        token = one_line(expected(answer))
        if not token or not token.isascii():
            raise NoMetadata("answered without a token")
        stated = answer.headers.get(TTL_HEADER.lower(), "")
        seconds = int(stated) if stated.isascii() and stated.isdigit() and len(stated) < 6 else TOKEN_SECONDS
        return token, float(min(max(seconds, 1), TOKEN_SECONDS))


def version_1_allowed(env: Mapping[str, str]) -> bool:
    """Whether requests without a token may be made, by the variable of the AWS SDKs."""
    return env.get("AWS_EC2_METADATA_V1_DISABLED", "").strip().lower() != "true"
