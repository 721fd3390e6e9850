"""Settings of counting and scraping: short forms, and what cannot work said before anything runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from shipper.config import Config, Scrape, load
from shipper.config.convert import convert
from shipper.config.validate import validate
from shipper.errors import ConfigError
from shipper.labels.life import OF_A_LIFE
from shipper.measure.making import bounds
from shipper.measure.stream import LIFE, NAME


def config(**settings: Any) -> Config:
    return convert({"file_limits": {"max_open_files": 64}, **settings}, Config)


def wrong(**settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        validate(config(**settings))
    return str(caught.value)


def test_the_objective_is_one_of_five_edges_by_default() -> None:
    """Requests within the objective can be counted exactly, whatever it is."""
    assert bounds(config().requests).buckets_ns == (50_000_000, 200_000_000, 500_000_000, 1_000_000_000, 5_000_000_000)
    edges = bounds(config(requests={"objective": "120ms"}).requests).buckets_ns
    assert len(edges) == 5
    assert 120_000_000 in edges


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"buckets": [0.1, 1]}, "one of them must be requests.objective (0.5 s)"),
        ({"buckets": [1, 0.5]}, "ascending"),
        ({"buckets": [0.5, 0.5]}, "ascending"),
        ({"buckets": [0, 0.5]}, "above zero"),
        ({"buckets": [0.5 + n for n in range(31)]}, "at most 30"),
    ],
)
def test_buckets_that_say_nothing_are_refused(settings: dict[str, Any], said: str) -> None:
    """A histogram from which nobody can tell the share within the objective is not kept."""
    message = wrong(requests=settings)
    assert message.startswith("requests.buckets: ")
    assert said in message


def test_an_entry_is_a_url_or_a_mapping() -> None:
    """One line for one endpoint; more only where more is said."""
    url = "http://127.0.0.1:8000/metrics"
    settings = config(metrics={"scrape": [url, {"url": "http://[::1]:1/m", "service": "cart", "interval": "1m"}]})
    assert settings.metrics.scrape == [Scrape(url=url), Scrape(url="http://[::1]:1/m", service="cart", interval=60.0)]
    assert validate(settings) == []


def test_the_environment_holds_urls_and_edges(tmp_path: Path) -> None:
    """URLs hold colons, so they are separated by blanks or commas; numbers are too."""
    env = {
        "SHIPPER_METRICS_SCRAPE": "http://localhost:1/metrics, http://localhost:2/metrics",
        "SHIPPER_REQUESTS_BUCKETS": "100ms,0.5 1",
        "SHIPPER_METRICS_MULTIPROCESS_DIRS": "/run/a:/run/b",
        "SHIPPER_STATE_DIR": str(tmp_path),
    }
    settings = load(None, env=env, overrides={}, role="sidecar", complete=False).config
    assert [target.url for target in settings.metrics.scrape] == env["SHIPPER_METRICS_SCRAPE"].split(", ")
    assert settings.requests.buckets == [0.1, 0.5, 1]
    assert settings.metrics.multiprocess_dirs == ["/run/a", "/run/b"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://10.0.0.1/metrics", "10.0.0.1 is not this host; set metrics.allow_remote: true"),
        ("http://example.com/metrics", "is not this host"),
        ("http://localhost.example.com/metrics", "is not this host"),
        ("ftp://localhost/metrics", "expected a URL"),
        ("localhost:8000/metrics", "expected a URL"),
        ("http:///metrics", "expected a URL"),
        ("http://localhost:99999/metrics", "is no URL"),
        ("http://[::1/metrics", "is no URL"),
        ("http://localhost/a b", "expected a URL"),
        ("http://user:secret@localhost/metrics", "must not hold a user or a password"),
    ],
)
def test_endpoints_that_are_not_on_this_host_or_no_urls_are_refused(url: str, said: str) -> None:
    """A typing error does not send us to a stranger, and a password is not repeated in the message."""
    message = wrong(metrics={"scrape": [url]})
    assert message.startswith("metrics.scrape[0].url: ")
    assert said in message
    assert "secret" not in message


def test_remote_endpoints_can_be_allowed_and_none_stands_twice() -> None:
    """Who says so may read another host; the same URL twice would be the same series twice."""
    assert validate(config(metrics={"scrape": ["http://10.0.0.1/metrics"], "allow_remote": True})) == []
    assert "stands there twice" in wrong(metrics={"scrape": ["http://[::1]:1/m", "http://[::1]:1/m"]})


def test_an_endpoint_is_not_read_without_pause() -> None:
    """An interval that was meant to be milliseconds does not become a busy loop."""
    assert "at least 1 second" in wrong(metrics={"scrape": [{"url": "http://[::1]:1/m", "interval": "15ms"}]})


def test_a_directory_is_named_in_full() -> None:
    """A sidecar has no working directory that anybody knows."""
    assert "absolute path" in wrong(metrics={"multiprocess_dirs": ["prom"]})
    assert os.path.isabs("/run/prom")
    assert validate(config(metrics={"multiprocess_dirs": ["/run/prom"]})) == []


def test_samples_belong_to_a_life() -> None:
    """A host that begins another life sets the numbers of the one before aside, together with its ledger."""
    assert {NAME, LIFE} <= set(OF_A_LIFE)
