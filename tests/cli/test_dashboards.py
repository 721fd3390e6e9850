"""``shipper dashboards``: listed, exported, and brought into a Grafana that behaves as the real one does."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from shipper.cli import main
from shipper.dashboards import shipped
from tests.dashboards.fake_grafana import ADMIN, EDITOR, VIEWER, FakeGrafana, running

ROOT = Path(__file__).parents[2]


@pytest.fixture
def grafana() -> Iterator[FakeGrafana]:
    """A running Grafana without anything in it."""
    with running(FakeGrafana()) as made:
        yield made


@dataclass(frozen=True)
class Done:
    """What a command said, and its exit status."""

    returncode: int
    stdout: str
    stderr: str


def shipper(*words: str, token: str = EDITOR) -> Done:
    """The command as people type it."""
    ran = CliRunner().invoke(main, ["dashboards", *words], env={"GRAFANA_TOKEN": token})
    if ran.exception is not None and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    return Done(ran.exit_code, ran.stdout, ran.stderr)


def install(grafana: FakeGrafana, *words: str, token: str = EDITOR) -> Done:
    """``shipper dashboards install`` into it."""
    return shipper("install", "--grafana", grafana.url, *words, token=token)


def outcomes(done: Done) -> dict[str, str]:
    """What was said of each step: its name and what became of it."""
    assert done.returncode == 0, done.stderr
    return {line[13:47].strip(): line[47:].split("http")[0].strip() for line in done.stdout.splitlines()}


def test_every_dashboard_is_created_in_the_folder_and_its_address_is_told(grafana: FakeGrafana) -> None:
    """A first run makes the folder and all boards, each with a message in its history."""
    done = install(grafana, "--source", "prometheus", "--source", "loki", "--source", "tempo")
    said = outcomes(done)
    assert said.pop("Shipper") == "created"
    assert set(said.values()) == {"created"}
    assert grafana.folders == {"shipper": "Shipper"}
    assert set(grafana.boards) == {board["uid"] for board in shipped.boards(shipped.files()).values()}
    assert set(grafana.folder_of.values()) == {"shipper"}
    assert all(messages[0].startswith("shipper ") for messages in grafana.history.values())
    assert f"{grafana.url}/d/shipper-triage/x" in done.stdout


def test_a_second_run_changes_nothing_and_an_edited_board_is_put_right(grafana: FakeGrafana) -> None:
    """What is the same is left alone, so that the history shows changes only; what somebody changed is replaced."""
    install(grafana)
    writes = grafana.writes
    assert set(outcomes(install(grafana)).values()) == {"unchanged"}
    assert grafana.writes == writes
    grafana.boards["shipper-triage"]["title"] = "Ours"
    said = outcomes(install(grafana))
    assert said["Shipper / Triage"] == "updated"
    assert list(said.values()).count("updated") == 1
    assert grafana.boards["shipper-triage"]["title"] == "Shipper / Triage"
    assert grafana.boards["shipper-triage"]["version"] == 2


def test_a_board_that_was_moved_comes_back_and_a_folder_that_was_renamed_keeps_its_name(grafana: FakeGrafana) -> None:
    """The folder is known by its uid, whatever people call it."""
    install(grafana)
    grafana.folders["shipper"] = "Deploys (ours)"
    grafana.folders["elsewhere"] = "Elsewhere"
    grafana.folder_of["shipper-triage"] = "elsewhere"
    said = outcomes(install(grafana))
    assert said["Deploys (ours)"] == "unchanged"
    assert said["Shipper / Triage"] == "updated"
    assert grafana.folder_of["shipper-triage"] == "shipper"


def test_a_folder_of_that_name_that_people_made_is_used(grafana: FakeGrafana) -> None:
    """Nobody gets two folders with one name."""
    grafana.folders["abc"] = "Observability"
    outcomes(install(grafana, "--folder", "Observability"))
    assert grafana.folders == {"abc": "Observability"}
    assert set(grafana.folder_of.values()) == {"abc"}


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(grafana: FakeGrafana) -> None:
    """Only looks."""
    said = outcomes(install(grafana, "--alerts", "--dry-run", token=ADMIN))
    assert said["Shipper"] == "would be created"
    assert set(said.values()) == {"would be created"}
    assert grafana.writes == 0


def test_rows_without_their_data_source_are_left_out_where_grafana_tells_which_it_has(grafana: FakeGrafana) -> None:
    """With a token that may list data sources, a Grafana without Loki gets boards without Loki."""
    grafana.datasources = ["prometheus", "tempo"]
    install(grafana, token=ADMIN)
    assert '"type": "loki"' not in json.dumps(grafana.boards)
    assert '"type": "tempo"' in json.dumps(grafana.boards)


def test_a_token_that_may_not_list_data_sources_gets_every_row_and_is_told_so(grafana: FakeGrafana) -> None:
    """Nothing is left out by a guess."""
    done = install(grafana)
    assert "--source" in done.stderr
    assert '"type": "loki"' in json.dumps(grafana.boards)


def test_alerts_go_into_grafanas_own_alerting_when_asked_for(grafana: FakeGrafana) -> None:
    """Each group with its rules, asking the named data source; a second run leaves them alone."""
    grafana.datasources = ["mimir"]
    assert install(grafana, "--alerts", "--prometheus-uid", "mimir", token=ADMIN).returncode == 0
    rules = [rule for group in grafana.groups.values() for rule in group["rules"]]
    assert "ShipperNewGenerationErrors" in {rule["title"] for rule in rules}
    assert {query["datasourceUid"] for rule in rules for query in rule["data"]} == {"mimir", "__expr__"}
    assert {folder for folder, _ in grafana.groups} == {"shipper"}
    again = outcomes(install(grafana, "--alerts", "--prometheus-uid", "mimir", token=ADMIN))
    assert {again[name] for _, name in grafana.groups} == {"unchanged"}


def test_grafana_may_live_under_a_path(grafana: FakeGrafana) -> None:
    """The path belongs to the URL, and what is told of a board has it once."""
    with running(_at("/grafana")) as under:
        done = install(under)
        assert done.returncode == 0, done.stderr
        assert f"{under.url}/d/shipper-triage/x" in done.stdout
        assert "/grafana/grafana" not in done.stdout


def _at(path: str) -> FakeGrafana:
    made = FakeGrafana()
    made.path = path
    return made


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("", "make a service account with the role Editor"),
        ("glsa_of_another", "does not take the token (Invalid API key)"),
        (VIEWER, "give the token's service account the role Editor"),
    ],
)
def test_who_may_not_is_told_what_to_do(grafana: FakeGrafana, token: str, words: str) -> None:
    """No token, a wrong one, and one with too little a role are each one sentence."""
    _fails(install(grafana, token=token), words)


def test_alerts_need_another_role_than_dashboards(grafana: FakeGrafana) -> None:
    """An Editor's dashboards are in when its alerts are refused, and the sentence names the role."""
    _fails(install(grafana, "--alerts"), "role Admin")
    assert grafana.boards


