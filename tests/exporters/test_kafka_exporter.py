"""Kafka: what messages hold, that none is given twice, and what brokers' errors mean."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition

from shipper.clock import Deadline, SystemClock
from shipper.contracts import Accepted, ExporterContext, Signal
from shipper.errors import ConfigError, DeliveryError, Rejected, Retryable, TooLarge, Unusable
from shipper.otlp.decode import records
from shipper.testing.clock import FakeClock
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters._kafka.answers import meaning, trouble
from shipper_exporters._kafka.messages import messages
from shipper_exporters._way.resolve import Found, Names
from shipper_exporters.kafka import KafkaExporter, KafkaSettings
from tests.exporters.kafka_broker import KafkaBroker

CLOCK = SystemClock()


def exporter(port: int, **options: object) -> KafkaExporter:
    given = {"endpoints": [f"127.0.0.1:{port}"], "compression": "gzip", **options}
    return KafkaExporter("kafka", KafkaSettings(**given), ExporterContext(CLOCK, LIFE, 1, "Shipper/test"))  # type: ignore[arg-type]


def with_broker(scenario: Callable[[KafkaBroker], Awaitable[None]], **options: object) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), KafkaBroker(**options) as broker:  # type: ignore[arg-type]
            await scenario(broker)

    asyncio.run(main())


async def raised(one: KafkaExporter, *lines: str, seconds: float = 20) -> DeliveryError:
    """What sending these lines ends with."""
    try:
        with pytest.raises(DeliveryError) as caught:
            await one.send(one.prepare(log_request(log_batch(lines))), Deadline.after(CLOCK, seconds))
        return caught.value
    finally:
        await one.aclose()


def bodies(value: bytes) -> list[str]:
    return [str(record.body) for record in records(Signal.LOGS, value)]


# What messages are made


def test_small_batches_share_a_message() -> None:
    """Batches of one life go together, and the headers list them as those of an OTLP request do."""
    first, second = log_batch(["a", "b"], stream="x"), log_batch(["c"], stream="y")
    (message,) = messages(log_request(first, second), 1_000_000)
    headers = dict(message.headers)
    assert message.key == LIFE.encode()
    assert bodies(message.value) == ["a", "b", "c"]
    assert headers["shipper-batches"].startswith(b"x:0-4:")
    assert b",y:0-2:" in headers["shipper-batches"]
    assert "shipper-part" not in headers


def test_lives_do_not_share_a_message() -> None:
    """A message has the key of one life, so that another's records stand in another message."""
    made = messages(log_request(log_batch(["a"]), log_batch(["b"], life="other")), 1_000_000)
    assert [message.key for message in made] == [LIFE.encode(), b"other"]


def test_a_large_batch_is_several_messages_in_order() -> None:
    """A batch beyond what a message may hold is cut between records, and each part says which it is."""
    lines = [f"line {n} " + "x" * 200 for n in range(100)]
    made = messages(log_request(log_batch(lines)), 4096)
    assert all(len(message.value) < 4096 for message in made)
    assert [line for message in made for line in bodies(message.value)] == lines
    parts = [dict(message.headers)["shipper-part"] for message in made]
    assert parts == [f"{n}/{len(made)}".encode() for n in range(1, len(made) + 1)]
    assert len({dict(message.headers)["shipper-batches"] for message in made}) == 1


def test_a_record_that_fits_no_message_is_refused() -> None:
    """One record larger than the limit is for the quarantine, and the reason names the setting."""
    with pytest.raises(Rejected, match="max_message_bytes"):
        messages(log_request(log_batch(["x" * 5000])), 4096)


# Sending


def test_what_is_under_way_is_not_given_again() -> None:
    """A request that was given up on waits, when it is sent again, for the messages that the producer still has."""

    async def scenario(broker: KafkaBroker) -> None:
        broker.fault = "held"
        one = exporter(broker.port)
        prepared = one.prepare(log_request(log_batch(["once"])))
        with pytest.raises(Retryable, match="before the deadline"):
            await one.send(prepared, Deadline.after(CLOCK, 0.5))
        again = asyncio.create_task(one.send(prepared, Deadline.after(CLOCK, 20)))
        await asyncio.sleep(0)
        broker.fault = ""
        broker.release()
        assert isinstance(await again, Accepted)
        assert [bodies(message.value) for message in broker.stored] == [["once"]]
        await one.aclose()

    with_broker(scenario)


