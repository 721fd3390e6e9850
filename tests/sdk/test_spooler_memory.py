"""The hand-off in a container with little memory, while nobody takes anything away."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sdk.spool_kit import make_root, only, run

LIMIT = 128 << 20
GROUPS = Path("/sys/fs/cgroup")
MANY = """
from pathlib import Path
Path(sys.argv[2]).write_text(str(os.getpid()))
made = make(sys.argv[1], process_bytes=64 << 20)
for number in range(16_000):
    assert put(made.logs, b"%d " % number + b"x" * 20_000)
print(sorted(made.spooler.dropped()))
"""


@pytest.fixture
def group() -> Iterator[Path]:
    """A memory control group of 128 MiB, of whichever version there is."""
    first = (GROUPS / "memory").is_dir()
    path = (GROUPS / "memory" if first else GROUPS) / f"shipper-test-{os.getpid()}"
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"this user cannot make a control group: {error.strerror}")
    try:
        (path / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(LIMIT))
        yield path
    except OSError as error:
        pytest.skip(f"the memory of a control group cannot be limited here: {error.strerror}")
    finally:
        path.rmdir()


def test_a_small_container_survives_an_outage(tmp_path: Path, group: Path) -> None:
    """In 128 MiB a service writes far more than that with nobody reading: the oldest goes, and nothing is killed."""
    root = make_root(tmp_path)
    assert run(textwrap.dedent(MANY), root, group / "cgroup.procs").strip() == "['drop_oldest']"
    assert sum(path.stat().st_size for path in only(root).iterdir()) <= LIMIT // 2
