"""What `shipper check` and `shipper run` say of the files that options name: secrets, certificates, keys."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from shipper.cli import main
from shipper.cli.certificates import certificate_problem
from shipper.cli.inputs import findings
from shipper.clock import Deadline
from shipper.config import Config, load
from shipper.config.inputs import Kind, inputs
from shipper.contracts import ExporterContext
from shipper.errors import Retryable, Unusable
from shipper.pump.load import exporter_class, load_exporters, make_exporter
from shipper.testing.clock import FakeClock
from shipper.testing.streams import LIFE, log_batch, log_request
from tests.exporters.tls_kit import Authority

SECRETS = ("token_file", "password_file", "api_key_file", "shared_key_file", "proxy_password_file", "users_file")
KINDS = {"ca_file": Kind.AUTHORITIES, "cert_file": Kind.CERTIFICATE, "tls_cert": Kind.CERTIFICATE}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of files, most of which are wrong in one way."""
    directory = tmp_path_factory.mktemp("inputs")
    authority = Authority(directory)
    for name, days in (("good", 2), ("old", -1)):
        pem = authority.issue(name, days=days).read_text()
        at = pem.index("-----BEGIN PRIVATE KEY")
        (directory / f"{name}.both").write_text(pem)
        (directory / f"{name}.cert").write_text(pem[:at])
        (directory / f"{name}.key").write_text(pem[at:])
    (directory / "damaged").write_text((directory / "good.cert").read_text()[:200] + "\n-----END CERTIFICATE-----\n")
    (directory / "locked").write_text(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n"
    )
    (directory / "bundle").write_text((directory / "old.cert").read_text() + authority.ca.read_text())
    (directory / "token").write_text("s3cret\n")
    (directory / "empty").write_text("\n \n")
    (directory / "second").write_text("\ns3cret\n")
    (directory / "odd").write_text("s3crét\n")
    (directory / "directory").mkdir()
    return directory


def check(tmp_path: Path, options: dict[str, str], *words: str, **more: Any) -> Result:
    path = tmp_path / "shipper.yaml"
    destination = {"endpoint": "https://x.example:1", **options}
    path.write_text(json.dumps({"files": [{"include": ["/x"]}], "destinations": {"a": destination}, **more}))
    return CliRunner(env={}).invoke(main, ["check", str(path), *words])


def structs(kind: type[msgspec.Struct], seen: set[type]) -> Iterator[type[msgspec.Struct]]:
    """A struct and those in its fields."""
    if kind in seen:
        return
    seen.add(kind)
    yield kind
    for field in msgspec.structs.fields(kind):
        pending = [field.type]
        while pending:
            one = pending.pop()
            pending += getattr(one, "__args__", ())
            if isinstance(one, type) and issubclass(one, msgspec.Struct):
                yield from structs(one, seen)


