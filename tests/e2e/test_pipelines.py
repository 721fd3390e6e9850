"""docs/pipelines.md, run as a pipeline's engine runs it: against a real Prometheus, with a healthy and a bad release."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from shipper.dashboards import names
from shipper.testing import prometheus
from shipper.testing.prometheus import Prometheus
from tests.cli.test_deploy import Server
from tests.fleet.verdict_series import Life, write

PAGE = Path(__file__).parents[2] / "docs/pipelines.md"
FILES = PAGE.with_suffix("")
real = pytest.mark.skipif(not prometheus.available(), reason=prometheus.MISSING)

OLD, GOOD, BAD, YOUNG, UNKNOWN = "old.1", "good.1", "bad.1", "young.1", "unknown.1"
ENDS = {GOOD: 0, BAD: 1, YOUNG: 3, UNKNOWN: 3}
"""What judging each of them ends with."""
DEPLOY = '#!/bin/sh\nset -eu\necho "$1 as $SHIPPER_RELEASE in $SHIPPER_GENERATION" >> deployed\n'


@pytest.fixture(scope="module")
def told_at() -> int:
    """When everything that is in Prometheus was told."""
    return int(time.time())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, told_at: int) -> Iterator[Prometheus]:
    """An old generation; beside it one that is bad, one as good, and one that has only begun; and what a watcher says of them."""
    now = told_at
    lives = [
        Life(f"{name}-{index}", name, now // 60 * 60 - born * 60, now, fails=fails)
        for name, born, fails in ((OLD, 70, 200), (GOOD, 25, 200), (BAD, 25, 40), (YOUNG, 2, 200))
        for index in range(4)
    ]
    said = {GOOD: (0, 0), BAD: (1, 0), YOUNG: (-2, 0), "slow.1": (0, 1)}
    coded = {
        tuple(
            sorted(
                {
                    "__name__": names.VERDICT,
                    "service": "checkout",
                    "env": "prod",
                    "generation": name,
                    "subject": subject,
                }.items()
            )
        ): [(now, float(code))]
        for name, codes in said.items()
        for subject, code in zip(("errors", "latency"), codes, strict=True)
    }
    with Prometheus(
        tmp_path_factory.mktemp("prometheus"), config="storage: {tsdb: {out_of_order_time_window: 30d}}\n"
    ) as running:
        for life in lives:
            life.service = "checkout"
        write(running.write_url, *(life.written() for life in lives), coded)
        yield running


@dataclass
class Workspace:
    """A checkout of a repository, in which steps run one after the other as an engine would run them."""

    directory: Path
    gateway: Server
    prometheus: str
    env: dict[str, str]

    def start(self, script: str, *shell: str) -> subprocess.Popen[str]:
        """Begin a step, in a process group of its own."""
        env = {
            "PATH": f"{self.directory / 'bin'}:{os.environ['PATH']}",
            "SHIPPER_OTLP_ENDPOINT": self.gateway.url,
            "PROMETHEUS": self.prometheus,
            "WATCH_SECONDS": "3",
        }
        command = [*(shell or ("sh", "-ec")), script]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(
            command, cwd=self.directory, env=env | self.env, text=True, start_new_session=True, **pipes
        )

    def run(self, script: str, *shell: str) -> tuple[int, str]:
        """A step's exit status, and what it said."""
        with self.start(script, *shell) as step:
            said, _ = step.communicate(timeout=120)
        return step.returncode, said

    @property
    def deployed(self) -> list[str]:
        """What ./deploy.sh was asked for."""
        path = self.directory / "deployed"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def told(self) -> list[tuple[str, str, str, str]]:
        """What the gateway heard: action, generation, release, and the one it replaces."""
        return [(e.action, e.generation, e.release, e.from_release) for e in self.gateway.events]