@pytest.mark.parametrize("kind", ["redirect", "page"])
def test_a_login_page_in_front_is_recognised(grafana: FakeGrafana, kind: str) -> None:
    """A proxy that wants people to log in is not mistaken for Grafana."""
    grafana.login_page = kind
    _fails(install(grafana), "login page")


def test_a_grafana_that_is_too_old_is_refused_before_anything_is_written(grafana: FakeGrafana) -> None:
    """And its version is named."""
    grafana.version = "9.5.21"
    _fails(install(grafana), "is Grafana 9.5.21; the dashboards need 11.0 or later")
    assert grafana.writes == 0


def test_a_grafana_that_hides_its_version_is_taken_as_new_enough(grafana: FakeGrafana) -> None:
    """Hiding it is a setting, no fault."""
    grafana.version = ""
    assert install(grafana).returncode == 0


def test_a_dashboard_that_comes_from_files_is_not_fought_over(grafana: FakeGrafana) -> None:
    """Grafana refuses to save it; the sentence says where it comes from."""
    grafana.folders["shipper"] = "Shipper"
    grafana.provisioned = {"shipper-triage"}
    _fails(install(grafana), "it comes from files")


def test_another_dashboard_of_that_title_is_named(grafana: FakeGrafana) -> None:
    """Grafana's 412 is put into words."""
    grafana.folders["shipper"] = "Shipper"
    grafana.boards["theirs"] = {"uid": "theirs", "title": "Shipper / Triage", "id": 1, "version": 1}
    grafana.folder_of["theirs"] = "shipper"
    _fails(install(grafana), "another dashboard has that title")


def test_a_broken_grafana_is_said_to_be_broken(grafana: FakeGrafana) -> None:
    """Its own failure is not put on the token."""
    grafana.broken = 503
    _fails(install(grafana), "answers 503 (internal server error); try again later")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("grafana.example", "is no URL such as https://grafana.example"),
        ("https://admin:admin@grafana.example", "has a password in it"),
    ],
)
def test_a_url_that_cannot_be_right_is_refused(url: str, words: str) -> None:
    """Before anything is sent."""
    _fails(shipper("install", "--grafana", url), words)


