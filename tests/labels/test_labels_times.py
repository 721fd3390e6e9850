"""When a generation began and a release was built: told in two forms, by several places, and never guessed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shipper.config import Labels
from shipper.labels.bake import gather, write
from shipper.labels.detect import detect
from shipper.labels.identity import Identity
from shipper.labels.times import parse_time

NOON = 1_700_000_000 * 10**9


@pytest.mark.parametrize(
    "text",
    ["1700000000", "1700000000.0", "2023-11-14T22:13:20Z", "2023-11-14T23:13:20+01:00", "2023-11-14 22:13:20+00:00"],
)
def test_a_time_is_rfc_3339_or_seconds_since_the_epoch(text: str) -> None:
    """Pipelines have either at hand."""
    assert parse_time(text) == NOON


@pytest.mark.parametrize(
    "text",
    ["", "now", "2023-11-14T22:13:20", "1700000000000", "nan", "inf", "-5", "0", "2023-13-14T00:00:00Z", "1e400"],
)
def test_what_is_no_time_of_a_deploy_is_refused(text: str) -> None:
    """Milliseconds, times without a zone and words would put a deploy somewhere else."""
    with pytest.raises(ValueError, match=r"wanted|zone"):
        parse_time(text)


def test_the_strongest_place_counts(tmp_path: Path) -> None:
    """Configuration, then the environment, then what was baked in; a generation's time is never baked."""
    write(
        gather({"release": "1"}, {"SOURCE_DATE_EPOCH": "1600000000"}, "/nowhere"),
        str(tmp_path / "etc/shipper/release.json"),
    )
    env = {"SHIPPER_GENERATION_STARTED": "1700000000"}
    identity = detect(None, env, str(tmp_path))
    assert identity.times == {"generation_started": NOON, "release_built": 1_600_000_000 * 10**9}
    configured = Labels(generation_started="1700000001", release_built="1700000002")
    identity = detect(configured, env, str(tmp_path))
    assert identity.times == {"generation_started": NOON + 10**9, "release_built": NOON + 2 * 10**9}
    assert Identity.restore(identity.dump()).times == identity.times


def test_a_wrong_time_is_said_and_costs_nothing_else(tmp_path: Path) -> None:
    """The host is who it is all the same, and what nobody knows is not made up."""
    file = tmp_path / "etc/shipper/release.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"release": "1", "built": "yesterday"}))
    identity = detect(None, {"SHIPPER_GENERATION_STARTED": "soon"}, str(tmp_path))
    assert identity.times == {}
    assert identity.release.value == "1"
    assert len(identity.problems) == 2
    assert "SHIPPER_GENERATION_STARTED: 'soon' is no time" in identity.problems[0]
    assert "release.json: 'built': 'yesterday' is no time" in identity.problems[1]


def test_what_an_older_sidecar_kept_of_an_identity_has_no_times() -> None:
    """A life goes on over an update of Shipper."""
    kept = json.loads(detect(None, {}, "/nowhere").dump())
    del kept["times"]
    assert Identity.restore(json.dumps(kept)).times == {}