@pytest.fixture
def workspace(tmp_path: Path, server: Prometheus) -> Iterator[Workspace]:
    for name, content in {
        "deploy.sh": DEPLOY,
        "serving.sh": "#!/bin/sh\necho v1\n",
        "judge.sh": (FILES / "judge.sh").read_text(),
        "bin/pip": "#!/bin/sh\n",
        "bin/shipper": f'#!/bin/sh\nexec {sys.executable} -m shipper "$@"\n',
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        path.chmod(0o755)
    gateway = Server()
    yield Workspace(tmp_path, gateway, server.url, {})
    gateway.close()


def block(name: str) -> Any:
    return yaml.safe_load((FILES / name).read_text())


def filled(value: object, known: Mapping[str, str]) -> str:
    """A value with the engine's own expressions put in."""
    return re.sub(r"\$\{\{ *([\w.]+) *\}\}|\{\{args\.(\w+)\}\}", lambda found: known[found[1] or found[2]], str(value))


def github(workspace: Workspace, generation: str) -> int:
    """The steps one after the other, each with what those before it wrote for the next; the first that fails ends the job."""
    job = block("github.yml")["jobs"]["release"]
    run_id, attempt = generation.split(".")
    known = {"github.ref_name": "v2", "github.run_id": run_id, "github.run_attempt": attempt}
    known |= {"vars.SHIPPER_OTLP_ENDPOINT": workspace.gateway.url, "vars.PROMETHEUS": workspace.prometheus}
    handed = workspace.directory / "handed"
    handed.touch()
    workspace.env = {name: filled(value, known) for name, value in job["env"].items()} | {"GITHUB_ENV": str(handed)}
    for step in job["steps"]:
        if "run" in step:
            workspace.env |= dict(line.split("=", 1) for line in handed.read_text().splitlines())
            status, _ = workspace.run(step["run"], "bash", "-ec")
            if status:
                return status
    return 0


def gitlab(workspace: Workspace, generation: str) -> int:
    """Both jobs; what the first one reports as variables is there for the second."""
    pipeline = block("gitlab.yml")
    known = {"$CI_COMMIT_TAG": "v2", "$CI_PIPELINE_ID": generation}
    workspace.env = {name: known.get(value, value) for name, value in pipeline["variables"].items()}
    for name in ("deploy", "watch"):
        job = pipeline[name]
        status, _ = workspace.run("\n".join(job["script"]), "bash", "-eo", "pipefail", "-c")
        if status:
            return status
        for report in job.get("artifacts", {}).get("reports", {}).values():
            lines = (workspace.directory / report).read_text().splitlines()
            workspace.env |= dict(line.split("=", 1) for line in lines)
    return 0


def jenkins(workspace: Workspace, generation: str) -> int:
    """Every step of shell that the Jenkinsfile has, in its order."""
    text = (FILES / "Jenkinsfile").read_text()
    known = {'"${params.RELEASE}"': "v2", '"${env.BUILD_TAG}"': generation}
    given = re.search(r"environment \{(.*?)\}\n  stages", text, re.S)
    assert given is not None
    pairs = re.findall(r"^ +([A-Z_]+) = (.*)$", given[1], re.M)
    workspace.env = {name: known.get(value, value.strip("'")) for name, value in pairs}
    steps = re.findall(r"\bsh[ (](?:returnStatus: true, script: )?'(.*?)'", text)
    assert len(steps) == text.count("sh '") + text.count("sh(") == 3
    for step in steps:
        status, _ = workspace.run(step)
        if status:
            return status
    return 0


ENGINES = {"github": github, "gitlab": gitlab, "jenkins": jenkins}


@real
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("generation", [GOOD, BAD, YOUNG])
def test_a_release_that_is_judged(engine: str, generation: str, workspace: Workspace) -> None:
    """A healthy release goes on; a bad one is rolled back, told, and fails; one that cannot be told stays, and ends with 3."""
    assert ENGINES[engine](workspace, generation) == ENDS[generation]
    deployed = [f"v2 as v2 in {generation}"]
    told = [("started", generation, "v2", "v1"), ("finished", generation, "v2", "v1")]
    if generation == BAD:
        deployed += [f"v1 as v1 in {BAD}-back"]
        told += [("rollback", f"{BAD}-back", "v1", "v2"), ("finished", f"{BAD}-back", "v1", "v2")]
    assert workspace.deployed == deployed
    assert workspace.told == told


def judging(workspace: Workspace, generation: str) -> None:
    workspace.env = {
        "SHIPPER_SERVICE": "checkout",
        "SHIPPER_ENVIRONMENT": "prod",
        "SHIPPER_RELEASE": "v2",
        "SHIPPER_GENERATION": generation,
    }


def test_a_deploy_that_fails_is_not_judged(workspace: Workspace) -> None:
    """The step ends with the deploy's own status, which is told, and nothing is taken back."""
    (workspace.directory / "deploy.sh").write_text("#!/bin/sh\nexit 7\n")
    assert github(workspace, BAD) == 7
    assert [action for action, *_ in workspace.told] == ["started", "failed"]


@real
def test_a_way_back_that_fails_says_so(workspace: Workspace) -> None:
    """When going back fails the step ends with 4, not as if it had been done, and the failure is told."""
    (workspace.directory / "deploy.sh").write_text("#!/bin/sh\nexit 7\n")
    judging(workspace, BAD)
    assert workspace.run("./judge.sh v1 ./deploy.sh")[0] == 4
    assert [action for action, *_ in workspace.told] == ["rollback", "failed"]


@real
@pytest.mark.parametrize("generation", [UNKNOWN, GOOD])
def test_nothing_is_taken_back_without_a_verdict(generation: str, workspace: Workspace) -> None:
    """A generation that nobody knows, and a Prometheus that is not there, end with 3; a call that is wrong with 2."""
    judging(workspace, generation)
    if generation != UNKNOWN:
        workspace.prometheus = "http://127.0.0.1:1"
    assert workspace.run("./judge.sh v1 ./deploy.sh")[0] == 3
    workspace.prometheus = "nowhere"
    assert workspace.run("./judge.sh v1 ./deploy.sh")[0] == 2
    assert (workspace.told, workspace.deployed) == ([], [])


@pytest.mark.parametrize("broken", ["raise ImportError", "import os; os.kill(os.getpid(), 9)"])
def test_a_broken_installation_is_no_verdict(broken: str, workspace: Workspace) -> None:
    """A command that cannot even start ends with a 1 of its own, which takes nothing back."""
    judging(workspace, BAD)
    (workspace.directory / "bin/shipper").write_text(f"#!/bin/sh\nexec {sys.executable} -c {broken!r}\n")
    assert workspace.run("./judge.sh v1 ./deploy.sh")[0] == 2
    assert workspace.deployed == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_pipeline_that_is_cancelled(number: signal.Signals, workspace: Workspace) -> None:
    """Whoever stops the watch leaves the release where it is."""
    judging(workspace, BAD)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        workspace.prometheus = f"http://127.0.0.1:{silent.getsockname()[1]}"
        workspace.env["WATCH_SECONDS"] = "1800"
        with workspace.start("./judge.sh v1 ./deploy.sh") as step:
            asked, _ = silent.accept()
            os.killpg(step.pid, number)
            step.communicate(timeout=60)
            asked.close()
    assert step.returncode not in (0, 1)
    assert (workspace.told, workspace.deployed) == ([], [])


@real
@pytest.mark.parametrize("generation", [GOOD, BAD, YOUNG])
def test_the_job_of_an_analysis(generation: str, workspace: Workspace) -> None:
    """Argo's job ends with 0 for a healthy release; else it fails, and the generation is told to be withdrawn."""
    (metric,) = block("argo-job.yaml")["spec"]["metrics"]
    (container,) = metric["provider"]["job"]["spec"]["template"]["spec"]["containers"]
    known = {"service": "checkout", "env": "prod", "candidate": generation, "baseline": OLD, "seconds": "3"}
    addresses = ("PROMETHEUS", "SHIPPER_OTLP_ENDPOINT")
    workspace.env = {
        one["name"]: filled(one["value"], known) for one in container["env"] if one["name"] not in addresses
    }
    status, said = workspace.run(*container["args"], *container["command"])
    assert status == ENDS[generation], said
    assert workspace.told == ([] if status == 0 else [("withdrawn", generation, "", "")])


@real
@pytest.mark.parametrize(
    ("generation", "phase"),
    [(GOOD, "goes on"), (BAD, "aborts"), ("slow.1", "aborts"), (YOUNG, "waits"), (UNKNOWN, "waits")],
)
def test_the_query_of_an_analysis(generation: str, phase: str, server: Prometheus, told_at: int) -> None:
    """Argo's query gives the watcher's word: worse in either aborts, no difference goes on, anything else is inconclusive."""
    (metric,) = block("argo-prometheus.yaml")["spec"]["metrics"]
    query = filled(
        metric["provider"]["prometheus"]["query"], {"service": "checkout", "env": "prod", "candidate": generation}
    )
    result = list(server.query(query, told_at + 90).values())

    def holds(condition: str) -> bool:
        return bool(eval(condition.replace("&&", "and").replace("||", "or"), {"result": result, "len": len}))

    found = {"goes on": holds(metric["successCondition"]), "aborts": holds(metric["failureCondition"])}
    assert [name for name, holding in found.items() if holding] == ([phase] if phase != "waits" else [])
    assert server.query(query, told_at + 121) == {}


def test_the_page_has_the_files_as_they_are() -> None:
    """Every file beside the page is in it verbatim, as the block that names it; the script is one that a shell may run."""
    page = PAGE.read_text()
    for path in FILES.iterdir():
        assert f"(pipelines/{path.name})" in page
        assert f"\n{path.read_text()}```\n" in page, path.name
    assert os.access(FILES / "judge.sh", os.X_OK)


def test_the_manifests_fit_each_other() -> None:
    """The rollout names the template, and gives every argument that has no value of its own."""
    (analysis,) = [
        one["analysis"]
        for one in block("argo-rollout.yaml")["spec"]["strategy"]["canary"]["steps"]
        if "analysis" in one
    ]
    given = {one["name"] for one in analysis["args"]}
    for name in ("argo-job.yaml", "argo-prometheus.yaml"):
        template = block(name)
        assert analysis["templates"] == [{"templateName": template["metadata"]["name"]}]
        assert {one["name"] for one in template["spec"]["args"] if "value" not in one} <= given
