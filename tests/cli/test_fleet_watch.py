"""``shipper fleet watch`` as people run it: a process that reads and writes a real Prometheus, and is told to stop."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shipper.cli import main
from shipper.dashboards import names
from shipper.fleet.audit import audit
from shipper.testing import prometheus
from shipper.testing.prometheus import Prometheus
from tests.e2e.kit import Shipper, free_port, until
from tests.fleet.verdict_series import Life, write

real = pytest.mark.skipif(not prometheus.available(), reason=prometheus.MISSING)
WORSE = f'{names.VERDICT}{{service="shop",env="prod",generation="2",baseline="1",subject="errors"}}'


def lives(env: str = "prod") -> list[Life]:
    """Generation 2 fails five times as often as 1 beside it."""
    now = int(time.time())
    return [
        Life(f"{env}-{name}-{index}", name, int(now // 60 * 60 - born * 60), now, fails=fails, env=env)
        for name, born, fails in (("1", 70, 200), ("2", 25, 40))
        for index in range(4)
    ]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    window = "storage: {tsdb: {out_of_order_time_window: 30d}}\n"
    with Prometheus(tmp_path_factory.mktemp("prometheus"), config=window) as running:
        write(running.write_url, *(life.written() for env in ("prod", "staging") for life in lives(env)))
        yield running


def watcher(directory: Path, server: Prometheus, *words: str) -> Shipper:
    return Shipper(directory, ["fleet", "watch", "--prometheus", server.url, *words], {})


def called(*words: str) -> Result:
    return CliRunner(env={name: None for name in os.environ if name.startswith(("SHIPPER_", "OTEL_"))}).invoke(
        main, ["fleet", *words]
    )


@real
def test_it_writes_verdicts_until_it_is_told_to_stop(server: Prometheus, tmp_path: Path) -> None:
    """By --write: the verdict is there and said; with a SIGTERM its series end at once, and the status is 0."""

    async def story() -> None:
        words = ("--write", server.write_url, "--env", "prod", "--every", "5")
        async with watcher(tmp_path / "a", server, *words) as running:
            await until(lambda: server.query(WORSE) and server.value(WORSE) == 1, "it is worse")
            await until(lambda: "shop in prod, generation 2: errors: worse (×5.0" in running.said(), "it says so")
            assert {dict(found)["env"] for found in server.query(names.VERDICT)} == {"prod"}
            assert await running.terminate() == 0
        await until(lambda: not server.query(names.VERDICT), "its series have ended")
        assert "Traceback" not in running.said()

    asyncio.run(story())


@real
def test_by_the_configuration_and_with_a_lease(server: Prometheus, tmp_path: Path) -> None:
    """Destinations of the configuration are written to, by whoever holds the lease in the archive, which is given back."""
    config = tmp_path / "shipper.yaml"
    config.write_text(
        f"destinations:\n  numbers: {{type: prometheus, endpoint: '{server.write_url}', external_labels: {{by: config}}}}\n"
        f"  kept: {{type: archive, url: '{tmp_path / 'elsewhere'}'}}\n"
    )
    words = ("--config", str(config), "--archive", str(tmp_path / "archive"), "--env", "staging", "--every", "5")
    written = f'{names.VERDICT}{{by="config",env="staging"}}'

    async def story() -> None:
        for name in "ab":
            async with watcher(tmp_path / name, server, *words) as running:
                await until(lambda: server.query(written), "it writes")
                assert await running.terminate() == 0
            assert "keeps the series of verdicts" in running.said()  # it was given back, so nobody waits for its end
            await until(lambda: not server.query(written), "its series have ended")

    asyncio.run(story())


@real
def test_through_a_gateway(server: Prometheus, tmp_path: Path) -> None:
    """An OTLP destination gets them, too, ends included; the archive of a gateway takes the watcher for nobody's host."""
    port = free_port()
    written = f'{names.VERDICT}{{by="gateway"}}'
    through = tmp_path / "gateway.yaml"
    through.write_text(
        f"destinations:\n  numbers: {{type: prometheus, endpoint: '{server.write_url}', external_labels: {{by: gateway}}}}\n"
        f"  archive: {{type: archive, url: '{tmp_path / 'archive'}'}}\n"
    )
    config = tmp_path / "shipper.yaml"
    config.write_text(f"destinations: {{gateway: {{type: otlp, endpoint: 'http://127.0.0.1:{port}'}}}}\n")
    words = [
        "gateway",
        "--config",
        str(through),
        "--listen",
        f"127.0.0.1:{port}",
        "--state-dir",
        str(tmp_path / "state"),
    ]

    async def story() -> None:
        async with Shipper(tmp_path / "g", words, {"SHIPPER_ADMIN_LISTEN": "off"}) as gateway:
            await gateway.up()
            async with watcher(tmp_path / "a", server, "--config", str(config), "--env", "prod") as running:
                await until(lambda: server.query(written), "they have gone through the gateway")
                assert await running.terminate() == 0
                await until(lambda: not server.query(written), "their end has, too")
            assert await gateway.terminate() == 0

    asyncio.run(story())
    report = audit(str(tmp_path / "archive"))
    assert report.ok
    assert {life.role for life in report.lives} == {"gateway"}


