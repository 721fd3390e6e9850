"""The demo's fleet, seen through a real Prometheus with our rules: every host dies, and every number equals the archive's.

Time is compressed by the boards' configuration alone: hosts push ten times as often as in life, all windows are as much
shorter, and no query knows of it.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from shipper.contracts import Signal, StreamKind
from shipper.dashboards.build import build
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.rulefiles import rule_files
from shipper.fleet.archive import Archive
from shipper.testing.prometheus import MISSING, Prometheus, available
from tests.dashboards.lint import promql

pytestmark = pytest.mark.skipif(not available(), reason=MISSING)

HOSTS = 3
TIMES = 10  # as fast as in life; not more, since what a busy machine adds is not compressed
PUSH = 15 / TIMES
CONFIG = BoardConfig().scaled(TIMES)
VALUES = {"env": "demo", "service": "checkout", "generation": "2-B", "prev": "1-A", "shift": "12"}
DRAINED = 4  # of shipper_host_state
# Nobody noticed, expired or was withdrawn; nothing computes a verdict; images are as they should be; no key came back.
NOT_IN_THE_STORY = {
    ("shipper-generations", "Which generation started badly?", "K"),
    ("shipper-generations", "Which generation started badly?", "L"),
    ("shipper-rollout", "How long did the last deploys take, and how did they end?", "C"),
    ("shipper-rollout", "Does one release run from two images?", "A"),
    ("shipper-rollout", "Which generation came back under its old name?", "A"),
    ("shipper-shipping", "In which state are the hosts?", "B"),
    ("shipper-shipping", "In which state are the hosts?", "E"),
    ("shipper-shipping", "Which destination cannot be reached, and by how many?", "B"),  # a fallback at work
    # These last for less than a push: drains, the time between a deploy's word and its first host, a roll under way.
    ("shipper-shipping", "In which state are the hosts?", "C"),
    ("shipper-rollout", "Is one under way?", "C"),
    ("shipper-rollout", "Which hosts never came up?", "A"),
    ("shipper-rollout", "Which hosts never came up?", "B"),
}
WHOLE = "[10m]"  # the whole story, whatever `increase` would extrapolate


@dataclass
class Told:
    """What the archive knows of each generation, and what Prometheus was asked when all was over."""

    prometheus: Prometheus
    began: float
    ended: float
    output: str
    requests: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    hosts: Counter[str] = field(default_factory=Counter)

    def by_generation(self, expression: str) -> dict[str, float]:
        """The values of an instant query at the end, by generation; what has none (a gateway) is left out."""
        found = self.prometheus.query(expression, self.ended)
        return {name: value for labels, value in found.items() if (name := dict(labels).get("generation"))}

    def filled(self, expression: str, **chosen: str) -> str:
        """A panel's query as Grafana sends it, with the whole story as the time shown."""
        shown = f"{math.ceil(self.ended - self.began)}"
        values = VALUES | {
            "__range": f"{shown}s",
            "__range_s": shown,
            "__rate_interval": f"{4 * PUSH:g}s",
            "__interval": "1s",
        }
        return promql.filled(expression, values | chosen)

    def shown(self, board: str, panel: str, letter: str, *, by: str = "generation", **chosen: str) -> dict[str, float]:
        """What one query of a panel states at the end, by a label."""
        [text] = [
            query["expr"]
            for title, ref, query in queries(json.loads(build(CONFIG)[f"{board}.json"]))
            if (title, ref) == (panel, letter)
        ]
        found = self.prometheus.query(self.filled(text, **chosen), self.ended)
        return {dict(labels).get(by, ""): value for labels, value in found.items()}

    def over_time(self, expression: str) -> dict[Any, list[tuple[float, float]]]:
        """A range query over the whole story, second by second."""
        return self.prometheus.query_range(expression, self.began, self.ended, 1.0)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """One run of the demo into a Prometheus, for all tests of this file."""
    directory = tmp_path_factory.mktemp("fleet")
    with Prometheus(directory / "prometheus", rules=list(rule_files(CONFIG).values())) as prometheus:
        began = float(int(time.time()))  # as the time of a deploy is a whole second, too
        words = [
            f"--hosts={HOSTS}",
            "--rate=25",
            "--seconds=48",
            f"--push={PUSH}",
            f"--prometheus={prometheus.write_url}",
        ]
        demo = subprocess.run(
            [sys.executable, "-m", "shipper", "demo", *words, f"--keep={directory / 'demo'}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert demo.returncode == 0, demo.stdout + demo.stderr
        found = Told(prometheus, began, judged(prometheus, time.time()), demo.stdout)
        count(Archive.open(str(directory / "demo" / "archive")), found)
        yield found


def judged(prometheus: Prometheus, at: float) -> float:
    """A moment by which the rules have seen everything that had been written at ``at``."""
    give_up = time.monotonic() + 60
    while not (seen := prometheus.value("min(timestamp(service_generation:shipper_requests:first))")) > at:
        assert time.monotonic() < give_up, "the rules are no longer evaluated"
        time.sleep(0.05)
    return seen + 0.5


def count(archive: Archive, found: Told) -> None:
    """Count server spans and hosts by generation, each batch once, as the archive holds them."""
    seen = set()
    hosts = set()
    for ranges in archive.index().lists:
        for piece in archive.pieces(ranges):
            entry = piece.entry
            key = (entry.life, entry.stream, entry.start, entry.end)
            if piece.signal is not Signal.TRACES or entry.kind != StreamKind.DATA or key in seen:
                continue
            seen.add(key)
            for resource in ExportTraceServiceRequest.FromString(piece.payload).resource_spans:
                labels = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
                generation = labels["shipper.generation"]
                hosts.add((generation, entry.life))
                for scope in resource.scope_spans:
                    served = [span for span in scope.spans if span.kind == Span.SPAN_KIND_SERVER]
                    found.requests[generation] += len(served)
                    found.errors[generation] += sum(span.status.code == Status.STATUS_CODE_ERROR for span in served)
    found.hosts.update(generation for generation, _ in hosts)


def test_requests_errors_and_hosts_of_each_generation_equal_the_archive(told: Told) -> None:
    """To the record, although every host is dead, one sidecar was killed and the gateway was away."""
    assert set(told.requests) == {"1-A", "2-B", "3-A"}
    requests = told.by_generation(f"sum by (generation) (max_over_time(shipper_requests_total{WHOLE}))")
    assert requests == dict(told.requests)
    failed = f'sum by (generation) (max_over_time(shipper_requests_total{{outcome="error"}}{WHOLE}))'
    assert told.by_generation(failed) == {name: told.errors[name] for name in told.requests}
    hosts = told.by_generation(
        f"count by (generation) (count by (generation, instance) (max_over_time(shipper_requests_total{WHOLE})))"
    )
    assert hosts == dict(told.hosts) == dict.fromkeys(told.requests, HOSTS)


def test_every_host_said_farewell_and_is_gone(told: Told) -> None:
    """The last sample tells how the life ended; a second later there is no series of any host left."""
    drained = f'sum by (generation) (max_over_time(shipper_farewells_total{{outcome="drained"}}{WHOLE}))'
    assert told.by_generation(drained) == dict.fromkeys(told.requests, HOSTS)
    assert told.by_generation("shipper_host_info") == {}
    assert told.by_generation("shipper_requests_total") == {}


def test_generations_stand_in_the_order_of_their_start_and_their_deploys_are_told(told: Told) -> None:
    """Two deploys and a rollback, each with the whole second it began in, kept alive by the gateway until it ended."""
    started = told.by_generation(
        f"max by (generation) (max_over_time(shipper_generation_started_timestamp_seconds{WHOLE}))"
    )
    assert sorted(started, key=started.__getitem__) == ["1-A", "2-B", "3-A"]
    found = told.prometheus.query(f"max_over_time(shipper_deploy_started_timestamp_seconds{WHOLE})", told.ended)
    actions = sorted((value, dict(labels)["generation"], dict(labels)["action"]) for labels, value in found.items())
    assert [action for _, *action in actions] == [["1-A", "deploy"], ["2-B", "deploy"], ["3-A", "rollback"]]
    assert all(told.began <= at <= told.ended for at, *_ in actions)


def test_the_error_ratio_of_each_generation_is_the_true_one(told: Told) -> None:
    """As the boards show it of first minutes, although no host lives any more: within 1 % of the archive's."""
    for generation, requests in told.requests.items():
        first = f'{{age="{CONFIG.windows.ages[1]}", generation="{generation}"}}'
        counted = told.prometheus.value(
            f"max_over_time(service_generation:shipper_requests:first{first}{WHOLE})", told.ended
        )
        failed = told.prometheus.value(
            f"max_over_time(service_generation:shipper_errors:first{first}{WHOLE})", told.ended
        )
        assert failed / counted == pytest.approx(told.errors[generation] / requests, rel=0.01)


def test_the_bad_release_is_named_within_three_minutes_of_its_first_host(told: Told) -> None:
    """Three minutes at a push every 15 seconds are as many pushes here."""
    [first_host] = told.over_time('min(shipper_host_started_timestamp_seconds{generation="2-B"})').values()
    alerts = told.over_time('ALERTS{alertname="ShipperNewGenerationErrors", alertstate="firing"}')
    assert {dict(labels)["generation"] for labels in alerts} == {"2-B"}, told.output
    named = min(points[0][0] for points in alerts.values())
    assert named - first_host[0][1] <= 180 / TIMES


def test_each_number_of_a_panel_is_the_archives(told: Told) -> None:
    """What the panels state when all is over, asked as Grafana asks it: requests, errors, hosts, changes and endings."""
    scores = "shipper-generations", "Which generation started badly?"
    assert told.shown(*scores, "E") == dict(told.hosts)
    assert told.shown(*scores, "F") == dict(told.requests)
    assert told.shown(*scores, "G") == dict(told.errors)
    assert told.shown("shipper-slo", "Which five deploys cost most?", "A") == dict(told.errors)
    assert told.shown("shipper-hosts", "How fast does a generation come up?", "B") == dict(told.hosts)
    started = told.shown("shipper-triage", "What changed last, and what would a rollback go to?", "A")
    assert sorted(started, key=started.__getitem__) == ["1-A", "2-B", "3-A"]
    assert told.shown("shipper-rollout", "How often, in the time shown?", "A", by="") == {"": 2}
    assert told.shown("shipper-rollout", "How often, in the time shown?", "B", by="") == {"": 1}
    for generation in told.requests:
        ended = {
            letter: told.shown("shipper-hosts", "Who ended, and how?", letter, by="instance", generation=generation)
            for letter in "BD"
        }
        assert list(ended["B"].values()) == [DRAINED] * HOSTS
        assert ended["D"] == dict.fromkeys(ended["B"], 0)
    for letter in "ABCDE":
        assert told.shown("shipper-shipping", "Was anything lost, and by what?", letter, by="") == {"": 0}


def test_the_panels_speak_of_what_happened(told: Told) -> None:
    """The rollback is told by its alert, nothing is told as withdrawn, and no panel is empty but those of what did not happen."""
    alerts = told.over_time('ALERTS{alertstate="firing"}')
    told_of = {(dict(labels)["alertname"], dict(labels).get("generation")) for labels in alerts}
    assert ("ShipperRollback", "3-A") in told_of
    assert "ShipperGenerationWithdrawn" not in {name for name, _ in told_of}
    instance = next(iter(told.shown("shipper-hosts", "Who ended, and how?", "B", by="instance")))
    empty = set()
    for name, text in build(CONFIG).items():
        for title, letter, query in queries(json.loads(text)):
            asked = told.filled(query["expr"], instance=instance)
            moments = range(int(told.began) + 10, int(told.ended) + 1, 5) if query.get("instant") else ()
            found = any(told.prometheus.query(asked, at) for at in moments) or (
                not query.get("instant") and told.over_time(asked)
            )
            if not found:
                empty.add((name.removesuffix(".json"), title, letter))
    assert empty <= NOT_IN_THE_STORY, told.output


def queries(board: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every PromQL query of a board: its panel's title, its letter, and what is asked."""
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            if target.get("datasource", panel.get("datasource", {})).get("type") == "prometheus" and target.get("expr"):
                yield panel["title"], target["refId"], target
