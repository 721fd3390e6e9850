"""The configuration of boards, rules and alerts: what may be said differently, and what is refused with its path."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from shipper.dashboards import names
from shipper.dashboards.alerts import alert_groups
from shipper.dashboards.config import BoardConfig, Requests, SourceLabels, load_board_config
from shipper.dashboards.duration import duration
from shipper.dashboards.expressions import Expressions, edge
from shipper.dashboards.rulefiles import rule_files
from shipper.dashboards.selector import BadSelector, Selector
from shipper.errors import ConfigError
from tests.dashboards.promtool.counting import summed
from tests.dashboards.promtool.run import BY_SERVICE, Scenario, fires, needs_promtool, recorded
from tests.dashboards.promtool.series import Fleet, hosts, roll


def loaded(directory: Path, text: str) -> BoardConfig:
    path = directory / "boards.yaml"
    path.write_text(text)
    return load_board_config(str(path))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("windows: {presnt: 45s}", "windows.presnt: unknown key; did you mean 'present'?"),
        ("windows: {rate: 20s}", "windows.rate: must be at least 3 times intervals.push, 45 seconds"),
        ("intervals: {push: 0}", "intervals.push: must be longer than 0"),
        ("windows: {first_long: 4m}", "windows.first_long: must be longer than windows.first_short"),
        ("windows: {remember: 1m}", "windows.remember: must not be shorter than windows.absent"),
        ("labels: {service: a-b}", "labels.service: 'a-b' is no label name"),
        ("labels: {env: service}", "labels.env: 'service' is already labels.service"),
        ("requests: {requests: 'rate(x[5m])'}", "requests.requests: after rate only matchers"),
        ("requests: {errors: 'x{code=~5..}'}", "requests.errors: expected matchers such as"),
        ("requests: {durations: x_bucket}", "requests.durations: give the histogram's base name, 'x'"),
        ("requests: {labels: {service: 'a b'}}", "requests.labels.service: 'a b' is no label name"),
        ("requests: {labels: {instance: '=x'}}", "requests.labels.instance: cannot be constant"),
        ("requests: {objective: 0}", "requests.objective: must be longer than 0"),
        ("thresholds: {outage_share: 2}", "thresholds.outage_share: "),
        ("burn: [{long: 1h, short: 2h, factor: 3}]", "burn[0].short: must be longer than 0 and shorter than long"),
        ("burn: [{long: 1h, short: 5s, factor: 3}]", "burn[0].short: must be at least 3 times intervals.push"),
        ("runbooks: https://wiki.example", "runbooks: must hold {alert}"),
        ("grafana: grafana.example", "grafana: must be an address"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_file_and_path(tmp_path: Path, text: str, says: str) -> None:
    """One sentence with the file, the dotted path and what to write instead."""
    with pytest.raises(ConfigError, match=re.escape(says)) as refused:
        loaded(tmp_path, text)
    assert str(refused.value).startswith(f"{tmp_path / 'boards.yaml'}: ")


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    """Nothing has to be said."""
    assert loaded(tmp_path, "") == BoardConfig()


def test_compression_shortens_every_duration_alike(tmp_path: Path) -> None:
    """A demo of ten minutes has the rules of hours, and no query knows of it."""
    config = loaded(tmp_path, "compression: 10\nrequests: {objective: 200ms}\n")
    assert config.windows.rate == 30
    assert config.windows.ages == ("30s", "3m")
    assert config.intervals.push == 1.5
    assert [window.long for window in config.burn] == [360, 2160, 8640, 25920]
    assert config.wait(30) == "3s"
    assert config.requests.objective == 0.2
    text = "".join(rule_files(config).values())
    assert not re.search(r"\[(5m|10m|30m|1h|14d)\]", text)


@given(st.floats(min_value=0.001, max_value=1e7))
def test_durations_are_exact_to_the_millisecond(seconds: float) -> None:
    """What is written is what was meant, in units that Prometheus reads in this order."""
    text = duration(seconds)
    parts = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?", text)
    assert parts
    worth = zip((86400, 3600, 60, 1, 0.001), (int(part or 0) for part in parts.groups()), strict=True)
    assert abs(sum(size * amount for size, amount in worth) - seconds) <= 0.0005 + 1e-9 * seconds


@pytest.mark.parametrize("text", ["", "1x", "x{", "x{a=b}", 'x{a="b" c="d"}', 'x{a="b"} > 1', "x[5m]", "sum(x)"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    """Functions, ranges and comparisons do not belong into a selector."""
    with pytest.raises(BadSelector):
        Selector.parse(text)


def test_a_selector_keeps_its_matchers_and_takes_more() -> None:
    """Quotes, commas and braces inside of values are theirs."""
    selector = Selector.parse('istio_requests_total{reporter="destination", path=~"/a{1,2}.*", x=\'",\'}')
    assert str(selector.with_('code="5"')) == (
        'istio_requests_total{reporter="destination",path=~"/a{1,2}.*",x=\'",\',code="5"}'
    )


def test_a_bucket_is_found_however_its_edge_is_spelled() -> None:
    """Clients write 1 or 1.0; an edge with decimals has one spelling."""
    assert (edge(1), edge(0.5), edge(500)) == ('le=~"1(\\\\.0)?"', 'le="0.5"', 'le=~"500(\\\\.0)?"')


MAPPED = Requests(
    requests='istio_requests_total{reporter="destination"}',
    errors='istio_requests_total{reporter="destination",response_code=~"5.."}',
    durations="istio_request_duration_milliseconds",
    unit="milliseconds",
    steady=False,
    labels=SourceLabels(service="destination_app", env="=prod", generation="destination_version", instance="pod"),
)


@needs_promtool
def test_existing_request_metrics_serve_by_name(tmp_path: Path) -> None:
    """A mesh's own counters, with labels of their own, find the same bad generation; no error series is no gap."""
    old = hosts("7", 6, serves=200, fails=0)
    fleet = Fleet(roll(old, "8", start=44, fails=8), 60)
    for (metric, labels), values in fleet.series().copy().items():
        named = dict(labels)
        if metric != "shipper_requests_total" or (named["generation"] == "7" and named["outcome"] == "error"):
            continue
        theirs = (
            ("reporter", "destination"),
            ("destination_app", named["service"]),
            ("destination_version", named["generation"]),
            ("pod", named["instance"]),
            ("response_code", "503" if named["outcome"] == "error" else "200"),
        )
        fleet.series()[("istio_requests_total", theirs)] = values
    for key in [key for key in fleet.series() if key[0].startswith("shipper_request")]:
        del fleet.series()[key]
    by = ("destination_app", "destination_version")
    many = summed(fleet, "istio_requests_total", 56, 40, "extrapolated", by=by)
    scenario = Scenario(
        fleet,
        [
            recorded(names.REQUESTS_INCREASE, 56, {("prod", *key): value for key, value in many.items()}),
            fires("ShipperNewGenerationErrors", 56, ("prod", "shop", "8")),
            recorded(names.ERRORS_RATIO, 40, {("prod", "shop", "7"): 0}),
            recorded(names.ERRORS_RATIO, 56, {("prod", "shop", "7"): 0, ("prod", "shop", "8"): 0.04}),
            recorded(names.SLOW_Z, 56, {}, by=BY_SERVICE),
        ],
        replace(BoardConfig(), requests=MAPPED),
    )
    scenario.run(tmp_path)


