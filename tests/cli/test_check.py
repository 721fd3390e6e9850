"""`shipper check`: right or wrong, with lines a person can act on, and without side effects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shipper.cli import main


@pytest.fixture
def check(tmp_path: Path):
    """Runs the command on a file's text."""

    def run(text: str, *options: str, env: dict[str, str] | None = None) -> Result:
        path = tmp_path / "shipper.yaml"
        path.write_text(text)
        return CliRunner(env=env or {}).invoke(main, ["check", str(path), *options])

    return run


GOOD = "state_dir: {state}\nfiles: [{{include: [/var/log/*.log]}}]\ndestinations: {{a: {{endpoint: 'http://127.0.0.1:1'}}}}\n"


def test_a_right_file_is_ok_and_nothing_is_touched(check, tmp_path: Path) -> None:
    """Neither the state directory is made nor the destination asked."""
    result = check(GOOD.format(state=tmp_path / "state"))
    assert result.exit_code == 0, result.output
    assert result.output == f"{tmp_path}/shipper.yaml: ok (1 group of files, 1 destination)\n"
    assert [path.name for path in tmp_path.iterdir()] == ["shipper.yaml"]


def test_what_no_destination_takes_is_said(check) -> None:
    """A destination for metrics alone is easily thought enough: right, but told what goes nowhere, of what there will be."""
    only_metrics = "destinations: {p: {type: prometheus, endpoint: 'http://127.0.0.1:1/api/v1/write'}}\n"
    for more, said in (("", "logs"), ("receivers: {otlp: {}}\n", "logs and traces")):
        result = check(only_metrics + more)
        assert result.exit_code == 0, result.output
        warnings = [line for line in result.output.splitlines() if line.startswith("warning")]
        assert warnings == [f"warning: no destination takes {said}: they go nowhere"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", ""),
        ("files: [{include: [/var/log/a.log]}]\n", ""),
        ("receivers: {otlp: {}}\n", "traces and metrics"),
        ("metrics: {scrape: [{url: 'http://127.0.0.1:1/metrics'}]}\n", "metrics"),
    ],
)
def test_only_what_there_will_be_is_missed(check, more: str, said: str) -> None:
    """Nobody who ships files to a place for logs is told of traces."""
    result = check("destinations: {l: {type: loki, endpoint: 'http://127.0.0.1:1'}}\n" + more)
    assert result.exit_code == 0, result.output
    assert (f"no destination takes {said}:" in result.output) if said else ("no destination" not in result.output)


def test_every_mistake_is_a_line_and_the_status_is_1(check, tmp_path: Path) -> None:
    """Path, problem, nearest name; then how many there are."""
    result = check("files: [{inclued: [x]}]\ndrain: {deadline: soon}\n")
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        f"{tmp_path}/shipper.yaml: files[0].inclued: unknown key; did you mean 'include'?",
        f"{tmp_path}/shipper.yaml: files[0].include: is required",
        f"{tmp_path}/shipper.yaml: drain.deadline: expected a duration such as 250ms, 25s or 1m30s, got 'soon'",
        f"{tmp_path}/shipper.yaml: 3 problems",
    ]


@pytest.mark.parametrize(
    ("destination", "where", "what"),
    [
        ("{type: otpl, endpoint: x}", "destinations.a.type", "did you mean 'otlp'"),
        ("{endpiont: 'http://x:1'}", "destinations.a.endpiont", "did you mean 'endpoint'"),
        ("{endpoint: 'http://x:1', timeout: soon}", "destinations.a.timeout", "expected a duration"),
        ("{endpoint: 'not a url'}", "destinations.a.endpoint", "no URL"),
        ("{type: archive}", "destinations.a.url", "is required"),
        (
            "{endpoint: 'http://x:1', max_in_flight: many}",
            "destinations.a.max_in_flight",
            "expected a whole number, got",
        ),
        ("{endpoint: 'http://x:1', tenant: x}", "destinations.a.tenant", "unknown key; `shipper exporters otlp` lists"),
        ("{type: archive, url: 's3://b', options: {allow_http: x}}", "destinations.a.options", "no option of a bucket"),
    ],
)
def test_destinations_are_held_against_their_exporters(check, tmp_path: Path, destination, where, what) -> None:
    """The exporter's own settings and rules are checked too, with the file's path."""
    result = check(f"files: [{{include: [/x]}}]\ndestinations: {{a: {destination}}}\n")
    assert result.exit_code == 1
    assert f"{tmp_path}/shipper.yaml: {where}: " in result.output
    assert what in result.output


