"""What the configuration says of the forward and syslog receivers, and what it refuses."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from shipper.config import Config
from shipper.config.validate import validate
from shipper.errors import ShipperError


def problems(**receivers: Any) -> str:
    """What is wrong with a section, or nothing."""
    whole = {"receivers": receivers, "destinations": {"out": {}}, "file_limits": {"max_open_files": 64}}
    config = msgspec.convert(whole, Config)
    try:
        validate(config, "sidecar")
    except ShipperError as problem:
        return str(problem)
    return ""


@pytest.mark.parametrize(
    "section",
    [
        {"forward": {}},
        {"forward": {"tcp": "", "socket": "/run/shipper/f.sock"}},
        {"forward": {"tcp": "0.0.0.0:24224", "tls_cert": "c", "tls_key": "k", "shared_key_file": "s"}},
        {"forward": {"tcp": "0.0.0.0:24224", "insecure": True}},
        {"syslog": {"udp": "127.0.0.1:514"}},
        {"syslog": {"socket": "/dev/log"}},
        {"syslog": {"tls": "0.0.0.0:6514", "tls_cert": "c", "tls_key": "k", "tls_client_ca": "a"}},
        {"syslog": {"udp": "0.0.0.0:514", "insecure": True}},
    ],
)
def test_what_may_be(section: dict[str, Any]) -> None:
    """Defaults, unix sockets, addresses on loopback, and others that are guarded or wanted as they are."""
    assert problems(**section) == ""


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"forward": {"tcp": ""}}, "receivers.forward: has neither tcp nor socket"),
        ({"forward": {"tcp": "0.0.0.0:24224"}}, "shared_key_file"),
        ({"forward": {"tcp": "nowhere"}}, "expected host:port"),
        ({"forward": {"socket": "relative"}}, "absolute path"),
        ({"forward": {"tls_cert": "c"}}, "belong together"),
        ({"forward": {"max_message": 1}}, "at least 64KiB"),
        ({"forward": {"max_message": 2 << 30}}, "spool_max"),
        ({"syslog": {}}, "listens nowhere"),
        ({"syslog": {"udp": "0.0.0.0:514"}}, "use tls, or insecure: true"),
        ({"syslog": {"tcp": "0.0.0.0:514"}}, "use tls, or insecure: true"),
        ({"syslog": {"tls": "0.0.0.0:6514", "tls_cert": "c", "tls_key": "k"}}, "tls_client_ca"),
        ({"syslog": {"tls": "127.0.0.1:6514"}}, "needs a certificate"),
        ({"syslog": {"socket": "log"}}, "absolute path"),
        ({"syslog": {"socket": "/" + "x" * 200}}, "longer than a socket's path"),
        ({"syslog": {"udp": "127.0.0.1:514", "max_message": 100}}, "at least 480"),
    ],
)
def test_what_is_refused(section: dict[str, Any], said: str) -> None:
    """Each of these is said with its place and what to do."""
    assert said in problems(**section)
