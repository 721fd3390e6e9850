"""The environment: twins of every setting, short names, and the variables of OpenTelemetry."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.config import Loaded, convert, load
from shipper.config.env import ALIASES, twins
from shipper.config.schema import Config
from shipper.errors import ConfigError


def from_env(path: str | None = None, **env: str) -> Loaded:
    """Load with these variables only."""
    return load(path, env=env, complete=False)


def options(loaded: Loaded, name: str = "primary") -> dict[str, object]:
    """A destination's options."""
    return loaded.config.destinations[name].options


def test_every_scalar_setting_has_a_twin() -> None:
    """The name is the path in capitals; lists and free mappings of the top level have means of their own."""
    names = set(twins())
    assert {
        "SHIPPER_STATE_DIR",
        "SHIPPER_DRAIN_DEADLINE",
        "SHIPPER_LABELS_RELEASE",
        "SHIPPER_LABELS_ATTRIBUTES",
    } <= names
    assert {"SHIPPER_GATEWAY_TOKEN_FILE", "SHIPPER_FILE_LIMITS_MAX_OPEN_FILES", "SHIPPER_MODE"} <= names
    top = {name.split("_")[1].lower() for name in names} | {"files", "destinations", "routes"}
    assert {field.split("_")[0] for field in Config.__struct_fields__} == top


def test_twins_are_read_as_what_the_setting_is() -> None:
    """Text becomes numbers, switches, sizes, durations and mappings as the schema demands."""
    config = from_env(
        SHIPPER_FILE_LIMITS_MAX_OPEN_FILES="64",
        SHIPPER_GATEWAY_INSECURE="yes",
        SHIPPER_GATEWAY_SPOOL_MAX="1GiB",
        SHIPPER_DRAIN_QUIET="100ms",
        SHIPPER_DRAIN_EPHEMERAL="false",
        SHIPPER_LABELS_ATTRIBUTES="team=shop, tier=1",
        SHIPPER_ADMIN_LISTEN="off",
    ).config
    assert config.file_limits.max_open_files == 64
    assert config.gateway.insecure is True
    assert config.gateway.spool_max == 1 << 30
    assert (config.drain.quiet, config.drain.ephemeral) == (0.1, "false")
    assert config.labels.attributes == {"team": "shop", "tier": "1"}
    assert config.admin.listen == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SHIPPER_GATEWAY_INSECURE", "maybe"),
        ("SHIPPER_FILE_LIMITS_MAX_OPEN_FILES", "-1"),
        ("SHIPPER_LABELS_ATTRIBUTES", "novalue"),
        ("SHIPPER_DESTINATIONS_", "x"),
        ("SHIPPER_DESTINATIONS_A", "x"),
    ],
)
def test_wrong_variables_are_named(name: str, value: str) -> None:
    """The error's path is the variable."""
    with pytest.raises(ConfigError) as caught:
        load(None, env={name: value}, complete=False)
    assert caught.value.path == name


def test_short_names_set_labels_and_long_twins_beat_them() -> None:
    """SHIPPER_RELEASE and its like; GENERATION beats DEPLOY_ID; the exact twin beats both."""
    assert set(ALIASES.values()) <= set(twins().values())
    labels = from_env(
        SHIPPER_RELEASE="1", SHIPPER_DEPLOY_ID="d", SHIPPER_GENERATION="g", SHIPPER_HOST="h"
    ).config.labels
    assert (labels.release, labels.generation, labels.host) == ("1", "g", "h")
    loaded = from_env(SHIPPER_RELEASE="1", SHIPPER_LABELS_RELEASE="2")
    assert loaded.config.labels.release == "2"
    assert str(loaded.origin("labels.release")) == "SHIPPER_LABELS_RELEASE"


def test_empty_variables_count_as_not_set() -> None:
    """As OpenTelemetry rules: an empty variable is no value."""
    assert from_env(SHIPPER_RELEASE=" ", SHIPPER_DRAIN_DEADLINE="").config.drain.deadline == 0.0


