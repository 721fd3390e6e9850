"""The command, the alert and the Triage panel say the same: of a bad generation, a healthy one, and one that has just begun."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from shipper.clock import SystemClock
from shipper.dashboards import names
from shipper.dashboards.alerts import alert_groups
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.preview.fields import looks
from shipper.events import Reporter
from shipper.fleet.verdict.client import Client, Found
from shipper.fleet.verdict.words import sentence
from shipper.fleet.watching.newest import Wanted, about_newest, read_newest
from shipper.fleet.watching.series import CODES
from shipper.fleet.watching.watcher import Watcher
from shipper.fleet.watching.writers import ByExporter
from shipper.testing import prometheus
from shipper.testing.prometheus import Prometheus
from shipper.verdict_names import SERIES
from tests.dashboards.lint import promql
from tests.dashboards.lint.committed import boards
from tests.fleet.verdict_series import Life, write
from tests.fleet.watched import judgement

pytestmark = pytest.mark.skipif(not prometheus.available(), reason=prometheus.MISSING)
Samples = dict[tuple[tuple[str, str], ...], list[tuple[int, float]]]
# environment: how often a request of the new generation fails and is slow (every so many), and for how many minutes it serves
STORIES = {"bad": (40, 100, 25), "slow": (200, 8, 25), "healthy": (200, 100, 25), "young": (200, 100, 3)}
EXPECTED = {
    "bad": ("worse", "no difference seen"),
    "slow": ("no difference seen", "worse"),
    "healthy": ("no difference seen", "no difference seen"),
    "young": ("not enough data", "not enough data"),
    "alone": ("cannot tell", "not computed"),
}
ALERTS = {alert.name: alert for group in alert_groups(BoardConfig()) for alert in group.alerts}


def ago(minutes: float) -> int:
    return int(time.time() // 60 * 60 - minutes * 60)


def lives(env: str, generation: str, minutes: float, fails: int, slows: int) -> list[Life]:
    """Hosts that were last heard a minute ago, so that two looks count the same though a minute began between them."""
    return [
        Life(f"{env}-{generation}-{index}", generation, ago(minutes), ago(1), fails=fails, slows=slows, env=env)
        for index in range(4)
    ]


def ruled(env: str, generation: str, started: int, newest: bool) -> Samples:
    """What the rules would have recorded of it in the last minutes."""
    values: dict[str, float] = {names.STARTED: started, names.HOSTS_COUNT: 4, **({names.NEWEST: 1} if newest else {})}
    now = int(time.time())
    made: Samples = {}
    for at in range(now - 60, now + 1, 15):
        for name, value in {**values, names.AGE: at - started}.items():
            labels = {"__name__": name, "service": "shop", "env": env, "generation": generation}
            made.setdefault(tuple(sorted(labels.items())), []).append((at, value))
    return made


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Each environment has generation 1, and 2 beside it; "alone" has only 2, and so has "unruled", where no rules run."""
    window = "storage: {tsdb: {out_of_order_time_window: 30d}}\n"
    with Prometheus(tmp_path_factory.mktemp("prometheus"), config=window) as running:
        for env, (fails, slows, minutes) in STORIES.items():
            old, new = lives(env, "1", 70, 200, 100), lives(env, "2", minutes, fails, slows)
            write(running.write_url, *(life.written() for life in (*old, *new)))
            write(running.write_url, ruled(env, "1", ago(70), False), ruled(env, "2", ago(minutes), True))
        for life in (*lives("alone", "2", 20, 40, 0), *lives("unruled", "2", 20, 40, 0)):
            kept = {key: samples for key, samples in life.written().items() if "le" not in dict(key)}
            write(running.write_url, kept)
        write(running.write_url, ruled("alone", "2", ago(20), True))
        asyncio.run(watched(running))
        yield running


