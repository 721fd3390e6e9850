"""LogQL and TraceQL are checked by the grammars of Grafana's own editors, which npm has and PyPI has not.

They are installed once into a directory beside pip's cache, never into the repository; where npm or the registry is missing, the
tests that need them say so and are skipped.
"""

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path

PACKAGES = ("@grafana/lezer-logql@0.3.0", "@grafana/lezer-traceql@1.0.0", "@lezer/lr@1.4.12", "@lezer/common@1.5.5")
_SCRIPT = Path(__file__).with_name("grammars.mjs")


class NoGrammars(Exception):
    """The grammars cannot be had here; the text says why."""


def syntax_errors(language: str, texts: list[str]) -> list[list[int]]:
    """For each text the offsets at which it is not ``language`` ("logql", "traceql"). Raises `NoGrammars`."""
    where = _installed()
    asked = json.dumps([{"language": language, "text": text} for text in texts])
    script = where / _SCRIPT.name
    script.write_text(_SCRIPT.read_text(encoding="utf-8"), encoding="utf-8")
    ran = subprocess.run(["node", str(script)], input=asked, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    answer: list[list[int]] = json.loads(ran.stdout)
    return answer


def _installed() -> Path:
    if not (shutil.which("node") and shutil.which("npm")):
        raise NoGrammars("there is no npm here; on Debian: apt-get install nodejs npm")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    where = cache / "shipper-tests" / "-".join(package.rpartition("@")[2] for package in PACKAGES)
    where.mkdir(parents=True, exist_ok=True)
    with (where / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        _install(where)
    return where


def _install(where: Path) -> None:
    if not (where / "done").exists():
        command = ["npm", "install", "--prefix", str(where), "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if ran.returncode != 0:
            raise NoGrammars(f"npm cannot install {', '.join(PACKAGES)}: {ran.stderr.strip()[-300:]}")
        (where / "done").touch()
