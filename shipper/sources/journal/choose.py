"""Which entries are shipped: by unit, identifier, priority and boot. What is asked again and again is remembered by its value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import translate
from re import compile as pattern

from shipper.sources.journal import fields as f
from shipper.sources.journal.fields import NONE, Value
from shipper.sources.journal.settings import Choice

_SUFFIXES = (
    *(".service", ".socket", ".device", ".mount", ".automount", ".swap", ".target"),
    *(".path", ".timer", ".slice", ".scope"),
)
_DEFAULT = b"6"  # the priority of an entry that names none, as systemd has it
_REMEMBERED = 4096


class _Names:
    """Whether a name is one of these, by globs."""

    def __init__(self, globs: Sequence[str]) -> None:
        self._matches: Callable[[str], object] = pattern("|".join(map(translate, globs)) or r"(?!)").match
        self._known: dict[bytes, bool] = {}

    def __contains__(self, raw: bytes) -> bool:
        known = self._known.get(raw)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[raw] = bool(self._matches(raw.decode("utf-8", "replace")))
        return known


class Chooser:
    """Decides for one journal; see `Choice`."""

    def __init__(self, choice: Choice) -> None:
        self._boot = choice.boot
        self._priorities = frozenset(b"%d" % number for number in range(choice.priority + 1))
        self._every_priority = choice.priority >= 7
        self._only = _Names(tuple(map(unit_glob, choice.units))) if choice.units else None
        self._not = _Names(tuple(map(unit_glob, choice.exclude_units))) if choice.exclude_units else None
        self._only_named = _Names(choice.identifiers) if choice.identifiers else None
        self._not_named = _Names(choice.exclude_identifiers) if choice.exclude_identifiers else None
        self._kernel = choice.kernel
        self._named = any((self._only, self._not, self._only_named, self._not_named, not self._kernel))

    def of_boot(self, boot: bytes) -> bool:
        """Whether entries of this boot are."""
        return not self._boot or boot == self._boot

    def wants(self, fields: Mapping[bytes, bytes]) -> bool:
        """Whether an entry with these fields is, as `Understanding` made them."""
        if not self._every_priority and fields.get(f.PRIORITY, _DEFAULT) not in self._priorities:
            return False
        return not self._named or self._by_name(fields)

    def _by_name(self, fields: Mapping[bytes, bytes]) -> bool:
        if raw(fields, f.TRANSPORT) == b"kernel":
            return self._kernel
        if self._only is not None or self._not is not None:
            units = units_of(fields)
            if self._only is not None and not any(unit in self._only for unit in units):
                return False
            if self._not is not None and any(unit in self._not for unit in units):
                return False
        name = raw(fields, f.IDENTIFIER)
        if self._only_named is not None and name not in self._only_named:
            return False
        return self._not_named is None or name not in self._not_named


def raw(fields: Mapping[bytes, bytes], name: bytes) -> bytes:
    """The value of a field that is looked at; empty where there is none."""
    value = fields.get(name, NONE)
    return value.raw if isinstance(value, Value) else b""


def units_of(fields: Mapping[bytes, bytes]) -> list[bytes]:
    """The units that an entry is of, or about: as ``journalctl -u`` has it, and only as far as the writer could be trusted."""
    units = [raw(fields, name) for name in (f.UNIT, f.USER_UNIT)]
    if raw(fields, f.PID) == b"1":
        units.append(raw(fields, f.ABOUT_UNIT))
    if raw(fields, f.UID) == b"0":
        units += [raw(fields, f.COREDUMP_UNIT), raw(fields, f.OBJECT_UNIT)]
    return [unit for unit in units if unit]


def unit_glob(name: str) -> str:
    """The name of a unit as `systemctl` completes it: a service where no kind is named."""
    return name if name.endswith(_SUFFIXES) or name.endswith("*") else f"{name}.service"
