"""A fleet's history in which every panel has something to show, and promtool asked what the queries of the boards find in it.

Generations 4, 5 and 6 replace each other in peace, 7 fails, is rolled back to 8; in between a canary came back and was withdrawn.
The rules are the committed ones, evaluated by promtool over the series as hosts push them; so what a board finds here is what the
rules really record, under the labels they really record it with.
"""

import fcntl
import hashlib
import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from shipper.dashboards import names
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.rulefiles import rule_files
from tests.dashboards.promtool.run import PROMTOOL
from tests.dashboards.promtool.series import STEP, Fleet, Host, Labels, hosts, notation, roll, written

# Steps (15 s): shortly after the bad generation's first host, while its alert fires, and after the rollback.
FIVE, SIX, SEVEN, EIGHT = 40, 80, 140, 170
YOUNG, ACCUSED, AFTER = SEVEN + 3, SEVEN + 16, EIGHT + 20
WATCHER_GONE = 6  # so many steps before AFTER verdicts were last written: less than windows.verdict
STATES = {"7-1": 2, "8-0": 3, "8-1": 4, "8-2": 5}
VALUES = {
    "env": "prod",
    "service": "shop",
    "generation": "7",
    "prev": "6",
    "shift": str((SEVEN - SIX) * STEP),
    "instance": "7-0",
    "destination": "primary",
    "release": "r7",
}
_FAILED = re.compile(r'^    expr: ("(?:[^"\\]|\\.)*"), time: (\w+),(.*?)(?=^    expr: "|\Z)', re.MULTILINE | re.DOTALL)
_SERIES = re.compile(r"\{[^}]*\}")


@dataclass(frozen=True)
class Answer:
    """What one query found at one step: promtool's own words for the series; or the error, as it says it."""

    found: str = ""
    error: str = ""

    @property
    def series(self) -> int:
        """How many series were found (names of generations in this story have no braces)."""
        return len(_SERIES.findall(self.found)) or int(bool(self.found))


def fleet() -> Fleet:
    """The story."""
    four = hosts("4", 3, serves=60, fails=1, late=2, release="r4", built=1000)
    five = roll(four, "5", start=FIVE, every=2, release="r5", built=2000)
    six = roll(_of(five, "5"), "6", start=SIX, every=2, release="r6", built=3000)
    seven = roll(_of(six, "6"), "7", start=SEVEN, every=8, fails=6, late=9, release="r7", built=4000)
    eight = roll(_of(seven, "7"), "8", start=EIGHT, every=2, fails=1, late=2, release="r6", built=3000)
    living = [host for part in (five, six, seven) for host in part if host.ends is not None]
    silent = [Host(f"s{index}", "6", born=SIX + 2, ends=SIX + 40, farewell="", release="r6") for index in range(4)]
    left = Host("6-left", "6", born=SIX + 2, ends=SEVEN + 1, farewell="expired", left=4096, release="r6")
    first = Host("c-old", "canary", born=FIVE + 5, ends=FIVE + 20, release="rc", image="sha256:c")
    canary = Host("c-0", "canary", born=SIX + 11, ends=SIX + 25, release="rc", image="sha256:c")  # back under its name
    drifted = Host("7-x", "7", born=SEVEN, release="r7", image="sha256:other", fallback=1)
    everyone = [replace(host, rises={"dropped_records": 1}) for host in (*living, *eight)]
    told = Fleet([*_once(everyone), *silent, left, first, canary, drifted], AFTER + 5)
    _deploys(told)
    return told


def series() -> list[dict[str, str]]:
    """The story as promtool takes it."""
    told = fleet()
    besides = [
        {"series": f"{metric}{{{written(labels)}}}", "values": notation(values)}
        for (metric, labels), values in _sidecars(told).items()
    ]
    return told.input_series() + besides


def _of(made: Iterable[Host], generation: str) -> list[Host]:
    return [host for host in made if host.generation == generation]


def _once(made: Iterable[Host]) -> list[Host]:
    """A host that was replaced stands in two lists, as living and as ended: the ending counts."""
    ended: dict[str, Host] = {}
    for host in made:
        if host.instance not in ended or host.ends is not None:
            ended[host.instance] = host
    return list(ended.values())


def _deploys(told: Fleet) -> None:
    before = {"5": "r4", "6": "r5", "7": "r6", "8": "r7"}
    for generation, start in (("5", FIVE), ("6", SIX), ("7", SEVEN), ("8", EIGHT)):
        action = "rollback" if generation == "8" else "deploy"
        release = "r6" if generation == "8" else f"r{generation}"
        facts = {"generation": generation, "release": release, "action": action, "from_release": before[generation]}
        told.fact(names.DEPLOY_STARTED, start * STEP, since=start, inferred="false", **facts)
        ended = start + 25  # the rollback is still under way at the end of the story
        told.fact(names.DEPLOY_FINISHED, ended * STEP, since=ended, inferred="false", status="succeeded", **facts)
        told.fact(names.DESIRED_HOSTS, 4, since=start, generation=generation, release=release)
    _verdicts(told)
    canary = {"generation": "canary", "release": "rc", "inferred": "true"}
    began = (SIX + 10) * STEP
    told.fact(names.DEPLOY_STARTED, began, since=SIX + 11, action="deploy", from_release="r6", **canary)
    told.fact(names.EPISODE_STARTED, began, since=SIX + 11, generation="canary", release="rc", episode="2")
    told.fact(names.DEPLOY_WITHDRAWN, (SIX + 26) * STEP, since=SIX + 26, **canary)
    told.fact(names.KEEPER_INFO, 1, since=0, generation="4", release="r4", gateway="gw-1")