def test_unknown_variables_are_warned_of_with_the_nearest_name() -> None:
    """They stop nothing, because an environment is shared."""
    loaded = from_env(SHIPPER_DRAIN_DEADLNE="5")
    assert loaded.warnings == (
        "SHIPPER_DRAIN_DEADLNE: no such setting, ignored; did you mean 'SHIPPER_DRAIN_DEADLINE'?",
    )


def test_what_kubernetes_injects_for_a_service_named_shipper_is_no_setting() -> None:
    """Service links of `shipper` and `shipper-gateway` are neither settings nor worth a warning."""
    links = {
        "SHIPPER_SERVICE_HOST": "10.0.0.1",
        "SHIPPER_SERVICE_PORT": "4318",
        "SHIPPER_SERVICE_PORT_OTLP": "4318",
        "SHIPPER_PORT": "tcp://10.0.0.1:4318",
        "SHIPPER_PORT_4318_TCP": "tcp://10.0.0.1:4318",
        "SHIPPER_PORT_4318_TCP_ADDR": "10.0.0.1",
        "SHIPPER_GATEWAY_SERVICE_HOST": "10.0.0.2",
        "SHIPPER_GATEWAY_PORT_4318_TCP_PROTO": "tcp",
        "SHIPPER_GATEWAY_PORT": "tcp://10.0.0.2:4318",
    }
    loaded = from_env(**links)
    assert loaded.warnings == ()
    assert loaded.config.labels.service == ""


def test_tail_takes_globs_separated_by_colons_or_lines() -> None:
    """SHIPPER_TAIL replaces the groups of the file; --tail replaces both."""
    assert from_env(SHIPPER_TAIL="/a/*.log:/b").config.files[0].include == ["/a/*.log", "/b"]
    assert from_env(SHIPPER_TAIL="/a:b\n/c\n").config.files[0].include == ["/a:b", "/c"]
    loaded = load(None, env={"SHIPPER_TAIL": "/a"}, overrides={"tail": ["/z"]}, complete=False)
    assert [group.include for group in loaded.config.files] == [["/z"]]
    assert load(None, env={"SHIPPER_TAIL": "/a"}, overrides={"tail": []}, complete=False).config.files[0].include == [
        "/a"
    ]


def test_options_of_files_have_twins_that_hold_for_every_group(tmp_path: Path) -> None:
    """They lie over the file and reach the groups of the command line too; a wrong one is named."""
    path = tmp_path / "c.yaml"
    path.write_text("files: [{include: [/a], hold: 5}, {include: [/b]}]\n")
    env = {"SHIPPER_FILES_HOLD": "2s", "SHIPPER_FILES_EXCLUDE": "*.gz:*.tmp", "SHIPPER_FILES_START_AT": "end"}
    loaded = load(str(path), env=env, complete=False)
    assert [(group.hold, group.exclude, group.start_at) for group in loaded.config.files] == [
        (2.0, ["*.gz", "*.tmp"], "end")
    ] * 2
    assert str(loaded.origin("files[1].hold")) == "SHIPPER_FILES_HOLD"
    assert loaded.warnings == ()
    assert load(None, env=env, overrides={"tail": ["/z"]}, complete=False).config.files[0].hold == 2.0
    with pytest.raises(ConfigError) as caught:
        load(str(path), env={"SHIPPER_FILES_MAX_LINE_BYTES": "much"}, complete=False)
    assert {error.path for error in caught.value.all} == {"SHIPPER_FILES_MAX_LINE_BYTES"}


def test_a_destination_is_made_of_variables_alone() -> None:
    """The endpoint of OpenTelemetry is enough; Shipper's own beats it; the command line beats both."""
    assert options(from_env(OTEL_EXPORTER_OTLP_ENDPOINT="http://otel:4318")) == {"endpoint": "http://otel:4318"}
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel:4318", "SHIPPER_OTLP_ENDPOINT": "http://ours:4318"}
    assert options(from_env(**env))["endpoint"] == "http://ours:4318"
    loaded = load(None, env=env, overrides={"endpoint": "http://flag:4318"})
    assert options(loaded)["endpoint"] == "http://flag:4318"