def test_a_prometheus_that_never_answers_holds_up_no_end(tmp_path: Path) -> None:
    """Told to stop while it waits for an answer, it stops."""

    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            words = ["fleet", "watch", "--prometheus", url, "--write", url + "/w", "--every", "600"]
            async with Shipper(tmp_path, words, {}) as running:
                silent.setblocking(False)
                asked, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(silent), 40)
                with asked:
                    assert await running.terminate() == 0

    asyncio.run(story())


def test_wrong_calls() -> None:
    """What cannot be meant is a usage error with what to say instead."""
    common = ("watch", "--prometheus", "http://127.0.0.1:1")
    for words, says in (
        (("watch",), "--prometheus"),
        (("watch", "--prometheus", "nowhere", "--write", "http://127.0.0.1:1/w"), "is no URL such as"),
        (common, "where to write? --write URL, or a configuration with a destination that takes metrics"),
        ((*common, "--write", "nowhere"), "--write: is no URL"),
        ((*common, "--write", "http://127.0.0.1:1"), "--write: has no path; a Prometheus takes remote writes at"),
        ((*common, "--write", "http://127.0.0.1:1/w", "--token-file", "/no/such"), "cannot read the token"),
        ((*common, "--write", "http://127.0.0.1:1/w", "--every", "1"), "--every"),
        ((*common, "--write", "http://127.0.0.1:1/w", "--archive", "/a", "--option", "x"), "is not KEY=VALUE"),
        ((*common, "--config", "/no/such"), "no such file"),
    ):
        done = called(*words)
        assert (done.exit_code, says in done.output) == (2, True), (words, done.output)


def test_without_the_sidecar_extra_it_says_what_to_install(tmp_path: Path) -> None:
    """One sentence with the pip command."""
    for name in ("msgspec", "aiohttp", "yaml", "obstore", "isal", "rich", "cramjam"):
        (tmp_path / f"{name}.py").write_text(f"raise ModuleNotFoundError('no {name}', name={name!r})")
    words = ("fleet", "watch", "--prometheus", "http://127.0.0.1:1", "--write", "http://127.0.0.1:1/w")
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "shipper", *words], capture_output=True, text=True, env=env, timeout=60
    )
    assert (done.returncode, "pip install 'ephemeral-shipper[sidecar]'" in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr


def test_an_archive_of_that_name_is_still_one(tmp_path: Path) -> None:
    """``shipper fleet ./watch`` reads an archive; only the bare word is the verb."""
    done = called(str(tmp_path / "watch"))
    assert (done.exit_code, str(tmp_path / "watch") in done.output) == (2, True)
    assert "shipper fleet watch" in called("--help").output


def test_nobody_answers_and_it_goes_on(tmp_path: Path) -> None:
    """A Prometheus that is not there is said once, and the watcher stops when told to."""

    async def story() -> None:
        words = [
            "fleet",
            "watch",
            "--prometheus",
            "http://127.0.0.1:1",
            "--write",
            "http://127.0.0.1:1/w",
            "--every",
            "5",
        ]
        async with Shipper(tmp_path, words, {}) as running:
            await until(lambda: "generations cannot be judged, which is tried again" in running.said(), "it says so")
            assert await running.terminate() == 0
        assert running.said().count("cannot be judged") == 1

    asyncio.run(story())
