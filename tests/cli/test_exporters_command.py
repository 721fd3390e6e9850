"""`shipper exporters`: what is installed, from where, and what it can be told."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result

from shipper.cli import main


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["exporters", *arguments])


def stranger(folder: Path, code: str) -> None:
    """A distribution of somebody else that brings the exporter ``depot``."""
    (folder / "depot_exporter.py").write_text(code)
    info = folder / "depot-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: depot\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[shipper.exporters]\ndepot = depot_exporter:Depot\n")


def listed(folder: Path) -> dict[str, dict[str, object]]:
    found = subprocess.run(
        [sys.executable, "-m", "shipper", "exporters", "--json"],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return {one["type"]: one for one in json.loads(found.stdout)}


def test_lists_what_is_installed() -> None:
    """Each exporter is listed with a sentence, its signals and the distribution it comes from."""
    found = run().output
    assert re.search(r"^prometheus +Sends metrics", found, re.M)
    assert "from ephemeral-shipper" in found
    assert "(shipper_exporters.otlp:OtlpExporter)" in found


def test_a_strangers_exporter_is_listed_beside_ours(tmp_path: Path) -> None:
    """What another distribution brings is found by its entry point, and said to come from there."""
    stranger(
        tmp_path,
        '"""Sends to a depot."""\nfrom shipper_exporters.archive import ArchiveExporter\n\n'
        'class Depot(ArchiveExporter):\n    """A depot."""\n',
    )
    depot = listed(tmp_path)["depot"]
    assert (depot["distribution"], depot["summary"]) == ("depot 1.2", "Sends to a depot")
    assert depot["signals"] == ["logs", "traces", "metrics"]


def test_one_that_cannot_be_loaded_is_listed_with_the_reason(tmp_path: Path) -> None:
    """An exporter that is broken does not hide the others, and the list says what is wrong with it."""
    stranger(tmp_path, "import no_such_module\n")
    found = listed(tmp_path)
    assert "no_such_module" in str(found["depot"]["problem"])
    assert found["otlp"]["problem"] == ""


def test_shows_what_one_can_be_told() -> None:
    """With a type, its settings are shown as they stand in the file, its own before those that all have."""
    lines = run("prometheus").output.splitlines()
    assert lines[:3] == ["destinations:", "  NAME:", "    type: prometheus"]
    names = [line.split()[1] for line in lines[3:]]
    assert names.index("endpoint") < names.index("ca_file")


def test_prints_the_schema_of_one() -> None:
    """The settings of one exporter come as JSON schema, too."""
    schema = json.loads(run("archive", "--json").output)
    properties = schema["$defs"]["ArchiveSettings"]["properties"]
    assert properties["object_bytes"]["type"] == ["integer", "string"]


def test_an_unknown_type_is_an_error_with_the_nearest_name() -> None:
    """A typo is answered with the nearest type."""
    result = run("promethes")
    assert result.exit_code == 1
    assert "did you mean 'prometheus'?" in result.output
