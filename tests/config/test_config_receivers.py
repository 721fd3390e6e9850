"""The settings of receivers: off unless named, safe unless told otherwise, and clear about what cannot work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from shipper.config import Config, FileLimits, OtlpReceiver, Receivers, load, unix_path, validate
from shipper.errors import ConfigError

DESTINATION = "destinations: {sink: {endpoint: 'http://sink:4318'}}\n"


def loaded(tmp_path: Path, text: str = "", env: Mapping[str, str] | None = None) -> Config:
    file = tmp_path / "shipper.yaml"
    file.write_text(DESTINATION + text)
    return load(str(file), env=dict(env or {}), role="sidecar").config


def test_all_are_off_unless_named(tmp_path: Path) -> None:
    """Nothing listens on a host by itself; an empty entry is enough to switch one on, and so is one variable."""
    assert loaded(tmp_path).receivers.otlp is None
    assert loaded(tmp_path, "receivers: {otlp: }").receivers.otlp is None
    assert loaded(tmp_path, "receivers: {otlp: {}}").receivers.otlp == OtlpReceiver()
    env = {"SHIPPER_RECEIVERS_OTLP_HTTP": "unix:/run/otlp.sock"}
    assert loaded(tmp_path, env=env).receivers.otlp == OtlpReceiver(http="unix:/run/otlp.sock")


def test_a_variable_says_off(tmp_path: Path) -> None:
    """An empty one counts as not set, so there is a word for having one door only."""
    env = {"SHIPPER_RECEIVERS_OTLP_GRPC": "off", "SHIPPER_RECEIVERS_OTLP_HTTP": ""}
    assert loaded(tmp_path, env=env).receivers.otlp == OtlpReceiver(grpc="")


@pytest.mark.parametrize(
    ("otlp", "problem"),
    [
        (OtlpReceiver(http="0.0.0.0:4318"), "receivers.otlp.http: 0.0.0.0 can be reached from other machines"),
        (OtlpReceiver(grpc="0.0.0.0:4317", token_file="t"), "receivers.otlp.grpc: 0.0.0.0 can be reached"),
        (OtlpReceiver(http="", grpc=""), "it would listen nowhere"),
        (OtlpReceiver(http="4318"), "expected host:port"),
        (OtlpReceiver(http="unix:otlp.sock"), "absolute path"),
        (OtlpReceiver(http="unix:/" + "x" * 120), "longer than a socket's path may be"),
        (OtlpReceiver(tls_cert="c"), "tls_cert and tls_key belong together"),
        (OtlpReceiver(max_body=1 << 27), "must not be less than receivers.otlp.max_body"),
        (OtlpReceiver(max_body=1000), "at least 64KiB"),
        (OtlpReceiver(max_decompressed=2 << 30), "not be more than receivers.spool_max"),
    ],
)
def test_what_cannot_work_or_is_not_safe_is_named(otlp: OtlpReceiver, problem: str) -> None:
    """Each with the setting that is wrong."""
    with pytest.raises(ConfigError, match=problem):
        validate(Config(receivers=Receivers(otlp=otlp)))


@pytest.mark.parametrize(
    "otlp",
    [
        OtlpReceiver(http="[::1]:4318", grpc=""),
        OtlpReceiver(http="0.0.0.0:4318", insecure=True),
        OtlpReceiver(http="0.0.0.0:4318", grpc="0.0.0.0:4317", tls_cert="c", tls_key="k", token_file="t"),
    ],
)
def test_what_is_safe_is_taken(otlp: OtlpReceiver) -> None:
    """Loopback as it is; others with TLS and a token, or by saying so."""
    assert validate(Config(receivers=Receivers(otlp=otlp), file_limits=FileLimits(max_open_files=64))) == []


def test_a_gateway_has_settings_of_its_own() -> None:
    """Records of other hosts must not get the gateway's identity, so its receiver is not a sidecar's."""
    config = Config(receivers=Receivers(otlp=OtlpReceiver()), destinations={})
    with pytest.raises(ConfigError, match=r"gateway.listen and gateway.grpc"):
        validate(config, "gateway")


def test_an_address_may_be_a_path() -> None:
    """Empty for anything else."""
    assert unix_path("unix:/run/x.sock") == "/run/x.sock"
    assert unix_path("127.0.0.1:4318") == ""
