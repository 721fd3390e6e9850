"""One request on its way to Kafka: message by message, and where one is refused, in halves until the record is found.

It outlives a failed attempt, and its messages stay with the producer meanwhile: the next attempt waits for those that are under
way and gives none that is there. So a message that is refused for good doubles no other one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from confluent_kafka import KafkaError

from shipper.contracts import Accepted, Signal
from shipper.errors import DeliveryError, Rejected, Retryable, TooLarge
from shipper.otlp.scan import scan
from shipper.otlp.splice import units
from shipper_exporters._kafka.answers import meaning
from shipper_exporters._kafka.messages import Message
from shipper_exporters._kafka.producer import KafkaProducer


@dataclass(frozen=True, slots=True)
class Piece:
    """A message of the request, or of one that was divided the units from ``first`` to ``last``."""

    message: int
    first: int = 0
    last: int = 0

    def of(self, signal: Signal, made: Sequence[Message]) -> Message:
        """The message itself."""
        whole = made[self.message]
        return whole.part(signal, self.first, self.last) if self.last else whole

    def halves(self, signal: Signal, made: Sequence[Message]) -> list[Piece]:
        """Two pieces in place of it; none where it is a single unit."""
        last = self.last or units(signal, made[self.message].value)
        middle = (self.first + last) // 2
        if last - self.first < 2:
            return []
        return [Piece(self.message, self.first, middle), Piece(self.message, middle, last)]


class Journey:
    """How far a request got. ``where`` names the destination in what is said."""

    def __init__(self, signal: Signal, count: int, where: str) -> None:
        self._signal = signal
        self._where = where
        self._todo = [Piece(number) for number in range(count)]
        self._under_way: set[Piece] = set()
        self._there: set[Piece] = set()
        self._refused: dict[Piece, TooLarge | Rejected] = {}
        self._lost: Counter[str] = Counter()
        self._trouble: DeliveryError | None = None
        self._news = asyncio.Event()

    async def go(
        self, producer: KafkaProducer, topic: str, made: Sequence[Message], progress: Callable[[], None]
    ) -> Accepted:
        """Return when each message is there or was refused, calling ``progress`` now and then.

        ``made``: the messages of the request. While none of it is there, a refusal is raised as it came. Raises what was found
        to be wrong with the destination, and `Retryable` when the producer has no room.
        """
        self._trouble = None
        while self._todo or self._under_way or self._refused:
            if self._trouble is not None:
                raise self._trouble
            self._news.clear()
            if not self._todo and not self._under_way:
                self._divide(made)
            self._give(producer, topic, made)
            if self._under_way:
                await self._news.wait()
                progress()
        message = "; ".join(f"{count} x {reason}" for reason, count in self._lost.most_common())
        return Accepted(self._lost.total(), message)

    def fail(self, error: DeliveryError) -> None:
        """Something is wrong with the destination; the gravest is told."""
        if self._trouble is None or isinstance(self._trouble, Retryable):
            self._trouble = error
        self._news.set()

    def forget(self) -> None:
        """The producer is gone, and with it what was under way."""
        self._todo += sorted(self._under_way, key=lambda piece: (piece.message, piece.first))
        self._under_way = set()
        self.fail(Retryable("the producer was made anew"))

    def _give(self, producer: KafkaProducer, topic: str, made: Sequence[Message]) -> None:
        while self._todo:
            piece = self._todo[0]
            try:
                producer.give(topic, piece.of(self._signal, made), partial(self._done, self._under_way, piece))
            except BufferError:
                raise Retryable(f"{self._where}: the brokers are too slow, no more is taken on now") from None
            self._under_way.add(piece)
            del self._todo[0]

    def _done(self, given: set[Piece], piece: Piece, error: KafkaError | None) -> None:
        """What became of one of those ``given`` to a producer; another one may have it by now."""
        given.discard(piece)
        self._news.set()
        if error is None:
            self._there.add(piece)
            self._todo = [one for one in self._todo if one != piece]
        elif given is self._under_way:
            found = meaning(error, self._where)
            if isinstance(found, TooLarge | Rejected):
                self._refused[piece] = found
            else:
                self._todo.append(piece)
                self.fail(found)

    def _divide(self, made: Sequence[Message]) -> None:
        """All have their answer: what was refused goes in halves. What cannot be divided is refused for good, and counted."""
        if not self._there:
            raise max(self._refused.values(), key=lambda error: isinstance(error, TooLarge))
        for piece, error in self._refused.items():
            halves = piece.halves(self._signal, made)
            self._todo += halves
            if not halves:
                self._lost[str(error)] += scan(self._signal, piece.of(self._signal, made).value).records
        self._refused.clear()