def test_a_load_balancer_without_durations_gets_no_latency_rules() -> None:
    """What cannot be known is left out, rules and alerts alike."""
    config = replace(BoardConfig(), requests=replace(MAPPED, durations=""))
    text = "".join(rule_files(config).values())
    assert "shipper_slow" not in text
    assert "Latency" not in text


def test_steady_counters_are_read_exactly_and_others_are_not_trusted() -> None:
    """A last value is the count of a life only where no process begins anew within it."""
    assert "max_over_time(shipper_requests_total[30m])" in Expressions(BoardConfig()).requests("first", 1800)
    assert "increase(" not in Expressions(BoardConfig()).errors("increase", 600)
    config = replace(BoardConfig(), requests=MAPPED)
    assert "increase(istio_requests_total" in Expressions(config).requests("first", 1800)
    assert "rate(istio_requests_total" in Expressions(config).requests("rate", 300)


def test_the_page_about_rules_has_every_recorded_name_and_every_alert() -> None:
    """Whoever adds a rule or an alert says what it is."""
    page = (Path(__file__).parents[2] / "docs/rules.md").read_text()
    assert (
        set(re.findall(r"`((?:service|service_generation|service_role|fleet):\w+(?::\w+)?)`", page)) == names.RECORDED
    )
    alerts = {alert.name for group in alert_groups(BoardConfig()) for alert in group.alerts}
    assert set(re.findall(r"\[(Shipper\w+)\]", page)) == alerts


def test_the_settings_on_that_page_are_settings(tmp_path: Path) -> None:
    """The example can be pasted."""
    page = (Path(__file__).parents[2] / "docs/rules.md").read_text()
    example = next(block for block in re.findall(r"```yaml\n(.*?)```", page, re.S) if "compression" in block)
    config = loaded(tmp_path, example)
    assert config.intervals.push == 1
    assert config.labels.env == "environment"
