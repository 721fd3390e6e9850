"""Fluent's own client for JavaScript: all four modes, acknowledgements and the handshake, written by somebody else.

It is installed once into a directory beside pip's cache, never into the repository; where npm or the registry is missing,
the tests that need it say so and are skipped.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PACKAGE = "@fluent-org/logger@1.0.10"
PROGRAM = """
const { FluentClient } = require("@fluent-org/logger");
const options = JSON.parse(process.argv[2]);
const client = new FluentClient("js", {...options, onSocketError: (e) => console.error(e)});
(async () => {
  const sent = [];
  for (let number = 0; number < 300; number++) sent.push(client.emit("app", { message: `line ${number}`, level: "warn" }));
  await Promise.all(sent);
  await client.disconnect();
})().catch((error) => { console.error(error); process.exit(1); });
"""


def command(options: dict[str, Any]) -> list[str]:
    """The program that emits 300 records and ends well when all are acknowledged; skips where it cannot be had."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("there is no npm here; on Debian: apt-get install nodejs npm")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    where = cache / "shipper-tests" / PACKAGE.replace("/", "-")
    where.mkdir(parents=True, exist_ok=True)
    with (where / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not (where / "done").exists():
            install = ["npm", "install", "--prefix", str(where), "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE]
            ran = subprocess.run(install, capture_output=True, text=True, timeout=180, check=False)
            if ran.returncode != 0:
                pytest.skip(f"npm cannot install {PACKAGE}: {ran.stderr.strip()[-300:]}")
            (where / "done").touch()
        program = where / "emit.js"
        program.write_text(PROGRAM)
    return ["node", str(program), json.dumps(options)]
