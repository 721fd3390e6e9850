"""Kafka itself, and the Collector that reads from it: real programs, where their paths are given."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from pathlib import Path
from random import Random

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from shipper.clock import Deadline, SystemClock
from shipper.contracts import Accepted, ExporterContext, Prepared, Signal
from shipper.errors import Retryable
from shipper.otlp.decode import records
from shipper.testing.streams import LIFE, log_batch, log_request
from shipper_exporters.kafka import KafkaExporter, KafkaSettings
from tests.exporters.kafka_node import LIBS, running

pytestmark = pytest.mark.skipif(not LIBS, reason="KAFKA_LIBS names no folder with Kafka's jars")

CLOCK = SystemClock()


def exporter(port: int) -> KafkaExporter:
    settings = KafkaSettings(endpoints=[f"127.0.0.1:{port}"], max_message_bytes=4096, timeout=5)
    return KafkaExporter("kafka", settings, ExporterContext(CLOCK, LIFE, 1, "Shipper/test"))


async def insist(one: KafkaExporter, prepared: Prepared) -> None:
    """As the pump does: the very same again until it is taken."""
    while True:
        try:
            await one.send(prepared, Deadline.after(CLOCK, 30))
            return
        except Retryable:
            await asyncio.sleep(0.05)


def consumed(port: int, expected: int) -> list[str]:
    """All bodies in the topic, in the order of their partition."""
    consumer = Consumer({"bootstrap.servers": f"127.0.0.1:{port}", "group.id": "g"})
    partitions = consumer.list_topics("otlp_logs", timeout=20).topics["otlp_logs"].partitions
    consumer.assign([TopicPartition("otlp_logs", number, OFFSET_BEGINNING) for number in partitions])
    found: list[str] = []
    end = time.monotonic() + 20
    while time.monotonic() < end:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            found += [str(record.body) for record in records(Signal.LOGS, message.value() or b"")]
        elif len(found) >= expected:
            break
    consumer.close()
    return found


def test_a_broker_that_is_killed_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    """A broker dies under load and comes again with its disk: each record is in the topic once, in order."""
    lines = [f"line {n}" for n in range(4000)]

    async def main(port: int) -> None:
        one = exporter(port)
        for at in range(0, 4000, 200):
            if at == 1000:
                node.kill()
                restart = asyncio.get_running_loop().run_in_executor(None, node.start)
            await insist(one, one.prepare(log_request(log_batch(lines[at : at + 200], start=20 * at))))
        await restart
        await one.aclose()

    with running(tmp_path) as node:
        asyncio.run(main(node.port))
        assert consumed(node.port, 4000) == lines


def test_a_topic_that_takes_less_doubles_nothing(tmp_path: Path) -> None:
    """Messages that a topic refuses for their size go in halves, and those beside them are not sent again."""
    dice = Random(1)
    lines = [f"line {n} {dice.randbytes(dice.choice([20, 200, 800])).hex()}" for n in range(400)]

    async def main(port: int) -> None:
        one = exporter(port)
        for at in range(0, 400, 40):
            prepared = one.prepare(log_request(log_batch(lines[at : at + 40], start=20 * at)))
            assert len(prepared.body) > 2
            answer = await one.send(prepared, Deadline.after(CLOCK, 30))
            assert answer == Accepted()
        await one.aclose()

    with running(tmp_path) as node:
        admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{node.port}"})
        topic = NewTopic("otlp_logs", 1, 1, config={"max.message.bytes": "2400"})
        admin.create_topics([topic])["otlp_logs"].result(30)
        asyncio.run(main(node.port))
        found = consumed(node.port, 400)
        assert sorted(found) == sorted(lines)


@pytest.mark.skipif("OTELCOL_KAFKA_BINARY" not in os.environ, reason="OTELCOL_KAFKA_BINARY names no Collector")
def test_the_collector_reads_what_was_sent(tmp_path: Path) -> None:
    """The Collector's Kafka receiver takes each record as it was."""
    lines = [f"line {n}" for n in range(300)]
    out, config = tmp_path / "out.jsonl", tmp_path / "collector.yaml"

    async def main(port: int) -> None:
        one = exporter(port)
        await insist(one, one.prepare(log_request(log_batch(lines))))
        await one.aclose()

    with running(tmp_path) as node:
        asyncio.run(main(node.port))
        config.write_text(
            f"receivers: {{kafka: {{brokers: ['127.0.0.1:{node.port}'], initial_offset: earliest}}}}\n"
            f"exporters: {{file: {{path: {out}, flush_interval: 100ms}}}}\n"
            "service: {telemetry: {metrics: {level: none}}, pipelines: {logs: {receivers: [kafka], exporters: [file]}}}\n"
        )
        with open(tmp_path / "collector.log", "wb") as log:
            binary = os.environ["OTELCOL_KAFKA_BINARY"]
            collector = subprocess.Popen([binary, f"--config={config}"], stdout=log, stderr=log)
        try:
            end = time.monotonic() + 60
            found: list[str] = []
            while len(found) < 300 and time.monotonic() < end and collector.poll() is None:
                time.sleep(0.05)
                text = out.read_text() if out.exists() else ""
                found = [part.split('"')[0] for part in text.split('"stringValue":"line ')[1:]]
            assert [f"line {number}" for number in found] == lines, (tmp_path / "collector.log").read_text()[-2000:]
        finally:
            collector.send_signal(signal.SIGTERM)
            collector.wait()