def test_an_address_where_nothing_listens_is_said_to_be_unreachable() -> None:
    """With what the system says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    _fails(shipper("install", "--grafana", url), "cannot be reached: ")


def _fails(done: Done, words: str) -> None:
    assert done.returncode == 1
    assert words in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_the_token_may_come_from_a_file(grafana: FakeGrafana, tmp_path: Path) -> None:
    """And the file is meant where both are given."""
    token = tmp_path / "token"
    token.write_text(f"{EDITOR}\n")
    assert install(grafana, "--token-file", str(token), token="glsa_of_another").returncode == 0


def test_export_writes_what_is_shipped_byte_for_byte(tmp_path: Path) -> None:
    """Every file, in its place."""
    done = shipper("export", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    made = shipped.files()
    assert {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()} == {
        *made
    }
    assert all((tmp_path / "out" / path).read_text(encoding="utf-8") == text for path, text in made.items())


@pytest.mark.parametrize("kind", list(shipped.KINDS))
def test_export_of_one_kind_writes_that_kind(kind: str, tmp_path: Path) -> None:
    """Nothing else, and something of each."""
    assert shipper("export", str(tmp_path), "--only", kind).returncode == 0
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {*shipped.of_kinds(shipped.files(), [kind])}
    assert written


def test_export_leaves_rows_out_also_of_the_manifests(tmp_path: Path) -> None:
    """A cluster without Loki gets ConfigMaps without Loki."""
    shipper("export", str(tmp_path), "--source", "prometheus")
    texts = [path.read_text() for path in [*tmp_path.glob("*.json"), *tmp_path.glob("kubernetes/*dashboard.yaml")]]
    assert texts
    assert not any('"type": "loki"' in text for text in texts)


def test_export_with_own_settings_rebuilds_boards_and_rules(tmp_path: Path) -> None:
    """Another push interval is in the rules, the data source and the boards."""
    settings = tmp_path / "boards.yaml"
    settings.write_text("labels:\n  env: stage\nintervals:\n  push: 5s\n")
    done = shipper("export", str(tmp_path / "out"), "--config", str(settings))
    assert done.returncode == 0, done.stderr
    assert "timeInterval: 5s" in (tmp_path / "out/provisioning/datasources/shipper.yaml").read_text()
    assert 'stage=\\"$env\\"' in (tmp_path / "out/shipper-hosts.json").read_text()
    assert "by (stage, " in (tmp_path / "out/rules/shipper-generation.yml").read_text()


def test_export_with_wrong_settings_says_where(tmp_path: Path) -> None:
    """The sentence has the file and the setting, and nothing is written."""
    settings = tmp_path / "boards.yaml"
    settings.write_text("label:\n  env: stage\n")
    done = shipper("export", str(tmp_path / "out"), "--config", str(settings))
    _fails(done, "boards.yaml")
    assert not (tmp_path / "out").exists()


def test_own_settings_without_the_builders_name_the_package_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rebuilding needs an optional part; the sentence has the command, and what is shipped is there without it."""
    for name in [
        name for name in sys.modules if name.startswith(("shipper.dashboards.kit", "shipper.dashboards.boards"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith("grafana_foundation_sdk")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "grafana_foundation_sdk", None)
    settings = tmp_path / "boards.yaml"
    settings.write_text("intervals: {push: 5s}\n")
    _fails(shipper("export", str(tmp_path / "out"), "--config", str(settings)), "ephemeral-shipper[dashboards]")


def test_list_names_each_dashboard_with_its_question() -> None:
    """The landing page first."""
    done = shipper("list")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("shipper-triage")
    assert "Is it the deploy" in done.stdout
    assert all(board["uid"] in done.stdout for board in shipped.boards(shipped.files()).values())


def test_list_and_export_work_with_the_base_install_alone(tmp_path: Path) -> None:
    """What is shipped is used without what built it, and without the sidecar's packages."""
    script = f"""
import sys
for name in ("yaml", "msgspec", "aiohttp", "grafana_foundation_sdk", "rich"):
    sys.modules[name] = None
from click.testing import CliRunner
from shipper.cli import main
for words in (["list"], ["export", {str(tmp_path)!r}, "--source", "prometheus"]):
    done = CliRunner().invoke(main, ["dashboards", *words])
    assert done.exit_code == 0, (done.output, done.exception)
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "shipper-triage.json").exists()
