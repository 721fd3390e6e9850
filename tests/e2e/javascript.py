"""The stock JavaScript SDK of OpenTelemetry, which npm has and PyPI has not.

It is installed once into a directory beside pip's cache, never into the repository; where npm or the registry is missing,
the tests that need it say so and are skipped.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

VERSION = "0.223.0"
PACKAGES = (
    "@opentelemetry/api@1.9.0",
    f"@opentelemetry/sdk-logs@{VERSION}",
    "@opentelemetry/sdk-trace-base@2.12.0",
    "@opentelemetry/sdk-metrics@2.12.0",
    "@opentelemetry/resources@2.12.0",
    *(
        f"@opentelemetry/exporter-{signal}-otlp-{kind}@{VERSION}"
        for signal in ("logs", "trace", "metrics")
        for kind in ("proto", "http", "grpc")
    ),
)
PROGRAM = Path(__file__).with_name("otlp_clients.js")


def sdk() -> Path:
    """Where it is installed; skips the test where it cannot be had."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("there is no npm here; on Debian: apt-get install nodejs npm")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    where = cache / "shipper-tests" / f"opentelemetry-js-{VERSION}"
    where.mkdir(parents=True, exist_ok=True)
    with (where / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not (where / "done").exists():
            command = [
                "npm",
                "install",
                "--prefix",
                str(where),
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                *PACKAGES,
            ]
            ran = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
            if ran.returncode != 0:
                pytest.skip(f"npm cannot install the OpenTelemetry SDK: {ran.stderr.strip()[-300:]}")
            (where / "done").touch()
    return where


def command(kind: str, http: str, grpc: str, count: int) -> list[str]:
    """The program that sends ``count`` records of each signal; ``kind``: proto, http (JSON) or grpc."""
    return ["node", str(PROGRAM), kind, http, grpc, str(count)]