def test_every_option_that_names_a_file_to_read_says_so() -> None:
    """An option whose name tells that a file is read is declared so, or nobody would look into that file."""
    kinds = [Config, *(exporter_class(name).Settings for name in load_exporters())]
    seen: set[type] = set()
    looked = 0
    for kind in (inner for outer in kinds for inner in structs(outer, seen)):
        for field in msgspec.structs.fields(kind):
            wanted = KINDS.get(field.name) or (Kind.KEY if field.name in ("key_file", "tls_key") else None)
            if wanted is None and field.name not in SECRETS:
                assert not field.name.endswith("_file") or field.name == "touch_file", (kind, field.name)
                continue
            required = {one.name: "x" for one in msgspec.structs.fields(kind) if one.required}
            found = [one.kind for one in inputs(kind(**required, **{field.name: "x"})) if one.path == (field.name,)]
            assert found, (kind, field.name)
            assert found[0] == (wanted or found[0]), (kind, field.name)
            looked += 1
    assert looked > 40


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"token_file": "empty"}, "is empty"),
        ({"token_file": "second"}, "its first line is empty"),
        ({"token_file": "odd"}, "its first line has characters that no secret can have"),
        ({"token_file": "directory"}, "cannot be read: Is a directory"),
        ({"ca_file": "token"}, "holds no certificate in PEM form"),
        ({"ca_file": "damaged"}, "holds no certificate in PEM form"),
        ({"ca_file": "old.cert"}, "the certificate expired on "),
        ({"cert_file": "old.both"}, "the certificate expired on "),
        ({"cert_file": "good.key", "key_file": "good.key"}, "holds no certificate in PEM form"),
        ({"cert_file": "good.cert"}, "holds no private key in PEM form; name that as key_file"),
        ({"cert_file": "good.cert", "key_file": "token"}, "holds no private key in PEM form"),
        ({"cert_file": "good.cert", "key_file": "old.key"}, "is not the key of the certificate in {files}/good.cert"),
        ({"cert_file": "good.cert", "key_file": "locked"}, "is "),
    ],
    ids=lambda value: " ".join(f"{k}-{v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_a_file_that_cannot_be_right_is_wrong(files: Path, tmp_path: Path, options: dict[str, str], said: str) -> None:
    """One sentence with the option, the file and what is the matter; what is in the file is not repeated."""
    result = check(tmp_path, {name: str(files / value) for name, value in options.items()})
    assert result.exit_code == 1
    blamed = list(options)[-1] if "good.cert" in options.values() else next(iter(options))
    (line, count) = result.output.splitlines()
    assert line.startswith(f"{tmp_path}/shipper.yaml: destinations.a.{blamed}: {files / options[blamed]}: ")
    assert said.format(files=files) in line
    assert "crét" not in line
    assert count.endswith("1 problem")


@pytest.mark.parametrize(
    "options",
    [
        {"token_file": "token"},
        {"cert_file": "good.both"},
        {"cert_file": "good.cert", "key_file": "good.key", "ca_file": "ca.pem"},
        {"ca_file": "bundle"},  # some in it have expired, as in most bundles
    ],
    ids=lambda value: " ".join(value),
)
def test_right_files_are_right(files: Path, tmp_path: Path, options: dict[str, str]) -> None:
    """Nothing is said of files that do."""
    result = check(tmp_path, {name: str(files / value) for name, value in options.items()})
    assert (result.exit_code, result.output) == (0, f"{tmp_path}/shipper.yaml: ok (1 group of files, 1 destination)\n")


def test_a_file_that_is_not_there_yet_is_a_warning(files: Path, tmp_path: Path) -> None:
    """An image is checked before its hosts have their secrets; one option is blamed for one file."""
    result = check(tmp_path, {"cert_file": str(tmp_path / "none"), "key_file": str(files / "good.key")}, "--json")
    assert result.exit_code == 0, result.output
    (warning,) = json.loads(result.output)["warnings"]
    assert warning == (
        f"{tmp_path}/shipper.yaml: destinations.a.cert_file: {tmp_path}/none: does not exist;"
        " until it can be read, a is down"
    )


def test_a_file_of_another_user_may_be_readable_later(tmp_path: Path) -> None:
    """The sidecar may run as somebody who can read it."""
    (tmp_path / "token").write_text("s3cret\n")
    (tmp_path / "token").chmod(0)
    (tmp_path / "c.yaml").write_text(
        f"destinations: {{a: {{endpoint: 'https://x:1', token_file: {tmp_path}/token}}}}\n"
    )
    loaded = load(str(tmp_path / "c.yaml"), env={})
    user = os.geteuid()
    os.seteuid(user or 65534)  # root may read everything
    try:
        (found,) = findings(loaded, "sidecar")
    finally:
        os.seteuid(user)
    assert found.later
    assert f"cannot be read by the user with id {user or 65534}" in str(found.error)


def test_files_of_receivers_are_looked_at_too(files: Path, tmp_path: Path) -> None:
    """Not those of a gateway, whose section a sidecar does not read."""
    receiver = {"tls_cert": str(files / "good.cert"), "tls_key": str(files / "old.key"), "token_file": "/nowhere"}
    result = check(tmp_path, {}, receivers={"otlp": receiver}, gateway={"token_file": "/nowhere/else"})
    assert (
        "warning: " + f"{tmp_path}/shipper.yaml: receivers.otlp.token_file: /nowhere: does not exist" in result.output
    )
    assert "receivers.otlp.tls_key: " in result.output
    assert "/nowhere/else" not in result.output


def test_when_a_certificate_counts(files: Path) -> None:
    """From its first moment to its last, as X.509 has them: the year in two digits, from 2050 on in four."""
    pem = (files / "good.cert").read_bytes()
    now = datetime.now(UTC)
    assert certificate_problem(pem, now) == ""
    assert "expired on " in certificate_problem(pem, now + timedelta(days=3))
    assert "is valid only from " in certificate_problem(pem, now - timedelta(days=1))
    far = Authority(files / "far").issue("far", days=365 * 60).read_bytes()
    assert certificate_problem(far, now + timedelta(days=365 * 59)) == ""
    assert "expired on 2" in certificate_problem(far, now + timedelta(days=365 * 61))


def given(type_: str, option: str, files: Path) -> dict[str, Any]:
    """Options of a destination in which all is right but a file that is not there."""
    https, there = "https://127.0.0.1:9", str(files / "token")
    own: dict[str, dict[str, Any]] = {
        "prometheus": {"endpoint": f"{https}/w"},
        "prometheus-scrape": {"listen": "127.0.0.1:0"},
        "kafka": {"endpoint": "127.0.0.1:9", "tls": True},
        "forward": {"endpoint": "tls://127.0.0.1:9", "shared_key_file": there},
        "logstash": {"endpoint": "tls://127.0.0.1:9"},
        "datadog": {"logs_endpoint": https, "token_file": there},
        "splunk": {"endpoint": https, "token_file": there},
    }
    besides = {
        "cert_file": {"key_file": str(files / "good.key")},
        "key_file": {"cert_file": str(files / "good.cert")},
        "password_file": {"username": "me"},
        "proxy_password_file": {"proxy": "http://me@127.0.0.1:9"},
    }.get(option, {})
    return {**own.get(type_, {"endpoint": https}), **besides, option: str(files / "none")}


ALL = [
    (name, field.name)
    for name in load_exporters()
    for field in msgspec.structs.fields(exporter_class(name).Settings)
    if field.name in (*SECRETS, *KINDS, "key_file")
]


@pytest.mark.parametrize(("type_", "option"), ALL, ids=lambda value: value)
def test_a_destination_starts_without_its_file(files: Path, type_: str, option: str) -> None:
    """A secret that is mounted later ends no sidecar: the exporter is made and started, and holds what it cannot send."""

    async def scenario() -> None:
        clock = FakeClock()
        exporter = make_exporter(type_, "a", given(type_, option, files), ExporterContext(clock, LIFE, 1, "test"))
        await exporter.start()
        try:
            if "logs" in exporter.signals:
                prepared = exporter.prepare(log_request(log_batch(["one"])))
                with pytest.raises((Unusable, Retryable)) as caught:
                    await exporter.send(prepared, Deadline.after(clock, 600))
                if isinstance(caught.value, Unusable) and option == "password_file":
                    assert str(caught.value).startswith("cannot read the password in ")
        finally:
            await exporter.aclose()

    asyncio.run(scenario())


def test_run_finds_what_is_not_installed_before_it_writes_a_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that a destination needs is asked for by `check` and `run` alike, with the command that installs it."""
    monkeypatch.setitem(sys.modules, "botocore.auth", None)
    options = {"type": "opensearch", "aws_region": "eu-central-1"}
    checked = check(tmp_path, options, state_dir=str(tmp_path / "state"))
    started = CliRunner(env={}).invoke(main, ["run", "--config", str(tmp_path / "shipper.yaml")])
    for result in (checked, started):
        assert result.exit_code == 1
        assert f"{tmp_path}/shipper.yaml: destinations.a: aws_region needs an optional" in result.output
        assert "pip install 'ephemeral-shipper[aws]'" in result.output
    assert not (tmp_path / "state").exists()
