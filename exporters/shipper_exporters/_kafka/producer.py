"""librdkafka's producer, idempotent, with its callbacks brought to the event loop.

It has threads of its own and wants to be polled by another. What was given to it stays with it until a broker acknowledged it or
refused it for good, however often connections break: brokers recognise what they have by its sequence numbers.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from shipper_exporters._kafka.messages import Message

POLL_SECONDS = 0.1
_LONGEST_GOODBYE = 2.0
_QUEUE_KIB = 65_536


class KafkaProducer:
    """One producer for as long as it works. ``said``: is told, on the event loop, what is said about no single message."""

    def __init__(self, config: Mapping[str, Any], said: Callable[[KafkaError], None]) -> None:
        """Raises `KafkaException` for what librdkafka does not take."""
        self._loop = asyncio.get_running_loop()
        self._said = said
        self._ending = threading.Event()
        self._producer = Producer({**config, "error_cb": self._on_error})
        self._thread = threading.Thread(target=self._poll, name="shipper-kafka", daemon=True)
        self._thread.start()

    def give(self, topic: str, message: Message, done: Callable[[KafkaError | None], None]) -> None:
        """Hand over a message; ``done`` is called on the event loop with what became of it. Raises `BufferError` when full."""
        try:
            self._producer.produce(
                topic,
                key=message.key,
                value=message.value,
                headers=list(message.headers),
                on_delivery=partial(self._on_delivery, done),
            )
        except KafkaException as error:
            self._tell(done, error.args[0])

    async def aclose(self) -> None:
        """Let go of what is under way, which may or may not have arrived."""
        self._ending.set()
        await asyncio.to_thread(self._thread.join, _LONGEST_GOODBYE)

    def _poll(self) -> None:
        while not self._ending.is_set():
            self._producer.poll(POLL_SECONDS)
        self._producer.purge()
        del self._producer  # in this thread: it waits for librdkafka's own threads

    def _on_delivery(
        self, done: Callable[[KafkaError | None], None], error: KafkaError | None, _message: object
    ) -> None:
        self._tell(done, error)

    def _on_error(self, error: KafkaError) -> None:
        self._tell(self._said, error)

    def _tell(self, whom: Callable[[Any], None], what: KafkaError | None) -> None:
        if not self._ending.is_set():
            self._loop.call_soon_threadsafe(whom, what)


def config(
    brokers: str, *, compression: str, max_message_bytes: int, security: Mapping[str, str]
) -> dict[str, str | int | bool]:
    """What the producer is told."""
    return {
        "bootstrap.servers": brokers,
        "client.id": "shipper",
        "enable.idempotence": True,  # acks=all, in order, and no message twice however often librdkafka sends it
        "message.timeout.ms": 0,  # a message is given up by us and not beside us
        "compression.type": compression,
        "message.max.bytes": max_message_bytes + 4096,
        "linger.ms": 0,  # a request is gathered before it comes here
        "batch.num.messages": 1,  # and brokers refuse whole batches: what is refused is so for itself and not for its company
        "queue.buffering.max.kbytes": _QUEUE_KIB,
        "reconnect.backoff.max.ms": 1000,
        "topic.metadata.propagation.max.ms": 10_000,
        "log_level": 0,  # what it would print is told by the callbacks
        **security,
    }
