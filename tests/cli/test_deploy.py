"""``shipper deploy`` as a pipeline runs it: against real listeners, with the environments of the usual systems."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shipper.fleet.deploys.environment import SYSTEMS, look
from shipper.fleet.deploys.model import DeployEvent
from shipper.fleet.deploys.wire import from_otlp
from shipper.testing import prometheus

CLEAN = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")}
CI = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_REPOSITORY": "acme/checkout",
    "GITHUB_RUN_ID": "77",
    "GITHUB_RUN_ATTEMPT": "2",
    "GITHUB_SERVER_URL": "https://github.com",
    "GITHUB_ACTOR": "ann",
    "GITHUB_SHA": "abc123",
}


class Server:
    """An OTLP endpoint and a Grafana in one: keeps events and annotations; ``status`` is what it answers with."""

    def __init__(self) -> None:
        self.events: list[DeployEvent] = []
        self.headers: list[dict[str, str]] = []
        self.annotations: dict[int, dict[str, Any]] = {}
        self.status: list[int] = []
        self.html = False
        self.hold = threading.Event()
        self.hold.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.hold.wait()
                status = outer.status.pop(0) if outer.status else 200
                content = (
                    json.dumps(outer.take(self.command, self.path, dict(self.headers), body)) if status < 300 else "{}"
                )
                self.send_response(status)
                self.send_header("Content-Type", "text/html" if outer.html else "application/json")
                self.end_headers()
                self.wfile.write(content.encode())

            do_POST = do_GET = do_PATCH = _answer

            def log_message(self, *_: Any) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def take(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        self.headers.append(headers)
        where = urlsplit(path)
        if where.path == "/v1/logs":
            self.events += [
                event for event in from_otlp(gzip.decompress(body), 1 << 62) if isinstance(event, DeployEvent)
            ]
            return {}
        if method == "GET":
            wanted = set(parse_qs(where.query)["tags"])
            return [{"id": key, **one} for key, one in self.annotations.items() if wanted <= set(one["tags"])]
        if method == "PATCH":
            self.annotations[int(where.path.rpartition("/")[2])].update(json.loads(body))
            return {"message": "Annotation patched"}
        self.annotations[len(self.annotations) + 1] = json.loads(body)
        return {"id": len(self.annotations), "message": "Annotation added"}

    def close(self) -> None:
        self.hold.set()
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.close()


def deploy(*arguments: str, env: dict[str, str] | None = None, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "shipper", "deploy", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=CLEAN | (env or {}), **more)


def test_a_start_and_its_finish_are_one_deploy(server: Server) -> None:
    """Two steps of a pipeline, run apart, tell of the same deploy, with all that options say."""
    common = ("--service", "api", "--env", "prod", "--generation", "it's/7", "--endpoint", server.url)
    more = (
        "--release",
        "r2",
        "--from",
        "r1",
        "--image",
        "sha256:1",
        "--desired-hosts",
        "4",
        "--at",
        "2026-11-23T10:00:00Z",
    )
    assert deploy("start", *common, *more, "--actor", "ann", "--url", "https://ci/1").returncode == 0
    assert deploy("finish", *common).returncode == 0
    start, finish = server.events
    assert start == DeployEvent(
        at_ns=1795428000 * 10**9,
        service="api",
        env="prod",
        id="it's/7",
        action="started",
        generation="it's/7",
        release="r2",
        image="sha256:1",
        from_release="r1",
        actor="ann",
        url="https://ci/1",
        desired_hosts=4,
    )
    assert (finish.action, finish.id, finish.service, finish.env) == ("finished", start.id, "api", "prod")


@pytest.mark.parametrize(("verb", "action"), [("fail", "failed"), ("rollback", "rollback"), ("withdraw", "withdrawn")])
def test_every_verb_has_its_event(server: Server, verb: str, action: str) -> None:
    """Fail, rollback and withdraw are told as such."""
    assert deploy(verb, "--service", "api", "--generation", "7", "--endpoint", server.url).returncode == 0
    assert [event.action for event in server.events] == [action]


def test_what_is_not_said_is_taken_from_the_pipeline(server: Server) -> None:
    """In GitHub Actions nothing needs to be said; the generation is the run's, and is printed for the hosts."""
    done = deploy("start", "--output", "env", env=CI | {"SHIPPER_OTLP_ENDPOINT": server.url})
    assert done.stdout == "SHIPPER_GENERATION=77.2\nSHIPPER_RELEASE=abc123\n"
    (event,) = server.events
    assert (event.service, event.id, event.generation, event.actor) == ("checkout", "77.2", "77.2", "ann")
    assert event.url == "https://github.com/acme/checkout/actions/runs/77"


