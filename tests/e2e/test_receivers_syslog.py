"""Syslog through a real sidecar: stock messages arrive with the host's identity, and what was stored survives a kill."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

from shipper.testing.sink import Sink
from tests.e2e.kit import data_lines, free_port, shipper, sidecar, until


def test_what_came_by_all_ways_arrives_after_a_kill(tmp_path: Path) -> None:
    """Messages by a unix socket and by TCP are stored while the destination is down, survive a kill, and arrive once each."""

    async def story() -> None:
        port, path = free_port(), tmp_path / "log"
        settings = {
            "SHIPPER_RECEIVERS_SYSLOG_TCP": f"127.0.0.1:{port}",
            "SHIPPER_RECEIVERS_SYSLOG_SOCKET": str(path),
            "SHIPPER_SERVICES_ENABLED": "false",
        }
        async with Sink() as sink:
            await sink.go_down()
            process = sidecar(tmp_path / "host", sink.url, **settings)
            await process.start()
            await process.up()
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"".join(b"<13>Nov 23 02:00:08 web1 app: tcp %d\n" % number for number in range(500)))
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.connect(str(path))
                for number in range(100):
                    await asyncio.to_thread(sender.send, b"<13>Nov 23 02:00:08 app: local %d" % number)
            spooled = tmp_path / "host/state/receivers/syslog/logs"
            expected = [f"tcp {number}" for number in range(500)] + [f"local {number}" for number in range(100)]
            wanted = [b"tcp 499", b"local 99"]

            def stored() -> bool:
                held = b"".join(file.read_bytes() for file in spooled.glob("*.spool"))
                return all(text in held for text in wanted)

            await until(stored, "all messages are in the spool")
            await process.kill()
            writer.close()
            await process.start()
            await sink.come_up()
            await until(lambda: len(data_lines(sink)) >= 600, f"all messages arrive: {process.said()}")
            assert await process.terminate() == 0, process.said()
            assert sorted(data_lines(sink)) == sorted(expected)

    asyncio.run(story())


def test_a_configuration_that_listens_nowhere(tmp_path: Path) -> None:
    """A section without an address, and one that anybody could reach, are said with their place."""
    file = tmp_path / "shipper.yaml"
    for section, said in (
        ({"zone": "UTC"}, "receivers.syslog: listens nowhere"),
        ({"udp": "0.0.0.0:514"}, "can be reached from other machines"),
        ({"tls": "127.0.0.1:6514"}, "needs a certificate"),
    ):
        file.write_text(json.dumps({"receivers": {"syslog": section}, "destinations": {"out": {"type": "otlp"}}}))
        answer = shipper("check", str(file))
        assert answer.returncode != 0
        assert said in answer.stdout + answer.stderr
