"""Settings merged from file, environment and command line, and everything a file can have wrong with it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.config import ConfigErrors, Loaded, load
from shipper.errors import ConfigError

MINIMAL = "destinations: {primary: {endpoint: 'http://gateway:4318'}}\nfiles: [{include: ['/var/log/*.log']}]\n"


@pytest.fixture
def write(tmp_path: Path):
    """Writes a configuration file and gives its path."""

    def to_file(text: str | bytes) -> str:
        path = tmp_path / "shipper.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return to_file


def failure(path: str, env: dict[str, str] | None = None, **options: object) -> ConfigError:
    """The error that loading ends with."""
    with pytest.raises(ConfigError) as caught:
        load(path, env=env or {}, **options)  # type: ignore[arg-type]
    return caught.value


def test_a_full_file_is_read(write) -> None:
    """Every kind of value arrives in the typed configuration: sizes, durations, lists, switches, free options."""
    loaded = load(
        write(
            "state_dir: /data\n"
            "files:\n"
            "  - include: ['/var/log/*.log', /srv/**/*.txt]\n"
            "    exclude: ['*.gz']\n"
            "    start_at: end\n"
            "    max_line_bytes: 2MiB\n"
            "    hold: 250ms\n"
            "    attributes: {app: web}\n"
            "destinations:\n"
            "  main: {type: otlp, endpoint: 'https://o/x', headers: {a: b}}\n"
            "drain: {deadline: 1m, ephemeral: true}\n"
            "mode: low-exposure\n"
        ),
        env={},
    )
    config = loaded.config
    assert config.state_dir == "/data"
    assert config.spool_dir == "/data/spool"
    assert config.admin.socket == "/data/admin.sock"
    group = config.files[0]
    assert group.include == ["/var/log/*.log", "/srv/**/*.txt"]
    assert (group.start_at, group.max_line_bytes, group.hold) == ("end", 2 << 20, 0.25)
    assert group.attributes == {"app": "web"}
    assert config.destinations["main"].type == "otlp"
    assert config.destinations["main"].options == {"endpoint": "https://o/x", "headers": {"a": "b"}}
    assert (config.drain.deadline, config.drain.ephemeral, config.mode) == (60.0, "true", "low-exposure")
    assert loaded.warnings == ()


def test_unknown_keys_are_named_with_their_path_and_the_nearest_right_one(write) -> None:
    """A typing error deep inside is answered with where it stands and what was probably meant."""
    path = write("files: [{inclued: ['/a']}]\n")
    error = failure(path)
    assert str(error).splitlines()[0] == f"{path}: files[0].inclued: unknown key; did you mean 'include'?"


def test_all_mistakes_are_reported_together(write) -> None:
    """One run of a check shows every mistake of the file, not only the first."""
    path = write("drain: {deadlin: 1, quiet: soon}\nmode: fast\nadmin: 5\nfiles: 7\n")
    error = failure(path)
    assert isinstance(error, ConfigErrors)
    assert {found.path.removeprefix(f"{path}: ") for found in error.all} == {
        "drain.deadlin",
        "drain.quiet",
        "mode",
        "admin",
        "files",
    }


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("labels: {release: 1.10}", "labels.release", "put it in quotes"),
        ("labels: {release: 2024-01-02}", "labels.release", "put it in quotes"),
        ("labels: {release: [a]}", "labels.release", "expected text, got a list"),
        ("files: [{include: '*.log'}]", "files[0].include", r"expected a list, got '\*.log'; write \[\*.log\]"),
        ("files: [{include: []}]", "files[0].include", "length >= 1"),
        ("files: [{exclude: [a]}]", "files[0].include", "is required"),
        ("files: [{include: ['']}]", r"files[0].include[0]", "must not be empty"),
        ("files: [{include: [a], max_line_bytes: 1}]", "files[0].max_line_bytes", "at least"),
        ("file_limits: {poll_interval: 0}", "file_limits.poll_interval", ">= 0.01"),
        ("file_limits: {max_open_files: many}", "file_limits.max_open_files", "expected"),
        ("drain: {deadline: 1s, reserve: 2s}", "drain.reserve", "less than drain.deadline"),
        (
            "drain: {fallback: archvie}\ndestinations: {archive: {type: archive}, otlp: {type: otlp}}",
            "drain.fallback",
            "did you mean",
        ),
        ("drain: {fallback: otlp}\ndestinations: {otlp: {type: otlp}}", "drain.fallback", "only destination"),
        ("admin: {listen: nonsense}", "admin.listen", "expected host:port"),
        ("admin: {listen: '::1:80'}", "admin.listen", "in brackets"),
        ("admin: {listen: '0.0.0.0:9477'}", "admin.listen", "admin.insecure"),
        ("gateway: {listen: '0.0.0.0:4318'}", "gateway.listen", "tls_cert, tls_key and token_file"),
        ("gateway: {tls_cert: a}", "gateway.tls_key", "belong together"),
        ("gateway: {max_body: 1MiB, max_decompressed: 64KiB}", "gateway.max_decompressed", "must not be less"),
        ("destinations: {a b: {endpoint: x}}", "destinations.a b", "letters, digits"),
        ("destinations: {a: http://x}", "destinations.a", "expected a mapping"),
        ("destinations: {a: {type: 5}}", "destinations.a.type", "expected text"),
        ("gateway: {insecure: 'yes'}", "gateway.insecure", "expected"),
    ],
)
def test_wrong_values_are_named_with_their_path(write, text: str, where: str, what: str) -> None:
    """Type errors and values that cannot work are one sentence each, with the path."""
    path = write(text + "\n")
    with pytest.raises(ConfigError, match=what) as caught:
        load(path, env={}, complete=False)
    assert caught.value.path == f"{path}: {where}"


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("a: [1\n", ":2:1", "not valid YAML"),
        ("a: 1\n b: 2\n", ":2:3", "not valid YAML"),
        ("a: !!python/object:os.system {}\n", ":1:4", "means nothing here"),
        ("a: !!python/name:os.system x\n", ":1:4", "could not determine a constructor"),
        ("a: *nobody\n", ":1:4", "undefined alias"),
        ("- 1\n", "", "must hold a mapping"),
        ("just text\n", "", "must hold a mapping"),
        ("drain: {quiet: 1}\ndrain: {quiet: 2}\n", ": drain", "is given twice, again on line 2"),
        ("? [a]\n: 1\n", ":1", "a key must be plain text"),
        ("labels: {release: 2024-99-99}\n", "", "not valid YAML"),
        ("mode: \x07\n", "", "not valid YAML"),
        (b"mode: \xff\n", ":1", "is not UTF-8"),
        ("labels: &l {attributes: *l}\n", ": labels" + ".attributes" * 31, "nested too deep"),
        ("x: " + "[" * 40 + "]" * 40 + "\n", "", "nested too deep"),
    ],
)
def test_a_file_that_is_no_sound_yaml_says_where(write, text: str | bytes, where: str, what: str) -> None:
    """Syntax errors carry line and column; what YAML would pass over in silence is refused."""
    path = write(text)
    error = failure(path)
    assert what in error.problem
    assert error.path.startswith(f"{path}{where}"[:400])


def test_aliases_cannot_blow_the_document_up(write) -> None:
    """The billion-laughs document is refused after a bounded amount of work."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "repeats itself too often" in failure(write("\n".join(lines))).problem


