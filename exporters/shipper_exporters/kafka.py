"""Sends to Kafka: OTLP protobuf in the topics of the OpenTelemetry Collector, by an idempotent producer, keyed by life.

What is sent is in ``_kafka/messages.py``, and beside it what errors mean in ``answers.py``, what becomes of a request in
``journey.py``, the producer (librdkafka) in ``producer.py``. A request is acknowledged when all in-sync replicas have each of its
messages. One that is sent again while its messages are still with the producer waits for those and gives it no others.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from confluent_kafka import KafkaError, KafkaException

from shipper.clock import Deadline, Patience
from shipper.contracts import Accepted, Exporter, ExporterContext, Limits, Prepared, Request, Signal
from shipper.errors import MalformedOtlp, Rejected, Retryable, TooLarge, Unusable
from shipper_exporters._http.exchange import Addresses, SecretFile
from shipper_exporters._kafka.answers import of_connection, trouble
from shipper_exporters._kafka.journey import Journey
from shipper_exporters._kafka.messages import messages
from shipper_exporters._kafka.producer import KafkaProducer, config
from shipper_exporters._kafka.settings import KafkaSettings, check
from shipper_exporters._way.resolve import Names

__all__ = ["KafkaExporter", "KafkaSettings"]

_REMEMBERED = 64  # requests that failed and were not sent again yet


class KafkaExporter(Exporter):
    """Kafka; see the module."""

    Settings: ClassVar[type[Any]] = KafkaSettings
    many_lives = True  # a message names its life itself

    def __init__(self, name: str, settings: KafkaSettings, context: ExporterContext) -> None:
        self.name = name
        self._settings = settings
        self._clock = context.clock
        self._addresses = Addresses(context.own_addresses)
        self._brokers = check(name, settings, self._addresses)
        self._topics = {
            signal: topic
            for signal, topic in (
                (Signal.LOGS, settings.logs_topic),
                (Signal.TRACES, settings.traces_topic),
                (Signal.METRICS, settings.metrics_topic),
            )
            if topic
        }
        self.signals = frozenset(self._topics)
        self.limits = Limits(
            max_wire_bytes=settings.max_wire_bytes,
            requests_per_second=settings.requests_per_second,
            burst=settings.burst,
            max_in_flight=settings.max_in_flight,
        )
        self._names = Names(context.clock)
        self._password = SecretFile.first(password=settings.password_file)
        self._made_with: dict[str, str] = {}
        self._of_connection = ""  # what librdkafka last said of one
        self._producer: KafkaProducer | None = None
        self._making = asyncio.Lock()
        self._journeys: dict[str, Journey] = {}

    async def start(self) -> None:
        """See `Exporter.start`: the producer is made when there is something to send."""

    def prepare(self, request: Request) -> Prepared:
        """See `Exporter.prepare`. Raises `Rejected` when it is no OTLP, or a record is too large for a message."""
        try:
            made = messages(request, self._settings.max_message_bytes)
        except MalformedOtlp as error:
            raise Rejected(f"{self.name}: {error}") from None
        return Prepared(request.id, request.signal, tuple(made), sum(len(message.value) for message in made))

    async def send(self, prepared: Prepared, deadline: Deadline) -> Accepted:
        """See `Exporter.send`. What was acknowledged of a request before it failed is not sent again with it."""
        topic = self._topics[prepared.signal]
        try:
            async with Patience(self._clock, self._settings.timeout, deadline) as patience:
                producer = await self._ready()
                journey = self._journey(prepared)
                accepted = await journey.go(producer, topic, prepared.body, patience.progress)
        except TimeoutError:
            when = "before the deadline" if deadline.expired() else f"for {self._settings.timeout:g} s"
            raise Retryable(f"{self.describe()}: nothing was acknowledged {when}") from None
        except Unusable:
            await self._discard()
            raise
        except (TooLarge, Rejected):  # it comes again, if at all, under other ids
            self._journeys.pop(prepared.request_id, None)
            raise
        self._journeys.pop(prepared.request_id, None)
        return accepted

    def _journey(self, prepared: Prepared) -> Journey:
        """How far the request got before."""
        new = Journey(prepared.signal, len(prepared.body), self.describe())
        journey = self._journeys.setdefault(prepared.request_id, new)
        while len(self._journeys) > _REMEMBERED:
            del self._journeys[next(iter(self._journeys))]
        return journey

    def trusted(self) -> bool:
        """See `Exporter.trusted`: not for a broker on this host, unless the settings say so."""
        return self._settings.trust_local or (self._addresses.known and not self._addresses.local)

    def describe(self) -> str:
        """See `Exporter.describe`."""
        return "Kafka at " + ", ".join(f"{broker.host}:{broker.port}" for broker in self._brokers)

    async def aclose(self) -> None:
        """See `Exporter.aclose`."""
        await self._discard()

    async def _ready(self) -> KafkaProducer:
        """The producer, made anew when its credentials changed. Raises `Unusable` when it cannot be made."""
        async with self._making:
            security = self._security()
            if self._producer is not None and security != self._made_with:
                await self._discard()
            if self._producer is None:
                await self._look()
                settings = self._settings
                wanted = config(
                    ",".join(f"{broker.host}:{broker.port}" for broker in self._brokers),
                    compression=settings.compression,
                    max_message_bytes=settings.max_message_bytes,
                    security=security,
                )
                try:
                    self._producer = KafkaProducer(wanted, self._trouble)
                except KafkaException as error:
                    raise Unusable(f"{self.describe()}: {error.args[0].str()}") from None
                self._made_with = security
            return self._producer

    async def _discard(self) -> None:
        """End the producer: what was with it is given to the next one, if it is sent again."""
        producer, self._producer = self._producer, None
        for journey in self._journeys.values():
            journey.forget()
        if producer is not None:
            await producer.aclose()

    def _security(self) -> dict[str, str]:
        settings = self._settings
        user = self._password is not None
        protocol = ("SASL_" if user else "") + ("SSL" if settings.tls else "PLAINTEXT")
        files = {
            "ssl.ca.location": settings.ca_file,
            "ssl.certificate.location": settings.cert_file,
            "ssl.key.location": settings.key_file,
        }
        found = {"security.protocol": protocol, **{name: path for name, path in files.items() if path}}
        if self._password is not None:
            found |= {
                "sasl.mechanism": settings.mechanism,
                "sasl.username": settings.username,
                "sasl.password": self._password.read(),
            }
        return found

    async def _look(self) -> None:
        """Find out where the brokers are: it decides what an acknowledgement is worth."""
        for broker in self._brokers:
            assert broker.host is not None
            assert broker.port is not None
            try:
                found = await self._names.resolve(broker.host, broker.port)
            except OSError:
                continue  # librdkafka finds the same, and says so
            self._addresses.check(broker.host, [entry[4][0] for entry in found], broker.port)

    def _trouble(self, error: KafkaError) -> None:
        self._of_connection = of_connection(error) or self._of_connection
        found = trouble(error, self.describe(), self._of_connection)
        if found is not None:
            for journey in self._journeys.values():
                journey.fail(found)
