"""Files of OTLP JSON lines are read back, by `shipper cat` too."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from click.testing import CliRunner

from shipper.cli import main
from shipper.contracts import Signal
from shipper.fleet.archive import Damage
from shipper.fleet.otlp_lines import requests_in
from shipper.otlp.decode import to_json
from shipper.testing.streams import log_payload, metric_payload

LOGS = [to_json(Signal.LOGS, log_payload([text])) for text in ("one", "two")]
METRICS = to_json(Signal.METRICS, metric_payload(["m"]))


def read(path: Path) -> tuple[list[tuple[Signal, bytes]], list[Damage]]:
    damage: list[Damage] = []
    return list(requests_in(str(path), damage.append)), damage


@pytest.mark.parametrize("packed", [False, True])
def test_lines_are_requests(tmp_path: Path, packed: bool) -> None:
    """Every line is a request of the signal that it names; blank ones are none."""
    data = b"\n".join([LOGS[0], b"", METRICS, LOGS[1], b""])
    path = tmp_path / "f"
    path.write_bytes(gzip.compress(data) if packed else data)
    found, damage = read(path)
    assert found == [
        (Signal.LOGS, log_payload(["one"])),
        (Signal.METRICS, metric_payload(["m"])),
        (Signal.LOGS, log_payload(["two"])),
    ]
    assert not damage


def test_lines_that_are_none_are_said(tmp_path: Path) -> None:
    """What is no OTLP is reported by its line, and the others are read."""
    path = tmp_path / "f"
    path.write_bytes(b"\n".join([b"hello", LOGS[0], b'{"resourceLogs": 5}', LOGS[1][:20]]))
    found, damage = read(path)
    assert found == [(Signal.LOGS, log_payload(["one"]))]
    assert [one.key.rpartition(" ")[2] for one in damage] == ["1", "3", "4"]


def test_a_packed_file_that_breaks_off(tmp_path: Path) -> None:
    """What can be unpacked is read, and where it ends is said."""
    path = tmp_path / "f.gz"
    path.write_bytes(gzip.compress(b"\n".join(LOGS * 100))[:-9])
    found, damage = read(path)
    assert found
    assert "cannot be unpacked" in damage[-1].problem


def test_cat_prints_a_file(tmp_path: Path) -> None:
    """`shipper cat` takes such a file for an archive, with its filters; damage is exit code 1."""
    path = tmp_path / "logs.jsonl"
    path.write_bytes(b"\n".join([*LOGS, METRICS]))
    shown = CliRunner().invoke(main, ["cat", str(path), "--signal", "logs"])
    assert (shown.exit_code, [line.split()[-1] for line in shown.output.splitlines()]) == (0, ["one", "two"])
    assert CliRunner().invoke(main, ["cat", str(path), "--json"]).output.encode().splitlines() == [*LOGS, METRICS]
    path.write_bytes(b"nothing\n")
    assert CliRunner().invoke(main, ["cat", str(path)]).exit_code == 1