def test_signals_have_topics_of_their_own() -> None:
    """Metrics go to their topic, and a signal without one is not taken."""

    async def scenario(broker: KafkaBroker) -> None:
        one = exporter(broker.port, traces_topic="")
        assert one.signals == {Signal.LOGS, Signal.METRICS}
        batch = log_batch(["m"], signal=Signal.METRICS)
        await one.send(one.prepare(log_request(batch)), Deadline.after(CLOCK, 20))
        assert [message.topic for message in broker.stored] == ["otlp_metrics"]
        await one.aclose()

    with_broker(scenario)


def test_a_topic_that_is_not_there_is_for_a_person_to_create() -> None:
    """Where brokers do not create topics, nothing is given up and the sentence says what to do."""

    async def scenario(broker: KafkaBroker) -> None:
        error = await raised(exporter(broker.port), "line", seconds=40)
        assert isinstance(error, Unusable)
        assert "create the topic" in str(error)

    with_broker(scenario, topics=frozenset({"other"}))


def test_something_else_at_the_port_is_no_broker() -> None:
    """A web server where Kafka should be is said to be no Kafka."""

    async def main() -> None:
        async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(web, "127.0.0.1", 0)
        async with server:
            error = await raised(exporter(server.sockets[0].getsockname()[1]), "line")
        assert isinstance(error, Unusable), error
        assert "does not speak Kafka" in str(error)

    asyncio.run(main())


def test_that_all_brokers_are_down_is_said_with_the_reason() -> None:
    """What was last said of a connection is the reason; where nothing was, it is said what to look at."""
    down = KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")
    known, unknown = trouble(down, "Kafka", "Connection refused"), trouble(down, "Kafka")
    assert isinstance(known, Retryable)
    assert isinstance(unknown, Retryable)
    assert str(known) == "Kafka: no broker can be reached: Connection refused"
    assert "does it want TLS?" in str(unknown)


def test_a_resolver_that_hangs_is_waited_for_no_longer_than_there_is_time() -> None:
    """The names of brokers are asked for within the deadline, too."""
    answered = threading.Event()

    def hang(host: str, port: int) -> Found:
        answered.wait()
        raise OSError("gone")

    async def main() -> None:
        clock = FakeClock()
        context = ExporterContext(clock, LIFE, 1, "Shipper/test")
        one = KafkaExporter("kafka", KafkaSettings(endpoints=["broker.example:9092"]), context)
        one._names = Names(clock, hang)
        prepared = one.prepare(log_request(log_batch(["a"])))
        async with asyncio.timeout(30), clock.autojump():
            with pytest.raises(Retryable, match="before the deadline"):
                await one.send(prepared, Deadline.after(clock, 5))
        await one.aclose()

    try:
        asyncio.run(main())
    finally:
        answered.set()


