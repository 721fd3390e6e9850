"""The Kafka exporter passes the suite that every exporter has to pass."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from shipper.clock import Clock
from shipper.contracts import Exporter, ExporterContext, Signal
from shipper.otlp.decode import records
from shipper.testing.contract import Destination, ExporterContract, Fault, Held
from shipper_exporters.kafka import KafkaExporter, KafkaSettings
from tests.exporters.kafka_broker import KafkaBroker

FAULTS: dict[Fault, str | int] = {
    Fault.BROKEN: "cut off",
    Fault.STUCK: "never",
    Fault.SLOW: "held",
    Fault.MISCONFIGURED: 29,  # TOPIC_AUTHORIZATION_FAILED
    Fault.TOO_LARGE: 10,  # MESSAGE_TOO_LARGE
    Fault.REFUSING: 87,  # INVALID_RECORD
    Fault.LYING: "lie",
}


class KafkaDestination(Destination):
    """A broker that plays what brokers do."""

    def __init__(self, broker: KafkaBroker) -> None:
        self._broker = broker

    def exporter(self, context: ExporterContext) -> Exporter:
        settings = KafkaSettings(endpoints=[f"127.0.0.1:{self._broker.port}"], compression="gzip")
        return KafkaExporter("kafka", settings, context)

    async def healthy(self) -> None:
        await self._broker.come_up()
        self._broker.fault = ""
        self._broker.release()

    async def failing(self, fault: Fault) -> None:
        if fault is Fault.DOWN:
            await self._broker.go_down()
        else:
            self._broker.fault = FAULTS[fault]

    async def stored(self) -> Sequence[Held]:
        return [
            Held(
                message.headers["idempotency-key"].decode(),
                tuple(str(record.body) for record in records(Signal.LOGS, message.value)),
            )
            for message in self._broker.stored
        ]


class TestKafkaExporter(ExporterContract):
    """The suite, against a broker on a real socket."""

    faults = ExporterContract.faults - {
        Fault.BUSY,  # a broker that is busy answers late
        Fault.STRANGER,  # tried in test_kafka_exporter: librdkafka says it of the connection
    }

    @asynccontextmanager
    async def destination(self, clock: Clock) -> AsyncIterator[Destination]:
        async with KafkaBroker() as broker:
            yield KafkaDestination(broker)
