"""Which modules an OpenTelemetry instrumentor is there for, found without importing it or them.

Its distribution names the distributions it instruments, as requirements of the extras ``instruments`` (all of them) and
``instruments-any`` (one of them); what these are imported as stands beside them. Parsing all metadata there is would cost
more than all else `shipper.init` does, so it is read as text, and no more of it than is needed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distribution
from importlib.util import find_spec

_KNOWN = {  # by name of the instrumentor: the standard library is no distribution
    "asyncio": "asyncio",
    "django": "django.conf",  # which django itself does not import: settings are about to be asked for
    "sqlite3": "sqlite3",
    "urllib": "urllib.request",
}
_AT_ONCE = frozenset({"system_metrics"})  # psutil is what it measures with, not what it measures
_REQUIREMENT = re.compile(r"^(?:Requires-Dist:)?\s*([A-Za-z0-9][A-Za-z0-9._-]*)([^;\n]*);([^\n]*)$", re.MULTILINE)
_ONLY = re.compile(r"""\s*\(?\s*extra\s*==\s*['"](instruments|instruments-any)['"]\s*\)?\s*""")
_PACKAGE = re.compile(r"^([^,\n\"]+)/__init__\.py,", re.MULTILINE)
_MODULE = re.compile(r"^([A-Za-z_]\w*)(?:\.[\w-]+)*\.(?:py|so|pyd),", re.MULTILINE)

Needs = list[list[str]]


def targets(entry: EntryPoint) -> Needs | None:
    """What must be imported before the instrumentor is of use: one module of each list. None: it is not installed.

    An empty list means at once: the instrumentor names no library, or one of which nobody can tell what it is imported as.
    """
    known = _KNOWN.get(entry.name)
    if entry.dist is None or entry.name in _AT_ONCE:
        return []
    every, some = _required(entry.dist)
    if known is not None:
        return [[known]] if not every or _installed(every) else None
    needs = [_imported_as(*each) for each in _installed(every)]
    alternatives = [_imported_as(*each) for each in _installed(some)]
    if len(needs) < len(every) or (some and not alternatives):
        return None
    if alternatives and all(alternatives):
        needs.append([name for names in alternatives for name in names])
    return [names for names in needs if names]


def _required(instrumentor: Distribution) -> tuple[list[str], list[str]]:
    """The distributions that must be there all, and those of which one must be."""
    text = instrumentor.read_text("METADATA")
    if text is None:
        text = "\n".join(instrumentor.requires or ())
    found: dict[str, list[str]] = {"instruments": [], "instruments-any": []}
    for name, _, marker in _REQUIREMENT.findall(text.partition("\n\n")[0]):
        only = _ONLY.fullmatch(marker)
        extras: Iterable[str] = (only[1],) if only else _extras(marker) if "instruments" in marker else ()
        for extra in extras:
            found[extra].append(name)
    return found["instruments"], found["instruments-any"]


def _extras(marker: str) -> list[str]:
    """Those of the two extras a requirement belongs to whose marker speaks of more than that."""
    from packaging.markers import Marker

    parsed = Marker(marker)
    return [extra for extra in ("instruments", "instruments-any") if parsed.evaluate({"extra": extra})]


def _installed(names: Iterable[str]) -> list[tuple[str, Distribution]]:
    found = []
    for name in names:
        try:
            found.append((name, distribution(name)))
        except PackageNotFoundError:
            continue
    return found


def _imported_as(name: str, installed: Distribution) -> list[str]:
    """The packages and modules of a distribution. Where one has its name that is the one; others only serve it."""
    own = re.sub(r"[-_.]+", "_", name).lower()
    place = str(installed.locate_file(own))
    if os.path.exists(f"{place}/__init__.py") or os.path.exists(f"{place}.py"):
        return [own]
    found = _listed(installed.read_text("RECORD") or "")
    if found:
        return found
    try:  # installed for development, from somewhere else
        return [own] if find_spec(own) is not None else []
    except (ImportError, ValueError):
        return []


def _listed(record: str) -> list[str]:
    """The modules at the top, and the packages that are not inside of another (those of a namespace are deeper)."""
    found = set(_MODULE.findall(record))
    for path in sorted(_PACKAGE.findall(record), key=len):
        parts = path.split("/")
        outer = (".".join(parts[:length]) for length in range(1, len(parts)))
        if all(part.isidentifier() for part in parts) and found.isdisjoint(outer):
            found.add(".".join(parts))
    return sorted(found)