class Counting(Client):
    """Keeps what it asked."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked: list[str] = []

    def _ask(self, what: str, fields: Mapping[str, object], kind: str) -> list[Found]:
        self.asked.append(what)
        return super()._ask(what, fields, kind)


async def watched(server: Prometheus) -> None:
    """One look of a watcher that reads and writes it."""
    clock = SystemClock()
    writer = ByExporter("prometheus", "prometheus", {"endpoint": server.write_url}, where="--write", clock=clock)
    client = Counting(server.url)
    watcher = Watcher(client, SERIES, Wanted(), writer, lease=None, every=60, clock=clock, report=Reporter(clock))
    await watcher.turn()
    await writer.aclose()
    assert len(client.asked) <= 1 + 2 * len([*EXPECTED, "unruled"]), "one question for all, and two a service at most"


def said(server: Prometheus, env: str) -> Mapping[str, Any]:
    """What the command says, as JSON."""
    words = ["verdict", "--service", "shop", "--env", env, "--candidate", "2", "--prometheus", server.url, "--json"]
    done = subprocess.run([sys.executable, "-m", "shipper", *words], capture_output=True, text=True, timeout=60)
    whole: Mapping[str, Any] = json.loads(done.stdout)
    return whole


def asked(server: Prometheus, title: str, letter: str, env: str, at: float | None = None) -> Any:
    """What a query of Triage finds."""
    (query,) = [
        query
        for query in boards()["shipper-triage"].queries
        if query.panel["title"] == title and query.json["refId"] == letter
    ]
    return server.query(promql.filled(query.text, {"env": env, "service": "shop"}), at)


def shown(server: Prometheus, letter: str, env: str, at: float | None = None) -> str:
    """The words on the panel."""
    title = "Is the newest generation worse?"
    (value,) = asked(server, title, letter, env, at).values()
    (panel,) = [panel for panel in boards()["shipper-triage"].panels if panel["title"] == title]
    return looks(panel, 0.0, ref=letter).written(value)


@pytest.mark.parametrize("env", [env for env in EXPECTED if env != "alone"])
def test_the_command_the_alert_and_the_panel_say_the_same(server: Prometheus, env: str) -> None:
    """In words, in every number, and in whether somebody is woken."""
    whole = said(server, env)
    assert (shown(server, "A", env), shown(server, "B", env)) == EXPECTED[env]
    title = "What does the verdict stand on?"
    for subject, alert in (("errors", "ShipperVerdictErrors"), ("latency", "ShipperVerdictLatency")):
        verdict = whole[subject]
        rows = {
            letter: {dict(key)["subject"]: value for key, value in asked(server, title, letter, env).items()}.get(
                subject
            )
            for letter in "ABCDEFGHI"
        }
        low, high = verdict["interval"] or (None, None)
        assert rows == pytest.approx({
            "A": CODES[verdict["kind"]], "B": verdict["factor"], "C": low, "D": high, "E": verdict["errors"],
            "F": verdict["requests"], "G": verdict["baseline_errors"], "H": verdict["baseline_requests"],
            "I": verdict["seen"],
        })  # fmt: skip
        firing = {dict(key)["env"]: value for key, value in server.query(ALERTS[alert].expr).items()}
        assert (env in firing) == (verdict["kind"] == "worse")
        assert firing.get(env, verdict["errors"]) == verdict["errors"]


def test_what_the_panel_says_begins_the_commands_sentence() -> None:
    """The words of the board are those of the command."""
    (panel,) = [one for one in boards()["shipper-triage"].panels if one["title"] == "Is the newest generation worse?"]
    for kind, code in CODES.items():
        words = looks(panel, 0.0, ref="A").written(float(code))
        assert sentence(judgement(kind).errors).startswith(words)


def test_what_cannot_be_told_has_no_number(server: Prometheus) -> None:
    """A generation that serves alone with nothing before it: the word, and no factor; what nobody counted is not computed."""
    assert (shown(server, "A", "alone"), shown(server, "B", "alone")) == EXPECTED["alone"]
    assert said(server, "alone")["verdict"] == "cannot_tell"
    assert server.query(f'{names.VERDICT_FACTOR}{{env="alone"}}') == {}


@pytest.mark.parametrize(("seconds", "words"), [(100, "worse"), (131, "not computed")])
def test_after_two_minutes_it_is_not_computed(server: Prometheus, seconds: int, words: str) -> None:
    """Neither the panel nor the alert goes by a verdict that nobody has computed for two minutes, though it is still there."""
    (written,) = server.query(f'timestamp({names.VERDICT}{{env="bad",subject="errors"}})').values()
    later = written + seconds
    newest = f'{names.NEWEST}{{env="bad"}}'
    assert server.query(newest, later), "the generation is still the newest"
    assert server.query(f'{names.VERDICT}{{env="bad"}}', later)
    assert shown(server, "A", "bad", later) == words
    firing = {dict(key)["env"] for key in server.query(ALERTS["ShipperVerdictErrors"].expr, later)}
    assert ("bad" in firing) == (words == "worse")


def test_the_newest_are_found_with_rules_and_without(server: Prometheus) -> None:
    """Where rules run they say it; else it is the generation of the hosts that began last; and only those that are wanted."""
    client = Client(server.url)
    found = read_newest(client.instant(about_newest(SERIES, Wanted())))
    assert [(one.service, one.env, one.generation, serving) for one, serving in found.items()] == [
        ("shop", env, "2", {"alone": 1, "unruled": 0}.get(env, 2)) for env in sorted([*EXPECTED, "unruled"])
    ]
    only = read_newest(client.instant(about_newest(SERIES, Wanted(["shop", "a.b|c\\"], ["bad", "alone"]))))
    assert [one.env for one in only] == ["alone", "bad"]
    assert read_newest(client.instant(about_newest(SERIES, Wanted(["sho."])))) == {}