def test_a_dry_run_says_where_each_value_is_from(server: Server) -> None:
    """Nobody is told, and every value has its origin; as data, too."""
    done = deploy("start", "--env", "prod", "--dry-run", "--endpoint", server.url, env=CI)
    lines = {line.split()[0]: line for line in done.stdout.splitlines()[1:]}
    assert "GitHub Actions: GITHUB_REPOSITORY" in lines["service"]
    assert "option" in lines["env"]
    assert "the deployment's id (GitHub Actions: GITHUB_RUN_ID" in lines["generation"]
    assert "not found" in lines["image"]
    done = deploy("start", "--dry-run", "--output", "json", env=CI)
    assert json.loads(done.stdout)["origins"]["release"] == "GitHub Actions: GITHUB_SHA"
    assert not server.events


def test_every_row_of_the_table_can_be_found() -> None:
    """With all variables of one system set, each of its fields is found there and says so."""
    for system in SYSTEMS:
        for name, places in system.fields.items():
            for place in places:
                variables = [part.partition("}")[0].rstrip("/") for part in place.split("{")[1:]] or [place]
                env = {variable: f"owner/{variable.lower()}" for variable in (*system.markers[:1], *variables)}
                found = look(env)[name]
                assert found.origin.endswith(", ".join(variables)), (system.name, name, place)
                assert found.value


def test_own_variables_and_deploying_systems_come_before_those_that_build() -> None:
    """Where several systems say something, Shipper's variables win, then the system that deploys, then the one that builds."""
    jenkins = {"JENKINS_URL": "https://ci", "BUILD_TAG": "jenkins-api-9", "GIT_COMMIT": "c0ffee"}
    terraform = {"TF_VAR_service": "api", "TF_VAR_environment": "prod", "TF_VAR_release": "r9"}
    found = look(jenkins | terraform)
    assert [found[name].value for name in ("service", "env", "release", "id")] == ["api", "prod", "r9", "jenkins-api-9"]
    assert look(jenkins)["release"].value == "c0ffee"
    assert look(jenkins | terraform | {"SHIPPER_SERVICE": "own"})["service"].value == "own"
    attributes = {"OTEL_RESOURCE_ATTRIBUTES": "service.name=a%20b,deployment.environment.name=x"}
    assert [look(attributes)[name].value for name in ("service", "env")] == ["a b", "x"]


def test_telemetry_that_is_down_does_not_fail_a_pipeline() -> None:
    """Nobody there: it is said, and the status is 0; with --strict it is 1."""
    common = ("start", "--service", "api", "--endpoint", "http://127.0.0.1:1", "--timeout", "0.5")
    done = deploy(*common)
    assert (done.returncode, "was not told of the deploy" in done.stderr) == (0, True)
    assert deploy(*common, "--strict").returncode == 1
    done = deploy("start", "--service", "api")
    assert (done.returncode, "nobody to tell" in done.stderr) == (0, True)


def test_an_endpoint_that_passes_through_trouble_is_tried_again(server: Server) -> None:
    """503 and 429 are tried again; what will not change is not."""
    server.status = [503, 429]
    assert deploy("start", "--service", "api", "--endpoint", server.url, "--strict").returncode == 0
    assert len(server.events) == 1
    server.status = [401]
    done = deploy("start", "--service", "api", "--endpoint", server.url, "--strict")
    assert (done.returncode, "answered 401" in done.stderr) == (1, True)
    server.html = True
    done = deploy("start", "--service", "api", "--endpoint", server.url, "--strict")
    assert (done.returncode, "answered with a web page" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say start, finish"),
        (("start",), "of which service?"),
        (("finish", "--service", "api"), "which deploy?"),
        (("withdraw", "--service", "api", "--id", "1"), "which generation was withdrawn?"),
        (("start", "--service", "s" * 1025), "1025 characters"),
        (("start", "--service", "api", "--at", "soon"), "'soon' is no time"),
        (("start", "--service", "api", "--at", "99999999999"), "in the future"),
        (("finish", "--service", "api", "--id", "1", "--", "true"), "goes without a command"),
        (("--service", "api", "--"), "no command behind --"),
    ],
)
def test_a_wrong_call_is_said_and_ends_with_2(arguments: tuple[str, ...], words: str) -> None:
    """What cannot be meant is refused in words."""
    done = deploy(*arguments)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://user:secret@x", "http://a b", "http://[", "x"])