def test_destination_options_have_twins(tmp_path: Path) -> None:
    """A destination of the file is recognised in the variable's name, whatever its spelling."""
    path = tmp_path / "c.yaml"
    path.write_text("destinations: {my-sink: {type: otlp, endpoint: 'http://a'}}\n")
    loaded = from_env(
        str(path), SHIPPER_DESTINATIONS_MY_SINK_TOKEN_FILE="/t", SHIPPER_DESTINATIONS_OTHER_ENDPOINT="http://b"
    )
    assert options(loaded, "my-sink") == {"endpoint": "http://a", "token_file": "/t"}
    assert options(loaded, "other") == {"endpoint": "http://b"}
    assert str(loaded.origin("destinations.my-sink.token_file")) == "SHIPPER_DESTINATIONS_MY_SINK_TOKEN_FILE"


def test_a_destination_that_is_nearly_another_is_said(tmp_path: Path) -> None:
    """A slip in a variable's name makes a destination of its own: right, but hardly meant."""
    path = tmp_path / "c.yaml"
    path.write_text("destinations: {loki: {type: loki, endpoint: 'http://a'}}\n")
    loaded = from_env(str(path), SHIPPER_DESTINATIONS_LOCKI_TENANT="x", SHIPPER_DESTINATIONS_OTHER_ENDPOINT="http://b")
    said = "SHIPPER_DESTINATIONS_LOCKI_TENANT: makes a new destination 'locki'; did you mean 'loki'?"
    assert [warning for warning in loaded.warnings if "new destination" in warning] == [said]


def test_archive_variable_makes_or_changes_an_archive_destination(tmp_path: Path) -> None:
    """SHIPPER_ARCHIVE is the URL of the archive of the file, or of a new one."""
    loaded = load(None, env={"SHIPPER_ARCHIVE": "/srv/archive"}, role="gateway")
    assert loaded.config.destinations["archive"].type == "archive"
    assert options(loaded, "archive") == {"url": "/srv/archive"}
    path = tmp_path / "c.yaml"
    path.write_text("destinations: {cold: {type: archive, url: /old, prefix: p}}\n")
    assert options(from_env(str(path), SHIPPER_ARCHIVE="/new"), "cold") == {"url": "/new", "prefix": "p"}


def test_otel_variables_fill_what_nobody_said() -> None:
    """Headers are percent-decoded, time-outs are milliseconds, certificates and single signals' endpoints are taken."""
    loaded = from_env(
        OTEL_EXPORTER_OTLP_ENDPOINT="https://otel:4318",
        OTEL_EXPORTER_OTLP_HEADERS="api-key=a%20b, x=1",
        OTEL_EXPORTER_OTLP_TIMEOUT="2500",
        OTEL_EXPORTER_OTLP_COMPRESSION="none",
        OTEL_EXPORTER_OTLP_CERTIFICATE="/ca.pem",
        OTEL_EXPORTER_OTLP_LOGS_ENDPOINT="https://logs/in",
    )
    assert options(loaded) == {
        "endpoint": "https://otel:4318",
        "logs_endpoint": "https://logs/in",
        "headers": {"api-key": "a b", "x": "1"},
        "timeout": "2500ms",
        "compression": "none",
        "ca_file": "/ca.pem",
    }
    assert loaded.warnings == ()