def _verdicts(told: Fleet) -> None:
    """7 is worse than 6 in errors, and the rollback is not; the watcher was stopped 100 s before the end of the story."""
    for generation, since, until, code in (("7", SEVEN + 4, EIGHT - 1, 1), ("8", EIGHT + 4, AFTER - WATCHER_GONE, 0)):
        for subject in ("errors", "latency"):
            for metric in names.VERDICT_METRICS:
                value = (code if subject == "errors" else -2) if metric == names.VERDICT else 4
                about = {"generation": generation, "subject": subject, "baseline": "6"}
                told.fact(metric, value, since=since, until=until, **about)


def _sidecars(told: Fleet) -> dict[tuple[str, Labels], dict[int, float | str]]:
    """What every sidecar says of itself besides: gauges of one value, and counters that grow, for the whole life."""
    made: dict[tuple[str, Labels], dict[int, float | str]] = {}
    primary = ("destination", "primary")
    said: dict[str, tuple[tuple[tuple[str, str], ...], ...]] = {
        names.HOST_STARTED: ((),),
        names.HOST_STATE: ((),),
        names.NOTICES: ((("kind", "scheduled"),), (("kind", "imminent"),)),
        names.BACKLOG_BYTES: ((primary,),),
        names.SPOOL_BYTES: ((),),
        names.STREAMS: ((),),
        names.OPEN_FILES: ((),),
        names.RESIDENT_MEMORY: ((),),
    }
    counters = {
        names.ACKNOWLEDGED_RECORDS: (primary,),
        names.ACKNOWLEDGED_BYTES: (primary,),
        names.REQUESTS_SENT: (primary, ("outcome", "ok")),
        names.PROBLEMS: (),
        names.CPU_SECONDS: (),
        f"{names.EXPOSURE}_sum": (primary,),
        f"{names.REQUEST_DURATION}_sum": (),
    }
    for host in told.hosts:
        last = told.end if host.ends is None else host.ends
        lived = range(host.born, last + 1)
        for metric, several in said.items():
            for labels in several:
                value = {names.HOST_STARTED: host.born * STEP, names.HOST_STATE: STATES.get(host.instance, 1)}.get(
                    metric, 1
                )
                made[(metric, (*host.identity, *labels))] = dict.fromkeys(lived, value)
        for metric, labels in counters.items():
            made[(metric, (*host.identity, *labels))] = {step: 10 * (step - host.born) for step in lived}
    return made


def asked(queries: Iterable[str], steps: Iterable[int], shared: Path) -> dict[tuple[str, int], Answer]:
    """What each query finds at each step, by query and step.

    promtool is asked once for all test processes: its output is kept in ``shared``, under a name made of all that was asked.
    """
    files = rule_files(BoardConfig())
    document = _document(list(queries), list(steps), files)
    where = shared / f"story-{hashlib.sha256((document + ''.join(files.values())).encode()).hexdigest()[:16]}"
    where.mkdir(exist_ok=True)
    with (where / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        output = where / "output"
        if not output.exists():
            for name, text in files.items():
                (where / name).write_text(text)
            (where / "test.yml").write_text(document)
            ran = _promtool(where)
            (where / "written").write_text(ran)
            (where / "written").rename(output)
    return _answers(output.read_text())


def _document(queries: list[str], steps: list[int], files: Mapping[str, str]) -> str:
    """promtool's test file, in which nothing is expected, so that it prints all it finds."""
    document = {
        "rule_files": list(files),
        "group_eval_order": [group["name"] for text in files.values() for group in yaml.safe_load(text)["groups"]],
        "evaluation_interval": f"{STEP}s",
        "tests": [
            {
                "interval": f"{STEP}s",
                "input_series": series(),
                "promql_expr_test": [
                    {"expr": text, "eval_time": f"{at * STEP}s", "exp_samples": []} for text in queries for at in steps
                ],
            }
        ],
    }
    return json.dumps(document)  # which is YAML, and made in a tenth of the time


def _promtool(directory: Path) -> str:
    assert PROMTOOL
    command = [PROMTOOL, "test", "rules", "test.yml"]
    ran = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=240, check=False)
    return ran.stdout + ran.stderr


def _answers(output: str) -> dict[tuple[str, int], Answer]:
    """By query and step. A query that found nothing, as was expected, is not among them."""
    answers = {}
    for quoted, time, rest in _FAILED.findall(output):
        key = (json.loads(quoted), _seconds(time) // STEP)
        _, got, found = rest.partition("got: ")
        answers[key] = Answer(found.strip()) if got else Answer(error=rest.strip())
    return answers


def _seconds(go: str) -> int:
    """A duration as Go writes it: 1h40m45s."""
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([hms])", go))