def test_an_endpoint_that_is_none_is_said(url: str) -> None:
    """Bad URLs are refused in words, without the secrets in them."""
    done = deploy("start", "--service", "api", "--endpoint", url, "--strict")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


def test_credentials_go_where_they_were_meant_to_go(server: Server, tmp_path: Path) -> None:
    """Headers and tokens set for an endpoint are sent there; OpenTelemetry's are not sent to Shipper's."""
    (tmp_path / "token").write_text("t0ken\n")
    ours = {"SHIPPER_OTLP_ENDPOINT": server.url, "SHIPPER_OTLP_TOKEN_FILE": str(tmp_path / "token")}
    theirs = {"OTEL_EXPORTER_OTLP_ENDPOINT": server.url, "OTEL_EXPORTER_OTLP_HEADERS": "api-key=k%20y"}
    assert deploy("start", "--service", "api", "--strict", env=ours | theirs).returncode == 0
    assert deploy("start", "--service", "api", "--strict", env=theirs).returncode == 0
    first, second = ({name.lower(): value for name, value in one.items()} for one in server.headers)
    assert first["authorization"] == "Bearer t0ken"
    assert "api-key" not in first
    assert second["api-key"] == "k y"


def test_the_configuration_s_destination_is_told(server: Server, tmp_path: Path) -> None:
    """With a configuration file its OTLP destination is where the event goes."""
    config = tmp_path / "shipper.yaml"
    config.write_text(f"destinations:\n  gw: {{type: otlp, endpoint: '{server.url}'}}\n")
    assert deploy("start", "--service", "api", "--config", str(config), "--strict").returncode == 0
    assert len(server.events) == 1


def test_a_wrapped_command_is_told_of_and_keeps_its_status_and_streams(server: Server) -> None:
    """Start and finish, or fail, by the command's status; its input, output and variables are its own."""
    common = ("--service", "api", "--endpoint", server.url)
    done = deploy(*common, "--generation", "7", "--", "sh", "-c", "cat; echo $SHIPPER_GENERATION", input="in\n")
    assert (done.returncode, done.stdout) == (0, "in\n7\n")
    assert deploy("rollback", *common, "--", "sh", "-c", "exit 7").returncode == 7
    assert [event.action for event in server.events] == ["started", "finished", "rollback", "failed"]
    assert server.events[2].id == server.events[3].id
    assert deploy(*common, "--", "no-such-program").returncode == 127
    assert deploy(*common, "--", "start").returncode == 127


def test_a_wrapped_command_neither_waits_for_nor_fails_by_telemetry(server: Server, tmp_path: Path) -> None:
    """With an endpoint that never answers the command runs at once, and its status is what counts."""
    server.hold.clear()
    done = tmp_path / "done"
    command = [
        sys.executable,
        "-m",
        "shipper",
        "deploy",
        "--service",
        "api",
        "--endpoint",
        server.url,
        "--timeout",
        "1",
    ]
    process = subprocess.Popen(
        [*command, "--", "sh", "-c", f"echo $$ > {done}; exit 3"], env=CLEAN, stderr=subprocess.PIPE
    )
    assert process.communicate()[1].count(b"no answer within 1 s") == 2
    assert process.returncode == 3
    assert done.exists()
    assert deploy("--", "sh", "-c", "exit 4").returncode == 4  # not even a service is known


def test_signals_reach_the_wrapped_command(server: Server, tmp_path: Path) -> None:
    """SIGTERM goes to the command, which decides; its end is told and its status returned."""
    ready = tmp_path / "ready"
    script = f"trap 'echo stopping; exit 5' TERM; touch {ready}; while :; do sleep 0.05; done"
    command = [
        sys.executable,
        "-m",
        "shipper",
        "deploy",
        "--service",
        "api",
        "--endpoint",
        server.url,
        "--",
        "sh",
        "-c",
        script,
    ]
    process = subprocess.Popen(command, env=CLEAN, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 40
    while not ready.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=40)[0] == b"stopping\n"
    assert process.returncode == 5
    assert [event.action for event in server.events] == ["started", "failed"]


def test_a_command_killed_by_a_signal_failed(server: Server) -> None:
    """Its status is the shell's: 128 and the number."""
    done = deploy("--service", "api", "--endpoint", server.url, "--", "sh", "-c", "kill -9 $$")
    assert done.returncode == 137
    assert server.events[-1].action == "failed"


