"""``shipper verdict`` as a pipeline runs it, against a real Prometheus."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.testing import prometheus
from shipper.testing.prometheus import Prometheus
from tests.fleet.verdict_series import Life, recorded, write

real = pytest.mark.skipif(not prometheus.available(), reason=prometheus.MISSING)


def verdict(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shipper", "verdict", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=os.environ | (env or {}))


def generation(name: str, born: float, fails: int) -> list[Life]:
    now = int(time.time())
    return [Life(f"{name}-{index}", name, int(now // 60 * 60 - born * 60), now, fails=fails) for index in range(4)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Old generation 1; beside it 2, which is bad, 3, which is as good, and 4, which has only begun."""
    window = "storage: {tsdb: {out_of_order_time_window: 30d}}\n"
    with Prometheus(tmp_path_factory.mktemp("prometheus"), config=window) as running:
        lives = [
            *generation("1", 70, 200), *generation("2", 25, 40), *generation("3", 25, 200), *generation("4", 2, 200)
        ]  # fmt: skip
        write(running.write_url, *(life.written() for life in lives))
        yield running


@real
def test_exit_status_by_verdict(server: Prometheus) -> None:
    """A bad one is 1, a healthy one 0, one that has hardly begun or is not known 3; each with its sentence."""
    common = ("--service", "shop", "--prometheus", server.url, "--baseline", "1")
    done = verdict(*common, "--candidate", "2")
    assert (done.returncode, "errors: worse (×5.0" in done.stdout, done.stderr) == (1, True, ""), done.stdout
    done = verdict(*common, "--env", "prod", "--candidate", "3")
    assert (done.returncode, "errors: no difference seen (×1.0" in done.stdout) == (0, True), done.stdout
    done = verdict(*common, "--candidate", "4")
    assert (done.returncode, "errors: not enough data" in done.stdout) == (3, True), done.stdout
    done = verdict(*common, "--candidate", "5")
    assert (done.returncode, "knows no generation 5 of shop" in done.stdout) == (3, True), done.stdout


@real
def test_json(server: Prometheus) -> None:
    """With --json each look is one line with every number of the sentence."""
    done = verdict("--service", "shop", "--prometheus", server.url, "--candidate", "2", "--baseline", "1", "--json")
    whole = json.loads(done.stdout)
    errors = whole["errors"]
    assert (whole["verdict"], errors["kind"], errors["baseline"]) == ("worse", "worse", "1")
    assert errors["errors"] == errors["requests"] // 40
    assert errors["interval"][0] < errors["factor"] < errors["interval"][1]
    assert errors["seen"] < 2


@real
def test_watch_ends_when_decided(server: Prometheus) -> None:
    """A watch ends at once where it is decided; where it is not, when the time is up."""
    common = ("--service", "shop", "--prometheus", server.url, "--baseline", "1", "--watch")
    done = verdict(*common, "--candidate", "2")
    assert (done.returncode, done.stdout.count("errors: worse")) == (1, 1), done.stdout
    done = verdict(*common, "--candidate", "4", "--timeout", "3000ms")
    assert (done.returncode, done.stdout.count("errors: ")) == (3, 1), done.stdout


@real
def test_a_service_in_two_environments(tmp_path: Path) -> None:
    """Which one is meant has to be said: a wrong call."""
    with Prometheus(tmp_path) as running:
        lives = generation("1", 5, 0)
        lives[0].env = "staging"
        write(running.write_url, *(life.written() for life in lives))
        write(running.write_url, recorded("1", int(time.time()) - 300, int(time.time()), 10, 1))
        done = verdict("--service", "shop", "--prometheus", running.url, "--candidate", "1")
        assert (done.returncode, "say which: prod, staging" in done.stderr) == (2, True), done.stderr


def test_wrong_calls() -> None:
    """What cannot be meant is a usage error; a server that is not there is not one."""
    common = ("--service", "shop", "--candidate", "2")
    assert verdict(*common).returncode == 2
    done = verdict(*common, "--prometheus", "nowhere")
    assert (done.returncode, "is no URL such as" in done.stderr) == (2, True)
    assert verdict(*common, "--prometheus", "http://127.0.0.1:1", "--baseline", "2").returncode == 2
    done = verdict(*common, "--prometheus", "http://127.0.0.1:1", "--token-file", "/no/such")
    assert (done.returncode, "cannot read the token" in done.stderr) == (2, True)
    done = verdict(*common, "--prometheus", "http://127.0.0.1:1", "--timeout", "soon")
    assert (done.returncode, "expected a duration such as 250ms, 25s or 1m30s, got 'soon'" in done.stderr) == (2, True)
    done = verdict(*common, "--prometheus", "http://127.0.0.1:1")
    assert (done.returncode, "cannot be asked" in done.stdout, done.stderr) == (3, True, "")


def test_whatever_breaks_is_not_worse(tmp_path: Path) -> None:
    """A fault of our own ends with 3 and its traceback: a pipeline that goes back on a 1 must not go back for it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import shipper.fleet.verdict.client as client\n"
        "def ask(*_): raise ZeroDivisionError('a fault')\n"
        "client.Client.instant = ask\n"
    )
    words = ("--service", "shop", "--candidate", "2", "--prometheus", "http://127.0.0.1:1")
    done = verdict(*words, env={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, "ZeroDivisionError: a fault" in done.stderr) == (3, True), done.stderr


def test_an_interrupt_is_not_worse() -> None:
    """A watch that is interrupted ends as shells have it, not with a 1."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        words = ("--service", "shop", "--candidate", "2", "--watch", "--prometheus", url)
        with subprocess.Popen([sys.executable, "-m", "shipper", "verdict", *words], start_new_session=True) as process:
            asked, _ = silent.accept()
            process.send_signal(signal.SIGINT)
            process.wait(60)
            asked.close()
    assert process.returncode == 130


def test_the_base_install_is_enough(tmp_path: Path) -> None:
    """A pipeline has no sidecar: nothing of its extra is imported."""
    for name in ("msgspec", "aiohttp", "yaml", "obstore", "isal", "rich", "cramjam"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise ModuleNotFoundError('no {name}', name={name!r})")
    words = ("--service", "shop", "--candidate", "2", "--prometheus", "http://127.0.0.1:1")
    done = verdict(*words, env={"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, "cannot be asked" in done.stdout) == (3, True), done.stderr
