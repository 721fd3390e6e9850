"""Routes through real sidecars and a gateway: who gets what, and that every count still adds up."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path

from shipper.testing.sink import Received, Sink, accept, refuse
from tests.e2e.kit import (
    audit,
    data_lines,
    free_port,
    gateway,
    host,
    is_statement,
    listening,
    shipper,
    sidecar,
    statements,
    until,
)

FILES = "files: [{{include: ['{log}'], shape: {{parse: json, fields: [route]}}}}]\n"


def line(number: int, level: str, route: str) -> str:
    """A JSON line as services write them."""
    return json.dumps({"level": level, "msg": f"request {number}", "route": route})


def wanted(text: str) -> bool:
    """What the route of these tests takes."""
    return json.loads(text)["level"] in ("warn", "error") and json.loads(text)["route"].startswith("/pay")


def data(request: Received) -> list[str]:
    """The log lines in a request."""
    return [body for body in request.lines() if not is_statement(body)]


LINES = [
    line(number, ("info", "warn", "error")[number % 3], ("/pay/card", "/cart", "/pay", "/")[number % 4])
    for number in range(240)
]


def test_a_destination_gets_what_its_routes_take(tmp_path: Path) -> None:
    """Another gets everything; the account says of each how much was for it, through a kill and a restart."""

    async def scenario() -> None:
        log, config = tmp_path / "app.log", tmp_path / "shipper.yaml"
        log.write_text("".join(f"{each}\n" for each in LINES[:120]))
        async with Sink() as every, Sink() as few:
            few.judge = lambda request: refuse(413) if len(data(request)) > 5 else accept()
            config.write_text(
                FILES.format(log=log)
                + f"destinations: {{primary: {{endpoint: '{every.url}'}}, few: {{endpoint: '{few.url}'}}}}\n"
                + "routes:\n"
                + "  - to: few\n"
                + "    signals: [logs]\n"
                + "    when: {severity: warn, service: checkout, attributes: {route: '/pay*'}}\n"
            )
            settings = {"SHIPPER_SERVICES_ENABLED": "false"}
            flags = ["--config", str(config)]
            async with sidecar(tmp_path / "host", every.url, flags=flags, **settings) as one:
                await one.up()
                await until(lambda: len(data_lines(every)) == 120, "all lines arrive")
                await one.kill()
                with log.open("a") as file:
                    file.write("".join(f"{each}\n" for each in LINES[120:]))
                await one.start()
                await one.up()
                assert await one.terminate() == 0, one.said()
            expected = [each for each in LINES if wanted(each)]
            assert sorted(data_lines(every)) == sorted(LINES)
            assert sorted(data_lines(few)) == sorted(expected)
            (stream,) = statements(few)[-1]["streams"]
            counts = {name: (each["read"], each["filtered"]) for name, each in stream["destinations"].items()}
            assert counts == {"primary": (240, 0), "few": (240, 240 - len(expected))}
            assert statements(few)[-1]["left"] == []

    asyncio.run(scenario())


def test_what_is_for_nobody_is_said_and_counted(tmp_path: Path) -> None:
    """Where every destination has a route, at `check` and in the metrics; such records do not hold up an end."""

    async def scenario() -> None:
        log, config, admin = tmp_path / "app.log", tmp_path / "shipper.yaml", free_port()
        log.write_text("".join(f"{each}\n" for each in LINES))
        async with Sink() as sink:
            config.write_text(
                FILES.format(log=log)
                + f"destinations: {{primary: {{endpoint: '{sink.url}'}}}}\n"
                + "routes: [{to: primary, signals: [logs], when: {severity: error}}]\n"
            )
            checked = await asyncio.to_thread(shipper, "check", str(config))
            assert checked.returncode == 0
            assert "logs that match none of them go nowhere, and are counted" in checked.stderr
            assert "no destination takes" not in checked.stderr, "nothing here makes traces"
            settings = {"SHIPPER_SERVICES_ENABLED": "false", "SHIPPER_ADMIN_LISTEN": f"127.0.0.1:{admin}"}
            flags = ["--config", str(config)]
            async with sidecar(tmp_path / "host", sink.url, flags=flags, **settings) as one:
                await one.up()
                await until(lambda: len(data_lines(sink)) == 80, "errors arrive")
                shown = await asyncio.to_thread(_metrics, admin)
                status = await asyncio.to_thread(shipper, "status", "--state-dir", str(one.directory / "state"))
                assert "no route takes it: 160 records of logs" in status.stdout
                assert 'shipper_unrouted_records_total{signal="logs"} 160.0' in shown
                assert await one.terminate() == 0, one.said()

    asyncio.run(scenario())


def _metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        return str(answer.read(), "utf-8")


def test_a_gateway_that_routes_says_what_it_left_out(tmp_path: Path) -> None:
    """An archive of warnings alone is audited like any other: what is not there was filtered, and nothing is missing."""

    async def scenario() -> None:
        log, config, port = tmp_path / "app.log", tmp_path / "shipper.yaml", free_port()
        home, few = tmp_path / "gateway", tmp_path / "few"
        log.write_text("".join(f"{each}\n" for each in LINES))
        settings = tmp_path / "gateway.yaml"
        settings.write_text(
            f"destinations: {{few: {{type: archive, url: '{few}', linger: 0.1s}}}}\n"
            "routes: [{to: few, signals: [logs], when: {severity: error}}]\n"
        )
        config.write_text(FILES.format(log=log))
        flags = ["--config", str(settings)]
        async with gateway(home, port, flags=flags, SHIPPER_DESTINATIONS_ARCHIVE_LINGER="0.1s") as relay:
            await listening(port)
            flags = ["--config", str(config)]
            endpoint = f"http://127.0.0.1:{port}"
            async with sidecar(tmp_path / "host", endpoint, flags=flags, SHIPPER_SERVICES_ENABLED="false") as one:
                await one.up()
                assert await one.terminate() == 0, one.said()
            assert await relay.terminate() == 0, relay.said()
        whole = host(await asyncio.to_thread(audit, home / "archive"), "host")["counts"]
        part = host(await asyncio.to_thread(audit, few), "host")["counts"]
        assert (whole["archived"], whole["filtered"], whole["missing"]) == (240, 0, 0)
        assert (part["archived"], part["filtered"], part["missing"], part["read"]) == (80, 160, 0, 240)

    asyncio.run(scenario())