def test_grafana_gets_an_annotation_that_the_finish_makes_a_region(server: Server) -> None:
    """The start is a point with the deploy's tags; the finish, another step, makes a region of it; a strange end is a point."""
    common = ("--service", "api", "--env", "prod", "--endpoint", server.url, "--grafana", server.url, "--strict")
    env = {"GRAFANA_TOKEN": "secret"}
    assert deploy("start", "--generation", "7", *common, "--at", "1700000000", env=env).returncode == 0
    assert deploy("start", "--generation", "8", *common, "--at", "1700000010", env=env).returncode == 0
    assert deploy("finish", "--generation", "7", *common, "--at", "1700000060", env=env).returncode == 0
    region, point = server.annotations.values()
    assert (region["time"], region["timeEnd"]) == (1700000000000, 1700000060000)
    assert "timeEnd" not in point
    assert {"shipper", "deploy", "service:api", "env:prod", "generation:7", "finished"} <= set(region["tags"])
    assert any(headers.get("Authorization") == "Bearer secret" for headers in server.headers)
    assert deploy("fail", "--generation", "99", *common, env=env).returncode == 0
    assert len(server.annotations) == 3


def test_grafana_that_refuses_is_said(server: Server, tmp_path: Path) -> None:
    """A missing or wrong token is said in words; the OTLP event is told all the same."""
    common = ("start", "--service", "api", "--endpoint", server.url, "--grafana", server.url, "--strict")
    done = deploy(*common)
    assert (done.returncode, "no token" in done.stderr) == (1, True)
    (tmp_path / "token").write_text("x")
    other = Server()
    other.status = [403]
    done = deploy(*common[:-2], other.url, "--strict", "--grafana-token-file", str(tmp_path / "token"))
    other.close()
    assert (done.returncode, "may not write annotations" in done.stderr) == (1, True)
    assert len(server.events) == 2


@pytest.mark.skipif(not prometheus.available(), reason=prometheus.MISSING)
def test_prometheus_is_written_to_directly(tmp_path: Path) -> None:
    """With --prometheus the deploy's series are there without any gateway."""
    with prometheus.Prometheus(tmp_path) as real:
        common = ("--service", "api", "--env", "prod", "--generation", "7", "--release", "r2", "--from", "r1")
        for verb in ("start", "finish", "withdraw"):
            done = deploy(
                verb, *common, "--desired-hosts", "3", "--strict", "--timeout", "20", "--prometheus", real.write_url
            )
            assert done.returncode == 0, done.stderr
        about = (
            'service="api",env="prod",generation="7",release="r2",from_release="r1",action="deploy",inferred="false"'
        )
        started = real.value(f"shipper_deploy_started_timestamp_seconds{{{about}}}")
        assert started <= real.value(f'shipper_deploy_finished_timestamp_seconds{{{about},status="succeeded"}}')
        assert real.value('shipper_generation_episode_started_timestamp_seconds{episode="1",generation="7"}') == started


def test_prometheus_that_is_not_there_is_said() -> None:
    """An unreachable one is said, and fails nothing."""
    common = ("start", "--service", "api", "--timeout", "2", "--prometheus", "http://127.0.0.1:1/api/v1/write")
    done = deploy(*common)
    assert (done.returncode, "Prometheus was not told" in done.stderr) == (0, True), done.stderr
    assert deploy(*common, "--strict").returncode == 1


def test_without_the_sidecar_extra_only_what_needs_it_is_missing(server: Server, tmp_path: Path) -> None:
    """A pipeline with the base install tells of its deploys; a configuration file is a part more, and is said not to be read."""
    hidden = tmp_path / "hidden"
    for name in ("msgspec", "aiohttp", "yaml", "obstore", "isal", "rich"):
        (hidden / name).mkdir(parents=True)
        (hidden / name / "__init__.py").write_text(f"raise ModuleNotFoundError('no {name}', name={name!r})")
    env = {"PYTHONPATH": str(hidden)}
    done = deploy("start", "--service", "api", "--endpoint", server.url, "--strict", env=env)
    assert (done.returncode, len(server.events)) == (0, 1), done.stderr
    done = deploy("--service", "api", "--config", "x.yaml", "--", "sh", "-c", "exit 6", env=env)
    assert (done.returncode, "pip install 'ephemeral-shipper[sidecar]'" in done.stderr) == (6, True), done.stderr