def test_several_endpoints_may_stand_in_a_variable(check) -> None:
    """URLs have colons in them, so they are separated by commas or blanks."""
    text = "files: [{include: [/x]}]\ndestinations: {a: {type: elasticsearch}}\n"
    result = check(text, env={"SHIPPER_DESTINATIONS_A_ENDPOINTS": "http://a.example:9200,http://b.example:9200"})
    assert result.exit_code == 0, result.output


def test_a_fallback_that_cannot_take_everything_is_said(check) -> None:
    """Numbers alone are rescued by a fallback for numbers alone."""
    main = "main: {endpoint: 'http://127.0.0.1:1'}"
    other = "other: {type: prometheus, endpoint: 'http://127.0.0.1:1/api/v1/write'}"
    result = check(f"destinations: {{{main}, {other}}}\nfallback: {{destination: other}}\n")
    assert result.exit_code == 0, result.output
    assert "the fallback other takes no logs and traces" in result.output


def test_a_variable_is_named_when_it_is_to_blame(check) -> None:
    """An exporter's option that came from the environment is blamed on the variable."""
    text = "files: [{include: [/x]}]\ndestinations: {a: {endpoint: 'http://x:1'}}\n"
    result = check(text, env={"SHIPPER_OTLP_TIMEOUT": "soon", "SHIPPER_TYPO": "1"})
    assert "SHIPPER_OTLP_TIMEOUT: expected a duration" in result.output
    assert "warning: SHIPPER_TYPO: no such setting" in result.output


def test_machines_get_json(check, tmp_path: Path) -> None:
    """One object, whether right or wrong."""
    wrong = check("mode: fast\n", "--json")
    assert wrong.exit_code == 1
    content = json.loads(wrong.output)
    assert content["ok"] is False
    assert content["errors"][0]["path"] == f"{tmp_path}/shipper.yaml: mode"
    right = check("destinations: {a: {endpoint: 'http://x:1'}}\nservices: {enabled: false}\n", "--json")
    assert json.loads(right.output)["ok"] is True
    assert "nothing to ship" in json.loads(right.output)["warnings"][0]


def test_a_gateways_file_is_checked_as_one(check) -> None:
    """With the role, what the role needs is demanded: here a listener that is safe, and an archive is enough."""
    text = "gateway: {listen: '127.0.0.1:1'}\ndestinations: {a: {type: archive, url: /srv/a, trust_local: true}}\n"
    assert check(text, "--role", "gateway").exit_code == 0
    assert "SHIPPER_ARCHIVE" in check("gateway: {}\n", "--role", "gateway").output


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """No traceback for a wrong path."""
    result = CliRunner().invoke(main, ["check", str(tmp_path / "none")])
    assert (result.exit_code, result.output.splitlines()[0]) == (1, f"{tmp_path}/none: no such file")


def test_names_for_the_end_of_the_host_are_checked(check, tmp_path: Path) -> None:
    """A platform, a budget or somebody to wait for that nobody knows would stop `run`, so it is said here."""
    text = "files: [{include: [/x]}]\ndestinations: {a: {endpoint: 'http://x:1'}}\ndrain: {wait_for: [checkout]}\n"
    result = check(text + "notices: {watch: [auto, ec3], budgets: {kubernets: 40s}}\n")
    where = f"{tmp_path}/shipper.yaml: "
    assert result.exit_code == 1
    assert f"{where}notices.watch: no platform 'ec3'; did you mean 'ecs'?" in result.output
    assert f"{where}notices.budgets: no budget 'kubernets'; did you mean 'kubernetes'?" in result.output
    assert f"{where}drain.wait_for[0]: 'checkout' names nobody; wanted is unit:NAME" in result.output
    right = text.replace("checkout", "'unit:checkout'") + "notices: {watch: [auto, ec2], budgets: {kubernetes: 40s}}\n"
    assert check(right).exit_code == 0
