"""`shipper demo`, small: it is the product's main job, so it must end with nothing missing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shipper.dashboards.names import BOARDS
from shipper.demo.boards import NoBoards, given_prometheus
from shipper.demo.truth import TruthFile, read_truth

DEMO = [sys.executable, "-m", "shipper", "demo"]


def test_the_demo_ends_with_nothing_missing_and_emitted_read_and_archived_equal(tmp_path: Path) -> None:
    """Three generations, crashes and an outage: every line that the services counted is archived, once."""
    keep = tmp_path / "demo"
    answer = subprocess.run(
        [*DEMO, "--hosts=2", "--rate=30", "--seconds=6", f"--keep={keep}"], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    verdict = re.search(r"emitted ([\d,]+), read ([\d,]+), archived ([\d,]+), missing 0, duplicates 0", answer.stdout)
    assert verdict, answer.stdout
    assert verdict[1] == verdict[2] == verdict[3]
    assert "Traceback" not in answer.stdout + answer.stderr
    for output in [*keep.glob("hosts/*/sidecar.log"), keep / "gateway/gateway.log"]:
        assert "Traceback" not in output.read_text()
    releases = re.findall(r"^([123]-[AB]) ", answer.stdout, re.MULTILINE)
    assert releases == ["1-A", "2-B", "3-A"]
    page = (keep / "fleet.html").read_text()
    assert all(mark in page for mark in ("<svg", "rollback A", *releases))


@pytest.mark.parametrize("more", [[], ["--preview"]])
def test_ctrl_c_leaves_no_process_and_no_directory_behind(tmp_path: Path, more: list[str]) -> None:
    """An interrupted demo cleans up: its processes are gone, its directory too; the Prometheus of a preview as well."""
    demo = subprocess.Popen(
        [*DEMO, "--hosts=2", "--seconds=60", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert demo.stdout is not None
    begun = []
    for line in demo.stdout:
        begun.append(line)
        if "generation 1-A" in line:
            break
    demo.send_signal(signal.SIGINT)
    rest = demo.stdout.read()
    demo.stdout.close()
    assert demo.wait() == 130, "".join(begun) + rest
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []
    assert not [pid for pid in Path("/proc").glob("[0-9]*/environ") if mentions(pid, str(tmp_path))]


def test_without_a_prometheus_the_demo_says_how_to_get_one_and_runs(tmp_path: Path) -> None:
    """A preview that cannot be made is one sentence, and the proof is the same."""
    page = tmp_path / "boards.html"
    answer = subprocess.run(
        [*DEMO, "--hosts=1", "--rate=20", "--seconds=3", f"--preview={page}"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PATH": str(tmp_path)},
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    [said] = [line for line in answer.stdout.splitlines() if "no preview" in line]
    assert "apt-get install prometheus" in said
    assert "missing 0, duplicates 0" in answer.stdout
    assert not page.exists()


def test_a_preview_is_asked_for_where_the_metrics_are_written_to() -> None:
    """Of an address for remote writes the other half is known; one that is none is refused in words."""
    place = given_prometheus("http://127.0.0.1:9090/api/v1/write")
    assert place.url == "http://127.0.0.1:9090"
    assert len(place.boards) == len(BOARDS)
    with pytest.raises(NoBoards, match="does not end in /api/v1/write"):
        given_prometheus("http://mimir/api/v1/push")


def test_an_address_that_is_none_is_refused_before_anything_runs() -> None:
    """A wrong call in a sentence, and no gateway was started for it."""
    answer = subprocess.run([*DEMO, "--prometheus=nowhere"], capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "--prometheus: 'nowhere' is no URL such as http://127.0.0.1:9090/api/v1/write" in answer.stderr


def mentions(environ: Path, text: str) -> bool:
    try:
        return text.encode() in environ.read_bytes()
    except OSError:
        return False


def test_a_service_killed_between_counting_and_writing_is_counted_by_its_log(tmp_path: Path) -> None:
    """When a line was announced but not confirmed, what stands in the log decides."""
    log = tmp_path / "app.log"
    log.write_text("INFO start\nINFO request status=200\nERROR request status=500\n")
    truth = TruthFile(str(tmp_path / "truth"))
    truth.announce()
    truth.confirm(request=False, error=False)
    truth.announce()
    assert read_truth(tmp_path / "truth", [log]).lines == 3
    assert read_truth(tmp_path / "truth", [log]).errors == 1
