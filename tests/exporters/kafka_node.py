"""A real Kafka broker, started from the jars that Maven has: org.apache.kafka:kafka_2.13 and what it depends on.

``mvn dependency:copy-dependencies -DoutputDirectory=DIR`` in a project that depends on it puts them together; tests take the folder
from ``KAFKA_LIBS``.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIBS = os.environ.get("KAFKA_LIBS", "")
_PATIENCE = 60.0
_CLUSTER = "MkU3OEVBNTcwNTJENDM2Qk"


class KafkaNode:
    """One broker that is its own controller, with its data in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.port, controller = _free_port(), _free_port()
        self._directory = directory
        self._config = directory / "server.properties"
        self._config.write_text(
            "process.roles=broker,controller\nnode.id=1\n"
            f"controller.quorum.voters=1@127.0.0.1:{controller}\n"
            f"listeners=PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}\n"
            f"advertised.listeners=PLAINTEXT://127.0.0.1:{self.port}\n"
            "controller.listener.names=CONTROLLER\ninter.broker.listener.name=PLAINTEXT\n"
            f"log.dirs={directory / 'data'}\nnum.partitions=3\n"
            "offsets.topic.replication.factor=1\ngroup.initial.rebalance.delay.ms=0\n"
        )
        self._java("kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(self._config)).wait()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it listens."""
        self._process = self._java("kafka.Kafka", str(self._config))
        end = time.monotonic() + _PATIENCE
        while not self._listens():
            if time.monotonic() >= end or self._process.poll() is not None:
                raise AssertionError((self._directory / "kafka.log").read_text()[-2000:])
            time.sleep(0.01)  # another process, which says nothing: there is no logger among its jars

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _java(self, *arguments: str) -> subprocess.Popen[bytes]:
        with open(self._directory / "kafka.log", "ab") as log:
            return subprocess.Popen(["java", "-Xmx512m", "-cp", f"{LIBS}/*", *arguments], stdout=log, stderr=log)


@contextmanager
def running(directory: Path) -> Iterator[KafkaNode]:
    """A broker that is there."""
    node = KafkaNode(directory)
    try:
        node.start()
        yield node
    finally:
        node.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
