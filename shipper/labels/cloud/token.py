"""The session token that Amazon's metadata service (IMDSv2) and Alibaba's want to see: taken once, renewed once on a 401."""

from __future__ import annotations

from dataclasses import dataclass

from shipper.labels.metadata import Answer, Metadata, NoMetadata, expected, one_line

PATH = "/latest/api/token"
SECONDS = 300  # what is asked here takes two


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the two headers are called."""

    lasts: str
    shown: str


class WithToken:
    """Asks a service that may want a token. Without one it still asks: the service says whether it insists.

    In a container on a machine with a hop limit of 1 the answer that carries the token never comes, while older, tokenless
    requests may be allowed: so only half of the time is spent on waiting for it.
    """

    def __init__(self, service: Metadata, dialect: Dialect, *, insist: bool = False) -> None:
        self._service = service
        self._dialect = dialect
        self._insist = insist
        self._token = ""
        self._why = ""
        self._asked = False

    def text(self, path: str) -> str:
        """See `Metadata.text`."""
        return one_line(self.get(path))

    def get(self, path: str) -> Answer:
        """See `Metadata.get`."""
        if not self._asked:
            self._take()
        answer = self._ask(path)
        if answer.status == 401 and self._token:  # it has expired, or the machine has been moved
            self._take()
            answer = self._ask(path)
        if answer.status == 401 and self._why:
            raise NoMetadata(self._why)
        return expected(answer)

    def _ask(self, path: str) -> Answer:
        return self._service.ask("GET", path, {self._dialect.shown: self._token} if self._token else {})

    def _take(self) -> None:
        self._asked = True
        self._token = ""
        try:
            answer = self._service.ask(
                "PUT", PATH, {self._dialect.lasts: str(SECONDS)}, within=self._service.left() / 2
            )
            self._token = one_line(expected(answer))
        except NoMetadata as problem:
            self._why = f"{problem} (the request for a token)"
            if self._insist:
                raise NoMetadata(self._why) from None