def test_anchors_and_merge_keys_work(write) -> None:
    """Parts of a file may be shared with YAML's own means."""
    loaded = load(
        write("files:\n  - &web {include: [/a], hold: 2}\n  - {<<: *web, include: [/b]}\n"), env={}, complete=False
    )
    assert [(group.include, group.hold) for group in loaded.config.files] == [(["/a"], 2.0), (["/b"], 2.0)]


def test_files_that_cannot_be_read_are_one_sentence(tmp_path: Path) -> None:
    """Missing, a directory, a FIFO, far too large: each is a ConfigError with the path."""
    assert failure(str(tmp_path / "none.yaml")).problem == "no such file"
    assert failure(str(tmp_path)).problem == "is a directory"
    os.mkfifo(tmp_path / "pipe")
    assert failure(str(tmp_path / "pipe")).problem == "is not a regular file"
    (tmp_path / "huge.yaml").write_bytes(b"# x\n" * 300_000)
    assert "larger than 1 MiB" in failure(str(tmp_path / "huge.yaml")).problem


def test_an_empty_file_and_keys_without_values_mean_defaults(write) -> None:
    """Nothing behind a key is the same as the key not being there."""
    assert load(write(""), env={}, complete=False).config.drain.deadline == 0.0
    assert load(write("files:\ndrain:\n  quiet:\n"), env={}, complete=False).config.drain.quiet == 0.25


def test_the_environment_is_substituted_in_values(write) -> None:
    """References, defaults and escaped dollars; numbers may come from variables too; a value is substituted once."""
    text = (
        "labels: {release: '${REL}', service: '${NOPE:-shop}', image: 'a$$b', environment: '${EMPTY:-prod}'}\n"
        "drain: {deadline: '${D}'}\n"
        "gateway: {insecure: '${YES}'}\n"
    )
    env = {"REL": "1.${X}", "EMPTY": "", "D": "40", "YES": "true"}
    config = load(write(text), env=env, complete=False).config
    assert config.labels.release == "1.${X}"
    assert (config.labels.service, config.labels.image, config.labels.environment) == ("shop", "a$b", "prod")
    assert config.drain.deadline == 40.0
    assert config.gateway.insecure is True


