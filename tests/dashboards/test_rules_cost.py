"""What a fleet costs, and that the numbers it is computed from are those of the parts that cause it."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from msgspec.structs import fields

from shipper.cli import main
from shipper.cli.cost import host_series
from shipper.dashboards import cost, names
from shipper.dashboards.config import BoardConfig
from shipper.dashboards.cost import FleetSize, bill, recorded_series
from shipper.dashboards.rules import recording_groups
from shipper.events import Reporter
from shipper.measure import catalogue, own_reading
from shipper.measure.catalogue import EXPOSURE_EDGES, Kind
from shipper.testing.clock import FakeClock
from shipper_exporters._prometheus.settings import PrometheusSettings
from shipper_exporters.archive import ArchiveSettings


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["cost", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_host_is_counted_from_what_it_pushes() -> None:
    """Every series of a real registry, with every label value, of one destination and of two."""
    facts = own_reading.HostFacts(1, "image", "zone", "type", 1, 1)
    for destinations in (["a"], ["a", "b"]):
        pushed = own_reading.read(Reporter(FakeClock()).metrics, facts, destinations, own_reading.Ending())
        series = sum(len(EXPOSURE_EDGES) + 3 if own.kind is Kind.HISTOGRAM else 1 for own, _ in pushed)
        assert host_series().total(len(destinations), 0) == series


def test_a_host_stays_below_the_limit_by_default() -> None:
    """One service and one destination are at most 60 series."""
    assert host_series().total(1, 1) <= cost.SERIES_LIMIT


def test_boards_know_the_metrics_that_hosts_push_and_no_others() -> None:
    """The list of names is the catalogue of what is shipped, and the request metrics."""
    own = set()
    for metric in catalogue.CATALOGUE:
        name = metric.in_prometheus
        parts = ("_bucket", "_sum", "_count") if metric.kind is Kind.HISTOGRAM else ("",)
        own |= {name + part for part in parts}
    red = {name for name in names.HOST_METRICS if name.startswith((names.REQUESTS, names.REQUEST_DURATION))}
    assert own | red == names.HOST_METRICS


def test_the_archive_and_the_exporter_are_reckoned_with_their_own_defaults() -> None:
    """Who changes a default there changes what is printed here."""
    archive = {field.name: field.default for field in fields(ArchiveSettings)}
    assert (archive["linger"], archive["object_bytes"]) == (cost.OBJECT_SECONDS, cost.OBJECT_BYTES)
    remote = {field.name: field.default for field in fields(PrometheusSettings)}
    assert remote["max_samples_per_send"] == cost.SAMPLES_A_REQUEST


def test_recorded_series_are_one_of_each_rule() -> None:
    """Whatever is recorded is recorded by generation, by service, or once."""
    config = BoardConfig()
    series = recorded_series(config)
    rules = sum(len(group.rules) for group in recording_groups(config))
    assert (series.generation + series.service + series.fleet, series.fleet) == (rules, 1)


def reckoned(fleet: FleetSize) -> dict[tuple[str, str], float]:
    return {(line.part, line.what): line.value for line in bill(BoardConfig(), fleet, host_series())}


def test_the_bill_adds_up() -> None:
    """500 hosts that are replaced 20 times a day: what is alive, what is born, what is left after 90 days."""
    lines = reckoned(FleetSize(500, 20))
    a_host = host_series().total(1, 1)
    assert lines["raw", "series now"] == 500 * a_host
    assert lines["raw", "new series a day"] == 20 * 500 * a_host
    assert lines["raw", "series in 2 hours"] == pytest.approx((500 + 20 * 500 / 12) * a_host)
    assert lines["raw", "samples"] == pytest.approx(500 * a_host / 15)
    recorded = recorded_series(BoardConfig())
    assert lines["recorded", "series after 90 days"] == 1801 * recorded.generation + recorded.service + recorded.fleet


def test_shipper_cost_prints_series_requests_objects_and_gigabytes() -> None:
    """Each figure with its unit and what it is made of."""
    text = printed("--hosts", "500", "--deploys", "20", "--logs", "1GB")
    for said in ("series a host", "series after 90 days", "remote-write requests", "PUTs", "GB a day", "GB in 90 days"):
        assert said in text
    assert "500.0 GB as written" in text


def test_services_share_the_hosts_and_the_deploys() -> None:
    """With four services a deploy replaces a quarter of the hosts."""
    lines = reckoned(FleetSize(500, 20, services=4))
    assert lines["raw", "new series a day"] == 20 * 125 * host_series().total(1, 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--hosts", "0", "--deploys", "1"], "--hosts"),
        (["--hosts", "5", "--deploys", "1", "--services", "9"], "9 services do not fit on 5 hosts"),
        (["--hosts", "5", "--deploys", "1", "--logs", "much"], "expected a size"),
        (["--hosts", "5", "--deploys", "1", "--config", "/nowhere"], "/nowhere: no such file"),
    ],
)
def test_what_cannot_be_reckoned_is_said(arguments: list[str], says: str) -> None:
    """A clear sentence, never a traceback."""
    result = CliRunner().invoke(main, ["cost", *arguments])
    assert result.exit_code != 0
    assert says in result.output
