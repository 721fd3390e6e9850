"""What is installed: only our two import names, the dashboards inside, and a command that works without the source tree."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as a release would be, but with the build backend that is installed here."""
    out = tmp_path_factory.mktemp("dist")
    built = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_installs_only_our_names(wheel: Path) -> None:
    """A service's own ``exporters/`` or ``tests/`` package is never shadowed."""
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"shipper", "shipper_exporters"}


def test_the_wheel_carries_types_dashboards_and_entry_points(wheel: Path) -> None:
    """Type checkers see us as typed, the dashboards travel along, exporters are found by entry point."""
    archive = zipfile.ZipFile(wheel)
    names = set(archive.namelist())
    assert {"shipper/py.typed", "shipper_exporters/py.typed", "shipper/_dashboards/README.md"} <= names
    assert {"shipper/_systemd/shipper.service", "shipper/_systemd/shipper-bake"} <= names
    entry_points = archive.read(next(name for name in names if name.endswith("entry_points.txt"))).decode()
    assert "[shipper.exporters]" in entry_points
    assert "shipper = shipper.cli:main" in entry_points


def test_the_built_wheel_works_without_the_source_tree(wheel: Path, tmp_path: Path) -> None:
    """Unpacked alone, away from the repository, the command answers and finds its verbs."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    answer = subprocess.run(
        [sys.executable, "-m", "shipper", "--help"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONSAFEPATH": "1"},
    )
    assert answer.returncode == 0, answer.stderr
    assert "audit" in answer.stdout