def test_otel_oddities_are_said() -> None:
    """Protocols and compressions that nobody knows, seconds for milliseconds, malformed headers."""
    loaded = from_env(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://otel:4318",
        OTEL_EXPORTER_OTLP_PROTOCOL="thrift",
        OTEL_EXPORTER_OTLP_TIMEOUT="10",
        OTEL_EXPORTER_OTLP_COMPRESSION="deflate",
        OTEL_EXPORTER_OTLP_HEADERS="good=1,very-secret-thing",
    )
    said = "\n".join(loaded.warnings)
    for part in ("PROTOCOL=thrift: Shipper knows", "taken as seconds", "gzip is used", "entry 2"):
        assert part in said
    assert "very-secret-thing" not in said
    assert options(loaded)["timeout"] == "10s"
    assert "compression" not in options(loaded)
    assert "protocol" not in options(loaded)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"ENDPOINT": "http://o:4317", "PROTOCOL": "grpc"}, {"endpoint": "http://o:4317", "protocol": "grpc"}),
        ({"ENDPOINT": "http://o:4317"}, {"endpoint": "http://o:4317", "protocol": "grpc"}),
        ({"ENDPOINT": "http://o:4317", "PROTOCOL": "http/protobuf"}, {"endpoint": "http://o:4317"}),
        ({"ENDPOINT": "http://o", "PROTOCOL": "http/json"}, {"endpoint": "http://o", "protocol": "http/json"}),
        ({"ENDPOINT": "o:4317"}, {"endpoint": "https://o:4317", "protocol": "grpc"}),
        ({"ENDPOINT": "o:4317", "INSECURE": "TRUE"}, {"endpoint": "http://o:4317", "protocol": "grpc"}),
        ({"ENDPOINT": "https://o:4317", "INSECURE": "true"}, {"endpoint": "https://o:4317", "protocol": "grpc"}),
        ({"ENDPOINT": "http://o", "COMPRESSION": "zstd"}, {"endpoint": "http://o", "compression": "zstd"}),
        (
            {"LOGS_ENDPOINT": "o:4317", "LOGS_INSECURE": "true"},
            {"logs_endpoint": "http://o:4317", "protocol": "grpc"},
        ),
    ],
)
def test_otel_protocols(env: dict[str, str], expected: dict[str, str]) -> None:
    """The protocol is what the variable says, else what the port is for; without a scheme INSECURE decides on TLS."""
    loaded = from_env(**{f"OTEL_EXPORTER_OTLP_{name}": value for name, value in env.items()})
    assert options(loaded) == expected
    assert loaded.warnings == ()


def test_a_signal_that_is_told_otherwise_gets_a_destination_of_its_own() -> None:
    """Headers, protocols, certificates of one signal hold for it alone; signals told the same stay together."""
    loaded = from_env(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://otel:4318/",
        OTEL_EXPORTER_OTLP_HEADERS="a=b",
        OTEL_EXPORTER_OTLP_LOGS_HEADERS="a=b",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="https://tempo:4317",
        OTEL_EXPORTER_OTLP_TRACES_HEADERS="key=t",
        OTEL_EXPORTER_OTLP_METRICS_COMPRESSION="none",
    )
    assert {name: options(loaded, name) for name in loaded.config.destinations} == {
        "primary": {"logs_endpoint": "http://otel:4318/v1/logs", "headers": {"a": "b"}},
        "primary-traces": {"traces_endpoint": "https://tempo:4317", "headers": {"key": "t"}, "protocol": "grpc"},
        "primary-metrics": {
            "metrics_endpoint": "http://otel:4318/v1/metrics",
            "headers": {"a": "b"},
            "compression": "none",
        },
    }
    assert str(loaded.origin("destinations.primary-traces.headers")) == "OTEL_EXPORTER_OTLP_TRACES_HEADERS"
    assert loaded.warnings == ()


def test_what_a_destination_was_told_holds_for_its_parts(tmp_path: Path) -> None:
    """Options of the file for a destination without an endpoint are those of every destination that it becomes."""
    path = tmp_path / "c.yaml"
    path.write_text("destinations: {main: {burst: 3}}\n")
    loaded = from_env(
        str(path), OTEL_EXPORTER_OTLP_ENDPOINT="http://otel:4318", OTEL_EXPORTER_OTLP_TRACES_TIMEOUT="5000"
    )
    assert options(loaded, "main-traces")["burst"] == options(loaded, "main")["burst"] == 3
    assert "timeout" not in options(loaded, "main")


