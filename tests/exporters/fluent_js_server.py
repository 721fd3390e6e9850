"""Fluent's own server for JavaScript, as a program that prints its port and then what it takes, one JSON list a line.

The package is the one that tests/sources/fluent_js.py installs; where npm or the registry is missing, tests that need it are
skipped with the reason.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.sources import fluent_js

PROGRAM = """
const { FluentServer } = require("@fluent-org/logger");
class Printing extends FluentServer {
  onEntry(tag, time, record) {
    const when = time.epoch === undefined ? [time, 0] : [time.epoch, time.nano];
    console.log(JSON.stringify([tag, when, record]));
  }
}
const server = new Printing(JSON.parse(process.argv[2]));
server.listen().then(() => console.log(server.port));
"""


def command(options: dict[str, Any]) -> list[str]:
    """How it is started; ``options`` are those of FluentServer."""
    directory = Path(fluent_js.command({})[1]).parent
    program = directory / "serve.js"
    program.write_text(PROGRAM)
    return ["node", str(program), json.dumps({"listenOptions": {"host": "127.0.0.1", "port": 0}, **options})]