def test_a_glob_alone_counts_requests(write) -> None:
    """Where an entry holds nothing but one glob, the glob stands for it, in a file as in a variable."""
    text = MINIMAL + "requests: {logs: ['/var/log/nginx/*.log', {files: [/var/log/a.log], format: json}]}\n"
    first, second = load(write(text), env={}).config.requests.logs
    assert (first.files, first.format) == (["/var/log/nginx/*.log"], "common")
    assert (second.files, second.format) == (["/var/log/a.log"], "json")
    twins = {"SHIPPER_REQUESTS_LOGS": "/var/log/nginx/*.log"}
    assert load(write(MINIMAL), env=twins).config.requests.logs == [first]


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("${GONE}", "GONE is not set"),
        ("${", "no closing"),
        ("${9x}", "is not a reference"),
        ("${}", "is not a reference"),
    ],
)
def test_references_that_cannot_be_resolved_are_errors_with_path(write, value: str, what: str) -> None:
    """A missing variable is never silently empty."""
    path = write(f"files: [{{include: ['{value}']}}]\n")
    error = failure(path)
    assert what in error.problem
    assert error.path == f"{path}: files[0].include[0]"


def test_command_line_beats_environment_beats_file_beats_otel_beats_default(write) -> None:
    """The precedence, and the origin that is remembered for each."""
    path = write(MINIMAL + "drain: {deadline: 10, quiet: 1}\naccount: {interval: 5}\n")
    env = {
        "SHIPPER_DRAIN_DEADLINE": "20",
        "SHIPPER_DRAIN_QUIET": "2",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel:4318",
    }
    loaded = load(path, env=env, overrides={"drain.deadline": "30s", "drain.reserve": None})
    assert (loaded.config.drain.deadline, loaded.config.drain.quiet, loaded.config.account.interval) == (30.0, 2.0, 5.0)
    assert loaded.config.destinations["primary"].options["endpoint"] == "http://gateway:4318"
    origins = {name: str(loaded.origin(name)) for name in ("drain.deadline", "drain.quiet", "account.interval", "mode")}
    assert origins == {
        "drain.deadline": "command line",
        "drain.quiet": "SHIPPER_DRAIN_QUIET",
        "account.interval": f"{path}:4",
        "mode": "default",
    }


def test_errors_name_the_variable_or_the_command_line_that_caused_them(write) -> None:
    """A wrong value is blamed on where it was set, not on the file."""
    path = write(MINIMAL)
    assert failure(path, {"SHIPPER_DRAIN_DEADLINE": "soon"}).path == "SHIPPER_DRAIN_DEADLINE"
    assert failure(path, overrides={"drain.deadline": "soon"}).path == "command line: drain.deadline"
    assert failure(path, {"SHIPPER_MODE": "fast"}).path == "SHIPPER_MODE"


def test_a_role_says_what_it_lacks(write) -> None:
    """A sidecar without a destination cannot run; one without anything to ship is warned; neither matters when only looking."""
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in failure(write("")).problem
    assert "SHIPPER_ARCHIVE" in failure(write(""), role="gateway").problem
    somewhere = "destinations: {a: {endpoint: 'http://x'}}\n"
    assert load(write(somewhere), env={}).warnings == ()  # services may hand over
    alone = somewhere + "services: {enabled: false}\n"
    assert "nothing to ship" in load(write(alone), env={}).warnings[0]
    assert load(write(alone + "metrics: {scrape: ['http://127.0.0.1:1/m']}\n"), env={}).warnings == ()
    assert load(write(""), env={}, complete=False).warnings == ()


def test_a_gateway_does_not_share_directories_and_ports_with_a_sidecar(write) -> None:
    """Both can run on one machine without anything being configured."""

    def places(role: str) -> tuple[str, str]:
        config: Loaded = load(write(""), env={"HOME": "/home/u"}, role=role, complete=False)  # type: ignore[arg-type]
        return config.config.state_dir, config.config.admin.listen

    assert not set(places("sidecar")) & set(places("gateway"))


def test_relative_paths_are_seen_from_the_working_directory(write, tmp_path: Path, monkeypatch) -> None:
    """No room depends on the working directory later; a bare exclude pattern stays a name pattern."""
    path = write("state_dir: state\nfiles: [{include: [logs/*.log, '~/x.log'], exclude: ['*.gz', tmp/*]}]\n")
    monkeypatch.chdir(tmp_path)
    config = load(path, env={"HOME": "/home/u"}, complete=False).config
    assert config.state_dir == f"{tmp_path}/state"
    assert config.files[0].include == [f"{tmp_path}/logs/*.log", "/home/u/x.log"]
    assert config.files[0].exclude == ["*.gz", f"{tmp_path}/tmp/*"]


def test_the_file_is_found_by_variable(write) -> None:
    """SHIPPER_CONFIG names the file when the command line does not."""
    path = write(MINIMAL)
    assert load(None, env={"SHIPPER_CONFIG": path}).path == path
    assert failure("", {"SHIPPER_CONFIG": "/nope.yaml"}).path == "/nope.yaml"


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["files", "drain", "labels", "destinations", "gateway", "mode", "state_dir", "x"]),
        _PLAIN,
        max_size=4,
    )
)
def test_any_document_is_read_or_refused_with_a_sentence(tmp_path_factory, content) -> None:
    """Whatever a file holds, the outcome is a configuration or a ConfigError, never another exception."""
    import yaml

    path = tmp_path_factory.mktemp("any") / "shipper.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    said = str(path)
    try:
        load(str(path), env={}, complete=False)
    except ConfigError as error:
        said = str(error)
    assert str(path) in said