def test_settings_that_do_not_fit_another_endpoint_are_said() -> None:
    """What is meant for single signals, and a port for gRPC, is warned of where the endpoint is Shipper's own."""
    loaded = from_env(
        SHIPPER_OTLP_ENDPOINT="http://ours:4317",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://otel:4317",
        OTEL_EXPORTER_OTLP_TRACES_TIMEOUT="5000",
    )
    said = "\n".join(loaded.warnings)
    assert "TRACES_TIMEOUT is not used" in said
    assert "set SHIPPER_OTLP_PROTOCOL=grpc if it does" in said
    assert options(loaded) == {"endpoint": "http://ours:4317"}


def test_credentials_are_not_sent_to_another_endpoint() -> None:
    """An API key set for OpenTelemetry's endpoint does not follow SHIPPER_OTLP_ENDPOINT, and that is said."""
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "https://vendor",
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=secret",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "3000",
        "SHIPPER_OTLP_ENDPOINT": "http://ours:4318",
    }
    loaded = from_env(**env)
    assert options(loaded) == {"endpoint": "http://ours:4318", "timeout": "3000ms"}
    assert "SHIPPER_OTLP_HEADERS" in loaded.warnings[0]
    assert "secret" not in loaded.warnings[0]
    assert from_env(**env, SHIPPER_OTLP_HEADERS="a=b").warnings == ()


def test_a_destination_of_the_file_is_described_by_the_file(tmp_path: Path) -> None:
    """OpenTelemetry's variables neither change it nor add one beside it; one without an endpoint takes theirs."""
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel:4318", "OTEL_EXPORTER_OTLP_HEADERS": "a=b"}
    path = tmp_path / "c.yaml"
    path.write_text("destinations: {primary: {endpoint: 'http://file'}}\n")
    assert options(from_env(str(path), **env)) == {"endpoint": "http://file"}
    path.write_text("destinations: {cold: {type: archive, url: /a}}\n")
    assert set(from_env(str(path), **env).config.destinations) == {"cold"}
    path.write_text("destinations: {primary: {burst: 3}}\n")
    assert options(from_env(str(path), **env)) == {"burst": 3, "endpoint": "http://otel:4318", "headers": {"a": "b"}}


def test_text_options_of_variables_fit_the_exporters_types() -> None:
    """What a variable gave an exporter is converted by the exporter's own settings: numbers, lists and mappings alike."""
    from shipper.pump.load import exporter_class

    given = options(
        from_env(
            SHIPPER_OTLP_ENDPOINT="http://x:1",
            SHIPPER_OTLP_BURST="7",
            SHIPPER_OTLP_HEADERS="a=b",
            SHIPPER_OTLP_TIMEOUT="3s",
            SHIPPER_OTLP_TRUST_LOCAL="true",
        )
    )
    settings = convert(given, exporter_class("otlp").Settings)
    assert (settings.burst, settings.headers, settings.timeout, settings.trust_local) == (7, {"a": "b"}, 3.0, True)


def test_lists_of_words_are_written_with_commas_or_blanks() -> None:
    """What holds a colon itself is not torn apart by it; globs still are separated by colons."""
    config = from_env(
        SHIPPER_DRAIN_WAIT_FOR="unit:checkout, cgroup:/app.slice",
        SHIPPER_NOTICES_WATCH="ec2,logind",
        SHIPPER_NOTICES_ASG_HOOKS="drain other",
    ).config
    assert config.drain.wait_for == ["unit:checkout", "cgroup:/app.slice"]
    assert config.notices.watch == ["ec2", "logind"]
    assert config.notices.asg_hooks == ["drain", "other"]