def test_a_name_that_leads_nowhere_is_tried_again() -> None:
    """A broker that cannot be resolved is down, not wrong."""

    async def main() -> None:
        error = await raised(exporter(1, endpoints=["no-such-host.invalid:9092"]), "line")
        assert isinstance(error, Retryable)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (KafkaError.MSG_SIZE_TOO_LARGE, TooLarge),
        (KafkaError.INVALID_RECORD, Rejected),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, Unusable),
        (KafkaError.SASL_AUTHENTICATION_FAILED, Unusable),
        (KafkaError._AUTHENTICATION, Unusable),
        (KafkaError._SSL, Unusable),
        (KafkaError.POLICY_VIOLATION, Unusable),
        (KafkaError.NOT_ENOUGH_REPLICAS, Retryable),
        (KafkaError.LEADER_NOT_AVAILABLE, Retryable),
        (KafkaError.KAFKA_STORAGE_ERROR, Retryable),
        (KafkaError._MSG_TIMED_OUT, Retryable),
        (KafkaError._PURGE_QUEUE, Retryable),
    ],
)
def test_what_errors_mean(code: int, error: type[DeliveryError]) -> None:
    """Each error of a broker or of the producer has one consequence, and is named in the sentence."""
    found = meaning(KafkaError(code), "Kafka at kafka:9092")
    assert type(found) is error
    assert KafkaError(code).name() in str(found)


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"endpoints": []}, "endpoint"),
        ({"endpoints": ["http://kafka:9092"]}, "endpoints[0]"),
        ({"endpoints": [], "endpoint": "http://kafka:9092"}, "endpoint"),
        ({"endpoint": "kafka:9092"}, "endpoints"),
        ({"logs_topic": "no spaces"}, "logs_topic"),
        ({"logs_topic": "", "traces_topic": "", "metrics_topic": ""}, "logs_topic"),
        ({"username": "me"}, "username"),
        ({"ca_file": "ca.pem"}, "ca_file"),
        ({"tls": True, "key_file": "key.pem"}, "key_file"),
    ],
)
def test_settings_that_cannot_work(options: dict[str, object], path: str) -> None:
    """A setting that cannot work is named before anything is sent."""
    with pytest.raises(ConfigError) as caught:
        exporter(9092, **options)
    assert caught.value.path == f"destinations.kafka.{path}"


def test_a_broker_on_this_host_is_no_proof() -> None:
    """What a broker on loopback took has not left the host, unless the settings say that it has."""
    context = ExporterContext(FakeClock(), LIFE, 1, "Shipper/test")
    one = KafkaExporter("kafka", KafkaSettings(endpoints=["127.0.0.1:9092"]), context)
    other = KafkaExporter("kafka", KafkaSettings(endpoints=["127.0.0.1:9092"], trust_local=True), context)
    assert (one.trusted(), other.trusted()) == (False, True)


# A broker of somebody else: librdkafka's own for tests


def mock_cluster() -> tuple[Producer, int]:
    """librdkafka's mock cluster, which lives as long as the producer that is returned; and its port."""
    owner = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 0})
    (broker,) = owner.list_topics(timeout=10).brokers.values()
    return owner, broker.port


@pytest.mark.parametrize("compression", ["zstd", "lz4", "snappy", "none"])
def test_a_consumer_reads_what_was_sent(compression: str) -> None:
    """What another client reads from the topic is each record, once and in order, under the key of the life."""
    owner, port = mock_cluster()
    lines = [f"line {n}" for n in range(500)]

    async def main() -> None:
        one = exporter(port, compression=compression, max_message_bytes=4096)
        for at in range(0, 500, 100):
            batch = log_batch(lines[at : at + 100], start=10 * at)
            await one.send(one.prepare(log_request(batch)), Deadline.after(CLOCK, 30))
        await one.aclose()

    asyncio.run(main())
    consumer = Consumer({"bootstrap.servers": f"127.0.0.1:{port}", "group.id": "g", "auto.offset.reset": "earliest"})
    partitions = consumer.list_topics("otlp_logs", timeout=10).topics["otlp_logs"].partitions
    consumer.assign([TopicPartition("otlp_logs", number, OFFSET_BEGINNING) for number in partitions])
    found: list[str] = []
    end = time.monotonic() + 30
    while len(found) < 500 and time.monotonic() < end:
        message = consumer.poll(0.5)
        if message is not None and message.error() is None:
            assert message.key() == LIFE.encode()
            found += bodies(message.value() or b"")
    consumer.close()
    del owner
    assert found == lines


def test_without_the_extra_it_says_what_to_install() -> None:
    """Where confluent-kafka is missing, the error names the extra that brings it."""
    code = (
        "import sys; sys.modules['confluent_kafka'] = None\n"
        "from shipper.pump.load import exporter_class\n"
        "try: exporter_class('kafka')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ephemeral-shipper[kafka]" in ran.stdout
